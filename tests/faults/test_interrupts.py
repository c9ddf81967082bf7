"""Ctrl-C: out within a second, exit code 130, and nothing on the screen that nobody asked for."""

import os
import signal
import time

import pytest

from tests.support.scripts import Script, run_script

pytestmark = pytest.mark.faults

IMPORTS = """
import asyncio
import sys
import time
import mosaic
from tests.support.actors import Blocker
from tests.support.rendezvous import Flag

started, never = Flag("started"), Flag("never")
"""

PROGRAMS = {
    "script": """
with mosaic.session(num_workers=2) as runtime:
    runtime.submit(int).wait()
    print("ready", flush=True)
    time.sleep(600)
""",
    "task.wait": """
with mosaic.session(num_workers=2) as runtime:
    task = Blocker.remote().until_async(started, never)
    started.wait()
    print("ready", flush=True)
    task.wait()
""",
    "task.wait with timeout": """
with mosaic.session(num_workers=2) as runtime:
    task = Blocker.remote().until_async(started, never)
    started.wait()
    print("ready", flush=True)
    task.wait(timeout=600)
""",
    "plain method": """
with mosaic.session(num_workers=2) as runtime:
    task = Blocker.remote().until(started, never)
    started.wait()
    print("ready", flush=True)
    task.wait()
""",
    "init without stop": """
mosaic.init(num_workers=2)
task = Blocker.remote().until_async(started, never)
started.wait()
print("ready", flush=True)
task.wait()
""",
    "init without stop, plain method": """
mosaic.init(num_workers=2)
task = Blocker.remote().until(started, never)
started.wait()
print("ready", flush=True)
task.wait()
""",
    "async main": """
async def main(runtime):
    task = Blocker.remote().until_async(started, never)
    await started.wait_async()
    print("ready", flush=True)
    await task

mosaic.run(main, num_workers=2)
""",
    "async_for": """
async def main(runtime):
    blocker = Blocker.remote(len=2)

    @runtime.async_for(range(10))
    async def loop(worker, item):
        started.set()
        print("ready", flush=True)
        await blocker.until_async(started, never, runtime=worker)

    await loop

mosaic.run(main, num_workers=2)
""",
    "map": """
def work(i):
    started.set()
    never.wait(600)

async def main(runtime):
    mapping = asyncio.ensure_future(runtime.map(work, range(10)))
    await started.wait_async()
    print("ready", flush=True)
    await mapping

mosaic.run(main, num_workers=2)
""",
}


def shown(script):
    return f"stdout: {script.stdout}\nstderr: {script.stderr}"


@pytest.mark.parametrize("whom", ["process", "group"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_ctrl_c(program, whom):
    with Script(IMPORTS + PROGRAMS[program]) as script:
        script.wait_for_line("ready")
        began = time.monotonic()
        if whom == "group":  # what a terminal does
            os.killpg(script.pid, signal.SIGINT)
        else:
            script.send(signal.SIGINT)
        code = script.wait(20)
        took = time.monotonic() - began
        # A Python program that is interrupted ends by the signal, which shells show as 130.
        assert code in {130, -signal.SIGINT}, shown(script)
        script.assert_nothing_left(within=2.0)
        err = script.stderr
        # One of the program's own; asyncio shows where it was cancelled before that.
        assert err.count("Traceback") <= (2 if "mosaic.run" in PROGRAMS[program] else 1), err
        if "Traceback" in err:
            assert err.strip().splitlines()[-1] == "KeyboardInterrupt", err
        for noise in (
            "nobody looked",
            "never retrieved",
            "was destroyed",
            "worker:0",
            "Exception ignored",
        ):
            assert noise not in err, err
        limit = 2.0 + 1.0 if program in {"plain method", "map"} else 1.0
        assert took < limit, f"{took:.2f} s"


def test_ctrl_c_can_be_caught_and_the_runtime_goes_on():
    with Script(
        IMPORTS
        + """
with mosaic.session(num_workers=2) as runtime:
    task = Blocker.remote().until_async(started, never, "late")
    started.wait()
    print("ready", flush=True)
    try:
        task.wait()
    except KeyboardInterrupt:
        print("caught", flush=True)
    assert runtime.submit(abs, -3).wait() == 3
    never.set()
    assert task.wait() == "late"
"""
    ) as script:
        script.wait_for_line("ready")
        os.killpg(script.pid, signal.SIGINT)
        assert script.wait(20) == 0, shown(script)
        assert "caught" in script.stdout
        assert script.stderr == ""


def test_impatient_ctrl_c():
    with Script(IMPORTS + PROGRAMS["plain method"]) as script:
        script.wait_for_line("ready")
        for _ in range(5):
            os.killpg(script.pid, signal.SIGINT)
            time.sleep(0.02)  # a hand on a keyboard
        assert script.wait(20) != 0
        script.assert_nothing_left(within=2.0)


def test_a_notebook_stays_usable():
    with Script(
        IMPORTS
        + """
async def cell_one():
    await mosaic.interactive("on", num_workers=2)

async def cell_two():
    task = Blocker.remote().until_async(started, never)
    await started.wait_async()
    print("ready", flush=True)
    await task

async def cell_three():
    assert await mosaic.runtime().submit(abs, -3).result() == 3
    await mosaic.interactive("off")
    print("usable", flush=True)

with asyncio.Runner() as runner:
    runner.run(cell_one())
    try:
        runner.run(cell_two())
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    runner.run(cell_three())
"""
    ) as script:
        script.wait_for_line("ready")
        os.killpg(script.pid, signal.SIGINT)
        assert script.wait(20) == 0, shown(script)
        assert script.stdout.split()[-2:] == ["interrupted", "usable"]
        assert script.stderr == ""


def test_programs_own_handler_wins():
    with Script(
        IMPORTS
        + """
import signal
asked = []
signal.signal(signal.SIGINT, lambda *_: asked.append(1))
with mosaic.session(num_workers=1) as runtime:
    runtime.submit(int).wait()
    print("ready", flush=True)
    while not asked:
        assert runtime.submit(abs, -3).wait() == 3
    print("asked", flush=True)
"""
    ) as script:
        script.wait_for_line("ready")
        os.killpg(script.pid, signal.SIGINT)
        assert script.wait(20) == 0, shown(script)
        assert script.stderr == ""


def test_a_signal_at_any_moment_interrupts_the_wait():
    """`INTERRUPT-1`"""
    # Also one that comes when the wait has been called and does not wait yet, and one that the
    # system gave to another thread: neither cuts a system call of the waiting thread short.
    out, _ = run_script(
        """
        import signal
        import threading
        import time
        import mosaic
        from tests.support.actors import Blocker
        from tests.support.rendezvous import Flag

        def strike(after):
            time.sleep(after)  # the moment that is tried, from none to 10 ms
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)

        with mosaic.session(num_workers=1):
            task = Blocker.remote().until_async(Flag("started"), Flag("never"))
            caught = 0
            for turn in range(100):
                striker = threading.Thread(target=strike, args=(turn * 1e-4,))
                try:
                    striker.start()
                    task.wait(10)
                except KeyboardInterrupt:
                    caught += 1
                striker.join()
            print(caught)
        """,
        timeout=50,
    )
    assert out.split() == ["100"]
