"""Parameters: local objects tied to a root at the warehouse."""

import asyncio
import copy
import gc
import os
import pickle

import numpy as np
import pytest

import mosaic
from mosaic.core import ParameterMixin, TesseraProxy
from mosaic.core.base import CMDBase
from tests.support.actors import Counter, Echo, Holder
from tests.support.rendezvous import Log, eventually_async

pytestmark = pytest.mark.usefixtures("warehouse")


@mosaic.tessera
class Field:
    """A class as programs have them."""

    def __init__(self, value=0, *, name="field"):
        self._value = value
        self.name = name
        self.grad = None

    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, value):
        self._value = value

    def add(self, n):
        self._value = self._value + n
        return self._value

    def accumulate(self, grad):
        self.grad = grad if self.grad is None else self.grad + grad

    async def accumulate_async(self, grad):
        await asyncio.sleep(0)
        self.accumulate(grad)
        return self.grad

    def fail(self, error):
        raise error

    def __call__(self, n):
        self._value = n
        return self

    def __add__(self, other):
        made = self.__class__(self._value, name="sum")
        made.add(other)
        return made

    def __eq__(self, other):
        return isinstance(other, Field) and other.value == self.value

    def __hash__(self):
        return 1

    def about_itself(self):
        return {
            "uid": mosaic.runtime().uid,
            "runtime": self.runtime.uid,
            "has": self.has_tessera,
            "tessera": self.is_tessera,
            "proxy": self.is_proxy,
            "hosted": hasattr(self, "_tessera"),
            "mixin": isinstance(self, ParameterMixin),
        }

    def itself(self):
        return self

    def take(self, x):
        self._value = x
        return type(x).__name__


@mosaic.tessera
class SlottedField:
    __slots__ = ("a", "b")

    def __init__(self, a, b=2):
        self.a = a
        self.b = b

    def both(self):
        return self.a, self.b


class Base:
    def __init__(self, **kwargs):
        self.base = kwargs.pop("base", 0)
        super().__init__()


@mosaic.tessera
class Derived(Base):
    def __init__(self, **kwargs):
        self.own = kwargs.pop("own", 0)
        super().__init__(**kwargs)

    def double(self):
        self.own *= 2
        return self.own


@mosaic.tessera
class Stateful:
    """Has a state of its own making."""

    def __init__(self, n):
        self.n = n
        self.cache = "local"

    def __getstate__(self):
        return {"n": self.n}

    def __setstate__(self, state):
        self.n = state["n"]
        self.cache = "rebuilt"


class Reduced:
    def __init__(self, n):
        self.n = n

    def __reduce__(self):
        return Reduced.again, (self.n,)

    @staticmethod
    def again(n):
        return REDUCED(n)


REDUCED = mosaic.tessera(Reduced)


@mosaic.tessera
class User:
    """What workers do with parameters."""

    def __init__(self):
        self.kept = []

    def keep(self, field):
        self.kept.append(field)
        return field.value

    def forget(self):
        self.kept.clear()

    def value(self, field):
        return field.value

    async def value_async(self, field):
        return field.value

    def describe(self, field):
        return (
            isinstance(field, Field),
            isinstance(field, ParameterMixin),
            field.is_proxy,
            field.uid,
            field.runtime_id,
            field.__class__ is Field,
        )

    def change(self, field, n):
        return field.add(n, propagate=True)

    async def push(self, field, **values):
        for name, value in values.items():
            setattr(field, name, value)
        await field.push(list(values))

    async def pull(self, field, name):
        return await field.pull(name)

    def accumulate(self, field, grad):
        field.accumulate(grad, propagate=True)

    async def accumulate_async(self, field, grad):
        await field.accumulate_async(grad, propagate=True)

    async def make(self, value):
        field = Field.parameter(value)
        await field.push("value")
        return [field]

    def in_a_box(self, box):
        return box["field"].uid, box["field"].add(1, propagate=True)


# What a parameter is.


async def test_it_is_an_instance_of_its_class_and_a_parameter(runtime):
    p = Field.parameter(5, name="p")
    assert isinstance(p, Field)
    assert isinstance(p, ParameterMixin)
    assert isinstance(p, CMDBase)
    assert p.__class__ is Field
    assert (p.value, p.name) == (5, "p")
    assert p.has_tessera is True
    assert p.is_proxy is True
    assert p.is_tessera is False
    assert p.is_parameter is True
    assert p.cached is False
    assert hasattr(p, "_tessera")
    assert isinstance(p.ref, TesseraProxy)
    assert p.ref.is_parameter is True
    assert p.uid == p.ref.uid
    assert (await p) is p
    assert p.runtime_id == "warehouse:0"


async def test_plain_instances_and_tesserae_answer_too(runtime):
    plain = Field(1)
    assert (plain.has_tessera, plain.is_tessera, plain.is_proxy) == (False, False, False)
    assert not hasattr(plain, "_tessera")
    assert not isinstance(plain, ParameterMixin)
    proxy = Field.remote(1)
    assert (proxy.has_tessera, proxy.is_tessera, proxy.is_proxy) == (True, False, True)
    about = await proxy.about_itself().result()
    assert about["has"] is about["tessera"] is about["hosted"] is True
    assert about["proxy"] is about["mixin"] is False


async def test_the_root_knows_where_and_what_it_is(runtime):
    about = await Field.parameter().ref.about_itself().result()
    assert about == {
        "uid": "warehouse:0",
        "runtime": "warehouse:0",
        "has": True,
        "tessera": True,
        "proxy": False,
        "hosted": True,
        "mixin": True,
    }


async def test_the_root_is_made_from_the_same_arguments(runtime):
    p = Derived.parameter(own=3, base=4, uid="chosen", max_retries=1)
    assert (p.own, p.base) == (3, 4)
    assert await p.ref.own == 3
    assert await p.ref.base == 4
    assert p.uid == "chosen"


async def test_local_work_is_local(runtime):
    p = Field.parameter(1)
    assert p.add(4) == 5
    p.value = 7
    assert p(8) is p
    assert await p.ref.value == 1


async def test_the_class_goes_on_working(runtime):
    p = Field.parameter(1)
    total = p + 2
    assert total == Field(3)
    assert not isinstance(total, ParameterMixin)
    assert p == Field(1)
    assert {p: 1}[Field(1)] == 1
    assert p.add.__name__ == "add"
    assert Field.add(p, 1) == 2


async def test_slots(runtime):
    p = SlottedField.parameter(1)
    with pytest.raises(AttributeError):
        p.c = 3
    p.a = 5
    await p.push()
    assert await p.ref.both().result() == (5, 2)
    await p.ref.set_attr("b", 9)
    await p.pull()
    assert p.both() == (5, 9)
    assert await Echo.remote().call(p.ref, "both").result() == (5, 9)


async def test_subclasses(runtime):
    @mosaic.tessera
    class Special(Derived):
        def double(self):
            return super().double() + 1

    p = Special.parameter(own=2)
    assert isinstance(p, Special)
    assert p.double(propagate=True) == 5
    assert await p.pull("own") == 4


async def test_copies_and_pickles_are_tied_to_the_same_root(runtime):
    p = Field.parameter([1])
    p.value.append(2)
    for made in (copy.copy(p), copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        assert isinstance(made, Field)
        assert made is not p
        assert made.value == [1, 2]
        assert made.uid == p.uid
        await made.push("value")
        assert await p.ref.value == [1, 2]
    assert copy.copy(p).value is p.value
    assert copy.deepcopy(p).value is not p.value


@pytest.mark.parametrize("cls", [Stateful, REDUCED], ids=["state", "reduce"])
async def test_classes_that_pickle_in_their_own_way(runtime, cls):
    p = cls.parameter(3)
    p.n = 4
    back = await Echo.remote().back(p).result()
    assert isinstance(back, cls)
    assert isinstance(back, ParameterMixin)
    assert (back.n, back.uid) == (4, p.uid)
    await p.push("n")
    assert await p.ref.n == 4


async def test_a_state_of_the_classs_own_is_pushed_and_pulled(runtime):
    p = Stateful.parameter(3)
    p.n = 5
    await p.push()
    assert await p.ref.n == 5
    assert await p.ref.cache == "rebuilt"
    assert p.cache == "local"
    await p.pull()
    assert p.cache == "rebuilt"


async def test_a_list_of_them(runtime):
    made = Field.parameter(3, len=4, uid="many")
    assert [type(p) for p in made] == [type(made[0])] * 4
    assert [p.uid for p in made] == [f"many-{i}" for i in range(4)]
    made[1].add(1, propagate=True)
    assert [await p.pull("value") for p in made] == [3, 4, 3, 3]


async def test_a_class_of_main_or_a_closure(runtime):
    @mosaic.tessera
    class Local:
        def __init__(self):
            self.x = 1

        def up(self):
            self.x += 1
            return self.x

    p = Local.parameter()
    assert p.up(propagate=True) == 2
    assert await p.pull("x") == 2
    back = await Echo.remote().back(p).result()
    assert isinstance(back, Local)
    assert back.up(propagate=True) == 3
    assert await p.pull("x") == 3


async def test_names_of_mosaics_own_win(runtime):
    @mosaic.tessera
    class Clash:
        def __init__(self):
            self.uid = "mine"
            self.cached = "mine"
            self.log = "mine"

        def _send(self):
            return "my own helper"

        def get(self):
            return "my own get"

    p = Clash.parameter()
    assert p.uid.startswith("tess-clash-")
    assert p.cached is False
    assert p._send() == "my own helper"
    assert await p.get("log") == "mine"


async def test_where_the_root_lives_can_be_said(runtime):
    worker = runtime.workers[1]
    p = Field.parameter(1, runtime=worker)
    await p
    assert p.runtime_id == worker.uid
    assert p.add(1, propagate=True) == 2
    assert await p.pull("value") == 2
    there = Field.parameter(1, runtime="warehouse:0")
    assert (await there).runtime_id == "warehouse:0"


async def test_a_constructor_that_fails_here_raises_here(runtime):
    with pytest.raises(TypeError):
        Field.parameter(1, 2, 3)


async def test_classes_that_cannot_be_parameters_say_so(runtime):
    cls = mosaic.tessera(type("Pair", (tuple,), {"__slots__": ()}))
    with pytest.raises(TypeError, match="Pair cannot have parameters"):
        cls.parameter((1, 2))


# Propagation.


async def test_propagate_runs_in_both_places(runtime):
    p = Field.parameter(1)
    assert p.add(2, propagate=True) == 3
    assert p.add(2, propagate=False) == 5
    assert await p.ref.value == 3


async def test_propagate_a_coroutine(runtime):
    p = Field.parameter()
    assert await p.accumulate_async(2, propagate=True) == 2
    assert await p.ref.grad == 2
    assert await p.accumulate_async(2) == 4
    assert await p.ref.grad == 2


async def test_propagate_a_call_of_the_object(runtime):
    p = Field.parameter()
    p(7, propagate=True)
    assert await p.ref.value == 7


async def test_propagated_calls_keep_their_order(runtime):
    p = Field.parameter([])
    for i in range(50):
        p.add([i], propagate=True)
    assert await p.pull("value") == p.value == list(range(50))


async def test_tasks_are_values_at_the_root(runtime):
    p = Field.parameter(1)
    p.take(Echo.remote().back(5), propagate=True)
    assert await p.pull("value") == 5


def test_in_synchronous_code_the_root_has_changed_when_the_call_returns(runtime):
    p = Field.parameter(1)
    p.add(2, propagate=True)
    assert p.ref.get_attr("value", immediate=True).wait() == 3
    p.set("value", 9).wait()
    assert p.ref.get_attr("value", immediate=True).wait() == 9


def test_in_synchronous_code_a_failure_of_the_root_is_raised(runtime):
    p = Field.parameter("text")
    p.value = 1
    with pytest.raises(TypeError):
        p.add(1, propagate=True)


async def test_what_fails_here_is_not_propagated(runtime):
    p = Field.parameter(1)
    with pytest.raises(TypeError):
        p.add("text", propagate=True)
    await p.ref.set_attr("_value", "text")
    with pytest.raises(TypeError):
        p.add("text", propagate=True)
    assert await p.ref.value == "text"


async def test_a_method_may_have_a_propagate_of_its_own(runtime):
    @mosaic.tessera
    class Own:
        def f(self, propagate="mine"):
            return propagate

    assert Own.parameter().f() == "mine"
    assert Own.parameter().f(propagate=3) == 3


# Set, get, push, pull.


async def test_set_and_get(runtime):
    p = Field.parameter(1)
    assert await p.set("value", 5) is None
    assert p.value == 5
    assert await p.ref.value == 5
    p.set("value", 6)  # need not be awaited
    assert await p.ref.value == 6
    await p.ref.set_attr("value", 7)
    assert await p.get("value") == 7
    assert p.value == 7
    with pytest.raises(AttributeError, match="nonsense"):
        await p.get("nonsense")


@pytest.mark.parametrize("attr", ["name", ["name", "grad"], ("name", "grad"), None], ids=repr)
async def test_push(runtime, attr):
    p = Field.parameter(1)
    p.name, p.grad, p.value = "new", 3, 2
    assert await p.push(attr=attr) is None
    assert await p.ref.name == "new"
    assert await p.ref.grad == (None if attr == "name" else 3)
    assert await p.ref.value == (2 if attr is None else 1)


async def test_pull(runtime):
    p = Field.parameter(1)
    for name, value in (("name", "new"), ("grad", 3), ("value", 2)):
        await p.ref.set_attr(name, value)
    assert await p.pull(attr="name") == "new"
    assert (p.name, p.grad, p.value) == ("new", None, 1)
    assert await p.pull(["name", "grad"]) == ["new", 3]
    assert (p.grad, p.value) == (3, 1)
    assert (await p.pull()) is p
    assert p.value == 2


async def test_what_only_one_side_has_stays(runtime):
    p = Field.parameter(1)
    p.local = "here"
    await p.ref.set_attr("far", "there")
    await p.pull()
    assert (p.local, p.far) == ("here", "there")
    await p.push()
    assert await p.ref.far == "there"


async def test_arrays(runtime):
    p = Field.parameter(np.zeros((100, 100)))
    p.value[3, 4] = 5
    await p.push("value")
    p.value[3, 4] = 6
    array = await p.pull("value")
    assert array[3, 4] == 5
    assert p.value is array
    array[0, 0] = 1  # writable, and nobody else's
    assert (await p.ref.value)[0, 0] == 0


async def test_pushes_of_different_attributes_all_arrive(runtime):
    p = Field.parameter()
    users = [User.remote(), User.remote()]
    await mosaic.gather([users[0].push(p, name="one"), users[1].push(p, grad=5)])
    assert await p.pull(["name", "grad"]) == ["one", 5]


async def test_pushes_of_the_same_attributes_are_never_mixed(runtime):
    p = Field.parameter()
    users = [User.remote(runtime=worker) for worker in runtime.workers for _ in range(2)]

    async def look():
        seen = set()
        for _ in range(100):
            seen.add(tuple(await p.pull(["name", "grad", "_value"])))
        return seen

    pushing = [
        user.push(p, name=i, grad=i, _value=i)
        for i in range(40)
        for user in [users[i % len(users)]]
    ]
    seen = await look()
    await mosaic.gather(pushing)
    assert all(a == b == c for a, b, c in seen - {("field", None, 0)})
    last = await p.pull(["name", "grad", "_value"])
    assert last == await users[0].pull(p, ["name", "grad", "_value"]).result()


async def test_names_must_be_names(runtime):
    with pytest.raises(TypeError, match="no name"):
        await Field.parameter().push([3])
    with pytest.raises(AttributeError, match="nonsense"):
        await Field.parameter().push("nonsense")


# Sent elsewhere.


async def test_sent_it_carries_its_local_state(runtime):
    p = Field.parameter(1)
    p.value = 5
    assert await User.remote().value(p).result() == 5
    assert await p.ref.value == 1


async def test_sent_it_is_tied_to_the_same_root(runtime):
    p = Field.parameter(1)
    described = await User.remote().describe(p).result()
    assert described == (True, True, True, p.uid, "warehouse:0", True)
    assert await User.remote().change(p, 2).result() == 3
    assert p.value == 1
    assert await p.pull("value") == 3


async def test_inside_other_objects(runtime):
    p = Field.parameter(1)
    assert await User.remote().in_a_box({"field": p}).result() == (p.uid, 2)
    assert await p.pull("value") == 2
    stored = await runtime.put([p])
    (back,) = await stored.value()
    assert back.uid == p.uid
    outer = Field.parameter(p)
    assert (await outer.ref.value).uid == p.uid


async def test_made_by_a_worker(runtime):
    (p,) = await User.remote().make(4).result()
    assert p.value == 4
    assert p.runtime_id == "warehouse:0"
    p.add(1, propagate=True)
    assert await p.pull("value") == 5


async def test_the_root_gives_itself_away(runtime):
    p = Field.parameter(1)
    p.add(1, propagate=True)
    back = await p.ref.itself().result()
    assert isinstance(back, ParameterMixin)
    assert (back.uid, back.value) == (p.uid, 2)


async def test_gradients_of_many_workers(runtime):
    p = Field.parameter()
    users = [User.remote(runtime=worker) for worker in runtime.workers]
    await mosaic.gather([users[i % 2].accumulate(p, np.ones(3)) for i in range(20)])
    assert (await p.pull(attr="grad")).tolist() == [20, 20, 20]
    await mosaic.gather([users[i % 2].accumulate_async(p, np.ones(3)) for i in range(20)])
    assert (await p.pull(attr="grad")).tolist() == [40, 40, 40]
    p.set("grad", None)
    assert await p.pull(attr="grad") is None


async def test_a_root_that_waits_for_a_method_which_changes_it(runtime):
    @mosaic.tessera
    class Asking(Field):
        async def ask(self, user, n):
            # The change can only come after this.
            await user.accumulate(self, n)
            return self.grad

    p = Asking.parameter()
    assert await asyncio.wait_for(p.ref.ask(User.remote(), 3).result(), 20) is None
    assert await p.pull("grad") == 3


async def test_in_a_loop_over_items(runtime):
    p = Field.parameter()
    user = User.remote(len=runtime.num_workers)

    @runtime.async_for(range(10))
    async def loop(worker, i):
        await user.accumulate_async(p, i, runtime=worker)

    await loop
    assert await p.pull("grad") == 45


async def test_the_root_lives_as_long_as_somebody_refers_to_it(runtime, log):
    @mosaic.tessera
    class Mortal:
        def __init__(self, log: Log):
            self.log = log
            self.value = 1

        def __del__(self):
            log = self.log
            if self.is_tessera:
                log.add("root gone")

        def hello(self):
            return "hello"

    user = User.remote()
    p = Mortal.parameter(log)
    await user.keep(p)
    root = p.ref
    del p
    gc.collect()
    assert await root.hello().result() == "hello"
    del root
    gc.collect()
    assert (await user.kept)[0].uid
    await user.forget()
    await eventually_async(lambda: "root gone" in log.lines(), "the root is freed")


async def test_a_value_at_the_warehouse_as_an_argument(runtime):
    living = await runtime.exec("for a root", lambda _: [1])
    p = Field.parameter()
    for take in (p.ref.take, lambda x: p.take(x, propagate=True)):
        take(living)
        await runtime.exec("for a root", lambda old: [*old, 2] if len(old) > 2 else old)
        await p.ref.value
    await p.ref.value
    append = await runtime.exec("append", lambda _, living: living.append("same"), (living,))
    await append
    assert (await p.ref.value)[-1] == "same", "the root has the living value"
    user = User.remote()
    assert await user.value(Field.parameter(3)).result() == 3


# cached


async def test_cached_ones_come_without_their_state(runtime):
    p = Field.parameter(1, cached=True)
    user = User.remote()
    assert p.cached is True
    assert await user.value(p).result() == 1
    p.value = 5
    assert await user.value(p).result() == 1
    await p.push()
    assert await user.value(p).result() == 5
    assert await user.value_async(p).result() == 5


async def test_cached_ones_are_refreshed_by_publish(runtime):
    p = Field.parameter(1, cached=True)
    user = User.remote()
    await p
    p.add(1, propagate=True)
    await p.publish()
    assert await user.value(p).result() == 2
    p.value = 7
    await p.push("value", publish=True)
    assert await user.value(p).result() == 7


async def test_cached_ones_are_tied_and_their_own(runtime):
    p = Field.parameter([1], cached=True)
    user = User.remote()
    assert await user.change(p, [2]).result() == [1, 2]
    assert await p.pull("value") == [1, 2]
    described = await user.describe(p).result()
    assert described == (True, True, True, p.uid, "warehouse:0", True)
    back = await Echo.remote().back(p).result()
    assert back.cached is True
    assert (await Echo.remote().back([p]).result())[0].uid == p.uid
    # A copy made here is one of the local state.
    assert copy.copy(p).value == [1, 2]


async def test_a_cached_one_that_comes_to_the_warehouse(runtime):
    p = Field.parameter(3, cached=True)
    q = Field.parameter()
    q.take(p, propagate=True)
    assert (await q.ref.value).uid == p.uid
    value = await runtime.exec("cached", lambda _, field: field.value, (p,))
    assert await value.value() == 3


async def test_a_cached_one_while_the_root_is_busy(runtime, flag):
    @mosaic.tessera
    class Busy:
        def __init__(self):
            self.value = 1

        async def pass_on(self, user):
            return await user.value(self).result()

        async def until(self, started, release):
            started.set()
            await release.wait_async()

    p = Busy.parameter(cached=True)
    user = User.remote()
    started, release = flag("started"), flag("release")
    running = p.ref.until(started, release)
    await started.wait_async()
    assert await asyncio.wait_for(user.value(p).result(), 20) == 1
    release.set()
    await running
    assert await asyncio.wait_for(p.ref.pass_on(user).result(), 20) == 1


# make_parameter


async def test_of_a_proxy(runtime):
    counter = Counter.remote(5)
    p = await counter.make_parameter()
    assert isinstance(p, Counter)
    assert isinstance(p, ParameterMixin)
    assert p.uid == counter.uid
    assert p.count == 5
    assert p.add(2, propagate=True) == 7
    assert await counter.value().result() == 7
    await counter.add(1)
    assert await p.pull("count") == 8
    p.count = 20
    await p.push("count")
    assert await counter.value().result() == 20


async def test_of_a_proxy_with_arguments(runtime):
    counter = Counter.remote(5)
    p = counter.make_parameter(1)
    assert p.count == 1
    assert await p.pull("count") == 5


def test_of_a_proxy_in_synchronous_code(runtime):
    p = Counter.remote(5).make_parameter()
    assert p.count == 5


async def test_of_a_proxy_cached(runtime):
    field = Field.remote(5)
    p = await field.make_parameter(cached=True)
    user = User.remote()
    assert await user.value(p).result() == 5
    p.value = 6
    await p.push()
    assert await user.value(p).result() == 6


async def test_of_an_array(runtime):
    array = Counter.remote(5, len=3)
    made = array.make_parameter()
    assert isinstance(made, list)
    for p in made:
        await p
    made[2].add(1, propagate=True)
    assert await array.value().result() == [5, 5, 6]


async def test_of_a_hosted_tessera(runtime):
    hosted = Counter.local(5)
    p = hosted.make_parameter()
    assert p.count == 5
    p.add(1)
    assert hosted.obj.count == 5
    await p.push("count")
    assert hosted.obj.count == 6
    assert Counter.local(5).make_parameter(3).count == 3


# local_parameter


async def test_a_local_root(runtime):
    p = Field.local_parameter(4)
    assert isinstance(p, Field)
    assert isinstance(p, ParameterMixin)
    assert (p.is_tessera, p.is_proxy, p.has_tessera) == (True, False, True)
    assert p.runtime_id == "head"
    assert p.add(1, propagate=True) == 5, "once"
    await p.push()
    assert await p.pull("value") == 5
    assert await p.get("value") == 5
    await p.set("value", 6)
    assert (await p) is p
    user = User.remote()
    assert await user.change(p, 2).result() == 8
    assert p.value == 8, "others change this very object"
    back = await Echo.remote().back(p).result()
    assert back.is_proxy
    assert back.uid == p.uid


async def test_a_local_root_in_a_worker(runtime):
    @mosaic.tessera
    class Maker:
        async def make(self):
            self.field = Field.local_parameter(1)
            return [self.field]

        async def value(self):
            return self.field.value

    maker = Maker.remote()
    (p,) = await maker.make().result()
    assert p.runtime_id == maker.runtime_id
    p.add(4, propagate=True)
    await p.pull()
    assert await maker.value().result() == 5


@pytest.mark.parametrize("cycle", [False, True])
async def test_a_local_root_outlives_its_maker_and_is_freed(runtime, log, cycle):
    @mosaic.tessera
    class Mortal:
        def __init__(self, log):
            self.log = log
            self.value = 1

        def __del__(self):
            self.log.add("gone")

    p = Mortal.local_parameter(log)
    user = User.remote()
    await user.keep(p.ref.make_parameter(Log(os.devnull)))
    if cycle:
        p.itself = p
    del p
    gc.collect()
    (kept,) = await user.kept
    assert await kept.pull("value") == 1
    assert log.lines() == []
    del kept
    await user.forget()

    def freed():
        gc.collect()
        return log.lines() == ["gone"]

    await eventually_async(freed, "the root is freed")


async def test_in_holders(runtime):
    p = Field.parameter(2)
    holder = Holder.remote(p)
    del p
    gc.collect()
    back = await holder.give(0).result()
    assert back.add(1, propagate=True) == 3
    assert await back.pull("value") == 3
