"""Proxies made by hand for tesserae that are there, and tasks made by hand."""

import asyncio
import gc
import pickle

import pytest

import mosaic
from mosaic import types
from mosaic.core import TaskProxy, TesseraProxy
from mosaic.core.base import CMDBase, ProxyBase
from tests.support.actors import Blocker, Counter


@mosaic.tessera
class Node:
    """Knows its own name, and calls others by theirs."""

    def __init__(self, *args, **kwargs):
        self.seen = []

    def name(self):
        return self._tessera.uid, self._tessera.runtime_id

    def note(self, value, *, mark=None):
        self.seen.append(value if mark is None else (value, mark))
        return list(self.seen)

    async def slow_note(self, value):
        before = list(self.seen)
        await asyncio.sleep(0)
        self.seen = [*before, value]
        return list(self.seen)

    async def tell(self, runtime, uid, value):
        """Call another of these, of which only the name is known."""
        proxy = TesseraProxy(Node, runtime=runtime, uid=uid)
        proxy.init_future.set_result(True)
        proxy.state_changed("listening")
        task = TaskProxy(proxy, "note", value, mark="told")
        await proxy._init_task(task, value, mark="told")
        return await task.result()

    async def meet(self, mine, theirs):
        """Be here while a plain method runs on the same worker."""
        mine.set()
        await theirs.wait_async()
        return True

    def fail(self):
        raise ValueError("no such node")


async def made(**options):
    node = Node.remote(**options)
    uid, runtime_id = await node.name().result()
    return node, uid, runtime_id


def by_hand(uid, runtime_id, cls=Node):
    proxy = TesseraProxy(cls, runtime=runtime_id, uid=uid)
    proxy.init_future.set_result(True)
    proxy.state_changed("listening")
    return proxy


@pytest.mark.parametrize("options", [{}, {"uid": "the-node"}])
async def test_a_proxy_by_hand_calls_what_is_there(runtime, options):
    node, uid, runtime_id = await made(**options)
    proxy = by_hand(uid, runtime_id)
    assert (proxy.uid, proxy.runtime_id, proxy.state) == (uid, runtime_id, "listening")
    assert proxy.init_future.done()
    assert await proxy.init_future
    assert await proxy is proxy
    assert await proxy.note(1).result() == [1]
    assert await node.note(2).result() == [1, 2]
    assert await proxy.seen == [1, 2]
    assert isinstance(proxy, TesseraProxy)
    with pytest.raises(ValueError, match="no such node"):
        await proxy.fail()


async def test_a_runtime_proxy_says_where(runtime):
    _node, uid, runtime_id = await made()
    worker = next(worker for worker in runtime.workers if worker.uid == runtime_id)
    assert await by_hand(uid, worker).note(1).result() == [1]


@pytest.mark.parametrize("uid", [None, "a-chosen-name"])
async def test_workers_know_each_other_by_name(runtime, uid):
    first = Node.remote(runtime=runtime.workers[0])
    second, name, place = await made(uid=uid, runtime=runtime.workers[1])
    assert await first.tell(place, name, "over").result() == [("over", "told")]
    assert await second.seen == [("over", "told")]


async def call_in_order(place, name):
    proxy = TesseraProxy(Node, runtime=place, uid=name)
    proxy.set_attr("seen", ["first"])
    tasks = [proxy.slow_note(value) for value in range(5)]
    return await tasks[-1].result(), await proxy.seen


@pytest.mark.parametrize("uid", [None, "kept-in-order"])
async def test_calls_by_name_keep_their_order(runtime, uid):
    _node, name, place = await made(uid=uid, runtime=runtime.workers[1])
    task = runtime.submit(call_in_order, place, name, runtime=runtime.workers[0])
    expected = ["first", 0, 1, 2, 3, 4]
    assert await task.result() == (expected, expected)


@pytest.mark.parametrize("uid", [None, "meets-another"])
async def test_coroutine_methods_by_name_leave_others_their_turn(runtime, flag, uid):
    worker = runtime.workers[1]
    _node, name, place = await made(uid=uid, runtime=worker)
    task = TesseraProxy(Node, runtime=place, uid=name).meet(flag("here"), flag("there"))
    other = Blocker.remote(runtime=worker).until(flag("there"), flag("here"), 3)
    assert await asyncio.wait_for(mosaic.gather(task, other).result(), 20) == [True, 3]


async def proxy_of(place, name):
    return TesseraProxy(Node, runtime=place, uid=name)


@pytest.mark.parametrize("uid", [None, "passed-on"])
async def test_a_proxy_by_hand_can_be_passed_on(runtime, uid):
    _node, name, place = await made(uid=uid, runtime=runtime.workers[1])
    proxy = await runtime.submit(proxy_of, place, name, runtime=runtime.workers[0]).result()
    assert proxy.uid == name
    assert await proxy.note(1).result() == [1]
    assert await pickle.loads(pickle.dumps(proxy)).note(2).result() == [1, 2]


@pytest.mark.parametrize("uid", ["tess-node-0-7fffffff", "nobody-chose-this"])
async def test_who_is_not_there_is_told_to_be_missing(runtime, uid):
    proxy = TesseraProxy(Node, runtime=runtime.workers[0], uid=uid)
    with pytest.raises(mosaic.MosaicError):
        await asyncio.wait_for(proxy.note(1).result(), 10)


async def test_what_a_proxy_by_hand_needs(runtime):
    with pytest.raises(ValueError, match=r"takes its runtime"):
        TesseraProxy(Node, uid="anything")
    with pytest.raises(TypeError, match="uid of a tessera is a string"):
        TesseraProxy(Node, runtime=runtime.workers[0], uid=3)
    with pytest.raises(mosaic.MosaicError, match=r"Node\.remote"):
        TesseraProxy(Node)
    with pytest.raises(mosaic.MosaicError, match="worker:9:9"):
        TesseraProxy(Node, runtime="worker:9:9", uid="tess-node-0-1")


async def test_a_local_tessera_is_known_by_its_name_alone(runtime):
    view = Node.local(uid="here")
    await view.listen_async()
    assert await TesseraProxy(Node, uid="here").note(1).result() == [1]
    assert view.obj.seen == [1]


async def test_a_proxy_by_hand_keeps_the_tessera(runtime):
    node, uid, place = await made()
    proxy = by_hand(uid, place)
    await proxy.note(1)
    del node
    gc.collect()
    await runtime.barrier()
    assert await proxy.note(2).result() == [1, 2]


async def test_stopping_by_name(runtime):
    _node, uid, place = await made(uid="to-be-stopped", runtime=runtime.workers[1])
    name = TesseraProxy(Node, runtime=place, uid=uid)
    await name.stop()
    with pytest.raises(mosaic.MosaicError):
        await name.note(1)


# Tasks.


async def test_a_task_by_hand_is_started_by_its_proxy(runtime):
    counter = Counter.remote()
    task = TaskProxy(counter, "add", 2)
    assert task.state == "pending"
    await counter._init_task(task, 2)
    assert await task is task
    assert (await task.result(), task.state) == (2, "done")
    await counter._init_task(task, 2)
    assert await counter.order().result() == [2]


async def test_a_task_by_hand_is_started_by_awaiting_it(runtime):
    counter = Counter.remote(10)
    assert await TaskProxy(counter, "add", n=5).result() == 15
    task = TaskProxy(counter, "add", 1)
    await task
    assert await task.result() == 16
    assert await TaskProxy(counter, "add").check_result() is not None
    assert await counter.order().result() == [5, 1, 1]


async def test_arguments_may_come_with_the_start(runtime):
    counter = Counter.remote()
    task = TaskProxy(counter, "add")
    await counter._init_task(task, n=7)
    assert await task.result() == 7


async def test_a_task_by_hand_that_nobody_starts_does_nothing(runtime):
    counter = Counter.remote()
    task = TaskProxy(counter, "add", 1)
    assert not hasattr(task, "_repr_html_")
    assert repr(task) is not None
    del task
    assert await counter.order().result() == []


async def test_a_task_by_hand_as_an_argument_runs_once(runtime):
    counter, other = Counter.remote(), Counter.remote(100)
    task = TaskProxy(counter, "add", 3)
    both = other.add(task), other.add(task)
    assert [await one.result() for one in both] == [103, 106]
    assert await other.add(task.outputs[0]).result() == 109
    assert await counter.order().result() == [3]
    assert await other.add(n=TaskProxy(counter, "add", 4)).result() == 116


async def test_tasks_by_hand_among_others(runtime):
    counter = Counter.remote()
    tasks = [TaskProxy(counter, "add", 1), counter.add(2), TaskProxy(counter, "add", 3)]
    assert await mosaic.gather(tasks).result() == [3, 2, 6]
    assert [task.state for task in await asyncio.gather(*tasks)] == ["done"] * 3
    again = await mosaic.gather(TaskProxy(counter, "add", 1))
    assert again.state == "done"
    assert await runtime.submit(gets_a_list, [TaskProxy(counter, "add", 1)]).result() == 8


async def gets_a_list(tasks):
    return await tasks[0].result()


async def test_what_a_task_by_hand_tells(runtime):
    counter = Counter.remote()
    first = counter.add(1)
    task = TaskProxy(counter, "add", first)
    assert isinstance(task, TaskProxy)
    assert isinstance(task, (CMDBase, ProxyBase))
    assert isinstance(task, types.awaitable_types)
    assert type(task) in types.awaitable_types
    assert type(task) in types.proxy_types
    assert (task._eager, task.method, task.tessera_id) == (True, "add", counter.uid)
    assert task._dependencies == [first]
    assert "not started" in repr(TaskProxy(counter, "add"))
    with pytest.raises(TypeError):
        len(task)
    task.state_changed("done")
    assert await task.init_future
    assert await task.done is not None
    assert await task.outputs[0].result() == 2
    assert not hasattr(task, "needs_grad")


async def test_what_a_task_by_hand_needs(runtime):
    counter = Counter.remote()
    with pytest.raises(TypeError, match=r"TaskProxy\(proxy, method, \*args\)"):
        TaskProxy("counter", "add")
    with pytest.raises(TypeError, match="takes the proxy of a tessera"):
        TaskProxy()
    with pytest.raises(TypeError, match="by its name"):
        TaskProxy(counter, counter.add)
    with pytest.raises(TypeError, match="takes a task"):
        await counter._init_task(3)
    with pytest.raises(AttributeError, match="nonsense"):
        await TaskProxy(counter, "nonsense")


async def test_a_task_by_hand_of_a_parameter_and_of_a_hosted_object(runtime, warehouse):
    parameter = Counter.parameter(5)
    assert await TaskProxy(parameter, "add", 1).result() == 6
    assert parameter.count == 5
    view = Counter.local(7)
    assert await TaskProxy(view, "add", 1).result() == 8


async def test_a_task_tells_what_it_was_given(runtime, flag):
    blocker, counter = Blocker.remote(runtime=runtime.workers[0]), Counter.remote()
    first, second = blocker.until_async(flag("started"), flag("release"), 2), counter.add(1)
    both = counter.add(first), counter.add(n=second.outputs[0])
    assert both[0]._eager
    assert [task._dependencies for task in both] == [[first], [second]]
    assert first._dependencies == []
    flag("release").set()
    assert await both[1].result() == 4


async def test_what_a_task_was_given_is_not_kept_by_it(runtime):
    counter = Counter.remote()
    task = counter.add(counter.add(1))
    await task
    gc.collect()
    assert task._dependencies == []
