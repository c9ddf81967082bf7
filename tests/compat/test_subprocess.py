"""`mosaic.subprocess` as programs of mosaic 1.2 use it: made, started, paused, stopped."""

import os
import signal
import subprocess
import sys

import pytest

import mosaic
from tests.support.rendezvous import Flag, eventually
from tests.support.scripts import Script


def spin(flag):
    flag.set()
    data = bytearray(b"x" * 20_000_000)
    while True:
        data[0] = 1


def describe(value, *, scale):
    return value * scale, os.sched_getaffinity(0), os.getpid()


def test_it_is_started_by_hand():
    core = min(os.sched_getaffinity(0))
    process = mosaic.subprocess(describe)(3, scale=4, name="three", daemon=True, cpu_affinity=core)
    assert (process.state, process.pid, process.running(), process.is_alive()) == (
        "pending",
        None,
        False,
        False,
    )
    assert (process.memory(), process.cpu_load(), process.name) == (0, 0.0, "three")
    assert "'three', pending" in repr(process)
    for ask in (process.result, process.join_process, process.terminate, process.kill):
        with pytest.raises(
            RuntimeError, match=r"three has not been started: call start_process\(\)"
        ):
            ask()
    process.start_process()
    process.start_process()
    assert process.result() == (12, {core}, process.pid)
    assert process.join_process() == 0
    assert (process.state, process.running(), process.memory()) == ("stopped", False, 0)
    process.start_process()
    assert process.state == "stopped"


def test_it_is_paused_goes_on_and_is_stopped(tmp_path):
    flag = Flag(tmp_path / "spins")
    process = mosaic.subprocess(spin)(flag)
    process.pause_process()
    assert process.state == "pending"
    process.start_process()
    flag.wait()
    eventually(lambda: process.memory() > 20_000_000, "its memory")
    eventually(lambda: process.cpu_load() > 0.05, "its load")
    assert process.running()
    process.pause_process()
    eventually(lambda: state_of(process.pid) == "T", "that it is stopped")
    assert (process.state, process.running(), process.is_alive()) == ("paused", False, True)
    process.start_process()
    eventually(lambda: state_of(process.pid) in "RS", "that it goes on")
    assert process.running()
    process.pause_process()
    process.stop_process()
    assert process.state == "stopped"
    assert process.join() == -signal.SIGTERM
    assert process.cpu_load() == 0.0


def state_of(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def test_one_that_was_stopped_before_its_start_never_starts():
    process = mosaic.subprocess(describe)(3, scale=4)
    process.stop_process()
    assert process.state == "stopped"
    with pytest.raises(RuntimeError, match="stopped before it was started"):
        process.start_process()


def test_a_core_that_there_is_not():
    process = mosaic.subprocess(describe, start=True)(3, scale=4, cpu_affinity=[100_000])
    with pytest.raises(OSError, match="Invalid argument"):
        process.result()


def test_a_program_waits_at_its_end_where_it_is_no_daemon(tmp_path):
    for daemon, expected in ((False, True), (True, False)):
        flag = tmp_path / f"{daemon}"
        code = (
            "import mosaic, sys, time\n"
            "def work(path, forever):\n"
            "    while forever: time.sleep(1)\n"
            "    open(path, 'w').close()\n"
            f"mosaic.subprocess(work, start=True)(sys.argv[1], {daemon}, daemon={daemon})\n"
        )
        subprocess.run([sys.executable, "-c", code, flag], check=True, timeout=40)
        assert flag.exists() is expected


def test_one_that_is_paused_ends_with_who_started_it():
    text = """
        import os, time, mosaic
        from tests.support.rendezvous import Flag

        def wait(started):
            started.set()
            time.sleep(1000)

        started = Flag(os.path.abspath("started"))
        process = mosaic.subprocess(wait, start=True)(started)
        started.wait()
        process.pause_process()
        print("paused", flush=True)
        time.sleep(1000)
        """
    with Script(text) as script:
        script.wait_for_line("paused")
        assert len(script.processes()) == 2
        script.send(signal.SIGKILL)
        script.wait()
        eventually(lambda: not script.processes(), "its end", 5)


def test_it_takes_its_arguments_as_they_are_at_the_start():
    numbers = [1]
    process = mosaic.subprocess(sum)(numbers)
    numbers.append(2)
    process.start_process()
    assert process.result() == 3
