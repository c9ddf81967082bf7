"""When the memory of large values goes, and what the report says of it; each test with a network of its own."""

import asyncio
import gc

import numpy as np
import pytest

import mosaic
from tests.support.actors import Echo, Holder
from tests.support.memory import private_bytes_of_tree, shared_bytes_of_tree
from tests.support.rendezvous import eventually_async

MEGABYTES_8 = 1_000_000  # of float64


@mosaic.tessera
class Maker:
    def make(self, length, value=1.0):
        return np.full(length, value)


async def taken(runtime) -> int:
    return (await runtime.memory()).taken


async def nothing_is_left(runtime):
    """Nothing is in the store any more, and no memory is kept for nothing."""

    async def empty() -> bool:
        report = await runtime.memory()
        return not report.buffers and report.taken == 0

    await eventually_async(empty)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_more_than_two_gibibytes(fresh):
    array = np.zeros((1 << 31) + 4096, np.uint8)
    array[-1], array[1 << 31] = 3, 4
    back = await Echo.remote().back(array).result()
    assert back.nbytes == array.nbytes
    assert (back[-1], back[1 << 31]) == (3, 4)


async def test_memory_goes_with_the_last_reference(fresh):
    holder = Holder.remote()
    # What is imported with the first array stays.
    for worker in fresh.workers:
        await Maker.remote(runtime=worker).make(MEGABYTES_8).result()
    await nothing_is_left(fresh)
    before = shared_bytes_of_tree(), private_bytes_of_tree()
    ref = await fresh.put(np.ones(4 * MEGABYTES_8))
    await holder.keep("a", ref).result()
    array = await holder.give("a").result()
    task = Maker.remote().make(4 * MEGABYTES_8, 2.0)
    made = await task.result()
    assert await taken(fresh) >= 64_000_000
    assert shared_bytes_of_tree() > before[0] + 60_000_000
    del task, ref
    await holder.forget("a").result()
    gc.collect()
    # Arrays outlive their tasks and references.
    assert made[-1] == 2.0
    assert array[-1] == 1.0
    assert await taken(fresh) >= 64_000_000
    made[:] = 0  # written pages are its own
    del made, array
    gc.collect()
    await nothing_is_left(fresh)
    await eventually_async(lambda: shared_bytes_of_tree() <= before[0] + 1_000_000)
    await eventually_async(lambda: private_bytes_of_tree() <= before[1] + 20_000_000)


def test_arrays_outlive_the_runtime():
    with mosaic.session(num_workers=1):
        array = Maker.remote().make(MEGABYTES_8, 2.0).wait()
        made = mosaic.empty(MEGABYTES_8)
        made[:] = 1
    array += 1
    made += 1
    assert (array[0], made[-1]) == (3.0, 2.0)


async def test_the_report_says_what_is_there(fresh):
    holder = Holder.remote(runtime="worker:0:0")
    ref = await fresh.put(np.ones(MEGABYTES_8))
    await holder.keep("a", ref).result()
    maker = Maker.remote(runtime="worker:0:1")
    task = await maker.make(2 * MEGABYTES_8)
    report = await fresh.memory()
    made, put = report.buffers
    assert (made.nbytes, made.runtime, made.holders) == (16_000_000, "worker:0:1", ("worker:0:1",))
    assert "Maker" in made.what
    assert (put.nbytes, put.runtime, put.spilled) == (8_000_000, "head", False)
    assert set(put.holders) == {"head", "worker:0:0"}
    assert report.taken >= 24_000_000
    assert report.taken == sum(part.taken for part in report.processes.values())
    assert report.limit > report.taken
    text = str(report)
    assert "16.0 MB in memory of worker:0:1" in text
    assert "held by head, worker:0:0" in text
    assert 8_000_000 < await ref.size() < 8_001_000
    assert 16_000_000 < task.nbytes < 16_001_000
    del task, ref
    await holder.forget("a").result()
    await nothing_is_left(fresh)


async def test_a_hundred_thousand_small_references(fresh):
    refs = [fresh.put(index) for index in range(100_000)]
    assert await refs[99_999].value() == 99_999
    assert await Echo.remote().back(refs[50_000]).result() == 50_000
    values = await asyncio.gather(*[ref.value() for ref in refs[::1000]])
    assert values == list(range(0, 100_000, 1000))


@mosaic.tessera
class Field:
    def __init__(self, length):
        self.data = np.zeros(length)


def keep_array(value, length):
    return np.ones(length)


def keep_given(value, array):
    return array


async def test_living_values_count_too(fresh):
    ref = await fresh.exec("kept", keep_array, (MEGABYTES_8,))
    report = await fresh.memory()
    assert 8_000_000 <= report.processes["warehouse:0"].taken < 8_100_000
    assert report.taken == report.processes["warehouse:0"].taken
    parameter = Field.parameter(2 * MEGABYTES_8)
    await parameter
    assert 24_000_000 <= (await fresh.memory()).processes["warehouse:0"].taken < 24_200_000
    await fresh.exec("kept", keep_array, (10,))
    await ref.drop()
    assert 16_000_000 <= (await fresh.memory()).processes["warehouse:0"].taken < 16_100_000
    # What lies in a store counts there, once.
    given = await fresh.exec("given", keep_given, (np.ones(MEGABYTES_8),))
    report = await fresh.memory()
    assert 24_000_000 <= report.taken < 24_200_000
    del parameter
    await given.drop()
    gc.collect()
    await nothing_is_left(fresh)
