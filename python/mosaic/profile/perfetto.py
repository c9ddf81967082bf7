"""Writes a profile as a trace for ui.perfetto.dev and chrome://tracing: JSON in Chrome's trace event format.

Each process of the run is one; its threads are the rows of runs, a row of calls made, and one of functions. A run is a
slice, its waits are asynchronous slices of their own, and a flow leads from where a call was made to its run. Events
are in the order of their times.
"""

from __future__ import annotations

import json
from math import isnan

import numpy as np

from mosaic.profile.model import UNFINISHED, status_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TextIO, TypeAlias

    from mosaic.profile.model import Profile

    Event: TypeAlias = dict[str, Any]

MADE = 1000
"""The thread number of the calls that a process made."""

FUNCTIONS = 2000
"""The thread number of the functions that were traced."""

_ROW = 1
_SHORTEST = 1.0


def write(profile: Profile, file: TextIO) -> None:
    """Write the trace.

    Parameters
    ----------
    profile : Profile
        What to write.
    file : text file
        Where to.
    """
    file.write('{"displayTimeUnit":"ms","otherData":')
    json.dump({"began": profile.wall, "torn_bytes": profile.torn}, file)
    file.write(',"traceEvents":[\n')
    separator = ""
    for event in _names(profile):
        file.write(separator + _text(event))
        separator = ",\n"
    timed = [*_calls(profile), *_spans(profile)]
    # What begins first comes first, and of what begins together the longest: slices nest in that order.
    timed.sort(key=lambda event: (event["ts"], -event.get("dur", 0.0)))
    for event in timed:
        file.write(separator + _text(event))
        separator = ",\n"
    file.write("\n]}\n")


def _text(event: Event) -> str:
    return json.dumps(event, separators=(",", ":"), allow_nan=False)


def _names(profile: Profile) -> Iterator[Event]:
    for at, (uid, pid, _, _) in enumerate(profile.processes):
        yield {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": uid}}
        yield {
            "ph": "M",
            "name": "process_sort_index",
            "pid": pid,
            "tid": 0,
            "args": {"sort_index": at},
        }
        threads = [(MADE, "calls made"), (FUNCTIONS, "functions")]
        here = profile.runs.row[(profile.runs.host == at) & ~np.isnan(profile.runs.began)]
        rows = int(here.max()) + 1 if len(here) else 0
        threads += [(_ROW + row, "runs" if rows == 1 else f"runs {row}") for row in range(rows)]
        for tid, name in threads:
            yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": name}}


def _calls(profile: Profile) -> Iterator[Event]:
    runs = profile.runs
    parts = {
        "waiting for arguments": (runs.queued, runs.ended),
        "fetching": (runs.ended, runs.ready),
        "queueing": (runs.ready, runs.began),
    }
    pids = [pid for _, pid, _, _ in profile.processes]
    ends = [last for _, _, _, last in profile.processes]
    micro = 1e-3
    for at in range(len(runs)):
        name = profile.names[int(runs.callee[at])]
        host, caller = int(runs.host[at]), int(runs.caller[at])
        began, created = float(runs.began[at]), float(runs.created[at])
        known = caller >= 0 and not isnan(created)
        if known:
            yield _slice(
                f"call {name}",
                (pids[caller], MADE),
                (created * micro, _SHORTEST),
                {"task": runs.uid(at)},
            )
        if host < 0 or isnan(began):
            continue
        done = float(runs.done[at])
        finish = ends[host] if isnan(done) else done
        status = int(runs.status[at])
        facts = {
            "task": runs.uid(at),
            "ended": status_text(status),
            "argument_bytes": int(runs.size_in[at]),
            "result_bytes": int(runs.size_out[at]),
        }
        tid = _ROW + int(runs.row[at])
        yield _slice(
            name,
            (pids[host], tid),
            (began * micro, (finish - began) * micro),
            facts,
            failed=status not in {0, UNFINISHED},
        )
        for what, (starts, stops) in parts.items():
            start, stop = float(starts[at]), float(stops[at])
            if stop > start:
                common = {
                    "cat": "wait",
                    "name": f"{what}: {name}",
                    "pid": pids[host],
                    "tid": tid,
                    "id": at,
                }
                yield {"ph": "b", "ts": start * micro, **common, "args": {"task": runs.uid(at)}}
                yield {"ph": "e", "ts": stop * micro, **common}
        if known and began >= created:
            flow = {"cat": "call", "name": "call", "id": at}
            yield {"ph": "s", "ts": created * micro, "pid": pids[caller], "tid": MADE, **flow}
            yield {"ph": "f", "bp": "e", "ts": began * micro, "pid": pids[host], "tid": tid, **flow}


def _slice(
    name: str,
    thread: tuple[int, int],
    moment: tuple[float, float],
    facts: Event,
    *,
    failed: bool = False,
) -> Event:
    """Return a slice: its process and thread, its start and its length in microseconds."""
    event: Event = {
        "ph": "X",
        "cat": "call",
        "name": name,
        "pid": thread[0],
        "tid": thread[1],
        "ts": moment[0],
        "dur": max(moment[1], 0.0),
        "args": facts,
    }
    if failed:
        event["cname"] = "terrible"
    return event


def _spans(profile: Profile) -> Iterator[Event]:
    for span in profile.spans:
        process, function = int(span["process"]), int(span["function"])
        if process >= 0:
            start, end = float(span["start"]) * 1e-3, float(span["end"]) * 1e-3
            name = profile.span_names[function] if function >= 0 else "(unknown)"
            pid = profile.processes[process][1]
            slice_ = _slice(name, (pid, FUNCTIONS), (start, end - start), {})
            yield {**slice_, "cat": "function"}
