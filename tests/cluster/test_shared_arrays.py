"""Large values lie in shared memory: who sees which write, what is copied, when memory goes."""

import gc
from time import perf_counter

import numpy as np
import pytest

import mosaic
from tests.support.actors import Echo

MEGABYTES_8 = 1_000_000  # of float64


@mosaic.tessera
class Writer:
    """Keeps an array, writes to it, and looks at it."""

    def __init__(self):
        self.array = None

    def keep(self, array):
        self.array = array
        return self.ends()

    def ends(self):
        return float(self.array.flat[0]), float(self.array.flat[-1])

    def write(self, value, at=slice(None)):
        self.array[at] = value
        return self.ends()

    def give(self):
        return self.array

    def make(self, length, value=1.0):
        return np.full(length, value)

    def forget(self):
        self.array = None
        gc.collect()

    def address_is_writable(self, array):
        array.flat[0] = 5
        return array.flags.writeable and array.flags.aligned


async def test_two_readers_and_a_writer_of_one_object(runtime):
    one, two, three = Writer.remote(), Writer.remote(), Writer.remote()
    array = np.arange(MEGABYTES_8, dtype=float)
    ref = await runtime.put(array)
    last = float(MEGABYTES_8 - 1)
    for writer in (one, two, three):
        assert await writer.keep(ref).result() == (0.0, last)
    assert await two.write(-1.0).result() == (-1.0, -1.0)
    array[:] = 7
    assert await one.ends().result() == (0.0, last)
    assert await three.ends().result() == (0.0, last)
    value = await ref.value()
    value[0] = 9
    assert (await runtime.get(ref))[0] == 0, "what one reader writes is seen by the next"
    assert await one.keep(ref).result() == (0.0, last)
    assert await two.ends().result() == (-1.0, -1.0)


async def test_what_is_passed_on_is_what_it_was_at_that_moment(runtime):
    writer = Writer.remote()
    array = np.zeros(MEGABYTES_8)
    tasks = []
    for value in range(5):
        array[:] = value
        tasks.append(Echo.remote().back(array))
    array[:] = -1
    for value, task in enumerate(tasks):
        got = await task.result()
        assert got[0] == got[-1] == value
    # A received array that was written to is passed on with what was written.
    await writer.keep(tasks[2]).result()
    await writer.write(8.0, slice(0, 1)).result()
    got = await writer.give().result()
    assert (got[0], got[-1]) == (8.0, 2.0)
    assert (await tasks[2].result())[0] == 2.0


async def test_an_array_that_goes_on_unchanged_is_not_copied(runtime):
    writer = Writer.remote(runtime="worker:0:0")
    ref = await runtime.put(np.ones(MEGABYTES_8))
    await writer.keep(ref).result()
    back = await writer.give().result()
    report = await runtime.memory()
    assert sum(buffer.nbytes for buffer in report.buffers) == back.nbytes
    assert {buffer.runtime for buffer in report.buffers} == {"head"}


@pytest.mark.parametrize("order", ["C", "F"])
async def test_arrays_made_in_the_store(runtime, order):
    writer = Writer.remote()
    made = mosaic.empty((1000, 1000), np.float32, order)
    assert made.flags[f"{order}_CONTIGUOUS"]
    assert made.flags.writeable
    made[...] = 3
    assert await writer.keep(made).result() == (3.0, 3.0)
    # From now on the array goes its own way.
    made[0, 0] = 4
    assert await writer.ends().result() == (3.0, 3.0)
    assert await writer.keep(made).result() == (4.0, 3.0)
    assert made[0, 0] == 4
    assert made[-1, -1] == 3
    whole = mosaic.zeros(MEGABYTES_8)
    assert not whole.any()
    copied = mosaic.asarray(np.asfortranarray(np.arange(60_000.0).reshape(200, 300)))
    assert copied.flags.f_contiguous
    np.testing.assert_array_equal(
        await Echo.remote().back(copied).result(), np.arange(60_000.0).reshape(200, 300)
    )


async def test_an_array_made_in_the_store_is_passed_without_a_copy(runtime):
    made = mosaic.empty(MEGABYTES_8)
    made[:] = 1
    first, second = Writer.remote(), Writer.remote()
    assert await first.keep(made).result() == (1.0, 1.0)
    assert await second.keep(made).result() == (1.0, 1.0)
    report = await runtime.memory()
    assert [buffer.nbytes for buffer in report.buffers] == [made.nbytes]
    # A part of it is an array as any other.
    assert await first.keep(made[10:]).result() == (1.0, 1.0)


async def test_filling_and_passing_an_array_of_the_store_takes_no_time_for_its_bytes(runtime):
    length = 32 * MEGABYTES_8
    taker, warm = await Writer.remote(), np.zeros(length)
    calls, copies = [], []
    for value in range(8):
        made = mosaic.empty(length)
        made.fill(value)
        start = perf_counter()
        ends = await taker.keep(made).result()
        calls.append(perf_counter() - start)
        assert ends == (value, value)
        start = perf_counter()
        np.copyto(warm, made)
        copies.append(perf_counter() - start)
    assert min(calls) < min(copies) / 10


def test_small_and_strange_arrays_are_ordinary_ones(runtime):
    assert mosaic.empty(3).shape == (3,)
    assert mosaic.empty((2, 0, 5)).shape == (2, 0, 5)
    assert mosaic.zeros(()).shape == ()
    assert mosaic.empty(100_000, object)[0] is None
    with pytest.raises(ValueError, match="negative"):
        mosaic.empty(-1)


async def test_received_arrays_can_be_written_to(runtime):
    ref = await runtime.put(np.zeros(MEGABYTES_8))
    assert await Writer.remote().address_is_writable(ref).result()
    got = await ref.value()
    assert got.flags.writeable
    got += 1
    assert (await Echo.remote().back(ref).result())[0] == 0


@pytest.mark.parametrize("size", [1000, 3_000_000])
async def test_bytes_and_containers(runtime, size):
    echo = Echo.remote()
    data = bytes(range(256)) * (size // 256)
    assert await echo.back(data).result() == data
    assert await echo.back([data, {"a": data}]).result() == [data, {"a": data}]
    assert await echo.back(bytearray(data)).result() == data
    assert bytes(await echo.back(memoryview(data)).result()) == data
    assert await echo.back("x" * size).result() == "x" * size
    arrays = {"a": [np.arange(size), (np.ones(size, np.complex64),)], "b": data}
    back = await echo.back(arrays).result()
    np.testing.assert_array_equal(back["a"][0], arrays["a"][0])
    np.testing.assert_array_equal(back["a"][1][0], arrays["a"][1][0])
    # The same array twice is one array.
    one = np.arange(size)
    first, second = await echo.back([one, one]).result()
    assert first is second


async def test_aliases_inside_a_value_stay_aliases(runtime):
    array = np.zeros(MEGABYTES_8)
    first, second = await Echo.remote().back((array, array[10:])).result()
    assert first.shape == (MEGABYTES_8,)
    assert second.shape == (MEGABYTES_8 - 10,)


async def test_many_arrays_in_one_value(runtime):
    arrays = [np.full(20_000, index, float) for index in range(600)]
    back = await Echo.remote().back(arrays).result()
    assert [array[0] for array in back] == list(range(600))
    large = [np.full(1_200_000, index, float) for index in range(20)]
    back = await Echo.remote().back(large).result()
    assert [array[-1] for array in back] == list(range(20))


async def test_values_freed_while_others_look(runtime):
    ref = await runtime.put(np.ones(MEGABYTES_8))
    writer = Writer.remote()
    await writer.keep(ref).result()
    await ref.drop()
    for _ in range(3):
        # Memory that is free is used again: not that of the array which somebody keeps.
        await Writer.remote().make(MEGABYTES_8, 5.0).result()
        await Echo.remote().back(np.full(MEGABYTES_8, 6.0)).result()
    assert await writer.ends().result() == (1.0, 1.0)
    with pytest.raises(mosaic.ObjectLostError):
        await Echo.remote().back(ref).result()


async def test_a_method_that_returns_part_of_what_it_got(runtime):
    @mosaic.tessera
    class Cutter:
        def halves(self, array):
            middle = len(array) // 2
            return array[:middle], array[middle:]

    task = Cutter.remote().halves(np.arange(MEGABYTES_8))
    first = await Echo.remote().back(task.outputs[0]).result()
    second = await Echo.remote().back(task.outputs[1]).result()
    assert (first[-1] + 1, second[-1]) == (second[0], MEGABYTES_8 - 1)


async def test_of_an_array_that_is_cut_from_another_only_its_own_bytes_are_kept(runtime):
    cut = np.zeros((2000, 1000))[::2, ::2]
    ref = await runtime.put(cut)
    report = await runtime.memory()
    assert [buffer.nbytes for buffer in report.buffers] == [cut.nbytes]
    assert (await ref.value()).shape == cut.shape
