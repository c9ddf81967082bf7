"""Telling whether something failed because its worker died, for the loops that give items to others."""

from __future__ import annotations

from mosaic.core import network
from mosaic.errors import ConnectionLostError, ObjectLostError, RuntimeDisconnectedError


def alive(uid: str) -> bool:
    """Tell whether a runtime takes part."""
    return any(member.uid == uid for member in network.engine().members())


def disconnection(
    error: BaseException | None,
) -> RuntimeDisconnectedError | ObjectLostError | None:
    """Find a death, or the loss of a value, among the causes of an exception."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, (RuntimeDisconnectedError, ObjectLostError)):
            return current
        waiting += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            waiting += current.exceptions
    return None


def is_death_of(error: BaseException, uid: str) -> bool:
    """Tell whether an exception came of the death of this runtime."""
    found = disconnection(error)
    if isinstance(found, ConnectionLostError):
        # It names two that lived when their connection was lost.
        return not alive(uid)
    return found is not None and (uid in str(found).replace(",", " ").split() or not alive(uid))


def fatal(what: str, deaths: int, last: BaseException) -> RuntimeDisconnectedError:
    """Return the error of an item that has killed as many workers as it may."""
    error = RuntimeDisconnectedError(
        f"{what} was given up: {deaths} workers died running it, the last with: {last}"
    )
    error.__cause__ = last
    return error


def short(value: object) -> str:
    """Return a representation of an item that fits a message."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 80 else f"{text[:77]}..."
