"""asyncio's own helpers, and mosaic's `gather`, with tasks in place of futures."""

import asyncio

import pytest

import mosaic
from tests.support.actors import Blocker, Counter, Echo


async def test_gather(runtime):
    echo = Echo.remote()
    tasks = [echo.back(i) for i in range(10)]
    assert await asyncio.gather(*tasks) == tasks
    assert await asyncio.gather(*(t.result() for t in tasks)) == list(range(10))


async def test_gather_with_exceptions(runtime):
    echo = Echo.remote()
    with pytest.raises(KeyError):
        await asyncio.gather(echo.back(1), echo.fail(KeyError("k")))
    one, error = await asyncio.gather(
        echo.back(1).result(), echo.fail(KeyError("k")).result(), return_exceptions=True
    )
    assert one == 1
    assert isinstance(error, KeyError)


async def test_wait(runtime, flag):
    release = flag("release")
    quick = asyncio.ensure_future(Echo.remote().back(1))
    slow = asyncio.ensure_future(Blocker.remote().until_async(flag("started"), release))
    done, pending = await asyncio.wait({quick, slow}, return_when=asyncio.FIRST_COMPLETED)
    assert done == {quick}
    assert pending == {slow}
    release.set()
    done, pending = await asyncio.wait({quick, slow})
    assert not pending


async def test_wait_takes_tasks_as_they_are(runtime):
    tasks = [Echo.remote().back(i) for i in range(3)]
    done, pending = await asyncio.wait(tasks)
    assert len(done) == 3
    assert not pending


async def test_wait_for(runtime, flag):
    assert await asyncio.wait_for(Echo.remote().back(2).result(), 20) == 2
    task = Echo.remote().back(2)
    assert (await asyncio.wait_for(task, 20)) is task
    release = flag("release")
    slow = Blocker.remote().until_async(flag("started"), release, "kept")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(slow, 0.01)
    release.set()
    assert await slow.result() == "kept"


async def test_as_completed(runtime, flag):
    release = flag("release")
    slow = Blocker.remote().until_async(flag("started"), release, "slow")
    quick = Echo.remote().back("quick")
    seen = []
    for future in asyncio.as_completed([slow, quick]):
        task = await future
        seen.append(await task.result())
        release.set()
    assert seen == ["quick", "slow"]


async def test_task_group(runtime):
    echo = Echo.remote()

    async def value(i):
        return await echo.back(i).result()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(value(i)) for i in range(5)]
    assert [task.result() for task in tasks] == list(range(5))


async def test_task_group_with_a_failure(runtime):
    echo = Echo.remote()

    async def value(error):
        await echo.fail(error)

    with pytest.raises(ExceptionGroup) as info:
        async with asyncio.TaskGroup() as group:
            group.create_task(value(ValueError("in a group")))
    assert info.group_contains(ValueError, match="in a group")


async def test_ensure_future_and_shield(runtime):
    future = asyncio.ensure_future(Echo.remote().back(1).result())
    assert await asyncio.shield(future) == 1
    task = Echo.remote().back(2)
    assert (await asyncio.ensure_future(task)) is task


async def test_timeout_context(runtime, flag):
    release = flag("release")
    task = Blocker.remote().until_async(flag("started"), release)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await task
    release.set()
    await task


async def test_mosaics_gather(runtime):
    counter = Counter.remote()
    tasks = [counter.add(1) for _ in range(1000)]
    results = await mosaic.gather(tasks)
    assert len(results) == 1000
    assert [await task.result() for task in tasks] == list(range(1, 1001))
    with pytest.raises(ValueError, match="one of them"):
        await mosaic.gather([counter.add(1), Echo.remote().fail(ValueError("one of them"))])


async def test_the_loop_stays_alive_while_thousands_complete(runtime, flag):
    # A batch of completions must not keep the loop from its other work.
    started, release = flag("started"), flag("release")
    gate = Blocker.remote().until_async(started, release)
    echo = Echo.remote()
    turns = 0
    stop = False

    async def other_work():
        nonlocal turns
        while not stop:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.ensure_future(other_work())
    # All wait for one thing, so that all complete at once.
    everything = asyncio.gather(*(echo.back(gate) for _ in range(20_000)))
    await started.wait_async()
    turns = 0
    release.set()
    await everything
    stop = True
    await other
    assert turns > 10
