"""Interrupting the kernel interrupts the cell's wait; the runtime, its workers and what they do go on."""

from textwrap import dedent

import pytest

from tests.support.kernels import Kernel

pytestmark = pytest.mark.faults

WAITS = {
    "a task": "await task",
    "a value": "await task.result()",
    "a thread that waits": "await asyncio.to_thread(task.wait)",
    "a blocking wait for a thread": """
        thread = threading.Thread(target=task.wait)
        thread.start()
        thread.join()
    """,
    "the barrier": "await runtime.barrier()",
    "a map": """
        def work(item):
            Flag(started).set()
            Flag(release).wait()
            return item

        await runtime.map(work, range(10))
    """,
    "async_for": """
        @runtime.async_for(range(10))
        async def loop(worker, item):
            await blocker.until_async(Flag(started), Flag(release))

        await loop
    """,
    "a reduction": "await runtime.reduce([task])",
}


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("method", ["until", "until_async"])
async def test_an_interrupt_ends_the_wait_and_nothing_else(kernel, wait, method):
    name = f"{wait} {method}"
    started = kernel.flag(f"{name} started")
    before = await kernel.run(f"""
        started, release = "{name} started", "{name} release"
        blocker = Blocker.remote()
        pids = [worker.pid for worker in runtime.workers]
        {
        "task = blocker." + method + "(Flag(started), Flag(release), 'late')"
        if wait not in {"a map", "async_for"}
        else "task = None"
    }
    """)
    waiting = kernel.start(f'Flag("{name} waits").set()\n{dedent(WAITS[wait])}')
    await kernel.flag(f"{name} waits").wait_async()
    await started.wait_async()
    await kernel.interrupt()
    await kernel.finish(waiting)
    assert waiting.status == "error"
    assert waiting.error.startswith(("CancelledError", "KeyboardInterrupt")), waiting.error
    kernel.flag(f"{name} release").set()
    after = await kernel.run("""
        assert mosaic.runtime() is runtime
        assert [worker.pid for worker in runtime.workers] == pids
        assert task is None or await task.result() == "late"
        await runtime.barrier()
        await runtime.submit(abs, -3).result()
    """)
    assert after.results[0]["text/plain"] == "3"
    assert before.text("stderr") == after.text("stderr") == ""


async def test_a_blocking_wait_in_a_cell_explains_itself(kernel):
    # Cells run on the thread of the kernel's loop, which would stand still.
    cell = await kernel.finish(
        kernel.start("task = Blocker.remote().until(Flag('x'), Flag('y')); task.wait()")
    )
    kernel.flag("y").set()
    assert "await task.result()" in cell.error


async def test_an_interrupt_of_a_cell_that_computes(kernel):
    waiting = kernel.start("""
        task = Blocker.remote().until_async(Flag("begun"), Flag("done"), "value")
        Flag("computes").set()
        while True:
            pass
    """)
    await kernel.flag("computes").wait_async()
    await kernel.interrupt()
    await kernel.finish(waiting)
    assert waiting.error.startswith("KeyboardInterrupt")
    kernel.flag("done").set()
    cell = await kernel.run("await task.result()")
    assert cell.results[0]["text/plain"] == "'value'"


async def test_an_interrupt_ends_a_session_within_a_cell():
    async with Kernel() as kernel:
        waiting = kernel.start("""
            import mosaic
            from tests.support.actors import Blocker
            from tests.support.rendezvous import Flag

            async with mosaic.session(num_workers=1) as runtime:
                await Blocker.remote().until_async(Flag("inside"), Flag("never"))
        """)
        await kernel.flag("inside").wait_async()
        await kernel.interrupt()
        await kernel.finish(waiting)
        assert waiting.error.startswith("CancelledError")
        kernel.assert_nothing_left(within=2.0)
        assert (await kernel.run("print(mosaic.runtime())")).lines() == ["None"]
