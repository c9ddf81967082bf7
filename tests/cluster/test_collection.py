"""What nobody refers to any more is freed: cycles through the bindings, failed calls, waits that were given up."""

import asyncio
import gc
import threading
import weakref

import pytest

import mosaic
from mosaic import _core
from mosaic.types import WarehouseObject
from tests.support.actors import Blocker, Echo
from tests.support.rendezvous import eventually


class Marker:
    """Closes a cycle, and tells whether it was collected."""


def is_collected(build, *args):
    """Whether the cycle goes that the function builds from a marker."""
    marker = Marker()
    known = weakref.ref(marker)
    build(marker, *args)
    del marker
    # One that is closed by what is already referred to may take a second look.
    for _ in range(3):
        gc.collect()
    return known() is None


def through_task(marker, task):
    task.wait().append(marker)
    marker.held = task


def through_result(marker, task):
    task.wait().append(marker)
    marker.held = task.result()


def through_iterator(marker, task):
    task.wait().append(marker)
    marker.held = task.result().__await__()


def through_gather(marker, task):
    task.wait().append(marker)
    marker.held = _core.Gather([task], True)


def through_awaited_gather(marker, task):
    task.wait().append(marker)
    marker.held = _core.Gather([task], True).__await__()


def through_output(marker, task):
    task.wait().append(marker)
    marker.held = task.outputs[0]


def through_key(marker, task):
    marker.held = task.outputs[marker]


def through_done(marker, task):
    task.wait().append(marker)
    marker.held = task.done


def through_exception(marker, task):
    task.failure().held = marker
    marker.held = task.result()


def through_keywords(marker, task):
    reference = _core.engine().functions(0)
    marker.held = reference.method("any", reserved=frozenset({marker}))


@pytest.mark.parametrize(
    "build",
    [
        through_task,
        through_result,
        through_iterator,
        through_gather,
        through_awaited_gather,
        through_output,
        through_key,
        through_done,
        through_keywords,
    ],
)
def test_cycle_is_collected(runtime, build):
    assert is_collected(lambda marker: build(marker, Echo.remote().back([])))


def test_cycle_through_an_exception_is_collected(runtime):
    def build(marker):
        task = Echo.remote().fail(ValueError("no"))
        task.wait_ended()
        through_exception(marker, task)

    assert is_collected(build)


def test_wait_of_a_loop_that_was_closed_is_collected(runtime, flag):
    # The mailbox of the loop holds the future, the future's callback the coroutine, and that its wait, which holds
    # the mailbox.
    started, release = flag("started"), flag("release")
    task = Blocker.remote().until(started, release)

    def build(marker):
        async def wait(marker):
            await task.result()

        loop = asyncio.new_event_loop()
        waiting = loop.create_task(wait(marker))
        loop.run_until_complete(asyncio.sleep(0.01))
        assert task.waiters == 1
        loop.close()
        waiting._log_destroy_pending = False

    assert is_collected(build)
    assert task.waiters == 0
    release.set()
    task.wait(20)


def test_callback_of_a_loop_that_was_closed_is_collected(runtime, flag):
    started, release = flag("started"), flag("release")
    task = Blocker.remote().until(started, release)

    def build(marker):
        async def subscribe():
            future = asyncio.get_running_loop().create_future()
            marker.held = task.subscribe(future)
            future.add_done_callback(lambda _: marker)

        loop = asyncio.new_event_loop()
        loop.run_until_complete(subscribe())
        loop.close()

    assert is_collected(build)
    release.set()
    task.wait(20)


async def failing(wait, rounds=10):
    """How many exceptions stay of each hundred failing calls."""
    gc.collect()
    before = sum(isinstance(found, LookupError) for found in gc.get_objects())
    for _ in range(rounds):
        await wait()
    # The loop still has its last hands on the last round.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()
    return sum(isinstance(found, LookupError) for found in gc.get_objects()) - before


async def test_failing_calls_leave_nothing(runtime):
    echo = await Echo.remote()

    def fail():
        return echo.fail(LookupError("no"))

    async def by_gather():
        await asyncio.gather(*(fail().result() for _ in range(10)), return_exceptions=True)

    async def by_tasks():
        await asyncio.gather(*(fail() for _ in range(10)), return_exceptions=True)

    async def by_time_limit():
        waits = [asyncio.wait_for(fail().result(), 30) for _ in range(10)]
        await asyncio.gather(*waits, return_exceptions=True)

    async def by_create_task():
        async def one():
            await fail().result()

        waits = [asyncio.create_task(one()) for _ in range(10)]
        await asyncio.wait(waits)
        assert all(isinstance(wait.exception(), LookupError) for wait in waits)

    async def by_own_gather():
        with pytest.raises(LookupError):
            await mosaic.gather([echo.back(1), fail()]).result()

    for wait in (by_gather, by_tasks, by_time_limit, by_create_task, by_own_gather):
        assert await failing(wait) <= 1, wait.__name__


def futures_that_wait():
    """How many futures the mailboxes of event loops know."""
    mailboxes = [found for found in gc.get_objects() if type(found).__name__ == "LoopMailbox"]
    return sum(mailbox.waiting for mailbox in mailboxes)


async def test_waits_that_are_given_up_leave_nothing(runtime, flag):
    started, release = flag("started"), flag("release")
    echo = await Echo.remote()
    task = Blocker.remote().until_async(started, release)
    ref_of = asyncio.ensure_future(task.check_result())
    await started.wait_async()
    before = task.waiters, futures_that_wait()
    for _ in range(5):
        for wait in (
            task.result(),
            task,
            task.done,
            mosaic.gather([task, echo.back(1)]),
            mosaic.gather([echo.back(1), task]).result(),
        ):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(wait, 0.001)
        await asyncio.wait([asyncio.ensure_future(task.result())], timeout=0.001)
        for waiting in asyncio.all_tasks() - {asyncio.current_task(), ref_of}:
            waiting.cancel()
            await asyncio.wait([waiting])
        with pytest.raises(ValueError, match="no"):
            await mosaic.gather([task, echo.fail(ValueError("no"))]).result()
        task.add_done_callback(print)
        assert task.remove_done_callback(print) == 1
    assert (task.waiters, futures_that_wait()) == before
    release.set()
    await ref_of


def test_waits_of_threads_that_are_given_up_leave_nothing(runtime, flag):
    started, release = flag("started"), flag("release")
    task = Blocker.remote().until_async(started, release)
    done = Echo.remote().back(1)
    eventually(lambda: done.ended)
    for _ in range(3):
        for wait in (task.wait, task.result().wait, mosaic.gather([done, task]).wait):
            with pytest.raises(TimeoutError):
                wait(0.001)
        task.add_done_callback(print)
        assert task.remove_done_callback(print) == 1
    assert task.waiters == 0
    ended = threading.Event()
    task.add_done_callback(lambda _: ended.set())
    release.set()
    assert ended.wait(20)


async def test_a_future_that_refuses_its_result_keeps_nobody_else_waiting(runtime, flag):
    class Refusing(asyncio.Future):
        def set_result(self, result):
            raise RuntimeError("it refuses")

    loop = asyncio.get_running_loop()
    reported = []
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    try:
        started, release = flag("started"), flag("release")
        task = Blocker.remote().until_async(started, release)
        futures = [loop.create_future(), Refusing(), loop.create_future()]
        for future in futures:
            task.subscribe(future)
        release.set()
        await asyncio.wait_for(asyncio.gather(futures[0], futures[2]), 20)
    finally:
        loop.set_exception_handler(None)
    assert [str(error) for error in reported] == ["it refuses"]


def test_reference_in_a_cycle_is_collected(runtime):
    def build(marker):
        ref = runtime.put([1])
        assert isinstance(ref, WarehouseObject)
        marker.held = ref
        marker.task = ref.task
        ref.task.wait().append(marker)

    assert is_collected(build)
