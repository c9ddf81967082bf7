"""What runs on a worker for `Runtime.map`: several items in one call, timed.

A chunk is known by the token of its map and a serial number. Whoever has nothing to do may have `take_back` give items
of it to somebody else: one lock stands between that and the start of an item, so that no item runs twice.
"""

from __future__ import annotations

from _thread import allocate_lock
from time import perf_counter

from mosaic.core.failure import encode_exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeAlias

    Rows: TypeAlias = list[tuple[Any, ...]]
    Answer: TypeAlias = "tuple[float, list[Any], Failed | None] | None"

_functions: dict[str, Callable[..., Any]] = {}

_KEPT = 64
"""Functions, and maps, remembered by a worker."""

_KEPT_CHUNKS = 256
"""Chunks of a map remembered by a worker: many times what is under way."""


class Failed:
    """The exception of a row, on its way to the head: arrives as what `encode_exception` returns.

    It is encoded with the results, so that what it refers to is counted as that is.

    Parameters
    ----------
    error : Exception
        The exception.
    """

    __slots__ = ("_error",)

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (encode_exception(self._error),)


class Course:
    """How far a chunk is: the items started, and where it ends (earlier once items were taken back)."""

    __slots__ = ("limit", "started")

    def __init__(self) -> None:
        self.started = 0
        self.limit = 1 << 62


_courses: dict[str, dict[int, Course]] = {}
_lock = allocate_lock()


def _course(token: str, serial: int) -> Course:
    """Return the course of a chunk that is under way or will come; the lock is held."""
    of_map = _courses.get(token)
    if of_map is None:
        _make_room(_courses, _KEPT)
        of_map = _courses[token] = {}
    course = of_map.get(serial)
    if course is None:
        _make_room(of_map, _KEPT_CHUNKS)
        course = of_map[serial] = Course()
    return course


def _make_room(kept: dict[Any, Any], limit: int) -> None:
    if len(kept) >= limit:
        del kept[next(iter(kept))]


def _function(token: str, payload: bytes | None) -> Callable[..., Any] | None:
    function = _functions.get(token)
    if function is None and payload is not None:
        from mosaic.serialise.codec import deserialise

        function = deserialise(payload)
        _make_room(_functions, _KEPT)
        _functions[token] = function
    return function


def _started(token: str, serial: int, rows: Rows) -> Iterator[tuple[Any, ...]]:
    """Give the rows of a chunk one by one, until those that were taken back."""
    with _lock:
        course = _course(token, serial)
    for row in rows:
        with _lock:
            if course.started >= course.limit:
                return
            course.started += 1
        yield row


def run_chunk(token: str, serial: int, payload: bytes | None, rows: Rows, retries: int) -> Answer:
    """Call a function for every row.

    Parameters
    ----------
    token : str
        Names the function, and the map.
    serial : int
        Names the chunk.
    payload : bytes, optional
        The pickled function; None if this worker should know it.
    rows : list of tuple
        The arguments of each call.
    retries : int
        How often a row that raised is tried again.

    Returns
    -------
    tuple or None
        Seconds taken, the results, and the exception of the row after them, if it raised. Without one there
        are fewer results than rows if some were taken back. None if the function is not known here.
    """
    function = _function(token, payload)
    if function is None:
        return None
    start = perf_counter()
    results = []
    for row in _started(token, serial, rows):
        attempt = 0
        while True:
            try:
                results.append(function(*row))
                break
            except Exception as error:
                attempt += 1
                _note_failure(error, row, attempt, retries)
                if attempt > retries:
                    return perf_counter() - start, results, Failed(error)
    return perf_counter() - start, results, None


async def run_chunk_async(
    token: str, serial: int, payload: bytes | None, rows: Rows, retries: int
) -> Answer:
    """Await a coroutine function for every row; see `run_chunk`."""
    function = _function(token, payload)
    if function is None:
        return None
    start = perf_counter()
    results = []
    for row in _started(token, serial, rows):
        attempt = 0
        while True:
            try:
                results.append(await function(*row))
                break
            except Exception as error:
                attempt += 1
                _note_failure(error, row, attempt, retries)
                if attempt > retries:
                    return perf_counter() - start, results, Failed(error)
    return perf_counter() - start, results, None


async def take_back(token: str, serial: int, count: int) -> int:
    """Take items of a chunk back that have not started: all of one that waits, half of the rest of one that runs.

    It is a coroutine function, to run beside a plain one that keeps the main thread.

    Parameters
    ----------
    token, serial
        Name the chunk.
    count : int
        Its items.

    Returns
    -------
    int
        How many of its items the chunk keeps.
    """
    with _lock:
        course = _course(token, serial)
        rest = min(count, course.limit) - course.started
        course.limit = course.started + (rest // 2 if course.started else 0)
        return course.limit


def _note_failure(error: Exception, row: tuple[Any, ...], attempt: int, retries: int) -> None:
    """Log a retry, or tell which item it was when there are none left."""
    from mosaic.runtime.deaths import short

    arguments = ", ".join(short(value) for value in row)
    if attempt > retries:
        error.add_note(f"raised for the item ({arguments})")
        return
    from mosaic.log import logger

    logger().warning("the item (%s) raised %r: retry %d of %d", arguments, error, attempt, retries)
