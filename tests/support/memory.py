"""How much memory this process and those that it started use together."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def shared_bytes_of_tree() -> int:
    """Return the resident bytes of shared memory files, each page counted once (proportional set size)."""
    total = 0
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        total += _memory_files(process.pid)
    return total


def private_bytes_of_tree() -> int:
    """Return the resident bytes that belong to one process each."""
    me = psutil.Process()
    return sum(private_bytes(process.pid) for process in [me, *me.children(recursive=True)])


def private_bytes(pid: int) -> int:
    """Return the resident bytes that belong to one process alone."""
    return _rollup(pid, "Private_Clean") + _rollup(pid, "Private_Dirty")


def _rollup(pid: int, name: str) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(name)) * 1024


def _memory_files(pid: int) -> int:
    """Return the proportional size of the mappings of memory files; a file that nobody maps is not seen."""
    total, of_ours = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        fields = line.split()
        if "-" in fields[0] and not fields[0].endswith(":"):
            of_ours = "/memfd:mosaic" in line
        elif of_ours and fields[0] == "Pss:":
            total += int(fields[1]) * 1024
    return total


def open_files(target: str) -> int:
    """Return how many descriptors of this process lead to a file whose name contains ``target``."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += target in os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
    return count
