"""`task.init_future`: ends when the call has reached its worker, and not before."""

import asyncio
import os
import signal

import pytest

import mosaic
from tests.support.actors import Echo
from tests.support.deaths import Doomed, freeze


async def test_a_call_to_a_worker_that_does_not_read_is_still_on_its_way(fresh):
    doomed = Doomed.remote(runtime="worker:0:0")
    pid = await doomed.pid().result()
    freeze(pid)
    try:
        task = doomed.add(1)
        arrival = task.init_future
        # What was sent later elsewhere comes back.
        assert await Echo.remote(runtime="worker:0:1").back(1).result() == 1
        assert not arrival.done()
        with pytest.raises(asyncio.InvalidStateError):
            arrival.result()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert await arrival is True
    assert arrival.result() is True
    assert task.init_future is arrival
    assert await task.result() == 1


async def test_it_need_not_have_run(fresh, flag):
    started, release = flag("started"), flag("release")
    doomed = Doomed.remote()
    running = doomed.until(started, release)
    behind = doomed.add(1)
    assert await behind.init_future
    assert not behind.done()
    release.set()
    await running


async def test_a_death_on_the_way_ends_it_too(fresh):
    doomed = Doomed.remote(runtime="worker:0:0")
    pid = await doomed.pid().result()
    freeze(pid)
    task = doomed.add(1)
    arrival = task.init_future
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(mosaic.RuntimeDisconnectedError, match="SIGKILL"):
        await arrival
    with pytest.raises(mosaic.RuntimeDisconnectedError):
        await task


async def test_a_cancellation_ends_it_too(fresh, flag):
    started, release, never = flag("started"), flag("release"), flag("never")
    doomed = Doomed.remote()
    running = doomed.until(started, release)
    await started.wait_async()
    task = doomed.until(never, release)
    task.cancel()
    # It got there, and did not run.
    assert await task.init_future
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    await running
    assert not never.is_set()


async def test_of_a_task_that_was_passed_on_its_end_tells(fresh):
    task = Echo.remote().back(3)
    assert await Doomed.remote().arrived([task]).result() is True
