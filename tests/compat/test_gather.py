"""`mosaic.gather` waits for what can be awaited, and gives the rest as it is."""

import asyncio

import numpy as np
import pytest

import mosaic
from tests.support.actors import Counter, Echo


async def value(number):
    return number


async def test_one_that_is_no_list(runtime):
    task = Echo.remote().back(3)
    assert await mosaic.gather(task) is task
    assert await mosaic.gather(task).result() == 3
    assert await mosaic.gather(value(5)) == 5
    output, reference = task.outputs[0], runtime.put([1])
    assert await mosaic.gather(output) is output
    assert await mosaic.gather(reference) is reference
    assert await mosaic.gather(task.done).result() is True
    array = Counter.remote(len=2)
    assert await mosaic.gather(array) is array
    assert await mosaic.gather(array.add(2)).result() == [2, 2]


@pytest.mark.parametrize("plain", [7, None, "text", b"bytes", {"a": 1}, (1, 2), range(3)], ids=repr)
async def test_what_cannot_be_awaited_passes_through(plain):
    assert await mosaic.gather(plain) is plain
    assert await mosaic.gather(plain).result() is plain


async def test_an_array_passes_through():
    plain = np.arange(3)
    assert await mosaic.gather(plain) is plain


async def test_values_among_tasks_pass_through(runtime):
    task = Echo.remote().back(3)
    plain = object()
    assert await mosaic.gather([1, value(2), task, plain]) == [1, 2, task, plain]
    assert await mosaic.gather([1, value(2), task, plain]).result() == [1, 2, 3, plain]
    assert await mosaic.gather(task, None).result() == [3, None]
    assert await mosaic.gather([]) == []


async def test_iterables_of_tasks(runtime):
    echo = Echo.remote()
    tasks = [echo.back(1), echo.back(2)]
    for several in (tasks, tuple(tasks), iter(tasks), {1: tasks[0], 2: tasks[1]}.values()):
        assert await mosaic.gather(several).result() == [1, 2]


async def test_exceptions_in_place_of_what_failed(runtime):
    found = await mosaic.gather(
        Echo.remote().fail(ValueError("on purpose")), return_exceptions=True
    )
    assert isinstance(found, ValueError)
    with pytest.raises(ValueError, match="on purpose"):
        await mosaic.gather(Echo.remote().fail(ValueError("on purpose")))


def test_in_synchronous_code(runtime):
    task = Echo.remote().back(3)
    assert mosaic.gather(task).wait() == 3
    assert mosaic.gather(7).wait() == 7
    assert mosaic.gather([task, "text"]).wait(20) == [3, "text"]


async def test_many_are_awaited_together():
    both = asyncio.Barrier(2)
    await asyncio.wait_for(asyncio.shield(wrap([both.wait(), both.wait()])), 20)


async def wrap(items):
    return await mosaic.gather(items)
