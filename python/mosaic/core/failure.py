"""Encodes exceptions where they are raised, and rebuilds them where they are awaited.

The original type and arguments arrive, with the remote traceback as a note below the local one. An exception
that would not survive the way, which the sender finds out by trying, arrives as `RemoteError`.
"""

from __future__ import annotations

from _pickle import dumps as _plain_dumps
from _pickle import loads

from mosaic import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

_PACKAGE = __file__.rpartition("core")[0]

_NOTE = "\nRemote traceback ("

_TEXT_LIMIT = 100_000
"""Longest remote traceback that travels, in characters."""


def encode_exception(error: BaseException) -> tuple[str, bytes]:
    """Encode an exception that a call raised.

    Parameters
    ----------
    error : BaseException
        The exception, with its traceback.

    Returns
    -------
    str
        One line for people: ``ValueError: bad shot``.
    bytes
        The exception, its type's name, its message and the text of its traceback.
    """
    name = _type_name(type(error))
    message = _message(error)
    text = _traceback_text(error)
    line = " ".join(f"{name}: {message}".split()) if message else name
    body = _encode_body(error) if _may_travel(error) else b""
    return line[:500], _plain_dumps((body, name, message, text, _where()), 5)


def decode_exception(message: str, detail: bytes) -> BaseException:
    """Decode an exception that a call raised in another process.

    Parameters
    ----------
    message : str
        One line for people.
    detail : bytes
        What `encode_exception` gave.

    Returns
    -------
    BaseException
        The exception with the remote traceback as a note, or a `RemoteError` where it cannot be rebuilt here.
    """
    try:
        body, name, shown, text, where = loads(bytes(detail))
    except Exception as reason:
        return errors.RemoteError(f"{message} (its details cannot be read: {reason!r})", "", "")
    text = _with_sources(text)
    error: BaseException | None = None
    if body:
        try:
            error = loads(body)
        except Exception:
            error = None
    if not isinstance(error, BaseException) or not _may_travel(error):
        error = errors.RemoteError(shown, name, text)
    # Of the workers that the exception has come through.
    earlier = getattr(error, "__notes__", None)
    if isinstance(earlier, list):
        error.__notes__ = [
            _with_sources(note) if isinstance(note, str) and note.startswith(_NOTE) else note
            for note in earlier
        ]
    if text:
        error.add_note(f"{_NOTE}{where}):\n{text}".rstrip())
    return error


def _may_travel(error: BaseException) -> bool:
    """Return whether raising this exception at the waiter does what the waiter expects of a failed call.

    `SystemExit` would end the caller, and `StopIteration` cannot be raised in a coroutine.
    """
    if isinstance(error, (StopIteration, StopAsyncIteration)):
        return False
    return isinstance(error, Exception) or type(error).__name__ == "CancelledError"


def _encode_body(error: BaseException) -> bytes:
    from mosaic.serialise.codec import dumps

    for value in (error, _Rebuilt(error)):
        try:
            body = dumps(value)
            again = loads(body)
        except Exception:  # noqa: S112 - whatever the user's classes raise, there is another way
            continue
        if type(again).__qualname__ == type(error).__qualname__ and _same(again.args, error.args):
            return body
    return b""


class _Rebuilt:
    """An exception whose ``__init__`` does not take its own ``args``: rebuilt without calling it."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        error = self.error
        return rebuild_exception, (
            type(error),
            error.args,
            dict(getattr(error, "__dict__", None) or {}),
        )


def rebuild_exception(
    cls: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]
) -> BaseException:
    """Make an exception from its class, arguments and attributes, without its ``__init__``."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


def _same(again: tuple[Any, ...], before: tuple[Any, ...]) -> bool:
    """Return whether the arguments of an exception came back as they were, as far as simple values show it."""
    if len(again) != len(before):
        return False
    for a, b in zip(again, before, strict=True):
        if type(a).__qualname__ != type(b).__qualname__:
            return False
        if type(a) in {str, int, bytes, bool} and a != b:
            return False
    return True


def _type_name(cls: type) -> str:
    return (
        cls.__qualname__
        if cls.__module__ in {"builtins", "__main__"}
        else f"{cls.__module__}.{cls.__qualname__}"
    )


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as reason:
        return f"<its message cannot be shown: {type(reason).__name__}>"


def _where() -> str:
    from mosaic import _core

    engine = _core.engine()
    return engine.uid if engine is not None else "unknown"


def _traceback_text(error: BaseException) -> str:
    import traceback

    frames = _skip_own(error.__traceback__)
    try:
        text = "".join(traceback.format_exception(type(error), error, frames))
    except Exception as reason:
        return f"<the traceback cannot be shown: {reason!r}>"
    if len(text) > _TEXT_LIMIT:
        text = f"{text[: _TEXT_LIMIT // 2]}\n...\n{text[-_TEXT_LIMIT // 2 :]}"
    return text


def _with_sources(text: str) -> str:
    """Add the lines of source that the sender did not have to the text of its traceback.

    The cells of a notebook, and what a console runs, are in no file: only the process that ran them knows their lines.
    """
    lines = text.splitlines()
    frames = [
        number
        for number, line in enumerate(lines)
        if line.lstrip(" |").startswith('File "') and not _is_followed_by_source(lines, number)
    ]
    if not frames:
        return text
    import linecache

    for number in reversed(frames):
        margin, _, rest = lines[number].partition('File "')
        name, _, rest = rest.partition('", line ')
        line_number = rest.partition(",")[0]
        if not line_number.isdigit():
            continue
        linecache.checkcache(name)
        source = linecache.getline(name, int(line_number)).strip()
        if source:
            lines.insert(number + 1, f"{margin}  {source}")
    return "\n".join(lines) + "\n" * text.endswith("\n")


def _is_followed_by_source(lines: list[str], number: int) -> bool:
    margin = lines[number].partition('File "')[0]
    return number + 1 < len(lines) and lines[number + 1].startswith(f"{margin}  ")


def _skip_own(frames: TracebackType | None) -> TracebackType | None:
    """Leave out mosaic's own frames at the top, unless there are no others."""
    first = frames
    while first is not None and first.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        first = first.tb_next
    return first if first is not None else frames
