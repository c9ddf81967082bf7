"""mosaic's logger is the standard one."""

import logging
import re

import pytest

import mosaic
from mosaic import log as module


@pytest.fixture(autouse=True)
def _level():
    before = module.log_level, logging.getLogger("mosaic").level
    yield
    module.log_level = before[0]
    logging.getLogger("mosaic").setLevel(before[1])


def test_standard_handlers_see_the_messages(caplog):
    logger = mosaic.logger()
    logger.set_level("perf")
    logger.debug("hidden")
    logger.perf("fast: %d", 3)
    logger.warn("odd")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("PERF", "fast: 3"),
        ("WARNING", "odd"),
    ]


def test_the_level_is_a_module_attribute():
    mosaic.logger().set_level("error")
    assert module.log_level == "error"
    assert logging.getLogger("mosaic").level == logging.ERROR
    with pytest.raises(ValueError, match="loud"):
        mosaic.logger().set_level("loud")


def test_messages_go_to_standard_error(capsys, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])
    mosaic.logger().info("hello")
    shown = capsys.readouterr().err
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO    hello\n", shown)


def test_perf_lies_just_below_info_and_is_shown_by_default(capsys, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])
    module.clear_logger()
    logger = mosaic.logger()
    assert (module.log_level, module.PERF, logging.getLevelName(19)) == ("perf", 19, "PERF")
    logger.debug("hidden")
    logger.perf("a shot")
    logger.info("a loss")
    assert [line.split()[2] for line in capsys.readouterr().err.splitlines()] == ["PERF", "INFO"]


def test_a_message_may_be_of_another_process_and_hold_percent_signs(capsys, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])
    for level in ("perf", "info", "warning", "warn", "error"):
        getattr(mosaic.logger(), level)("50% of 100%d", uid="worker:0:3")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(maxsplit=3)[3] for line in lines] == ["[worker:0:3] 50% of 100%d"] * 5


def test_what_libraries_log_is_shown_while_a_runtime_runs(capsys, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])
    before = logging.root.level, logging.lastResort
    module.begin(None)
    library = logging.getLogger("some.library")
    library.info("shown")
    library.debug("hidden")
    module.end()
    library.info("hidden again")
    assert [line.split()[3] for line in capsys.readouterr().err.splitlines()] == ["shown"]
    assert (logging.root.level, logging.lastResort) == before


def test_logging_that_the_program_sets_up_stays_its_own(capsys, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])
    module.begin("info")
    try:
        logging.basicConfig(format="program: %(message)s", level=logging.ERROR)
        logging.getLogger("some.library").info("hidden")
        logging.getLogger("some.library").error("shown")
        mosaic.logger().info("a message")
        assert logging.root.level == logging.ERROR
    finally:
        module.end()
        logging.root.setLevel(logging.WARNING)
    assert capsys.readouterr().err.splitlines() == ["program: shown", "program: a message"]


def test_clear_logger():
    mosaic.logger()
    module.clear_logger()
    assert not [
        one for one in logging.getLogger("mosaic").handlers if isinstance(one, module._Handler)
    ]
    assert mosaic.logger().logger.handlers
