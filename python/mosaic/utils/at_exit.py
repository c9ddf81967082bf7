"""Functions to call when this process ends: `at_exit.add` and `at_exit.remove`."""

from __future__ import annotations

import atexit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class AtExit:
    """The functions to call when this process ends, the last one added first."""

    def add(self, function: Callable[[], object]) -> None:
        """Have a function called at the end."""
        atexit.register(function)

    def remove(self, function: Callable[[], object]) -> None:
        """Take a function back."""
        atexit.unregister(function)


at_exit = AtExit()
