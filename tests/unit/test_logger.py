"""mosaic's logger is the standard one."""

import logging

import pytest

import mosaic
from mosaic.utils import logger as module


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
    assert capsys.readouterr().err == "INFO    hello\n"


def test_clear_logger():
    mosaic.logger()
    module.clear_logger()
    assert not [
        one for one in logging.getLogger("mosaic").handlers if isinstance(one, module._Handler)
    ]
    assert mosaic.logger().logger.handlers
