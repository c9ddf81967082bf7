"""Tasks: states, waiting, values, outputs, callbacks."""

import asyncio
import threading

import pytest

import mosaic
from tests.support.actors import Blocker, Counter, Echo

STATES = {"pending", "queued", "running", "done", "failed", "cancelled"}


@mosaic.tessera
class Results:
    def pair(self, a, b):
        return a, b

    def table(self, **entries):
        return entries

    def single(self, value):
        return value

    def fail(self, message="failed on purpose"):
        raise ValueError(message)


async def test_awaiting_gives_the_task_and_result_the_value(runtime):
    task = Echo.remote().back({"a": 1})
    assert (await task) is task
    assert await task.result() == {"a": 1}
    assert await task.result() == {"a": 1}
    assert await task == task


async def test_result_without_awaiting_first(runtime):
    assert await Echo.remote().back(3).result() == 3


async def test_result_is_fetched_once(runtime):
    task = Echo.remote().back([1, 2])
    first = await task.result()
    assert (await task.result()) is first
    assert task.wait is not None


def test_wait_gives_the_value(runtime):
    task = Echo.remote().back([1, 2])
    assert task.wait() == [1, 2]
    assert task.wait(timeout=0) == [1, 2]


def test_wait_raises_the_exception(runtime):
    with pytest.raises(ValueError, match="failed on purpose"):
        Results.remote().fail().wait()


def test_wait_with_timeout_leaves_the_call_running(runtime, flag):
    started, release = flag("started"), flag("release")
    task = Blocker.remote().until(started, release, "late")
    started.wait()
    for timeout in (0, 0.01):
        with pytest.raises(TimeoutError):
            task.wait(timeout=timeout)
    assert not task.done()
    release.set()
    assert task.wait() == "late"


def test_wait_from_several_threads(runtime, flag):
    release = flag("release")
    task = Blocker.remote().until(flag("started"), release, 5)
    values = []
    threads = [threading.Thread(target=lambda: values.append(task.wait(20))) for _ in range(8)]
    for thread in threads:
        thread.start()
    release.set()
    for thread in threads:
        thread.join()
    assert values == [5] * 8


async def test_wait_on_the_loops_own_thread_explains_itself(runtime, flag):
    release = flag("release")
    task = Blocker.remote().until(flag("started"), release, 1)
    with pytest.raises((RuntimeError, mosaic.MosaicError), match="await"):
        task.wait()
    release.set()
    assert await task.result() == 1
    assert await asyncio.to_thread(task.wait, 10) == 1, "another thread may wait"


async def test_states_of_a_task_that_succeeds(runtime, flag):
    started, release = flag("started"), flag("release")
    blocker = Blocker.remote()
    task = blocker.until(started, release)
    behind = blocker.pid()
    assert task.state in {"pending", "queued"}
    await started.wait_async()
    assert task.state in {"queued", "running"}
    assert behind.state in {"pending", "queued"}
    assert not task.done()
    release.set()
    await behind
    assert task.state == behind.state == "done"
    assert task.done()


async def test_states_of_a_task_that_fails(runtime):
    task = Results.remote().fail()
    with pytest.raises(ValueError, match="on purpose"):
        await task
    assert task.state == "failed"
    assert task.done()


async def test_names(runtime):
    proxy = await Results.remote()
    task = proxy.single(1)
    await task
    assert task.method == "single"
    assert task.runtime_id == proxy.runtime_id
    assert task.tessera_id == proxy.uid
    assert isinstance(task.uid, str)
    assert task.uid != proxy.single(1).uid
    assert "single" in repr(task)
    assert task.uid in repr(task)


async def test_futures_of_a_task(runtime):
    task = Results.remote().single(1)
    await task.init_future
    await task.done_future
    assert task.done()
    assert await task.check_result() is None or task.done()


async def test_size(runtime):
    small, large = Results.remote().single(1), Results.remote().single(b"x" * 1_000_000)
    assert 0 < await small.size() < 1000
    assert 1_000_000 <= await large.size() < 1_010_000


async def test_outputs_of_a_tuple(runtime):
    task = Results.remote().pair("a", [1, 2])
    assert await task.outputs[0].result() == "a"
    assert await task.outputs[1].result() == [1, 2]
    with pytest.raises(LookupError):
        await task.outputs[2].result()


async def test_outputs_of_a_dict(runtime):
    task = Results.remote().table(speed=1500.0, density=[1000])
    assert await task.outputs["speed"].result() == 1500.0
    assert await task.outputs.density.result() == [1000]
    with pytest.raises(LookupError, match="pressure"):
        await task.outputs["pressure"].result()
    with pytest.raises(LookupError, match="pressure"):
        await task.outputs.pressure.result()


@pytest.mark.parametrize("value", [5, [1, 2], "ab", None], ids=repr)
async def test_anything_else_is_output_0(runtime, value):
    task = Results.remote().single(value)
    assert await task.outputs[0].result() == value
    with pytest.raises(LookupError):
        await task.outputs[1].result()


async def test_awaiting_an_output_waits_and_gives_the_reference(runtime):
    task = Results.remote().pair(1, 2)
    output = task.outputs[1]
    assert (await output) is output
    assert task.done()


async def test_output_of_a_failing_task(runtime):
    task = Results.remote().fail()
    with pytest.raises(ValueError, match="on purpose"):
        await task.outputs[0]
    with pytest.raises(ValueError, match="on purpose"):
        await task.outputs["key"].result()


async def test_tasks_have_no_length(runtime):
    task = Results.remote().pair(1, 2)
    with pytest.raises(TypeError):
        len(task)
    with pytest.raises(TypeError):
        len(task.outputs)
    await task


async def test_done_is_a_reference_and_callable(runtime, flag):
    started, release = flag("started"), flag("release")
    task = Blocker.remote().until(started, release)
    assert task.done() is False
    release.set()
    await task.done
    assert task.done() is True
    await task.outputs.done


async def test_awaiting_done_of_a_failed_task(runtime):
    with pytest.raises(ValueError, match="on purpose"):
        await Results.remote().fail().done


async def test_callbacks(runtime):
    called = asyncio.Event()
    seen = []

    def callback(future):
        seen.append(future.task)
        called.set()

    task = Echo.remote().back(1)
    task.add_done_callback(callback)
    await asyncio.wait_for(called.wait(), 20)
    assert seen == [task]
    # On a task that has ended: called soon, and not before `add_done_callback` returns.
    called.clear()
    task.add_done_callback(callback)
    await asyncio.wait_for(called.wait(), 20)
    assert seen == [task, task]


async def test_callbacks_of_failing_tasks(runtime):
    called = asyncio.Event()
    task = Results.remote().fail()
    task.add_done_callback(lambda _: called.set())
    await asyncio.wait_for(called.wait(), 20)
    with pytest.raises(ValueError, match="on purpose"):
        await task.check_result()


async def test_awaited_by_many(runtime, flag):
    release = flag("release")
    task = Blocker.remote().until(flag("started"), release, 7)
    waiters = [asyncio.ensure_future(task.result()) for _ in range(20)]
    release.set()
    assert await asyncio.gather(*waiters) == [7] * 20


async def test_a_waiter_that_gives_up_leaves_the_call_to_the_others(runtime, flag):
    started, release = flag("started"), flag("release")
    task = Blocker.remote().until_async(started, release, "kept")
    other = asyncio.ensure_future(task.result())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(task.result(), 0.01)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await task
    release.set()
    assert await other == "kept"
    assert await task.result() == "kept"


async def test_timeout_of_a_call(runtime, flag):
    started, never = flag("started"), flag("never")
    blocker = Blocker.remote()
    task = blocker.until_async(started, never, timeout=0.3)
    with pytest.raises(TimeoutError):
        await task
    # It was cancelled there: the tessera takes the next call.
    assert isinstance(await blocker.pid().result(), int)


async def test_timeout_of_a_call_counts_from_submission(runtime, flag, log):
    started, release = flag("started"), flag("release")
    blocker = Blocker.remote(runtime=runtime.workers[0])
    beside = Blocker.remote(runtime=runtime.workers[0])
    await beside.pid()
    first = blocker.until(started, release)
    await started.wait_async()
    behind = blocker.note(log, "too late", timeout=0.05)
    with pytest.raises(TimeoutError):
        await behind
    # The worker has heard of it when it answers what was sent after.
    await beside.until_async(started, started)
    release.set()
    await first
    await blocker.pid()
    assert log.lines() == [], "what was cancelled in the queue never ran"


def test_tasks_from_other_threads(runtime):
    counter = Counter.remote()
    values = []

    def work():
        values.extend(counter.add(1).wait(20) for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(values) == list(range(1, 201))


def test_a_second_event_loop(runtime):
    # One mailbox a loop: neither loop may take the other's completions.
    async def calls(n):
        echo = Echo.remote()
        return [await echo.back(i).result() for i in range(n)]

    results = {}
    threads = [
        threading.Thread(target=lambda k=k: results.setdefault(k, asyncio.run(calls(100))))
        for k in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {0: list(range(100)), 1: list(range(100))}


def test_a_task_awaited_on_another_loop_than_it_was_made_on(runtime, flag):
    release = flag("release")

    async def make():
        return Blocker.remote().until(flag("started"), release, 3)

    task = asyncio.run(make())
    release.set()

    async def take():
        return await task.result()

    assert asyncio.run(take()) == 3


def test_a_loop_closed_with_calls_in_flight(runtime, flag):
    release = flag("release")

    async def abandon():
        task = Blocker.remote().until(flag("started"), release, 3)
        waiter = asyncio.ensure_future(task.result())
        await asyncio.sleep(0)
        assert not waiter.done()
        return task

    task = asyncio.run(abandon())
    release.set()
    assert task.wait(20) == 3
    assert Echo.remote().back(1).wait(20) == 1
