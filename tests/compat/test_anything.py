"""What programs ask of anything, wherever it is: kinds, names, flags; and classes that go by value."""

import copy
import pickle

import numpy as np
import pytest

import mosaic
from mosaic import types
from mosaic.core import ArrayProxy, ParameterMixin, PickleClass, Task, TaskProxy, Tessera
from mosaic.core.base import Base, CMDBase, ProxyBase, RemoteBase

INJECTED = ("runtime", "comms", "loop", "head", "monitor", "node", "worker", "logger")


@mosaic.tessera
class Thing:
    """Something that may need a gradient."""

    needs_grad = False

    def __init__(self, *args, **kwargs):
        self.name = kwargs.pop("name", "thing")
        self.needs_grad = kwargs.pop("needs_grad", False)

    def look_around(self):
        return {name: str(getattr(getattr(self, name), "uid", "")) for name in INJECTED}

    def about_itself(self):
        hosted = self._tessera
        return {
            "flags": (self.has_tessera, self.is_tessera, self.is_proxy),
            "own": [name for name in ("uid", "runtime_id") if hasattr(self, name)],
            "hosted": (hosted.uid, hosted.runtime_id, hosted.state),
            "kinds": (isinstance(hosted, CMDBase), type(hosted) in types.remote_types),
        }

    def ask(self, value):
        return ask(value)

    def ask_each(self, values):
        return [ask(value) for value in values]

    async def ask_async(self, value):
        return ask(value)

    def __call__(self, value):
        return value


@mosaic.tessera
class Own:
    """Has names of its own."""

    uid = "mine"

    def __init__(self):
        self.runtime = "my runtime"
        self.worker = 7
        self.runtime_id = "nowhere"

    def names(self):
        return self.runtime, self.worker, self.uid, self.runtime_id, self._tessera.runtime_id


def ask(value):
    """Ask it what programs ask."""
    return (
        bool(getattr(value, "has_tessera", False)),
        bool(getattr(value, "is_proxy", False)),
        bool(getattr(value, "is_tessera", False)),
        hasattr(value, "is_parameter"),
        hasattr(value, "_tessera"),
        hasattr(value, "runtime_id"),
        hasattr(value, "uid"),
        isinstance(value, CMDBase),
        isinstance(value, types.awaitable_types),
    )


PLAIN = (False,) * 9


async def test_values_are_nothing_of_mosaics(runtime):
    for value in (1, None, "text", np.arange(3), [], {}, Thing, len):
        assert ask(value) == PLAIN, value


async def test_a_local_instance_is_a_plain_value(runtime):
    assert ask(Thing(needs_grad=True)) == PLAIN
    assert ask(copy.copy(Thing())) == PLAIN
    assert ask(pickle.loads(pickle.dumps(Thing()))) == PLAIN


async def test_asked_here(runtime, warehouse):
    proxy = Thing.remote(name="a")
    task = proxy(3)
    reference = await runtime.put(1)
    assert ask(proxy) == (False, True, False, True, True, True, True, True, False)
    assert ask(task) == (False, True, False, False, False, True, True, True, True)
    assert ask(task.outputs[0]) == (False, False, False, False, False, True, True, False, True)
    assert ask(reference) == (False, True, False, False, False, False, True, False, True)
    array = Thing.remote(len=2)
    assert ask(array)[:4] == (True, True, False, True)
    assert isinstance(array, (ArrayProxy, CMDBase))
    assert isinstance(array, types.proxy_types)
    parameter = Thing.parameter(needs_grad=True)
    assert ask(parameter) == (True, True, False, False, True, False, False, False, False)
    assert ask(parameter.ref) == ask(reference)
    assert isinstance(parameter, (Thing, ParameterMixin))
    view = Thing.local()
    assert isinstance(view, (Tessera, RemoteBase, Base))
    assert ask(view)[:4] == (False, False, False, True)


async def test_asked_there(runtime, warehouse):
    asker, other = Thing.remote(), Thing.remote()
    parameter = Thing.parameter(needs_grad=True)
    assert await asker.ask(3).result() == PLAIN
    assert await asker.ask(Thing()).result() == PLAIN
    assert await asker.ask(other).result() == ask(other)
    assert await asker.ask_async(parameter).result() == ask(parameter)
    # A task as an argument is its value there; within a list it is a reference.
    assert await asker.ask(other(3)).result() == PLAIN
    there = await asker.ask_each([other, parameter, other(3), 3]).result()
    assert there == [ask(other), ask(parameter), ask(other(3)), PLAIN]


async def test_a_hosted_object_knows_what_it_is(runtime):
    proxy = Thing.remote(uid="known", runtime=runtime.workers[1])
    told = await proxy.about_itself().result()
    where = runtime.workers[1].uid
    assert told == {
        "flags": (False, False, False),
        "own": [],
        "hosted": ("known", where, "listening"),
        "kinds": (True, True),
    }


async def test_what_instances_get(runtime):
    where = runtime.workers[0].uid
    told = await Thing.remote(runtime=where).look_around().result()
    expected = {"runtime": where, "comms": where, "loop": "", "head": "head", "monitor": "monitor"}
    assert told == {**expected, "node": "node:0", "worker": where, "logger": ""}
    here = Thing()
    assert here.runtime is runtime
    assert here.head is runtime
    assert here.worker is None


async def test_a_class_keeps_its_own(runtime):
    there = await Own.remote(runtime=runtime.workers[0]).names().result()
    assert there == ("my runtime", 7, "mine", "nowhere", runtime.workers[0].uid)
    assert (Own().uid, Own().worker) == ("mine", 7)


async def test_needs_grad_of_what_comes_along(runtime, warehouse):
    asker = Thing.remote()
    parameter = Thing.parameter(needs_grad=True)
    assert parameter.needs_grad
    assert await runtime.submit(getattr, parameter, "needs_grad").result()
    assert await runtime.submit(getattr, Thing(needs_grad=True), "needs_grad").result()
    assert not await runtime.submit(getattr, 3, "needs_grad", False).result()
    # Of an object elsewhere it is asked there.
    assert await asker.needs_grad is False
    asker.set_attr("needs_grad", True)
    assert await asker.needs_grad is True


async def test_tuples_of_types(runtime):
    task = Thing.remote()(1)
    reference = await runtime.put(1)
    for value in (task, task.outputs[0], task.done, reference):
        assert type(value) in types.awaitable_types
        assert isinstance(value, types.awaitable_types)
    assert issubclass(Tessera, types.remote_types)
    assert issubclass(Task, types.remote_types)
    assert issubclass(TaskProxy, types.proxy_types)
    assert not isinstance(Thing.remote(), types.awaitable_types)


async def test_len_of_a_task_is_a_type_error(runtime):
    task = Thing.remote()([1, 2, 3])
    for value in (task, task.outputs, await task):
        with pytest.raises(TypeError):
            len(value)
    assert len(await task.result()) == 3


# Classes that go by value.


def test_a_pickle_class_stands_for_its_class():
    class Local:
        """A class that nobody can import."""

        scale = 3

        def __init__(self, value, *, more=0):
            self.value = value + more

        @classmethod
        def make(cls):
            return cls(1)

    wrapped = PickleClass(Local)
    again = pickle.loads(pickle.dumps(wrapped))
    assert wrapped.cls is Local
    for one in (wrapped, again):
        assert one(2, more=3).value == 5
        assert (one.scale, one.make().value, one.__name__) == (3, 1, "Local")
        with pytest.raises(AttributeError):
            _ = one.nonsense


async def test_a_pickle_class_travels(runtime):
    def triple(value):
        return 3 * value

    assert await runtime.submit(PickleClass(triple), 4).result() == 12
    assert await runtime.submit(instance_of, PickleClass(Thing)).result() == ("by value", True)


def instance_of(cls):
    made = cls(name="by value")
    return made.name, isinstance(made, cls.cls)


def test_a_proxy_base_is_no_remote_base():
    assert issubclass(ProxyBase, CMDBase)
    assert issubclass(RemoteBase, CMDBase)
    assert not issubclass(ProxyBase, RemoteBase)
