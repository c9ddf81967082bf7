"""Programs that methods start: none of them outlives the worker, unless it was detached on purpose."""

import os
import signal
import subprocess
import time

import psutil
import pytest

import mosaic
from tests.support.actors import Blocker
from tests.support.rendezvous import eventually, eventually_async
from tests.support.scripts import run_script

pytestmark = pytest.mark.faults


def start(*, detached=False):
    """Start a program and one that is nobody's child; return the worker's pid and theirs."""
    program = ["sh", "-c", "sleep 600 & echo $!; exec sleep 600"]
    child = subprocess.Popen(program, stdout=subprocess.PIPE, start_new_session=detached)
    return os.getpid(), child.pid, int(child.stdout.readline())


@mosaic.tessera
class Starter:
    def start(self):
        return start()


def lives(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(*pids):
    return not any(map(lives, pids))


async def test_they_end_with_a_worker_that_dies(fresh):
    worker, *children = await fresh.submit(start).result()
    assert all(map(lives, children))
    os.kill(worker, signal.SIGKILL)
    await eventually_async(lambda: gone(*children), "children gone", 2)


async def test_their_hold_on_the_output_does_not_delay_the_news_of_the_death(fresh, flag):
    # They have the worker's standard error, whose end they would keep from the reader.
    blocker = await Blocker.remote()
    worker, *_ = await Starter.remote(runtime=blocker.runtime_id).start().result()
    waiting = blocker.until(flag("started"), flag("never"))
    await flag("started").wait_async()
    began = time.monotonic()
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(mosaic.RuntimeDisconnectedError, match="SIGKILL"):
        await waiting.result()
    # As long as they live, it would be for ever.
    assert time.monotonic() - began < 10


def test_they_end_at_the_stop():
    with mosaic.session(num_workers=1) as runtime:
        _, *children = runtime.submit(start).wait()
        assert all(map(lives, children))
    eventually(lambda: gone(*children), "children gone", 2)


def test_a_program_that_was_detached_goes_on():
    with mosaic.session(num_workers=1) as runtime:
        _, *children = runtime.submit(start, detached=True).wait()
    try:
        assert all(map(lives, children))
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)


def test_what_multiprocessing_left_is_cleaned_up_at_the_stop():
    # Its resource tracker is such a program; it has the time to do what it is there for.
    run_script(
        """
        import os
        from multiprocessing.shared_memory import SharedMemory
        import mosaic

        def forget():
            memory = SharedMemory(create=True, size=4096)
            return memory.name

        with mosaic.session(num_workers=1) as runtime:
            name = runtime.submit(forget).wait()
            assert os.path.exists(f"/dev/shm/{name}")
        assert not os.path.exists(f"/dev/shm/{name}")
        """
    )
