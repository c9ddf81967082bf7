"""Switching the runtime of a notebook on and off, running cells again, and the ends that a kernel can come to."""

import asyncio
import os

import pytest

from tests.support.kernels import Kernel, kernel_with_runtime
from tests.support.rendezvous import eventually_async

ON = 'import os, mosaic; runtime = await mosaic.interactive("on", num_workers=2)'

LOOK = """
    import gc, threading
    from pathlib import Path
    from tests.leaks import take
    gc.collect()
    found = take()
    # IPython's database of what was typed opens and closes its own.
    sorted(
        text.partition(":")[2] for text in found.fds.values() if "history.sqlite" not in text
    ), sorted(
        text.partition(", ")[2] for text in found.threads.values()
    ), len(found.mappings)
"""


async def seen(kernel):
    return (await kernel.run(LOOK)).results[0]["text/plain"]


async def test_off_leaves_nothing():
    async with Kernel() as kernel:
        # Numeric libraries start their threads when they are imported.
        await kernel.run("import mosaic, numpy")
        await seen(kernel)
        before = await seen(kernel)
        for _ in range(2):
            await kernel.run(ON)
            await kernel.run("""
                from tests.support.actors import Echo
                echo = Echo.remote()
                assert (await echo.back(numpy.ones(100_000)).result()).sum() == 100_000
                task = echo.describe(numpy.ones(100_000))
                parameter = Echo.parameter()
                local = Echo.local()
                await runtime.exec("key", lambda _: 1)
            """)
            assert len(kernel.others()) == 3
            await kernel.run('await mosaic.interactive("off")')
            kernel.assert_nothing_left(within=2.0)
            await eventually_async(lambda: _same(kernel, before), "the kernel as it was")
        assert (await kernel.run("print(mosaic.runtime())")).lines() == ["None"]


async def _same(kernel, before):
    return await seen(kernel) == before


async def test_a_cell_that_starts_the_runtime_may_be_run_again(kernel):
    cell = await kernel.run("""
        again = await mosaic.interactive("on", num_workers=2)
        whatever = await mosaic.interactive("on")
        again is runtime, whatever is runtime, runtime.num_workers
    """)
    assert cell.results[0]["text/plain"] == "(True, True, 2)"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("num_workers=3", "num_workers=2 instead of 3"),
        ("num_threads=2", "num_threads=1 instead of 2"),
        ("warehouse_memory='1GB'", "warehouse_memory=None instead of '1GB'"),
    ],
)
async def test_other_options_are_refused_by_name(kernel, options, told):
    cell = await kernel.finish(kernel.start(f'await mosaic.interactive("on", {options})'))
    assert cell.error.startswith("MosaicError")
    assert told in cell.error
    assert '"off"' in cell.error
    await kernel.run("await runtime.submit(abs, -1)")


async def test_an_interrupted_start_is_over_when_the_cell_is():
    async with Kernel() as kernel:
        await kernel.run("import mosaic")
        starting = kernel.start('await mosaic.interactive("on", num_workers=2)')
        await eventually_async(lambda: len(kernel.others()) == 2, "workers")
        await kernel.interrupt()
        await kernel.finish(starting)
        # Interrupted or not: it was close.
        cell = await kernel.run("""
            runtime = await mosaic.interactive("on", num_workers=2)
            await runtime.map(abs, [-1, -2])
        """)
        assert cell.results[0]["text/plain"] == "[1, 2]"


async def test_a_restart_leaves_nothing_and_begins_anew():
    async with kernel_with_runtime(num_workers=2) as kernel:
        await kernel.run('task = Blocker.remote().until(Flag("never"), Flag("ever"))')
        await kernel.flag("never").wait_async()
        await kernel.restart()
        kernel.assert_nothing_left(within=2.0)
        await kernel.run(ON + "; assert await runtime.submit(abs, -3).result() == 3")


@pytest.mark.faults
async def test_a_killed_kernel_leaves_nothing():
    async with kernel_with_runtime(num_workers=2) as kernel:
        await kernel.run('task = Blocker.remote().until(Flag("runs"), Flag("ever"))')
        await kernel.flag("runs").wait_async()
        kernel.kill()
        await asyncio.to_thread(os.waitid, os.P_PID, kernel.pid, os.WEXITED | os.WNOWAIT)
        kernel.assert_nothing_left(within=2.0)


async def test_other_ways_to_start_in_a_notebook():
    async with Kernel() as kernel:
        await kernel.run('import mosaic; await mosaic.interactive("off")')
        cell = await kernel.finish(kernel.start("mosaic.run(print)"))
        assert 'await mosaic.interactive("on")' in cell.error
        await kernel.run("runtime = mosaic.init(num_workers=1)")
        cell = await kernel.run('await runtime.submit(print, "shown here")')
        assert cell.lines() == ["[worker:0:0] shown here"]
        await kernel.run("mosaic.stop()")
        kernel.assert_nothing_left(within=2.0)
