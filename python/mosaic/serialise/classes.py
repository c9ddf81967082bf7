"""Pickles classes by value, once, and remembers the pickles.

A class by value is sent as ``load_class(token, payload)``: the receiver unpickles a token once. The sender pickles the
class again when anything that the pickle depends on has changed: its attributes, the code, defaults and closures of
its methods, and the globals that they name. A class with a part that may change in place is pickled each time.

A class that this process received is sent on with the token and payload that it came with, so that the process that it
is from finds its own class again.
"""

from __future__ import annotations

from _io import BytesIO
from _pickle import loads

from mosaic.serialise import by_value, preload
from mosaic.serialise.reducers import ClassPickler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Entry:
    """A class by value, pickled; ``parts`` is what the pickle depends on, None if the class came from elsewhere."""

    __slots__ = ("parts", "payload", "token")

    def __init__(self, parts: list[object] | None, token: str, payload: bytes) -> None:
        self.parts = parts
        self.token = token
        self.payload = payload


_entries: dict[type, _Entry] = {}
_received: dict[str, type] = {}
_prefix = ""
_count = 0


def reduce_class(cls: type) -> tuple[Any, ...] | None:
    """Return how to pickle a class by value, or None where it cannot be remembered."""
    derived: tuple[Any, ...] | None = getattr(cls, "_mosaic_derived", None)
    if derived is not None:
        # Every process derives its own, as it does the class of parameters of another one.
        return derived
    entry = _entries.get(cls)
    if entry is not None and entry.parts is None:
        return load_class, (entry.token, entry.payload)
    parts: list[object] = []
    try:
        stable = by_value.collect_class(cls, parts, set())
    except RecursionError:
        stable = False
    if not stable:
        return None
    if entry is None or not _same(entry.parts, parts):
        stream = BytesIO()
        pickler = ClassPickler(stream, 5)
        pickler.dump(cls)
        payload = stream.getvalue()
        if pickler.packages:
            payload += preload.trailer(pickler.packages)
        entry = _Entry(parts, _new_token(), payload)
        _entries[cls] = entry
        _received[entry.token] = cls
    return load_class, (entry.token, entry.payload)


def load_class(token: str, payload: bytes) -> type:
    """Rebuild a class from its pickle, once."""
    cls = _received.get(token)
    if cls is None:
        if payload[-1:] != preload.STOP:
            preload.preload(payload)
        cls = loads(payload)
        _received[token] = cls
        if cls not in _entries or _entries[cls].parts is None:
            _entries[cls] = _Entry(None, token, payload)
    return cls


def _new_token() -> str:
    global _prefix, _count
    if not _prefix:
        import os

        _prefix = os.urandom(8).hex()
    _count += 1
    return f"{_prefix}-{_count}"


def _same(before: list[object] | None, now: list[object]) -> bool:
    return (
        before is not None
        and len(before) == len(now)
        and all(a is b for a, b in zip(before, now, strict=True))
    )


class ValuePickler(ClassPickler):
    """cloudpickle's pickler, completed, with remembered pickles of classes."""

    def reducer_override(self, obj: Any) -> Any:
        """Reduce classes by value to their remembered pickles, anything else as `ClassPickler` does."""
        if isinstance(obj, type) and not by_value.importable(obj):
            reduced = reduce_class(obj)
            if reduced is not None:
                return reduced
        return super().reducer_override(obj)
