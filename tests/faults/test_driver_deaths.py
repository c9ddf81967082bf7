"""The driver dies, however it may: two seconds later nothing of it is left."""

import signal

import pytest

from tests.support.rendezvous import eventually
from tests.support.scripts import Script

pytestmark = pytest.mark.faults

# Whoever has reached the state that a row names says that it is ready.
BUSY = {
    "idle": "ready.set(); time.sleep(600)",
    "waiting": "Blocker.remote().until_async(ready, never).wait()",
    "plain method": "task = Blocker.remote().until(ready, never); time.sleep(600)",
    "global lock held in a worker": "task = runtime.submit(hold); time.sleep(600)",
    "global lock held in the driver": "hold()",
    "constructing": "proxy = Slow.remote(); time.sleep(600)",
    "many calls": "repeat(lambda: runtime.submit(abs, -1).wait())",
    "child processes of a worker": "runtime.submit(children).wait(); ready.set(); time.sleep(600)",
    "arrays in the store": "in_store(); ready.set(); time.sleep(600)",
    "arrays on disk": "on_disk(); ready.set(); time.sleep(600)",
    "arrays on their way": "repeat(lambda: runtime.submit(len, fields(8)))",
    "warehouse idle": "Field.parameter().add(1, propagate=True); ready.set(); time.sleep(600)",
    "warehouse at work": "Field.parameter().hold(propagate=True); time.sleep(600)",
    "warehouse starting": "starting(); Field.parameter().set('x', 1); time.sleep(600)",
    "warehouse used by a worker": "Needy.remote().hold().wait()",
}

PROGRAM = """
import asyncio
import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path
import numpy as np
import mosaic
from tests.support.actors import Blocker
from tests.support.rendezvous import Flag

ready, never = Flag("ready"), Flag("never")
kept = []

def hold():
    ready.set()
    ctypes.PyDLL(None).sleep(600)

def repeat(call):
    call()
    ready.set()
    while True:
        call()

def children():
    subprocess.Popen(["sleep", "600"])
    subprocess.Popen(["sh", "-c", "sleep 600 & sleep 600"])

def fields(value):
    return np.full(1_000_000, float(value))

def in_store():
    kept.extend([runtime.put(fields(5)), Keeper.remote(fields(6))])
    assert kept[1].first().wait() == 6.0

def on_disk():
    kept.extend(runtime.put(fields(7)) for _ in range(20))
    report = asyncio.run(runtime.memory())
    assert sum(process.on_disk for process in report.processes.values()) > 0

def starting():
    Path("sitecustomize.py").write_text("open('ready', 'w').close()")
    os.environ["PYTHONPATH"] = "." + os.pathsep + os.environ["PYTHONPATH"]

@mosaic.tessera
class Keeper:
    def __init__(self, array):
        self.array = array

    def first(self):
        return self.array[0]

@mosaic.tessera
class Slow:
    def __init__(self):
        ready.set()
        time.sleep(600)

@mosaic.tessera
class Field:
    def add(self, n):
        return n

    def hold(self):
        if self.is_tessera:
            hold()

@mosaic.tessera
class Needy:
    def hold(self):
        field = Field.parameter()
        field.hold(propagate=True)
        asyncio.run(field.get("value"))

with mosaic.session(num_workers=2, warehouse_memory="100MB") as runtime:
    runtime.submit(int).wait()
    {body}
"""


def busy_script(busy, before=""):
    return Script(before + PROGRAM.replace("{body}", BUSY[busy]))


@pytest.mark.parametrize("busy", BUSY)
def test_killed(busy):
    with busy_script(busy) as script:
        script.wait_for_flag("ready")
        script.send(signal.SIGKILL)
        assert script.wait(10) == -signal.SIGKILL
        script.assert_nothing_left(within=2.0)


STOPPING = """
import ctypes
import mosaic
from tests.support.rendezvous import Flag

def hold(lock):
    Flag("ready").set()
    (ctypes.PyDLL if lock else ctypes.CDLL)(None).sleep(600)

@mosaic.tessera
class Field:
    def hold(self, lock):
        if self.is_tessera:
            hold(lock)

@mosaic.tessera
class Needy:
    def hold(self, lock):
        Field.parameter().hold(lock, propagate=True)

with mosaic.session(num_workers=2, stop_grace=600) as runtime:
    runtime.submit(int).wait()
    {body}
    Flag("ready").wait()
"""


@pytest.mark.parametrize("lock", [False, True])
@pytest.mark.parametrize(
    ("body", "living"),
    [
        ("task = runtime.submit(hold, {lock})", "driver and worker"),
        ("Needy.remote().hold({lock}).wait()", "driver and warehouse"),
    ],
)
def test_killed_while_a_method_keeps_it_from_stopping(body, living, lock):
    """Who was told to stop has no connection to the driver any more."""
    text = STOPPING.replace("{body}", body.replace("{lock}", str(lock)))
    with Script(text) as script:
        script.wait_for_flag("ready")
        eventually(lambda: len(script.processes()) == 2, f"nobody but {living}", 20)
        script.send(signal.SIGKILL)
        assert script.wait(10) == -signal.SIGKILL
        script.assert_nothing_left(within=2.0)


@pytest.mark.parametrize(
    "busy", ["idle", "waiting", "plain method", "many calls", "warehouse idle", "warehouse at work"]
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signalled(number, busy):
    no_core = "import resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
    with busy_script(busy, before=no_core) as script:
        script.wait_for_flag("ready")
        script.send(number)
        assert script.wait(10) in {-number, 128 + number}
        script.assert_nothing_left(within=2.0)


ASYNC = """
import asyncio
import mosaic

async def main(runtime):
    await runtime.submit(int).result()
    print("ready", flush=True)
    await asyncio.Event().wait()

mosaic.run(main, num_workers=2)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_signalled_in_an_async_main(number):
    with Script(ASYNC) as script:
        script.wait_for_line("ready")
        script.send(number)
        assert script.wait(10) in {-number, 128 + number}
        script.assert_nothing_left(within=2.0)


def test_killed_while_starting():
    with Script(
        """
        import mosaic
        print("starting", flush=True)
        while True:
            with mosaic.session(num_workers=2):
                pass
            print("stopped", flush=True)
        """
    ) as script:
        script.wait_for_line("stopped")
        script.send(signal.SIGKILL)
        script.wait(10)
        # Before its first worker runs there is nobody to clean up behind it: the next network does.
        sweeper = """
        import mosaic
        with mosaic.session(num_workers=1):
            pass
        """
        place = str(script.temporary)
        with Script(sweeper, env={"TMPDIR": place, "XDG_RUNTIME_DIR": place}) as next_one:
            assert next_one.wait(20) == 0
        script.assert_nothing_left(within=2.0)


def test_the_next_run_in_the_same_place_is_unharmed():
    program = """
    import os
    import sys
    import mosaic

    with mosaic.session(num_workers=1) as runtime:
        print(runtime.submit(abs, -5).wait())
        if len(sys.argv) > 1:
            os.kill(os.getpid(), 9)
    """
    with Script(program, "die") as script:
        assert script.wait(20) == -signal.SIGKILL
        script.assert_nothing_left()
    with Script(program) as script:
        assert script.wait(20) == 0
        assert script.stdout.split() == ["5"]


def test_a_driver_that_segfaults():
    with Script(
        """
        import ctypes
        import resource
        import mosaic
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with mosaic.session(num_workers=2) as runtime:
            runtime.submit(int).wait()
            ctypes.string_at(0)
        """
    ) as script:
        assert script.wait(20) == -signal.SIGSEGV
        script.assert_nothing_left(within=2.0)


def test_workers_that_cannot_start():
    # The start ends with a reason and not in silence.
    with Script(
        """
        import os
        import pathlib
        import mosaic

        pathlib.Path("broken").mkdir()
        pathlib.Path("broken/sitecustomize.py").write_text(
            "import os, sys\\n"
            "if 'MOSAIC_WORKER_UID' in os.environ:\\n"
            "    sys.stderr.write('broken on purpose\\\\n'); sys.stderr.flush(); os._exit(9)\\n"
        )
        os.environ["PYTHONPATH"] = "broken:" + os.environ.get("PYTHONPATH", "")
        try:
            with mosaic.session(num_workers=1) as runtime:
                runtime.submit(int).wait(20)
        except (mosaic.MosaicError, RuntimeError, OSError) as error:
            print("told:", error)
        """
    ) as script:
        assert script.wait(40) == 0
        assert "told:" in script.stdout
        assert "9" in script.stdout or "broken on purpose" in script.stdout
        script.assert_nothing_left(within=2.0)
