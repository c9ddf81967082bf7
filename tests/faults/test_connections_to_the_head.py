"""The connection between the head and a process of its ends while both live: that process ends alone."""

import asyncio
import os
import signal
import subprocess

import psutil
import pytest

import mosaic
from tests.support.connections import cut, sockets_of
from tests.support.deaths import freeze
from tests.support.launching import Mrun
from tests.support.rendezvous import Flag, eventually, eventually_async, soon
from tests.support.scripts import Script

pytestmark = pytest.mark.faults

ENDED = "connection to the head ended"


@mosaic.tessera
class Exposed:
    """Loses its connection to the head."""

    def __init__(self):
        self.count = 0

    def add(self, n=1):
        self.count += n
        return self.count

    def pid(self):
        return os.getpid()

    def start_child(self):
        return subprocess.Popen(["sleep", "60"]).pid

    def cut(self):
        assert cut(os.getppid()) == 1
        self.stay()

    def stay(self):
        """Go on for as long as the worker lives."""
        signal.pause()


async def told(awaitable) -> mosaic.RuntimeDisconnectedError:
    with pytest.raises(mosaic.RuntimeDisconnectedError) as info:
        await soon(awaitable)
    return info.value


@pytest.mark.parametrize("by", ["worker", "head"])
async def test_the_worker_ends_alone_and_is_replaced(fresh, by):
    exposed, other = [await Exposed.remote(runtime=worker) for worker in fresh.workers]
    uid, pid = exposed.runtime_id, await exposed.pid().result()
    other_pid = await other.pid().result()
    child = psutil.Process(await exposed.start_child().result())
    directory = fresh.engine.directory
    running = exposed.cut() if by == "worker" else exposed.stay()
    if by == "head":
        assert cut(pid) == 1
    error = await told(running.result())
    assert uid in str(error)
    assert ENDED in str(error)
    # Said of everything that it had, whenever it is asked for.
    assert ENDED in str(await told(exposed.add().result()))
    await soon(fresh.wait_for_workers(2))
    assert uid not in [worker.uid for worker in fresh.workers]
    eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert await soon(other.pid().result()) == other_pid
    assert directory in directory.parent.iterdir()
    await soon(Exposed.remote(runtime=fresh.workers[-1]).add().result())


async def test_a_worker_that_cannot_end_by_itself_is_ended(fresh):
    exposed = await Exposed.remote()
    uid, pid = exposed.runtime_id, await exposed.pid().result()
    freeze(pid)
    waiting = exposed.add()
    assert cut(pid) == 1
    error = await told(waiting.result())
    assert f"{uid} was ended by the head: its {ENDED}" in str(error)
    assert not psutil.pid_exists(pid)
    await soon(fresh.wait_for_workers(2))


def cut_once(flag, item):
    if item == 3 and flag.set_first():
        cut(os.getppid())
        signal.pause()
    return item * item


async def test_items_of_a_loop_go_to_others(fresh, flag):
    first = flag("first")

    @fresh.async_for(range(8), ordered=True)
    async def squares(worker, item):
        return await fresh.submit(cut_once, first, item, runtime=worker).result()

    expected = [item * item for item in range(8)]
    assert await soon(squares) == expected
    second = flag("second")
    assert await soon(fresh.map(cut_once, [second] * 8, range(8), ordered=True)) == expected
    # A replacement for each of the two that ended.
    first_two = {"worker:0:0", "worker:0:1"}
    await eventually_async(lambda: len({worker.uid for worker in fresh.workers} | first_two) >= 4)


async def test_a_restartable_tessera_is_built_again(fresh):
    exposed = await Exposed.remote(max_restarts=1)
    assert await exposed.add(5).result() == 5
    await told(exposed.cut().result())
    assert await soon(exposed.add().result()) == 1


@pytest.mark.parametrize("by", ["warehouse", "head"])
async def test_the_warehouse_ends_alone(fresh, flag, by):
    value = await fresh.put([1, 2])
    await fresh.exec("here", lambda old: 1)
    warehouse = fresh.get_warehouse()
    others = [await Exposed.remote(runtime=worker) for worker in fresh.workers]
    pids = [await exposed.pid().result() for exposed in others]

    def expose(_, started):
        started.set()
        if by == "warehouse":
            cut(os.getppid())
        signal.pause()

    waiting = asyncio.ensure_future(fresh.exec("there", expose, (flag("started"),)))
    await flag("started").wait_async()
    if by == "head":
        assert cut(warehouse.pid) == 1
    with pytest.raises((mosaic.RuntimeDisconnectedError, mosaic.ObjectLostError), match=ENDED):
        await soon(waiting)
    # What the head keeps is there; the next need has another warehouse.
    assert await soon(value.value()) == [1, 2]
    assert await soon((await soon(fresh.exec("here", lambda old: old or "new"))).value()) == "new"
    assert [await exposed.pid().result() for exposed in others] == pids


def test_under_mrun():
    program = """
    import os
    import signal
    import mosaic
    from tests.support.connections import cut, sockets_of

    def expose(head):
        assert cut(head) == 1
        signal.pause()

    async def main(runtime):
        pid = await runtime.submit(os.getpid, runtime="worker:0:1").result()
        try:
            await runtime.submit(expose, os.getpid(), runtime="worker:0:0").result()
        except mosaic.RuntimeDisconnectedError as error:
            print(error)
        await runtime.wait_for_workers(2, timeout=20)
        print(sorted(worker.uid for worker in runtime.workers))
        print(await runtime.submit(os.getpid, runtime="worker:0:1").result() == pid)
        print(os.path.isdir(runtime.engine.directory))

    mosaic.run(main)
    """
    with Mrun(program) as script:
        assert script.wait() == 0
        cause, *rest = script.stdout.splitlines()
        assert "worker:0:0 ended by itself: the connection to the head ended" in cause
        assert rest == ["['worker:0:1', 'worker:0:2']", "True", "True"]
        script.assert_nothing_left()


@pytest.mark.slow
def test_a_head_that_is_stopped_while_a_worker_joins():
    program = """
    import os
    from pathlib import Path
    import mosaic
    from tests.support.rendezvous import Flag

    async def main(runtime):
        print([worker.uid for worker in runtime.workers], await runtime.submit(len, "abc").result())

    Path("sitecustomize.py").write_text(
        "from tests.support.rendezvous import Flag\\n"
        "Flag('starting').set()\\n"
        "Flag('stopped').wait()\\n"
    )
    os.environ["PYTHONPATH"] = "." + os.pathsep + os.environ["PYTHONPATH"]
    mosaic.run(main, num_workers=1)
    """
    with Script(program) as script:
        script.wait_for_flag("starting")
        freeze(script.pid)
        (worker,) = psutil.Process(script.pid).children()
        had = sockets_of(worker.pid)
        Flag(script.home / "stopped").set()

        def tries(count):
            return sockets_of(worker.pid) == had + 1 + count

        # Its handshake takes too long, and it tries again.
        eventually(lambda: tries(1), "the first try")
        eventually(lambda: tries(0), "it gives up")
        eventually(lambda: tries(1), "the second try")
        script.send(signal.SIGCONT)
        assert script.wait() == 0
        assert script.stdout.splitlines() == ["['worker:0:0'] 3"]
        script.assert_nothing_left()
