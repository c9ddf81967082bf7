"""`submit`, `map`, `imap`, `barrier`: plain functions on the workers."""

import asyncio
import os
import sys
import threading
import types

import numpy as np
import pytest

import mosaic
from tests.support.actors import Blocker, Counter, Echo
from tests.support.rendezvous import Flag, Log, eventually, eventually_async


def square(x):
    return x * x


def add(a, b, scale=1):
    return (a + b) * scale


def fail_at(x, bad):
    if x == bad:
        raise ValueError(f"item {x}")
    return x


def flaky(log: Log, x):
    log.add(x)
    if x == 3 and log.lines().count("3") < 3:
        raise OSError("not yet")
    return x


def meet(mine: Flag, other: Flag):
    mine.set()
    other.wait()
    return os.getpid()


def where():
    return mosaic.runtime().uid


async def square_async(x):
    await asyncio.sleep(0)
    return x * x


async def test_submit(runtime):
    task = runtime.submit(add, 1, 2, scale=10)
    assert (await task) is task
    assert await task.result() == 30


def test_submit_in_synchronous_code(runtime):
    assert runtime.submit(square, 7).wait() == 49
    assert runtime.submit(os.getpid).wait() != os.getpid()


async def test_submit_to_a_worker(runtime):
    for worker in runtime.workers:
        assert await runtime.submit(where, runtime=worker).result() == worker.uid
        assert await runtime.submit(where, runtime=worker.uid).result() == worker.uid


async def test_submit_uses_every_worker(runtime, flag):
    a, b = flag("a"), flag("b")
    one, two = runtime.submit(meet, a, b), runtime.submit(meet, b, a)
    assert await one.result() != await two.result()


async def test_submit_lambdas_builtins_coroutines(runtime):
    offset = 5
    assert await runtime.submit(lambda x: x + offset, 1).result() == 6
    assert await runtime.submit(sorted, [3, 1, 2], reverse=True).result() == [3, 2, 1]
    assert await runtime.submit(square_async, 4).result() == 16


async def test_submit_takes_tasks_and_proxies(runtime):
    task = Counter.remote(4).add(1)
    assert await runtime.submit(square, task).result() == 25
    assert await runtime.submit(square, runtime.submit(square, 3)).result() == 81
    reference = await runtime.put(6)
    assert await runtime.submit(add, reference, b=task.done and 1).result() == 7


async def test_tesserae_take_submitted_tasks(runtime):
    assert await Echo.remote().back(runtime.submit(square, 3)).result() == 9


async def test_submit_failures(runtime):
    with pytest.raises(ValueError, match="item 1"):
        await runtime.submit(fail_at, 1, 1)
    with pytest.raises(TypeError):
        await runtime.submit(square)
    with pytest.raises(TypeError):
        await runtime.submit("not a function")


async def test_map(runtime):
    assert await runtime.map(square, range(100)) == [i * i for i in range(100)]
    assert await runtime.map(add, [1, 2, 3], [10, 20, 30]) == [11, 22, 33]
    assert await runtime.map(add, range(5), range(3)) == [0, 2, 4], "as the built-in: shortest"
    assert await runtime.map(square, []) == []
    assert await runtime.map(lambda x: -x, [1, 2]) == [-1, -2]


@pytest.mark.parametrize("chunksize", [1, 7, 1000, None])
async def test_map_in_chunks(runtime, chunksize):
    assert await runtime.map(square, range(50), chunksize=chunksize) == [i * i for i in range(50)]


async def test_map_uses_every_worker(runtime, flag):
    a, b = flag("a"), flag("b")
    pids = await asyncio.wait_for(runtime.map(meet, [a, b], [b, a], chunksize=1), 20)
    assert len(set(pids)) == 2


async def test_map_of_generators_and_arrays(runtime):
    assert await runtime.map(square, (i for i in range(10))) == [i * i for i in range(10)]
    arrays = await runtime.map(square, [np.full(1000, i) for i in range(5)])
    assert [a[0] for a in arrays] == [0, 1, 4, 9, 16]


async def test_map_unordered(runtime):
    results = await runtime.map(square, range(50), ordered=False)
    assert sorted(results) == [i * i for i in range(50)]


async def test_map_of_coroutine_functions(runtime):
    assert await runtime.map(square_async, range(10)) == [i * i for i in range(10)]


async def test_map_failures(runtime):
    with pytest.raises(ValueError, match="item 7"):
        await runtime.map(fail_at, range(20), [7] * 20)
    assert await runtime.map(square, [2]) == [4]


@pytest.mark.parametrize("chunksize", [1, 10])
async def test_map_retries_items_and_not_chunks(runtime, log, chunksize):
    results = await runtime.map(flaky, [log] * 10, range(10), retries=2, chunksize=chunksize)
    assert results == list(range(10))
    lines = log.lines()
    assert lines.count("3") == 3
    assert all(lines.count(str(i)) == 1 for i in range(10) if i != 3)


async def test_map_progress(runtime, capfd):
    assert await runtime.map(square, range(4), progress=True) == [0, 1, 4, 9]


async def test_a_large_map(runtime):
    assert sum(await runtime.map(square, range(20_000))) == sum(i * i for i in range(20_000))


async def test_functions_that_travel_by_their_name(runtime):
    for _ in range(2):
        assert await runtime.submit(os.path.join, "a", "b").result() == "a/b"
        assert await runtime.submit(sorted, [2, 3, 1], reverse=True).result() == [3, 2, 1]
        assert await runtime.submit(square, 4).result() == 16


async def test_a_name_that_the_worker_cannot_import_fails_the_call(runtime, monkeypatch):
    module = types.ModuleType("only_here")
    exec("def nothing(x):\n    return x\n", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", module)
    with pytest.raises(ModuleNotFoundError, match="only_here"):
        await runtime.submit(module.nothing, 1)
    assert await runtime.submit(square, 2).result() == 4


async def test_imap(runtime):
    assert [r async for r in runtime.imap(square, range(30))] == [i * i for i in range(30)]


async def test_imap_gives_results_before_all_are_done(runtime, flag):
    release = flag("release")

    def work(i, release):
        if i == 5:
            release.wait()
        return i

    seen = []
    async for result in runtime.imap(work, range(6), [release] * 6, chunksize=1):
        seen.append(result)
        if len(seen) == 5:
            release.set()
    assert seen == list(range(6))


async def test_imap_left_early(runtime):
    async for result in runtime.imap(square, range(100)):
        if result == 4:
            break
    assert await runtime.map(square, [3]) == [9]


@pytest.mark.parametrize("chunksize", [1, 2, 4, 6])
async def test_imap_failures_come_in_their_turn(runtime, chunksize):
    seen = []

    async def collect():
        async for result in runtime.imap(fail_at, range(6), [3] * 6, chunksize=chunksize):
            seen.append(result)

    with pytest.raises(ValueError, match="item 3"):
        await collect()
    assert seen == [0, 1, 2]


async def test_imap_of_coroutines_keeps_what_came_before_a_failure(runtime):
    async def fail_late(x):
        if x == 2:
            raise ValueError("item 2")
        return x

    seen = []

    async def collect():
        async for result in runtime.imap(fail_late, range(4), chunksize=4):
            seen.append(result)

    with pytest.raises(ValueError, match="item 2") as info:
        await collect()
    assert seen == [0, 1]
    assert "Remote traceback" in "".join(info.value.__notes__)
    assert "raised for the item (2)" in "".join(info.value.__notes__)


async def test_imap_does_not_take_endless_iterables_whole(runtime):
    def endless():
        i = 0
        while True:
            yield i
            i += 1

    results = []
    async for result in runtime.imap(square, endless()):
        results.append(result)
        if len(results) == 10:
            break
    assert results == [i * i for i in range(10)]


async def test_barrier_covers_every_task_submitted_before(runtime, flag):
    started, release = flag("started"), flag("release")
    slow = Blocker.remote().until(started, release)
    quick = [Echo.remote().back(i) for i in range(20)]
    failing = Echo.remote().fail(ValueError("seen below"))
    barrier = asyncio.ensure_future(runtime.barrier())
    await started.wait_async()
    assert not barrier.done()
    release.set()
    await asyncio.wait_for(barrier, 20)
    assert slow.done()
    assert failing.done()
    assert all(task.done() for task in quick)
    with pytest.raises(ValueError, match="seen below"):
        await failing


async def test_barrier_covers_tasks_of_workers_and_threads(runtime, flag, log):
    started, release = flag("started"), flag("release")

    @mosaic.tessera
    class Indirect:
        def begin(self, blocker, started, release):
            self.task = blocker.until_async(started, release)

    blocker = await Blocker.remote()
    await Indirect.remote().begin(blocker, started, release)
    await started.wait_async()
    with pytest.raises(TimeoutError):
        await runtime.barrier(timeout=0.05)
    release.set()
    await runtime.barrier(timeout=20)
    threaded = []
    thread = threading.Thread(target=lambda: threaded.append(blocker.note(log, "from a thread")))
    thread.start()
    thread.join()
    await runtime.barrier(timeout=20)
    assert log.lines() == ["from a thread"]


async def test_barrier_times_out(runtime, flag):
    release = flag("release")
    task = Blocker.remote().until_async(flag("started"), release)
    with pytest.raises(TimeoutError):
        await runtime.barrier(timeout=0.05)
    release.set()
    await task


async def test_barrier_with_nothing_to_wait_for(runtime):
    await asyncio.wait_for(runtime.barrier(), 20)
    await asyncio.wait_for(runtime.barrier(timeout=1), 20)


async def test_barrier_inside_a_method_explains_itself(runtime):
    # It would wait for the very call that it is made in.
    @mosaic.tessera
    class Waiter:
        async def wait(self):
            await mosaic.runtime().barrier(timeout=20)

    with pytest.raises(mosaic.MosaicError, match="inside a method"):
        await Waiter.remote().wait()


def wait_for_the_other(mine, others):
    if mine is not None:
        mine.set()
        others.wait()
    return os.getpid()


@pytest.mark.parametrize("chunksize", [None, 1, 5])
async def test_long_items_behind_short_ones_use_every_worker(runtime, flag, chunksize):
    # What was sent ahead to a worker that is busy for long is taken back for one that has nothing to do.
    a, b = flag("a"), flag("b")
    mine = [None] * 200 + [a, b] + [None] * 3
    others = [None] * 200 + [b, a] + [None] * 3
    pids = await asyncio.wait_for(
        runtime.map(wait_for_the_other, mine, others, chunksize=chunksize), 20
    )
    assert len(pids) == 205
    assert pids[200] != pids[201]


async def test_a_worker_that_is_busy_otherwise_does_not_hold_a_map_up(runtime, flag, log):
    started, release = flag("started"), flag("release")
    busy = Blocker.remote(runtime=runtime.workers[0]).until(started, release)
    await started.wait_async()
    try:
        assert await asyncio.wait_for(
            runtime.map(noted, [log] * 4, range(4), chunksize=1), 20
        ) == list(range(4))
        assert sorted(log.lines()) == ["0", "1", "2", "3"], "each once"
    finally:
        release.set()
    await busy


def noted(log, item):
    log.add(item)
    return item


@pytest.mark.allow_leaks("threads", reason="the one thread for functions ends with the runtime")
def test_event_loop_in_synchronous_code(runtime):
    loop = mosaic.get_event_loop()

    async def add(a, b=0):
        return a + await runtime.submit(abs, b).result()

    assert loop.run(add, 1, b=-2) == 3
    assert loop.run(max, 1, 2) == 2
    assert loop.run_in_executor(max, 3, 4).result(20) == 4


def test_timers_of_synchronous_code(runtime):
    """A thread waits for them: the program goes on."""
    loop = mosaic.get_event_loop()

    async def add(a, b=0):
        return a + await runtime.submit(abs, b).result()

    assert loop.timeout(add, 0.01, 1, b=-3).result(20) == 4
    assert loop.timeout(max, 0.0, 1, 2).result(20) == 2
    with pytest.raises(ZeroDivisionError):
        loop.timeout(divmod, 0.0, 1, 0).result(20)
    never = loop.timeout(pytest.fail, 1000.0, "called")
    assert not never.done()
    assert never.cancel()
    ticks = []
    ticking = loop.interval(ticks.append, 0.001, "tick")
    eventually(lambda: len(ticks) >= 3, "three ticks")
    ticking.cancel()
    failing = loop.interval(divmod, 0.001, 1, 0)
    with pytest.raises(ZeroDivisionError):
        failing.result(20)
    # Their threads end with them.
    eventually(
        lambda: not [one for one in threading.enumerate() if one.name == "mosaic-timer"],
        "the end of the threads",
    )


async def test_event_loop_where_one_runs(runtime):
    loop = mosaic.get_event_loop()

    async def add(a, b=0):
        return a + await runtime.submit(abs, b).result()

    assert await loop.run(add, 1, b=-2) == 3
    assert await loop.run_in_executor(max, 3, 4) == 4
    assert await loop.timeout(add, 0.01, 1, b=-3) == 4
    ticks = []
    ticking = loop.interval(ticks.append, 0.001, "tick")
    await eventually_async(lambda: len(ticks) >= 3, "three ticks")
    ticking.cancel()
    from_a_thread = await asyncio.to_thread(loop.run, add, 5, b=-1)
    assert await asyncio.wrap_future(from_a_thread) == 6


async def test_submit_with_retries_is_a_call_as_any_other(runtime, log):
    def triple(value):
        return 3 * value

    task = runtime.submit(triple, runtime.submit(abs, -2), max_retries=2)
    assert task.method == "triple"
    assert await task.result() == 6
    assert await runtime.submit(asyncio_double, 4, max_retries=1).result() == 8
    assert await runtime.submit(flaky, log, 7, max_retries=2).result() is not None


async def asyncio_double(value):
    await asyncio.sleep(0)
    return 2 * value
