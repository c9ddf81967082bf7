"""Formats amounts of bytes, and objects as the HTML tables that notebooks show.

Made of what this process knows already: nothing is asked of anybody, and nothing waits. Plain tables without colours of
their own, so that they look right in light and dark themes, and without scripts.
"""

from __future__ import annotations

from mosaic._core import Role

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

MOST_ROWS = 20
"""The most rows of a table; the number of further ones is shown below it."""

LONGEST = 200
"""Characters of one cell of a table."""


def amount(nbytes: int) -> str:
    """Return a number of bytes as people read it, such as ``1.5 MB``."""
    found = float(nbytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if found < 1000 or unit == "GB":
            break
        found /= 1000
    return f"{found:.0f} {unit}" if unit == "bytes" else f"{found:.1f} {unit}"


def table(title: str, columns: Sequence[str], rows: Sequence[Iterable[Any]], note: str = "") -> str:
    """Return a table as HTML.

    Parameters
    ----------
    title : str
        What is summed up.
    columns : sequence of str
        Their heads.
    rows : sequence of iterable
        Values of each; None is shown as a dash.
    note : str
        Text below.
    """
    left = ' style="text-align: left"'
    head = "".join(f"<th{left}>{_escaped(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td{left}>{_escaped(value)}</td>" for value in row) + "</tr>"
        for row in rows[:MOST_ROWS]
    )
    if len(rows) > MOST_ROWS:
        note = f"… and {len(rows) - MOST_ROWS} more. {note}"
    below = f"<div>{_escaped(note.strip())}</div>" if note else ""
    return (
        f"<div><strong>{_escaped(title)}</strong></div>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"
    )


def _escaped(value: Any) -> str:
    from html import escape

    text = "–" if value is None else str(value)
    return escape(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")


def of_tesserae(title: str, tesserae: Sequence[Any]) -> str:
    """Return a table of proxies of tesserae, or of tesserae themselves."""
    rows = [(proxy.uid, proxy._cls.__name__, proxy.state, proxy.runtime_id) for proxy in tesserae]
    return table(title, ("uid", "class", "state", "runtime"), rows)


def of_tasks(title: str, tasks: Sequence[Any]) -> str:
    """Return a table of tasks."""
    rows = []
    for task in tasks:
        nbytes = task.nbytes
        size = None if nbytes is None else amount(nbytes)
        call = f"{task.tessera_name}.{task.method}"
        rows.append((task.uid, call, task.state, task.runtime_id, size))
    return table(title, ("uid", "call", "state", "runtime", "size"), rows)


def of_value(reference: Any) -> str:
    """Return a table of one reference to a stored value."""
    nbytes = reference.nbytes
    size = None if nbytes is None else amount(nbytes)
    state = "dropped" if getattr(reference, "_dropped", False) else reference.state
    row = reference.uid, state, reference.warehouse_id, size
    return table("Stored value", ("uid", "state", "warehouse", "size"), [row])


def of_parameter(parameter: Any) -> str:
    """Return a table of a parameter, with the representation that its class gives it, where it gives it one."""
    cls = type(parameter)
    own = repr(parameter) if any("__repr__" in base.__dict__ for base in cls.__mro__[:-1]) else ""
    columns = ("root", "class", "state", "runtime")
    if not parameter.has_tessera:
        return table("Parameter", columns, [(None, cls.__name__, "tied to no root", None)], own)
    root = parameter._tessera
    row = root.uid, cls.__name__, root.state, root.runtime_id
    return table("Parameter", columns, [row], own)


def of_runtime(runtime: Any) -> str:
    """Return a table of a runtime: its workers, or that it has been stopped."""
    title = f"Runtime {runtime.uid}"
    if runtime.engine.stopped:
        return table(title, ("state",), [("stopped",)])
    members = sorted(runtime.engine.members(), key=lambda member: member.runtime)
    rows = [(one.uid, str(one.role), one.pid) for one in members if one.role != Role.HEAD]
    threads = f"{runtime.num_threads} thread{'' if runtime.num_threads == 1 else 's'} each"
    return table(f"{title}, {runtime.mode}", ("uid", "role", "process"), rows, threads)
