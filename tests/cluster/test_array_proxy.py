"""`ArrayProxy`: many tesserae behind one name."""

import pytest

import mosaic
from tests.support.actors import Counter, Echo


@mosaic.tessera
class Element:
    def __init__(self, base, **kwargs):
        self.base = base
        self.kwargs = kwargs

    def add(self, x):
        return self.base + x

    async def __call__(self, x):
        return self.base * x

    def fail_if(self, condition):
        if condition:
            raise ValueError("an element fails")
        return "fine"


@mosaic.tessera
class Inspector:
    async def ask(self, array, x):
        return [await task.result() for task in await array.add(x)]

    def length(self, array):
        return len(array)


async def test_calls_go_to_every_element(runtime):
    array = Element.remote(10, len=4)
    tasks = await array.add(1)
    assert isinstance(tasks, list)
    assert len(tasks) == 4
    assert [await task.result() for task in tasks] == [11] * 4
    assert await array.add(2).result() == [12] * 4


async def test_len_does_not_reach_init(runtime):
    array = Element.remote(1, len=2, size=3)
    assert await array.get_attr("kwargs") == [{"size": 3}] * 2


async def test_elements_are_spread_over_the_workers(runtime):
    array = await Element.remote(1, len=4)
    assert isinstance(array, mosaic.core.ArrayProxy)
    uids = [worker.uid for worker in runtime.workers]
    assert sorted(array.runtime_id) == sorted(uids * 2)
    assert [remote.uid for remote in array.remote_runtime] == array.runtime_id


async def test_sequence(runtime):
    array = await Element.remote(5, len=3)
    assert len(array) == 3
    elements = list(array)
    assert len(elements) == 3
    assert [e.uid for e in elements] == [array[i].uid for i in range(3)]
    assert array[-1].uid == elements[2].uid
    assert await array[1].add(1).result() == 6
    with pytest.raises(IndexError):
        array[3]


async def test_results_come_in_element_order(runtime):
    array = await Counter.remote(len=5)
    for i, element in enumerate(array):
        await element.add(i)
    assert await array.value().result() == list(range(5))
    assert await array.count == list(range(5))


async def test_runtime_picks_the_element_that_lives_there(runtime):
    array = await Echo.remote(len=2)
    pids = dict(zip(array.runtime_id, await array.pid().result(), strict=True))
    for worker in runtime.workers:
        assert await array.pid(runtime=worker).result() == pids[worker.uid]
        assert await array.pid(runtime=worker.uid).result() == pids[worker.uid]


async def test_calling_an_array_with_runtime(runtime):
    array = await Element.remote(4, len=2)
    assert await array(3, runtime=runtime.workers[1]).result() == 12
    assert await array(2).result() == [8, 8]


async def test_attributes_of_all(runtime):
    array = await Element.remote(4, len=3)
    assert await array.base == [4, 4, 4]
    assert await array.get_attr("base") == [4, 4, 4]
    await array.set_attr("base", 9)
    assert await array.base == [9, 9, 9]


async def test_tasks_as_arguments_reach_every_element(runtime):
    array = await Element.remote(1, len=3)
    task = Counter.remote(5).add(1)
    assert await array.add(task).result() == [7, 7, 7]


async def test_one_failing_element_fails_the_result(runtime):
    array = await Element.remote(1, len=2)
    with pytest.raises(ValueError, match="an element fails"):
        await array.fail_if(True).result()
    assert await array.fail_if(False).result() == ["fine", "fine"]


async def test_failing_constructor_of_an_array(runtime):
    with pytest.raises(TypeError):
        await Element.remote(len=2)


async def test_arrays_travel(runtime):
    array = await Element.remote(1, len=3)
    inspector = Inspector.remote()
    assert await inspector.length(array).result() == 3
    assert await inspector.ask(array, 4).result() == [5, 5, 5]
    back = await Echo.remote().back({"array": array}).result()
    assert await back["array"].add(1).result() == [2, 2, 2]


async def test_len_of_one_is_an_array_too(runtime):
    array = await Element.remote(1, len=1)
    assert len(array) == 1
    assert await array.add(1).result() == [2]


async def test_elements_may_be_picked_at_once(runtime):
    for _ in range(50):
        array = Counter.remote(len=2)
        for worker in runtime.workers:
            array.add(1, runtime=worker)
        assert await array.add(1).result() == [2, 2]
