"""What programs of mosaic 1.2 ask of runtimes, and of the proxies of others."""

import asyncio

import numpy as np
import pytest

import mosaic
from mosaic.utils import memory_limit
from tests.support.actors import Counter


async def test_workers_and_nodes_by_uid(runtime):
    workers = mosaic.get_workers()
    assert list(workers) == ["worker:0:0", "worker:0:1"]
    assert "worker:0:1" in workers
    assert [worker.uid for worker in workers.values()] == [one.uid for one in runtime.workers]
    assert mosaic.get_worker("worker:0:1") == workers["worker:0:1"]
    assert list(mosaic.get_nodes()) == ["node:0"]
    assert mosaic.get_node("node:0") == mosaic.get_nodes()["node:0"]
    assert list(mosaic.get_warehouses()) == ["warehouse:0"]
    # Also where a worker asks.
    assert await runtime.submit(lambda: list(mosaic.get_workers())).result() == list(workers)


@pytest.mark.parametrize(
    ("ask", "uid"),
    [
        ("get_worker", "worker:0:77"),
        ("get_node", "node:77"),
        ("get_warehouse", "warehouse:77"),
        ("get_worker", "node:0"),
    ],
)
async def test_a_uid_that_there_is_not(runtime, ask, uid):
    with pytest.raises(KeyError, match=uid):
        getattr(mosaic, ask)(uid)


async def test_what_kind_a_runtime_is(runtime):
    kinds = "head", "monitor", "node", "worker", "warehouse"

    def kinds_of(one):
        return [kind for kind in kinds if getattr(one, f"is_{kind}")]

    assert kinds_of(runtime) == ["head"]
    assert (runtime.name, runtime.reuse_head) == ("head", False)
    found = await runtime.submit(
        lambda: [mosaic.runtime().name, mosaic.runtime().is_worker, mosaic.runtime().is_head]
    ).result()
    assert found == ["worker", True, False]
    for one in (
        mosaic.get_monitor(),
        mosaic.get_node(),
        mosaic.get_warehouse(),
        *mosaic.get_workers().values(),
    ):
        assert kinds_of(one) == [one.name]
        assert (one.address, one.port) == (runtime.address, runtime.port)


async def test_proxies_by_name_and_numbers(runtime):
    worker = runtime.workers[1]
    for found in (
        runtime.proxy("worker", (0, 1)),
        runtime.proxy(name="worker", indices=[0, 1]),
        runtime.proxy("worker:0:1"),
        runtime.proxy(uid="worker:0:1"),
    ):
        assert found == worker
        assert found.alive
    assert runtime.proxy("node", 0).uid == "node:0"
    assert runtime.proxy().uid == "head"
    assert type(runtime.proxy("warehouse", 0)) is type(mosaic.get_warehouse())
    counter = await Counter.remote(runtime=runtime.proxy("worker", (0, 1)))
    assert counter.runtime_id == "worker:0:1"


async def test_memory_and_load(runtime):
    assert runtime.memory_limit() == memory_limit()
    assert runtime.fits_in_memory(1000) is True
    assert runtime.fits_in_memory(runtime.memory_limit()) is False
    runtime.cpu_load()
    sum(range(300_000))
    assert runtime.cpu_load() > 0
    assert await runtime.submit(lambda: mosaic.runtime().cpu_load() >= 0).result()


async def test_no_element_there_is_a_runtime_error(runtime):
    array = await Counter.remote(len=1)
    (elsewhere,) = {"worker:0:0", "worker:0:1"} - set(array.runtime_id)
    with pytest.raises(RuntimeError, match=f"lives on {elsewhere}"):
        array.add(1, runtime=elsewhere)


async def test_too_few_workers_are_a_runtime_error(runtime):
    with pytest.raises(RuntimeError, match=r"2 of 3 workers take part after 0\.01 s") as raised:
        await runtime.wait_for_workers(3, timeout=0.01)
    assert isinstance(raised.value, TimeoutError)


async def test_a_loop_over_nothing(runtime):
    @runtime.async_for()
    async def nothing(worker):
        raise AssertionError

    assert await asyncio.wait_for(nothing, 20) == []


async def test_put_get_and_drop_as_they_were_called(runtime):
    ref = await runtime.put([1, 2], publish=False, reply=True)
    assert await runtime.get(ref.uid) == [1, 2]
    assert await runtime.get(uid=ref) == [1, 2]
    assert await runtime.get(uid=ref.uid, cache=False) == [1, 2]
    assert await runtime.get(ref, cache=True) == [1, 2]
    assert await ref.size(pending=True) == await ref.size() > 0
    assert (ref.node_id, ref.runtime) == ("node:0", runtime)
    assert ref.head is runtime
    # Nothing is kept beside the value, so that only the value itself can be freed.
    await runtime.drop(ref, cache_only=True)
    await ref.drop(cache_only=True)
    assert await runtime.get(ref) == [1, 2]
    await runtime.drop(ref.uid)
    with pytest.raises(mosaic.ObjectLostError):
        await runtime.get(ref.uid)
    await runtime.drop(ref.uid)
    for wrong in ({}, {"ref": ref, "uid": ref.uid}):
        with pytest.raises(TypeError):
            await runtime.get(**wrong)
    with pytest.raises(TypeError, match="not by 7"):
        await runtime.get(7)


async def test_what_the_program_named_itself(runtime, warehouse):
    with pytest.raises(mosaic.ObjectLostError, match="mine"):
        await runtime.get("mine")
    ref = await mosaic.get_local_warehouse().put_remote({"a": 1}, uid="mine")
    assert await runtime.get("mine") == {"a": 1}
    assert await runtime.submit(get_mine).result() == {"a": 1}
    assert await ref.size(pending=True) > 0
    assert (ref.node_id, ref.runtime) == ("node:0", runtime)
    await runtime.drop("mine", cache_only=True)
    assert await runtime.get(uid="mine") == {"a": 1}
    await runtime.drop("mine")
    with pytest.raises(mosaic.ObjectLostError):
        await ref.value()


async def get_mine():
    return await mosaic.runtime().get("mine")


async def test_a_reference_made_by_hand(runtime):
    from mosaic.types import WarehouseObject

    values = np.arange(3.0)
    ref = WarehouseObject(values)
    values[0] = 7
    assert (await ref.value()).tolist() == [0, 1, 2]
    assert await runtime.submit(lambda found: found.sum(), ref).result() == 3
    assert (await runtime.get(ref.uid)).tolist() == [0, 1, 2]
    assert await runtime.submit(lambda: WarehouseObject(None).uid.startswith("ware-")).result()
    await ref.drop()
