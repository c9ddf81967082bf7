"""A worker dies: everyone who waits for it is told at once, and told why."""

import asyncio
import gc
import os
import signal
import statistics
import threading
import time

import pytest

import mosaic
from tests.support.actors import Counter, Echo, Holder, Mortal
from tests.support.deaths import WAYS, Doomed, freeze
from tests.support.rendezvous import eventually_async

pytestmark = pytest.mark.faults

BOUND = 10.0


async def told(awaitable) -> mosaic.RuntimeDisconnectedError:
    """Return the error that a waiter gets; nobody waits longer than the bound."""
    with pytest.raises(mosaic.RuntimeDisconnectedError) as info:
        await asyncio.wait_for(awaitable, BOUND)
    return info.value


async def pair(runtime):
    """Make a tessera on each worker."""
    one, two = (Doomed.remote(runtime=worker) for worker in runtime.workers)
    return await one, await two


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("method", ["die", "die_async"])
async def test_the_error_names_worker_and_cause(fresh, how, method):
    doomed, _ = await pair(fresh)
    uid = doomed.runtime_id
    error = await told(doomed[method](how).result())
    assert uid in str(error)
    with pytest.raises(mosaic.RuntimeDisconnectedError, match=WAYS[how]):
        raise error
    assert isinstance(error, ConnectionError)


async def test_every_waiter_is_told(fresh, flag):
    doomed, other = await pair(fresh)
    started, release = flag("started"), flag("release")
    pid = await doomed.pid().result()
    running_async = Doomed.remote(runtime=doomed.runtime_id).until_async(flag("a"), release)
    running = doomed.until(started, release, 1)
    queued = [doomed.add(1) for _ in range(5)]
    attribute = doomed.get_attr("count")
    dependant = other.add(running)
    further = Echo.remote(runtime=other.runtime_id).back(dependant)
    asked = Doomed.remote(runtime=other.runtime_id).ask(doomed, "add", 1)
    thread_told = []

    def wait_in_a_thread():
        try:
            running.wait(BOUND)
        except mosaic.RuntimeDisconnectedError as error:
            thread_told.append(error)

    thread = threading.Thread(target=wait_in_a_thread)
    thread.start()
    await started.wait_async()
    os.kill(pid, signal.SIGKILL)
    waiting = [
        running,
        running.result(),
        running.outputs[0].result(),
        running.done,
        running_async,
        *queued,
        attribute,
        dependant,
        further,
        asked,
        mosaic.gather([running]),
    ]
    for awaitable in waiting:
        error = await told(awaitable)
        assert "SIGKILL" in str(error) or "signal 9" in str(error)
    thread.join()
    assert len(thread_told) == 1
    assert running.state == "failed"
    # Whoever lives goes on.
    assert await other.add(3).result() == 3


async def test_calls_on_the_dead_are_refused_at_once(fresh):
    doomed, _ = await pair(fresh)
    await told(doomed.die())
    error = await told(doomed.add(1))
    assert "worker:0:0" in str(error)
    await told(doomed.get_attr("count"))
    assert doomed.state in {"failed", "stopped"}


async def test_death_in_a_constructor(fresh):
    doomed = Doomed.remote("exit")
    early = doomed.add(1)
    for awaitable in (early, doomed, doomed.add(1)):
        assert "3" in str(await told(awaitable))


async def test_tasks_given_to_the_dead_and_results_held_by_them(fresh):
    doomed, other = await pair(fresh)
    small, large = doomed.add(5), doomed.large()
    await small
    await large
    read = await large.result()
    await told(doomed.die())
    # A result either had arrived already or is lost: the wait ends either way.
    for task in (small, doomed_large(doomed, other)):
        outcome = await asyncio.wait_for(
            asyncio.gather(task.result(), return_exceptions=True), BOUND
        )
        assert isinstance(
            outcome[0], int | bytes | mosaic.RuntimeDisconnectedError | mosaic.ObjectLostError
        )
    assert await large.result() is read, "what was read stays"


def doomed_large(doomed, other):
    return Echo.remote(runtime=other.runtime_id).back(doomed.large())


async def test_the_dead_are_replaced_under_a_new_uid(fresh):
    doomed, _ = await pair(fresh)
    await told(doomed.die())
    await fresh.wait_for_workers(2, timeout=BOUND)
    uids = {worker.uid for worker in fresh.workers}
    assert len(uids) == 2
    assert doomed.runtime_id not in uids
    pids = {await Echo.remote(runtime=uid).pid().result() for uid in uids}
    assert len(pids) == 2


async def test_the_last_worker_is_replaced_too(fresh):
    for worker in list(fresh.workers):
        await told(Doomed.remote(runtime=worker).die())
    await fresh.wait_for_workers(2, timeout=BOUND)
    assert await asyncio.wait_for(Counter.remote(1).add(1).result(), BOUND) == 2


async def test_from_death_to_error_in_a_tenth_of_a_second(fresh):
    delays = []
    for _ in range(9):
        await fresh.wait_for_workers(2, timeout=BOUND)
        doomed = await Doomed.remote()
        pid = await doomed.pid().result()
        never = doomed.until_async(*NEVER)
        waiter = asyncio.ensure_future(never)
        await asyncio.sleep(0)
        began = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        await told(waiter)
        delays.append(time.perf_counter() - began)
    assert statistics.median(delays) <= 0.1, delays
    assert max(delays) <= BOUND


class Nothing:
    """A flag that is never set and keeps nobody busy."""

    def set(self):
        pass

    async def wait_async(self):
        await asyncio.Event().wait()


NEVER = (Nothing(), Nothing())


async def test_what_the_dead_held_is_freed(fresh, log):
    mortal = await Mortal.remote(log, "outlived its holder", runtime=fresh.workers[0])
    holder = await Holder.remote(mortal, runtime=fresh.workers[1])
    pid = await Doomed.remote(runtime=fresh.workers[1]).pid().result()
    assert await holder.ask(0, "hello").result() == "outlived its holder"
    del mortal
    gc.collect()
    assert log.lines() == []
    os.kill(pid, signal.SIGKILL)
    await eventually_async(lambda: log.lines() == ["outlived its holder"], "freed")


async def test_a_caller_that_died_leaves_its_calls_without_harm(fresh, flag, log):
    counter = await Counter.remote(runtime=fresh.workers[0])

    @mosaic.tessera
    class Caller:
        def call_and_die(self, counter, n):
            for _ in range(n):
                counter.add(1)
            Doomed("kill")

    await told(Caller.remote(runtime=fresh.workers[1]).call_and_die(counter, 100))
    value = await counter.value().result()
    assert 0 <= value <= 100
    seen = await counter.order().result()
    assert len(seen) >= value


async def test_barrier_ends_when_a_worker_dies(fresh, flag):
    doomed, _ = await pair(fresh)
    pid = await doomed.pid().result()
    task = doomed.until(flag("started"), flag("never"))
    barrier = asyncio.ensure_future(fresh.barrier())
    await flag("started").wait_async()
    os.kill(pid, signal.SIGKILL)
    await asyncio.wait_for(barrier, BOUND)
    await told(task)


async def test_stored_values_survive_the_worker_that_put_them(fresh):
    @mosaic.tessera
    class Putter:
        async def put(self, value):
            return await mosaic.runtime().put(value)

    doomed, _ = await pair(fresh)
    putter = Putter.remote(runtime=doomed.runtime_id)
    small = await putter.put("kept").result()
    large = await putter.put(bytes(3_000_000)).result()
    await told(doomed.die())
    assert await asyncio.wait_for(small.value(), BOUND) == "kept"
    assert await asyncio.wait_for(large.size(), BOUND) > 3_000_000
    for waiting in (large.value(), fresh.get(large)):
        assert await asyncio.wait_for(waiting, BOUND) == bytes(3_000_000)
    assert (await large) is large


async def test_stored_values_go_with_the_last_who_holds_them(fresh):
    @mosaic.tessera
    class Keeper:
        async def put(self, value):
            self.reference = await mosaic.runtime().put(value)
            return self.reference.uid

    doomed, _ = await pair(fresh)
    uid = await Keeper.remote(runtime=doomed.runtime_id).put("held by the dead").result()
    await told(doomed.die())
    await fresh.wait_for_workers(2, timeout=BOUND)
    with pytest.raises(mosaic.ObjectLostError, match=uid):
        await asyncio.wait_for(fresh.get_warehouse().get_remote(uid=uid), BOUND)


async def test_many_deaths_one_after_another(fresh):
    for i in range(6):
        await fresh.wait_for_workers(2, timeout=BOUND)
        doomed = Doomed.remote()
        await told(doomed.die(list(WAYS)[i % len(WAYS)]))
    await fresh.wait_for_workers(2, timeout=BOUND)
    assert await Counter.remote().add(1).result() == 1


async def test_both_die_at_once(fresh):
    doomed = await pair(fresh)
    pids = [await each.pid().result() for each in doomed]
    waiting = [each.until_async(*NEVER) for each in doomed]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for task in waiting:
        await told(task)
    await fresh.wait_for_workers(2, timeout=BOUND)


def test_synchronous_waiters_are_told(fresh):
    doomed = Doomed.remote()
    with pytest.raises(mosaic.RuntimeDisconnectedError, match=r"SIGKILL|signal 9"):
        doomed.die().wait(BOUND)


@pytest.mark.parametrize("how", ["sys_exit", "memory", "thread_exit", "raise_signal"])
async def test_what_is_no_death(fresh, how):
    # The worker goes on after these.
    @mosaic.tessera
    class Survivor:
        def try_to(self, how):
            import sys

            if how == "sys_exit":
                sys.exit(3)
            if how == "memory":
                return bytearray(1 << 60)
            if how == "thread_exit":
                thread = threading.Thread(target=sys.exit)
                thread.start()
                thread.join()
                return "thread ended"
            signal.raise_signal(signal.SIGCHLD)
            return "signal handled"

        def pid(self):
            return os.getpid()

    survivor = Survivor.remote()
    pid = await survivor.pid().result()
    task = survivor.try_to(how)
    expected = {"sys_exit": mosaic.RemoteError, "memory": MemoryError}
    if how in expected:
        with pytest.raises(expected[how]):
            await asyncio.wait_for(task.result(), BOUND)
    else:
        await asyncio.wait_for(task.result(), BOUND)
    assert await survivor.pid().result() == pid
    assert {worker.uid for worker in fresh.workers} == {"worker:0:0", "worker:0:1"}


def test_a_stopped_worker_does_not_hold_the_stop_up():
    began = time.monotonic()
    with mosaic.session(num_workers=1) as runtime:
        pid = runtime.submit(os.getpid).wait()
        freeze(pid)
        with pytest.raises(TimeoutError):
            runtime.submit(os.getpid).wait(timeout=0.1)
    assert not os.path.exists(f"/proc/{pid}")
    assert time.monotonic() - began < BOUND
