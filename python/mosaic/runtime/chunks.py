"""What runs on a worker for `Runtime.map`: several items in one call, timed."""

from __future__ import annotations

from time import perf_counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_functions: dict[str, Callable[..., Any]] = {}

_KEPT = 64
"""Functions remembered by a worker."""


def _function(token: str, payload: bytes | None) -> Callable[..., Any] | None:
    function = _functions.get(token)
    if function is None and payload is not None:
        from mosaic.comms.serialisation import deserialise

        function = deserialise(payload)
        if len(_functions) >= _KEPT:
            del _functions[next(iter(_functions))]
        _functions[token] = function
    return function


def run_chunk(
    token: str, payload: bytes | None, rows: list[tuple[Any, ...]], retries: int
) -> tuple[float, list[Any]] | None:
    """Call a function for every row.

    Parameters
    ----------
    token : str
        Names the function.
    payload : bytes, optional
        The pickled function; None if this worker should know it.
    rows : list of tuple
        The arguments of each call.
    retries : int
        How often a row that raised is tried again.

    Returns
    -------
    tuple or None
        Seconds taken and the results; None if the function is not known here.
    """
    function = _function(token, payload)
    if function is None:
        return None
    start = perf_counter()
    results = []
    for row in rows:
        attempt = 0
        while True:
            try:
                results.append(function(*row))
                break
            except Exception as error:
                attempt += 1
                _note_failure(error, row, attempt, retries)
                if attempt > retries:
                    raise
    return perf_counter() - start, results


async def run_chunk_async(
    token: str, payload: bytes | None, rows: list[tuple[Any, ...]], retries: int
) -> tuple[float, list[Any]] | None:
    """Await a coroutine function for every row; see `run_chunk`."""
    function = _function(token, payload)
    if function is None:
        return None
    start = perf_counter()
    results = []
    for row in rows:
        attempt = 0
        while True:
            try:
                results.append(await function(*row))
                break
            except Exception as error:
                attempt += 1
                _note_failure(error, row, attempt, retries)
                if attempt > retries:
                    raise
    return perf_counter() - start, results


def _note_failure(error: Exception, row: tuple[Any, ...], attempt: int, retries: int) -> None:
    """Log a retry, or tell which item it was when there are none left."""
    from mosaic.runtime.deaths import short

    arguments = ", ".join(short(value) for value in row)
    if attempt > retries:
        error.add_note(f"raised for the item ({arguments})")
        return
    from mosaic.utils.logger import logger

    logger().warning("the item (%s) raised %r: retry %d of %d", arguments, error, attempt, retries)
