"""Exceptions: what the caller sees of what went wrong elsewhere."""

import asyncio
import pickle
import re
import threading
import traceback
import types

import pytest

import mosaic
from tests.support.actors import Blocker, Counter, Echo


class MeshError(Exception):
    """Has state of its own."""

    def __init__(self, message, cells):
        super().__init__(message)
        self.cells = cells

    def __reduce__(self):
        return type(self), (self.args[0], self.cells)


class Awkward(Exception):
    """Cannot be rebuilt from `args`, as many in the wild."""

    def __init__(self, code, *, reason):
        super().__init__(f"code {code}: {reason}")
        self.code = code


class Explosive(Exception):
    """Fails in its own constructor when it is unpickled."""

    def __init__(self, message):
        if message != "first time":
            raise RuntimeError("constructor")
        super().__init__("second time")


class BadRepr(Exception):
    def __str__(self):
        raise RuntimeError("no text for you")

    __repr__ = __str__


@mosaic.tessera
class Thrower:
    def raise_it(self, error):
        raise error

    def divide(self, a, b):
        return a // b  # the line that the caller must see

    async def divide_async(self, a, b):
        await asyncio.sleep(0)
        return a // b

    def chained(self):
        try:
            self.divide(1, 0)
        except ZeroDivisionError as error:
            raise ValueError("no such step") from error

    def context(self):
        try:
            self.divide(1, 0)
        except ZeroDivisionError:
            raise KeyError("while handling")  # noqa: B904

    def noted(self):
        error = ValueError("with notes")
        error.add_note("shot 17")
        raise error

    def group(self):
        raise ExceptionGroup("several", [ValueError("a"), KeyError("b")])

    def awkward(self):
        raise Awkward(3, reason="weather")

    def explosive(self):
        raise Explosive("first time")

    def unpicklable(self):
        error = ValueError("holds a lock")
        error.lock = threading.Lock()
        raise error

    def unpicklable_argument(self):
        raise ValueError("a lock", threading.Lock())

    def local_class(self):
        class LocalError(Exception):
            pass

        raise LocalError("made in a function")

    def bad_repr(self):
        raise BadRepr

    def recursion(self):
        return self.recursion()

    def hello(self):
        return "hello"

    async def relay(self, other, a, b):
        return await other.divide(a, b).result()


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


async def raised_by(awaitable) -> BaseException:
    with pytest.raises(BaseException) as info:  # noqa: PT011
        await awaitable
    return info.value


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a", 1),
        KeyError("key"),
        OSError(2, "No such file", "mesh.h5"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
        AssertionError(),
        NotImplementedError("later"),
        MeshError("tangled", 12),
        TimeoutError("the method's own"),
        ConnectionResetError(104, "reset"),
        MemoryError("no room"),
    ],
    ids=lambda e: type(e).__name__,
)
async def test_type_and_arguments_arrive(runtime, error):
    got = await raised_by(Thrower.remote().raise_it(error).result())
    assert type(got) is type(error)
    assert got.args == error.args
    assert str(got) == str(error)
    assert vars(got).get("cells") == vars(error).get("cells")


async def test_except_works(runtime):
    caught = None
    try:
        await Thrower.remote().divide(1, 0)
    except ArithmeticError as error:
        caught = error
    assert isinstance(caught, ZeroDivisionError)


@pytest.mark.parametrize("method", ["divide", "divide_async"])
async def test_the_remote_traceback_is_shown(runtime, method):
    text = shown(await raised_by(Thrower.remote()[method](1, 0).result()))
    assert __file__ in text
    assert f"in {method}" in text
    assert "return a // b" in text
    # Below the local part, which is where the reader looks last.
    assert text.index("in raised_by") < text.rindex("return a // b")


def test_the_remote_traceback_is_shown_in_synchronous_code(runtime):
    with pytest.raises(ZeroDivisionError) as info:
        Thrower.remote().divide(1, 0).wait()
    assert "return a // b" in shown(info.value)


async def test_the_worker_is_named(runtime):
    proxy = await Thrower.remote()
    assert proxy.runtime_id in shown(await raised_by(proxy.divide(1, 0)))


async def test_causes_and_contexts_are_shown(runtime):
    thrower = Thrower.remote()
    error = await raised_by(thrower.chained())
    assert type(error) is ValueError
    assert "ZeroDivisionError" in shown(error)
    assert "direct cause" in shown(error)
    error = await raised_by(thrower.context())
    assert type(error) is KeyError
    assert "ZeroDivisionError" in shown(error)


async def test_notes_arrive(runtime):
    error = await raised_by(Thrower.remote().noted())
    assert "shot 17" in error.__notes__
    assert "shot 17" in shown(error)


async def test_groups_arrive(runtime):
    error = await raised_by(Thrower.remote().group())
    assert isinstance(error, ExceptionGroup)
    assert [type(e) for e in error.exceptions] == [ValueError, KeyError]


@pytest.mark.parametrize(
    ("method", "name", "message"),
    [
        ("unpicklable", "ValueError", "holds a lock"),
        ("unpicklable_argument", "ValueError", "a lock"),
    ],
)
async def test_what_cannot_be_rebuilt_is_a_remote_error(runtime, method, name, message):
    thrower = Thrower.remote()
    error = await asyncio.wait_for(raised_by(thrower[method]()), 20)
    assert isinstance(error, mosaic.RemoteError)
    assert isinstance(error, mosaic.MosaicError)
    text = shown(error)
    assert name in text
    assert message in text
    assert f"in {method}" in text
    assert await thrower.hello().result() == "hello"


@pytest.mark.parametrize(
    ("method", "kind", "message"),
    [("awkward", Awkward, "code 3: weather"), ("explosive", Explosive, "second time")],
)
async def test_constructors_that_pickle_cannot_call(runtime, method, kind, message):
    # As itself, made without its constructor, or as a `RemoteError`: never a hang.
    thrower = Thrower.remote()
    error = await asyncio.wait_for(raised_by(thrower[method]()), 20)
    assert isinstance(error, kind | mosaic.RemoteError)
    text = shown(error)
    assert kind.__name__ in text
    assert message in text
    assert f"in {method}" in text
    if isinstance(error, Awkward):
        assert error.code == 3
    assert await thrower.hello().result() == "hello"


async def test_classes_made_in_functions(runtime):
    error = await raised_by(Thrower.remote().local_class())
    assert "made in a function" in str(error)
    assert "LocalError" in shown(error)


async def test_exceptions_without_a_text(runtime):
    thrower = Thrower.remote()
    error = await asyncio.wait_for(raised_by(thrower.bad_repr()), 20)
    assert isinstance(error, BadRepr | mosaic.RemoteError)
    assert await thrower.hello().result() == "hello"


async def test_recursion(runtime):
    thrower = Thrower.remote()
    assert isinstance(await raised_by(thrower.recursion()), RecursionError)
    assert await thrower.hello().result() == "hello"


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt("in a method")], ids=lambda e: type(e).__name__
)
async def test_exits_fail_the_call_and_leave_the_worker_alive(runtime, error):
    thrower = Thrower.remote()
    pid = await Echo.remote(runtime=(await thrower).runtime_id).pid().result()
    got = await raised_by(thrower.raise_it(error).result())
    # As themselves they would end the caller's loop.
    assert isinstance(got, mosaic.RemoteError)
    assert type(error).__name__ in shown(got)
    assert await thrower.hello().result() == "hello"
    assert await Echo.remote(runtime=thrower.runtime_id).pid().result() == pid


@pytest.mark.parametrize(
    "error", [StopIteration(5), StopAsyncIteration(5)], ids=lambda e: type(e).__name__
)
async def test_stop_iteration_neither_hangs_nor_passes_for_a_result(runtime, error):
    thrower = Thrower.remote()
    task = thrower.raise_it(error)
    got = await asyncio.wait_for(raised_by(task.result()), 20)
    assert type(error).__name__ in shown(got)
    assert task.state == "failed"
    await asyncio.wait_for(raised_by(task), 20)
    assert await thrower.hello().result() == "hello"


def test_stop_iteration_in_synchronous_code(runtime):
    with pytest.raises(Exception, match=r"StopIteration|5"):
        Thrower.remote().raise_it(StopIteration(5)).wait(20)


async def test_through_two_workers(runtime):
    one, two = (Thrower.remote(runtime=worker) for worker in runtime.workers)
    error = await raised_by(one.relay(two, 1, 0))
    assert type(error) is ZeroDivisionError
    text = shown(error)
    assert "in relay" in text
    assert "in divide" in text


async def test_the_same_failure_read_many_times(runtime):
    task = Thrower.remote().divide(1, 0)
    for _ in range(3):
        error = await raised_by(task)
    assert shown(error).count("return a // b") == 1, "remote tracebacks do not pile up"


async def test_a_failed_call_leaves_the_object_as_it_is(runtime):
    counter = Counter.remote(1)
    counter.add("not a number").add_done_callback(lambda task: None)
    assert await counter.value().result() == 1


async def test_raised_exceptions_can_be_sent_on(runtime):
    error = await raised_by(Thrower.remote().divide(1, 0))
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is ZeroDivisionError
    back = await Echo.remote().back(error).result()
    assert type(back) is ZeroDivisionError


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("RuntimeDisconnectedError", ConnectionError),
        ("ObjectLostError", LookupError),
        ("MemoryOverflowError", MemoryError),
        ("RemoteError", Exception),
        ("AuthenticationError", Exception),
        ("BackpressureError", Exception),
    ],
)
def test_mosaics_own_errors(name, builtin):
    kind = getattr(mosaic, name)
    assert issubclass(kind, mosaic.MosaicError)
    assert issubclass(kind, builtin)
    again = pickle.loads(pickle.dumps(kind("a message")))
    assert type(again) is kind
    assert "a message" in str(again)


def test_tracebacks_hold_no_frames_of_other_modules_alive(runtime):
    with pytest.raises(ZeroDivisionError) as info:
        Thrower.remote().divide(1, 0).wait()
    assert isinstance(info.value.__traceback__, types.TracebackType)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("cancelled", asyncio.CancelledError),
        ("timed out", TimeoutError),
        ("stopped", mosaic.TesseraStoppedError),
    ],
)
async def test_failure_without_an_exception_has_the_class_of_its_kind(
    runtime, flag, kind, expected
):
    started, release = flag("started"), flag("release")
    if kind == "stopped":
        stopped = await Counter.remote()
        await mosaic.stop_tessera(stopped)
        failing = stopped.add()
    else:
        blocker = Blocker.remote()
        timeout = 0.3 if kind == "timed out" else None
        failing = blocker.until_async(started, release, timeout=timeout)
        await started.wait_async()
    dependent = Echo.remote().back(failing)
    if kind == "cancelled":
        failing.cancel()
    with pytest.raises(expected) as info:
        await failing
    assert type(info.value) is expected
    # The worker cancels a call whose time has passed, and that is what the dependent call hears from it.
    consequence = asyncio.CancelledError if kind == "timed out" else expected
    with pytest.raises(consequence) as info:
        await dependent
    assert type(info.value) is consequence
    # A caller whose call has not left it knows the method; the worker knows the class too.
    needed = re.compile(r"needed as argument 0 of (Echo\.)?back$")
    assert any(needed.search(note) for note in info.value.__notes__)
    release.set()
