"""The living values of a warehouse, by name: what the calls of `Runtime.exec` run.

Functions here are called at the warehouse, those of one uid one at a time, in the order of their arrival: the core sees
to that. Values are living Python objects and need not pickle. Invariants:

- VAULT-1: a value stays until it is dropped; one that comes later by the same uid is of another generation.
- VAULT-2: a function that raises leaves the old value.
"""

from __future__ import annotations

from itertools import count
from types import CoroutineType

from mosaic import _core
from mosaic.errors import ObjectLostError
from mosaic.runtime.tally import tally

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, TypeAlias

    Generation: TypeAlias = tuple[int, int]
    Kept: TypeAlias = tuple[Generation, int]

_values: dict[str, tuple[Generation, Any]] = {}
_numbers = count(1)


def apply(uid: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a plain function with the value of a uid, None the first time, and keep what it returns."""
    result = function(_current(uid), *args, **kwargs)
    # A plain function may hand back a coroutine: its end is waited for before the next call.
    return _keep_later(uid, result) if isinstance(result, CoroutineType) else _keep(uid, result)


async def apply_async(uid: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Kept:
    """Do the same with a coroutine function."""
    return _keep(uid, await function(_current(uid), *args, **kwargs))


async def _keep_later(uid: str, result: Coroutine[Any, Any, Any]) -> Kept:
    return _keep(uid, await result)


def _current(uid: str) -> Any:
    found = _values.get(uid)
    return None if found is None else found[1]


def _keep(uid: str, value: Any) -> Kept:
    found = _values.get(uid)
    generation = (_runtime(), next(_numbers)) if found is None else found[0]
    _values[uid] = generation, value
    return generation, tally.keep(uid, value)


def _runtime() -> int:
    engine = _core.engine()
    return -1 if engine is None else engine.runtime


def living(uid: str, generation: Generation | None) -> Any:
    """Return the living value of a uid; the last of that name where no generation is given.

    Raises
    ------
    ObjectLostError
        It was dropped, or never made.
    """
    found = _values.get(uid)
    if found is None or (generation is not None and found[0] != generation):
        raise ObjectLostError(f"{uid} was dropped, or was never at this warehouse")
    return found[1]


def read(uid: str, generation: Generation | None) -> Any:
    """Return the value of a uid; who called from elsewhere gets a copy."""
    return living(uid, generation)


def size(uid: str, generation: Generation | None) -> int:
    """Return about how many bytes the value of a uid takes."""
    return tally.keep(uid, living(uid, generation))


def drop(uid: str, generation: Generation | None) -> None:
    """Let go of the value of a uid, if there is one."""
    found = _values.get(uid)
    if found is not None and generation in {None, found[0]}:
        del _values[uid]
        tally.forget(uid)


def knows(uid: str) -> bool:
    """Tell whether a uid has a value in this process."""
    return uid in _values
