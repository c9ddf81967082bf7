"""The warehouse by the names of programs of mosaic 1.2."""

import numpy as np
import pytest

import mosaic
from mosaic import types


async def double(held, value):
    return value if held is None else held + value


async def test_put_get_drop_by_name(runtime, warehouse):
    local = mosaic.get_local_warehouse()
    reference = await local.put_remote(obj=np.arange(3), uid="by-name", reply=True)
    assert type(reference) in types.awaitable_types
    assert (reference.uid, reference.warehouse_id) == ("by-name", warehouse)
    np.testing.assert_array_equal(await local.get_remote(uid="by-name", reply=True), [0, 1, 2])
    await local.put_remote(obj="another", uid="by-name")
    assert await local.get_remote("by-name") == "another"
    await local.drop_remote(uid="by-name", reply=True)
    with pytest.raises(mosaic.ObjectLostError, match="by-name"):
        await local.get_remote(uid="by-name", reply=True)
    await local.drop_remote(uid="by-name", reply=True)


@pytest.mark.parametrize("publish", [False, True])
async def test_what_was_put_is_found_by_its_uid(runtime, warehouse, publish):
    reference = await runtime.put({"a": 1}, publish=publish)
    local = mosaic.get_local_warehouse()
    assert await local.get_remote(uid=reference.uid, reply=True) == {"a": 1}
    assert await runtime.submit(get_there, reference.uid).result() == {"a": 1}
    await local.drop_remote(uid=reference.uid)
    with pytest.raises(mosaic.ObjectLostError):
        await reference.value()


async def get_there(uid):
    return await mosaic.get_local_warehouse().get_remote(uid=uid, reply=True)


async def test_asking_whether_something_is_there_never_raises(runtime, warehouse):
    local = mosaic.get_local_warehouse()
    reference = await runtime.put(1)
    living = await runtime.exec("asked-for", double, (1,))
    for key in (reference, reference.uid, living, "asked-for", "nonsense", None, 3, (), [], object):
        assert (key in local) in {True, False}
    assert await runtime.submit(asks_there, "nonsense").result() is False
    assert living in local
    await living.drop(propagate=True)
    assert living not in local


async def asks_there(key):
    return key in mosaic.get_local_warehouse()


async def test_values_made_by_functions(runtime, warehouse):
    for number in (1, 2, 3):
        reference = await runtime.exec("summed", double, (number,))
    assert reference.warehouse_id == warehouse
    assert await reference.result() == 6
    assert await runtime.submit(len, [reference]).result() == 1
    assert await runtime.submit(abs, reference).result() == 6
    assert await runtime.exec("summed", double, func_args=[4], func_kwargs={}) == reference
    assert await reference.value() == 10
    await reference.drop(propagate=True)
    await reference.drop(propagate=True)
    again = await runtime.exec("summed", double, (5,))
    assert await again.value() == 5


async def test_exec_without_arguments(runtime, warehouse):
    async def count(held):
        return 1 if held is None else held + 1

    assert await (await runtime.exec("counted", count)).value() == 1
    assert await (await runtime.exec("counted", count, None, None)).value() == 2


async def accumulate_there(uid, value):
    """Do in a worker what operators do at the end of an adjoint."""
    reference = await mosaic.runtime().exec(uid, double, (value,))
    return reference


async def test_workers_add_up_at_the_warehouse(runtime, warehouse):
    @runtime.async_for(range(10))
    async def loop(worker, number):
        task = runtime.submit(accumulate_there, "from-workers", number, runtime=worker)
        return await task.result()

    references = await loop
    assert {reference.uid for reference in references} == {"from-workers"}
    assert await references[0].value() == 45
    # Dropped by a worker, it is gone everywhere.
    await runtime.submit(drop_there, [references[0]]).result()
    with pytest.raises(mosaic.ObjectLostError):
        await references[1].value()


async def drop_there(references):
    await references[0].drop(propagate=True)


@mosaic.tessera
class Total:
    """Is added to at its root."""

    def __init__(self, *args, **kwargs):
        self.grad = None
        self.calls = 0

    async def add(self, part, **kwargs):
        if isinstance(part, types.awaitable_types):
            part = await part.result()
        self.calls += 1
        self.grad = part if self.grad is None else self.grad + part


async def register_and_add(held, parameter, part):
    if held is None:

        async def at_barrier():
            reference = await mosaic.runtime().exec(f"parts-of-{parameter._tessera.uid}", keep)
            await parameter.add(reference, propagate=True)
            await reference.drop(propagate=True)

        mosaic.runtime().register_barrier_task(at_barrier)
        held = np.zeros_like(part)
    held += part
    return held


async def keep(held):
    return held


async def add_from_worker(parameter, part):
    await mosaic.runtime().exec(
        f"parts-of-{parameter._tessera.uid}", register_and_add, (parameter, part)
    )


async def test_gradients_meet_at_the_barrier_of_a_loop(runtime, warehouse):
    total = Total.parameter()
    for turn in (1, 2):

        @runtime.async_for(range(6))
        async def loop(worker, number):
            part = np.full(4, float(number))
            await runtime.submit(add_from_worker, total, part, runtime=worker)

        await loop
        np.testing.assert_array_equal(await total.pull(attr="grad"), np.full(4, 15.0 * turn))
        assert await total.pull(attr="calls") == turn


async def test_drop_without_a_wait(runtime, warehouse):
    reference = await runtime.exec("dropped-late", double, (1,))
    reference.drop(propagate=True)
    with pytest.raises(mosaic.ObjectLostError):
        await reference.value()
