"""A worker that the kernel kills for want of memory: its callers are told so, with sizes."""

import asyncio
import contextlib
import os
import re
import signal
import uuid
from pathlib import Path

import pytest

import mosaic
from mosaic.utils import memory_limit
from tests.support.deaths import Doomed
from tests.support.launching import under_mrun
from tests.support.scripts import Script

LIMIT = 96 << 20


@pytest.fixture
def memory_group():
    """Make a control group with little memory; its directory, and that of the group that this process is in."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    groups = [
        (Path(place), "memory.limit_in_bytes")
        for _, place, kind, options, *_ in mounts
        if kind == "cgroup" and "memory" in options.split(",")
    ] or [(Path(place), "memory.max") for _, place, kind, *_ in mounts if kind == "cgroup2"]
    if not groups:
        pytest.skip("no control groups are mounted")
    mount, limit = groups[0]
    rows = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    name = "memory" if limit == "memory.limit_in_bytes" else ""
    home = mount / next(path for _, names, path in rows if name in names.split(","))[1:]
    directory = mount / f"mosaic-test-{uuid.uuid4().hex}"
    try:
        directory.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        if not (directory / limit).exists():
            pytest.skip(f"the groups under {mount} do not limit memory")
        (directory / limit).write_text(str(LIMIT))
        # Where there is swap, the group gets none of it.
        for swap, value in (("memory.swap.max", "0"), ("memory.memsw.limit_in_bytes", str(LIMIT))):
            with contextlib.suppress(OSError):
                (directory / swap).write_text(value)
        yield directory, home
    finally:
        directory.rmdir()


@contextlib.contextmanager
def inside(groups):
    """Be in the group for a while."""
    small, home = (directory / "cgroup.procs" for directory in groups)
    small.write_text(str(os.getpid()))
    try:
        yield
    finally:
        home.write_text(str(os.getpid()))


HUNGRY = """
import os, sys
from pathlib import Path
import mosaic

small, home, eaten_before = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])

@mosaic.tessera
class Hungry:
    def eat(self):
        eaten = []
        while True:
            eaten.append(b"x" * (4 << 20))

if __name__ == "__main__":
    bytes(eaten_before).replace(bytes(1), b"x")
    with mosaic.session(num_workers=1):
        starter = mosaic.get_node().pid
    small.write_text(str(starter))  # where the worker is started, and stays
    mosaic.init(num_workers=1)
    home.write_text(str(starter))
    try:
        Hungry.remote().eat().wait()
    except mosaic.RuntimeDisconnectedError as error:
        print(error)
"""


@pytest.mark.root
@pytest.mark.parametrize(
    ("under", "driver_had", "wording"),
    [((), 0, "up to"), ((), 2 * LIMIT, "at most"), (under_mrun("-nw", "1"), 2 * LIMIT, "up to")],
    ids=["small driver", "large driver", "mrun"],
)
def test_it_is_told_that_memory_was_short_and_how_much_there_was(
    memory_group, under, driver_had, wording
):
    """What the driver had, and the kernel counts for its workers too, is not told as theirs."""
    small, home = (directory / "cgroup.procs" for directory in memory_group)
    with Script(HUNGRY, small, home, driver_had, under=under) as script:
        assert script.wait(30) == 0
        message = script.stdout
    assert "SIGKILL" in message
    assert "for want of memory" in message
    assert f"it had {wording} " in message
    peak, limit = map(float, re.findall(r"([\d.]+) MB", message))
    assert limit == round(LIMIT / 1e6, 1)
    assert limit / 2 <= peak
    assert peak <= limit or wording == "up to"


@pytest.mark.root
def test_the_limit_of_the_group_is_told(memory_group):
    with inside(memory_group):
        assert memory_limit() == LIMIT
    assert memory_limit() > LIMIT


@pytest.mark.root
def test_the_store_takes_half_of_what_the_group_allows(memory_group, monkeypatch):
    monkeypatch.delenv("MOSAIC_WAREHOUSE_MEM", raising=False)
    with inside(memory_group):
        runtime = mosaic.init(num_workers=1)
    try:
        assert asyncio.run(runtime.memory()).limit == LIMIT // 2
    finally:
        mosaic.stop()


@pytest.mark.skipif(
    "oom_kill" not in Path("/proc/vmstat").read_text(),
    reason="this kernel does not count kills for want of memory",
)
async def test_a_kill_by_somebody_is_not_said_to_be_one(fresh):
    doomed = Doomed.remote()
    pid = await doomed.pid().result()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(mosaic.RuntimeDisconnectedError, match="not for want of memory"):
        await doomed.add(1)
