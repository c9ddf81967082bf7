"""The core's `reduce`: what it computes for each type, and what it refuses."""

import numpy as np
import pytest

from mosaic import _core
from mosaic.runtime.reduction import OPERATIONS

INTEGERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]
FLOATS = ["f4", "f8"]
COMPLEX = ["c8", "c16"]
UFUNCS = {"sum": np.add, "prod": np.multiply, "min": np.minimum, "max": np.maximum, "mean": np.add}


def operands(dtype, count=5, length=5000):
    random = np.random.default_rng(1)
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        return list(random.integers(limits.min, limits.max, (count, length), dtype, endpoint=True))
    values = random.standard_normal((count, length)) * 10.0 ** random.integers(-3, 4, (count, 1))
    if np.dtype(dtype).kind == "c":
        values = values + 1j * random.standard_normal((count, length))
    return list(values.astype(dtype))


def numpys(op, arrays):
    """NumPy's answer, one array after the other."""
    if op == "mean" and arrays[0].dtype.kind in "iu":
        arrays = [array.astype(float) for array in arrays]
    result = arrays[0].copy()
    for array in arrays[1:]:
        UFUNCS[op](result, array, out=result)
    return result / arrays[0].dtype.type(len(arrays)) if op == "mean" else result


def reduce(op, arrays):
    double = op == "mean" and arrays[0].dtype.kind in "iu"
    out = np.zeros_like(arrays[0], dtype=float if double else None)
    _core.reduce(arrays, op, out)
    return out


@pytest.mark.parametrize("op", OPERATIONS)
@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
def test_real_numbers_bit_by_bit(op, dtype):
    arrays = operands(dtype)
    expected = numpys(op, arrays)
    found = reduce(op, arrays)
    assert found.dtype == expected.dtype
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("op", ["sum", "prod", "mean"])
@pytest.mark.parametrize("dtype", COMPLEX)
def test_complex_numbers(op, dtype):
    arrays = operands(dtype)
    np.testing.assert_allclose(
        reduce(op, arrays), numpys(op, arrays), rtol=20 * np.finfo(dtype).eps
    )


@pytest.mark.parametrize("dtype", ["g", "G", "?", "f2", "m8[s]", "S4", "O"])
def test_other_types_are_refused(dtype):
    array = np.zeros(3, dtype=dtype)
    with pytest.raises((BufferError, ValueError)):
        _core.reduce([array, array.copy()], "sum", array.copy())


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("op", ["min", "max", "median"])
def test_operations_that_a_type_does_not_have(op, dtype):
    array = np.zeros(3, dtype=dtype)
    with pytest.raises(ValueError, match=op):
        _core.reduce([array], op, array.copy())


A = np.arange(8.0)
READ_ONLY = A.copy()
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("arrays", "out"),
    [
        ([], A.copy()),
        ([A, A[:7]], A.copy()),
        ([A, A.astype("f4")], A.copy()),
        ([A], np.zeros(7)),
        ([A], np.zeros(8, "f4")),
        ([A], READ_ONLY),
        ([A], A),
        ([A[1:]], A[:7]),
        ([A[::2]], np.zeros(4)),
        ([A.reshape(2, 4)], np.zeros(8)),
        ([np.frombuffer(bytes(65), "u1")[1:].view("f8")], np.zeros(8)),
        ([A.astype(">f8")], np.zeros(8)),
    ],
    ids=[
        "none",
        "lengths",
        "types",
        "short_out",
        "type_of_out",
        "read_only_out",
        "out_is_an_operand",
        "out_overlaps",
        "strided",
        "not_flat",
        "not_aligned",
        "other_byte_order",
    ],
)
def test_what_does_not_fit_is_refused(arrays, out):
    before = out.copy()
    with pytest.raises((ValueError, BufferError)):
        _core.reduce(arrays, "sum", out)
    np.testing.assert_array_equal(out, before)


def test_the_mean_of_integers_needs_doubles():
    array = np.arange(4)
    with pytest.raises(ValueError, match="F64"):
        _core.reduce([array], "mean", np.zeros(4, int))


def test_empty_arrays():
    _core.reduce([np.zeros(0), np.zeros(0)], "sum", np.zeros(0))
