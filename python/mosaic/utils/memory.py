"""How much memory this process has and may have, in bytes."""

from __future__ import annotations

import os
import sys


def memory_limit() -> int:
    """Return the memory in bytes that this process may use: the machine's, or less by cgroup."""
    limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path) as file:
                limit = min(limit, int(file.read()))
        except (OSError, ValueError):
            # No such cgroup, or "max".
            continue
    return limit


def memory_used() -> int:
    """Return the resident memory of this process in bytes."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def sizeof(obj: object) -> int:
    """Return about how many bytes an object takes: of arrays the data, of the rest what `sys.getsizeof` says."""
    nbytes = getattr(obj, "nbytes", None)
    if isinstance(nbytes, int):
        return nbytes
    if isinstance(obj, dict):
        return sys.getsizeof(obj) + sum(sizeof(key) + sizeof(value) for key, value in obj.items())
    if isinstance(obj, (list, tuple, set, frozenset)):
        return sys.getsizeof(obj) + sum(sizeof(item) for item in obj)
    return sys.getsizeof(obj)
