"""What the workers run for mosaic's rows, in a module that they import by name."""

from __future__ import annotations

import mosaic


@mosaic.tessera
class Echo:
    """Answers, with plain methods and an async one."""

    def nothing(self) -> None:
        return None

    async def nothing_async(self) -> None:
        return None

    def length(self, data: bytes) -> int:
        return len(data)

    def increment(self, value: int) -> int:
        return value + 1


def increment(value: int) -> int:
    """Be the trivial item of a map."""
    return value + 1
