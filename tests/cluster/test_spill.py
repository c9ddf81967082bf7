"""More than fits into memory: what goes to disk, what comes back, and what happens when the disk is full too."""

import asyncio
import contextlib
import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import mosaic
from tests.support.actors import Echo, Holder
from tests.support.memory import file_system, open_files
from tests.support.rendezvous import eventually, eventually_async

LIMIT = "64MB"
MB = 1_000_000


def noise(megabytes: float, seed: int) -> np.ndarray:
    """Return an array that does not compress."""
    random = np.random.default_rng(seed)
    return random.integers(0, 1 << 62, int(megabytes * MB) // 8, dtype=np.int64)


def smooth(megabytes: float, value: float) -> np.ndarray:
    """Return an array that compresses well."""
    return np.full(int(megabytes * MB) // 8, value)


@mosaic.tessera
class Maker:
    def make(self, megabytes, seed):
        return noise(megabytes, seed)

    def total(self, *arrays):
        return [int(array.sum()) for array in arrays]


@pytest.fixture
def small(tmp_path: Path) -> Iterator["mosaic.Runtime"]:
    """A network whose store may take 64 MB of memory, and what it likes of the disk."""
    with mosaic.session(num_workers=2, warehouse_memory=LIMIT, spill_directory=tmp_path) as runtime:
        yield runtime


@pytest.fixture
def no_disk(tmp_path: Path) -> Iterator["mosaic.Runtime"]:
    """The same without any disk."""
    nowhere = tmp_path / "missing"
    with mosaic.session(num_workers=2, warehouse_memory=LIMIT, spill_directory=nowhere) as runtime:
        yield runtime


@pytest.mark.timeout(120)
async def test_two_gigabytes_of_objects_under_64_megabytes(small, tmp_path):
    count, size = 200, 10
    refs = [small.put(noise(size, seed)) for seed in range(count)]
    report = await small.memory()
    assert report.taken <= 64 * MB
    own = report.processes["head"]
    assert own.on_disk >= (count * size - 64) * MB
    assert own.on_disk + own.in_memory >= count * size * MB
    assert list(tmp_path.iterdir()) == [], "files on disk have no names"
    for seed in [0, 17, 199, 0]:
        np.testing.assert_array_equal(await refs[seed].value(), noise(size, seed))
    maker = Maker.remote()
    sums = await maker.total(refs[3], refs[150], refs[198]).result()
    assert sums == [int(noise(size, seed).sum()) for seed in (3, 150, 198)]
    assert (await small.memory()).taken <= 64 * MB
    del refs
    gc.collect()

    async def gone():
        report = await small.memory()
        return report.taken == 0 and report.processes["head"].disk_used == 0

    await eventually_async(gone)
    assert open_files(str(tmp_path)) == 0


async def test_results_go_to_disk_and_come_back(small):
    maker, holder = Maker.remote(), Holder.remote()
    tasks = [maker.make(12, seed) for seed in range(12)]
    await mosaic.gather(tasks)
    report = await small.memory()
    assert report.taken <= 64 * MB
    assert any(buffer.spilled for buffer in report.buffers)
    assert "on disk" in str(report)
    # As arguments, from disk straight to another worker, and from there on to the driver.
    for seed in (0, 5, 11):
        await holder.keep(seed, tasks[seed]).result()
    for seed in (0, 5, 11):
        np.testing.assert_array_equal(await holder.give(seed).result(), noise(12, seed))


async def test_what_compresses_takes_little_of_the_disk(small):
    refs = [small.put(smooth(10, value)) for value in range(30)]
    report = await small.memory()
    own = report.processes["head"]
    assert own.on_disk > 200 * MB
    assert own.disk_used < own.on_disk / 20
    for value in (0, 29):
        assert (await refs[value].value() == value).all()


async def test_the_least_recently_used_goes_first(small):
    first = small.put(noise(20, 1))
    second = small.put(noise(20, 2))
    echo = Echo.remote()
    assert (await first.value())[0] == noise(20, 1)[0]
    await echo.describe(first).result()
    third = small.put(noise(20, 3))
    fourth = small.put(noise(20, 4))
    places = {}

    async def one_is_on_disk():
        places.clear()
        for buffer in (await small.memory()).buffers:
            places[buffer.uid] = buffer.spilled
        return any(places.values())

    await eventually_async(one_is_on_disk)
    order = sorted(places)
    assert places[order[1]], "the second was not used since it was stored"
    assert not places[order[3]]
    for seed, ref in enumerate((first, second, third, fourth), 1):
        np.testing.assert_array_equal(await ref.value(), noise(20, seed))


async def test_one_larger_than_the_memory_lives_on_disk(small):
    ref = small.put(noise(100, 1))
    assert (await small.memory()).processes["head"].on_disk == 100 * MB
    back = await Echo.remote().back(ref).result()
    np.testing.assert_array_equal(back, noise(100, 1))


async def test_an_array_made_in_the_store_sends_others_away(small):
    refs = [small.put(noise(10, seed)) for seed in range(6)]
    made = mosaic.empty(50 * MB // 8)
    made[:] = 2
    assert (await Echo.remote().back(made).result())[-1] == 2
    for seed, ref in enumerate(refs):
        np.testing.assert_array_equal(await ref.value(), noise(10, seed))
    with pytest.raises(mosaic.MemoryOverflowError, match=r"100\.0 MB do not fit"):
        mosaic.empty(100 * MB // 8)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator["mosaic.Runtime"]:
    """The same with a directory that nobody may write to."""
    directory = tmp_path / "read-only"
    directory.mkdir(mode=0o500)
    with contextlib.ExitStack() as mounted:
        if os.geteuid() == 0:
            # Who may write to a directory of any mode, but not to a file system that is mounted for reading.
            mounted.enter_context(file_system(directory, "ro"))
        options = {"warehouse_memory": LIMIT, "spill_directory": directory}
        with mosaic.session(num_workers=2, **options) as runtime:
            yield runtime


@pytest.mark.parametrize(("disk", "reason"), [("no_disk", "missing"), ("read_only", "read-only")])
async def test_without_a_disk_the_one_who_asks_is_told(disk, reason, request):
    no_disk = request.getfixturevalue(disk)
    refs = [no_disk.put(noise(15, seed)) for seed in range(4)]
    with pytest.raises(mosaic.MemoryOverflowError) as info:
        no_disk.put(noise(15, 4))
    message = str(info.value)
    for part in ("15.0 MB", "64.0 MB", "MOSAIC_WAREHOUSE_MEM", reason, "MOSAIC_SPILL_DIRECTORY"):
        assert part in message
    assert isinstance(info.value, MemoryError)
    echo = Echo.remote()
    with pytest.raises(mosaic.MemoryOverflowError):
        echo.back(noise(15, 5))
    with pytest.raises(mosaic.MemoryOverflowError):
        await Maker.remote().make(15, 6).result()
    with pytest.raises(mosaic.MemoryOverflowError, match=r"200\.0 MB"):
        no_disk.put(noise(200, 7))
    # Nothing was lost, and work goes on when there is room.
    for seed, ref in enumerate(refs):
        np.testing.assert_array_equal(await ref.value(), noise(15, seed))
    await refs.pop().drop()
    await refs.pop().drop()
    del ref  # which remembers its value
    gc.collect()

    stored = []

    def there_is_room():
        try:
            stored.append(no_disk.put(noise(15, 8)))
        except mosaic.MemoryOverflowError:
            return False
        return True

    await eventually_async(there_is_room)
    np.testing.assert_array_equal(await stored[0].value(), noise(15, 8))
    np.testing.assert_array_equal(await Maker.remote().make(10, 9).result(), noise(10, 9))


def test_a_thread_that_may_block_waits_for_its_turn(no_disk, flag):
    holder = Holder.remote()
    for key in range(3):
        holder.keep(key, noise(18, key)).wait()
    release, started = flag("release"), flag("started")
    blocked = no_disk.submit(_free_when_told, started, release, runtime=holder.runtime_id)
    results = []

    def call():
        # Does not fit until something is freed; then it goes on by itself.
        results.append(int(holder.keep("late", noise(18, 9)).wait() or 0))

    thread = threading.Thread(target=call)
    thread.start()
    started.wait()
    assert results == []
    forgetting = [holder.forget(key) for key in range(3)]
    release.set()
    for task in [blocked, *forgetting]:
        task.wait()
    thread.join(30)
    assert results == [0]
    np.testing.assert_array_equal(holder.give("late").wait(), noise(18, 9))


def _free_when_told(started, release):
    started.set()
    release.wait()


def test_a_blocked_call_that_nobody_can_help_is_told(no_disk):
    refs = [no_disk.put(noise(15, seed)) for seed in range(4)]
    with pytest.raises(mosaic.MemoryOverflowError):
        no_disk.put(noise(15, 4))
    assert int(refs[0].wait()[0]) == int(noise(15, 0)[0])


async def test_a_cap_on_the_disk(tmp_path):
    settings = {"warehouse_memory": LIMIT, "spill_directory": tmp_path, "spill_limit": "30MB"}
    async with mosaic.session(num_workers=1, **settings) as runtime:
        refs = [runtime.put(noise(10, seed)) for seed in range(8)]
        with pytest.raises(mosaic.MemoryOverflowError, match=r"cap of 30\.0 MB"):
            refs.extend(runtime.put(noise(10, seed)) for seed in range(8, 12))
        for seed, ref in enumerate(refs):
            np.testing.assert_array_equal(await ref.value(), noise(10, seed))
        refs.clear()
        gc.collect()
        await eventually_async(lambda: open_files(str(tmp_path)) == 0)
        assert (await runtime.put(noise(10, 1)).value())[0] == noise(10, 1)[0]


@pytest.fixture
def four_megabytes(tmp_path: Path) -> Iterator[Path]:
    """A file system of that size."""
    with file_system(tmp_path, "size=4m"):
        yield tmp_path


@pytest.mark.root
async def test_a_disk_of_four_megabytes(four_megabytes):
    settings = {"warehouse_memory": LIMIT, "spill_directory": four_megabytes}
    async with mosaic.session(num_workers=1, **settings) as runtime:
        refs = [runtime.put(noise(15, seed)) for seed in range(4)]
        refs.append(runtime.put(noise(2, 4)))
        with pytest.raises(mosaic.MemoryOverflowError, match="No space left"):
            refs.extend(runtime.put(noise(15, 5)) for _ in range(3))
        # What compresses to nothing still goes there.
        refs.append(runtime.put(smooth(100, 3.0)))
        for seed, ref in enumerate(refs[:5]):
            np.testing.assert_array_equal(await ref.value(), noise(2 if seed == 4 else 15, seed))
        assert (await refs[-1].value() == 3.0).all()
        del refs
        gc.collect()
        await eventually_async(lambda: open_files(str(four_megabytes)) == 0)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("warehouse_memory", "a lot", "'a lot'|\"a lot\""),
        ("warehouse_memory", -1, "-1"),
        ("spill_limit", "12 parsecs", "12 parsecs"),
    ],
)
def test_settings_that_make_no_sense_are_named(option, value, message):
    with pytest.raises(ValueError, match=message) as info:
        mosaic.init(num_workers=1, **{option: value})
    assert option in str(info.value)


async def test_many_at_once_under_a_small_limit(small):
    makers = [Maker.remote() for _ in range(4)]
    tasks = [makers[index % 4].make(4, index) for index in range(60)]
    sums = await asyncio.gather(
        *(makers[(index + 1) % 4].total(task).result() for index, task in enumerate(tasks))
    )
    assert sums == [[int(noise(4, index).sum())] for index in range(60)]
    report = await small.memory()
    assert report.taken <= 64 * MB
    del tasks
    gc.collect()

    async def gone():
        return (await small.memory()).taken == 0

    await eventually_async(gone)


def test_the_environment_sets_the_limit(monkeypatch, tmp_path):
    monkeypatch.setenv("MOSAIC_WAREHOUSE_MEM", "0.01")
    monkeypatch.setenv("MOSAIC_SPILL_DIRECTORY", str(tmp_path))
    with mosaic.session(num_workers=1) as runtime:
        limit = asyncio.run(runtime.memory()).limit
        maker = Maker.remote()
        assert eventually(lambda: maker.make(1, 1).wait() is not None)
    import psutil

    assert 0 < limit <= psutil.virtual_memory().total // 100 + 1
