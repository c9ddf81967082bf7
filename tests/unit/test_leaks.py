"""The leak check itself: each kind of leak is seen, and gone when it is gone."""

import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tests import leaks
from tests.support.scripts import ROOT


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(leaks, "SETTLE_S", 0.2)


def kinds(before):
    return set(before.leaks())


def test_nothing_left_is_no_leak():
    assert leaks.take().leaks() == {}


def test_descriptor():
    before = leaks.take()
    reader, writer = os.pipe()
    assert kinds(before) == {"fds"}
    os.close(reader)
    os.close(writer)
    assert kinds(before) == set()


def test_descriptor_reopened_on_something_else():
    reader, writer = os.pipe()
    before = leaks.take()
    os.dup2(os.open(os.devnull, os.O_RDONLY), reader)
    assert "fds" in kinds(before)
    os.closerange(min(reader, writer), max(reader, writer) + 2)


def test_python_thread_is_named():
    before = leaks.take()
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="left-over")
    thread.start()
    left = before.leaks()
    stop.set()
    thread.join()
    assert "left-over" in leaks.describe(left)
    assert kinds(before) == set()


def test_running_child():
    before = leaks.take()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert kinds(before) == {"processes", "fds"}
    child.communicate(b"\n")
    assert kinds(before) == set()


def test_child_that_nobody_waited_for():
    before = leaks.take()
    pid = os.posix_spawn("/bin/true", ["true"], dict(os.environ))
    left = before.leaks()
    os.waitpid(pid, 0)
    assert set(left) == {"processes"}
    assert kinds(before) == set()


def test_process_that_lost_its_parent_is_found_and_ended():
    before = leaks.take()
    subprocess.run(["/bin/sh", "-c", "sleep 600 >/dev/null 2>&1 &"], check=True)
    left = before.leaks()
    assert "sleep 600" in leaks.describe(left)
    leaks.end_processes(left)
    assert kinds(before) == set()


def test_process_that_ends_in_time_is_no_leak(monkeypatch):
    monkeypatch.setattr(leaks, "SETTLE_S", 20.0)
    before = leaks.take()
    subprocess.run(["/bin/sh", "-c", "sleep 0.3 >/dev/null 2>&1 &"], check=True)
    assert kinds(before) == set()


def test_shared_memory_still_mapped():
    before = leaks.take()
    fd = os.memfd_create("mosaic-object")
    os.ftruncate(fd, 4096)
    mapping = mmap.mmap(fd, 4096)
    os.close(fd)
    assert "mappings" in kinds(before)
    mapping.close()
    assert kinds(before) == set()


@pytest.mark.parametrize("place", ["XDG_RUNTIME_DIR", "TMPDIR"])
def test_runtime_directory(place):
    before = leaks.take()
    directory = Path(tempfile.mkdtemp(prefix="mosaic-", dir=os.environ[place]))
    assert kinds(before) == {"files"}
    directory.rmdir()
    assert kinds(before) == set()


def test_a_run_sees_nothing_of_the_job_that_it_was_started_in():
    foreign = ["SLURM_JOB_NODELIST", "SLURMD_NODENAME", "PBS_NODEFILE", "PE_HOSTFILE", "SGE_ROOT"]
    foreign += ["MOSAIC_NUM_WORKERS", "MOSAIC_PROFILE", "MOSAIC_MONITOR_KEY"]
    foreign += ["OMP_NUM_THREADS", "PYTHONUNBUFFERED"]
    ours = {
        "MOSAIC_WAREHOUSE_IDLE": "never",
        "MOSAIC_TEST_OLD_FILES": "kept",
        leaks.TOKEN: "theirs",
    }
    look = "import json, os; from tests import leaks; leaks.isolate()"
    done = subprocess.run(
        [sys.executable, "-c", f"{look}; print(json.dumps(dict(os.environ)))"],
        cwd=ROOT,
        env=os.environ | dict.fromkeys(foreign, "4") | ours,
        stdout=subprocess.PIPE,
        timeout=40,
        check=True,
    )
    seen = json.loads(done.stdout)
    shutil.rmtree(Path(seen["TMPDIR"]).parent)
    assert not set(foreign) & set(seen)
    assert seen["PATH"] == os.environ["PATH"]
    assert seen["MOSAIC_TEST_OLD_FILES"] == "kept"
    assert float(seen["MOSAIC_WAREHOUSE_IDLE"]) < 1
    assert seen[leaks.TOKEN] != "theirs"


def test_programs_of_a_run_in_the_background_can_be_interrupted():
    look = (
        "import shutil, subprocess; from tests import leaks; shutil.rmtree(leaks.isolate()); "
        "subprocess.run(['grep', 'SigIgn', '/proc/self/status'], check=True)"
    )
    ignoring = ["sh", "-c", "trap '' HUP INT QUIT; exec \"$@\"", "-", sys.executable, "-c", look]
    done = subprocess.run(ignoring, cwd=ROOT, stdout=subprocess.PIPE, timeout=40, check=True)
    ignored = int(done.stdout.split()[1], 16)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        assert not ignored & 1 << number - 1


def test_allowed_kind_is_not_a_leak():
    before = leaks.take()
    reader, writer = os.pipe()
    assert before.leaks(frozenset({"fds"})) == {}
    os.close(reader)
    os.close(writer)
