"""Each who asks a reference for its value has a value of its own."""

import asyncio
import pickle

import numpy as np
import pytest

import mosaic
from tests.support.memory import shared_bytes_of_tree

MEGABYTES_8 = 1 << 20
"""Elements of an array."""


class Model:
    def __init__(self):
        self.traces = [np.zeros(4), np.zeros(MEGABYTES_8)]
        self.names = {"a": [1]}


@mosaic.tessera
class Writer:
    def write_both(self, one, two):
        one[0] = 5
        return float(two[0])

    def write(self, value):
        value[0] = 5
        return float(value[-1])


VALUES = {
    "list": lambda: [0, 0, 0],
    "dictionary": lambda: {0: 0, 1: 0, -1: 0},
    "array": lambda: np.zeros(8),
    "large array": lambda: np.zeros(MEGABYTES_8),
}


@pytest.mark.parametrize("kind", VALUES)
async def test_what_one_writes_the_next_does_not_see(runtime, kind):
    ref = await runtime.put(VALUES[kind]())
    writer = await Writer.remote()
    values = [await ref.value(), await ref.value(), await runtime.get(ref), await ref.result()]
    values += await asyncio.gather(ref.value(), ref.value())
    for value in values:
        assert value[0] == 0
        value[0] = 9
    assert len({id(value) for value in values}) == len(values)
    assert await writer.write_both(ref, ref).result() == 0
    assert await writer.write(ref).result() == 0
    assert (await ref.value())[0] == 0


async def test_references_that_are_passed_inside_a_value(runtime):
    async def write_values(refs):
        ref = refs[0]
        first, second = await ref.value(), await mosaic.runtime().get(ref)
        first[0] = 5
        return float(second[0]), float((await ref.result())[0])

    def wait_for_values(refs):
        first = refs[0].wait()
        first[0] = 5
        return float(refs[0].wait()[0])

    for make in VALUES.values():
        ref = await runtime.put(make())
        assert await runtime.submit(write_values, [ref]).result() == (0.0, 0.0)
        assert await runtime.submit(wait_for_values, [ref]).result() == 0.0


def test_values_that_are_waited_for(runtime):
    ref = runtime.put([0])
    ref.wait()[0] = 5
    ref.wait(20)[0] = 6
    assert ref.wait() == [0]


async def test_objects_with_arrays_in_them(runtime):
    ref = await runtime.put(Model())
    for _ in range(2):
        model = await ref.value()
        assert model.names == {"a": [1]}
        assert not model.traces[0].any()
        model.names["a"].append(2)
        model.traces[0][:] = 1
        model.traces[1][0] = 1
    assert not (await runtime.get(ref)).traces[1].any()


async def test_published_and_named_values(runtime, warehouse):
    ref = await runtime.put([0], publish=True)
    (await ref.value())[0] = 5
    assert await ref.value() == [0]
    living = await runtime.exec("own-values", lambda _: [0])
    (await living.value())[0] = 5
    assert await living.value() == [0]


async def test_values_stored_by_a_worker(runtime):
    async def store():
        ref = await mosaic.runtime().put([0])
        (await ref.value())[0] = 5
        assert await ref.value() == [0]
        return ref

    ref = await runtime.submit(store).result()
    (await ref.value())[0] = 6
    assert await ref.value() == [0]


async def test_result_of_a_task_stays_one_object(runtime):
    task = runtime.submit(list, (0,))
    value = await task.result()
    value[0] = 5
    assert await task.result() is value
    assert (await mosaic.gather([task]).result())[0] is value
    assert await task.outputs[0].result() is value


async def test_reading_a_large_array_again_copies_nothing(runtime):
    ref = await runtime.put(np.ones(MEGABYTES_8))
    values = [await ref.value()]
    before = shared_bytes_of_tree()
    values += [await ref.value() for _ in range(8)]
    assert all(value[-1] == 1 for value in values)
    assert shared_bytes_of_tree() < before + 4 * MEGABYTES_8
    values[0][0] = 3
    assert values[1][0] == 1


async def test_a_value_that_cannot_be_rebuilt_says_so_each_time(runtime):
    ref = await runtime.put(Unbuildable())
    for _ in range(2):
        with pytest.raises(pickle.UnpicklingError, match="cannot be rebuilt"):
            await ref.value()


def raise_reason():
    raise pickle.UnpicklingError("cannot be rebuilt")


class Unbuildable:
    def __reduce__(self):
        return raise_reason, ()
