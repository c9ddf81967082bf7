"""How much memory this process and those that it started use together, and file systems that are made of memory."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest


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


@contextlib.contextmanager
def file_system(directory: Path, options: str) -> Iterator[None]:
    """Have a file system in a directory for a while; skip the test where not even root may mount, as in containers."""
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        reason, *_ = done.stderr.splitlines() or [f"mount ended with {done.returncode}"]
        pytest.skip(f"no file system can be mounted here: {reason}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)
