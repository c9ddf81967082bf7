"""Values as arguments and results: they mean elsewhere what pickle says they mean."""

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import pathlib
import re
import threading
import uuid

import pytest

import mosaic
from tests.support.actors import Blocker, Counter, Echo


class Colour(enum.IntEnum):
    RED = 1
    BLUE = 2


class Mode(enum.StrEnum):
    FAST = "fast"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


Point = collections.namedtuple("Point", "x y")


class Table(dict):
    """A subclass of dict with something of its own."""

    title = None


class Text(str):
    __slots__ = ()


class Number(int):
    pass


@dataclasses.dataclass(frozen=True)
class Shot:
    index: int
    position: tuple[float, float] = (0.0, 0.0)


class Node:
    def __init__(self):
        self.other = None


@mosaic.tessera
class Looker:
    """Looks at its arguments where they arrive."""

    def same(self, a, b):
        return a is b

    def types(self, *values):
        return [type(value).__name__ for value in values]

    def inside(self, container, key):
        return type(container[key]).__name__

    def is_cyclic(self, node):
        return node.other.other is node

    def apply(self, f, *args):
        return f(*args)

    def write(self, value):
        value.append("written by the callee")
        return value


PLAIN = [
    None,
    True,
    False,
    0,
    -1,
    2**31,
    -(2**63),
    2**63,
    2**64,
    10**100,
    -(10**100),
    0.0,
    -0.0,
    1.5,
    float("inf"),
    "",
    "Zwölf Boxkämpfer",
    "\x00\U0001f600",
    "x" * 100_000,
    b"",
    b"\x00\xff" * 50_000,
    bytearray(b"abc"),
    (),
    (1,),
    [],
    [1, [2, [3, (4, None)]]],
    {},
    {"a": 1, 2: "b", (3, 4): [5], None: None, 1.5: True},
    {1, 2, 3},
    frozenset("abc"),
    1 + 2j,
    range(3, 30, 4),
    slice(1, None, 2),
    Ellipsis,
    NotImplemented,
    decimal.Decimal("1.10"),
    fractions.Fraction(1, 3),
    datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC),
    datetime.timedelta(days=-1),
    uuid.UUID(int=5),
    pathlib.PurePosixPath("/a/b"),
    re.compile("a+", re.IGNORECASE),
    collections.OrderedDict([("b", 1), ("a", 2)]),
    collections.deque([1, 2], maxlen=5),
    collections.Counter("abba"),
    Colour.BLUE,
    Mode.FAST,
    Access.READ | Access.WRITE,
    Point(1, 2),
    Table(a=1),
    Text("text"),
    Number(5),
    Shot(3, (1.0, 2.0)),
    int,
    Shot,
    len,
]


@pytest.mark.parametrize("value", PLAIN, ids=lambda v: f"{type(v).__name__}-{str(v)[:20]!a}")
def test_values_survive_both_ways(runtime, value):
    echo = Echo.remote()
    back = echo.back(value).wait()
    assert type(back) is type(value)
    assert back == value
    name, text = echo.describe(value).wait()
    assert name == type(value).__name__
    if not isinstance(value, set | frozenset) and value is not len:
        assert text == repr(value)


@pytest.mark.parametrize("value", PLAIN[-14:], ids=lambda v: f"{type(v).__name__}-{str(v)[:20]!a}")
def test_types_inside_containers_survive(runtime, value):
    looker, echo = Looker.remote(), Echo.remote()
    assert looker.inside([value], 0).wait() == type(value).__name__
    assert looker.inside({"k": value}, "k").wait() == type(value).__name__
    (back,) = echo.back((value,)).wait()
    assert type(back) is type(value)
    ((back,),) = echo.back({"k": [value]}).wait().values()
    assert type(back) is type(value)


def test_not_a_number_and_negative_zero(runtime):
    echo = Echo.remote()
    nan = echo.back(float("nan")).wait()
    assert nan != nan  # noqa: PLR0124
    assert str(echo.back(-0.0).wait()) == "-0.0"


def test_keys_of_many_types_stay_apart(runtime):
    value = {1: "int", "1": "str", b"1": "bytes", (1,): "tuple"}
    assert Echo.remote().back(value).wait() == value


def test_dict_order_survives(runtime):
    value = {str(i): i for i in (3, 1, 2)}
    assert list(Echo.remote().back(value).wait()) == ["3", "1", "2"]


def test_subclass_attributes_survive(runtime):
    table = Table(a=1)
    table.title = "speeds"
    back = Echo.remote().back(table).wait()
    assert back == {"a": 1}
    assert back.title == "speeds"


def test_aliases_inside_one_argument(runtime):
    shared = [1]
    back = Echo.remote().back([shared, shared]).wait()
    assert back[0] is back[1]
    back = Echo.remote().back({"a": shared, "b": (shared,)}).wait()
    assert back["a"] is back["b"][0]


def test_aliases_across_arguments(runtime):
    shared = {"a": [1]}
    assert Looker.remote().same(shared, shared).wait() is True
    args, kwargs = Echo.remote().everything(shared, again=shared).wait()
    assert args[0] is kwargs["again"]


def test_equal_but_distinct_values_stay_distinct(runtime):
    assert Looker.remote().same([1], [1]).wait() is False


def test_cycles(runtime):
    one, two = Node(), Node()
    one.other, two.other = two, one
    assert Looker.remote().is_cyclic(one).wait() is True
    back = Echo.remote().back(one).wait()
    assert back.other.other is back
    loop = []
    loop.append(loop)
    back = Echo.remote().back(loop).wait()
    assert back[0] is back


def test_deep_containers(runtime):
    value = None
    for _ in range(200):
        value = [value]
    assert Echo.remote().back(value).wait() == value


def test_many_and_keyword_arguments(runtime):
    args, kwargs = Echo.remote().everything(*range(300), **{f"k{i}": i for i in range(300)}).wait()
    assert args == tuple(range(300))
    assert kwargs == {f"k{i}": i for i in range(300)}


def test_arguments_are_what_they_were_at_the_call(runtime, flag):
    release = flag("release")
    blocker = Blocker.remote()
    value = [1, {"a": [2]}]
    # The second call is queued behind the first and has certainly not been read yet.
    first = blocker.until(flag("started"), release)
    second = blocker.until(flag("second"), release, value)
    value[1]["a"].append("written later")
    value.append("written later")
    release.set()
    first.wait()
    assert second.wait() == [1, {"a": [2]}]


def test_waiting_on_a_task_does_not_unfreeze_arguments(runtime, flag):
    release = flag("release")
    value = bytearray(b"before")
    gate = Blocker.remote().until(flag("started"), release, "gate")
    task = Echo.remote().everything(gate, value)
    value[:] = b"after!"
    release.set()
    assert task.wait()[0] == ("gate", bytearray(b"before"))


def test_callees_writes_are_not_seen_by_the_caller(runtime):
    value = [1]
    back = Looker.remote().write(value).wait()
    assert back == [1, "written by the callee"]
    assert value == [1]


def test_results_are_what_they_were_at_the_return(runtime):
    @mosaic.tessera
    class Keeper:
        def __init__(self):
            self.items = []

        def add(self, item):
            self.items.append(item)
            return self.items

    keeper = Keeper.remote()
    first = keeper.add(1)
    assert keeper.add(2).wait() == [1, 2]
    assert first.wait() == [1]


def test_lambdas_closures_partials_and_bound_methods(runtime):
    looker = Looker.remote()
    offset = 10

    def add(x):
        return x + offset

    assert looker.apply(lambda x: x * 2, 21).wait() == 42
    assert looker.apply(add, 1).wait() == 11
    assert looker.apply(functools.partial(add, 5)).wait() == 15
    assert looker.apply("a-b".split, "-").wait() == ["a", "b"]
    back = Echo.remote().back(lambda: offset).wait()
    assert back() == 10


def test_classes_and_instances_made_in_functions(runtime):
    class Inner:
        def __init__(self, x):
            self.x = x

        def twice(self):
            return self.x * 2

    assert Looker.remote().apply(lambda o: o.twice(), Inner(4)).wait() == 8
    assert Looker.remote().apply(Inner, 3).wait().twice() == 6


def test_exceptions_as_values(runtime):
    back = Echo.remote().back(ValueError("a value", 3)).wait()
    assert type(back) is ValueError
    assert back.args == ("a value", 3)


def test_what_cannot_be_pickled_is_refused_at_the_call(runtime):
    counter = Counter.remote()
    with pytest.raises((TypeError, mosaic.MosaicError), match=r"(?i)lock|pickle"):
        counter.add(threading.Lock()).wait()
    assert counter.add(1).wait() == 1, "the tessera goes on"


def test_a_result_that_cannot_be_pickled_is_an_error_that_says_so(runtime):
    looker = Looker.remote()
    with pytest.raises((TypeError, mosaic.MosaicError), match=r"(?i)lock|pickle"):
        looker.apply(threading.Lock).wait()
    assert looker.apply(int, 3).wait() == 3


def test_an_error_while_unpickling_fails_the_call(runtime):
    echo = Echo.remote()
    with pytest.raises(ZeroDivisionError):
        echo.back(Bomb()).wait()
    assert echo.back(1).wait() == 1


class Bomb:
    """Fails when it is unpickled."""

    def __reduce__(self):
        return (divide, (1, 0))


def divide(a, b):
    return a // b


def test_wrong_arguments_raise_type_error(runtime):
    counter = Counter.remote()
    with pytest.raises(TypeError, match="value"):
        counter.value(1, 2, 3).wait()
    with pytest.raises(TypeError, match="wrong"):
        counter.add(wrong=1).wait()
    assert counter.value().wait() == 0


async def test_proxies_inside_containers_work_where_they_arrive(runtime):
    counter = Counter.remote(1)

    @mosaic.tessera
    class Caller:
        async def through(self, box):
            return await box["nested"][0].add(5).result()

    assert await Caller.remote().through({"nested": [counter]}).result() == 6
    assert await counter.value().result() == 6


async def test_results_with_proxies_inside(runtime):
    counter = Counter.remote(3)
    back = await Echo.remote().back({"c": [counter]}).result()
    assert await back["c"][0].add(1).result() == 4
