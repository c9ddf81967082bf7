"""`task.cancel()`: before, while and after a call runs."""

import asyncio

import pytest

import mosaic
from tests.support.actors import Blocker, Counter, Echo
from tests.support.rendezvous import Flag


@mosaic.tessera
class Careful:
    """Notices its own cancellation."""

    async def sleep(self, started: Flag, cancelled: Flag):
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def stubborn(self, started: Flag, release: Flag):
        started.set()
        while True:
            try:
                await release.wait_async()
            except asyncio.CancelledError:
                continue
            return "done anyway"

    def plain(self, started: Flag, release: Flag, ended: Flag):
        started.set()
        release.wait()
        ended.set()
        return "result nobody wants"

    def hello(self):
        return "hello"


async def test_a_queued_call_never_runs(runtime, flag, log):
    started, release = flag("started"), flag("release")
    blocker = Blocker.remote()
    first = blocker.until(started, release)
    behind = blocker.note(log, "cancelled")
    after = blocker.note(log, "after")
    await started.wait_async()
    behind.cancel()
    with pytest.raises(asyncio.CancelledError):
        await behind
    assert behind.state == "cancelled"
    assert behind.done()
    release.set()
    await first
    await after
    assert log.lines() == ["after"]


@pytest.mark.parametrize("name", ["note", "note_async"])
async def test_a_queued_call_never_runs_once_nobody_knows_of_it(runtime, flag, log, name):
    started, release = flag("started"), flag("release")
    blocker = Blocker.remote()
    first = blocker.until(started, release)
    await started.wait_async()
    for number in range(10):
        behind = blocker[name](log, f"cancelled {number}")
        behind.cancel()
        with pytest.raises(asyncio.CancelledError):
            await behind
        # Its host has heard of that when it answers the next.
        del behind
    release.set()
    await first
    await blocker.note(log, "after")
    assert log.lines() == ["after"]


async def test_a_call_waiting_for_its_arguments_never_runs(runtime, flag, log):
    release = flag("release")
    gate = Blocker.remote().until_async(flag("started"), release)
    blocker = Blocker.remote()
    task = blocker.note(log, gate)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    await gate
    await blocker.pid()
    assert log.lines() == []


async def test_a_call_to_an_object_not_yet_built(runtime, flag, log):
    release = flag("release")
    gate = Blocker.remote().until_async(flag("started"), release)
    counter = Counter.remote(gate)
    task = counter.add(1)
    task.cancel()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await counter.order().result() == []


async def test_a_running_coroutine_gets_cancelled_error(runtime, flag):
    started, cancelled = flag("started"), flag("cancelled")
    careful = Careful.remote()
    task = careful.sleep(started, cancelled)
    await started.wait_async()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task.result()
    await cancelled.wait_async()
    assert task.state == "cancelled"
    assert await careful.hello().result() == "hello"


async def test_a_running_plain_method_ends_and_its_result_is_dropped(runtime, flag):
    started, release, ended = flag("started"), flag("release"), flag("ended")
    careful = Careful.remote()
    task = careful.plain(started, release, ended)
    await started.wait_async()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not ended.is_set()
    release.set()
    assert await careful.hello().result() == "hello"
    assert ended.is_set(), "the next call came after its end"
    with pytest.raises(asyncio.CancelledError):
        await task.result()


async def test_dependants_fail_with_cancelled_error(runtime, flag, log):
    started, cancelled = flag("started"), flag("cancelled")
    task = Careful.remote().sleep(started, cancelled)
    blocker = Blocker.remote()
    dependant = blocker.note(log, task)
    further = Echo.remote().back(dependant)
    after_done = blocker.pid(task.done)
    await started.wait_async()
    task.cancel()
    for each in (dependant, further, after_done):
        with pytest.raises(asyncio.CancelledError):
            await each
    assert log.lines() == []


async def test_cancelling_what_has_ended_changes_nothing(runtime):
    task = Echo.remote().back(3)
    await task
    task.cancel()
    assert task.state == "done"
    assert await task.result() == 3


async def test_cancelling_twice(runtime, flag):
    started, cancelled = flag("started"), flag("cancelled")
    task = Careful.remote().sleep(started, cancelled)
    await started.wait_async()
    task.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancel_racing_completion(runtime):
    counter = Counter.remote()
    tasks = [counter.add(1) for _ in range(300)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    outcomes = await asyncio.gather(*(t.result() for t in tasks), return_exceptions=True)
    assert all(isinstance(o, int | asyncio.CancelledError) for o in outcomes)
    applied = await counter.value().result()
    answered = sum(isinstance(o, int) for o in outcomes)
    # What answered was applied, once; what had just run may have been cancelled on its way back.
    assert answered <= applied <= len(tasks)
    assert sorted(o for o in outcomes if isinstance(o, int)) == sorted(
        {o for o in outcomes if isinstance(o, int)}
    )


async def test_a_cancelled_waiter_is_not_a_cancelled_call(runtime, flag):
    started, release = flag("started"), flag("release")
    task = Blocker.remote().until_async(started, release, 9)
    waiter = asyncio.ensure_future(task.result())
    await started.wait_async()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert not task.done()
    release.set()
    assert await task.result() == 9


def test_cancelled_error_in_synchronous_code(runtime, flag):
    started, cancelled = flag("started"), flag("cancelled")
    task = Careful.remote().sleep(started, cancelled)
    started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        task.wait(20)
    cancelled.wait()


async def test_a_coroutine_that_ignores_cancellation(runtime, flag):
    started, release = flag("started"), flag("release")
    careful = Careful.remote()
    task = careful.stubborn(started, release)
    await started.wait_async()
    task.cancel()
    release.set()
    # As with asyncio's own tasks it may win; nobody hangs.
    outcome = await asyncio.wait_for(asyncio.gather(task.result(), return_exceptions=True), 20)
    assert outcome == ["done anyway"] or isinstance(outcome[0], asyncio.CancelledError)
    assert await careful.hello().result() == "hello"


async def test_a_cancelled_construction_frees_the_object(runtime, flag):
    # The proxy goes before the object was built; later tesserae are unharmed.
    release = flag("release")
    gate = Blocker.remote().until_async(flag("started"), release, 5)
    counter = Counter.remote(gate)
    del counter
    release.set()
    await gate
    assert await Counter.remote(1).value().result() == 1


async def test_cancelled_error_raised_by_a_method_itself(runtime):
    with pytest.raises(asyncio.CancelledError):
        await Echo.remote().fail(asyncio.CancelledError()).result()
