"""The model of a profile: for each call where it ran, which code made it, and where its time went.

A call's time, from being created to being done, is cut into five parts that follow one another:

sending    from the call to its arrival at the host of its tessera
waiting    from there until the last task among its arguments has ended
fetching   from there until the values of those tasks are at hand
queueing   from there until it begins: its turn in the tessera and in the process comes
running    its method's own code

What it takes to decode the arguments and to encode the result lies at both ends of the run, and counts as transfer
together with the fetching.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np

from mosaic.profile.joins import Column, arguments, located, paired
from mosaic.profile.tables import STATUSES, Recording, packed, unpacked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import numpy.typing as npt

    Array = npt.NDArray[Any]

UNFINISHED = 255
"""The status of a call that had not ended when its process was last heard of."""

MOST_ROWS = 64
"""Most calls of one process that are drawn above each other; they interleave as coroutines."""


@dataclass
class Runs:
    """The runs of all calls, and calls that never ran: a row each, in the order in which they began.

    Times are nanoseconds since the profile began, as float64; an unknown moment is NaN.

    Parameters
    ----------
    task : array of uint64
        The task, packed.
    callee : array of int
        The index in `Profile.names`.
    caller, host : array of int
        Indices in `Profile.processes` of who made the call and where it ran; -1 where that is not known.
    parent : array of int
        The row of the run within which the call was made; -1 for none.
    row : array of int
        How high it is drawn above others that run at the same time.
    created, queued, ended, ready, began, ran, returned, done : array of float
        The moments; ``ended`` is when the last task among its arguments had.
    size_in, size_out : array of int
        Bytes of its arguments and of its result.
    status : array of int
        The index in `STATUSES`, or `UNFINISHED`.
    """

    task: Array
    callee: Array
    caller: Array
    host: Array
    parent: Array
    row: Array
    created: Array
    queued: Array
    ended: Array
    ready: Array
    began: Array
    ran: Array
    returned: Array
    done: Array
    size_in: Array
    size_out: Array
    status: Array

    def __len__(self) -> int:
        return len(self.task)

    @property
    def sending(self) -> Array:
        """Nanoseconds from the call to its arrival."""
        return _between(self.created, self.queued)

    @property
    def waiting(self) -> Array:
        """Nanoseconds of waiting for tasks among the arguments."""
        return _between(self.queued, self.ended)

    @property
    def transfer(self) -> Array:
        """Nanoseconds of bringing, decoding and encoding values."""
        fetching = _between(self.ended, self.ready)
        return fetching + _between(self.began, self.ran) + _between(self.returned, self.done)

    @property
    def queueing(self) -> Array:
        """Nanoseconds from having everything to the beginning."""
        return _between(self.ready, self.began)

    @property
    def running(self) -> Array:
        """Nanoseconds of the method's own code."""
        return _between(self.ran, self.returned)

    def uid(self, at: int) -> str:
        """Return the task of a row, as in the uids of tasks: owner, and number in hexadecimal."""
        owner, number = unpacked(int(self.task[at]))
        return f"{owner}-{number:x}"


@dataclass
class Profile:
    """A profile, ready to be shown.

    Parameters
    ----------
    processes : list of tuple
        Uid, process id, and the nanoseconds at which it began to record and was last heard of.
    names : list of str
        What is called, for people.
    runs : Runs
        The calls.
    moved : structured array
        ``time``, ``source`` and ``target`` (indices of processes), ``size`` and ``copied`` (bytes), ``task`` of each
        large value that came to a process.
    spans : structured array
        Functions that ran within calls: ``start``, ``end``, ``process``, ``function``, ``depth``.
    functions : list of tuple
        File, name, count, total and own nanoseconds.
    span_names : list of str
        What column ``function`` of the spans refers to: name and file, for people.
    origin : float
        When the profile began, in nanoseconds of ``CLOCK_MONOTONIC``.
    wall : float
        The same, in seconds since 1970.
    duration : float
        Its length in nanoseconds.
    torn, dropped : int
        Bytes of the file that cannot be read, and rows that were left out.
    """

    processes: list[tuple[str, int, float, float]]
    names: list[str]
    runs: Runs
    moved: Array
    spans: Array
    functions: list[tuple[str, str, int, float, float]]
    span_names: list[str]
    origin: float
    wall: float
    duration: float
    torn: int = 0
    dropped: int = 0
    kinds: list[str] = field(default_factory=list)


def build(recording: Recording) -> Profile:
    """Return what a recording says.

    Parameters
    ----------
    recording : Recording
        What is in the file.

    Returns
    -------
    Profile
    """
    tables = recording.tables
    moments = [process.began for process in recording.processes]
    moments += [float(tables["created"]["time"].min())] if len(tables["created"]) else []
    origin = min(moments)
    places = {process.runtime: at for at, process in enumerate(recording.processes)}
    names, kinds, callee_of = _names(recording)
    runs = _runs(recording, origin, places, callee_of)
    # The rules answer a stop: nothing runs, and only its failure is told.
    stops = np.array([kind == "stop" for kind in kinds])[runs.callee]
    runs.status[stops & (runs.status == UNFINISHED)] = 0
    moved = _moved(tables["moved"], origin, places)
    spans = _spans(tables["spans"], origin, places)
    ends = [process.last - origin for process in recording.processes]
    ends += [float(np.nanmax(runs.done, initial=0.0))]
    head = min(recording.processes, key=lambda process: process.began)
    return Profile(
        processes=[
            (process.uid, process.pid, process.began - origin, process.last - origin)
            for process in recording.processes
        ],
        names=names,
        kinds=kinds,
        runs=runs,
        moved=moved,
        spans=spans,
        functions=_functions(recording),
        span_names=[f"{name} ({file})" for file, name in recording.names],
        origin=origin,
        wall=(head.wall - (head.began - origin)) / 1e9,
        duration=max(ends),
        torn=recording.torn,
        dropped=recording.dropped,
    )


def status_text(status: int) -> str:
    """Return how a call ended, for people."""
    return STATUSES[status] if status < len(STATUSES) else "not ended"


def _between(start: Array, end: Array) -> Array:
    """Return the time from one moment to another; none where either is not known."""
    with np.errstate(invalid="ignore"):
        passed: Array = np.nan_to_num(np.maximum(end - start, 0.0), nan=0.0)
    return passed


def _names(recording: Recording) -> tuple[list[str], list[str], Array]:
    """Return the names that differ, their kinds, and which of them each callee has; the last is the unknown one."""
    numbers: dict[tuple[str, str], int] = {}
    back = [
        numbers.setdefault((callee.name, callee.kind), len(numbers)) for callee in recording.callees
    ]
    unknown = numbers.setdefault(("(unknown)", "method"), len(numbers))
    names = [name for name, _ in numbers]
    return names, [kind for _, kind in numbers], np.array([*back, unknown], "i8")


def _runs(recording: Recording, origin: float, places: dict[int, int], callee_of: Array) -> Runs:
    tables = recording.tables
    created, queued, done = tables["created"], tables["queued"], tables["done"]
    started = tables["started"]
    # A call that was repeated has several runs; one that was lost, or has not begun, is a row without one.
    ended, begun = paired((done["task"], done["runtime"]), (started["task"], started["runtime"]))
    open_ones = started[~Column(ended).rows(begun)[0]]
    ran = np.concatenate([done["task"], open_ones["task"]])
    known = np.unique(np.concatenate([created["task"], queued["task"]]))
    without = known[~np.isin(known, ran)]
    task = np.concatenate([ran, without])
    nothing = np.full(len(without), np.nan)

    def of_runs(finished: Array, unfinished: Array, never: Array = nothing) -> Array:
        return np.concatenate([finished, unfinished, never])

    nan = np.full(len(open_ones), np.nan)
    began = of_runs(done["began"] - origin, open_ones["time"] - origin)
    returned = of_runs(done["returned"] - origin, nan)
    status = of_runs(
        done["status"].astype("i8"),
        np.full(len(open_ones), UNFINISHED),
        np.full(len(without), UNFINISHED),
    ).astype("i8")
    failed = tables["failed"]
    outcome = Column(failed["task"], last=True).of(task, failed["kind"].astype("i8") + 1, 0)
    status = np.where((status == UNFINISHED) & (outcome > 0), outcome, status)
    ran_at = of_runs(done["runtime"].astype("i8"), open_ones["runtime"].astype("i8"), nothing)
    calls = Column(created["task"])
    comes = Column(queued["task"])
    arrived_at = comes.of(task, queued["runtime"].astype("f8"), np.nan)
    place = np.where(np.isnan(ran_at), arrived_at, ran_at)
    made = calls.of(task, created["time"], np.nan) - origin
    arrived = comes.of(task, queued["time"], np.nan) - origin
    # A call to oneself does not travel.
    arrived = np.where(np.isnan(arrived), made, arrived)
    coded = tables["coded"]
    codes = Column(coded["task"], last=True)
    decoded = codes.of(task, coded["ran"], np.nan) - origin
    encoded = codes.of(task, coded["done"], np.nan) - origin
    # Of a call that was repeated, those of its last run.
    fits = (decoded >= began) & (encoded >= returned)
    ended, ready = arguments(tables, task, place, origin)
    order = np.argsort(np.where(np.isnan(began), arrived, began), kind="stable")
    runs = Runs(
        task=task,
        callee=callee_of[calls.of(task, created["callee"], -1)],
        caller=located(calls.of(task, created["runtime"].astype("f8"), np.nan), places),
        host=located(place, places),
        parent=np.full(len(task), -1),
        row=np.zeros(len(task), "i8"),
        created=made,
        queued=arrived,
        ended=ended,
        ready=ready,
        began=began,
        ran=np.where(fits, decoded, began),
        returned=returned,
        done=np.where(fits, encoded, returned),
        size_in=calls.of(task, created["size"], 0),
        size_out=of_runs(done["size"], np.zeros(len(open_ones)), np.zeros(len(without))).astype(
            "i8"
        ),
        status=status,
    )
    for name, values in vars(runs).items():
        setattr(runs, name, values[order])
    _settle(runs)
    parents = tables["parents"]
    within = Column(parents["task"]).of(runs.task, parents["parent"], 0)
    there, rows = Column(runs.task, last=True).rows(within)
    runs.parent = np.where(there & (within != 0), rows, -1)
    ends = np.array([process.last - origin for process in recording.processes])
    runs.row = _stack(runs, ends)
    return runs


def _settle(runs: Runs) -> None:
    """Put the moments of each call into their order, where two clocks or a lost row left a doubt."""
    latest = np.where(np.isnan(runs.began), np.inf, runs.began)
    runs.ended = np.fmin(np.fmax(runs.queued, runs.ended), latest)
    runs.ready = np.fmin(np.fmax(runs.ended, runs.ready), latest)
    for name in ("ended", "ready"):
        values = getattr(runs, name)
        setattr(runs, name, np.where(np.isinf(values), np.nan, values))


def _stack(runs: Runs, ends: Array) -> Array:
    """Return the row of each run: the lowest that is free in its process."""
    rows = np.zeros(len(runs), "i8")
    free: dict[int, tuple[list[tuple[float, int]], list[int], list[int]]] = {}
    finish = np.where(np.isnan(runs.done), ends[runs.host] if len(ends) else 0.0, runs.done)
    for at in np.flatnonzero(~np.isnan(runs.began)).tolist():
        busy, idle, count = free.setdefault(int(runs.host[at]), ([], [], [0]))
        while busy and busy[0][0] <= runs.began[at]:
            heapq.heappush(idle, heapq.heappop(busy)[1])
        if idle:
            row = heapq.heappop(idle)
        else:
            row = min(count[0], MOST_ROWS - 1)
            count[0] += 1
        rows[at] = row
        heapq.heappush(busy, (float(finish[at]), row))
    return rows


def _moved(rows: Array, origin: float, places: dict[int, int]) -> Array:
    moved = np.empty(
        len(rows),
        [
            ("time", "f8"),
            ("source", "i8"),
            ("target", "i8"),
            ("size", "i8"),
            ("copied", "i8"),
            ("task", "u8"),
        ],
    )
    moved["time"] = rows["time"] - origin
    moved["source"] = located(rows["source"].astype("f8"), places)
    moved["target"] = located(rows["runtime"].astype("f8"), places)
    moved["size"] = rows["size"]
    moved["copied"] = rows["copied"]
    moved["task"] = packed(rows["owner"], rows["number"])
    return moved


def _spans(rows: Array, origin: float, places: dict[int, int]) -> Array:
    spans = np.empty(
        len(rows),
        [("start", "f8"), ("end", "f8"), ("process", "i8"), ("function", "i8"), ("depth", "i8")],
    )
    spans["start"] = rows["start"] - origin
    spans["end"] = rows["end"] - origin
    spans["process"] = located(rows["runtime"].astype("f8"), places)
    spans["function"] = rows["function"]
    spans["depth"] = rows["depth"]
    return spans[np.argsort(spans["start"], kind="stable")]


def _functions(recording: Recording) -> list[tuple[str, str, int, float, float]]:
    rows = recording.tables["functions"]
    sums: dict[int, list[Any]] = {}
    for function, count, total, own in zip(
        rows["function"].tolist(),
        rows["count"].tolist(),
        rows["total"].tolist(),
        rows["own"].tolist(),
        strict=True,
    ):
        sum_ = sums.setdefault(function, [0, 0.0, 0.0])
        sum_[0] += count
        sum_[1] += total
        sum_[2] += own
    unknown = ("", "(unknown)")
    found = [
        (*(recording.names[number] if number >= 0 else unknown), *figures)
        for number, figures in sums.items()
    ]
    return sorted(found, key=lambda entry: -entry[4])
