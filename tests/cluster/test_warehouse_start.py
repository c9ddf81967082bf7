"""The warehouse process: it starts with the first need, whoever has it, and ends with the runtime."""

import asyncio
import gc
import os

import psutil
import pytest

import mosaic
from mosaic.core import TesseraProxy
from tests.support.actors import Counter


@mosaic.tessera
class Field:
    def __init__(self, value=0):
        self.value = value

    def pid(self):
        return os.getpid()

    def add(self, n):
        self.value += n
        return self.value


@mosaic.tessera
class Needy:
    """Needs the warehouse from a worker."""

    async def exec(self, n):
        reference = await mosaic.runtime().exec("needed", lambda old, n: (old or 0) + n, (n,))
        return reference.warehouse_id

    def make(self):
        field = Field.parameter(1)
        field.add(1, propagate=True)
        return field._tessera.pid().wait()


def children():
    return psutil.Process().children(recursive=True)


async def test_an_idle_network_has_none(fresh):
    assert len(children()) == 2
    await Counter.remote(1).add(1).result()
    await (await fresh.put([1])).value()
    await fresh.barrier()
    warehouse = fresh.get_warehouse()
    assert (warehouse.uid, warehouse.alive, warehouse.pid) == ("warehouse:0", False, None)
    assert len(children()) == 2


@pytest.mark.parametrize("need", ["exec", "make"])
async def test_a_worker_may_need_it_first(fresh, need):
    needy = Needy.remote()
    answer = await needy[need](*([1] if need == "exec" else [])).result()
    pid = fresh.get_local_warehouse().pid
    assert pid is not None
    assert answer in {"warehouse:0", pid}
    assert len(children()) == 3


def test_synchronous_code_may_need_it_first(fresh):
    field = Field.parameter(1)
    assert field.add(1, propagate=True) == 2
    assert field._tessera.pid().wait() == fresh.get_warehouse().pid


async def test_concurrent_first_needs_start_one(fresh):
    needy = [Needy.remote(runtime=worker) for worker in fresh.workers for _ in range(2)]
    calls = [each.exec(1) for each in needy] + [each.make() for each in needy]
    fields = [Field.parameter(i) for i in range(5)]
    mine = asyncio.gather(*(fresh.exec("needed", lambda old: (old or 0) + 1) for _ in range(5)))
    answers = await mosaic.gather(calls).result()
    pids = {*answers[4:], *await mosaic.gather([field._tessera.pid() for field in fields]).result()}
    assert pids == {fresh.get_warehouse().pid}
    assert await (await mine)[0].value() == 9
    assert len(children()) == 3


async def test_it_is_needed_while_the_programs_thread_is_busy(fresh, flag):
    # Whoever needs it waits for nothing that this thread would have to do.
    needy = Needy.remote()
    task = needy.exec(1)
    while not task.ended:
        pass
    assert await task.result() == "warehouse:0"


async def test_names_of_old_programs_without_a_warehouse(fresh):
    warehouse = mosaic.get_warehouse()
    assert "nonsense" not in warehouse
    await warehouse.drop_remote(uid="nonsense")
    with pytest.raises(mosaic.ObjectLostError, match="nonsense"):
        await warehouse.get_remote(uid="nonsense")
    assert not warehouse.alive


# Ends.


@pytest.mark.parametrize("busy", [False, True])
async def test_it_stops_with_the_runtime(flag, busy):
    with mosaic.session(num_workers=1, stop_grace=0.2) as runtime:
        field = await Field.parameter()
        pid = runtime.get_warehouse().pid
        if busy:
            started = flag("started")

            async def never(_, started):
                started.set()
                await asyncio.Event().wait()

            running = asyncio.ensure_future(runtime.exec("never", never, (started,)))
            await started.wait_async()
    assert not psutil.pid_exists(pid)
    with pytest.raises(mosaic.MosaicError):
        await field.pull()
    if busy:
        with pytest.raises(mosaic.RuntimeDisconnectedError):
            await running


async def test_what_a_stopped_runtime_left_does_no_harm():
    with mosaic.session(num_workers=1) as runtime:
        kept = [Field.parameter(), Field.local_parameter()]
        reference = await runtime.exec("left", lambda _: 1)
        proxy = kept[0]._tessera
        assert isinstance(proxy, TesseraProxy)
    with mosaic.session(num_workers=1):
        del kept, proxy
        gc.collect()
        with pytest.raises(mosaic.MosaicError):
            await reference.value()
