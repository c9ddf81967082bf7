"""How much memory there is, and what values take of it."""

import os
import subprocess
import sys

import numpy as np
import pytest

import mosaic
from mosaic.types import Struct
from mosaic.utils import memory_limit, memory_used, remote_sizeof, sizeof


def test_the_memory_of_this_process():
    assert 0 < memory_used() < memory_limit()
    before = memory_used()
    array = np.ones(8_000_000)
    assert memory_used() - before > 0.9 * array.nbytes


def test_the_memory_of_another_process():
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            "data = bytearray(b'x' * 50_000_000); print('made', flush=True); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout.readline() == b"made\n"
        assert 50_000_000 < memory_used(child.pid) < 150_000_000
        child.communicate(b"\n")
    # It has been waited for.
    with pytest.raises(ProcessLookupError, match=f"no process {child.pid}"):
        memory_used(child.pid)
    assert memory_used(os.getpid()) > 1_000_000


class Slotted:
    __slots__ = ("data",)

    def __init__(self, data):
        self.data = data


class Plain(Slotted):
    def __init__(self, data):
        self.other = data


@pytest.mark.parametrize(
    "wrap",
    [
        lambda data: data,
        lambda data: [data],
        lambda data: {"a": (data, {1})},
        lambda data: Struct({"a": {"b": data}}),
        Slotted,
        Plain,
        lambda data: np.array([data, None], dtype=object),
    ],
    ids=["itself", "list", "dict", "Struct", "slots", "attributes", "object array"],
)
def test_values_count_with_what_they_hold(wrap):
    data = np.zeros(100_000)
    assert data.nbytes <= sizeof(wrap(data)) < data.nbytes + 5000


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(1000),
        np.zeros((10, 20), "f4")[::2],
        np.array(1.0),
        np.zeros(0),
        np.zeros(3, "M8[s]"),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_an_array_counts_its_elements(array):
    assert sizeof(array) == array.nbytes
    assert remote_sizeof(array) == array.nbytes
    assert sizeof(array, pending=True) == remote_sizeof(array, pending=True) == array.nbytes
    assert sizeof([array]) == array.nbytes + sys.getsizeof([1])


def test_what_is_shared_or_circular_counts_once():
    data = np.zeros(100_000)
    circle = [data, {"again": data}]
    circle.append(circle)
    assert data.nbytes <= sizeof(circle) < 1.1 * data.nbytes


def test_a_deep_value_is_measured():
    deep = []
    for _ in range(10_000):
        deep = [deep]
    assert sizeof(deep) > 10_000 * sys.getsizeof([1])


def test_what_is_nobodys_counts_nothing():
    assert sizeof([mosaic, Slotted, len, sizeof]) == sys.getsizeof([1, 2, 3, 4])


def test_remote_sizeof_of_what_is_here():
    assert remote_sizeof([np.zeros(1000), {"a": b"x" * 100}]) >= 8100
