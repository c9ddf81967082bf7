"""The file of a profile: what is whole in it is read, whatever happened to the rest."""

import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mosaic
from mosaic import _core
from mosaic.profile import joins, model, tables

SYNC = b"\x89mprof\r\n"
HEAD = len(SYNC) + 8

# A module's recording is read over and over in one directory.
readings = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@mosaic.tessera
class Small:
    def work(self, n):
        return n


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> bytes:
    """The contents of a file that three processes wrote."""
    path = tmp_path_factory.mktemp("profile") / "run.mprof"
    with mosaic.session(num_workers=2, profile=path):
        for _ in range(2):
            small = Small.remote()
            for n in range(3):
                assert small.work(n).wait() == n
    return path.read_bytes()


def frames(contents: bytes) -> list[bytes]:
    """Cut a file into its frames, by the lengths that stand in them."""
    found = []
    while contents:
        assert contents.startswith(SYNC)
        end = HEAD + int.from_bytes(contents[8:12], "little")
        found.append(contents[:end])
        contents = contents[end:]
    return found


def test_a_frame_is_what_the_design_note_says(recorded):
    for frame in frames(recorded):
        check = int.from_bytes(frame[12:16], "little")
        assert check == zlib.crc32(frame[8:12] + frame[HEAD:])
        # One msgpack map of one member, its name first.
        assert frame[HEAD] == 0x81
        assert frame[HEAD + 1 :].startswith((b"\xa7Process", b"\xa5Batch"))


@readings
@given(cut=st.integers(min_value=0))
def test_any_prefix_gives_the_records_that_are_whole_within_it(recorded, tmp_path, cut):
    cut %= len(recorded) + 1
    whole, _ = _core.read_profile(recorded)
    lengths = [len(frame) for frame in frames(recorded)]
    inside = sum(sum(lengths[: i + 1]) <= cut for i in range(len(lengths)))
    records, torn = _core.read_profile(recorded[:cut])
    assert records == whole[:inside]
    assert torn == cut - sum(lengths[:inside])


@readings
@given(cut=st.integers(min_value=0))
def test_any_prefix_can_be_shown(recorded, tmp_path, cut):
    first = len(frames(recorded)[0])
    cut = first + cut % (len(recorded) - first + 1)
    file = tmp_path / "some.mprof"
    file.write_bytes(recorded[:cut])
    profile = model.build(tables.read(file))
    assert profile.processes
    assert profile.torn < len(recorded)
    assert len(profile.runs.began) == len(profile.runs)


@readings
@given(at=st.integers(min_value=0), bit=st.integers(0, 7))
def test_a_flipped_bit_costs_one_record(recorded, tmp_path, at, bit):
    whole, _ = _core.read_profile(recorded)
    changed = bytearray(recorded)
    changed[at % len(recorded)] ^= 1 << bit
    records, torn = _core.read_profile(bytes(changed))
    assert len(records) == len(whole) - 1
    assert torn > 0
    assert all(record in whole for record in records)


def test_frames_torn_by_a_death_take_no_other_along(recorded, tmp_path):
    every = frames(recorded)
    torn_one = every[1][: len(every[1]) // 2]
    records, torn = _core.read_profile(every[0] + torn_one + b"".join(every[2:]))
    whole, _ = _core.read_profile(recorded)
    assert records == whole[:1] + whole[2:]
    assert torn == len(torn_one)


def test_a_process_whose_first_record_is_torn_is_shown(recorded, tmp_path):
    file = tmp_path / "headless.mprof"
    file.write_bytes(
        b"".join(f for f in frames(recorded) if f[HEAD + 1 :].startswith(b"\xa5Batch"))
    )
    profile = model.build(tables.read(file))
    assert {uid for uid, *_ in profile.processes} >= {"runtime 0"}
    assert len(profile.runs) == 8


@pytest.mark.parametrize("contents", [b"", b"no profile at all", SYNC, SYNC * 20])
def test_what_is_no_profile_is_refused_by_name(tmp_path, contents):
    file = tmp_path / "other.bin"
    file.write_bytes(contents)
    with pytest.raises(ValueError, match=r"other\.bin is no profile of mosaic"):
        tables.read(file)


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        tables.read(tmp_path / "missing.mprof")


def test_sizes_that_do_not_fit_are_counted_in_mebibytes():
    rows = tables.np.array([(1, 2, 0, 5), (1, 3, 0, (1 << 31) | 4096)], tables.COLUMNS["created"])
    converted = tables._converted(
        "created", rows, 0, tables._Clock([(0, 0), (10, 20)]), callees={}, functions={}
    )
    assert converted["size"].tolist() == [5, 4 << 30]
    assert converted["time"].tolist() == [2.0, 2.0]
    assert converted["callee"].tolist() == [-1, -1]


def test_pairs_of_task_and_runtime_are_told_apart_whatever_their_numbers():
    tasks = tables.packed([0, 0, 0, 1], [5, 5 | 2 << 20, 5, 5])
    runtimes = tables.np.array([1, 3, 2, 1], "u4")
    first, second = joins.paired((tasks, runtimes), (tasks[::-1], runtimes[::-1].astype("f8")))
    assert len(set(first.tolist())) == 4
    assert first.tolist() == second[::-1].tolist()
