"""`mosaic.get_event_loop()` and what old programs do with it."""

import asyncio
import concurrent.futures
import threading

import pytest

import mosaic
from mosaic.utils import EventLoop
from tests.support.actors import Counter

keeps_threads = pytest.mark.allow_leaks("threads", reason="a loop's executor keeps its threads")


async def add(first, second=0):
    await asyncio.sleep(0)
    return first + second


def plain(first, second=0):
    return first + second


async def test_run_within_a_loop_gives_what_can_be_awaited(runtime):
    loop = mosaic.get_event_loop()
    assert isinstance(loop, EventLoop)
    assert await loop.run(add, 1, second=2) == 3
    assert loop.run(plain, 1, second=2) == 3
    counter = Counter.remote()
    assert await loop.run(counter.add, 4).result() == 4


@keeps_threads
async def test_run_from_another_thread(runtime):
    loop = mosaic.get_event_loop()
    ends = []

    def elsewhere():
        ends.append(loop.run(add, 1, second=2).result(10))

    await asyncio.to_thread(elsewhere)
    assert ends == [3]


async def test_run_from_a_callback(runtime):
    loop, counter = mosaic.get_event_loop(), Counter.remote()
    seen = asyncio.Queue()

    async def note(task):
        await seen.put(await task.result())

    counter.add(3).add_done_callback(lambda task: loop.run(note, task))
    assert await asyncio.wait_for(seen.get(), 10) == 3


def test_run_from_synchronous_code(runtime):
    loop = mosaic.get_event_loop()
    assert loop.run(add, 1, second=2) == 3

    async def with_tasks():
        return await Counter.remote(5).add(1).result()

    assert loop.run(with_tasks) == 6
    assert runtime.loop.run(plain, 1) == 1


@keeps_threads
async def test_run_in_an_executor(runtime):
    loop = mosaic.get_event_loop()
    assert await loop.run_in_executor(plain, 1, 2) == 3
    assert await loop.run_in_executor(threading.get_ident) != threading.get_ident()


async def test_timeout_and_interval(runtime):
    loop, seen = mosaic.get_event_loop(), asyncio.Queue()
    assert await loop.timeout(add, 0.01, 1, second=2) == 3
    assert await loop.timeout(plain, timeout=0.01, first=1) == 1
    again = loop.interval(seen.put, 0.01, "beat")
    assert [await asyncio.wait_for(seen.get(), 10) for _ in range(3)] == ["beat"] * 3
    again.cancel()
    with pytest.raises(asyncio.CancelledError):
        await again


async def test_in_a_method(runtime):
    assert await Looping.remote().run().result() == (3, 7)


@mosaic.tessera
class Looping:
    async def run(self):
        loop = mosaic.get_event_loop()
        assert type(loop) is type(self.loop)
        return await loop.run(add, 1, 2), await self.loop.run_in_executor(plain, 3, 4)


def test_failures_come_through(runtime):
    async def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        runtime.loop.run(fail)
    future = runtime.loop.run_in_executor(plain)
    assert isinstance(future, concurrent.futures.Future)
    with pytest.raises(TypeError):
        future.result(10)


def test_a_plain_function_on_a_thread_when_the_loop_has_ended_and_from_other_threads():
    async def made():
        return EventLoop(), asyncio.get_running_loop()

    loop, _ = asyncio.run(made())
    assert loop.run_in_executor(abs, -3).result(10) == 3

    async def elsewhere():
        own = EventLoop()
        waited = asyncio.to_thread(lambda: own.run_in_executor(abs, -4).result(10))
        return await waited, await own.run_in_executor(abs, -5)

    assert asyncio.run(elsewhere()) == (4, 5)
