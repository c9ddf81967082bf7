"""The sizes of living values: one place knows each of them, and says when the sum changes."""

import numpy as np
import pytest

import mosaic
from mosaic.parameter.derive import parameter_class
from mosaic.warehouse.accounting import MAX_OBJECTS, MemoryAccount, measure


class Plain:
    def __init__(self, **values):
        self.__dict__.update(values)


class Slotted:
    __slots__ = ("array",)

    def __init__(self, array):
        self.array = array


class Hostile:
    @property
    def nbytes(self):
        raise ValueError("not now")


ARRAY = np.zeros(100_000)


@pytest.mark.parametrize(
    ("value", "bytes_"),
    [
        (ARRAY, 800_000),
        (ARRAY[:50_000], 400_000),
        ([ARRAY, ARRAY], 800_000),
        ({"a": ARRAY, ARRAY.shape: [ARRAY[:10]]}, 800_080),
        (Plain(a=ARRAY, b=Plain(c=ARRAY[:10])), 800_080),
        (Slotted(ARRAY), 800_000),
        (bytes(10_000), 10_000),
        (Hostile(), 0),
        (None, 0),
    ],
    ids=repr,
)
def test_arrays_and_the_rest(value, bytes_):
    assert bytes_ <= measure(value) <= bytes_ + 2000


def test_a_parameters_own_state_counts():
    @mosaic.tessera
    class Field:
        def __init__(self):
            self.data = ARRAY

    assert measure(parameter_class(Field)()) >= 800_000


def test_cycles_and_large_collections_end():
    ring = []
    ring.append(ring)
    assert 0 < measure(ring) < 1000
    assert measure(list(range(10 * MAX_OBJECTS))) >= 8 * 10 * MAX_OBJECTS


def test_the_sum_follows_every_change():
    told = []
    account = MemoryAccount()
    account.on_change = told.append
    size = account.keep("a", bytes(1000))
    assert size == account.size("a") == account.total
    account.keep("b", bytes(2000))
    account.keep("b", bytes(1000))
    assert account.total == 2 * size
    account.keep("b", bytes(1000))
    assert told == [size, size + 1000, -1000], "no change is not told"
    account.forget("b")
    account.forget("never kept")
    assert account.total == size
    assert len(account) == 1
