"""What programs of mosaic 1.2 ask of tasks and their outputs."""

import gc

import numpy as np
import pytest

import mosaic
from mosaic.core import Task, TaskProxy
from tests.support.actors import Counter, Echo


@mosaic.tessera
class Flaky:
    def __init__(self):
        self.calls = 0

    def run(self, failures):
        self.calls += 1
        if self.calls <= failures:
            raise ValueError("not yet")
        return self.calls


async def test_where_a_task_and_its_outputs_are(runtime):
    echo = await Echo.remote()
    task = await echo.back((1, 2))
    assert task.remote_runtime.uid == echo.runtime_id
    assert task.outputs[0].remote_runtime == task.done.remote_runtime == task.remote_runtime
    assert task.done.runtime_id == echo.runtime_id
    assert await task.outputs[0].size(pending=True) == await task.size(pending=False) > 0
    assert await task.done.size() == 0
    assert (task.type, task.remote_type(), task.remote_cls()) == ("task_proxy", "task", Task)
    assert task.collectable is True
    tasks = await mosaic.gather(Counter.remote(len=2).add(1))
    assert len(tasks) == 2
    array = Counter.remote(len=2).add(1)
    await array
    assert [one.uid for one in array.remote_runtime] == array.runtime_id
    assert array.type == "task_array_proxy"


async def test_a_task_has_what_is_this_process_s(runtime):
    task = Echo.remote().back(1)
    assert (task.runtime, task.head, task.comms) == (runtime, runtime, runtime)
    assert task.logger is mosaic.logger()
    assert task.monitor.uid == "monitor"
    assert task.loop.get_event_loop() is mosaic.get_event_loop().get_event_loop()
    assert await task.result() == 1


async def test_arguments_of_a_task(runtime):
    echo = Echo.remote()
    assert echo.back().args == ()
    assert echo.back().kwargs == {}
    shape = (2, (3,))
    given = [1, 2.5, "text", None, True, shape[:1], [1, 2], {"a": 1}]
    task = echo.everything(*given, name="x", shape=[3])
    assert task.args == tuple(given)
    assert task.kwargs == {"name": "x", "shape": [3]}
    # The call has copies.
    given[6].append(5)
    assert task.args[6] == [1, 2]
    task.args[6].append(5)
    assert task.args[6] == [1, 2]
    first = echo.back(1)
    array = np.zeros(3)
    task = echo.back(array)
    assert task.args[0] is array
    assert echo.back(value=first).kwargs["value"] is first
    assert runtime.submit(divmod, 7, 2).args == (7, 2)
    await task


async def test_no_argument_is_kept_alive_by_its_task(runtime):
    task = Echo.remote().back(np.zeros(1000))
    gc.collect()
    assert repr(task.args) == "(<argument that the task does not keep>,)"
    task = Echo.remote().everything([np.zeros(3)], text="x" * 1000)
    assert repr(task.args) == "(<list that the task does not keep>,)"
    assert repr(task.kwargs) == "{'text': <str that the task does not keep>}"
    await task


async def test_retries_that_a_task_may_have(runtime):
    assert Echo.remote().back(1).max_retries == 0
    task = Flaky.remote().run(2, max_retries=3)
    assert (task.max_retries, task.args, task.kwargs) == (3, (2,), {})
    assert await task.result() == 3
    assert Flaky.remote(max_retries=1).run(failures=1).max_retries == 1


async def test_asking_a_task_made_by_hand_starts_nothing(runtime):
    counter = Counter.remote()
    task = TaskProxy(counter, "add", 5)
    assert (task.args, task.kwargs, task.type, task.collectable) == ((5,), {}, "task_proxy", True)
    assert (task.runtime, task.tessera_id) == (runtime, counter.uid)
    assert task.state == "pending"
    assert await counter.value().result() == 0
    await task
    assert await counter.value().result() == 5


@pytest.mark.parametrize("name", ["args", "kwargs", "type", "runtime", "remote_runtime"])
async def test_none_of_them_is_an_error(runtime, name):
    assert hasattr(Echo.remote().back(1), name)
