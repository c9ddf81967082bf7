"""A method that keeps the interpreter's lock for long: nobody looks dead, nobody else is slowed."""

import asyncio
import ctypes

import pytest

import mosaic
from tests.support.actors import Counter, Echo, Holder
from tests.support.rendezvous import Flag

pytestmark = pytest.mark.faults


@mosaic.tessera
class Greedy:
    def sleep(self, started: Flag, seconds):
        """Sleep without giving the lock away."""
        started.set()
        ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))
        return "awake"

    async def sleep_async(self, started: Flag, seconds):
        return self.sleep(started, seconds)

    def power(self, started: Flag):
        """One bytecode that takes more than a second."""
        started.set()
        return (3**1_500_000 * 7**1_500_000).bit_length() > 0

    def hello(self):
        return "hello"


@pytest.mark.parametrize("method", ["sleep", "sleep_async"])
async def test_the_other_worker_is_not_delayed(fresh, flag, method):
    greedy = Greedy.remote(runtime=fresh.workers[0])
    counter = Counter.remote(runtime=fresh.workers[1])
    await counter
    started = flag("started")
    holding = greedy[method](started, 1.5)
    await started.wait_async()
    for i in range(100):
        assert await counter.add(1).result() == i + 1
    assert not holding.done(), "100 calls fit into the sleep of the other worker"
    assert await holding.result() == "awake"


async def test_it_does_not_look_dead(fresh, flag, caplog):
    greedy = Greedy.remote()
    started = flag("started")
    holding = greedy.sleep(started, 2)
    assert await holding.result() == "awake"
    assert await greedy.hello().result() == "hello"
    assert {worker.uid for worker in fresh.workers} == {"worker:0:0", "worker:0:1"}
    assert "dead" not in caplog.text


async def test_one_long_bytecode(fresh, flag):
    greedy = Greedy.remote(runtime=fresh.workers[0])
    counter = Counter.remote(runtime=fresh.workers[1])
    holding = greedy.power(flag("started"))
    for i in range(50):
        assert await counter.add(1).result() == i + 1
    assert await holding.result() is True


async def test_results_of_a_busy_worker_can_be_fetched(fresh, flag):
    # The bytes leave without the lock.
    greedy = Greedy.remote(runtime=fresh.workers[0])
    holder = Holder.remote(bytes(3_000_000), runtime=fresh.workers[0])
    result = holder.give(0)
    await result
    started = flag("started")
    holding = greedy.sleep(started, 1.5)
    await started.wait_async()
    length = await Echo.remote(runtime=fresh.workers[1]).describe(result).result()
    assert length[0] == "bytes"
    assert len(await result.result()) == 3_000_000
    assert not holding.done()
    await holding


async def test_a_dependency_on_a_busy_worker_waits_for_it(fresh, flag):
    greedy = Greedy.remote(runtime=fresh.workers[0])
    holding = greedy.sleep(flag("started"), 1)
    echo = Echo.remote(runtime=fresh.workers[1])
    assert await asyncio.wait_for(echo.back(holding).result(), 30) == "awake"


async def test_the_driver_may_hold_its_own_lock(fresh):
    counter = await Counter.remote()
    tasks = [counter.add(1) for _ in range(50)]
    ctypes.PyDLL(None).usleep(1_000_000)
    assert [await task.result() for task in tasks] == list(range(1, 51))
    assert fresh.num_workers == 2
