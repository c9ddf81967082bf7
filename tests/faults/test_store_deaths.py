"""Processes die while large values are on their way: waiters are told, nothing is kept, the sums are right after."""

import asyncio
import gc
import os
import random
import signal

import numpy as np
import pytest

import mosaic
from tests.support.memory import shared_bytes_of_tree
from tests.support.rendezvous import eventually_async

pytestmark = pytest.mark.faults

MEGABYTES_8 = 1_000_000  # of float64


@mosaic.tessera(is_async=True)  # two that pass on to each other would wait for each other
class Keeper:
    def __init__(self):
        self.kept = {}

    def pid(self):
        return os.getpid()

    def keep(self, key, array):
        self.kept[key] = array
        return float(array[0]), float(array[-1])

    def ends(self, key):
        return float(self.kept[key][0]), float(self.kept[key][-1])

    def give(self, key):
        return self.kept[key]

    def make(self, length, value):
        return np.full(length, float(value))

    def forget(self):
        self.kept.clear()
        gc.collect()

    async def pass_on(self, key, other, array):
        return await other.keep(key, array).result()


async def kill(runtime, keeper) -> str:
    """Kill the worker of a tessera, wait until everybody knows, and return its uid."""
    uid, pid = keeper.runtime_id, await keeper.pid().result()
    os.kill(pid, signal.SIGKILL)
    await eventually_async(lambda: uid not in [worker.uid for worker in runtime.workers])
    return uid


async def nothing_is_left(runtime):
    async def empty() -> bool:
        report = await runtime.memory()
        return not report.buffers and report.taken == 0

    await eventually_async(empty)
    await eventually_async(lambda: shared_bytes_of_tree() == 0)


async def test_an_array_outlives_the_worker_that_made_it(fresh):
    maker = await Keeper.remote(runtime="worker:0:0")
    array = await maker.make(MEGABYTES_8, 3).result()
    stays = await maker.make(2 * MEGABYTES_8, 4)
    uid = await kill(fresh, maker)
    assert (array[0], array[-1]) == (3.0, 3.0)
    array += 1
    with pytest.raises(mosaic.MosaicError, match=uid):
        await stays.result()
    # Of what it had taken nothing counts any more, and what is left of it can be passed on.
    assert (await fresh.memory()).taken == 0
    other = Keeper.remote(runtime="worker:0:1")
    assert await other.keep("a", array).result() == (4.0, 4.0)
    del array, stays
    await other.forget().result()
    gc.collect()
    await nothing_is_left(fresh)


async def test_what_a_dead_worker_held_is_freed(fresh):
    keeper = await Keeper.remote(runtime="worker:0:0")
    ref = await fresh.put(np.ones(MEGABYTES_8))
    await keeper.keep("a", ref).result()
    report = await fresh.memory()
    assert set(report.buffers[0].holders) == {"head", "worker:0:0"}
    await kill(fresh, keeper)
    await eventually_async(lambda: _holders_are(fresh, ("head",)))
    assert (await ref.value())[-1] == 1.0
    del ref
    gc.collect()
    await nothing_is_left(fresh)


async def _holders_are(runtime, holders) -> bool:
    return (await runtime.memory()).buffers[0].holders == holders


async def test_a_third_one_keeps_what_a_dead_one_passed_on(fresh):
    first, second = await Keeper.remote(runtime="worker:0:0"), Keeper.remote(runtime="worker:0:1")
    array = np.full(MEGABYTES_8, 2.0)
    assert await first.pass_on("a", second, array).result() == (2.0, 2.0)
    await kill(fresh, first)
    # Memory that is free is used again, and not what the other one looks at.
    for value in range(5):
        await second.keep("b", np.full(MEGABYTES_8, float(value))).result()
    assert await second.ends("a").result() == (2.0, 2.0)
    await second.forget().result()
    await nothing_is_left(fresh)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(3))
async def test_kills_while_arrays_are_in_flight(seed):
    rng = random.Random(seed)
    async with mosaic.session(num_workers=3) as runtime:
        for _ in range(6):
            keepers = [await Keeper.remote(runtime=worker) for worker in runtime.workers]
            pids = await mosaic.gather([keeper.pid() for keeper in keepers]).result()
            ref = runtime.put(np.full(MEGABYTES_8, 7.0))
            tasks = []
            for index in range(30):
                one, two = rng.sample(keepers, 2)
                array = np.full(rng.randrange(20_000, 400_000), float(index))
                made = one.make(rng.randrange(20_000, 400_000), index)
                tasks += [
                    one.keep(index, array),
                    two.keep(-index, made),
                    two.keep(index, ref),
                    one.pass_on(index, two, made),
                    made,
                ]
                if index == 15:
                    victim = rng.randrange(3)
                    uid = keepers[victim].runtime_id
                    os.kill(pids[victim], signal.SIGKILL)
            outcomes = await asyncio.wait_for(
                asyncio.gather(*(task.result() for task in tasks), return_exceptions=True), 30
            )
            failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            assert failures, "some of them were with the dead"
            for failure in failures:
                assert isinstance(failure, mosaic.MosaicError), failure
                assert uid in str(failure)
            for outcome in outcomes:
                if isinstance(outcome, np.ndarray):
                    assert (outcome == outcome[0]).all()
            assert (await ref.value() == 7.0).all()
            del tasks, outcomes, failures, failure, outcome, made, array, ref, keepers, one, two
            gc.collect()
            await runtime.wait_for_workers(3, 20)
        await nothing_is_left(runtime)
