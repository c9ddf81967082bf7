"""Exceptions on their way."""

import pytest

from mosaic import errors
from mosaic.core.failure import decode_exception, encode_exception


def send(error):
    try:
        raise error
    except BaseException as raised:
        line, detail = encode_exception(raised)
    return line, decode_exception(line, detail)


class OddError(Exception):
    """Takes other arguments than it hands on."""

    def __init__(self, code, where):
        super().__init__(f"{code} at {where}")
        self.code = code


class ChangedError(Exception):
    """Unpickles, but as something else."""

    def __init__(self, code):
        super().__init__(f"code {code}")


class HopelessError(Exception):
    def __reduce__(self):
        raise TypeError("no")

    def __init__(self, value):
        super().__init__(value)
        self.lock = __import__("threading").Lock()


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad", 3),
        KeyError("k"),
        OSError(2, "No such file", "x"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "why"),
        OddError(3, "here"),
        ChangedError(3),
        errors.RuntimeDisconnectedError("worker:0:1 died"),
        ExceptionGroup("several", [ValueError(1), KeyError(2)]),
        AssertionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_type_and_arguments_arrive(error):
    _, back = send(error)
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert repr(back.args) == repr(error.args)
    assert getattr(back, "code", None) == getattr(error, "code", None)


def test_an_exception_of_a_class_made_here_arrives():
    class LocalError(RuntimeError):
        pass

    _, back = send(LocalError("x"))
    assert type(back).__name__ == "LocalError"
    assert isinstance(back, RuntimeError)


def test_the_remote_traceback_is_shown():
    _, back = send(ValueError("bad"))
    note = back.__notes__[-1]
    assert "Remote traceback" in note
    assert "test_failure.py" in note
    assert "raise error" in note
    assert note.rstrip().endswith("ValueError: bad")


@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        KeyboardInterrupt(),
        StopIteration(4),
        StopAsyncIteration(),
        GeneratorExit(),
        HopelessError(1),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_cannot_be_raised_elsewhere_is_a_remote_error(error):
    line, back = send(error)
    assert type(back) is errors.RemoteError
    assert back.type_name.rpartition(".")[2] == type(error).__name__
    assert "test_failure.py" in back.traceback
    assert type(error).__name__ in line


def test_a_message_that_cannot_be_shown():
    class Mute(Exception):
        def __str__(self):
            raise ZeroDivisionError

    line, back = send(Mute())
    assert "Mute" in line
    assert isinstance(back, Exception)


def test_the_line_is_one_line():
    line, _ = send(ValueError("a\nb"))
    assert line == "ValueError: a b"


def test_details_that_cannot_be_read():
    error = decode_exception("ValueError: bad", b"rubbish")
    assert type(error) is errors.RemoteError
    assert "ValueError: bad" in str(error)
