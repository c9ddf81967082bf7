"""Faults of old of whole runs: deaths, keys and directories, threads and ports."""

import os
import signal

import pytest

import mosaic
from mosaic.core import TesseraProxy
from tests.support.actors import Echo
from tests.support.rendezvous import DEADLINE, soon
from tests.support.scripts import run_script


@mosaic.tessera
class Solver:
    def __init__(self, *args, **kwargs):
        self.steps = 0

    def step(self):
        self.steps += 1
        return self.steps

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.faults
async def test_a_worker_that_dies_fails_what_was_called_there(fresh):
    solver = Solver.remote(runtime=fresh.workers[0])
    death, after = solver.die(), solver.step()
    for task in (death, after, solver.step()):
        with pytest.raises(mosaic.RuntimeDisconnectedError, match="worker:0:0"):
            await soon(task)
    assert await soon(Echo.remote().back(1).result()) == 1


@pytest.mark.faults
async def test_a_loop_loses_no_item_to_a_death(fresh, flag):
    solvers = Solver.remote(len=fresh.num_workers)
    once = flag("died")

    @fresh.async_for(range(6))
    async def loop(worker, item):
        if item == 2 and once.set_first():
            await solvers.die(runtime=worker)
        await solvers.step(runtime=worker)
        return item

    assert await soon(loop) == list(range(6))


async def nothing(runtime):
    pass


def test_an_empty_main_ends():
    assert mosaic.run(nothing, num_workers=1) is None


def test_an_empty_script_ends():
    out, _ = run_script(
        """
        import mosaic

        async def main(runtime):
            pass

        if __name__ == "__main__":
            mosaic.run(main, num_workers=2)
            print("ended")
        """,
        timeout=DEADLINE,
    )
    assert out == "ended\n"


def test_a_stale_key_in_the_working_directory_is_no_hindrance(tmp_path, monkeypatch):
    workspace = tmp_path / "mosaic-workspace"
    workspace.mkdir()
    key = workspace / "monitor.key"
    key.write_text("UID: monitor\nADD: 127.0.0.1\nPRT: 3000\nPUB: 3001\n")
    monkeypatch.chdir(tmp_path)

    async def main(runtime):
        return await soon(runtime.submit(abs, -1).result())

    assert mosaic.run(main, num_workers=1) == 1


def test_two_runs_in_one_directory_do_not_meet():
    out, _ = run_script(
        """
        import os, subprocess, sys
        import mosaic
        from tests.support.rendezvous import Flag

        async def main(runtime):
            mine, theirs = Flag(sys.argv[1]), Flag(sys.argv[2])
            mine.set()
            await theirs.wait_async()
            pids = await runtime.map(lambda _: os.getppid(), range(4))
            print(set(pids) == {os.getpid()}, runtime.num_workers)

        if __name__ == "__main__":
            if len(sys.argv) == 1:
                runs = [
                    subprocess.Popen([sys.executable, __file__, *names])
                    for names in (("a", "b"), ("b", "a"))
                ]
                print([run.wait() for run in runs])
            else:
                mosaic.run(main, num_workers=1)
        """,
    )
    assert sorted(out.splitlines()) == ["True 1", "True 1", "[0, 0]"]


async def threads_of_a_worker(runtime):
    await soon(runtime.submit(abs, -1).result())
    return runtime.num_workers, runtime.num_threads


def test_more_threads_than_there_are_cores():
    threads = 4 * (os.cpu_count() or 1)
    assert mosaic.run(threads_of_a_worker, num_threads=threads) == (1, threads)


def test_no_port_is_open_to_the_world():
    import psutil

    async def main(runtime):
        me = psutil.Process()
        return [
            connection
            for process in (me, *me.children(recursive=True))
            for connection in process.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        ]

    assert mosaic.run(main, num_workers=1) == []


def test_a_proxy_of_a_run_that_is_over_is_refused():
    with mosaic.session(num_workers=1) as runtime:
        solver = Solver.remote()
        assert solver.step().wait() == 1
        by_name = TesseraProxy(Solver, runtime=runtime.workers[0], uid="somebody")
        assert not by_name._ref.stopped
    for proxy in (solver, by_name):
        with pytest.raises(mosaic.MosaicError):
            proxy.step()
    assert by_name._ref.stopped
