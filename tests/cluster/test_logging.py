"""`mosaic.logger()`: with a runtime and without, in the driver and in workers."""

import logging
import sys

import pytest

import mosaic
from tests.support.rendezvous import eventually_async
from tests.support.scripts import run_script


@mosaic.tessera
class Talker:
    def say(self, level, text):
        getattr(mosaic.logger(), level)(text)

    def level_of_perf(self):
        return hasattr(mosaic.logger(), "perf")


async def test_levels_in_the_driver(runtime, caplog):
    logger = mosaic.logger()
    with caplog.at_level(logging.DEBUG, logger="mosaic"):
        for level in ("debug", "perf", "info", "warning", "warn", "error"):
            getattr(logger, level)(f"a message at {level}")
    levels = {r.getMessage(): r.levelno for r in caplog.records if "a message at" in r.getMessage()}
    assert len(levels) == 6
    by_name = {name.rpartition(" ")[2]: number for name, number in levels.items()}
    assert by_name == {
        "debug": 10,
        "perf": 19,
        "info": 20,
        "warning": 30,
        "warn": 30,
        "error": 40,
    }


async def test_workers_have_one_too(runtime):
    talker = Talker.remote()
    assert await talker.level_of_perf().result() is True
    await talker.say("info", "from a worker")


def test_without_a_runtime():
    out, err = run_script(
        """
        import mosaic
        mosaic.logger().info("an info")
        mosaic.logger().error("an error")
        """
    )
    assert "an error" in out + err


def test_messages_carry_the_uid_of_their_process():
    out, err = run_script(
        """
        import mosaic

        @mosaic.tessera
        class Talker:
            def say(self, text):
                mosaic.logger().warning(text)

        with mosaic.session(num_workers=1):
            Talker.remote().say("from the worker").wait()
            mosaic.logger().warning("from the head")
        """
    )
    lines = (out + err).splitlines()
    (worker,) = [line for line in lines if "from the worker" in line]
    assert "worker:0:0" in worker
    (head,) = [line for line in lines if "from the head" in line]
    assert "head" in head.replace("from the head", "").lower()


BY_DEFAULT = """
import logging
import mosaic
from mosaic.utils import logger as module

@mosaic.tessera
class Solver:
    def run(self, shot):
        mosaic.logger().perf(f"shot {shot}")
        mosaic.logger().debug("too quiet")
        logging.getLogger("library").info("of a library")

async def main(runtime):
    await Solver.remote().run(3)
    mosaic.logger().info("loss 0.5")
    logging.getLogger("library").info("of the driver's library")
    print(module.log_level)

if __name__ == "__main__":
    mosaic.run(main, num_workers=1)
"""


@pytest.mark.parametrize("mrun", [False, True], ids=["alone", "mrun"])
def test_programs_report_at_perf_and_mosaic_stays_quiet(mrun):
    under = (sys.executable, "-m", "mosaic.cli.mrun", "-nw", "1") if mrun else ()
    out, err = run_script(BY_DEFAULT, under=under)
    shown = sorted(line.split(" ", 3)[-1] for line in (out + err).splitlines() if ":" in line)
    assert len(shown) == 4, (out, err)
    assert [line for line in (out + err).splitlines() if line == "perf"]
    said = out + err
    for text in (
        "PERF    shot 3",
        "[head] loss 0.5",
        "INFO    of a library",
        "of the driver's library",
    ):
        assert text in said
    assert "too quiet" not in said


def test_log_level():
    out, err = run_script(
        """
        import mosaic
        with mosaic.session(num_workers=1, log_level="error"):
            mosaic.logger().info("too quiet")
            mosaic.logger().error("loud enough")
        """
    )
    assert "loud enough" in out + err
    assert "too quiet" not in out + err


async def test_no_records_of_ordinary_work(runtime, caplog):
    with caplog.at_level(logging.WARNING):
        talker = Talker.remote()
        assert await talker.level_of_perf().result()
        del talker
        await eventually_async(lambda: True)
    assert [r.getMessage() for r in caplog.records] == []
