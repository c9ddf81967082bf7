"""The warehouse with small values: put, read, pass on, drop."""

import asyncio
import gc

import pytest

import mosaic
from tests.support.actors import Counter, Echo, Holder


@mosaic.tessera
class Putter:
    async def put(self, value):
        return await mosaic.runtime().put(value)

    async def read(self, box):
        return await box[0].value()

    async def drop(self, box):
        await box[0].drop()


@pytest.mark.parametrize("value", [None, 0, "text", [1, {"a": (2,)}], b"x" * 10_000], ids=repr)
async def test_put_and_read(runtime, value):
    reference = await runtime.put(value)
    assert await reference.value() == value
    assert await runtime.get(reference) == value


async def test_awaiting_a_reference_gives_it_back(runtime):
    reference = await runtime.put(1)
    assert (await reference) is reference


async def test_values_are_immutable(runtime):
    value = [1]
    reference = await runtime.put(value)
    value.append(2)
    assert await reference.value() == [1]
    copy = await reference.value()
    copy.append(3)
    assert await Echo.remote().back(reference).result() == [1]


async def test_size(runtime):
    assert 10_000 <= await (await runtime.put(b"x" * 10_000)).size() < 12_000


async def test_as_an_argument_it_is_its_value(runtime):
    reference = await runtime.put({"a": 1})
    assert await Echo.remote().back(reference).result() == {"a": 1}
    args, kwargs = await Echo.remote().everything(reference, again=reference).result()
    assert args == ({"a": 1},)
    assert kwargs == {"again": {"a": 1}}


async def test_in_a_container_it_is_a_reference(runtime):
    reference = await runtime.put("value")
    assert await Putter.remote().read([reference]).result() == "value"


async def test_put_by_a_worker(runtime):
    reference = await Putter.remote().put([4]).result()
    assert await reference.value() == [4]


async def test_put_by_a_worker_without_waiting(runtime):
    @mosaic.tessera
    class Passer:
        def put(self, value):
            return mosaic.runtime().put(value)

        async def pass_on(self, value):
            # The reference may be where it goes before the value is stored.
            return await Echo.remote().back([mosaic.runtime().put(value)]).result()

        async def argument(self, value):
            return await Echo.remote().back(mosaic.runtime().put(value)).result()

    passer = Passer.remote()
    for value in ("small", bytes(3_000_000)):
        (reference,) = await passer.pass_on(value).result()
        assert await reference.value() == value
        assert await passer.argument(value).result() == value
    task = passer.put("as a result")
    assert await (await task.result()).value() == "as a result"


async def test_many_put_by_workers_are_let_go_of(runtime):
    async def many(n):
        for i in range(n):
            reference = mosaic.runtime().put(bytes(i))
            await reference
        return await reference.value()

    tasks = [runtime.submit(many, 300) for _ in range(4)]
    for task in tasks:
        assert await task.result() == bytes(299)


async def test_what_it_tells(runtime):
    reference = await runtime.put(b"x" * 100)
    assert repr(reference).startswith("<WarehouseObject object at 0x")
    for part in (reference.uid, "size=102 bytes", "warehouse=head"):
        assert part in repr(reference)
    assert reference.warehouse_id == "head"
    elsewhere = await Putter.remote().put(1).result()
    assert elsewhere.warehouse_id == "head", "it belongs to the node"


async def test_drop_says_how_far(runtime):
    for propagate in (True, False):
        reference = await runtime.put(1)
        await reference.drop(propagate=propagate)
        with pytest.raises(mosaic.ObjectLostError):
            await reference.value()
    reference = await runtime.put(1)
    await runtime.drop(reference, propagate=False)
    with pytest.raises(mosaic.ObjectLostError):
        await runtime.get(reference)


async def test_published(runtime):
    reference = await runtime.put([5], publish=True)
    assert await reference.value() == [5]
    assert await Echo.remote().back(reference).result() == [5]


async def test_proxies_in_the_store(runtime):
    reference = await runtime.put({"counter": Counter.remote(2)})
    value = await reference.value()
    assert await value["counter"].add(1).result() == 3


@pytest.mark.parametrize("how", ["reference", "runtime"])
async def test_dropped_objects_raise_and_name_themselves(runtime, how):
    reference = await runtime.put([1])
    await (reference.drop() if how == "reference" else _awaited(runtime.drop(reference)))
    with pytest.raises(mosaic.ObjectLostError) as info:
        await asyncio.wait_for(reference.value(), 20)
    assert str(reference.uid) in str(info.value)


async def _awaited(value):
    if value is not None:
        await value


async def test_a_dropped_object_fails_the_call_it_was_meant_for(runtime):
    reference = await runtime.put([1])
    await reference.drop()
    with pytest.raises(mosaic.ObjectLostError):
        await asyncio.wait_for(Echo.remote().back(reference).result(), 20)


async def test_dropped_elsewhere(runtime):
    reference = await runtime.put([1])
    await Putter.remote().drop([reference])
    with pytest.raises(mosaic.ObjectLostError, match=reference.uid):
        await asyncio.wait_for(reference.value(), 20)


async def test_a_copy_of_the_reference_keeps_it(runtime):
    holder = Holder.remote()
    reference = await runtime.put("kept")
    await holder.keep("r", [reference])
    del reference
    gc.collect()
    (back,) = await holder.give("r").result()
    assert await back.value() == "kept"


async def test_dropping_twice(runtime):
    reference = await runtime.put(1)
    await reference.drop()
    await reference.drop()


async def test_many_small_values(runtime):
    references = [await runtime.put(i) for i in range(500)]
    assert [await r.value() for r in references] == list(range(500))


async def test_what_cannot_be_pickled_is_refused(runtime):
    import threading

    with pytest.raises((TypeError, mosaic.MosaicError), match=r"(?i)lock|pickle"):
        await runtime.put(threading.Lock())
