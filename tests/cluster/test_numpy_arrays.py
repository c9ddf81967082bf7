"""numpy arrays on the way: dtype, order, shape, size, and who may write."""

import numpy as np
import pytest

import mosaic
from tests.support.actors import Blocker, Echo, Holder

MEGABYTE = 1 << 17  # of float64


@mosaic.tessera
class Solver:
    def __init__(self):
        self.field = np.zeros(1000)

    def facts(self, a):
        return (
            a.dtype.str,
            a.shape,
            a.flags.c_contiguous,
            a.flags.f_contiguous,
            a.flags.writeable,
            a.sum().item() if a.dtype.kind in "biufc" else None,
        )

    def fill(self, a, value):
        a[...] = value
        return a

    def step(self):
        self.field += 1
        return self.field

    def same_memory(self, a, b):
        return bool(np.shares_memory(a, b))


DTYPES = ["?", "i1", "u2", "<i4", ">i4", "u8", "f2", "f4", ">f8", "c8", "c16", "S5", "U3", "M8[ns]"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(runtime, dtype):
    a = np.arange(12).astype(dtype).reshape(3, 4)
    back = Echo.remote().back(a).wait()
    assert back.dtype == a.dtype
    assert back.dtype.str == a.dtype.str
    np.testing.assert_array_equal(back, a)


def test_structured_and_object_dtypes(runtime):
    a = np.zeros(3, dtype=[("x", "f8"), ("n", "i4", (2,))])
    a["x"] = [1, 2, 3]
    back = Echo.remote().back(a).wait()
    assert back.dtype == a.dtype
    np.testing.assert_array_equal(back, a)
    objects = np.array([1, "two", [3]], dtype=object)
    assert list(Echo.remote().back(objects).wait()) == [1, "two", [3]]


@pytest.mark.parametrize("size", [7, MEGABYTE])
@pytest.mark.parametrize("order", ["C", "F"])
def test_orders(runtime, order, size):
    a = np.asarray(np.arange(size * 2.0).reshape(2, size), order=order)
    _, shape, c, f, writeable, total = Solver.remote().facts(a).wait()
    assert shape == (2, size)
    assert (c, f) == (a.flags.c_contiguous, a.flags.f_contiguous)
    assert writeable
    assert total == a.sum()
    back = Echo.remote().back(a).wait()
    assert back.flags.f_contiguous == a.flags.f_contiguous
    np.testing.assert_array_equal(back, a)


@pytest.mark.parametrize(
    "cut",
    [np.s_[::2], np.s_[::-1], np.s_[1:-1, 1:-1], np.s_[:, 3], np.s_[:0]],
    ids=["strided", "reversed", "inner", "column", "empty"],
)
def test_views(runtime, cut):
    a = np.arange(600.0).reshape(20, 30)[cut]
    back = Echo.remote().back(a).wait()
    assert back.shape == a.shape
    np.testing.assert_array_equal(back, a)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1, 1, 1)], ids=str)
def test_small_shapes(runtime, shape):
    a = np.full(shape, 2.5)
    back = Echo.remote().back(a).wait()
    assert back.shape == shape
    assert back.dtype == a.dtype
    np.testing.assert_array_equal(back, a)


def test_scalars_keep_their_types(runtime):
    echo = Echo.remote()
    for scalar in (np.float32(1.5), np.int64(3), np.bool_(True), np.complex128(1j)):
        back = echo.back(scalar).wait()
        assert type(back) is type(scalar)
        assert back == scalar


def test_masked_arrays_and_subclasses(runtime):
    a = np.ma.masked_greater(np.arange(5), 3)
    back = Echo.remote().back(a).wait()
    assert isinstance(back, np.ma.MaskedArray)
    assert back.mask.tolist() == [False, False, False, False, True]
    records = np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])
    assert Echo.remote().back(records).wait().b[0] == 2.0


@pytest.mark.parametrize("size", [10, 5_000, MEGABYTE, 4 * MEGABYTE])
def test_arrays_are_writable_on_arrival(runtime, size):
    a = np.zeros(size)
    back = Solver.remote().fill(a, 3).wait()
    assert back.flags.writeable
    assert (back == 3).all()
    back[:] = 4
    assert (back == 4).all()
    assert not a.any(), "the caller's array is its own"


def test_read_only_arrays_may_be_sent(runtime):
    a = np.arange(MEGABYTE, dtype=float)
    a.flags.writeable = False
    back = Echo.remote().back(a).wait()
    np.testing.assert_array_equal(back, a)


@pytest.mark.parametrize("size", [10, 5_000, MEGABYTE])
def test_arrays_are_what_they_were_at_the_call(runtime, flag, size):
    release = flag("release")
    blocker = Blocker.remote()
    a = np.ones(size)
    first = blocker.until(flag("started"), release)
    second = blocker.until(flag("second"), release, a)
    a[:] = 7
    release.set()
    first.wait()
    assert (second.wait() == 1).all()


@pytest.mark.parametrize("size", [10, MEGABYTE])
def test_one_receivers_writes_are_seen_by_nobody_else(runtime, size):
    a = np.zeros(size)
    source = Echo.remote().back(a)
    solvers = [Solver.remote(runtime=worker) for worker in runtime.workers * 2]
    filled = [solver.fill(source, i) for i, solver in enumerate(solvers)]
    for i, task in enumerate(filled):
        assert (task.wait() == i).all()
    assert not source.wait().any()


def test_results_are_what_they_were_at_the_return(runtime):
    solver = Solver.remote()
    tasks = [solver.step() for _ in range(4)]
    assert [task.wait()[0] for task in tasks] == [1, 2, 3, 4]


def test_aliased_arrays_stay_aliased(runtime):
    a = np.arange(MEGABYTE, dtype=float)
    assert Solver.remote().same_memory(a, a).wait() is True
    one, two = Echo.remote().back([a, a]).wait()
    one[0] = -1
    assert two[0] == -1


async def test_received_arrays_outlive_everything_they_came_from(runtime):
    holder = Holder.remote(np.arange(MEGABYTE, dtype=float))
    task = holder.give(0)
    value = await task.result()
    reference = await runtime.put(value)
    stored = await reference.value()
    await reference.drop()
    await holder.stop()
    del task, holder, reference
    assert value.sum() == stored.sum() == np.arange(MEGABYTE, dtype=float).sum()
    stored[:] = 0
    assert value[1] == 1


def test_large_array_in_containers(runtime):
    value = {"fields": [np.arange(MEGABYTE, dtype="f4"), np.zeros((3, MEGABYTE))], "step": 3}
    back = Echo.remote().back(value).wait()
    assert back["step"] == 3
    for mine, other in zip(value["fields"], back["fields"], strict=True):
        np.testing.assert_array_equal(mine, other)
