"""Parameters: local objects tied to a root at the warehouse."""

import copy
import pickle

import numpy as np
import pytest

import mosaic
from mosaic.core import ParameterMixin, TesseraProxy, base
from tests.support.actors import Echo
from tests.support.fields import Field, User

pytestmark = pytest.mark.usefixtures("warehouse")


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


# What a parameter is.


async def test_it_is_an_instance_of_its_class_and_a_parameter(runtime):
    p = Field.parameter(5, name="p")
    assert isinstance(p, Field)
    assert isinstance(p, ParameterMixin)
    assert not isinstance(p, base.Base)
    assert p.__class__ is Field
    assert (p.value, p.name) == (5, "p")
    assert p.has_tessera is True
    assert p.is_proxy is True
    assert p.is_tessera is False
    assert p.cached is False
    assert hasattr(p, "_tessera")
    assert isinstance(p._tessera, TesseraProxy)
    assert p._tessera.is_parameter is True
    assert p.ref.uid == p._tessera.uid
    assert (await p) is p
    assert p._tessera.runtime_id == "warehouse:0"


async def test_plain_instances_and_tesserae_answer_too(runtime):
    plain = Field(1)
    assert (plain.has_tessera, plain.is_tessera, plain.is_proxy) == (False, False, False)
    assert not hasattr(plain, "_tessera")
    assert not isinstance(plain, ParameterMixin)
    proxy = Field.remote(1)
    assert (hasattr(proxy, "has_tessera"), proxy.is_proxy) == (False, True)
    about = await proxy.about_itself().result()
    assert about["hosted"] is True
    assert about["has"] is about["tessera"] is about["proxy"] is about["mixin"] is False


async def test_the_root_knows_where_and_what_it_is(runtime):
    about = await Field.parameter()._tessera.about_itself().result()
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
    assert await p._tessera.own == 3
    assert await p._tessera.base == 4
    assert p._tessera.uid == "chosen"


async def test_local_work_is_local(runtime):
    p = Field.parameter(1)
    assert p.add(4) == 5
    p.value = 7
    assert p(8) is p
    assert await p._tessera.value == 1


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
    assert await p._tessera.both().result() == (5, 2)
    await p._tessera.set_attr("b", 9)
    await p.pull()
    assert p.both() == (5, 9)
    assert await Echo.remote().call(p._tessera, "both").result() == (5, 9)


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
        assert made._tessera.uid == p._tessera.uid
        await made.push("value")
        assert await p._tessera.value == [1, 2]
    assert copy.copy(p).value is p.value
    assert copy.deepcopy(p).value is not p.value


@pytest.mark.parametrize("cls", [Stateful, REDUCED], ids=["state", "reduce"])
async def test_classes_that_pickle_in_their_own_way(runtime, cls):
    p = cls.parameter(3)
    p.n = 4
    back = await Echo.remote().back(p).result()
    assert isinstance(back, cls)
    assert isinstance(back, ParameterMixin)
    assert (back.n, back._tessera.uid) == (4, p._tessera.uid)
    await p.push("n")
    assert await p._tessera.n == 4


async def test_a_state_of_the_classs_own_is_pushed_and_pulled(runtime):
    p = Stateful.parameter(3)
    p.n = 5
    await p.push()
    assert await p._tessera.n == 5
    assert await p._tessera.cache == "rebuilt"
    assert p.cache == "local"
    await p.pull()
    assert p.cache == "rebuilt"


async def test_a_list_of_them(runtime):
    made = Field.parameter(3, len=4, uid="many")
    assert [type(p) for p in made] == [type(made[0])] * 4
    assert [p._tessera.uid for p in made] == [f"many-{i}" for i in range(4)]
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
    class Clash:
        def __init__(self):
            self.cached = "mine"
            self.log = "mine"

        def _send(self):
            return "my own helper"

        def get(self):
            return "my own get"

    with pytest.warns(UserWarning, match=r"hide _send.*proxy\['_send'\]"):
        mosaic.tessera(Clash)
    p = Clash.parameter()
    assert await p._tessera["_send"]().result() == "my own helper"
    assert p.cached is False
    assert p._send() == "my own helper"
    assert await p.get("log") == "mine"


async def test_where_the_root_lives_can_be_said(runtime):
    worker = runtime.workers[1]
    p = Field.parameter(1, runtime=worker)
    await p
    assert p._tessera.runtime_id == worker.uid
    assert p.add(1, propagate=True) == 2
    assert await p.pull("value") == 2
    there = Field.parameter(1, runtime="warehouse:0")
    assert (await there)._tessera.runtime_id == "warehouse:0"


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
    assert await p._tessera.value == 3


async def test_propagate_a_coroutine(runtime):
    p = Field.parameter()
    assert await p.accumulate_async(2, propagate=True) == 2
    assert await p._tessera.grad == 2
    assert await p.accumulate_async(2) == 4
    assert await p._tessera.grad == 2


async def test_propagate_a_call_of_the_object(runtime):
    p = Field.parameter()
    p(7, propagate=True)
    assert await p._tessera.value == 7


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
    assert p._tessera.get_attr("value", immediate=True).wait() == 3
    p.set("value", 9).wait()
    assert p._tessera.get_attr("value", immediate=True).wait() == 9


def test_in_synchronous_code_a_failure_of_the_root_is_raised(runtime):
    p = Field.parameter("text")
    p.value = 1
    with pytest.raises(TypeError):
        p.add(1, propagate=True)


async def test_what_fails_here_is_not_propagated(runtime):
    p = Field.parameter(1)
    with pytest.raises(TypeError):
        p.add("text", propagate=True)
    await p._tessera.set_attr("_value", "text")
    with pytest.raises(TypeError):
        p.add("text", propagate=True)
    assert await p._tessera.value == "text"


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
    assert await p._tessera.value == 5
    p.set("value", 6)  # need not be awaited
    assert await p._tessera.value == 6
    await p._tessera.set_attr("value", 7)
    assert await p.get("value") == 7
    assert p.value == 7
    with pytest.raises(AttributeError, match="nonsense"):
        await p.get("nonsense")


@pytest.mark.parametrize("attr", ["name", ["name", "grad"], ("name", "grad"), None], ids=repr)
async def test_push(runtime, attr):
    p = Field.parameter(1)
    p.name, p.grad, p.value = "new", 3, 2
    assert await p.push(attr=attr) is None
    assert await p._tessera.name == "new"
    assert await p._tessera.grad == (None if attr == "name" else 3)
    assert await p._tessera.value == (2 if attr is None else 1)


async def test_pull(runtime):
    p = Field.parameter(1)
    for name, value in (("name", "new"), ("grad", 3), ("value", 2)):
        await p._tessera.set_attr(name, value)
    assert await p.pull(attr="name") == "new"
    assert (p.name, p.grad, p.value) == ("new", None, 1)
    assert await p.pull(["name", "grad"]) == ["new", 3]
    assert (p.grad, p.value) == (3, 1)
    assert (await p.pull()) is p
    assert p.value == 2


async def test_what_only_one_side_has_stays(runtime):
    p = Field.parameter(1)
    p.local = "here"
    await p._tessera.set_attr("far", "there")
    await p.pull()
    assert (p.local, p.far) == ("here", "there")
    await p.push()
    assert await p._tessera.far == "there"


async def test_arrays(runtime):
    p = Field.parameter(np.zeros((100, 100)))
    p.value[3, 4] = 5
    await p.push("value")
    p.value[3, 4] = 6
    array = await p.pull("value")
    assert array[3, 4] == 5
    assert p.value is array
    array[0, 0] = 1  # writable, and nobody else's
    assert (await p._tessera.value)[0, 0] == 0


async def test_pushes_of_different_attributes_all_arrive(runtime):
    p = Field.parameter()
    users = [User.remote(), User.remote()]
    await mosaic.gather([users[0].push(p, name="one"), users[1].push(p, grad=5)])
    assert await p.pull(["name", "grad"]) == ["one", 5]


async def test_param_2_pushes_of_the_same_attributes_are_never_mixed(runtime):
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
