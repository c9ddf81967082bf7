"""`runtime.exec`: living values at the warehouse, changed by one function at a time."""

import asyncio
import gc
import threading

import numpy as np
import pytest

import mosaic
from mosaic import types
from tests.support.actors import Echo, Holder
from tests.support.rendezvous import eventually_async

pytestmark = pytest.mark.usefixtures("warehouse")


def add(old, n=1):
    return (old or 0) + n


async def add_async(old, n=1):
    await asyncio.sleep(0)
    return (old or 0) + n


class Unpicklable:
    def __init__(self):
        self.lock = threading.Lock()
        self.seen = []


@mosaic.tessera
class Executor:
    async def add(self, uid, n):
        return [await mosaic.runtime().exec(uid, add, (n,))]

    async def read(self, box):
        return await box[0].value()

    async def drop(self, box):
        await box[0].drop()


async def test_none_the_first_time_then_the_old_value(runtime):
    seen = await runtime.exec("first", lambda old: [old])
    assert await seen.value() == [None]
    seen = await runtime.exec("first", lambda old: [*old, "again"])
    assert await seen.value() == [None, "again"]


@pytest.mark.parametrize("function", [add, add_async])
async def test_plain_and_coroutine_functions(runtime, function):
    uid = function.__name__
    for n in range(4):
        reference = await runtime.exec(uid, function, (n,))
    assert await reference.value() == 6
    assert await (await runtime.exec(uid, function, func_kwargs={"n": 10})).value() == 16


async def test_a_plain_function_that_returns_a_coroutine(runtime):
    reference = await runtime.exec("handed back", lambda old: add_async(old, 5))
    assert await reference.value() == 5


async def test_what_the_reference_tells(runtime):
    reference = await runtime.exec("told", lambda _: np.zeros(1000))
    assert reference.uid == "told"
    assert reference.warehouse_id == "warehouse:0"
    assert isinstance(reference, types.WarehouseObject)
    assert type(reference) in types.awaitable_types
    assert 8000 <= await reference.size() < 8400
    assert "told" in repr(reference)
    assert "warehouse:0" in repr(reference)
    assert (await reference) is reference


async def test_a_reference_follows_the_value(runtime):
    reference = await runtime.exec("followed", add, (1,))
    await runtime.exec("followed", add, (1,))
    assert await reference.value() == 2
    assert await Echo.remote().back(reference).result() == 2


async def test_as_an_argument_it_is_the_value_of_that_moment(runtime):
    reference = await runtime.exec("argument", add, (1,))
    task = Echo.remote().everything(reference, again=reference)
    await runtime.exec("argument", add, (1,))
    assert await task.result() == ((1,), {"again": 1})
    assert await runtime.submit(add, reference, 10).result() == 12


async def test_elsewhere_the_value_is_a_copy(runtime):
    reference = await runtime.exec("copied", lambda _: [1])
    value = await reference.value()
    value.append(2)
    assert await reference.value() == [1]


async def test_in_a_container_it_is_a_reference(runtime):
    reference = await runtime.exec("contained", add, (7,))
    assert await Executor.remote().read([reference]).result() == 7
    holder = Holder.remote([reference])
    (back,) = await holder.give(0).result()
    assert await back.value() == 7


async def test_values_need_not_pickle(runtime):
    reference = await runtime.exec("unpicklable", lambda _: Unpicklable())

    def note(old, word):
        old.seen.append(word)
        return old

    await runtime.exec("unpicklable", note, ("one",))
    await runtime.exec("unpicklable", note, ("two",))
    words = await runtime.exec("words", lambda _, living: list(living.seen), (reference,))
    assert await words.value() == ["one", "two"]
    with pytest.raises(mosaic.SerialisationError, match="lock"):
        await reference.value()


async def test_tasks_and_references_among_the_arguments(runtime):
    task = Echo.remote().back(3)
    stored = await runtime.put(4)
    result = await runtime.exec(
        "replaced", lambda _, *args, **kwargs: (args, kwargs), (task, stored), {"x": task, "y": 1}
    )
    assert await result.value() == ((3, 4), {"x": 3, "y": 1})


async def test_at_the_warehouse_an_argument_is_the_living_value(runtime):
    first = await runtime.exec("living list", lambda _: [])
    await runtime.exec("appender", lambda _, living: living.append("here"), (first,))
    assert await first.value() == ["here"]


async def test_calls_on_one_uid_run_one_at_a_time_in_order(runtime, flag, log):
    async def slow(old, started, release):
        started.set()
        await release.wait_async()
        log.add("slow")
        return [*(old or []), "slow"]

    def note(old, word):
        log.add(word)
        return [*(old or []), word]

    started, release = flag("started"), flag("release")
    running = asyncio.ensure_future(runtime.exec("ordered", slow, (started, release)))
    await started.wait_async()
    behind = [asyncio.ensure_future(runtime.exec("ordered", note, (str(i),))) for i in range(5)]
    # Others interleave with it.
    beside = await runtime.exec("beside", note, ("beside",))
    assert await beside.value() == ["beside"]
    release.set()
    await running
    reference = (await asyncio.gather(*behind))[-1]
    assert await reference.value() == ["slow", "0", "1", "2", "3", "4"]
    assert log.lines() == ["beside", "slow", "0", "1", "2", "3", "4"]


async def test_many_callers_lose_nothing(runtime):
    workers = [Executor.remote() for _ in range(4)]
    tasks = [worker.add("shared", 1) for worker in workers for _ in range(25)]
    await asyncio.gather(*(runtime.exec("shared", add_async, (1,)) for _ in range(20)))
    references = await mosaic.gather(tasks).result()
    assert await references[0][0].value() == 120


async def test_registry_2_exception_keeps_the_old_value(runtime):
    reference = await runtime.exec("kept", add, (5,))
    for fail in (_fail, _fail_async):
        with pytest.raises(ValueError, match="no good"):
            await runtime.exec("kept", fail)
    assert await reference.value() == 5


def _fail(old):
    raise ValueError("no good")


async def _fail_async(old):
    raise ValueError("no good")


async def test_dropped_it_is_gone_for_everybody(runtime):
    reference = await runtime.exec("dropped", add, (5,))
    copy = await Executor.remote().add("dropped", 1).result()
    await reference.drop(propagate=True)
    await reference.drop()
    for waiting in (reference.value(), reference, reference.size(), copy[0].value()):
        with pytest.raises(mosaic.ObjectLostError, match="dropped"):
            await asyncio.wait_for(waiting, 20)
    with pytest.raises(mosaic.ObjectLostError, match="dropped"):
        await Echo.remote().back(copy[0]).result()
    # The name is free again, and is not the old value.
    again = await runtime.exec("dropped", add, (1,))
    assert await again.value() == 1
    with pytest.raises(mosaic.ObjectLostError, match="dropped"):
        await copy[0].value()


async def test_dropped_by_a_worker(runtime):
    reference = await runtime.exec("dropped elsewhere", add, (5,))
    await Executor.remote().drop([reference])
    with pytest.raises(mosaic.ObjectLostError):
        await reference.value()


async def test_registry_1_value_stays_without_references(runtime):
    await runtime.exec("stays", add, (5,))
    gc.collect()
    assert await (await runtime.exec("stays", add, (1,))).value() == 6


async def test_from_code_at_the_warehouse(runtime):
    async def outer(_):
        inner = await mosaic.runtime().exec("inner", add, (3,))
        plain = await (await mosaic.runtime().exec("inner", add_async, (3,))).value()
        return mosaic.runtime().uid, plain, [inner]

    uid, plain, (inner,) = await (await runtime.exec("outer", outer)).value()
    assert uid == "warehouse:0"
    assert plain == 6
    assert await inner.value() == 6


async def test_a_call_that_waits_for_itself_is_told(runtime):
    async def again(_):
        await mosaic.runtime().exec("itself", add)

    with pytest.raises(mosaic.MosaicError, match="waiting for itself"):
        await asyncio.wait_for(runtime.exec("itself", again), 20)


async def test_proxies_among_the_values(runtime):
    holder = Holder.remote("kept")
    reference = await runtime.exec("proxies", lambda _, proxy: {"holder": proxy}, (holder,))
    del holder
    gc.collect()
    value = await reference.value()
    assert await value["holder"].give(0).result() == "kept"


async def test_plain_functions_run_on_the_main_thread(runtime):
    def where(_):
        return threading.current_thread() is threading.main_thread()

    assert await (await runtime.exec("main thread", where)).value() is True


def test_in_synchronous_code(runtime, runner):
    reference = runner.run(runtime.exec("synchronous", add, (2,)))
    assert reference.wait() == 2


async def test_misuse_is_explained(runtime):
    with pytest.raises(TypeError, match="uid"):
        await runtime.exec(3, add)
    with pytest.raises(TypeError, match="function"):
        await runtime.exec("misused", "add")
    with pytest.raises(TypeError, match="func_args"):
        await runtime.exec("misused", add, 3)


async def test_what_a_dropped_value_refers_to_is_freed(runtime, log):
    from tests.support.actors import Mortal

    await runtime.exec("refers", lambda _, proxy: proxy, (Mortal.remote(log, "held"),))
    gc.collect()
    reference = await runtime.exec("refers", lambda old: old)
    assert log.lines() == []
    await reference.drop()
    await eventually_async(lambda: log.lines() == ["held"], "freed")
