"""Functions to call when this process ends, the last one added first: ``mosaic.utils.at_exit.add(f)``, ``remove(f)``.

In a worker that is when its network ends. In new programs `atexit` does this.
"""

from __future__ import annotations

import atexit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def add(function: Callable[[], object]) -> None:
    """Have a function called at the end."""
    atexit.register(function)


def remove(function: Callable[[], object]) -> None:
    """Take a function back; one that was not added is no error."""
    atexit.unregister(function)
