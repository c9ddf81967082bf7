"""`async_property`: an attribute that is awaited."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def async_property(function: Callable[[Any], Any]) -> property:
    """Make a coroutine method a property: ``await obj.name`` calls it.

    Parameters
    ----------
    function : coroutine function
        The method, without parameters beyond ``self``.

    Raises
    ------
    TypeError
        It is no coroutine function.

    Examples
    --------
    >>> class Field:
    ...     @async_property
    ...     async def norm(self):
    ...         return 3
    >>> async def main():
    ...     return await Field().norm
    >>> import asyncio
    >>> asyncio.run(main())
    3
    """
    from mosaic.core.methods import is_coroutine_function

    if not is_coroutine_function(function):
        raise TypeError(f"async_property takes a method made with 'async def', not {function!r}")
    return property(function)
