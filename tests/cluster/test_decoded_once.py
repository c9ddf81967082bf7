"""The value of a task is rebuilt once, whoever asks for it, and everybody gets it or the same error."""

import asyncio
import threading

import numpy as np
import pytest

import mosaic
from tests.support.actors import Echo
from tests.support.rendezvous import eventually_async

entered = threading.Event()
go_on = threading.Event()
rebuilt = []
asked = {}
met = {}


def rebuild_slowly(value):
    rebuilt.append(value)
    entered.set()
    assert go_on.wait(20)
    return [value]


def raise_reason(reason):
    raise ValueError(reason)


def ask_for(name):
    if name in met:
        met[name].wait(20)
    return asked[name].wait(20)


class Slowly:
    """Waits while it is rebuilt, until the test lets it go on."""

    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        return rebuild_slowly, (self.value,)


class Unbuildable:
    def __reduce__(self):
        return raise_reason, ("cannot be rebuilt",)


class Asking:
    """Asks for the value of a task while it is rebuilt."""

    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        return ask_for, (self.name,)


@pytest.fixture(autouse=True)
def forget():
    for event in (entered, go_on):
        event.clear()
    rebuilt.clear()
    yield
    asked.clear()
    met.clear()


def in_threads(*functions):
    """Start the functions in threads; returns what `join` gives the results of."""
    results = [None] * len(functions)

    def run(place, function):
        try:
            results[place] = function()
        except BaseException as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=entry) for entry in enumerate(functions)]
    for thread in threads:
        thread.start()

    def join():
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive(), "a wait does not end"
        return results

    return join


async def test_threads_and_coroutines_that_ask_at_once_get_one_object(runtime):
    """`DEC-1`, `DEC-2`: the loop runs while threads wait for the one that decodes."""
    task = runtime.submit(Slowly, "x")
    await task
    gathered = mosaic.gather([task])
    first = in_threads(task.wait)
    await eventually_async(entered.is_set, "rebuilding")
    others = in_threads(task.result().wait, lambda: gathered.wait()[0], lambda: task.wait(20))
    go_on.set()
    value = await task.result()
    found = [value, (await gathered.result())[0], *first(), *others()]
    assert value == ["x"]
    assert all(one is value for one in found)
    assert rebuilt == ["x"]


def test_many_readers_of_a_large_result(runtime):
    for _ in range(20):
        task = runtime.submit(np.ones, 1 << 17)
        found = in_threads(*[task.wait] * 4)()
        assert all(one is found[0] for one in found)
        assert found[0].shape == (1 << 17,)


async def test_value_that_cannot_be_rebuilt_gives_the_same_reason_to_all(runtime):
    """`DEC-1`"""
    task = runtime.submit(Unbuildable)
    errors = []
    for _ in range(3):
        with pytest.raises(ValueError, match="cannot be rebuilt") as raised:
            await task.result()
        errors.append(raised.value)
    errors += in_threads(task.wait, task.result().wait)()
    errors += await asyncio.gather(task.result(), task.result(), return_exceptions=True)
    assert all(error is errors[0] for error in errors)
    assert "raise_reason" in errors[0].__notes__[0]
    assert len(errors[0].__notes__) == 1
    assert await task is task
    assert task.failure() is None


async def test_exception_is_the_same_for_all(runtime):
    task = Echo.remote().fail(KeyError("k"))
    errors = in_threads(*[task.wait] * 4)()
    errors.append(task.exception())
    assert all(type(error) is KeyError and error is errors[0] for error in errors)


async def test_value_whose_rebuilding_asks_for_itself(runtime):
    task = asked["own"] = runtime.submit(Asking, "own")
    for result in in_threads(task.wait, task.wait)():
        assert isinstance(result, mosaic.errors.MosaicError)
        assert "rebuilt by this very thread" in str(result)


def test_values_whose_rebuilding_asks_for_each_other_in_two_threads(runtime):
    """`DEC-3`"""
    one = asked["one"] = runtime.submit(Asking, "two")
    two = asked["two"] = runtime.submit(Asking, "one")
    one.wait_ended()
    two.wait_ended()
    # Each has begun before it asks.
    met["one"] = met["two"] = threading.Barrier(2)
    results = in_threads(one.wait, two.wait)()
    assert all(isinstance(result, mosaic.errors.MosaicError) for result in results)
    assert any("rebuil" in str(result) for result in results)


async def test_interrupted_rebuilding_is_tried_again(runtime, monkeypatch):
    task = runtime.submit(Slowly, "x")
    await task
    go_on.set()

    def interrupted(value):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(globals(), "rebuild_slowly", interrupted)
        with pytest.raises(KeyboardInterrupt):
            await task.result()
    assert await task.result() == ["x"]
