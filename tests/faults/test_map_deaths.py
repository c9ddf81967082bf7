"""Safe maps and loops: no item lost, none counted twice, the poisoned one named."""

import asyncio
import os
import random
import signal
import time

import pytest

import mosaic
from tests.support.deaths import Doomed, slow_work, work

pytestmark = pytest.mark.faults

BOUND = 40.0


def expected(n):
    return [i * i for i in range(n)]


async def test_async_for_gives_a_dead_workers_item_to_another(fresh, log):
    @fresh.async_for(range(12))
    async def loop(worker, item):
        return await fresh.submit(work, log, item, {5: 1}, runtime=worker).result()

    assert await asyncio.wait_for(loop, BOUND) == expected(12)
    lines = log.lines()
    assert lines.count("5") == 2
    assert sorted(int(line) for line in lines if line != "5") == [i for i in range(12) if i != 5]


async def test_async_for_goes_on_with_the_replacement(fresh, log):
    used = set()

    @fresh.async_for(range(40))
    async def loop(worker, item):
        used.add(worker.uid)
        return await fresh.submit(work, log, item, {0: 1, 1: 1}, runtime=worker).result()

    assert await asyncio.wait_for(loop, BOUND) == expected(40)
    assert used - {"worker:0:0", "worker:0:1"}, "both of the first are dead"


async def test_async_for_with_many_deaths(fresh, log):
    deadly = dict.fromkeys(range(0, 30, 5), 1) | {7: 2}

    @fresh.async_for(range(30))
    async def loop(worker, item):
        return await fresh.submit(work, log, item, deadly, runtime=worker).result()

    assert await asyncio.wait_for(loop, BOUND) == expected(30)
    for i in range(30):
        assert log.lines().count(str(i)) == 1 + deadly.get(i, 0)


async def test_async_for_with_an_item_that_kills_three_workers(fresh, log):
    @fresh.async_for(range(10))
    async def loop(worker, item):
        return await fresh.submit(work, log, item, {4: 99}, runtime=worker).result()

    with pytest.raises(mosaic.MosaicError, match=r"\b4\b") as info:
        await asyncio.wait_for(loop, BOUND)
    assert "3" in str(info.value) or "three" in str(info.value)
    lines = log.lines()
    assert lines.count("4") == 3
    assert {int(line) for line in lines} == set(range(10)), "the rest went on"


async def test_async_for_unsafe_fails_at_the_first_death(fresh, log):
    @fresh.async_for(range(10), safe=False)
    async def loop(worker, item):
        return await fresh.submit(work, log, item, {3: 1}, runtime=worker).result()

    with pytest.raises(mosaic.RuntimeDisconnectedError):
        await asyncio.wait_for(loop, BOUND)
    assert log.lines().count("3") == 1


async def test_async_for_over_an_array(fresh, log, flag):
    # The ordinary solver program: an array with an element on each worker.
    array = await Doomed.remote(len=2, max_restarts=2)

    @fresh.async_for(range(20))
    async def loop(worker, item):
        if item == 6:
            await array.die_once(flag("died"), runtime=worker)
        return item

    assert await asyncio.wait_for(loop, BOUND) == list(range(20))
    assert flag("died").is_set()


@pytest.mark.parametrize("chunksize", [1, 8, None])
async def test_map_loses_nothing(fresh, log, chunksize):
    deadly = {3: 1, 17: 1, 18: 2, 39: 1}
    results = await asyncio.wait_for(
        fresh.map(work, [log] * 40, range(40), [deadly] * 40, chunksize=chunksize), BOUND
    )
    assert results == expected(40)
    counts = [log.lines().count(str(i)) for i in range(40)]
    assert all(counts[i] >= 1 + n for i, n in deadly.items())


async def test_map_repeats_only_what_a_death_took_along(fresh, log):
    # Items that take longer than a message: what had ended before was told before.
    def slow(log, item):
        time.sleep(0.02)  # the work
        return work(log, item, {10: 1, 20: 1})

    results = await asyncio.wait_for(fresh.map(slow, [log] * 30, range(30), chunksize=1), BOUND)
    assert results == expected(30)
    # The two deadly ones; and at most the one before each, if its result was on the way.
    assert 32 <= len(log.lines()) <= 34


@pytest.mark.parametrize("chunksize", [1, 8])
async def test_map_with_an_item_that_kills_three_workers(fresh, log, chunksize):
    with pytest.raises(mosaic.MosaicError, match=r"\b11\b"):
        await asyncio.wait_for(
            fresh.map(work, [log] * 24, range(24), [{11: 99}] * 24, chunksize=chunksize), BOUND
        )
    assert 3 <= log.lines().count("11") <= 4
    assert {int(line) for line in log.lines()} == set(range(24)), "the rest went on"
    await fresh.wait_for_workers(2, timeout=BOUND)
    assert await fresh.map(abs, [-1]) == [1]


async def test_map_unordered_and_imap(fresh, log):
    results = await asyncio.wait_for(
        fresh.map(work, [log] * 20, range(20), [{9: 1}] * 20, ordered=False), BOUND
    )
    assert sorted(results) == expected(20)
    seen = [
        r async for r in fresh.imap(work, [log] * 20, range(100, 120), [{110: 1}] * 20, chunksize=1)
    ]
    assert seen == [i * i for i in range(100, 120)]


async def test_submit_is_at_most_once(fresh, log):
    with pytest.raises(mosaic.RuntimeDisconnectedError):
        await asyncio.wait_for(fresh.submit(work, log, 1, {1: 1}).result(), BOUND)
    assert log.lines() == ["1"]


async def test_submit_with_retries_is_at_least_once(fresh, log):
    task = fresh.submit(work, log, 1, {1: 1}, max_retries=1)
    assert await asyncio.wait_for(task.result(), BOUND) == 1
    assert log.lines() == ["1", "1"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_kills_from_outside_at_random_moments(fresh, log, seed):
    chance = random.Random(seed)
    n = 300

    async def killer():
        while True:
            # Not before they work, or there would be no progress.
            await fresh.wait_for_workers(2)
            await asyncio.sleep(chance.uniform(0.2, 0.6))
            pids = fresh_pids(fresh)
            if pids:
                os.kill(chance.choice(pids), signal.SIGKILL)

    killing = asyncio.ensure_future(killer())
    try:
        results = await asyncio.wait_for(
            # It is not the items that kill.
            fresh.map(slow_work, [log] * n, range(n), chunksize=1, max_deaths=100),
            BOUND,
        )
    finally:
        killing.cancel()
    assert results == expected(n)


def fresh_pids(runtime):
    import psutil

    return [p.pid for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
