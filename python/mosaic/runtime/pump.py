"""One worker's part in a map: keeps chunks under way there, takes in their results, and tells what a death took along.

Owned by the event loop of the map and run on its thread alone. Invariants:

- MAP-1: an item is given out again only after its worker died, or if it had not started.
- MAP-2: a death counts against an item only if nothing else of the map was under way at that worker. Whatever else is
  lost with a worker runs alone from then on, until it has ended or killed its worker.
- MAP-3: every wait ends: with a result, a death, a worker that joins, or the word that none will.
"""

from __future__ import annotations

import asyncio
from collections import deque

from mosaic._core import CallKind
from mosaic.core.failure import decode_exception
from mosaic.errors import ObjectLostError
from mosaic.runtime import chunks, deaths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mosaic._core import Task
    from mosaic.runtime.mapping import Mapping

PAYLOAD_LIMIT = 4096
"""A pickled function of more bytes goes to each worker once."""

IDLE_SECONDS = 0.05
"""Time after which a worker that has nothing to do takes items from others: many round trips."""

MAX_MOVES = 3
"""How often an item is moved to another worker before it stays where it is."""


class Chunk:
    """Items that travel together: the place of the first (they are consecutive) and the arguments of each.

    Parameters
    ----------
    first : int
        The place of the first item.
    rows : list of tuple
        The arguments of each.
    direct : bool
        Whether they are fetched by the worker: one item, as a call of its own.
    """

    __slots__ = ("alone", "deaths", "direct", "first", "moves", "rows")

    def __init__(self, first: int, rows: list[tuple[Any, ...]], direct: bool = False) -> None:
        self.first = first
        self.rows = rows
        self.direct = direct
        self.deaths = 0
        self.alone = False
        self.moves = 0

    def rest(self, kept: int) -> Chunk:
        """Return what remains of it without the first items, to be run elsewhere."""
        rest = Chunk(self.first + kept, self.rows[kept:], self.direct)
        rest.moves = self.moves + 1
        return rest

    def singles(self) -> list[Chunk]:
        """Return its items one by one, each to be run alone."""
        items = [Chunk(self.first + at, [row], self.direct) for at, row in enumerate(self.rows)]
        for item in items:
            item.alone = True
            item.deaths = self.deaths
        return items

    def __str__(self) -> str:
        return f"item {self.first} ({', '.join(deaths.short(value) for value in self.rows[0])})"


class Sent:
    """A chunk under way at a worker."""

    __slots__ = ("asked", "chunk", "serial", "task")

    def __init__(self, chunk: Chunk, serial: int, task: Task) -> None:
        self.chunk = chunk
        self.serial = serial
        self.task = task
        # Being asked about, or known to have nothing to give back.
        self.asked = chunk.direct or chunk.alone or chunk.moves >= MAX_MOVES


class Pump:
    """Keeps one worker busy.

    Parameters
    ----------
    mapping : Mapping
        Where items come from and results go.
    number : int
        The worker's number.
    uid : str
        The worker's uid.
    """

    def __init__(self, mapping: Mapping, number: int, uid: str) -> None:
        self._mapping = mapping
        self._uid = uid
        self._functions = functions = mapping.engine.functions(number)
        name = getattr(mapping.function, "__name__", type(mapping.function).__name__)
        coroutine = mapping.coroutine
        none: frozenset[str] = frozenset()
        self._call = functions.method(
            name, kind=CallKind.FUNCTION, coroutine=coroutine, reserved=none
        )
        self._call_direct = functions.method(
            name,
            kind=CallKind.FUNCTION,
            coroutine=coroutine,
            reserved=none,
            retries=mapping.settings.retries,
        )
        self._runner = chunks.run_chunk_async if coroutine else chunks.run_chunk
        self._known = False
        self.under_way: deque[Sent] = deque()

    async def run(self) -> None:
        """Work until the map is finished or the worker dies."""
        mapping = self._mapping
        try:
            while True:
                self._send()
                if not self.under_way:
                    if mapping.finished():
                        mapping.more.set()
                        return
                    await self._idle()
                    continue
                # A worker runs chunks in order.
                sent = self.under_way[0]
                try:
                    answer = await sent.task.result()
                except Exception as error:
                    if deaths.is_death_of(error, self._uid):
                        await self._lose(error)
                        return
                    self.under_way.popleft()
                    mapping.fail(sent.chunk.first, error)
                    continue
                self.under_way.popleft()
                self._take_in(sent, answer)
        finally:
            for sent in self.under_way:
                sent.task.cancel()

    def _send(self) -> None:
        """Send what is to be under way."""
        mapping = self._mapping
        under_way = self.under_way
        if under_way and under_way[0].chunk.alone:
            return
        while len(under_way) < mapping.ahead:
            chunk = mapping.take(first=not under_way)
            if chunk is None:
                return
            serial = mapping.next_serial()
            if chunk.direct:
                task = self._call_direct(mapping.function, *chunk.rows[0])
            else:
                small = len(mapping.payload) <= PAYLOAD_LIMIT
                payload = mapping.payload if small or not self._known else None
                self._known = True
                task = self._call(
                    self._runner,
                    mapping.token,
                    serial,
                    payload,
                    chunk.rows,
                    mapping.settings.retries,
                )
            under_way.append(Sent(chunk, serial, task))
            if chunk.alone:
                return

    def _take_in(self, sent: Sent, answer: Any) -> None:
        """Settle a chunk that has ended."""
        mapping = self._mapping
        chunk = sent.chunk
        if chunk.direct:
            mapping.deliver(chunk.first, [answer])
        elif answer is None:
            self._known = False
            mapping.give_back(chunk)
        else:
            seconds, values, failure = answer
            if values:
                mapping.measure(seconds, len(values))
                mapping.deliver(chunk.first, values)
            if failure is not None:
                line, detail = failure
                error = decode_exception(line, detail)
                mapping.fail(chunk.first + len(values), error)
            elif len(values) < len(chunk.rows):
                mapping.give_back(chunk.rest(len(values)))

    async def _idle(self) -> None:
        """Wait until there is something to do; take it from others after a while."""
        mapping = self._mapping
        mapping.more.clear()
        busiest = max(mapping.pumps(), key=Pump.load, default=None)
        able = busiest is not None and busiest.load() > 0
        try:
            async with asyncio.timeout(IDLE_SECONDS if able else None):
                await mapping.more.wait()
        except TimeoutError:
            if busiest is not None and busiest.load() > 0:
                mapping.in_background(busiest.relieve())

    def load(self) -> int:
        """Return how many items may be waiting at the worker, as far as is known here."""
        return sum(len(sent.chunk.rows) for sent in self.under_way if not sent.asked)

    async def relieve(self) -> None:
        """Take items back from the worker, those that were to run last."""
        sent = next((sent for sent in reversed(self.under_way) if not sent.asked), None)
        if sent is None:
            return
        sent.asked = True
        mapping = self._mapping
        ask = self._functions.method(
            "take_back", kind=CallKind.FUNCTION, coroutine=True, reserved=frozenset()
        )
        chunk = sent.chunk
        try:
            kept = await ask(chunks.take_back, mapping.token, sent.serial, len(chunk.rows)).result()
        except Exception:
            # The worker is about to be found dead.
            return
        if sent not in self.under_way or kept >= len(chunk.rows):
            return
        # What it has not started may be asked for again.
        sent.asked = False
        rest = chunk.rest(kept)
        del chunk.rows[kept:]
        mapping.give_back(rest)

    async def _lose(self, error: Exception) -> None:
        """Give to others what was under way at the worker, which is dead."""
        mapping = self._mapping
        lost: list[Chunk] = []
        while self.under_way:
            sent = self.under_way[0]
            try:
                answer = await sent.task.result()
            except ObjectLostError:
                # It had ended, and its results were still at the worker.
                mapping.give_back(sent.chunk)
            except Exception:
                lost.append(sent.chunk)
            else:
                # It had come home before the death.
                self._take_in(sent, answer)
            self.under_way.popleft()
        mapping.blame(lost, error)
