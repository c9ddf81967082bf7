"""`runtime.async_for`: every item once, every worker one item at a time."""

import asyncio
import logging

import pytest

import mosaic
from tests.support.actors import Echo


@mosaic.tessera
class Shots:
    """One element on each worker; notices two items at once."""

    def __init__(self):
        self.inside = 0
        self.done = []

    async def solve(self, item):
        self.inside += 1
        assert self.inside == 1
        await asyncio.sleep(0)
        self.inside -= 1
        self.done.append(item)
        return item * item


async def test_every_item_once_and_results_in_order(runtime):
    echo = await Echo.remote(len=2)

    @runtime.async_for(range(20))
    async def loop(worker, item):
        return await echo.back(item * 10, runtime=worker).result()

    assert await loop == [i * 10 for i in range(20)]


async def test_several_iterables_go_together(runtime):
    seen = []

    @runtime.async_for("abc", [1, 2, 3])
    async def loop(worker, letter, number):
        seen.append((letter, number))
        return letter * number

    assert await loop == ["a", "bb", "ccc"]
    assert sorted(seen) == [("a", 1), ("b", 2), ("c", 3)]


async def test_the_worker_is_a_proxy_of_one(runtime):
    uids = set()

    @runtime.async_for(range(10))
    async def loop(worker, item):
        uids.add(worker.uid)
        await asyncio.sleep(0)

    await loop
    assert uids == {worker.uid for worker in runtime.workers}


async def test_loop_1_a_worker_has_one_item_at_a_time(runtime):
    shots = await Shots.remote(len=2)
    busy = set()

    @runtime.async_for(range(30))
    async def loop(worker, item):
        assert worker.uid not in busy
        busy.add(worker.uid)
        try:
            return await shots.solve(item, runtime=worker).result()
        finally:
            busy.discard(worker.uid)

    assert await loop == [i * i for i in range(30)]
    done = await shots.done
    assert sorted(done[0] + done[1]) == list(range(30))


async def test_both_workers_are_busy_at_once(runtime):
    # Neither item ends before the other has begun.
    events = [asyncio.Event(), asyncio.Event()]

    @runtime.async_for(range(2))
    async def loop(worker, item):
        events[item].set()
        await events[1 - item].wait()
        return worker.uid

    assert len(set(await asyncio.wait_for(loop, 20))) == 2


async def test_a_slow_item_does_not_hold_the_others(runtime):
    others = asyncio.Event()
    ended = []

    @runtime.async_for(range(10))
    async def loop(worker, item):
        if item == 0:
            await others.wait()
        ended.append(item)
        if len(ended) == 9:
            others.set()
        return item

    assert await asyncio.wait_for(loop, 20) == list(range(10))
    assert ended[-1] == 0


async def test_no_items(runtime):
    @runtime.async_for([])
    async def loop(worker, item):
        raise AssertionError("called")

    assert await loop == []


async def test_generators(runtime):
    @runtime.async_for((i for i in range(100)), (chr(97 + i % 26) for i in range(1000)))
    async def loop(worker, number, letter):
        return f"{number}{letter}"

    results = await loop
    assert len(results) == 100
    assert results[:3] == ["0a", "1b", "2c"]


async def test_awaited_twice_it_ran_once(runtime):
    calls = []

    @runtime.async_for(range(3))
    async def loop(worker, item):
        calls.append(item)
        return item

    assert await loop == await loop == [0, 1, 2]
    assert sorted(calls) == [0, 1, 2]


async def test_an_exception_fails_the_loop(runtime):
    @runtime.async_for(range(4))
    async def loop(worker, item):
        if item == 2:
            raise ValueError("item two")
        return item

    with pytest.raises(ValueError, match="item two"):
        await loop


async def test_it_runs_again_after_an_error(runtime):
    for _ in range(2):

        @runtime.async_for(range(4))
        async def loop(worker, item):
            raise ValueError("again")

        with pytest.raises(ValueError, match="again"):
            await asyncio.wait_for(loop, 20)

    @runtime.async_for(range(4))
    async def works(worker, item):
        return item

    assert await asyncio.wait_for(works, 20) == [0, 1, 2, 3]


async def test_remote_exceptions_come_through(runtime):
    echo = await Echo.remote(len=2)

    @runtime.async_for(range(3))
    async def loop(worker, item):
        await echo.fail(KeyError(item), runtime=worker)

    with pytest.raises(KeyError):
        await loop


async def test_max_await_gives_that_many_results(runtime):
    @runtime.async_for(range(10), max_await=3)
    async def loop(worker, item):
        return item

    results = await asyncio.wait_for(loop, 20)
    assert len(results) == 3
    assert set(results) <= set(range(10))


async def test_timeout(runtime):
    never = asyncio.Event()

    @runtime.async_for(range(2), timeout=0.05)
    async def loop(worker, item):
        await never.wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(loop, 20)


async def test_unordered_results_come_as_they_end(runtime):
    release = asyncio.Event()

    @runtime.async_for(range(6), ordered=False)
    async def loop(worker, item):
        if item == 0:
            await release.wait()
        if item == 5:
            release.set()
        return item

    results = await asyncio.wait_for(loop, 20)
    assert sorted(results) == list(range(6))
    assert results.index(0) > results.index(4)


async def test_retries(runtime):
    attempts = {}

    @runtime.async_for(range(5), retries=2)
    async def loop(worker, item):
        attempts[item] = attempts.get(item, 0) + 1
        if item == 3 and attempts[item] < 3:
            raise OSError("try again")
        return item

    assert await loop == [0, 1, 2, 3, 4]
    assert attempts == {0: 1, 1: 1, 2: 1, 3: 3, 4: 1}


async def test_retries_run_out(runtime):
    attempts = []

    @runtime.async_for([1], retries=2)
    async def loop(worker, item):
        attempts.append(item)
        raise OSError(f"attempt {len(attempts)}")

    with pytest.raises(OSError, match="attempt 3"):
        await loop


async def test_progress(runtime, capfd, caplog):
    with caplog.at_level(logging.DEBUG):

        @runtime.async_for(range(3), progress=True)
        async def loop(worker, item):
            return item

        assert await loop == [0, 1, 2]
    out, err = capfd.readouterr()
    assert "3" in out + err + caplog.text


@pytest.mark.parametrize("safe", [True, False])
async def test_both_ways_give_all_results(runtime, safe):
    @runtime.async_for(range(8), safe=safe)
    async def loop(worker, item):
        return -item

    assert await loop == [-i for i in range(8)]


async def test_two_loops_at_once(runtime):
    events = [asyncio.Event(), asyncio.Event()]

    async def one(worker, item):
        events[item // 10].set()
        await events[1 - item // 10].wait()
        return item

    async def whole(items):
        return await runtime.async_for(items)(one)

    loops = asyncio.gather(whole(range(10)), whole(range(10, 20)))
    assert await asyncio.wait_for(loops, 20) == [list(range(10)), list(range(10, 20))]


async def test_unknown_options_are_refused(runtime):
    with pytest.raises(TypeError, match="saef"):
        runtime.async_for(range(3), saef=True)


async def test_async_for_ends_with_a_barrier(runtime, flag):
    # Calls that the body started and did not await are done when the loop is.
    echo = await Echo.remote(len=2)
    tasks = []

    @runtime.async_for(range(4))
    async def loop(worker, item):
        tasks.append(echo.back(item, runtime=worker))

    await loop
    assert all(task.done() for task in tasks)
