"""`mosaic.logger()`: with a runtime and without, in the driver and in workers."""

import logging

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
        "perf": 15,
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
