"""`Runtime.map` and `imap`: a function for every item, in chunks, several under way at each worker.

Owned by one event loop and run on its thread alone. Each living worker has a `Pump`, where the invariants are; here
items are taken, results delivered and deaths blamed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice

from mosaic import _core
from mosaic.core import methods, network
from mosaic.errors import RuntimeDisconnectedError
from mosaic.runtime import deaths
from mosaic.runtime.notices import Membership
from mosaic.runtime.progress import Progress
from mosaic.runtime.pump import Chunk, Pump
from mosaic.serialise.codec import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
    from typing import Any

    from mosaic.runtime.runtime import Runtime

CHUNK_SECONDS = 0.005
"""Time that a chunk should take where its size is free."""

MAX_CHUNK = 1024
"""Items in a chunk at most, where its size is free."""

MOST_GROWTH = 16
"""How many times as long a chunk may be as one that was measured: items differ."""

AHEAD_SECONDS = 0.001
"""Work that should wait at a worker, so that it never idles for a round trip."""

LONG_SECONDS = 0.02
"""Chunks that take longer are sent one at a time."""

MAX_AHEAD = 32
"""Chunks under way at a worker at most."""


class MapSettings:
    """The options of a map; see `Runtime.map` and `Runtime.imap`."""

    __slots__ = ("chunksize", "max_deaths", "ordered", "progress", "retries", "window")

    def __init__(
        self,
        *,
        chunksize: int | None,
        ordered: bool,
        progress: bool,
        retries: int,
        max_deaths: int,
        window: int | None,
    ) -> None:
        for name, value in (
            ("chunksize", chunksize),
            ("window", window),
            ("max_deaths", max_deaths),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, but is {value}")
        self.chunksize = chunksize
        self.ordered = ordered
        self.progress = progress
        self.retries = retries
        self.max_deaths = max_deaths
        self.window = window


class Mapping:
    """One run of a map.

    Parameters
    ----------
    runtime : Runtime
        Whose workers are used.
    function : callable
        Called with the values of an item.
    iterables : tuple of iterable
        The items.
    settings : MapSettings
        The options.
    """

    def __init__(
        self,
        runtime: Runtime,
        function: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        settings: MapSettings,
    ) -> None:
        if not callable(function):
            raise TypeError(f"map runs a function, not {function!r}")
        if not iterables:
            raise TypeError("map needs something to iterate over")
        self.engine = runtime.engine
        self.function = function
        self._rows = zip(*iterables, strict=False)
        self.settings = settings
        self.payload = dumps(function)
        self.coroutine = methods.is_coroutine_function(function)
        self.token = f"{self.engine.uid}-{id(self):x}-{hash(self.payload):x}"
        self._size = settings.chunksize or 1
        self._cap = MAX_CHUNK
        try:
            length = min(len(one) for one in iterables)  # type: ignore[arg-type]
            self._cap = max(1, min(MAX_CHUNK, length // (4 * max(1, runtime.num_workers))))
        except TypeError:
            pass
        if settings.window is not None:
            self._cap = max(1, min(self._cap, settings.window // (2 * max(1, runtime.num_workers))))
        self.ahead = 1
        self._taken = 0
        self._settled = 0
        self._read = 0
        self._exhausted = False
        self._held: tuple[Any, ...] | None = None
        self._serial = 0
        self._again: deque[Chunk] = deque()
        self._suspects: deque[Chunk] = deque()
        self._results: deque[tuple[int, list[Any]]] = deque()
        self._fatal: list[BaseException] = []
        self._failed: tuple[int, BaseException] | None = None
        # Results in the order of the items: a failure waits for what comes before it.
        self._in_turn = False
        self._pumps: dict[str, tuple[Pump, asyncio.Task[None]]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self.more = asyncio.Event()
        self._arrived = asyncio.Event()
        self._main: asyncio.Task[None] | None = None

    async def collect(self) -> list[Any]:
        """Run to the end, and return all results."""
        await self._run()
        if not self.settings.ordered:
            return [value for _, values in self._results for value in values]
        ordered: list[Any] = []
        for _, values in sorted(self._results, key=lambda result: result[0]):
            ordered += values
        return ordered

    async def stream(self) -> AsyncIterator[Any]:
        """Give results as they come; `close` must be called afterwards."""
        self._in_turn = self.settings.ordered
        self._main = asyncio.ensure_future(self._run())
        self._main.add_done_callback(lambda _: self._arrived.set())
        early: dict[int, list[Any]] = {}
        position = 0
        ordered = self.settings.ordered
        while True:
            while self._results:
                first, values = self._results.popleft()
                if ordered:
                    early[first] = values
                    continue
                for value in values:
                    yield value
                    self._count_read(1)
            while position in early:
                values = early.pop(position)
                position += len(values)
                for value in values:
                    yield value
                    self._count_read(1)
            if self._main.done():
                if self._results:
                    continue
                failed = self._main.exception() if not self._main.cancelled() else None
                # What is behind an item that was given up; not behind one that failed.
                for first in sorted(early) if self._failed is None else ():
                    for value in early[first]:
                        yield value
                if failed is not None:
                    raise failed
                return
            self._arrived.clear()
            if not self._results and not self._main.done():
                await self._arrived.wait()

    def _count_read(self, count: int) -> None:
        self._read += count
        self.more.set()

    async def close(self) -> None:
        """Give up what is under way."""
        if self._main is not None and not self._main.done():
            self._main.cancel()
            await asyncio.gather(self._main, return_exceptions=True)

    # The run.

    async def _run(self) -> None:
        with (
            Membership(self.engine) as membership,
            Progress(self.settings.progress) as self._progress,
        ):
            self._membership = membership
            try:
                await self._supervise(membership)
            finally:
                tasks = [task for _, task in self._pumps.values()] + list(self._background)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        if self._failed is not None:
            raise self._failed[1]
        if len(self._fatal) == 1:
            raise self._fatal[0]
        if self._fatal:
            raise RuntimeDisconnectedError(
                "; ".join(str(error) for error in self._fatal)
            ) from self._fatal[0]

    async def _supervise(self, membership: Membership) -> None:
        """Have a pump for every living worker, until all items are settled."""
        while not self.finished():
            for number, uid in network.workers():
                if uid not in self._pumps and uid not in membership.dead:
                    pump = Pump(self, number, uid)
                    task = asyncio.ensure_future(pump.run())
                    task.add_done_callback(lambda _: membership.wake())
                    self._pumps[uid] = pump, task
            if self.finished():
                return
            if any(not task.done() for _, task in self._pumps.values()):
                await membership.changed()
            else:
                await membership.joined(f"{self._settled} items were done")
            for _, task in self._pumps.values():
                if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                    raise error

    # What pumps use.

    def pumps(self) -> Iterator[Pump]:
        """Give the pumps of all workers that take part."""
        return (pump for pump, task in self._pumps.values() if not task.done())

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Have a coroutine run until the end of the map at most."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def finished(self) -> bool:
        """Tell whether every item is settled, or those before one that failed are."""
        if self._failed is not None:
            place = self._failed[0]
            waiting = [*self._again, *self._suspects]
            waiting += [sent.chunk for pump in self.pumps() for sent in pump.under_way]
            return not self._in_turn or all(chunk.first > place for chunk in waiting)
        return (
            self._exhausted
            and not self._again
            and not self._suspects
            and self._held is None
            and self._settled == self._taken
        )

    def next_serial(self) -> int:
        """Return a number for the next chunk that is sent."""
        self._serial += 1
        return self._serial

    def take(self, first: bool) -> Chunk | None:
        """Return the next chunk; None if there is none now.

        Parameters
        ----------
        first : bool
            Nothing else is under way at the worker: it may get an item that has to run alone.
        """
        if self._suspects:
            # While there are some, workers take nothing ahead, so that they can run them.
            return self._suspects.popleft() if first else None
        if self._again:
            return self._again.popleft()
        if self._failed is not None:
            return None
        if self._exhausted and self._held is None:
            return None
        size = self._size
        window = self.settings.window
        if window is not None:
            size = min(size, window - (self._taken - self._read))
            if size <= 0:
                return None
        rows: list[tuple[Any, ...]] = []
        direct = False
        if self._held is not None:
            rows.append(self._held)
            direct = _refers(self._held)
            self._held = None
        if not direct:
            for row in islice(self._rows, size - len(rows)):
                if _refers(row):
                    # Its values are fetched by the worker, which takes a call of its own.
                    if rows:
                        self._held = row
                    else:
                        rows.append(row)
                        direct = True
                    break
                rows.append(row)
            else:
                if len(rows) < size:
                    self._exhausted = True
        if not rows:
            return None
        chunk = Chunk(self._taken, rows, direct)
        self._taken += len(rows)
        return chunk

    def deliver(self, first: int, values: list[Any]) -> None:
        """Take results in, those of consecutive items."""
        count = len(values)
        self._settled += count
        self._results.append((first, values))
        self._arrived.set()
        self._progress.add(count)
        self._wake_if_finished()

    def give_back(self, chunk: Chunk) -> None:
        """Have a chunk run by whoever comes next."""
        if chunk.rows:
            (self._suspects if chunk.alone else self._again).append(chunk)
            self.more.set()

    def blame(self, lost: list[Chunk], error: Exception) -> None:
        """Take note of what was lost with a worker, all of it under way at the same time."""
        if len(lost) == 1 and len(lost[0].rows) == 1:
            suspect = lost[0]
            suspect.deaths += 1
            if suspect.deaths >= self.settings.max_deaths:
                self._fatal.append(deaths.fatal(str(suspect), suspect.deaths, error))
                self._settled += 1
                self._read += 1
                lost = []
        for chunk in lost:
            self._suspects.extend(chunk.singles())
        self.more.set()
        self._wake_if_finished()

    def fail(self, place: int, error: BaseException) -> None:
        """End with the failure of an item."""
        if self._failed is None or place < self._failed[0]:
            self._failed = place, error
        self._wake_if_finished()

    def _wake_if_finished(self) -> None:
        if (self._exhausted or self._failed is not None) and self.finished():
            self.more.set()
            self._membership.wake()

    def measure(self, seconds: float, count: int) -> None:
        """Adapt chunk size and the number of chunks under way to the time that items take."""
        item_seconds = max(seconds / count, 1e-7)
        if self.settings.chunksize is None:
            wanted = int(CHUNK_SECONDS / item_seconds)
            self._size = max(1, min(wanted, self._cap, max(self._size, MOST_GROWTH * count)))
        if seconds > LONG_SECONDS:
            # A round trip costs nothing beside it, and what waits here could run elsewhere.
            self.ahead = 1
        else:
            chunk_seconds = item_seconds * self._size
            self.ahead = max(2, min(MAX_AHEAD, int(AHEAD_SECONDS / chunk_seconds)))


def _refers(row: tuple[Any, ...]) -> bool:
    for value in row:  # noqa: SIM110 - `any` takes five times as long for a number
        if isinstance(value, _REFERENCES):
            return True
    return False


_REFERENCES = (_core.Task, _core.Output)
