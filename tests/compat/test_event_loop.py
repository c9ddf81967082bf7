"""`mosaic.get_event_loop()` and what programs of mosaic 1.2 do with it."""

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
    ran = loop.run(plain, 1, second=2)
    assert isinstance(ran, asyncio.Task)
    assert await ran == 3
    counter = Counter.remote()
    task = await loop.run(counter.add, 4)
    assert await task.result() == 4
    with pytest.raises(TypeError):
        await loop.run(plain)


@keeps_threads
async def test_run_from_another_thread(runtime):
    loop = mosaic.get_event_loop()
    ends = []

    def elsewhere():
        ends.append(loop.run(add, 1, second=2).result(10))
        ends.append(loop.run(plain, 1).result(10))

    await asyncio.to_thread(elsewhere)
    assert ends == [3, 1]


async def test_run_from_a_callback(runtime):
    loop, counter = mosaic.get_event_loop(), Counter.remote()
    seen = asyncio.Queue()

    async def note(future):
        await seen.put(await future.task.result())

    counter.add(3).add_done_callback(lambda future: loop.run(note, future))
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
    assert await loop.run_in_executor(plain, 1, second=3) == 4
    assert await loop.run_in_executor(threading.get_ident) != threading.get_ident()


@keeps_threads
async def test_the_executor_runs_one_function_after_the_other(runtime):
    loop = mosaic.get_event_loop()
    order, first_is_over = [], threading.Event()

    def first():
        # The second would set it while this waits, if they ran side by side.
        order.append(first_is_over.wait(0.05))
        return threading.get_ident()

    def second():
        first_is_over.set()
        order.append("second")
        return threading.get_ident()

    threads = await asyncio.gather(loop.run_in_executor(first), loop.run_in_executor(second))
    assert order == [False, "second"]
    # Another object of the same runtime has the same thread.
    assert {*threads, await runtime.loop.run_in_executor(threading.get_ident)} == {threads[0]}


async def test_timeout_and_interval(runtime):
    loop, seen = mosaic.get_event_loop(), asyncio.Queue()
    assert await loop.timeout(add, 0.01, 1, second=2) == 3
    assert await loop.timeout(plain, timeout=0.01, first=1) == 1
    again = loop.interval(seen.put, 0.01, "beat")
    assert [await asyncio.wait_for(seen.get(), 10) for _ in range(3)] == ["beat"] * 3
    again.cancel()
    with pytest.raises(asyncio.CancelledError):
        await again


async def test_timers_give_futures_of_concurrent_futures(runtime):
    loop = mosaic.get_event_loop()
    later, again = loop.timeout(plain, 0.01, 5), loop.interval(plain, 30, 1)
    assert isinstance(later, concurrent.futures.Future)
    assert isinstance(again, concurrent.futures.Future)
    assert await loop.wrap_future(later) == 5
    assert (later.result(), later.state) == (5, "done")
    assert again.cancel()
    failing = loop.timeout(plain, 0.01)
    with pytest.raises(TypeError):
        await asyncio.wrap_future(failing)
    assert isinstance(failing.exception(), TypeError)


def test_a_timer_ends_with_its_loop():
    async def main():
        return EventLoop().interval(plain, 30, 1)

    assert asyncio.run(main()).cancelled()


async def test_the_running_loop_is_given(runtime):
    assert mosaic.get_event_loop().get_event_loop() is asyncio.get_running_loop()
    assert mosaic.get_event_loop() is mosaic.get_event_loop()


def test_the_thread_of_a_loop_is_taken_for_the_main_one():
    async def main():
        EventLoop().set_main_thread()
        return threading.main_thread() is threading.current_thread()

    seen = []
    thread = threading.Thread(target=lambda: seen.append(asyncio.run(main())))
    thread.start()
    thread.join()
    assert seen == [True]


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
