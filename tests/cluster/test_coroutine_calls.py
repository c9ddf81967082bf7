"""Coroutine methods and asyncio: many of them share an asyncio task, and none of them may notice."""

import asyncio
import contextvars

import pytest

import mosaic

VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")

MANY = 300


@mosaic.tessera
class Curious:
    """Looks around, with and without giving up its turn."""

    def __init__(self):
        self.kept = []

    async def at_once(self, value=None):
        return value

    async def tasks_seen(self, turns):
        """Return how many tasks this call was run by, and how many the loop has."""
        seen = {id(asyncio.current_task())}
        for _ in range(turns):
            await asyncio.sleep(0)
            seen.add(id(asyncio.current_task()))
        return len(seen), len(asyncio.all_tasks())

    async def keep_task(self, turns):
        """Keep the task that runs this call alive, so that no other can have its place."""
        self.kept.append(asyncio.current_task())
        for _ in range(turns):
            await asyncio.sleep(0)

    async def kept_tasks(self):
        return len(set(map(id, self.kept))), [task.done() for task in self.kept]

    async def set_variable(self, value, turns):
        """Return what a variable was, and set it; taken back only if it is the same context."""
        before = VARIABLE.get()
        token = VARIABLE.set(value)
        for _ in range(turns):
            await asyncio.sleep(0)
        seen = VARIABLE.get()
        VARIABLE.reset(token)
        after = VARIABLE.get()
        VARIABLE.set(value)
        return before, seen, after

    async def in_a_child(self, value):
        VARIABLE.set(value)

        async def child():
            return VARIABLE.get()

        return await asyncio.create_task(child())

    async def cancel_itself(self):
        asyncio.current_task().cancel()
        return "ended first"

    async def time_out(self, wait):
        async with asyncio.timeout(0.01 if wait else 60):
            if wait:
                await asyncio.Event().wait()
        return "in time"

    async def fail(self, turns):
        for _ in range(turns):
            await asyncio.sleep(0)
        raise ValueError("curious")

    async def ticks(self, started, stop):
        """Count the turns that the loop has while others run."""
        started.set()
        count = 0
        while not stop.is_set():
            await asyncio.sleep(0)
            count += 1
        return count


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_a_call_is_run_by_one_task(runtime, turns):
    """`RUN-1`"""
    curious = Curious.remote()
    tasks = [curious.tasks_seen(turns) for _ in range(20)]
    assert {seen for seen, _ in await mosaic.gather(tasks).result()} == {1}


async def test_calls_that_give_up_their_turn_have_tasks_of_their_own(runtime):
    """`RUN-1`"""
    curious = Curious.remote()
    await mosaic.gather([curious.keep_task(1) for _ in range(10)])
    tasks, ended = await curious.kept_tasks().result()
    assert tasks == 10
    assert all(ended)


@pytest.mark.parametrize("turns", [0, 2])
async def test_a_call_has_a_context_of_its_own(runtime, turns):
    """`RUN-2`"""
    curious = Curious.remote()
    tasks = [curious.set_variable(f"value {i}", turns) for i in range(10)]
    for i, answer in enumerate(await mosaic.gather(tasks).result()):
        assert answer == ("unset", f"value {i}", "unset")


async def test_child_tasks_inherit_the_context(runtime):
    """`RUN-2`"""
    curious = Curious.remote()
    assert await curious.in_a_child("inherited").result() == "inherited"
    assert (await curious.set_variable("x", 0).result())[0] == "unset"


async def test_a_call_that_cancels_itself_cancels_no_other(runtime):
    """`RUN-3`"""
    curious = Curious.remote()
    before, itself = curious.at_once("before"), curious.cancel_itself()
    behind = [curious.tasks_seen(1) for _ in range(5)]
    assert await before.result() == "before"
    assert await itself.result() == "ended first"
    assert [seen for seen, _ in await mosaic.gather(behind).result()] == [1] * 5


async def test_an_idle_loop_has_no_task_of_ours(runtime):
    """`RUN-4`: between calls nothing of ours waits; the only task is the one that asks."""
    curious = Curious.remote()
    await mosaic.gather([curious.at_once() for _ in range(MANY)])
    assert await curious.tasks_seen(2).result() == (1, 1)


async def test_timeouts_inside_a_method(runtime):
    curious = Curious.remote()
    tasks = [curious.time_out(wait=False) for _ in range(5)]
    assert await mosaic.gather(tasks).result() == ["in time"] * 5
    late = curious.time_out(wait=True)
    behind = curious.at_once("behind")
    with pytest.raises(TimeoutError):
        await late
    assert await behind.result() == "behind"


@pytest.mark.parametrize("turns", [0, 1])
async def test_failures_do_not_end_what_comes_behind(runtime, turns):
    curious = Curious.remote()
    failing = [curious.fail(turns) for _ in range(5)]
    behind = curious.at_once("behind")
    for task in failing:
        with pytest.raises(ValueError, match="curious"):
            await task
    assert await behind.result() == "behind"


async def test_many_calls_leave_the_loop_its_turns(runtime, flag):
    started, stop = flag("started"), flag("stop")
    other = Curious.remote(runtime=runtime.workers[0])
    curious = Curious.remote(runtime=runtime.workers[0])
    ticking = other.ticks(started, stop)
    await started.wait_async()
    assert await mosaic.gather([curious.at_once(i) for i in range(5000)]).result() == [*range(5000)]
    stop.set()
    assert await ticking.result() >= 5000 // 64
