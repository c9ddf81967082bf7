"""What members of an HDF5 file become, in files of mosaic 1.2 and in ours."""

import h5py
import numpy as np
import pytest

from mosaic import h5

FLAGS = ("is_ndarray", "is_list", "is_tuple", "is_str")


def test_slashes_in_names_make_groups(tmp_path):
    name = tmp_path / "file.h5"
    content = {"speed (km/s)": 1.5, "a": {"x": 1}, "a/b/c": [1], "a/b/d": {"e": 2}, "/f/": 3}
    h5.write(name, content)
    nested = {"a": {"x": 1, "b": {"c": [1], "d": {"e": 2}}}, "f": 3, "speed (km": {"s)": 1.5}}
    assert h5.read(name) == nested
    assert h5.read(name, only=["a/b/c"]) == {"a": {"b": {"c": [1]}}}
    with h5py.File(name) as plain:
        assert plain["speed (km/s)"][()] == 1.5
        assert not plain["a/b"].attrs["is_array"]
    # Others in such a group stay, those of the name are replaced.
    with h5.HDF5(name, mode="r+") as file:
        file.dump({"a/b": {"new": 1}, "f/g": 4})
        file.append({"a/b/more": 2})
    assert h5.read(name) == {
        "a": {"x": 1, "b": {"new": 1, "more": 2}},
        "f": {"g": 4},
        "speed (km": {"s)": 1.5},
    }
    for content in ({"a": 1, "a/b": 2}, {"a/b": 2, "a": 1}, {"a/b": 2, "a/b/c": 1}):
        with pytest.raises(ValueError, match=r"/a.* cannot be stored: .*group"):
            h5.write(name, content)
    assert h5.read(name).f == {"g": 4}


def test_the_root_of_an_open_file(tmp_path):
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file["by hand"] = 1
        h5.write("/", {"a": 1, "group": {"b": 2}}, file)
        h5.append("/", {"group": {"c": 3}}, file)
        h5.append("/", {"d": 4}, file["group"])
        with pytest.raises(TypeError, match="a group holds a dictionary of values, not a list"):
            h5.write("/", [1], file)
        assert not file.attrs["is_array"]
        assert h5.read(file) == {"by hand": 1, "a": 1, "group": {"b": 2, "c": 3, "d": 4}}


def test_a_number_that_is_appended_fills_an_array(tmp_path):
    name = tmp_path / "file.h5"
    arrays = {
        "field": np.zeros((2, 3), "f4"),
        "mask": np.zeros(3, bool),
        "bytes": np.zeros(3, "u1"),
        "waves": np.zeros(2, "c8"),
    }
    h5.write(name, {**arrays, "list": [1, 2], "number": 1, "empty": np.zeros(0)})
    with h5.HDF5(name, mode="a") as file:
        before = file.load()
        file.append({"field": 2.5, "mask": True, "bytes": 300, "waves": 3, "empty": 1})
        file.append({"list": 3, "number": 4})
        # It is the same dataset.
        assert before.field[1].tolist() == [2.5] * 3
    content = h5.read(name)
    for key, array in arrays.items():
        assert (content[key].dtype, content[key].shape) == (array.dtype, array.shape)
    assert (content.field == 2.5).all()
    assert content.mask.all()
    assert content.bytes.tolist() == [255] * 3
    assert content.waves.tolist() == [3, 3]
    assert (content.empty.size, content.list, content.number) == (0, 3, 4)
    # What it cannot hold takes its place.
    h5.append(name, {"field": 1j})
    assert h5.read(name).field == 1j


@pytest.fixture
def old(tmp_path):
    """A file with the flags that 1.2 wrote; returns its name."""
    members = {
        "gain": (np.uint8(200), ()),
        "step": (np.float32(0.5), ()),
        "zero": (np.array(3.5), ("is_ndarray",)),
        "pad": ([[1, 2], [3, 4]], ("is_tuple",)),
        "rows": ([[1, 2], [3, 4]], ("is_list",)),
        "names": (["a", "b"], ("is_tuple",)),
        "texts": (["a", "b"], ("is_list", "is_str")),
    }
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["is_array"] = False
        for name, (value, flags) in members.items():
            file[name] = value
            for flag in FLAGS:
                file[name].attrs[flag] = flag in flags
    return tmp_path / "old.h5"


def test_files_of_1_2_are_read_as_1_2_reads_them(old):
    content = h5.read(old)
    assert (content.gain + 100, type(content.gain)) == (300, int)
    assert (content.step, type(content.step)) == (0.5, float)
    assert type(content.zero) is np.float64
    assert (content.pad[0] * 2).tolist() == [2, 4]
    assert type(content.pad) is tuple
    assert content.rows == [[1, 2], [3, 4]]
    assert content.names == (b"a", b"b")
    assert content.texts == ["a", "b"]


@pytest.mark.parametrize(
    "value",
    [("a", "bé"), (("a", "b"), ("c", "d")), ("a", 1, None), np.array(["a", "bé"]), np.array("a")],
    ids=str,
)
def test_tuples_and_arrays_of_texts_are_written_so_that_1_2_opens_them(value, tmp_path):
    name = tmp_path / "file.h5"
    h5.write(name, {"value": value})
    for _ in range(2):
        with h5py.File(name) as plain:
            assert not plain["value"].attrs["is_str"]
            assert plain["value"].attrs["is_texts"]
        content = h5.read(name)
        if isinstance(value, tuple):
            assert content["value"] == value
        else:
            assert content["value"].dtype.kind == "U"
            np.testing.assert_array_equal(content["value"], value)
        # In place of what was there, and as a dataset of another file.
        h5.append(name, {"value": value})
    with h5.HDF5(name) as file:
        h5.write(tmp_path / "again.h5", file.load())
    assert np.array_equal(h5.read(tmp_path / "again.h5")["value"], h5.read(name)["value"])


def test_lists_of_texts_keep_their_flag(tmp_path):
    h5.write(tmp_path / "file.h5", {"value": ["a", "b"], "text": "a"})
    with h5py.File(tmp_path / "file.h5") as plain:
        assert plain["value"].attrs["is_str"]
        assert plain["text"].attrs["is_str"]
        assert "is_texts" not in plain["value"].attrs
