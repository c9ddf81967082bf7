"""Whoever dies of what `mrun` has started: two seconds later nothing is left, and whoever waited knows why."""

import os
import signal

import pytest

from tests.support.launching import Mrun
from tests.support.rendezvous import Flag, eventually, on_a_busy_machine

pytestmark = pytest.mark.faults

WAITING = """
import signal
import threading
import mosaic
from tests.support.actors import Blocker
from tests.support.rendezvous import Flag

async def main(runtime):
    await runtime.submit(int)
    task = Blocker.remote(runtime="worker:0:0").until(Flag("ready"), Flag("never"))
    try:
        await task
    except mosaic.RuntimeDisconnectedError as error:
        print(f"told: {error}", flush=True)
        Flag("told").set()
    # Ends by itself only if nobody ends it.
    threading.Event().wait(30)

mosaic.run(main)
"""


@pytest.mark.parametrize(
    ("role", "cause"),
    [
        ("mrun", "is gone"),
        ("agent", "node:0 was killed by signal 9"),
    ],
)
def test_what_waits_is_told_who_died(role, cause):
    with Mrun(WAITING) as script:
        script.wait_for_flag("ready")
        script.find(role).kill()
        eventually(lambda: "told: " in script.stdout, "an error", 2)
        assert cause in script.stdout
        if role == "agent":
            # The program has lost its workers and may go on without.
            assert script.process.poll() is None
            script.send(signal.SIGTERM)
            assert script.wait(10) == 128 + signal.SIGTERM
        else:
            assert script.wait(10) == -signal.SIGKILL
        script.assert_nothing_left(within=2.0)


def test_a_worker_is_replaced():
    program = """
    import mosaic
    from tests.support.actors import Blocker
    from tests.support.deaths import Doomed

    async def main(runtime):
        doomed = Doomed.remote()
        try:
            await doomed.die()
        except mosaic.RuntimeDisconnectedError as error:
            print(error)
        await runtime.wait_for_workers(2, timeout=20)
        print(sorted(worker.uid for worker in runtime.workers))

    mosaic.run(main)
    """
    with Mrun(program) as script:
        assert script.wait() == 0
        cause, workers = script.stdout.splitlines()
        assert "worker:0:0 was killed by signal 9 (SIGKILL" in cause
        assert workers == "['worker:0:1', 'worker:0:2']"
        script.assert_nothing_left()


def test_the_last_words_of_workers_that_do_not_start():
    program = """
    from pathlib import Path
    import os
    import mosaic

    Path("sitecustomize.py").write_text("import sys; sys.exit('there is no fuel')")
    os.environ["PYTHONPATH"] = "." + os.pathsep + os.environ["PYTHONPATH"]
    mosaic.run(print)
    """
    with Mrun(program) as script:
        assert script.wait() == 1
        assert "workers do not start" in script.stderr
        assert "there is no fuel" in script.stderr
        script.assert_nothing_left()


COMBINATIONS = [
    ("script",),
    ("mrun", "agent"),
    ("agent", "mrun"),
    ("mrun", "script"),
    ("agent", "script"),
    ("mrun", "agent", "script"),
]


@pytest.mark.parametrize("roles", COMBINATIONS, ids="+".join)
def test_nothing_is_left(roles):
    with Mrun(WAITING) as script:
        script.wait_for_flag("ready")
        for process in [script.find(role) for role in roles]:
            process.kill()
        if set(roles) == {"mrun", "agent", "script"}:
            assert_no_process_left(script)
        else:
            script.assert_nothing_left(within=2.0)


IDLE = """
import time
from tests.support.rendezvous import Flag
Flag("ready").set()
time.sleep(60)
"""


@pytest.mark.parametrize("roles", [("mrun",), ("script",), ("mrun", "agent")], ids="+".join)
def test_nothing_is_left_of_a_program_without_mosaic(roles):
    with Mrun(IDLE) as script:
        script.wait_for_flag("ready")
        eventually(lambda: _has_agent(script), "an agent", 10)
        for process in [script.find(role) for role in roles]:
            process.kill()
        if roles == ("mrun", "agent"):
            assert_no_process_left(script)
        else:
            script.assert_nothing_left(within=2.0)


def assert_no_process_left(script):
    """Perhaps nobody is left who could remove the key; that it is stale is seen by the next."""
    eventually(lambda: not script.processes(), "no process", on_a_busy_machine(2))


def _has_agent(script):
    try:
        script.find("agent")
    except StopIteration:
        return False
    return True


def test_a_node_that_died_is_replaced_for_the_next_run():
    program = """
    import os
    import signal
    import mosaic

    async def lose(runtime):
        os.kill(mosaic.get_node().pid, signal.SIGKILL)
        try:
            while True:
                await runtime.submit(int).result()
        except mosaic.RuntimeDisconnectedError as error:
            print(error)
        assert mosaic.get_node().pid is None

    async def again(runtime):
        print(await runtime.submit(abs, -3).result())

    mosaic.run(lose)
    mosaic.run(again)
    """
    with Mrun(program) as script:
        assert script.wait() == 0
        cause, result = script.stdout.splitlines()
        assert "node:0 was killed by signal 9 (SIGKILL" in cause
        assert result == "3"
        assert "mrun: node:0 was killed by signal 9" in script.stderr
        script.assert_nothing_left()


def test_a_program_that_lost_its_node_keeps_large_values():
    """The first of them only then: until there is one, nothing of the store is in use."""
    program = """
    import os
    import signal
    import mosaic
    import numpy as np

    async def main(runtime):
        os.kill(mosaic.get_node().pid, signal.SIGKILL)
        try:
            while True:
                await runtime.submit(int).result()
        except mosaic.RuntimeDisconnectedError:
            kept = await runtime.put(np.ones(1 << 20))
            print((await kept.value()).sum(), mosaic.zeros(1 << 20).any())

    mosaic.run(main)
    """
    with Mrun(program) as script:
        assert script.wait() == 0, script.stderr
        assert script.stdout == "1048576.0 False\n"
        script.assert_nothing_left()


def test_programs_that_methods_start_end_with_their_worker():
    program = """
    import subprocess
    import mosaic
    from tests.support.rendezvous import Flag

    def start():
        subprocess.Popen(["sleep", "600"])
        Flag("ready").set()

    async def main(runtime):
        await runtime.submit(start)
        await runtime.submit(Flag("never").wait)

    mosaic.run(main)
    """
    with Mrun(program) as script:
        script.wait_for_flag("ready")
        script.find("script").kill()
        assert script.wait(10) == 128 + signal.SIGKILL
        script.assert_nothing_left(within=2.0)


def test_a_stopped_worker_does_not_outlive_the_node():
    with Mrun(WAITING) as script:
        script.wait_for_flag("ready")
        os.kill(script.find("worker").pid, signal.SIGSTOP)
        script.find("agent").kill()
        script.wait_for_flag("told")
        script.send(signal.SIGTERM)
        script.wait(10)
        script.assert_nothing_left(within=2.0)


def test_what_a_program_forked_does_not_keep_its_workers():
    """Its child has the connections too: only the end of the program itself counts."""
    program = """
    import os
    import signal
    import sys
    import time
    import mosaic
    from tests.support.rendezvous import Flag

    def fork():
        if os.fork() == 0:
            os.setsid()
            Flag("forked").set()
            Flag("over").wait()
            os._exit(0)

    async def first(runtime):
        fork()
        os.kill(os.getpid(), signal.SIGKILL)

    async def second(runtime):
        print(await runtime.submit(abs, -1).result())

    mosaic.run(first if sys.argv[1:] == ["first"] else second)
    """
    with Mrun(program, options=("-nw", "1", "bash", "-c", '"$@" first; "$@"', "-")) as script:
        script.wait_for_flag("forked")
        assert script.wait() == 0
        assert script.stdout == "1\n"
        Flag(script.home / "over").set()
        script.assert_nothing_left()


@pytest.mark.slow
def test_a_node_that_was_stopped_by_a_signal_holds_up_no_end():
    program = """
    import os
    import signal
    import mosaic

    with mosaic.session(stop_grace=0.1) as runtime:
        print(runtime.submit(abs, -1).wait())
        os.kill(mosaic.get_node().pid, signal.SIGSTOP)
    print("over")
    """
    with Mrun(program, options=("-nw", "1")) as script:
        assert script.wait(20) == 0
        assert script.stdout == "1\nover\n"
        script.assert_nothing_left()
