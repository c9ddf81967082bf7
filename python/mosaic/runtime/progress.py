"""A line on standard error that shows how far a loop is."""

from __future__ import annotations

import sys
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

INTERVAL = 0.1
"""Seconds between two lines."""


class Progress:
    """Counts items; a context manager that ends the line.

    Parameters
    ----------
    shown : bool
        Write at all.
    """

    def __init__(self, shown: bool) -> None:
        self._shown = shown
        self._count = 0
        self._start = monotonic()
        self._next = self._start + INTERVAL
        self._written = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown and (self._count or self._written):
            self._write("\n")

    def add(self, count: int) -> None:
        """Count items that have ended."""
        self._count += count
        if self._shown and monotonic() >= self._next:
            self._next = monotonic() + INTERVAL
            self._write("")

    def _write(self, end: str) -> None:
        seconds = max(monotonic() - self._start, 1e-9)
        stream = sys.stderr
        if stream is None:
            return
        try:
            stream.write(
                f"\r{self._count} items, {seconds:.1f} s, {self._count / seconds:.1f} items/s{end}"
            )
            stream.flush()
        except (OSError, ValueError):
            self._shown = False
        self._written = True
