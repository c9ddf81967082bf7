"""Values to bytes and back."""

import enum
import pickle
import subprocess
import sys
import types
from collections import OrderedDict, namedtuple
from fractions import Fraction

import numpy as np
import pytest

import mosaic
from mosaic.serialise import classes, preload
from mosaic.serialise.codec import IN_BAND_LIMIT, deserialise, dumps, serialise

Point = namedtuple("Point", "x y")


class Level(enum.IntEnum):
    LOW = 1


def again(value):
    return deserialise(*serialise(value))


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        "a",
        (1, [2, {"b": {3}}]),
        Point(1, 2),
        Level.LOW,
        range(3),
        ValueError("x", 1),
        len,
        np.sin,
        int,
    ],
    ids=str,
)
def test_values_come_back_as_they_were(value):
    back = again(value)
    assert type(back) is type(value)
    assert str(back) == str(value)


def test_aliases_stay_aliases():
    inner = [1]
    array = np.arange(5000)
    function = lambda: inner  # noqa: E731 - it is lambdas that are tested
    a, b, c, d, f = again((inner, inner, array, array, function))
    assert a is b
    assert c is d
    assert f() is a


def test_large_arrays_go_out_of_band_and_small_ones_do_not():
    small, large = np.arange(IN_BAND_LIMIT // 8 - 1), np.arange(IN_BAND_LIMIT // 8)
    body, buffers = serialise([small, large])
    assert [memoryview(buffer).nbytes for buffer in buffers] == [large.nbytes]
    assert len(body) < small.nbytes + 500
    np.testing.assert_array_equal(deserialise(body, buffers)[0], small)


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_any_order(order):
    array = np.asarray(np.arange(10_000.0).reshape(100, 100), order=order)
    back = again(array)
    np.testing.assert_array_equal(back, array)
    np.testing.assert_array_equal(again(array[::2, ::3]), array[::2, ::3])


def test_lambdas_and_closures_go_by_value():
    scale = 3
    assert again(lambda x: scale * x)(2) == 6


def test_what_cannot_be_pickled_says_so():
    with pytest.raises(TypeError):
        serialise(sys._getframe())
    with pytest.raises(ZeroDivisionError):
        serialise(Refuses())


class Refuses:
    def __reduce__(self):
        raise ZeroDivisionError


def test_one_piece():
    assert pickle.loads(dumps(np.arange(5000))).sum() == sum(range(5000))


def make_class(scale, factor=lambda x: x):
    class Local:
        sign = 1

        def __init__(self, value):
            self.value = value

        def scaled(self):
            return self.sign * scale * factor(self.value)

    return Local


def test_a_class_by_value_is_pickled_once():
    cls = make_class(2)
    first, _ = serialise(cls)
    second, _ = serialise((cls, 1))
    token = classes._entries[cls].token
    assert token.encode() in first
    assert token.encode() in second


def test_a_changed_class_is_pickled_anew():
    cls = make_class(2)
    serialise(cls)
    token = classes._entries[cls].token
    cls.sign = -1
    body, _ = serialise(cls)
    assert token.encode() not in body


def test_a_changed_global_is_seen(monkeypatch):
    space = {"__name__": "__main__", "SCALE": 2}
    exec("class Main:\n    def f(self): return SCALE", space)
    serialise(space["Main"])
    token = classes._entries[space["Main"]].token
    space["SCALE"] = 3
    body, _ = serialise(space["Main"])
    assert token.encode() not in body


def test_what_may_change_in_place_is_not_remembered():
    cls = make_class(2)
    cls.shared = types.SimpleNamespace(a=1)
    assert again(cls).shared.a == 1
    assert cls not in classes._entries


def test_classes_that_refer_to_each_other():
    space = {"__name__": "__main__"}
    exec(
        "class A:\n    def b(self): return B\n\nclass B(A):\n    def __init__(self): super().__init__()\n"
        "    def a(self): return A",
        space,
    )
    assert again(space["B"]().b()) is space["B"]


SENDER = """
import sys
class Main:
    count = 0
    def __init__(self, x): self.x = x
    def double(self): return 2 * self.x
from mosaic.serialise.codec import serialise
sys.stdout.buffer.write(serialise([Main(4), Main])[0])
"""

RECEIVER = """
import sys
from mosaic.serialise.codec import deserialise, serialise
obj, cls = deserialise(sys.stdin.buffer.read(), [])
assert type(obj) is cls and obj.double() == 8, obj
cls.count = 5
one, two = serialise(cls)[0], serialise(cls)[0]
assert one == two and deserialise(one, []) is cls
"""


def test_classes_of_main_work_elsewhere():
    body = subprocess.run([sys.executable, "-c", SENDER], capture_output=True, check=True).stdout
    subprocess.run([sys.executable, "-c", RECEIVER], input=body, check=True)


def test_a_pickle_names_the_packages_it_needs_and_no_others():
    for value in (1, {"a": [Fraction(1, 3)]}, OrderedDict, mosaic.tessera):
        assert serialise(value)[0].endswith(preload.STOP)
    for value in (np.dtype("f8"), np.ones(3), np.iterable, lambda: np.pi, [np.float64(1)]):
        body, buffers = serialise(value)
        # Readers that know nothing of it ignore it.
        assert body.endswith(b"numpy\x05\x00\n")
        assert pickle.loads(body, buffers=buffers) is not None
        assert dumps(value).endswith(b"numpy\x05\x00\n")
