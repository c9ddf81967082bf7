"""What a result or an exception refers to is alive where it arrives, in every way in which a call can end."""

import asyncio
import gc

import numpy as np
import pytest

import mosaic
from tests.support.rendezvous import eventually_async

LARGE = 1 << 17
"""Elements of an array that lies in the store: a megabyte."""


@mosaic.tessera
class Leaf:
    def ping(self):
        return "pong"


class CarryingError(Exception):
    pass


class OtherArgumentsError(Exception):
    """Cannot be made from its own ``args``."""

    def __init__(self, one, two):
        super().__init__(one)
        self.leaf = two


class Bag:
    """A value that is pickled."""

    def __init__(self, *content):
        self.content = content

    def inside(self):
        return Leaf.remote(), mosaic.runtime().put(7)


class MakesWhenPickled:
    def __reduce__(self):
        return Bag, (Leaf.remote(),)


def both():
    return Leaf.remote(), mosaic.runtime().put(7)


async def both_async():
    return await Leaf.remote(), await mosaic.runtime().put(7)


@mosaic.tessera
class Maker:
    def __init__(self, fails=False):
        self.kept = None
        if fails:
            raise CarryingError(*both())

    def small(self):
        return both()

    def pickled(self):
        return Bag(*both())

    def large(self):
        return [*both(), np.ones(LARGE)]

    async def small_async(self):
        return await both_async()

    async def large_async(self):
        return [*await both_async(), np.ones(LARGE)]

    async def large_at_once(self):
        return [*self.kept, np.ones(LARGE)]

    def many(self):
        leaf, ref = both()
        return [leaf, ref] * 1000

    def keep(self):
        self.kept = both()

    def give(self):
        kept, self.kept = self.kept, None
        return [*kept, np.ones(LARGE)]

    def fail(self):
        raise CarryingError(*both())

    async def fail_async(self):
        raise CarryingError(*await both_async())

    def fail_with_note(self):
        error = CarryingError(*both())
        error.add_note("a note")
        raise error

    def fail_with_cause(self):
        try:
            raise ValueError("the cause")
        except ValueError as cause:
            raise CarryingError(*both()) from cause

    def fail_in_group(self):
        raise ExceptionGroup("several", [CarryingError(*both()), ValueError("no")])

    def fail_otherwise(self):
        leaf, ref = both()
        raise OtherArgumentsError(ref, leaf)

    def takes(self, value):
        return value

    def when_pickled(self):
        return MakesWhenPickled()


def leaf_and_reference(value):
    leaf, ref = value[:2]
    return leaf, ref


async def check(leaf, ref):
    """Both are alive, wherever they live."""
    gc.collect()
    assert await asyncio.wait_for(leaf.ping().result(), 20) == "pong"
    assert await asyncio.wait_for(ref.value(), 20) == 7


@pytest.mark.parametrize(
    "method", ["small", "large", "small_async", "large_async", "many", "give", "large_at_once"]
)
async def test_value_of_a_method(runtime, method):
    maker = await Maker.remote()
    await maker.keep()
    task = maker[method]()
    leaf, ref = leaf_and_reference(await task.result())
    del task, maker
    await check(leaf, ref)


async def test_pickled_value_of_a_method(runtime):
    bag = await Maker.remote().pickled().result()
    await check(*bag.content)


@pytest.mark.parametrize("function", [both, both_async])
async def test_value_of_a_function(runtime, function):
    await check(*await runtime.submit(function).result())


async def test_value_that_makes_a_tessera_when_it_is_pickled(runtime):
    bag = await Maker.remote().when_pickled().result()
    assert await bag.content[0].ping().result() == "pong"


def test_argument_that_makes_a_tessera_when_it_is_pickled(runtime):
    bag = Maker.remote().takes(MakesWhenPickled()).wait()
    assert bag.content[0].ping().wait() == "pong"


async def test_attribute(runtime):
    maker = await Maker.remote()
    await maker.keep()
    kept = await maker.kept.result()
    del maker
    await check(*kept)


async def test_living_result(runtime):
    bag = Maker.remote().pickled()
    await check(*await bag.remote.inside().result())


@pytest.mark.parametrize("function", [both, both_async])
async def test_values_of_a_map(runtime, function):
    def call(number):
        return both() if number else None

    async def call_async(number):
        return await both_async() if number else None

    call = call if function is both else call_async
    values = await runtime.map(call, range(3))
    assert values[0] is None
    await check(*values[1])
    await check(*values[2])


@pytest.mark.parametrize("coroutine", [False, True])
async def test_failing_item_of_a_map(runtime, coroutine):
    def call(number):
        if number == 2:
            raise CarryingError(*both())
        return number

    async def call_async(number):
        return call(number) if number < 2 else await Maker.remote().fail_async().result()

    with pytest.raises(CarryingError) as raised:
        await runtime.map(call_async if coroutine else call, range(3), chunksize=3)
    assert "raised for the item (2)" in "".join(raised.value.__notes__)
    await check(*raised.value.args)


@pytest.mark.parametrize("method", ["fail", "fail_async", "fail_with_note", "fail_with_cause"])
async def test_exception_of_a_method(runtime, method):
    with pytest.raises(CarryingError) as raised:
        await Maker.remote()[method]().result()
    await check(*raised.value.args)


async def test_exception_in_a_group(runtime):
    with pytest.raises(ExceptionGroup) as raised:
        await Maker.remote().fail_in_group()
    await check(*raised.value.exceptions[0].args)


async def test_exception_that_is_rebuilt_without_its_init(runtime):
    with pytest.raises(OtherArgumentsError) as raised:
        await Maker.remote().fail_otherwise()
    await check(raised.value.leaf, raised.value.args[0])


async def test_exception_of_an_init_reaches_every_call(runtime):
    maker = Maker.remote(True)
    task = maker.small()
    for _ in range(2):
        with pytest.raises(CarryingError) as raised:
            await task
        await check(*raised.value.args)
        # Later ones too, when the construction itself is long forgotten.
        del raised, task
        gc.collect()
        task = maker.small()
    with pytest.raises(CarryingError):
        await task


async def test_exception_reaches_those_who_depend_on_it(runtime):
    maker, other = await Maker.remote(), await Maker.remote()
    failed = maker.fail()
    task = other.takes(failed)
    del failed
    with pytest.raises(CarryingError) as raised:
        await task
    await check(*raised.value.args)
    # Known here when the next call is made.
    failed = maker.fail()
    with pytest.raises(CarryingError):
        await failed
    task = other.takes(failed)
    del failed, raised
    gc.collect()
    with pytest.raises(CarryingError) as raised:
        await task
    await check(*raised.value.args)


async def test_exception_of_a_task_that_was_passed(runtime):
    async def read(tasks):
        try:
            await tasks[0].result()
        except CarryingError as error:
            return await error.args[0].ping().result(), await error.args[1].value()

    failed = Maker.remote().fail()
    assert await runtime.submit(read, [failed]).result() == ("pong", 7)


async def test_exception_at_the_warehouse(runtime, warehouse):
    def update(value):
        raise CarryingError(*both())

    async def update_async(value):
        raise CarryingError(*await both_async())

    for function in (update, update_async):
        with pytest.raises(CarryingError) as raised:
            await runtime.exec("held-by-results", function)
        await check(*raised.value.args)


async def test_what_an_exception_refers_to_goes_with_it(runtime, log):
    from tests.support.actors import Mortal

    async def fail():
        raise CarryingError(await Mortal.remote(log, "carried"))

    task = runtime.submit(fail)
    with pytest.raises(CarryingError) as raised:
        await task
    assert await raised.value.args[0].hello().result() == "carried"
    assert log.lines() == []
    del raised, task
    # The event loop still has its last hands on the exception.
    await asyncio.sleep(0)
    gc.collect()
    await eventually_async(lambda: log.lines() == ["carried"], "freed")


async def test_what_a_cancelled_call_would_have_returned_goes(runtime, log, flag):
    from tests.support.actors import Mortal

    started, release = flag("started"), flag("release")

    def make(started, release):
        mortal = Mortal.remote(log, "not wanted")
        started.set()
        release.wait()
        return [mortal, np.ones(LARGE)]

    task = runtime.submit(make, started, release)
    await started.wait_async()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log.lines() == []
    release.set()
    await eventually_async(lambda: log.lines() == ["not wanted"], "freed")
