"""Values of numbers, arrays and containers arrive as they were.

Types, layout, bits, and which parts are the same object.
"""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.actors import Echo

TYPES = [np.dtype(character) for character in "?bBhHiIlLefdgFDG"]
OTHERS = [
    np.dtype(name) for name in (">f8", ">i2", "M8[us]", "m8[s]", "S3", "U2", "V4", "i4,f8", "O")
]


def bits(value):
    """Return what two values have in common if no difference between them can be seen."""
    if isinstance(value, np.ndarray):
        if not value.flags.forc:
            # Only what it is, not what it is cut from, goes along.
            value = value.copy()
        flags = (value.flags.c_contiguous, value.flags.f_contiguous, value.flags.aligned)
        content = value.tolist() if value.dtype.hasobject else value.tobytes("A")
        return value.dtype, value.shape, flags, content, dict(value.dtype.metadata or {})
    if isinstance(value, np.generic):
        return type(value), value.dtype, value.tobytes()
    if isinstance(value, float) and math.isnan(value):
        return float, "nan"
    if isinstance(value, dict):
        return dict, [(bits(key), bits(one)) for key, one in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [bits(one) for one in value]
    return type(value), value


def objects(value, found=None):
    """Return for each list, dictionary and array in a value, in order, which of the earlier ones it is."""
    found = [] if found is None else found
    if isinstance(value, (list, dict, np.ndarray)):
        found.append(id(value))
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, (list, tuple, type({}.values()))):
        for one in value:
            objects(one, found)
    return [found.index(one) for one in found]


def array(dtype, shape, order, seed):
    """Make an array of noise, every third element in memory left out where the order is neither."""
    count = math.prod(shape)
    noise = np.random.default_rng(seed).integers(0, 100, count)
    made = noise.astype(dtype) if dtype.kind != "V" else np.zeros(count, dtype)
    if order == "strided":
        wide = np.zeros((*shape, 3), dtype)
        wide[..., 0] = made.reshape(shape)
        return wide[..., 0]
    return made.reshape(shape).copy(order)


shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple) | st.just((400, 60))
arrays = st.builds(
    array,
    st.sampled_from(TYPES),
    shapes,
    st.sampled_from(["C", "F", "strided"]),
    st.integers(0, 9),
) | st.builds(
    array, st.sampled_from(OTHERS), shapes, st.sampled_from(["C", "F"]), st.integers(0, 9)
)
scalars = st.builds(
    lambda dtype, value: dtype.type(value), st.sampled_from(TYPES), st.integers(0, 9)
)
leaves = st.none() | st.integers() | st.floats() | st.text(max_size=3) | scalars | arrays
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.lists(inner, min_size=1, max_size=2).map(lambda some: some * 2)
        | st.dictionaries(st.text(max_size=2) | st.integers(), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(values)
def test_values_come_back_as_they_were(echo, value):
    (positional,), keyword = echo.everything(value, named=value).wait()
    assert bits(positional) == bits(value)
    assert positional is keyword["named"] or not isinstance(value, (list, dict, np.ndarray))
    back = echo.back(value).wait()
    assert bits(back) == bits(value)
    assert objects(back) == objects(value)


@pytest.fixture
def echo(runtime):
    return Echo.remote()


@pytest.mark.parametrize("count", [3, 1000])
def test_many_arrays_in_one_value(echo, count):
    value = [np.full(5, index) for index in range(count)]
    back = echo.back(value).wait()
    assert [one[0] for one in back] == list(range(count))


def test_what_a_program_has_noted_at_a_type_goes_along(echo):
    noted = np.zeros(3, np.dtype("f8", metadata={"unit": "m/s"}))
    assert echo.back(noted).wait().dtype.metadata == {"unit": "m/s"}


@pytest.mark.parametrize("length", [0, 3, 1 << 17])
def test_arrays_that_arrive_may_be_changed_each_alone(echo, length):
    given = np.zeros(length)
    one, two = echo.back([given, given.copy()]).wait()
    one[...] = 1
    assert (two == 0).all()
    assert (given == 0).all()


async def test_an_array_that_is_a_result_can_be_changed_where_it_is(echo):
    task = echo.back(np.zeros(3))
    await task.remote.fill(2.0)
    assert await task.remote.sum().result() == 6.0
