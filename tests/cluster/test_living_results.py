"""`task.remote`, and what becomes of results that nobody reads."""

import gc
import logging
import threading

import pytest

import mosaic
from tests.support.actors import Echo, Mortal
from tests.support.rendezvous import Log, eventually_async


class Field:
    """A result that does not pickle and changes in place."""

    def __init__(self):
        self.lock = threading.Lock()
        self.values = [0, 0]

    def add(self, n):
        self.values = [v + n for v in self.values]
        return list(self.values)

    async def add_async(self, n):
        return self.add(n)

    def total(self):
        return sum(self.values)

    def fail(self):
        raise ValueError("a field fails")


class Lasting:
    """Tells when it is freed."""

    def __init__(self, log: Log):
        self.log = log

    def __del__(self):
        self.log.add("freed")


@mosaic.tessera
class Maker:
    def field(self):
        return Field()

    def numbers(self):
        return [3, 1, 2]

    def text(self):
        return "wave"

    def lasting(self, log):
        return Lasting(log)

    def fail(self, message):
        raise ValueError(message)

    def hello(self):
        return "hello"


async def test_methods_of_the_result_run_where_it_lives(runtime):
    task = Maker.remote().field()
    assert await task.remote.add(2).result() == [2, 2]
    assert await task.remote.add_async(3).result() == [5, 5]
    assert await task.remote.total().result() == 10


async def test_calls_on_a_result_keep_their_order(runtime):
    task = Maker.remote().field()
    for i in range(20):
        task.remote.add(i)
    assert await task.remote.total().result() == 2 * sum(range(20))


async def test_plain_results_have_methods_too(runtime):
    maker = Maker.remote()
    assert await maker.text().remote.upper().result() == "WAVE"
    numbers = maker.numbers()
    await numbers.remote.sort()
    assert await numbers.remote.index(3).result() == 2


async def test_results_of_results_are_arguments(runtime):
    task = Maker.remote().field()
    assert await Echo.remote().back(task.remote.add(1)).result() == [1, 1]


async def test_failures_of_a_results_method(runtime):
    maker = Maker.remote()
    task = maker.field()
    with pytest.raises(ValueError, match="a field fails"):
        await task.remote.fail()
    with pytest.raises(AttributeError, match="nothing_such"):
        await task.remote.nothing_such()
    with pytest.raises(ValueError, match="no result"):
        await maker.fail("no result").remote.add(1)
    assert await task.remote.total().result() == 0


async def test_a_result_is_freed_with_its_task(runtime, log):
    maker = Maker.remote()
    task = maker.lasting(log)
    await task
    await maker.hello()
    assert log.lines() == []
    del task
    gc.collect()
    await eventually_async(lambda: log.lines() == ["freed"], "the result was freed")


async def test_a_result_nobody_waited_for_is_freed(runtime, log):
    maker = Maker.remote()
    maker.lasting(log)
    gc.collect()
    await maker.hello()
    await eventually_async(lambda: log.lines() == ["freed"], "the result was freed")


async def test_dropped_calls_still_run(runtime, log):
    mortal = Mortal.remote(log, "m")
    for _ in range(10):
        mortal.hello()
    assert await mortal.hello().result() == "m"


async def test_an_unread_failure_is_logged_once(runtime, caplog):
    maker = Maker.remote()
    with caplog.at_level(logging.DEBUG):
        maker.fail("nobody looks at this")
        await maker.hello()
        gc.collect()

        def mentions():
            return [r for r in caplog.records if "nobody looks at this" in r.getMessage()]

        await eventually_async(mentions, "a record of the failure")
        await maker.hello()
        assert len(mentions()) == 1
    assert mentions()[0].levelno >= logging.WARNING
    assert "fail" in mentions()[0].getMessage()


async def test_a_failure_that_was_seen_is_not_logged(runtime, caplog):
    maker = Maker.remote()
    with caplog.at_level(logging.DEBUG):
        task = maker.fail("somebody saw this")
        with pytest.raises(ValueError, match="somebody saw this"):
            await task
        del task
        gc.collect()
        unseen = maker.fail("the marker")
        del unseen
        gc.collect()
        await eventually_async(lambda: "the marker" in caplog.text, "the marker's record")
    assert "somebody saw this" not in caplog.text
