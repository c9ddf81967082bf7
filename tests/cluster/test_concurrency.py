"""What runs beside what: one call at a time per tessera, tesserae in parallel."""

import asyncio
import os
import threading

import pytest

import mosaic
from tests.support.actors import Blocker, Counter, Echo
from tests.support.rendezvous import Flag, Log


@mosaic.tessera
class Meeting:
    """Two can only end together."""

    def meet(self, mine: Flag, others: Flag):
        mine.set()
        others.wait()
        return os.getpid()

    async def meet_async(self, mine: Flag, others: Flag):
        mine.set()
        await others.wait_async()
        return os.getpid()


@mosaic.tessera
class Watch:
    """Notices when two of its calls overlap."""

    def __init__(self):
        self.inside = 0
        self.most = 0
        self.log = []

    def enter(self, flag: Flag | None = None):
        self.inside += 1
        self.most = max(self.most, self.inside)
        if flag is not None:
            flag.wait()
        self.inside -= 1

    async def enter_async(self, turns=5):
        self.inside += 1
        self.most = max(self.most, self.inside)
        for _ in range(turns):
            await asyncio.sleep(0)
        self.inside -= 1

    def overlap(self):
        return self.most

    def thread(self):
        return threading.get_ident(), threading.current_thread() is threading.main_thread()

    async def thread_async(self):
        return self.thread()

    def note(self, line, *_):
        self.log.append(line)
        return line

    def lines(self):
        return list(self.log)


@mosaic.tessera(is_async=True)
class Free(Watch):
    """Runs calls as soon as their arguments are there."""


@mosaic.tessera
class Waiter:
    """Waits for others, and for itself."""

    async def for_other(self, other):
        return await other.back("other").result()

    async def for_itself(self, me):
        return await me.hello().result()

    def for_itself_blocking(self, me):
        return me.hello().wait()

    def for_neighbour_blocking(self, neighbour):
        return neighbour.back("neighbour").wait()

    def for_one_just_made(self):
        return Echo.remote().back("just made").wait()

    def hello(self):
        return "hello"


async def test_two_workers_run_in_parallel(runtime, flag):
    a, b = flag("a"), flag("b")
    one, two = (Meeting.remote(runtime=worker) for worker in runtime.workers)
    tasks = one.meet(a, b), two.meet(b, a)
    pids = [await task.result() for task in tasks]
    assert len(set(pids)) == 2


async def test_coroutines_of_tesserae_on_one_worker_interleave(runtime, flag):
    a, b = flag("a"), flag("b")
    worker = runtime.workers[0]
    one, two = Meeting.remote(runtime=worker), Meeting.remote(runtime=worker)
    tasks = one.meet_async(a, b), two.meet_async(b, a)
    pids = [await task.result() for task in tasks]
    assert len(set(pids)) == 1


async def test_coroutines_interleave_with_plain_methods(runtime, flag):
    a, b = flag("a"), flag("b")
    worker = runtime.workers[0]
    one, two = Meeting.remote(runtime=worker), Meeting.remote(runtime=worker)
    tasks = one.meet(a, b), two.meet_async(b, a)
    for task in tasks:
        await task


async def test_plain_methods_of_one_worker_run_one_at_a_time(runtime, flag, log):
    started, release = flag("started"), flag("release")
    worker = runtime.workers[0]
    busy, other = Blocker.remote(runtime=worker), Blocker.remote(runtime=worker)
    echo = Echo.remote(runtime=worker)
    await other
    await echo
    first = busy.until(started, release)
    await started.wait_async()
    second = other.note(log, "ran")
    # A coroutine call made later has certainly arrived after the plain one.
    assert await echo.back_async(1).result() == 1
    assert log.lines() == []
    release.set()
    await first
    await second
    assert log.lines() == ["ran"]


@pytest.mark.parametrize("method", ["enter", "enter_async"])
async def test_one_call_at_a_time_per_tessera(runtime, method):
    watch = Watch.remote()
    for _ in range(50):
        watch[method]()
        watch.enter()
    assert await watch.overlap().result() == 1


async def test_coroutine_methods_keep_call_order(runtime):
    watch = Watch.remote()
    for i in range(5):
        watch.enter_async(turns=10 - 2 * i)
        watch.note(i)
    assert await watch.lines().result() == [0, 1, 2, 3, 4]


async def test_is_async_runs_calls_when_their_arguments_are_ready(runtime, flag):
    started, release = flag("started"), flag("release")
    free = await Free.remote()
    gate = Blocker.remote().until_async(started, release, "gate")
    late = free.note("first called", gate)
    assert await free.note("second called").result() == "second called"
    release.set()
    await late
    assert await free.lines().result() == ["second called", "first called"]


async def test_is_async_calls_interleave(runtime, flag):
    a, b = flag("a"), flag("b")
    meeting = Meeting.remote(is_async=True)
    tasks = meeting.meet_async(a, b), meeting.meet_async(b, a)
    for task in tasks:
        await asyncio.wait_for(task.result(), 20)


async def test_without_is_async_a_late_argument_holds_the_queue(runtime, flag):
    started, release = flag("started"), flag("release")
    watch = await Watch.remote()
    gate = Blocker.remote().until_async(started, release, "gate")
    watch.note("first called", gate)
    second = watch.note("second called")
    await started.wait_async()
    release.set()
    await second
    assert await watch.lines().result() == ["first called", "second called"]


async def test_plain_methods_run_on_the_main_thread(runtime):
    """`EXE-1`"""
    # Signal handlers, compilers and graphics libraries ask for it.
    watch = Watch.remote()
    idents = {(await watch.thread().result())[0] for _ in range(5)}
    assert len(idents) == 1
    assert (await watch.thread().result())[1] is True


async def test_coroutines_have_one_loop(runtime):
    watch = Watch.remote()
    idents = {(await watch.thread_async().result())[0] for _ in range(5)}
    assert len(idents) == 1


async def test_waiting_for_another_tessera_of_the_same_worker(runtime):
    worker = runtime.workers[0]
    waiter, echo = Waiter.remote(runtime=worker), Echo.remote(runtime=worker)
    assert await asyncio.wait_for(waiter.for_other(echo).result(), 20) == "other"


async def test_waiting_for_itself_is_an_error(runtime):
    waiter = Waiter.remote()
    with pytest.raises((RuntimeError, mosaic.MosaicError), match=r"(?i)itself|never end|deadlock"):
        await asyncio.wait_for(waiter.for_itself(waiter).result(), 20)
    assert await waiter.hello().result() == "hello"


async def test_blocking_on_itself_is_an_error(runtime):
    waiter = Waiter.remote()
    with pytest.raises((RuntimeError, mosaic.MosaicError), match=r"(?i)worker|itself|deadlock"):
        await asyncio.wait_for(waiter.for_itself_blocking(waiter).result(), 20)
    assert await waiter.hello().result() == "hello"


async def test_blocking_on_a_neighbour_is_an_error(runtime):
    worker = runtime.workers[0]
    waiter, echo = Waiter.remote(runtime=worker), await Echo.remote(runtime=worker)
    with pytest.raises((RuntimeError, mosaic.MosaicError), match=r"(?i)worker|deadlock|await"):
        await asyncio.wait_for(waiter.for_neighbour_blocking(echo).result(), 20)
    assert await waiter.hello().result() == "hello"


async def test_blocking_on_one_just_made_ends(runtime):
    # Wherever it is placed: a value from the other worker, an explanation from this one.
    waiters = [Waiter.remote(runtime=runtime.workers[0]) for _ in range(4)]
    for waiter in waiters:
        task = waiter.for_one_just_made()
        outcome = await asyncio.wait_for(asyncio.gather(task.result(), return_exceptions=True), 20)
        assert outcome == ["just made"] or isinstance(outcome[0], RuntimeError | mosaic.MosaicError)


async def test_blocking_on_another_worker_is_allowed(runtime):
    waiter = Waiter.remote(runtime=runtime.workers[0])
    echo = await Echo.remote(runtime=runtime.workers[1])
    assert await asyncio.wait_for(waiter.for_neighbour_blocking(echo).result(), 20) == "neighbour"


async def test_callers_in_two_workers_each_keep_their_order(runtime):
    @mosaic.tessera
    class Caller:
        async def tell(self, watch, name, n):
            for i in range(n):
                task = watch.note((name, i))
            await task

    watch = await Watch.remote()
    callers = [Caller.remote(runtime=worker) for worker in runtime.workers]
    tasks = [caller.tell(watch, k, 100) for k, caller in enumerate(callers)]
    for task in tasks:
        await task
    lines = await watch.lines().result()
    assert len(lines) == 200
    for k in range(2):
        assert [i for name, i in lines if name == k] == list(range(100))


async def test_a_caller_inside_a_worker_and_one_outside(runtime, log: Log):
    counter = Counter.remote()
    echo = Echo.remote()
    inside = [echo.call(counter, "add", 1) for _ in range(20)]
    outside = [counter.add(1) for _ in range(20)]
    for task in inside + outside:
        await task
    assert await counter.value().result() == 40
