"""The warehouse: what it is to others, and what is done there and elsewhere at a barrier."""

import asyncio
import gc
import os

import pytest

import mosaic
from mosaic.runtime import Warehouse
from tests.support.actors import Counter, Echo
from tests.support.rendezvous import Log, eventually_async

pytestmark = pytest.mark.usefixtures("warehouse")


@mosaic.tessera
class Field:
    def __init__(self, value=0):
        self.value = value

    async def at_the_barrier(self, log, line):
        async def task():
            log.add(line)

        self.runtime.register_barrier_task(task)


@mosaic.tessera
class Registrar:
    """Registers barrier tasks from a worker."""

    async def fail_at_the_barrier(self):
        async def task():
            raise ValueError("at the barrier")

        mosaic.runtime().register_barrier_task(task)

    def register(self, log, line):
        async def task():
            log.add(line)

        mosaic.runtime().register_barrier_task(task)


def names(runtime):
    return sorted(member.uid for member in runtime.engine.members())


async def test_it_is_no_worker(runtime):
    assert names(runtime) == ["head", "warehouse:0", "worker:0:0", "worker:0:1"]
    assert runtime.num_workers == 2
    assert {worker.uid for worker in runtime.workers} == {"worker:0:0", "worker:0:1"}
    assert runtime.num_nodes == 1
    proxies = [await Counter.remote() for _ in range(6)]
    assert {proxy.runtime_id for proxy in proxies} == {"worker:0:0", "worker:0:1"}
    array = await Counter.remote(len=4)
    assert set(array.runtime_id) == {"worker:0:0", "worker:0:1"}
    pids = set(await runtime.map(_pid, range(40)))
    assert runtime.get_warehouse().pid not in pids

    @runtime.async_for(range(6))
    async def loop(worker, i):
        return worker.uid

    assert set(await loop) == {"worker:0:0", "worker:0:1"}


def _pid(_):
    return os.getpid()


async def test_its_own_view_of_the_network(runtime):
    def look(_):
        runtime = mosaic.runtime()
        return (
            type(runtime) is Warehouse,
            runtime.uid,
            runtime.indices,
            runtime.num_workers,
            mosaic.get_local_warehouse().uid,
            mosaic.get_worker(),
            mosaic.get_node().uid,
        )

    seen = await (await runtime.exec("look", look)).value()
    assert seen == (True, "warehouse:0", (0,), 2, "warehouse:0", None, "node:0")


async def test_what_it_prints_is_shown(capfd, runtime):
    await runtime.exec("printed", lambda _: print("said at the warehouse"))
    await runtime.barrier()
    out = []

    def shown():
        out.append(capfd.readouterr().out)
        return "[warehouse:0] said at the warehouse\n" in "".join(out)

    await eventually_async(shown)


async def test_code_there_uses_the_workers(runtime):
    async def use(_):
        counter = Counter.remote(1)
        value = await counter.add(1).result()
        stored = await mosaic.runtime().put([value])
        return counter.runtime_id, value, stored, await mosaic.runtime().map(abs, [-1, -2])

    uid, value, stored, mapped = await (await runtime.exec("use", use)).value()
    assert uid.startswith("worker:")
    assert (value, mapped) == (2, [1, 2])
    assert await stored.value() == [2]


async def test_functions_can_be_sent_there(runtime):
    assert await runtime.submit(os.getpid, runtime="warehouse:0").result() == (
        runtime.get_warehouse().pid
    )
    proxy = await Field.remote(1, runtime="warehouse:0")
    assert proxy.runtime_id == "warehouse:0"


async def test_the_names_of_old_programs(runtime):
    warehouse = mosaic.get_local_warehouse()
    assert warehouse == mosaic.get_warehouse() == mosaic.get_warehouse("warehouse")
    assert warehouse.indices == (0,)
    named = await warehouse.put_remote([1], uid="by name")
    assert await warehouse.get_remote(uid="by name", reply=True) == [1]
    assert await named.value() == [1]
    assert await warehouse.get_remote(named) == [1]
    await warehouse.put_remote([2], uid="by name")
    assert await warehouse.get_remote("by name") == [2]
    stored = await warehouse.put_remote([3])
    assert await warehouse.get_remote(uid=stored.uid) == [3]
    assert await Echo.remote().back(stored).result() == [3]
    assert named in warehouse
    for key in ("nonsense", 3, None, stored):
        assert (key in warehouse) in {True, False}
    await warehouse.drop_remote(uid="by name")
    await warehouse.drop_remote(uid="by name")
    for uid in ("by name", "never there", "ware-0-ffffff", "ware-1-ffffff", "ware-99-ff"):
        with pytest.raises(mosaic.ObjectLostError, match=uid):
            await asyncio.wait_for(warehouse.get_remote(uid=uid), 20)
    with pytest.raises(TypeError, match="uid"):
        await warehouse.get_remote(uid=3)


# Barrier tasks.


async def test_a_barrier_task_of_a_root_is_awaited_once(runtime, log):
    field = Field.parameter()
    await field._tessera.at_the_barrier(log, "root")
    assert log.lines() == []
    await runtime.barrier()
    assert log.lines() == ["root"]
    await runtime.barrier()
    assert log.lines() == ["root"]


async def test_barrier_tasks_of_everybody(runtime, log):
    async def mine():
        log.add("driver")

    async def made_there(_):
        async def task():
            log.add("exec")

        mosaic.runtime().register_barrier_task(task)

    workers = [Registrar.remote(runtime=worker) for worker in runtime.workers]
    for i, worker in enumerate(workers):
        worker.register(log, f"worker {i}")
        worker.register(log, f"worker {i} again")
    await runtime.exec("made there", made_there)
    runtime.register_barrier_task(mine)
    await runtime.barrier()
    assert sorted(log.lines()) == [
        "driver",
        "exec",
        "worker 0",
        "worker 0 again",
        "worker 1",
        "worker 1 again",
    ]


async def test_a_loop_ends_with_a_barrier(runtime, log):
    field = Field.parameter()

    @runtime.async_for(range(3))
    async def loop(worker, i):
        await field._tessera.at_the_barrier(log, i)

    await loop
    assert sorted(log.lines()) == ["0", "1", "2"]


async def test_what_barrier_tasks_call_has_ended_too(runtime, log):
    async def register(_, log):
        async def task():
            Echo.remote().call(await Logger.remote(log), "add", "called")

        mosaic.runtime().register_barrier_task(task)

    await runtime.exec("calls", register, (log,))
    await runtime.barrier()
    assert log.lines() == ["called"]


@mosaic.tessera
class Logger:
    def __init__(self, log: Log):
        self.log = log

    def add(self, line):
        self.log.add(line)


async def test_a_barrier_task_that_fails(runtime, log):
    worker = Registrar.remote()
    await worker.fail_at_the_barrier()
    await worker.register(log, "not stopped by it")
    with pytest.raises(ValueError, match="at the barrier"):
        await runtime.barrier()
    assert log.lines() == ["not stopped by it"]
    await runtime.barrier()


# What it keeps.


async def test_it_knows_the_size_of_what_it_keeps(runtime):
    def total(_):
        from mosaic.warehouse.accounting import account

        return account.total

    async def kept():
        return await (await runtime.exec("total", total)).value()

    before = await kept()
    value = await runtime.exec("sized", lambda _: bytes(100_000))
    assert 100_000 <= await kept() - before < 101_000
    field = Field.parameter(bytes(200_000))
    await field
    assert 300_000 <= await kept() - before < 302_000
    field.value = b""
    await field.push("value")
    assert 100_000 <= await kept() - before < 102_000
    await field.set("value", bytes(50_000))
    assert 150_000 <= await kept() - before < 152_000
    await value.drop()
    del field
    gc.collect()

    async def freed():
        return await kept() - before <= 1000

    # Nobody tells here that the root is freed.
    await eventually_async(freed)
