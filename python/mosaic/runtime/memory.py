"""`Runtime.memory`: the buffers in the store, their places and their holders."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from mosaic import _core
from mosaic.core import network
from mosaic.errors import MosaicError, RuntimeDisconnectedError
from mosaic.notebook.summary import amount, table
from mosaic.runtime.deaths import alive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mosaic._core import Engine


@dataclass(frozen=True)
class StoredBuffer:
    """One buffer in the store of a process.

    Attributes
    ----------
    uid : str
        Its name.
    runtime : str
        The uid of the runtime in whose store it lies.
    what : str
        What made the value that it is part of; empty for one that only programs hold.
    nbytes : int
        Its length in bytes.
    spilled : bool
        It lies on disk.
    views : int
        How many arrays of that process show it.
    holders : tuple of str
        The uids of the runtimes that hold it.
    """

    uid: str
    runtime: str
    what: str
    nbytes: int
    spilled: bool
    views: int
    holders: tuple[str, ...]


@dataclass(frozen=True)
class ProcessMemory:
    """A process's part of the store.

    Attributes
    ----------
    taken : int
        Bytes of memory that it has taken: buffers, idle memory kept warm, and live values at a warehouse.
    in_memory, on_disk : int
        Bytes of its buffers there, before compression.
    disk_used : int
        Bytes that they take on disk.
    """

    taken: int
    in_memory: int
    on_disk: int
    disk_used: int


@dataclass(frozen=True)
class MemoryReport:
    """What is in the store of a machine. Printed, it is a table.

    Attributes
    ----------
    limit : int
        Bytes of memory that all processes may take together.
    taken : int
        Bytes that they have taken.
    processes : dict of str to ProcessMemory
        By uid.
    buffers : list of StoredBuffer
        The largest first.
    """

    limit: int
    taken: int
    processes: dict[str, ProcessMemory]
    buffers: list[StoredBuffer]

    def __str__(self) -> str:
        lines = [f"{amount(self.taken)} of {amount(self.limit)} taken"]
        for uid, part in self.processes.items():
            lines.append(
                f"  {uid}: {amount(part.taken)} taken, buffers {amount(part.in_memory)} in memory, "
                f"{amount(part.on_disk)} on disk"
            )
        for buffer in self.buffers:
            place = "disk" if buffer.spilled else "memory"
            holders = ", ".join(buffer.holders) or "none"
            what = f", {buffer.what}" if buffer.what else ""
            lines.append(
                f"  {buffer.uid}: {amount(buffer.nbytes)} in {place} of {buffer.runtime}{what}; held by {holders}"
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [
            (
                buffer.uid,
                amount(buffer.nbytes),
                f"{'disk' if buffer.spilled else 'memory'} of {buffer.runtime}",
                buffer.what or None,
                ", ".join(buffer.holders) or "none",
            )
            for buffer in self.buffers
        ]
        title = f"{amount(self.taken)} of {amount(self.limit)} taken"
        return table(title, ("buffer", "size", "place", "of", "held by"), rows)


async def _look() -> dict[str, Any]:
    engine = _core.engine()
    if engine is None:
        raise MosaicError("there is no runtime in this process")
    return engine.memory()


async def report(engine: Engine) -> MemoryReport:
    """Ask every process of this machine what it has in the store."""
    from mosaic.runtime.functions import caller

    # Not the head, from elsewhere: it answers only while its program turns an event loop.
    others = {
        member.uid: caller(engine, _look, member.runtime)(_look)
        for member in engine.members()
        if member.role != _core.Role.HEAD and member.uid != engine.uid
    }
    found = {engine.uid: engine.memory()}
    answers = await asyncio.gather(
        *(task.result() for task in others.values()), return_exceptions=True
    )
    for uid, answer in zip(others, answers, strict=True):
        if isinstance(answer, RuntimeDisconnectedError) and not alive(uid):
            continue
        if isinstance(answer, BaseException):
            raise answer
        found[uid] = answer
    buffers = []
    for uid, part in found.items():
        for (owner, sequence), what, nbytes, spilled, views, holders in part["buffers"]:
            names = tuple(network.uid_of(holder) for holder in holders)
            name = f"buffer-{owner}-{sequence:x}"
            buffers.append(StoredBuffer(name, uid, what, nbytes, spilled, views, names))
    buffers.sort(key=lambda buffer: -buffer.nbytes)
    own = found[engine.uid]
    keys = ("taken", "in_memory", "on_disk", "disk_used")
    return MemoryReport(
        limit=own["limit"],
        taken=max(part["taken_by_all"] for part in found.values()),
        processes={uid: ProcessMemory(*(part[key] for key in keys)) for uid, part in found.items()},
        buffers=buffers,
    )
