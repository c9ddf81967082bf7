"""What a test left behind: processes, threads, descriptors, mappings and files.

`take()` looks at this process and at everything it started; `Snapshot.leaks()` says what there is
now that was not there then. Nothing is left out because it is small: a runtime that stops takes
all of it along. Linux only, from ``/proc``.

Kinds, as `pytest.mark.allow_leaks` names them:

processes   alive and started from here, also those that lost their parent (they carry
            ``MOSAIC_TEST_TOKEN`` in their environment), and children that nobody has waited for
threads     Python's and native ones, by ``/proc/self/task``
fds         open descriptors with their targets
mappings    shared memory still mapped (``/memfd:``, ``/dev/shm/``)
files       ``mosaic-*`` in ``$XDG_RUNTIME_DIR`` and the temporary directory, ``mosaic-*`` in
            ``/dev/shm``, ``mosaic-workspace`` in the working directory
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
import select
import signal
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path

KINDS = ("processes", "threads", "fds", "mappings", "files")
TOKEN = "MOSAIC_TEST_TOKEN"

# Where the shell says something of a job, of mosaic or of threads, `mosaic.init` and `mrun` follow it. The last decides
# in which order the lines of several processes come.
FOREIGN = re.compile(r"(SLURM|PBS_|PE_|SGE|MOSAIC_(?!TEST_)).*|.*_NUM_THREADS|PYTHONUNBUFFERED")

# The kernel unlists a thread a moment after it was joined, and a process a moment after it was
# killed. The promise to users is 2 s after any death; a test gets the same.
SETTLE_S = 2.0

# The loop that waits for what has no event looks again after 1 ms, 2 ms, … up to this.
LONGEST_LOOK_S = 0.05


# What was left: for each kind that has any, an identity and a description for people.
Left = dict[str, dict[Hashable, str]]


@dataclass(frozen=True)
class Snapshot:
    """What there was at one moment; each kind maps an identity to a description for people."""

    processes: dict[Hashable, str] = field(default_factory=dict)
    threads: dict[Hashable, str] = field(default_factory=dict)
    fds: dict[Hashable, str] = field(default_factory=dict)
    mappings: dict[Hashable, str] = field(default_factory=dict)
    files: dict[Hashable, str] = field(default_factory=dict)

    def leaks(self, allowed: frozenset[str] = frozenset()) -> Left:
        """Return what is there now and was not there then, after the kernel's moment."""
        gc.collect()
        deadline = time.monotonic() + SETTLE_S
        pause = 0.001
        while True:
            left = self._difference(take(), allowed)
            remaining = deadline - time.monotonic()
            if not left or remaining <= 0:
                return left
            # A process tells when it ends. Unlisting a thread and reaping a child are told to
            # nobody, so without a process to wait for this is a pause that grows.
            if not _wait_for_end(left.get("processes", {}), remaining):
                threading.Event().wait(min(pause, remaining))
                pause = min(2 * pause, LONGEST_LOOK_S)

    def _difference(self, now: Snapshot, allowed: frozenset[str]) -> Left:
        found = {}
        for kind in KINDS:
            before, after = getattr(self, kind), getattr(now, kind)
            new = {key: text for key, text in after.items() if key not in before}
            if kind == "threads" and len(after) <= len(before):
                continue  # one took another's place: pytest's own watchdog is new in every test
            if new and kind not in allowed:
                found[kind] = new
        return found


def take() -> Snapshot:
    """Look at this process and at everything it started."""
    return Snapshot(
        processes=_processes(), threads=_threads(), fds=_fds(), mappings=_mappings(), files=_files()
    )


def describe(left: Left) -> str:
    """Say what was left, a line each."""
    return "\n".join(
        f"{kind}: {text}" for kind, found in left.items() for text in sorted(found.values())
    )


def end_processes(left: Left) -> None:
    """Kill what was left running, so that the next test does not meet it."""
    for pid, _start in left.get("processes", {}):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def isolate() -> Path:
    """Give this run a token and directories of its own, so that it sees only what it left, and no settings of others.

    Returns the directory to remove at the end. Its name is short: the path of a Unix socket holds
    107 bytes.
    """
    for variable in filter(FOREIGN.fullmatch, list(os.environ)):
        del os.environ[variable]
    # In the background, or under nohup, a run has signals ignored, and so would every program that a test starts.
    # What is caught here is not ignored there.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) == signal.SIG_IGN:
            interrupt = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if interrupt else _ignore)
    os.environ[TOKEN] = uuid.uuid4().hex
    # pytest's own directories, which it keeps for reading after a failure, stay where they were.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    home = Path(tempfile.mkdtemp(prefix="mt-"))
    for variable, name in (("XDG_RUNTIME_DIR", "run"), ("TMPDIR", "tmp")):
        directory = home / name
        directory.mkdir(mode=0o700)
        os.environ[variable] = str(directory)
    # Memory that is kept warm for nothing is given back before a test is looked over.
    os.environ["MOSAIC_WAREHOUSE_IDLE"] = "0.02"
    tempfile.tempdir = None  # look at TMPDIR again
    return home


def _ignore(number: int, frame: object) -> None:
    pass


# ------------------------------------------------------------------------------------ one a kind


def _processes() -> dict[Hashable, str]:
    me = os.getpid()
    mark = f"{TOKEN}={os.environ[TOKEN]}".encode() if TOKEN in os.environ else None
    found: dict[Hashable, str] = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == me:
            continue
        pid = int(entry.name)
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            state, parent, start = fields[0], int(fields[1]), fields[19]
            if parent != me:
                environment = Path(f"/proc/{pid}/environ").read_bytes()
                if mark is None or mark not in environment.split(b"\0"):
                    continue
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, IndexError):  # gone meanwhile, or another user's
            continue
        how = "not waited for" if state == "Z" else "running"
        # A number is used again; with its start time it is one process.
        found[pid, start] = f"process {pid}, {how}, parent {parent}: {command.strip() or '?'}"
    return found


def _threads() -> dict[Hashable, str]:
    python = {thread.native_id: thread.name for thread in threading.enumerate()}
    found: dict[Hashable, str] = {}
    for name in os.listdir("/proc/self/task"):
        try:
            comm = Path(f"/proc/self/task/{name}/comm").read_text().strip()
        except OSError:
            continue
        tid = int(name)
        who = f"Python's {python[tid]!r}" if tid in python else "native"
        found[tid] = f"thread {tid}, {who}, named {comm!r}"
    return found


def _fds() -> dict[Hashable, str]:
    found: dict[Hashable, str] = {}
    anonymous: Counter[str] = Counter()
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the descriptor that listed the directory
            continue
        key = int(name)
        if target.startswith("anon_inode:"):
            # These have no names: one that took another's place cannot be told from it.
            key = anonymous[target]
            anonymous[target] += 1
        found[key, target] = f"descriptor {name}: {target}"
    return found


def _mappings() -> dict[Hashable, str]:
    found: dict[Hashable, str] = {}
    with open("/proc/self/maps") as maps:
        for line in maps:
            fields = line.split(maxsplit=5)
            if len(fields) == 6 and fields[5].startswith(("/memfd:", "/dev/shm/")):
                found[fields[3], fields[4]] = f"mapping of {fields[5].strip()} at {fields[0]}"
    return found


def _files() -> dict[Hashable, str]:
    places = {tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", tempfile.gettempdir())}
    found: dict[Hashable, str] = {}
    for place in places:
        found.update((path, f"file {path}") for path in Path(place).glob("mosaic-*"))
    # Shared with the whole machine: only what is ours by name and owner.
    for path in Path("/dev/shm").glob("mosaic-*"):
        with contextlib.suppress(OSError):
            if path.stat().st_uid == os.getuid():
                found[path] = f"file {path}"
    workspace = Path.cwd() / "mosaic-workspace"
    if workspace.exists():
        found[workspace] = f"file {workspace}"
    return found


def _wait_for_end(processes: dict[Hashable, str], limit_s: float) -> bool:
    """Wait until one of the running ones ends; False if none runs (or none can be watched)."""
    poll = select.poll()
    watched = []
    for (pid, _start), text in processes.items():
        if "not waited for" not in text:
            with contextlib.suppress(OSError):
                watched.append(os.pidfd_open(pid))
                poll.register(watched[-1], select.POLLIN)
    try:
        return bool(watched) and bool(poll.poll(limit_s * 1000))
    finally:
        for fd in watched:
            os.close(fd)
