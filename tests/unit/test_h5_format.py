"""Files exchange with the older package: read with plain h5py what we write, and write by hand what it wrote."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from mosaic import h5
from mosaic.types import Struct

OLD_FILES = "MOSAIC_TEST_OLD_FILES"
FLAGS = ("is_ndarray", "is_list", "is_tuple", "is_str", "is_bytes", "is_none")


def flags(item):
    """Return the flags that are set; all six have to be there, as booleans."""
    found = {name: item.attrs[name] for name in FLAGS}
    assert all(type(value) is np.bool_ for value in found.values())
    assert all(item.attrs.get_id(name).shape == () for name in FLAGS)
    return {name for name, value in found.items() if value}


@pytest.fixture
def plain(tmp_path):
    """A written file, opened with plain h5py."""
    h5.write(
        tmp_path / "file.h5",
        {
            "data": np.arange(6, dtype="f4").reshape(2, 3),
            "names": np.array(["a", "bé"]),
            "space": {"shape": (3, 4), "spacing": (0.5, 0.5), "empty": {}},
            "shots": [{"id": 7}, {"id": 8, "at": [1.0]}],
            "list": ["a", "b"],
            "mixed": [["50", None]],
            "text": "é",
            "bytes": b"a\0b",
            "nothing": None,
            "num": 5,
            "step": 0.5,
            "flag": True,
        },
    )
    with h5py.File(tmp_path / "file.h5", "r") as file:
        yield file


def test_the_root(plain):
    assert plain.attrs["protocol"] == "0.1"
    assert np.datetime64(plain.attrs["datetime"].replace(" ", "T")) > np.datetime64("2026-01-01")
    assert not plain.attrs["is_array"]
    assert type(plain.attrs["is_array"]) is np.bool_


def test_groups_and_lists_of_dictionaries(plain):
    assert not plain["space"].attrs["is_array"]
    assert not plain["space/empty"].attrs["is_array"]
    shots = plain["shots"]
    assert shots.attrs["is_array"]
    assert shots.attrs["len"] == 2
    assert list(shots) == ["shots_00000000", "shots_00000001"]
    assert not shots["shots_00000001"].attrs["is_array"]
    assert shots["shots_00000001/id"][()] == 8


DATASETS = {
    "data": ({"is_ndarray"}, "f4", [[0, 1, 2], [3, 4, 5]]),
    "names": ({"is_ndarray"}, "O", [b"a", "bé".encode()]),
    "space/shape": ({"is_tuple"}, "i8", [3, 4]),
    "space/spacing": ({"is_tuple"}, "f8", [0.5, 0.5]),
    "shots/shots_00000001/at": ({"is_list"}, "f8", [1.0]),
    "list": ({"is_list", "is_str"}, "O", [b"a", b"b"]),
    "mixed": ({"is_list", "is_str"}, "O", [[b"50", b"None"]]),
    "text": ({"is_str"}, "O", "é".encode()),
    "bytes": ({"is_bytes"}, "V3", np.void(b"a\0b")),
    "nothing": ({"is_none"}, "O", b"None"),
    "num": (set(), "i8", 5),
    "step": (set(), "f8", 0.5),
    "flag": (set(), "?", True),
}


def test_datasets(plain):
    for name, (expected, dtype, value) in DATASETS.items():
        item = plain[name]
        assert flags(item) == expected, name
        assert item.dtype == np.dtype(dtype), name
        assert np.array_equal(item[()], np.asarray(value, dtype=item.dtype)), name
        if item.dtype == object:
            assert tuple(h5py.check_string_dtype(item.dtype)) == ("utf-8", None), name
        # Nothing that an older reader would have to know of: contiguous, as it is.
        assert (item.chunks, item.compression) == (None, None)


def dataset(group, name, value, *set_flags, known=FLAGS[:4]):
    """Store a dataset as the older package does, whose flags were four, then six."""
    if isinstance(value, str) or (isinstance(value, list) and isinstance(value[0], str)):
        item = group.create_dataset(name, data=value, dtype=h5py.string_dtype("utf-8"))
    else:
        item = group.create_dataset(name, data=value)
    for flag in known:
        item.attrs[flag] = flag in set_flags
    return item


@pytest.fixture
def old(tmp_path):
    """A file as the older package wrote them; returns its name."""
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["protocol"] = "0.1"
        file.attrs["datetime"] = "2021-02-24 15:04:17.498596"
        file.attrs["is_array"] = False
        dataset(file, "data", np.arange(4.0), "is_ndarray")
        dataset(file, "dtype", "float32", "is_str")
        dataset(file, "inner", ["50", "None"], "is_list", "is_str")
        dataset(file, "extended_shape", (456, 485), "is_tuple")
        dataset(file, "nothing", "None", "is_none", known=FLAGS)
        dataset(file, "bytes", np.void(b"a\0"), "is_bytes", known=FLAGS)
        time = file.create_group("time")
        time.attrs["is_array"] = False
        dataset(time, "num", 2500)
        dataset(time, "step", 8e-8)
        shots = file.create_group("shots")
        shots.attrs["is_array"] = True
        shots.attrs["len"] = 12
        for index in range(12):
            shot = shots.create_group(f"shots_{index:08d}")
            shot.attrs["is_array"] = False
            dataset(shot, "id", index)
            dataset(shot, "observed", np.full(3, index, "f4"), "is_ndarray")
    return tmp_path / "old.h5"


def test_files_of_the_older_package_are_read(old):
    content = h5.read(old)
    np.testing.assert_array_equal(content.pop("data"), np.arange(4.0))
    shots = content.pop("shots")
    assert [shot.id for shot in shots] == list(range(12))
    assert all(shot.observed.dtype == np.float32 for shot in shots)
    assert content == {
        "dtype": "float32",
        "inner": ["50", "None"],
        "extended_shape": (456, 485),
        "nothing": None,
        "bytes": b"a\0",
        "time": {"num": 2500, "step": 8e-8},
    }
    assert type(content.inner) is list
    assert type(content.extended_shape) is tuple


def test_they_are_added_to(old):
    h5.append(old, {"time": {"num": 3}, "shots": [{"observed": np.zeros(3, "f4")}], "new": 1})
    content = h5.read(old)
    assert (content.new, content.time.num, content.time.step) == (1, 3, 8e-8)
    assert len(content.shots) == 12
    assert not content.shots[0].observed.any()
    assert content.shots[1].observed.all()


def test_a_list_that_does_not_say_how_long_it_is(old):
    with h5py.File(old, "a") as file:
        del file["shots"].attrs["len"]
    assert len(h5.read(old).shots) == 12
    h5.append(old, {"shots": {"shots_00000012": {"id": 12}}})
    h5.append(old, {"shots": [{"new": 1}]})
    assert [shot.id for shot in h5.read(old).shots] == list(range(13))
    with h5py.File(old) as file:
        assert file["shots"].attrs["len"] == 13


def test_what_flags_are_absent_count_as_false(tmp_path):
    with h5py.File(tmp_path / "bare.h5", "w") as file:
        file["array"] = np.arange(3)
        file["number"] = 2.5
        file["text"] = "a text"
        file["texts"] = ["a", "b"]
        file["fixed"] = np.bytes_("fixed")
        file["group/inner"] = 1
        file.create_dataset("null", data=h5py.Empty("f4"))
        numbered = file.create_dataset("numbered", data=[1, 2])
        numbered.attrs["is_list"] = 1  # by somebody who had no booleans
    content = h5.read(tmp_path / "bare.h5")
    assert type(content.array) is np.ndarray
    assert content.texts.tolist() == ["a", "b"]
    assert (content.number, content.text, content.fixed) == (2.5, "a text", b"fixed")
    assert (content.group.inner, content.null, content.numbered) == (1, None, [1, 2])


def test_text_of_a_fixed_length_that_says_so(tmp_path):
    with h5py.File(tmp_path / "fixed.h5", "w") as file:
        file["text"] = np.bytes_("fixed")
        file["text"].attrs["is_str"] = True
        file["texts"] = np.array([b"a", b"bc"])
        file["texts"].attrs["is_str"] = file["texts"].attrs["is_list"] = True
    assert h5.read(tmp_path / "fixed.h5") == {"text": "fixed", "texts": ["a", "bc"]}


def test_files_that_the_older_package_itself_wrote(tmp_path):
    """Read, and written again as they were."""
    place = os.environ.get(OLD_FILES)
    if place is None:
        pytest.skip(f"{OLD_FILES} names no directory with files that the older package wrote")
    paths = sorted(Path(place).glob("*.h5"))
    assert paths, f"no .h5 files in {place}, which {OLD_FILES} names"
    for path in paths:
        h5.write(tmp_path / path.name, h5.read(path))
        with h5py.File(path) as theirs, h5py.File(tmp_path / path.name) as ours:
            the_same(theirs, ours)


def the_same(theirs, ours):
    names = []
    theirs.visit(names.append)
    our_names = []
    ours.visit(our_names.append)
    assert names == our_names
    for name in names:
        one, two = theirs[name], ours[name]
        # Every attribute that theirs has, of the same type; ours has the flags that came later too.
        for key, value in one.attrs.items():
            assert two.attrs[key] == value, (name, key)
            assert two.attrs.get_id(key).dtype == one.attrs.get_id(key).dtype
        if isinstance(one, h5py.Dataset):
            assert (one.dtype, one.shape) == (two.dtype, two.shape), name
            assert np.array_equal(one[()], two[()]), name


def test_a_file_of_somebody_elses(tmp_path):
    (tmp_path / "text.h5").write_text("no HDF5 at all")
    with pytest.raises(OSError, match=r"text\.h5 cannot be opened as an HDF5 file"):
        h5.HDF5(tmp_path / "text.h5")
    with h5py.File(tmp_path / "typed.h5", "w") as file:
        file["kind"] = np.dtype("f8")
    with pytest.raises(TypeError, match="named type"):
        h5.read(tmp_path / "typed.h5")


def test_one_group_of_an_open_file(tmp_path):
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file["by hand"] = 1
        h5.write("model", {"data": np.arange(3), "all": [{"a": 1}]}, file)
        h5.append("model", {"name": "vp"}, file)
        with pytest.raises(TypeError, match=r"^/model/bad: "):
            h5.append("bad", object(), file["model"])
        content = h5.read(file["model"])
        assert isinstance(content, Struct)
        assert content.data.load().tolist() == [0, 1, 2]
        assert (content.name, content.all[0].a, h5.read(file["model/name"])) == ("vp", 1, "vp")
        assert h5.read(file["model/all"], filter={"all": [0]})[0].a == 1
    assert h5.read(tmp_path / "file.h5")["by hand"] == 1
