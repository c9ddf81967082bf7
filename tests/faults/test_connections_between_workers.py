"""The connection between two workers, or a worker and the warehouse, ends while both live: no wait hangs."""

import asyncio
import contextlib
import os
import pickle
import signal

import numpy as np
import pytest

import mosaic
from tests.support.actors import Mortal
from tests.support.connections import cut, sockets_of
from tests.support.deaths import freeze
from tests.support.launching import Mrun
from tests.support.rendezvous import eventually_async, soon

pytestmark = pytest.mark.faults


@mosaic.tessera(is_async=True)
class Peer:
    """Calls its like on other workers, and cuts the connection to them."""

    def __init__(self):
        self.seen = []
        self.kept = {}

    def pid(self):
        return os.getpid()

    def cut(self, pid):
        return cut(pid)

    def note(self, value):
        self.seen.append(value)

    def noted(self):
        return list(self.seen)

    def keep(self, key, value):
        self.kept[key] = value

    def total(self, array):
        return float(np.sum(array))

    def make(self, length):
        return np.ones(length)

    async def until(self, started, release, value=None):
        started.set()
        await release.wait_async()
        return value

    async def ask(self, other, name, *args):
        return await other[name](*args).result()

    async def ask_all(self, other, name, values):
        return await mosaic.gather([other[name](value) for value in values])

    async def ask_kept(self, key, name, *args):
        return await self.kept[key][name](*args).result()

    async def value_of(self, key):
        """Read what a task or a reference, kept in a list, stands for."""
        (kept,) = self.kept[key]
        return float(np.sum(await kept.value() if hasattr(kept, "value") else await kept.result()))

    async def store(self, value):
        return await mosaic.runtime().put(value)


async def pair(runtime):
    """Make a tessera on each worker, with a connection between the two."""
    one, two = [await Peer.remote(runtime=worker) for worker in runtime.workers]
    pids = await one.pid().result(), await two.pid().result()
    await one.ask(two, "note", "first").result()
    await two.ask(one, "note", "first").result()
    return one, two, pids


async def lost(awaitable) -> mosaic.ConnectionLostError:
    with pytest.raises(mosaic.ConnectionLostError) as info:
        await soon(awaitable)
    return info.value


async def all_live(runtime, one, two, pids):
    assert [worker.uid for worker in runtime.workers] == ["worker:0:0", "worker:0:1"]
    assert (await soon(one.pid().result()), await soon(two.pid().result())) == pids
    assert runtime.engine.directory in runtime.engine.directory.parent.iterdir()


@pytest.mark.parametrize("by", ["one", "two"])
async def test_calls_in_flight_fail_and_the_next_ones_work(fresh, flag, by):
    one, two, pids = await pair(fresh)
    for attempt in range(2):
        there, back = flag(f"there {attempt}"), flag(f"back {attempt}")
        release = flag(f"release {attempt}")
        running = one.ask(two, "until", there, release), two.ask(one, "until", back, release)
        await there.wait_async()
        await back.wait_async()
        cutter, other = (one, pids[1]) if by == "one" else (two, pids[0])
        assert await cutter.cut(other).result() == 1
        for task in running:
            error = await lost(task.result())
            assert "worker:0:0" in str(error)
            assert "worker:0:1" in str(error)
            assert isinstance(error, mosaic.RuntimeDisconnectedError)
            assert str(pickle.loads(pickle.dumps(error))) == str(error)
        # At once, and in order.
        await soon(one.ask_all(two, "note", range(5)).result())
        await soon(two.ask_all(one, "note", range(5)).result())
        assert (await two.noted().result())[-5:] == list(range(5))
        assert (await one.noted().result())[-5:] == list(range(5))
        release.set()
    await soon(fresh.barrier(timeout=20))
    await all_live(fresh, one, two, pids)


async def test_no_call_runs_twice_or_hangs_whenever_it_is_cut(fresh):
    one, two, pids = await pair(fresh)

    async def stream():
        ended = {"done": [], "lost": []}
        for index in range(300):
            try:
                await soon(one.ask(two, "note", index).result())
                ended["done"].append(index)
            except mosaic.ConnectionLostError:
                ended["lost"].append(index)
        return ended

    streaming = asyncio.ensure_future(stream())
    cuts = 0
    while not streaming.done() and cuts < 3:
        # Whichever end, with something on its way or not.
        cuts += await (one.cut(pids[1]) if cuts % 2 else two.cut(pids[0])).result()
        await soon(two.noted().result())
    ended = await streaming
    noted = [value for value in await two.noted().result() if value != "first"]
    assert noted == sorted(set(noted)), "none twice, and in order"
    assert set(ended["done"]) <= set(noted)
    assert len(ended["done"]) + len(ended["lost"]) == 300
    await all_live(fresh, one, two, pids)


async def test_what_is_referred_to_across_a_loss(fresh, flag, log):
    one, two, pids = await pair(fresh)
    mortal = await Mortal.remote(log, "kept", runtime=one.runtime_id)
    await two.keep("mortal", mortal).result()
    made = one.make(200_000)
    await two.keep("made", [made]).result()
    local = await one.store(np.ones(1000)).result()
    await two.keep("stored", [local]).result()
    # A task that has not ended, as an argument of a call elsewhere.
    release = flag("release")
    slow = one.until(flag("started"), release, np.ones(100_000))
    total = two.total(slow)
    await flag("started").wait_async()
    assert await two.cut(pids[0]).result() == 1
    release.set()
    # Fetches are made again.
    assert await soon(total.result()) == 100_000
    assert await soon(two.value_of("made").result()) == 200_000
    assert await soon(two.value_of("stored").result()) == 1000
    assert await soon(two.ask_kept("mortal", "hello").result()) == "kept"
    del mortal
    assert await soon(two.ask_kept("mortal", "hello").result()) == "kept"
    assert log.lines() == []
    # Let go of while there is no connection.
    assert await one.cut(pids[1]).result() == 1
    await two.keep("mortal", None).result()
    await eventually_async(lambda: log.lines() == ["kept"])
    await all_live(fresh, one, two, pids)


async def test_arrays_on_their_way(fresh):
    one, two, pids = await pair(fresh)
    sums = [one.ask(two, "total", np.ones(50_000)) for _ in range(20)]
    back = [one.ask(two, "make", 50_000) for _ in range(20)]
    await one.cut(pids[1]).result()
    async with asyncio.timeout(20):
        for task in sums + back:
            try:
                assert float(np.sum(await task.result())) == 50_000
            except mosaic.ConnectionLostError:
                continue
    assert await soon(one.ask(two, "total", np.ones(50_000)).result()) == 50_000
    await all_live(fresh, one, two, pids)


@mosaic.tessera
class Field:
    def __init__(self, value=0):
        self.value = value

    def add(self, n):
        self.value += n
        return self.value

    async def until(self, started, release):
        if self.is_tessera:
            started.set()
            await release.wait_async()


@mosaic.tessera(is_async=True)
class Client:
    """Uses the warehouse from a worker."""

    def cut(self, pid):
        return cut(pid)

    async def execute(self, name, function, *args):
        return await (await mosaic.runtime().exec(name, function, args)).value()

    async def root(self, parameter, name, *args):
        return await parameter._tessera[name](*args).result()

    async def put(self, value):
        return await mosaic.runtime().put(value)


def add(old, n=1):
    return (old or 0) + n


def hold(old, started, release):
    started.set()
    release.wait()
    return old


@pytest.mark.parametrize("by", ["worker", "warehouse"])
async def test_worker_and_warehouse(fresh, flag, by):
    parameter = Field.parameter(1)
    client = await Client.remote()
    assert await client.execute("count", add).result() == 1
    assert await client.root(parameter, "add", 1).result() == 2
    warehouse = fresh.get_warehouse()
    worker = await fresh.submit(os.getpid, runtime=client.runtime_id).result()
    release = flag("release")
    waiting = [
        client.root(parameter, "until", flag("root"), release),
        client.execute("count", hold, flag("hold"), release),
    ]
    await flag("root").wait_async()
    await flag("hold").wait_async()
    if by == "worker":
        assert await client.cut(warehouse.pid).result() == 1
    else:
        # The main thread is busy.
        release.set()
        assert await fresh.exec("cut", lambda _: cut(worker)) is not None
    reference = client.put(np.ones(1000))
    release.set()
    for task in waiting:
        if by == "worker":
            assert "warehouse:0" in str(await lost(task.result()))
        else:
            # The one that kept the main thread busy had ended.
            with contextlib.suppress(mosaic.ConnectionLostError):
                await soon(task.result())
    assert float(np.sum(await soon((await soon(reference.result())).value()))) == 1000
    assert await soon(client.execute("count", add).result()) == 2
    assert await soon(client.root(parameter, "add", 1).result()) == 3
    assert fresh.get_warehouse().pid == warehouse.pid
    assert len(fresh.workers) == 2


@pytest.mark.slow
async def test_a_worker_that_is_stopped_for_longer_than_a_handshake_takes(fresh):
    two, one = [await Peer.remote(runtime=worker) for worker in fresh.workers]
    asking, pid = await one.pid().result(), await two.pid().result()
    freeze(pid)
    had = sockets_of(asking)
    asked = one.ask(two, "pid")
    for many in (had + 1, had, had + 1):
        await eventually_async(lambda many=many: sockets_of(asking) == many)
    os.kill(pid, signal.SIGCONT)
    assert await soon(asked.result()) == pid


def test_under_mrun():
    program = """
    import asyncio
    import mosaic
    from tests.faults.test_connections_between_workers import Peer, pair
    from tests.support.rendezvous import Flag

    async def main(runtime):
        one, two, pids = await pair(runtime)
        asked = one.ask(two, "until", Flag("started"), Flag("never"))
        await Flag("started").wait_async()
        await two.cut(pids[0]).result()
        try:
            await asked
        except mosaic.ConnectionLostError:
            print("lost")
        print(await one.ask(two, "pid").result() == pids[1])
        Flag("never").set()

    mosaic.run(main)
    """
    with Mrun(program) as script:
        assert script.wait() == 0
        assert script.stdout.splitlines() == ["lost", "True"]
        script.assert_nothing_left()


@mosaic.tessera
class Slow:
    """At its root, what reads its state is held until it is released."""

    def __init__(self, started, release):
        self.started, self.release = started, release

    def __getstate__(self):
        if self.is_tessera:
            self.started.set()
            self.release.wait()
        return dict(self.__dict__)

    async def hold(self):
        if self.is_tessera:
            self.started.set()
            await self.release.wait_async()


class SlowValue:
    """Held until it is released when it is sent."""

    def __init__(self, started, release):
        self.started, self.release = started, release

    def __reduce__(self):
        self.started.set()
        self.release.wait()
        return int, ()


def slow_value(_, started, release):
    return SlowValue(started, release)


@mosaic.tessera(is_async=True)
class Reader:
    """Asks the warehouse for what it has, and tells how that failed."""

    def cut(self, pid):
        return cut(pid)

    async def read(self, kept, how, options):
        try:
            if how == "wait":
                await asyncio.to_thread(kept[0].wait)
            else:
                await getattr(kept[0], how)(**options)
        except Exception as error:
            return error
        return None


@pytest.mark.parametrize(
    ("what", "how", "options"),
    [
        ("reference", "value", {}),
        ("reference", "wait", {}),
        ("parameter", "pull", {}),
        ("parameter", "hold", {"propagate": True}),
        ("living", "value", {}),
        ("living", "wait", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_is_asked_for_across_a_loss_is_not_lost(fresh, flag, what, how, options):
    reader = await Reader.remote()
    started, release = flag("started"), flag("release")
    if what == "living":
        kept = await fresh.exec("kept", slow_value, (started, release))
    else:
        parameter = Slow.parameter(started, release)
        await parameter
        kept = parameter if what == "parameter" else parameter.ref
    asked = reader.read([kept], how, options)
    await started.wait_async()
    assert await reader.cut(fresh.get_warehouse().pid).result() == 1
    error = await soon(asked.result())
    release.set()
    assert type(error) is mosaic.ConnectionLostError, error
