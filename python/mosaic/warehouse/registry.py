"""The live values of a warehouse by uid: the table that the calls of `Runtime.exec` read and change.

The functions of this module run in the warehouse's process. The core runs those of one uid one at a time, in the order
of their arrival. Values are live Python objects and need not pickle. Invariants:

- REGISTRY-1: a value stays until it is dropped; a later value of the same uid has another generation.
- REGISTRY-2: a function that raises leaves the old value.
"""

from __future__ import annotations

from itertools import count
from types import CoroutineType

from mosaic import _core
from mosaic.errors import ObjectLostError
from mosaic.warehouse.accounting import account

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, TypeAlias

    Generation: TypeAlias = tuple[int, int]
    Kept: TypeAlias = tuple[Generation, int]

_values: dict[str, tuple[Generation, Any]] = {}
_numbers = count(1)


def apply(uid: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a plain function with the value of a uid, None the first time, and store the result."""
    result = function(_current(uid), *args, **kwargs)
    # A plain function may return a coroutine: the next call waits for its end.
    return _keep_later(uid, result) if isinstance(result, CoroutineType) else _keep(uid, result)


async def apply_async(uid: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Kept:
    """Call a coroutine function with the value of a uid; see `apply`."""
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
    return generation, account.keep(uid, value)


def _runtime() -> int:
    engine = _core.engine()
    return -1 if engine is None else engine.runtime


def live(uid: str, generation: Generation | None) -> Any:
    """Return the live value of a uid; the latest one where no generation is given.

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
    """Return the value of a uid; a caller in another process gets a copy."""
    return live(uid, generation)


def size(uid: str, generation: Generation | None) -> int:
    """Return about how many bytes the value of a uid takes."""
    return account.keep(uid, live(uid, generation))


def drop(uid: str, generation: Generation | None) -> None:
    """Delete the value of a uid, if there is one."""
    found = _values.get(uid)
    if found is not None and generation in {None, found[0]}:
        del _values[uid]
        account.forget(uid)


def knows(uid: str) -> bool:
    """Return whether a uid has a value in this process."""
    return uid in _values
