"""Writes a profile as one HTML page without a server, network or further files.

The page's own program and its style are in ``assets/``. The data is embedded as columns of numbers, compressed, beside
the names; the program shows names as text only, so that none of them is markup.
"""

from __future__ import annotations

import base64
import datetime
import gzip
import json
from html import escape
from importlib.resources import files

import numpy as np

from mosaic.profile.model import UNFINISHED
from mosaic.profile.tables import STATUSES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import numpy.typing as npt

    from mosaic.profile.model import Profile

_PROGRAM = ("model.js", "tables.js", "timeline.js", "start.js")
"""The parts of the page's program, in their order."""

_MICROSECONDS = 1e-3
"""A nanosecond, in the page's unit of time."""


def render(profile: Profile, title: str) -> str:
    """Return the page.

    Parameters
    ----------
    profile : Profile
        What to show.
    title : str
        The name of the file, for the head of the page.

    Returns
    -------
    str
        HTML.
    """
    assets = files("mosaic.profile").joinpath("assets")
    style = assets.joinpath("page.css").read_text("utf-8")
    program = "\n".join(assets.joinpath(name).read_text("utf-8") for name in _PROGRAM)
    body = assets.joinpath("page.html").read_text("utf-8")
    parts = {
        "TITLE": escape(title),
        "STYLE": style,
        "PROGRAM": program,
        "DATA": embed(profile, title),
    }
    for name, text in parts.items():
        body = body.replace(f"<!--{name}-->", text, 1)
    return body


def embed(profile: Profile, title: str) -> str:
    """Return the data of the page: JSON, gzipped, in base64."""
    runs = profile.runs
    moments = {
        name: _column(getattr(runs, name) * _MICROSECONDS, "<f8")
        for name in ("created", "queued", "ended", "ready", "began", "ran", "returned", "done")
    }
    columns = {
        **moments,
        "callee": _column(runs.callee, "<i4"),
        "caller": _column(runs.caller, "<i4"),
        "host": _column(runs.host, "<i4"),
        "parent": _column(runs.parent, "<i4"),
        "row": _column(runs.row, "<i4"),
        "status": _column(runs.status, "<i4"),
        "owner": _column(runs.task >> np.uint64(40), "<i4"),
        "number": _column(runs.task & np.uint64((1 << 40) - 1), "<f8"),
        "sizeIn": _column(runs.size_in, "<f8"),
        "sizeOut": _column(runs.size_out, "<f8"),
    }
    moved = {
        "source": _column(profile.moved["source"], "<i4"),
        "target": _column(profile.moved["target"], "<i4"),
        "size": _column(profile.moved["size"], "<f8"),
        "copied": _column(profile.moved["copied"], "<f8"),
    }
    spans = {
        "start": _column(profile.spans["start"] * _MICROSECONDS, "<f8"),
        "end": _column(profile.spans["end"] * _MICROSECONDS, "<f8"),
        "process": _column(profile.spans["process"], "<i4"),
        "function": _column(profile.spans["function"], "<i4"),
        "depth": _column(profile.spans["depth"], "<i4"),
    }
    when = datetime.datetime.fromtimestamp(profile.wall).astimezone()
    data = {
        "title": title,
        "when": when.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "duration": profile.duration * _MICROSECONDS,
        "processes": [
            {"uid": uid, "pid": pid, "began": began * _MICROSECONDS, "last": last * _MICROSECONDS}
            for uid, pid, began, last in profile.processes
        ],
        "names": profile.names,
        "statuses": list(STATUSES),
        "unfinished": UNFINISHED,
        "functions": [
            [file, name, count, total * _MICROSECONDS, own * _MICROSECONDS]
            for file, name, count, total, own in profile.functions
        ],
        "spanNames": profile.span_names,
        "runs": columns,
        "moved": moved,
        "spans": spans,
        "torn": profile.torn,
        "dropped": profile.dropped,
    }
    packed = gzip.compress(json.dumps(data, separators=(",", ":")).encode(), 6, mtime=0)
    return base64.b64encode(packed).decode()


def _column(values: npt.NDArray[Any], kind: str) -> str:
    """Return numbers as the page's program reads them: the kind, and the bytes in base64."""
    return kind[1:] + base64.b64encode(np.ascontiguousarray(values, kind).tobytes()).decode()
