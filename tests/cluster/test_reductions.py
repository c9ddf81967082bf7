"""Reductions of arrays, wherever they are: values, order, `out`, and what is refused."""

import asyncio
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import mosaic
from tests.support.actors import Blocker, Echo

OPS = ["sum", "mean", "min", "max", "prod"]
INTEGERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]
FLOATS = ["f4", "f8"]
COMPLEX = ["c8", "c16"]


@mosaic.tessera
class Source:
    """Makes arrays."""

    def __init__(self, index=0):
        self.index = index

    def make(self, dtype="f4", shape=(3, 5)):
        return make(self.index, dtype, shape)

    def named(self):
        return {"gradient": make(self.index, "f4", (3, 5)), "misfit": 1.5}

    def pair(self):
        return 1.5, make(self.index, "f4", (3, 5))

    def fail(self):
        raise OSError("no array today")


@mosaic.tessera
class Summer:
    """Reduces, in a worker."""

    async def sum(self, tasks):
        return await mosaic.runtime().reduce(tasks)

    async def largest(self, count):
        sources = Source.remote(3, len=count)
        return await sources.make().reduce("max")


def make(index, dtype="f4", shape=(3, 5)):
    random = np.random.default_rng(index)
    if np.dtype(dtype).kind in "iu":
        return random.integers(0, 100, shape, dtype)
    values = random.standard_normal(shape) * 10.0 ** random.integers(-4, 5)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * random.standard_normal(shape)
    return np.asarray(values).astype(dtype)


def numpys(op, arrays):
    """NumPy's answer: one array after the other, in the type of the arrays."""
    function = {"prod": np.multiply, "min": np.minimum, "max": np.maximum}.get(op, np.add)
    if op == "mean" and arrays[0].dtype.kind in "iu":
        arrays = [array.astype("f8") for array in arrays]
    result = arrays[0]
    for array in arrays[1:]:
        result = function(result, array)
    return result / arrays[0].dtype.type(len(arrays)) if op == "mean" else result


def assert_same(found, expected):
    assert type(found) is np.ndarray
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    if found.dtype.kind == "c":
        np.testing.assert_allclose(found, expected, rtol=20 * np.finfo(found.dtype).eps)
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.fixture(scope="module", autouse=True)
def one_thread(runner):
    """Have one thread beside the loop: a pool may grow by another in the middle of a test."""

    async def replace():
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        await asyncio.to_thread(int)

    runner.run(replace())


# Values.


CASES = [
    *itertools.product(OPS, INTEGERS + FLOATS),
    *itertools.product(["sum", "mean", "prod"], COMPLEX),
]


@pytest.mark.parametrize(("op", "dtype"), CASES)
async def test_every_operation_and_type(runtime, op, dtype):
    sources = [Source.remote(i) for i in range(3)]
    found = await runtime.reduce([source.make(dtype) for source in sources], op)
    assert_same(found, numpys(op, [make(i, dtype) for i in range(3)]))
    assert found.flags.writeable


async def test_the_default_is_the_sum(runtime):
    assert_same(await runtime.reduce([make(0), make(1)]), numpys("sum", [make(0), make(1)]))


async def test_large_arrays_on_every_core(runtime):
    shape = (5, 700_001)
    tasks = [Source.remote(i).make("f4", shape) for i in range(4)]
    assert_same(
        await runtime.reduce(tasks, "mean"),
        numpys("mean", [make(i, "f4", shape) for i in range(4)]),
    )


async def test_references_of_every_kind_together(runtime):
    source = Source.remote(7)

    async def later():
        return make(4)

    refs = [
        source.make(),
        source.named().outputs["gradient"],
        source.pair().outputs[1],
        await runtime.put(make(1)),
        runtime.put(make(2)),
        make(3),
        later(),
        Source.remote(5, len=2).make(),
        runtime.submit(make, 6),
    ]
    found = await runtime.reduce(iter(refs))
    assert_same(found, numpys("sum", [make(i) for i in (7, 7, 7, 1, 2, 3, 4, 5, 5, 6)]))


async def test_one_reference_gives_a_copy(runtime):
    array = make(0)
    found = await runtime.reduce([array], "prod")
    assert_same(found, array)
    assert not np.shares_memory(found, array)


async def test_sums_and_products_of_integers_keep_their_type_and_wrap(runtime):
    arrays = [np.array([100, -100], "i1")] * 2
    assert_same(await runtime.reduce(arrays), np.array([-56, 56], "i1"))
    assert_same(await runtime.reduce(arrays, "prod"), np.array([16, 16], "i1"))
    assert_same(await runtime.reduce(arrays, "mean"), np.array([100.0, -100.0]))


async def test_nan_wins_as_in_numpy(runtime):
    rows = np.array(list(itertools.product([np.nan, -1.0, 2.0, np.inf], repeat=3)))
    arrays = [np.ascontiguousarray(column) for column in rows.T]
    for op, function in (("min", np.minimum), ("max", np.maximum)):
        assert_same(await runtime.reduce(arrays, op), function.reduce(arrays))


async def test_operands_stay_as_they_are(runtime):
    task = Source.remote(1).make()
    value = await task.result()
    await runtime.reduce([task, value, value])
    assert_same(value, make(1))
    assert_same(await task.result(), make(1))


# Layouts.


LAYOUTS = {
    "c": np.ascontiguousarray,
    "fortran": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "big_endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "unaligned": lambda a: (
        np.frombuffer(b"x" + a.tobytes(), "u1")[1:].view(a.dtype).reshape(a.shape)
    ),
}


@pytest.mark.parametrize(
    "names", list(itertools.combinations_with_replacement(LAYOUTS, 2)), ids="-".join
)
async def test_layouts(runtime, names):
    arrays = [LAYOUTS[name](make(i)) for i, name in enumerate(names)]
    found = await runtime.reduce(arrays)
    assert_same(found, numpys("sum", [make(0), make(1)]))
    assert found.flags.f_contiguous == (names == ("fortran", "fortran"))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1, 1, 1), (7,)], ids=str)
async def test_shapes(runtime, shape):
    arrays = [make(i, "f8", shape) for i in range(3)]
    assert_same(await runtime.reduce(arrays), np.asarray(numpys("sum", arrays)))


# Order.


async def test_the_order_of_the_references_decides_whatever_arrives_first(runtime, flag):
    arrays = [make(i, "f4", (1000,)) for i in range(4)]
    expected = numpys("sum", arrays)
    other_order = numpys("sum", arrays[::-1])
    assert expected.tobytes() != other_order.tobytes(), "else this test shows nothing"
    blockers = [Blocker.remote() for _ in arrays]
    for number, arrival in enumerate([(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1), (1, 3, 0, 2)]):
        started = [flag(f"started-{number}-{i}") for i in range(4)]
        released = [flag(f"released-{number}-{i}") for i in range(4)]
        tasks = [
            blocker.until_async(*flags, array)
            for blocker, *flags, array in zip(blockers, started, released, arrays, strict=True)
        ]
        reduction = asyncio.ensure_future(runtime.reduce(tasks))
        for i in arrival:
            released[i].set()
            await tasks[i]
        assert (await reduction).tobytes() == expected.tobytes()


async def test_repeated_runs_give_the_same_bits(runtime):
    tasks = [Source.remote(i).make("f4", (1_000_003,)) for i in range(5)]
    found = {(await runtime.reduce(tasks)).tobytes() for _ in range(5)}
    assert len(found) == 1


# The loop goes on.


async def test_the_loop_turns_meanwhile(runtime, monkeypatch):
    from mosaic.runtime import reduction

    turned = threading.Event()

    def allocate(*arguments):
        asyncio_loop.call_soon_threadsafe(turned.set)
        assert turned.wait(20), "the loop stands still"
        return np.empty(*arguments)

    asyncio_loop = asyncio.get_running_loop()
    monkeypatch.setattr(reduction, "_allocate", allocate)
    assert_same(await runtime.reduce([make(0), make(1)]), make(0) + make(1))


async def test_the_interpreter_is_free_meanwhile(runtime):
    arrays = [np.ones(20_000_000, "f4")] * 8
    out = np.zeros(20_000_000, "f4")

    async def seen_under_way():
        out[:] = 0
        reduction = asyncio.ensure_future(runtime.reduce(arrays, out=out))
        # Python code that finds the output half written: it ran beside the core.
        half_written = False
        while not reduction.done():
            half_written |= bool(out[0] == 8 and out[-1] == 0)
            await asyncio.sleep(0)
        await reduction
        return half_written

    assert any([await seen_under_way() for _ in range(10)])


# `out`.


async def test_out_is_written_and_returned(runtime):
    out = np.full((3, 5), 7, "f4")
    tasks = [Source.remote(i).make() for i in range(3)]
    assert (await runtime.reduce(tasks, out=out)) is out
    assert_same(out, numpys("sum", [make(i) for i in range(3)]))


@pytest.mark.parametrize("layout", ["c", "fortran", "strided"])
@pytest.mark.parametrize("op", ["sum", "mean"])
async def test_layouts_of_out(runtime, layout, op):
    out = LAYOUTS[layout](np.zeros((3, 5)))
    arrays = [make(i, "i4") for i in range(3)]
    found = await runtime.reduce(arrays, op, out=out.astype("i4") if op == "sum" else out)
    np.testing.assert_array_equal(found, numpys(op, arrays))


async def test_out_may_be_an_operand(runtime):
    for place in range(3):
        arrays = [make(i) for i in range(3)]
        expected = numpys("sum", arrays)
        assert await runtime.reduce(arrays, out=arrays[place]) is arrays[place]
        assert_same(arrays[place], expected)
    whole = np.arange(10, dtype="f4")
    await runtime.reduce([whole[:9], whole[1:]], out=whole[1:])
    assert_same(whole, np.array([0, *range(1, 18, 2)], "f4"))


def read_only():
    array = np.zeros((3, 5), "f4")
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("out", "kind", "message"),
    [
        (np.zeros((5, 3), "f4"), ValueError, r"\(3, 5\).*float32.*\(5, 3\)"),
        (np.zeros((3, 5), "f8"), TypeError, r"\(3, 5\).*float32.*float64"),
        (read_only(), ValueError, r"writable.*read-only"),
        ([[0.0] * 5] * 3, TypeError, r"writable array.*list"),
        (np.ma.zeros((3, 5), "f4"), TypeError, r"writable array.*MaskedArray"),
    ],
    ids=["shape", "dtype", "read_only", "list", "masked"],
)
async def test_out_that_does_not_fit(runtime, out, kind, message):
    with pytest.raises(kind, match=message):
        await runtime.reduce([make(0), make(1)], out=out)


async def test_out_of_a_mean_of_integers_is_float64(runtime):
    with pytest.raises(TypeError, match=r"float64.*int32"):
        await runtime.reduce([make(0, "i4")], "mean", out=np.zeros((3, 5), "i4"))


# What is refused.


async def test_no_references(runtime):
    with pytest.raises(ValueError, match="at least one reference"):
        await runtime.reduce([])


async def test_unknown_operation(runtime):
    with pytest.raises(ValueError, match=r"'median'.*sum, mean, min, max, prod"):
        await runtime.reduce([make(0)], "median")


@pytest.mark.parametrize("refs", [make(0), "task", "reference"], ids=["array", "task", "reference"])
async def test_one_reference_instead_of_several(runtime, refs):
    if isinstance(refs, str):
        refs = Source.remote().make() if refs == "task" else await runtime.put(make(0))
    with pytest.raises(TypeError, match=r"several references.* list"):
        await runtime.reduce(refs)


async def test_shapes_that_differ(runtime):
    task = Source.remote().make("f4", (5, 3))
    with pytest.raises(
        ValueError, match=r"reference 2 \(task-source-make-.*\(5, 3\).*float32.*\(3, 5\)"
    ):
        await runtime.reduce([make(0), make(1), task])


async def test_types_that_differ(runtime):
    reference = await runtime.put(make(1, "f8"))
    with pytest.raises(
        TypeError, match=r"reference 1 \(ware-.*float64.*\(3, 5\).*reference 0 has dtype float32"
    ):
        await runtime.reduce([make(0), reference])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.5, "float .*numpy.asarray"),
        (None, "NoneType"),
        (np.float64(2), "float64 .*numpy.asarray"),
        ([1.0, 2.0], "list"),
        (np.zeros(3, bool), r"bool.*astype\(numpy.int64\)"),
        (np.zeros(3, "f2"), r"float16.*astype\(numpy.float32\)"),
        (np.zeros(3, "g"), r"float128.*astype"),
        (np.zeros(3, "m8[s]"), "timedelta64"),
        (np.zeros(3, object), "object"),
        (np.zeros(3, [("x", "f8")]), "f8"),
        (np.ma.zeros(3), r"masked array.*filled"),
    ],
    ids=lambda value: value.replace("\\", "") if isinstance(value, str) else None,
)
async def test_what_is_no_array_of_numbers(runtime, value, message):
    with pytest.raises(TypeError, match=f"reference 0.*{message}|{message}"):
        await runtime.reduce([value, value])


@pytest.mark.parametrize("op", ["min", "max"])
@pytest.mark.parametrize("dtype", COMPLEX)
async def test_complex_numbers_have_no_order(runtime, op, dtype):
    with pytest.raises(TypeError, match=f"no order.*{op}.*absolute"):
        await runtime.reduce([make(0, dtype)] * 2, op)


async def test_a_failed_reference_raises_its_error_at_once(runtime, flag):
    started, release = flag("started"), flag("release")
    waiting = Blocker.remote().until_async(started, release, make(0))
    with pytest.raises(OSError, match="no array today"):
        await runtime.reduce([waiting, Source.remote().fail()])
    assert not waiting.ended
    release.set()
    assert_same(await waiting.result(), make(0))


async def test_a_dropped_reference(runtime):
    reference = await runtime.put(make(0))
    await reference.drop()
    with pytest.raises(mosaic.ObjectLostError, match=reference.uid):
        await runtime.reduce([make(1), reference])


async def test_a_missing_output(runtime):
    with pytest.raises(LookupError, match="nonsense"):
        await runtime.reduce([Source.remote().named().outputs["nonsense"]])


async def test_giving_up_leaves_the_tasks_alone(runtime, flag):
    started, release = flag("started"), flag("release")
    task = Blocker.remote().until_async(started, release, make(0))
    reduction = asyncio.ensure_future(runtime.reduce([task, make(1)]))
    await started.wait_async()
    reduction.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reduction
    release.set()
    assert_same(await task.result(), make(0))


# Arrays of tesserae, and workers.


async def test_calls_on_an_array_of_tesserae(runtime):
    sources = Source.remote(2, len=3)
    expected = numpys("sum", [make(2)] * 3)
    assert_same(await sources.make().reduce(), expected)
    assert_same(await sources.make().reduce("mean"), numpys("mean", [make(2)] * 3))
    assert_same(await runtime.reduce(sources.make()), expected)
    assert_same(await runtime.reduce(mosaic.gather(sources.make().tasks)), expected)
    out = np.zeros((3, 5), "f4")
    assert await sources.make().reduce("sum", out=out) is out
    assert_same(out, expected)


async def test_an_element_that_fails(runtime):
    with pytest.raises(OSError, match="no array today"):
        await Source.remote(len=2).fail().reduce()
    with pytest.raises(ValueError, match="median"):
        await Source.remote(len=2).make().reduce("median")


async def test_attributes_of_an_array_of_tesserae(runtime):
    holders = await Echo.remote(len=2)
    await holders.set_attr("field", make(1))
    assert_same(await runtime.reduce(holders.field, "max"), make(1))


async def test_inside_a_worker(runtime):
    tasks = [Source.remote(i).make() for i in range(3)]
    found = await Summer.remote().sum(tasks).result()
    assert_same(found, numpys("sum", [make(i) for i in range(3)]))
    assert_same(await Summer.remote().largest(4).result(), make(3))


async def test_reduction_as_an_argument_of_the_next_call(runtime):
    tasks = [Source.remote(i).make() for i in range(2)]
    total = await runtime.put(await runtime.reduce(tasks))
    assert_same(await Echo.remote().back(total).result(), make(0) + make(1))
