"""Joins rows of several tables by their tasks, for `mosaic.profile.model`."""

from __future__ import annotations

import numpy as np

from mosaic.profile.tables import packed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import numpy.typing as npt

    Array = npt.NDArray[Any]


class Column:
    """Looks up what a table says of tasks; the first row counts, or the last."""

    def __init__(self, tasks: Array, *, last: bool = False) -> None:
        order = np.argsort(tasks, kind="stable")
        ordered = tasks[order]
        edge = np.ones(len(ordered), bool)
        if len(ordered):
            differs = ordered[1:] != ordered[:-1]
            if last:
                edge[:-1] = differs
            else:
                edge[1:] = differs
        self._tasks, self._rows = ordered[edge], order[edge]

    def rows(self, tasks: Array) -> tuple[Array, Array]:
        """Return which of the tasks are there, and their rows (0 for the others)."""
        if not len(self._tasks):
            return np.zeros(len(tasks), bool), np.zeros(len(tasks), "i8")
        at = np.minimum(np.searchsorted(self._tasks, tasks), len(self._tasks) - 1)
        there = self._tasks[at] == tasks
        return there, np.where(there, self._rows[at], 0)

    def of(self, tasks: Array, values: Array, missing: Any) -> Array:
        """Return a value for each task."""
        there, rows = self.rows(tasks)
        if not len(values):
            return np.full(len(tasks), missing)
        return np.where(there, values[rows], missing)


def paired(*columns: tuple[Array, Array]) -> list[Array]:
    """Return a number for each pair of task and runtime, equal for equal pairs, for several tables at once."""
    _, numbers = np.unique(np.concatenate([task for task, _ in columns]), return_inverse=True)
    runtimes = np.concatenate([runtime.astype("u8") for _, runtime in columns])
    pairs = numbers.astype("u8") << np.uint64(32) | runtimes
    return np.split(pairs, np.cumsum([len(task) for task, _ in columns])[:-1])


def located(runtimes: Array, places: dict[int, int]) -> Array:
    """Return the indices of processes, given the numbers of their runtimes; -1 for those that are not known."""
    different, back = np.unique(runtimes, return_inverse=True)
    numbers = [places.get(int(number), -1) for number in np.nan_to_num(different, nan=-1)]
    return np.array(numbers, "i8")[back] if numbers else np.zeros(0, "i8")


def arguments(
    tables: dict[str, Array], task: Array, place: Array, origin: float
) -> tuple[Array, Array]:
    """Return when the last task among the arguments of each call had ended, and when the last value was there."""
    links, done, failed, moved = (tables[name] for name in ("links", "done", "failed", "moved"))
    missing = np.full(len(task), np.nan)
    if not len(links):
        return missing, missing.copy()
    needed = packed(links["owner"], links["number"])
    coded = tables["coded"]
    end = Column(coded["task"], last=True).of(needed, coded["done"], np.nan)
    end = np.fmax(end, Column(done["task"], last=True).of(needed, done["returned"], np.nan))
    end = np.fmax(end, Column(failed["task"], last=True).of(needed, failed["time"], np.nan))
    at = Column(task, last=True).of(links["task"], place, np.nan)
    # Where a value came to, and which.
    values = packed(moved["owner"], moved["number"])
    comings, wanted = paired((values, moved["runtime"]), (needed, np.nan_to_num(at, nan=0)))
    came = Column(comings).of(wanted, moved["time"], np.nan)
    rows = Column(links["task"])
    order = np.argsort(links["task"], kind="stable")
    ordered = links["task"][order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    last_end = np.fmax.reduceat(end[order], first)
    last_came = np.fmax.reduceat(np.fmax(end, came)[order], first)
    found, which = rows.rows(task)
    group = np.searchsorted(ordered[first], links["task"][which])
    group = np.minimum(group, len(first) - 1)
    ended = np.where(found, last_end[group], np.nan) - origin
    ready = np.where(found, last_came[group], np.nan) - origin
    return ended, ready
