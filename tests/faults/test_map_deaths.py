"""Safe maps and loops: no item lost, none counted twice, the poisoned one named."""

import asyncio
import os
import random
import signal
import time

import pytest

import mosaic
from tests.support.deaths import Doomed, slow_work, work
from tests.support.rendezvous import eventually_async

pytestmark = pytest.mark.faults

BOUND = 40.0


def expected(n):
    return [i * i for i in range(n)]


async def test_loop_2_async_for_gives_a_dead_workers_item_to_another(fresh, log):
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


async def test_loop_3_async_for_over_an_array_goes_on_with_the_elements_left(fresh, flag):
    # The replacement of a dead worker has no element: it is of no use to the loop, and no item is lost.
    array = Doomed.remote(len=2)
    first_workers = set(fresh.workers)

    def replaced():
        return len(fresh.workers) == 2 and set(fresh.workers) != first_workers

    @fresh.async_for(range(20))
    async def loop(worker, item):
        if item == 3:
            await array.die_once(flag("died"), runtime=worker)
        await array.add(1, runtime=worker)
        if item >= 10:  # so that the last items could go to it
            await eventually_async(replaced, "a replacement")
        return item

    assert await asyncio.wait_for(loop, BOUND) == list(range(20))
    assert len(array) == 1

    @fresh.async_for(range(2))
    async def fatal(worker, item):
        await array.die(runtime=worker)

    with pytest.raises(mosaic.RuntimeDisconnectedError, match="no element"):
        await asyncio.wait_for(fatal, BOUND)


@pytest.mark.parametrize("chunksize", [1, 8, None])
async def test_map_loses_nothing(fresh, log, chunksize):
    deadly = {3: 1, 17: 1, 18: 2, 39: 1}
    results = await asyncio.wait_for(
        fresh.map(work, [log] * 40, range(40), [deadly] * 40, chunksize=chunksize), BOUND
    )
    assert results == expected(40)
    counts = [log.lines().count(str(i)) for i in range(40)]
    assert all(counts[i] >= 1 + n for i, n in deadly.items())


async def test_map_1_repeats_only_what_a_death_took_along(fresh, log):
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


async def test_submit_with_retries_that_run_out(fresh, log):
    task = fresh.submit(work, log, 1, {1: 99}, max_retries=2)
    with pytest.raises(mosaic.RuntimeDisconnectedError):
        await asyncio.wait_for(task.result(), BOUND)
    assert log.lines() == ["1"] * 3


async def test_submit_with_retries_fetches_its_arguments_again(fresh, log):
    one, two = fresh.workers
    item = fresh.submit(abs, -6, runtime=two)
    task = fresh.submit(work, log, item, {6: 1}, max_retries=1, runtime=one)
    assert await asyncio.wait_for(task.result(), BOUND) == 36


async def test_map_2_a_death_counts_only_against_what_ran_alone(fresh, log):
    # Every item of a lost chunk is suspected; none but the killer is given up, and even one death would do.
    with pytest.raises(mosaic.RuntimeDisconnectedError, match=r"\b11\b") as info:
        await asyncio.wait_for(
            fresh.map(work, [log] * 24, range(24), [{11: 99}] * 24, chunksize=12, max_deaths=1),
            BOUND,
        )
    assert "item 11" in str(info.value)
    assert {int(line) for line in log.lines()} == set(range(24))
    assert log.lines().count("11") == 2


async def test_map_of_coroutine_functions_loses_nothing(fresh, log):
    deadly = {3: 1, 17: 1}
    results = await asyncio.wait_for(
        fresh.map(work_async, [log] * 30, range(30), [deadly] * 30, chunksize=4), BOUND
    )
    assert results == expected(30)


async def work_async(log, item, deadly):
    await asyncio.sleep(0)
    return work(log, item, deadly)


@pytest.fixture
def barren(tmp_path, monkeypatch, flag):
    """A network whose workers cannot be replaced once the flag is set."""
    (tmp_path / "sitecustomize.py").write_text(
        f"import os\nif os.path.exists({flag('barren').path!r}): os._exit(7)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with mosaic.session(num_workers=1) as runtime:
        runtime.submit(int).wait()
        flag("barren").set()
        yield runtime


@pytest.mark.parametrize("way", ["map", "imap", "async_for", "wait_for_workers"])
async def test_loop_4_map_3_no_worker_left_and_none_will_join(barren, log, way):
    pid = await barren.submit(os.getpid).result()

    async def collect():
        return [result async for result in barren.imap(work, [log] * 4, range(4), [{1: 99}] * 4)]

    @barren.async_for(range(4))
    async def loop(worker, item):
        return await barren.submit(work, log, item, {1: 99}, runtime=worker).result()

    waiting = {
        "map": lambda: barren.map(work, [log] * 4, range(4), [{1: 99}] * 4),
        "imap": collect,
        "async_for": lambda: loop,
        "wait_for_workers": lambda: barren.wait_for_workers(2),
    }[way]()
    if way == "wait_for_workers":
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(mosaic.RuntimeDisconnectedError, match=r"none will join: .*7"):
        await asyncio.wait_for(waiting, 20)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_kills_from_outside_at_random_moments(fresh, log, seed):
    chance = random.Random(seed)
    n = 300

    async def killer():
        # So many that every part of the run sees some, and not without end: a machine may take longer to start a worker
        # than passes between two kills.
        for _ in range(12):
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
