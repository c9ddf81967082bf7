"""`mosaic.utils.at_exit` where SIGTERM ends the process, as batch systems do."""

import os
import signal
import subprocess
import sys

from tests.support.kernels import Kernel
from tests.support.rendezvous import eventually
from tests.support.scripts import Script

FUNCTIONS = """
import os, signal, sys, threading, time
import mosaic, mosaic.utils
from mosaic.utils import at_exit

def say(text):
    return lambda: print(text, flush=True)

def fail():
    1 / 0
"""


def ended(code, expect=-signal.SIGTERM):
    done = subprocess.run(
        [sys.executable, "-c", FUNCTIONS + code],
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.returncode == expect, done.stderr
    return done.stdout.split(), done.stderr


KILL = "os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(30)\n"


def test_sigterm_runs_the_functions_last_first_and_ends_the_process():
    out, err = ended(
        "for one in (say('last'), fail, say('second'), sys.exit, say('gone'), say('first')):\n"
        "    at_exit.add(one)\n"
        "at_exit.remove(at_exit.funcs[-2])\n"
        "assert len(at_exit.funcs) == 5\n"
        # What comes meanwhile neither interrupts them nor runs them again.
        "at_exit.add(lambda: os.kill(os.getpid(), signal.SIGTERM))\n"
        "print('buffered', end=' ')\n" + KILL
    )
    assert out == ["buffered", "first", "second", "last"]
    assert err.count("ZeroDivisionError") == 1
    assert "SystemExit" not in err


def test_imports_set_no_handler_and_those_of_the_program_stay():
    out, _ = ended(
        "assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "thread = threading.Thread(target=at_exit.add, args=(say('at the end'),))\n"
        "thread.start(); thread.join()\n"
        "assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n"
        "mine = lambda *_: print('mine', flush=True)\n"
        "for handler in (mine, signal.SIG_IGN):\n"
        "    signal.signal(signal.SIGTERM, handler)\n"
        "    at_exit.add(say('once'))\n"
        "    assert signal.getsignal(signal.SIGTERM) is handler\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_DFL)\n"
        "at_exit.add(say('first'))\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n",
        expect=0,
    )
    assert out == ["mine", "first", "once", "once", "at", "the", "end"]


def test_an_interrupt_is_still_one():
    out, err = ended(
        "at_exit.add(say('left'))\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(30)\n",
        expect=-signal.SIGINT,
    )
    assert out == ["left"]
    assert "KeyboardInterrupt" in err


def test_the_child_of_a_fork_cleans_up_for_itself_alone():
    out, _ = ended(
        "at_exit.add(say('parent'))\n"
        "for own in (False, True):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        if own: at_exit.add(say('child'))\n"
        f"        {KILL.splitlines()[0]}; time.sleep(30)\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM\n" + KILL
    )
    assert out == ["child", "parent"]


def test_the_module_has_its_own_name():
    from mosaic.utils import at_exit
    from mosaic.utils.at_exit import at_exit as again

    assert again is at_exit
    assert again.add
    assert isinstance(again.funcs, list)


DRIVER = """
    import asyncio, os, mosaic
    from mosaic.utils import at_exit

    @mosaic.tessera
    class Leaver:
        def add(self, text):
            at_exit.add(lambda: print(text, "left", flush=True))
            return os.getpid()

        def wait(self):
            open("waits", "w").close()
            import time
            time.sleep(1000)

    async def main(runtime):
        idle, busy = Leaver.remote(runtime="worker:0:0"), Leaver.remote(runtime="worker:0:1")
        print(await idle.add("idle").result(), await busy.add("busy").result(), flush=True)
        at_exit.add(lambda: print("driver left", flush=True))
        await busy.wait()

    if __name__ == "__main__":
        mosaic.run(main, num_workers=2)
    """


def test_workers_and_a_driver_that_waits():
    with Script(DRIVER) as script:
        script.wait_for_flag("waits")
        idle = int(script.stdout.split()[0])
        # One waits for calls in the core, where Python has no instruction to run a handler before.
        os.kill(idle, signal.SIGTERM)
        eventually(lambda: "idle left" in script.stdout, "the end of an idle worker")
        eventually(lambda: "SIGTERM" in script.stderr, "its cause")
        os.kill(script.pid, signal.SIGTERM)
        assert script.wait() == -signal.SIGTERM
        assert "driver left" in script.stdout
        script.assert_nothing_left()


async def test_kernels_of_notebooks_are_left_alone():
    async with Kernel() as kernel:
        ran = await kernel.run("""
            import signal
            from mosaic.utils import at_exit
            before = signal.getsignal(signal.SIGTERM)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            at_exit.add(print)
            print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
            signal.signal(signal.SIGTERM, before)
            at_exit.remove(print)
        """)
        assert ran.lines() == ["True"]
