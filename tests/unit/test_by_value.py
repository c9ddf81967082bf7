"""Classes and functions that travel by value: what is remembered, what is made anew, where they stay as they are."""

import enum
import functools
import threading
import types
import typing
import weakref

import pytest

from mosaic.core import PickleClass
from mosaic.serialise import by_value, classes
from mosaic.serialise.codec import deserialise, serialise


def again(value):
    return deserialise(*serialise(value))


def in_main(source, **names):
    """Run code as a script's; return its names."""
    space = {"__name__": "__main__", "functools": functools, "threading": threading} | names
    exec(compile(source, "/nowhere/script.py", "exec"), space)
    return space


def token_of(cls):
    serialise(cls)
    return classes._entries[cls].token


def test_code_keeps_its_file_and_lines():
    space = in_main("\n\ndef outer(x):\n    def inner():\n        return 1 // x\n    return inner")
    code, back = space["outer"].__code__, again(space["outer"]).__code__
    assert back == code
    assert (back.co_filename, back.co_firstlineno) == ("/nowhere/script.py", 3)
    assert list(back.co_positions()) == list(code.co_positions())
    inner = next(part for part in back.co_consts if isinstance(part, types.CodeType))
    assert inner.co_filename == "/nowhere/script.py"
    assert inner.co_qualname == "outer.<locals>.inner"


def test_pickle_class_keeps_the_file_of_code_too():
    wrapped = again(PickleClass(sample))
    assert wrapped.cls is not sample
    assert wrapped.cls.__code__.co_filename == __file__


def sample():
    return 1


class Shot(typing.NamedTuple):
    index: int


HELD = [
    "@functools.cached_property\n    def x(self): return 1",
    "@functools.lru_cache\n    def x(self): return x",
    "x = functools.partialmethod(max, 1)",
    "@functools.singledispatchmethod\n    def x(self, y): return 1",
    "x = threading.Lock(), threading.RLock()",
    "x = threading.Event()",
    "def x(self): return held, y()\nheld = functools.singledispatch(lambda a: 1)\n@functools.cache\ndef y(): return 1",
]


@pytest.mark.parametrize("held", HELD, ids=range(len(HELD)))
def test_a_class_that_holds_this_is_pickled_once(held):
    cls = in_main(f"class Main:\n    {held}")["Main"]
    assert by_value.collect_class(cls, [], set())
    cls.x = None
    assert token_of(cls) == token_of(cls)


def test_a_named_tuple_is_pickled_once():
    cls = in_main("class Main(typing.NamedTuple):\n    a: int = 1", typing=typing)["Main"]
    assert token_of(cls) == token_of(cls)


@pytest.mark.parametrize(
    "change",
    [
        "disp.register(int, len)",
        "Main.kind.dispatcher.register(int, len)",
        "event.set()",
        "scale = 3",
        "Main.cached.__wrapped__.__defaults__ = (4,)",
    ],
)
def test_a_class_whose_parts_change_is_pickled_again(change):
    space = in_main(
        """
disp = functools.singledispatch(lambda x: 1)
event = threading.Event()
scale = 2

class Main:
    kind = functools.singledispatchmethod(lambda self, x: 1)

    @functools.lru_cache
    def cached(self, x=3):
        return scale * x

    def use(self):
        return disp(1), event
"""
    )
    cls = space["Main"]
    space["Main"].kind = vars(cls)["kind"]
    before = token_of(cls)
    assert token_of(cls) == before
    if change.startswith("Main.kind"):
        vars(cls)["kind"].dispatcher.register(int, len)
    else:
        exec(change, space)
    assert token_of(cls) != before


class Registry:
    """Not to be remembered: it may change unseen."""


def test_a_class_that_comes_back_stays_as_it_is():
    class Main:
        shared = Registry()
        count = 1

    body = serialise(Main())
    assert Main not in classes._entries
    shared, Main.count = Main.shared, 2
    assert type(deserialise(*body)) is Main
    assert (Main.shared, Main.count) == (shared, 2)


def test_locks_come_back_as_they_are():
    lock, done = threading.Lock(), threading.Event()

    def use():
        with lock:
            return lock, done

    assert again(use)() == (lock, done)


def test_locks_elsewhere_than_in_classes_and_functions_are_refused():
    function = lambda: 1  # noqa: E731 - what is sent with it goes the way of functions
    for value in (threading.Lock(), [threading.RLock()], {"a": threading.Event()}):
        with pytest.raises(TypeError, match="cannot pickle"):
            serialise((function, value))


def test_locks_are_not_kept_for_their_pickles():
    def make():
        lock = threading.Lock()
        return serialise(lambda: lock), weakref.ref(lock)

    body, gone = make()
    assert gone() is None
    assert deserialise(*body)().acquire(blocking=False)


def test_type_variables_keep_their_identity_and_bounds():
    variable = typing.TypeVar("variable", bound=int)
    variable.__module__ = "__main__"
    assert again([variable, variable]) == [variable, variable]
    assert again(typing.Any) is typing.Any
    assert again(typing.AnyStr) is typing.AnyStr


def test_the_error_names_a_member_far_inside():
    class Deep:
        def __init__(self):
            self.parts = [{"lock": threading.Lock()}]

    deep = Deep()

    def use():
        return deep

    with pytest.raises(TypeError) as info:
        serialise(use)
    name = "test_the_error_names_a_member_far_inside.<locals>."
    assert str(info.value) == (
        "cannot pickle '_thread.lock' object: item 'lock', in item 0, in attribute 'parts' of an object of class "
        f"{name}Deep, in variable 'deep' of function {name}use"
    )


def test_the_error_of_an_own_reduce_keeps_its_message():
    class Refuses:
        def __reduce__(self):
            raise ValueError("not this one")

    refused = Refuses()
    with pytest.raises(ValueError, match="not this one") as info:
        serialise(lambda: refused)
    assert info.value.args == ("not this one",)
    assert "variable 'refused' of function" in info.value.__notes__[0]


class Medium(enum.Enum):
    WATER = 1500, 1000

    def __init__(self, speed, density):
        self.speed = speed


def test_named_tuples_and_enumerations_by_value_are_whole():
    for kind in (Shot, Medium):
        assert again(PickleClass(kind)).cls.__name__ == kind.__name__
