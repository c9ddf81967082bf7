"""Reads the file of a profile into tables, with times in nanoseconds.

The columns are those of ``docs/design/profile.md``; the file itself is read by the Rust core.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mosaic import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    import numpy.typing as npt

    Rows: TypeAlias = npt.NDArray[Any]

_LONG, _SHORT = "<u8", "<u4"

COLUMNS: dict[str, list[tuple[str, str]]] = {
    "created": [("time", _LONG), ("task", _LONG), ("callee", _SHORT), ("size", _SHORT)],
    "parents": [("task", _LONG), ("parent", _LONG)],
    "links": [("task", _LONG), ("number", _LONG), ("owner", _SHORT), ("pad", _SHORT)],
    "queued": [("time", _LONG), ("task", _LONG)],
    "started": [("time", _LONG), ("task", _LONG)],
    "done": [
        ("task", _LONG),
        ("began", _LONG),
        ("returned", _LONG),
        ("size", _SHORT),
        ("status", _SHORT),
    ],
    "coded": [("task", _LONG), ("ran", _LONG), ("done", _LONG)],
    "failed": [("time", _LONG), ("task", _LONG), ("kind", _SHORT), ("pad", _SHORT)],
    "moved": [
        ("time", _LONG),
        ("number", _LONG),
        ("size", _LONG),
        ("copied", _LONG),
        ("owner", _SHORT),
        ("source", _SHORT),
    ],
    "spans": [
        ("start", _LONG),
        ("end", _LONG),
        ("task", _LONG),
        ("function", _SHORT),
        ("depth", _SHORT),
    ],
    "functions": [
        ("count", _LONG),
        ("total", _LONG),
        ("own", _LONG),
        ("function", _SHORT),
        ("pad", _SHORT),
    ],
}
"""The columns of each table, as they lie in the file."""

_TIMES = frozenset({"time", "began", "returned", "ran", "done", "start", "end"})
_DURATIONS = frozenset({"total", "own"})

_SEQUENCE_BITS = 40
_MEBIBYTES = 1 << 31

KINDS = ("construct", "method", "get", "get", "set", "stop", "function", "method")
"""Kinds of calls, by their number."""

STATUSES = (
    "done",
    "raised",
    "cancelled",
    "timed out",
    "disconnected",
    "stopped",
    "object lost",
    "rejected",
    "internal error",
    "no descriptors",
    "no memory",
    "connection lost",
)
"""How calls end, by the number of their status."""


@dataclass(frozen=True)
class Process:
    """A process that recorded.

    Parameters
    ----------
    runtime : int
        The number of its runtime.
    uid : str
        Its name: ``worker:0:1``.
    pid : int
        Its process id.
    began : float
        When it began to record, in nanoseconds of ``CLOCK_MONOTONIC``.
    wall : int
        The same moment, in nanoseconds since 1970.
    last : float
        When it was last heard of, in nanoseconds of ``CLOCK_MONOTONIC``.
    """

    runtime: int
    uid: str
    pid: int
    began: float
    wall: int
    last: float


@dataclass(frozen=True)
class Callee:
    """What is called.

    Parameters
    ----------
    tessera : tuple of int
        Its owner and its number there.
    kind : str
        One of `KINDS`.
    cls, method : str
        The names of class and method.
    """

    tessera: tuple[int, int]
    kind: str
    cls: str
    method: str

    @property
    def name(self) -> str:
        """Class and method, for people."""
        if self.kind == "construct":
            return f"{self.cls}()"
        if self.kind == "function":
            return self.method
        text = {"set": f"{self.method} =", "get": f"{self.method} ?"}.get(self.kind, self.method)
        return f"{self.cls}.{text}" if self.cls else text


@dataclass
class Recording:
    """What is in a file.

    Parameters
    ----------
    processes : list of Process
        Who recorded: the head, the workers by their numbers, the others.
    callees : list of Callee
        What column ``callee`` refers to.
    names : list of tuple of str
        What column ``function`` refers to: file and name.
    tables : dict of str to structured array
        By the names of `COLUMNS`. Times are nanoseconds as floats; column ``runtime`` says who wrote a row.
    torn : int
        Bytes of the file that belong to no whole record.
    dropped : int
        Rows that were left out since the disk was too slow.
    """

    processes: list[Process] = field(default_factory=list)
    callees: list[Callee] = field(default_factory=list)
    names: list[tuple[str, str]] = field(default_factory=list)
    tables: dict[str, Rows] = field(default_factory=dict)
    torn: int = 0
    dropped: int = 0


def read(path: str | os.PathLike[str]) -> Recording:
    """Read the file of a profile, whole or torn, finished or not.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    Recording

    Raises
    ------
    ValueError
        It is no profile, or one of a later version of mosaic.
    OSError
        It cannot be read.
    """
    try:
        records, torn = _core.read_profile(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)} cannot be read: {error}") from None
    if not records:
        raise ValueError(f"{os.fspath(path)} is no profile of mosaic: it holds no whole record")
    recording = Recording(torn=torn)
    clock = _Clock([record["anchor"] for record in records])
    last: dict[int, float] = {}
    callees: dict[tuple[int, int], int] = {}
    functions: dict[tuple[int, int], int] = {}
    names: dict[tuple[str, str], int] = {}
    parts: dict[str, list[Rows]] = {name: [] for name in COLUMNS}
    for record in records:
        runtime = record["runtime"]
        last[runtime] = float(clock(record["anchor"][0]))
        if "uid" in record:
            continue
        recording.dropped += record["dropped"]
        for number, owner, sequence, kind, cls, method in record["callees"]:
            callees[runtime, number] = len(recording.callees)
            name = KINDS[kind] if kind < len(KINDS) else "method"
            recording.callees.append(Callee((owner, sequence), name, cls, method))
        for number, file, name in record["names"]:
            # Each process numbers them for itself.
            functions[runtime, number] = names.setdefault((file, name), len(names))
        for name, columns in COLUMNS.items():
            if record[name]:
                rows = np.frombuffer(record[name], dtype=np.dtype(columns))
                parts[name].append(
                    _converted(name, rows, runtime, clock, callees=callees, functions=functions)
                )
    recording.processes = _processes(records, clock, last)
    recording.names = list(names)
    recording.tables = {
        name: np.concatenate(rows) if rows else np.empty(0, _converted_type(name))
        for name, rows in parts.items()
    }
    return recording


def _processes(
    records: list[dict[str, Any]], clock: _Clock, last: dict[int, float]
) -> list[Process]:
    """Return each process once, also one whose first record is torn, or that has begun more than once."""
    found: dict[int, Process] = {}
    wall = next((r["wall"] - r["anchor"][1] for r in records if "uid" in r), 0)
    for record in records:
        runtime, began = record["runtime"], float(clock(record["anchor"][0]))
        if "uid" in record:
            process = Process(
                runtime, record["uid"], record["pid"], began, record["wall"], last[runtime]
            )
        else:
            name = f"runtime {runtime}"
            process = Process(runtime, name, 0, began, wall + int(began), last[runtime])
        if runtime not in found or (found[runtime].pid == 0 and process.pid):
            found[runtime] = process
    return sorted(found.values(), key=_order)


def _order(process: Process) -> tuple[int, list[int], int]:
    """Return what processes are sorted by: the head, the workers by their numbers, the others."""
    role, _, numbers = process.uid.partition(":")
    indices = [int(part) for part in numbers.split(":") if part.isdigit()]
    return {"head": 0, "worker": 1}.get(role, 2), indices, process.runtime


class _Clock:
    """Turns ticks into nanoseconds: by a line through the first and the last moment at which both were read."""

    def __init__(self, anchors: list[tuple[int, int]]) -> None:
        first, last = min(anchors), max(anchors)
        self._origin = first
        ticks = last[0] - first[0]
        self.scale = (last[1] - first[1]) / ticks if ticks else 1.0

    def __call__(self, ticks: Any) -> Any:
        passed = np.subtract(ticks, self._origin[0], dtype=np.int64, casting="unsafe")
        return self._origin[1] + passed * self.scale


def _converted_type(name: str) -> np.dtype[Any]:
    def wide(column: str, kind: str) -> str:
        if column in _TIMES or column in _DURATIONS:
            return "f8"
        return "i8" if column in {"size", "callee", "function"} else kind

    columns = [(column, wide(column, kind)) for column, kind in COLUMNS[name] if column != "pad"]
    return np.dtype([*columns, ("runtime", "u4")])


def _converted(
    name: str,
    rows: Rows,
    runtime: int,
    clock: _Clock,
    *,
    callees: dict[tuple[int, int], int],
    functions: dict[tuple[int, int], int],
) -> Rows:
    converted = np.empty(len(rows), _converted_type(name))
    converted["runtime"] = runtime
    for column in converted.dtype.names or ():
        if column == "runtime":
            continue
        values = rows[column]
        if column in _TIMES:
            converted[column] = clock(values)
        elif column in _DURATIONS:
            converted[column] = values * clock.scale
        elif column == "size" and values.dtype.itemsize == 4:
            large = values >= _MEBIBYTES
            whole = values.astype("i8")
            converted[column] = np.where(large, (whole - _MEBIBYTES) << 20, whole)
        elif column in {"callee", "function"}:
            known = callees if column == "callee" else functions
            different, back = np.unique(values, return_inverse=True)
            numbers = np.array([known.get((runtime, int(n)), -1) for n in different], "i8")
            converted[column] = numbers[back]
        else:
            converted[column] = values
    return converted


def packed(owner: Any, number: Any) -> Any:
    """Return tasks in one column, as tables of calls have them; values that were kept by others are told apart."""
    owner = np.asarray(owner).astype("u8")
    number = np.asarray(number).astype("u8")
    return np.where(number >> _SEQUENCE_BITS == 0, owner << _SEQUENCE_BITS | number, number)


def unpacked(task: int) -> tuple[int, int]:
    """Return the owner of a task and its number there."""
    return task >> _SEQUENCE_BITS, task & ((1 << _SEQUENCE_BITS) - 1)
