"""Futures of tasks, proxies and arrays: what callbacks get, `done_future`, `init_future`."""

import asyncio
import threading

import pytest

import mosaic
from tests.support.actors import Blocker, Counter, Echo


def failing():
    """Return a task that fails."""
    return Echo.remote().fail(ValueError("on purpose"))


async def called_with(future):
    """Return what a callback of a future is called with."""
    seen = asyncio.get_running_loop().create_future()
    future.add_done_callback(seen.set_result)
    return await asyncio.wait_for(seen, 20)


async def test_callbacks_get_a_future_whose_result_tells_of_success_and_failure(runtime):
    task = Counter.remote().add(1)
    future = await called_with(task)
    assert future.result() is True
    assert (future.done(), future.cancelled(), future.exception()) == (True, False, None)
    assert (future.state, future.uid) == ("done", task.uid)
    assert future.task is task
    assert future == task.done_future
    future = await called_with(failing())
    with pytest.raises(ValueError, match="on purpose"):
        future.result()
    assert isinstance(future.exception(), ValueError)
    assert future.state == "failed"


def test_callbacks_without_a_loop_get_it_too(runtime):
    seen, called = [], threading.Event()

    def callback(future):
        seen.append(future)
        called.set()

    task = failing()
    task.add_done_callback(callback)
    assert called.wait(20)
    with pytest.raises(ValueError, match="on purpose"):
        seen[0].result()
    # Of a task that has ended it is called at once.
    task.done_future.add_done_callback(callback)
    assert seen == [task.done_future, task.done_future]


async def test_done_future(runtime, flag):
    started, release = flag("started"), flag("release")
    task = Blocker.remote().until(started, release)
    future = task.done_future
    assert (future.done(), future.state) == (False, "pending")
    with pytest.raises(asyncio.InvalidStateError, match="has not ended yet"):
        future.result()
    seen = []
    future.add_done_callback(seen.append)
    assert future.remove_done_callback(seen.append) == 1
    release.set()
    assert await future is True
    assert future.result() is True
    assert await asyncio.wait_for(task.done_future, 20) is True
    assert seen == []
    with pytest.raises(ValueError, match="on purpose"):
        await failing().done_future


async def test_helpers_of_asyncio_take_tasks_with_such_callbacks(runtime):
    good, bad = Echo.remote().back(1), failing()
    done, pending = await asyncio.wait({good, bad})
    assert (done, pending) == ({good, bad}, set())
    done, _ = await asyncio.wait({bad}, return_when=asyncio.FIRST_EXCEPTION)
    assert done == {bad}


async def test_init_futures_have_callbacks(runtime):
    proxy = Counter.remote()
    assert (await called_with(proxy.init_future)).result() is True
    task = proxy.add(1)
    assert (await called_with(task.init_future)).result() is True
    array = Counter.remote(len=2)
    assert (await called_with(array.init_future)).result() is True
    tasks = array.add(1)
    future = await called_with(tasks.done_future)
    assert future.result() is True
    assert future.exception() is None
    # One that is there already, as this process knows.
    sent = await Echo.remote().back(proxy).result()
    assert (await called_with(sent.init_future)).result() is True


async def test_init_future_of_a_failing_constructor(runtime):
    proxy = Failing.remote()
    future = await called_with(proxy.init_future)
    with pytest.raises(ZeroDivisionError):
        future.result()
    array = Failing.remote(len=2)
    assert isinstance((await called_with(array.init_future)).exception(), ZeroDivisionError)


@mosaic.tessera
class Failing:
    def __init__(self):
        raise ZeroDivisionError("on purpose")


async def test_done_gives_true(runtime):
    task = Echo.remote().back("value")
    assert await task.done.result() is True
    assert await task.outputs.done.result() is True
    with pytest.raises(ValueError, match="on purpose"):
        await failing().done.result()


def test_done_gives_true_in_synchronous_code(runtime):
    assert Echo.remote().back(1).done.wait() is True
    assert Echo.remote().back(1).done_future.wait(20) is True


async def test_outputs_by_position(runtime):
    single, pair = Echo.remote().back(5), Echo.remote().back(("a", "b"))
    assert await single.outputs[-1].result() == 5
    assert await pair.outputs[-1].result() == "b"
    # At the callee too.
    assert await Echo.remote().back(single.outputs[-1]).result() == 5
    for missing in (single.outputs[1], single.outputs[-2], pair.outputs[2]):
        with pytest.raises(IndexError):
            await missing.result()
    with pytest.raises(KeyError):
        await single.outputs["name"].result()
    with pytest.raises(IndexError):
        await Echo.remote().back(single.outputs[1]).result()
