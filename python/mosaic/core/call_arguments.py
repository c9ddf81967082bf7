"""What a task keeps of its call: `TaskProxy.args`, `kwargs` and `max_retries`, which programs of mosaic 1.2 read.

The core keeps numbers, short texts and short lists of them, weak references to anything else, and of what allows no
weak reference the type; see ``rust/mosaic-python/src/call_arguments.rs``.
"""

from __future__ import annotations

import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Given: TypeAlias = tuple[Any, ...] | list[Any]


class NotKept:
    """Stands for an argument that its task does not keep, and that the program has let go of.

    Parameters
    ----------
    type : type, optional
        The argument's class, where the task knows it.
    """

    def __init__(self, type: type | None = None) -> None:
        self.type = type

    def __repr__(self) -> str:
        what = "argument" if self.type is None else self.type.__qualname__
        return f"<{what} that the task does not keep>"


def parts(given: Given | None) -> tuple[tuple[Any, ...], dict[str, Any], int]:
    """Return arguments, keyword arguments and retries of a call.

    Parameters
    ----------
    given : tuple or list, optional
        What the core has put down: the arguments alone, or all three; None for no arguments.
    """
    given = () if given is None else given
    positional, keyword, retries = given if isinstance(given, list) else (given, {}, 0)
    return (
        tuple(_found(one) for one in positional),
        {name: _found(one) for name, one in keyword.items()},
        retries,
    )


def _found(one: Any) -> Any:
    if isinstance(one, type):
        return NotKept(one)
    if type(one) is weakref.ReferenceType:
        value = one()
        return NotKept() if value is None else value
    return one.copy() if isinstance(one, (list, dict)) else one
