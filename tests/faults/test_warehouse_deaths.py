"""The warehouse dies: what it held is lost, and said to be; the next who needs it gets another."""

import asyncio
import gc
import os
import signal
import time

import pytest

import mosaic
from tests.support.actors import Echo
from tests.support.deaths import WAYS, Doomed, die, freeze
from tests.support.rendezvous import eventually_async
from tests.support.scripts import Script

pytestmark = pytest.mark.faults

BOUND = 10.0
LOST = (mosaic.ObjectLostError, mosaic.RuntimeDisconnectedError)


@mosaic.tessera
class Field:
    def __init__(self, value=0):
        self.value = value

    def add(self, n):
        self.value += n
        return self.value

    def die(self, how="kill"):
        if self.is_tessera:
            die(how)

    async def until(self, started, release):
        if self.is_tessera:
            started.set()
            await release.wait_async()


async def kill(runtime):
    """Kill the warehouse, and wait until that is known."""
    warehouse = runtime.get_warehouse()
    os.kill(warehouse.pid, signal.SIGKILL)
    await eventually_async(lambda: not warehouse.alive, "the death is known")


def add(old, n=1):
    return (old or 0) + n


@pytest.mark.parametrize("how", WAYS)
async def test_calls_in_flight_are_told_the_name_and_the_cause(fresh, how):
    with pytest.raises(LOST, match=WAYS[how]) as info:
        await asyncio.wait_for(fresh.exec("deadly", lambda _, how: die(how), (how,)), BOUND)
    assert "deadly" in str(info.value)
    assert "warehouse:0" in str(info.value)


@pytest.mark.parametrize("how", WAYS)
async def test_a_root_that_kills_it(fresh, how):
    p = Field.parameter(1)
    with pytest.raises(LOST, match=WAYS[how]):
        await asyncio.wait_for(p._tessera.die(how).result(), BOUND)
    with pytest.raises(mosaic.ObjectLostError, match=WAYS[how]) as info:
        await asyncio.wait_for(p.pull(), BOUND)
    assert p._tessera.uid in str(info.value)
    assert "Field" in str(info.value)


async def test_every_waiter_is_told(fresh, flag):
    p, q = Field.parameter(1), Field.parameter(2, cached=True)
    reference = await fresh.exec("value", add)
    started, never = flag("started"), flag("never")
    running = asyncio.ensure_future(p.until(started, never, propagate=True))
    await asyncio.sleep(0)
    never.set()  # for the local half, which does not wait
    await running
    os.remove(never.path)
    root = p._tessera.until(started, never)
    await started.wait_async()
    waiting = [
        root.result(),
        p.pull("value"),
        p.get("value"),
        p.push("value"),
        p.publish(),
        p.set("value", 3),
        p.add(1, propagate=True) and p.pull(),
        Echo.remote().back(p._tessera.add(1)).result(),
    ]
    waiting = [asyncio.ensure_future(_awaited(one)) for one in waiting]
    await asyncio.sleep(0)
    await kill(fresh)
    for one in waiting:
        with pytest.raises(LOST, match="SIGKILL"):
            await asyncio.wait_for(one, BOUND)
    # Those who come later, too.
    later = [p.pull(), p.push(), p.get("value"), p.publish(), q.pull("value"), q.push()]
    for one in later:
        with pytest.raises(mosaic.ObjectLostError, match="SIGKILL") as info:
            await asyncio.wait_for(one, BOUND)
        assert p._tessera.uid in str(info.value) or q._tessera.uid in str(info.value)
    for one in (reference.value(), reference, reference.size()):
        with pytest.raises(mosaic.ObjectLostError, match="SIGKILL") as info:
            await asyncio.wait_for(one, BOUND)
        assert "value" in str(info.value)
    with pytest.raises(LOST, match="SIGKILL"):
        await asyncio.wait_for(Echo.remote().back(reference).result(), BOUND)
    with pytest.raises(LOST, match="SIGKILL"):
        await asyncio.wait_for(Echo.remote().back(q).result(), BOUND)
    await reference.drop()
    # What is local goes on.
    assert isinstance(p.add(1), int)
    # A barrier ends.
    await asyncio.wait_for(fresh.barrier(), BOUND)


async def _awaited(one):
    return await one


async def test_the_next_need_starts_another(fresh):
    reference = await fresh.exec("value", add, (5,))
    p = Field.parameter(1)
    await p
    await kill(fresh)
    assert fresh.get_warehouse().pid is None, "nobody needs it"
    again = await asyncio.wait_for(fresh.exec("value", add, (1,)), BOUND)
    assert await again.value() == 1, "what it held is lost"
    with pytest.raises(mosaic.ObjectLostError):
        await reference.value()
    q = Field.parameter(2)
    assert q.add(1, propagate=True) == 3
    assert await q.pull("value") == 3
    with pytest.raises(mosaic.ObjectLostError):
        await p.pull()
    assert fresh.num_workers == 2


async def test_many_deaths(fresh):
    for n in range(4):
        value = await asyncio.wait_for(fresh.exec("value", add, (n,)), BOUND)
        assert await value.value() == n
        await kill(fresh)


async def test_a_root_that_may_be_built_again(fresh):
    p = Field.parameter(1, max_restarts=1)
    await p.push("value")
    p.add(1, propagate=True)
    await p.pull()
    await kill(fresh)
    assert await asyncio.wait_for(p.pull("value"), BOUND) == 1, "from its constructor"
    assert fresh.get_warehouse().alive


async def test_workers_that_use_it_are_told(fresh):
    @mosaic.tessera
    class User:
        async def use(self, field):
            await field.pull()

        def propagate(self, field):
            return field.add(1, propagate=True)

    p = Field.parameter(1)
    await p
    user = User.remote()
    await user.use(p)
    await kill(fresh)
    for task in (user.use(p), user.propagate(p)):
        with pytest.raises(LOST, match="SIGKILL"):
            await asyncio.wait_for(task.result(), BOUND)


async def test_a_workers_death_does_no_harm(fresh):
    @mosaic.tessera
    class Maker:
        def make(self):
            field = Field.parameter(1)
            field.add(1, propagate=True)
            return field

        async def exec(self):
            return [await mosaic.runtime().exec("made by the dead", add, (7,))]

    doomed = await Doomed.remote(runtime=fresh.workers[0])
    maker = Maker.remote(runtime=fresh.workers[0])
    p = await maker.make().result()
    (reference,) = await maker.exec().result()
    with pytest.raises(mosaic.RuntimeDisconnectedError):
        await doomed.die()
    assert await p.pull("value") == 2
    assert p.add(1, propagate=True) == 3
    assert await p._tessera.value == 3
    assert await reference.value() == 7


async def test_a_root_goes_with_the_dead_who_held_it(fresh, log):
    @mosaic.tessera
    class Mortal:
        def __init__(self, log):
            self.log = log

        def __del__(self):
            if self.is_tessera:
                self.log.add("root gone")

    @mosaic.tessera
    class Maker:
        async def make(self, log):
            self.field = await Mortal.parameter(log)

    doomed = await Doomed.remote(runtime=fresh.workers[0])
    maker = Maker.remote(runtime=fresh.workers[0])
    await maker.make(log)
    gc.collect()
    assert log.lines() == []
    with pytest.raises(mosaic.RuntimeDisconnectedError):
        await doomed.die()
    await eventually_async(lambda: log.lines() == ["root gone"], "the root is freed")


async def test_barrier_tasks_of_the_dead_hold_nobody_up(fresh):
    async def register(_):
        async def task():
            raise AssertionError("it is dead")

        mosaic.runtime().register_barrier_task(task)

    await fresh.exec("registers", register)
    await kill(fresh)
    await asyncio.wait_for(fresh.barrier(), BOUND)


async def test_its_death_at_a_barrier_is_no_failure_of_the_barrier(fresh):
    async def register(_):
        async def task():
            die()

        mosaic.runtime().register_barrier_task(task)

    await fresh.exec("registers", register)
    await asyncio.wait_for(fresh.barrier(), BOUND)


def test_a_stopped_one_does_not_hold_the_stop_up():
    began = time.monotonic()
    with mosaic.session(num_workers=1) as runtime:
        Field.parameter().add(1, propagate=True)
        pid = runtime.get_warehouse().pid
        freeze(pid)
    assert not os.path.exists(f"/proc/{pid}")
    assert time.monotonic() - began < BOUND


def test_one_that_does_not_start_is_named_with_its_last_words():
    with Script(
        """
        import asyncio
        import os
        import pathlib
        import mosaic
        from tests.faults.test_warehouse_deaths import Field, add

        pathlib.Path("broken").mkdir()
        pathlib.Path("broken/sitecustomize.py").write_text(
            "import os, pathlib, sys\\n"
            "if os.environ.get('MOSAIC_WORKER_ROLE') and not pathlib.Path('mended').exists():\\n"
            "    sys.stderr.write('broken on purpose\\\\n'); sys.stderr.flush(); os._exit(9)\\n"
        )
        os.environ["PYTHONPATH"] = "broken:" + os.environ.get("PYTHONPATH", "")

        async def main(runtime):
            field = Field.parameter(1)
            for waiting in (runtime.exec("value", add), field._tessera, field.pull()):
                try:
                    await asyncio.wait_for(waiting, 20)
                except mosaic.MosaicError as error:
                    print("told:", " ".join(str(error).split()))
            print("workers go on:", await runtime.submit(abs, -3).result())
            pathlib.Path("mended").touch()
            print("then:", await (await runtime.exec("value", add)).value())

        mosaic.run(main, num_workers=1)
        """
    ) as script:
        assert script.wait(40) == 0
        told = [line for line in script.stdout.splitlines() if line.startswith("told:")]
        assert len(told) == 3
        for line in told:
            assert "warehouse:0 exited with code 9" in line
            assert "broken on purpose" in line
        assert "workers go on: 3" in script.stdout
        assert "then: 1" in script.stdout
        script.assert_nothing_left(within=2.0)
