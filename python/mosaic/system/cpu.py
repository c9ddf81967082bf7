"""Counts the cores that this process may use, with affinity and cgroup limits."""

from __future__ import annotations

import os
import time

_CPU_FOLDER = "/sys/devices/system/cpu"


def _read(path: str) -> str | None:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return None


def _affinity() -> set[int]:
    try:
        return set(os.sched_getaffinity(0))
    except AttributeError:
        return set(range(os.cpu_count() or 1))


def parse_quota(v2: str | None, quota: str | None, period: str | None) -> float | None:
    """Return the cores that a cgroup grants, None for no limit.

    Parameters
    ----------
    v2 : str, optional
        The content of ``cpu.max``: quota and period in microseconds, or ``max``.
    quota, period : str, optional
        The contents of the older ``cpu.cfs_quota_us`` and ``cpu.cfs_period_us``.

    Examples
    --------
    >>> parse_quota("150000 100000", None, None), parse_quota("max 100000", None, None)
    (1.5, None)
    """
    try:
        if v2:
            first, _, second = v2.partition(" ")
            return None if first == "max" else int(first) / int(second or 100_000)
        if quota and period and int(quota) > 0:
            return int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return None


def cgroup_quota() -> float | None:
    """Return the cores that the cgroups of this process grant, None for no limit."""
    found: list[float] = []
    for line in (_read("/proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            found += _walk("/sys/fs/cgroup", path, v2=True)
        elif "cpu" in controllers.split(","):
            found += _walk("/sys/fs/cgroup/cpu", path, v2=False) + _walk(
                f"/sys/fs/cgroup/{controllers}", path, v2=False
            )
    return min(found, default=None)


def _walk(root: str, path: str, *, v2: bool) -> list[float]:
    """Return the limits of a cgroup and of all above it."""
    found = []
    parts = [part for part in path.split("/") if part and part != ".."]
    while True:
        folder = os.path.join(root, *parts)
        if v2:
            limit = parse_quota(_read(f"{folder}/cpu.max"), None, None)
        else:
            limit = parse_quota(
                None, _read(f"{folder}/cpu.cfs_quota_us"), _read(f"{folder}/cpu.cfs_period_us")
            )
        if limit is not None:
            found.append(limit)
        if not parts:
            return found
        parts.pop()


def _limited(cores: int) -> int:
    quota = cgroup_quota()
    return max(1, cores if quota is None else min(cores, int(quota + 0.5)))


def cpu_count() -> int:
    """Return how many logical processors this process may use."""
    return _limited(len(_affinity()))


def physical_cpu_count() -> int:
    """Return how many physical cores this process may use; two threads of one core count once."""
    allowed = _affinity()
    cores = set()
    for cpu in allowed:
        siblings = _read(f"{_CPU_FOLDER}/cpu{cpu}/topology/core_cpus_list") or _read(
            f"{_CPU_FOLDER}/cpu{cpu}/topology/thread_siblings_list"
        )
        cores.add(siblings or str(cpu))
    return _limited(len(cores))


_asked: tuple[int, float, float] | None = None
"""When `cpu_load` was asked before, and the processor time until then: process, seconds, seconds."""


def cpu_load() -> float:
    """Return how many cores this process kept busy since this was asked before, or since the process started.

    Examples
    --------
    >>> cpu_load() >= 0.0
    True
    """
    global _asked
    now, used = time.clock_gettime(time.CLOCK_BOOTTIME), time.process_time()
    before = _asked
    if before is None or before[0] != os.getpid():
        before = (os.getpid(), _started(), 0.0)
    _asked = (os.getpid(), now, used)
    passed = now - before[1]
    return (used - before[2]) / passed if passed > 0 else 0.0


def _started() -> float:
    """Return when this process started, in seconds since the machine did."""
    # Fields are counted behind the name, which may hold anything.
    fields = (_read("/proc/self/stat") or "").rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK") if len(fields) > 19 else 0.0
