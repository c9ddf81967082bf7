"""`Runtime.map` and `imap`: a function for every item, in chunks, several under way at each worker.

Owned by one event loop and run on its thread alone. Each living worker has a pump: a coroutine that keeps chunks under
way and takes in the oldest first, since a worker runs them in order. Invariants:

- MAP-1: an item is given out again only after its worker died.
- MAP-2: of the chunks lost with a worker only the oldest is suspected of killing it; it comes back in single items.
- MAP-3: every wait ends: with a result, a death, a worker that joins, or the time without any worker.
"""

from __future__ import annotations

import asyncio
from collections import deque

from mosaic import _core
from mosaic.comms.serialisation import dumps
from mosaic.core import methods, network
from mosaic.errors import RuntimeDisconnectedError
from mosaic.runtime import chunks, deaths
from mosaic.runtime.notices import Membership
from mosaic.runtime.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from typing import Any

    from mosaic._core import Task
    from mosaic.runtime.runtime import Runtime

CHUNK_SECONDS = 0.005
"""Time that a chunk should take where its size is free."""

MAX_CHUNK = 1024
"""Items in a chunk at most, where its size is free."""

AHEAD_SECONDS = 0.001
"""Work that should wait at a worker, so that it never idles for a round trip."""

LONG_SECONDS = 0.02
"""Chunks that take longer are sent one at a time."""

MAX_AHEAD = 32
"""Chunks under way at a worker at most."""

PAYLOAD_LIMIT = 4096
"""A pickled function of more bytes goes to each worker once."""


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


class Chunk:
    """Items that travel together: the place of the first (they are consecutive) and the arguments of each."""

    __slots__ = ("deaths", "direct", "first", "rows")

    def __init__(
        self, first: int, rows: list[tuple[Any, ...]], dead: int = 0, direct: bool = False
    ) -> None:
        self.first = first
        self.rows = rows
        self.deaths = dead
        self.direct = direct

    def split(self) -> list[Chunk]:
        """Return its items one by one, each with the death that they shared."""
        return [
            Chunk(self.first + at, [row], self.deaths + 1, self.direct)
            for at, row in enumerate(self.rows)
        ]

    def __str__(self) -> str:
        return f"item {self.first} ({', '.join(deaths.short(value) for value in self.rows[0])})"


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
        self._engine = runtime.engine
        self._function = function
        self._rows = zip(*iterables, strict=False)
        self._settings = settings
        self._payload = dumps(function)
        self._coroutine = methods.is_coroutine_function(function)
        self._token = f"{self._engine.uid}-{id(self):x}-{hash(self._payload):x}"
        self._size = settings.chunksize or 1
        self._cap = MAX_CHUNK
        try:
            length = min(len(one) for one in iterables)  # type: ignore[arg-type]
            self._cap = max(1, min(MAX_CHUNK, length // (4 * max(1, runtime.num_workers))))
        except TypeError:
            pass
        if settings.window is not None:
            self._cap = max(1, min(self._cap, settings.window // (2 * max(1, runtime.num_workers))))
        self._ahead = 1
        self._taken = 0
        self._settled = 0
        self._read = 0
        self._exhausted = False
        self._held: tuple[Any, ...] | None = None
        self._again: deque[Chunk] = deque()
        self._results: deque[tuple[int, list[Any]]] = deque()
        self._fatal: list[BaseException] = []
        self._pumps: dict[str, asyncio.Task[None]] = {}
        self._more = asyncio.Event()
        self._arrived = asyncio.Event()
        self._main: asyncio.Task[None] | None = None

    async def collect(self) -> list[Any]:
        """Run to the end, and return all results."""
        await self._run()
        if not self._settings.ordered:
            return [value for _, values in self._results for value in values]
        ordered: list[Any] = []
        for _, values in sorted(self._results, key=lambda result: result[0]):
            ordered += values
        return ordered

    async def stream(self) -> AsyncIterator[Any]:
        """Give results as they come; `close` must be called afterwards."""
        self._main = asyncio.ensure_future(self._run())
        self._main.add_done_callback(lambda _: self._arrived.set())
        early: dict[int, list[Any]] = {}
        position = 0
        ordered = self._settings.ordered
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
                for first in sorted(early):
                    # Behind an item that was given up.
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
        self._more.set()

    async def close(self) -> None:
        """Give up what is under way."""
        if self._main is not None and not self._main.done():
            self._main.cancel()
            await asyncio.gather(self._main, return_exceptions=True)

    # The run.

    async def _run(self) -> None:
        with (
            Membership(self._engine) as membership,
            Progress(self._settings.progress) as self._progress,
        ):
            self._membership = membership
            try:
                await self._supervise(membership)
            finally:
                for pump in self._pumps.values():
                    pump.cancel()
                await asyncio.gather(*self._pumps.values(), return_exceptions=True)
        if len(self._fatal) == 1:
            raise self._fatal[0]
        if self._fatal:
            raise RuntimeDisconnectedError(
                "; ".join(str(error) for error in self._fatal)
            ) from self._fatal[0]

    async def _supervise(self, membership: Membership) -> None:
        """Have a pump for every living worker, until all items are settled."""
        loop = asyncio.get_running_loop()
        alone_since: float | None = None
        while not self._finished():
            for number, uid in network.workers():
                if uid not in self._pumps and uid not in membership.dead:
                    self._pumps[uid] = asyncio.ensure_future(self._pump(number, uid))
                    self._pumps[uid].add_done_callback(lambda _: membership.wake())
            if any(not pump.done() for pump in self._pumps.values()):
                alone_since = None
                await membership.changed()
            else:
                alone_since = alone_since if alone_since is not None else loop.time()
                if loop.time() - alone_since > deaths.REPLACEMENT_TIMEOUT:
                    raise RuntimeDisconnectedError(
                        f"no worker is left, and none has joined for {deaths.REPLACEMENT_TIMEOUT:g} s: "
                        f"{self._settled} items were done"
                    )
                try:
                    async with asyncio.timeout(1.0):
                        await membership.changed()
                except TimeoutError:
                    pass
            for pump in self._pumps.values():
                if pump.done() and not pump.cancelled() and (error := pump.exception()) is not None:
                    raise error

    def _finished(self) -> bool:
        return (
            self._exhausted
            and not self._again
            and self._held is None
            and self._settled == self._taken
        )

    def _take(self) -> Chunk | None:
        """Return the next chunk; None if there is none now."""
        if self._again:
            return self._again.popleft()
        if self._exhausted and self._held is None:
            return None
        size = self._size
        window = self._settings.window
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
            while len(rows) < size:
                row = next(self._rows, None)
                if row is None:
                    self._exhausted = True
                    break
                if _refers(row):
                    # Its values are fetched by the worker, which takes a call of its own.
                    if rows:
                        self._held = row
                    else:
                        rows.append(row)
                        direct = True
                    break
                rows.append(row)
        if not rows:
            return None
        chunk = Chunk(self._taken, rows, direct=direct)
        self._taken += len(rows)
        return chunk

    async def _pump(self, number: int, uid: str) -> None:
        functions = self._engine.functions(number)
        name = getattr(self._function, "__name__", type(self._function).__name__)
        call = functions.method(
            name, kind="function", coroutine=self._coroutine, reserved=frozenset()
        )
        runner = chunks.run_chunk_async if self._coroutine else chunks.run_chunk
        retries = self._settings.retries
        small = len(self._payload) <= PAYLOAD_LIMIT
        known = False
        under_way: deque[tuple[Chunk, Task]] = deque()
        try:
            while True:
                while len(under_way) < self._ahead and (chunk := self._take()) is not None:
                    if chunk.direct:
                        under_way.append((chunk, call(self._function, *chunk.rows[0])))
                    else:
                        payload = self._payload if small or not known else None
                        known = True
                        under_way.append(
                            (chunk, call(runner, self._token, payload, chunk.rows, retries))
                        )
                if not under_way:
                    if self._finished():
                        self._more.set()
                        return
                    self._more.clear()
                    await self._more.wait()
                    continue
                chunk, task = under_way[0]
                try:
                    answer = await task.result()
                except Exception as error:
                    if not deaths.is_death_of(error, uid):
                        raise
                    await self._lose(under_way, error)
                    return
                under_way.popleft()
                if chunk.direct:
                    self._deliver(chunk, [answer])
                elif answer is None:
                    known = False
                    self._again.append(chunk)
                else:
                    self._measure(answer[0], len(chunk.rows))
                    self._deliver(chunk, answer[1])
        finally:
            for _, task in under_way:
                task.cancel()

    def _deliver(self, chunk: Chunk, values: list[Any]) -> None:
        count = len(chunk.rows)
        self._settled += count
        self._results.append((chunk.first, values))
        self._arrived.set()
        self._progress.add(count)
        if self._exhausted and self._finished():
            self._more.set()
            self._membership.wake()

    def _measure(self, seconds: float, count: int) -> None:
        """Adapt chunk size and the number of chunks under way to the time that items take."""
        if self._settings.chunksize is None:
            wanted = int(CHUNK_SECONDS / max(seconds / count, 1e-7))
            self._size = max(1, min(wanted, self._cap, 4 * self._size))
        if seconds > LONG_SECONDS:
            # A round trip costs nothing beside it, and what waits here could run elsewhere.
            self._ahead = 1
        else:
            self._ahead = max(2, min(MAX_AHEAD, int(AHEAD_SECONDS / max(seconds, 1e-7))))

    async def _lose(self, under_way: deque[tuple[Chunk, Task]], error: Exception) -> None:
        """Give the chunks of a dead worker to others."""
        suspect, _ = under_way.popleft()
        if suspect.deaths + 1 >= self._settings.max_deaths and len(suspect.rows) == 1:
            self._fatal.append(deaths.fatal(str(suspect), suspect.deaths + 1, error))
            self._settled += 1
            self._read += 1
        else:
            self._again.extend(suspect.split())
        while under_way:
            chunk, task = under_way[0]
            try:
                answer = await task.result()
            except Exception:
                self._again.append(chunk)
            else:
                # It had come home before the death.
                if chunk.direct:
                    self._deliver(chunk, [answer])
                elif answer is None:
                    self._again.append(chunk)
                else:
                    self._deliver(chunk, answer[1])
            under_way.popleft()
        self._more.set()
        self._membership.wake()


def _refers(row: tuple[Any, ...]) -> bool:
    return any(isinstance(value, (_core.Task, _core.Output)) for value in row)
