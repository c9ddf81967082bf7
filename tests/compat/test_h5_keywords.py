"""Keywords and names that programs of mosaic 1.2 give to `mosaic.h5`."""

import errno
import os

import numpy as np
import pytest

from mosaic import h5

NAMING = {"project_name": "p", "parameter": "ABC"}

OTHERS = {
    "filter": None,
    "only": None,
    "no_runs": 3,
    "mode": "r",
    "anything": object(),
    "runtime": None,
}
"""What programs pass on from keywords of their own functions."""


def test_unknown_keywords_are_ignored(tmp_path):
    naming = {"path": tmp_path, **NAMING}
    others = {name: value for name, value in OTHERS.items() if name != "mode"}
    with h5.HDF5(mode="w", **naming, **others) as file:
        file.dump({"a": np.arange(3)}, **OTHERS)
        file.append({"b": 2}, **OTHERS)
        h5.write("c", 3, file.file, **OTHERS)
        h5.append("d", 4, file.file, **OTHERS)
    assert h5.file_exists(**naming, **OTHERS)
    with h5.HDF5(**naming, **OTHERS) as file:
        content = file.load(lazy=False, **OTHERS)
    name = file.filename
    assert (content.a.tolist(), content.b, content.c, content.d) == ([0, 1, 2], 2, 3, 4)
    others = {name: value for name, value in others.items() if name != "only"}
    assert set(h5.read(name, only=["b"], **others)) == {"b"}
    h5.rm(**naming, **OTHERS)
    assert not h5.file_exists(**naming, **OTHERS)


def test_file_names_are_made_as_in_1_2(tmp_path):
    for parameter, name in {
        "ABC": "p-ABC.h5",
        "true_model": "p-TrueModel.h5",
        "a.b c": "p-ABC.h5",
        "some-name": "p-Some-name.h5",
        7: "p-7.h5",
    }.items():
        with h5.HDF5(
            path=tmp_path, project_name="p", parameter=parameter, version=0, mode="w"
        ) as one:
            assert os.path.basename(one.filename) == name


def test_appending_without_a_version_makes_the_next_file(tmp_path):
    naming = {"path": tmp_path, **NAMING}
    for version in range(3):
        with h5.HDF5(mode="a", **naming) as file:
            file.append({"run": version})
    for version in range(3):
        with h5.HDF5(version=version, **naming) as file:
            assert file.load() == {"run": version}
    # One that is named is added to.
    with h5.HDF5(mode="a", version=1, **naming) as file:
        file.append({"more": 1})
    with h5.HDF5(version=1, **naming) as file:
        assert file.load() == {"run": 1, "more": 1}


def test_version_minus_one_is_the_last(tmp_path):
    naming = {"path": tmp_path, **NAMING}
    assert not h5.file_exists(version=-1, **naming)
    for _ in range(3):
        with h5.HDF5(mode="w", **naming) as file:
            file.dump({"a": 1})
    for mode, name in {"r": "p-ABC-00002.h5", "a": "p-ABC-00002.h5", "w": "p-ABC-00002.h5"}.items():
        with h5.HDF5(mode=mode, version=-1, **naming) as file:
            assert os.path.basename(file.filename) == name
            if mode != "r":
                file.append({"b": 2})
    assert h5.read(tmp_path / "p-ABC-00002.h5") == {"b": 2}
    h5.rm(version=-1, **naming)
    assert sorted(os.listdir(tmp_path)) == ["p-ABC-00001.h5", "p-ABC.h5"]


def test_version_start_is_the_first_that_is_tried(tmp_path):
    naming = {"path": tmp_path, **NAMING}
    names = []
    for mode, start in (("w", 0), ("w", 5), ("a", 5), ("w", 1)):
        with h5.HDF5(mode=mode, version_start=start, **naming) as file:
            file.dump({})
        names.append(os.path.basename(file.filename))
    assert names == ["p-ABC.h5", "p-ABC-00005.h5", "p-ABC-00006.h5", "p-ABC-00001.h5"]
    with h5.HDF5(version_start=1, **naming) as file:
        assert file.filename.endswith("00006.h5")


def test_errors_have_their_numbers(tmp_path):
    naming = {"path": tmp_path, **NAMING}
    for ask in (h5.HDF5, h5.rm):
        with pytest.raises(FileNotFoundError) as raised:
            ask(**naming)
        assert raised.value.errno == errno.ENOENT
    with pytest.raises(FileNotFoundError) as raised:
        h5.write(tmp_path / "nowhere" / "file.h5", {})
    assert raised.value.errno == errno.ENOENT
    with pytest.raises(IsADirectoryError) as raised:
        h5.write(tmp_path, {})
    assert raised.value.errno == errno.EISDIR
    h5.write(tmp_path / "file.h5", {})
    with pytest.raises(FileExistsError) as raised:
        h5.HDF5(tmp_path / "file.h5", mode="x")
    assert raised.value.errno == errno.EEXIST
    for given in ({}, {"project_name": "p"}, {"parameter": "a", "path": tmp_path}):
        with pytest.raises(RuntimeError, match="project_name and a parameter"):
            h5.HDF5(**given)


def test_loading_no_members(tmp_path):
    h5.write(tmp_path / "file.h5", {"a": 1, "b": {"c": 2}})
    for lazy in (True, False):
        with h5.HDF5(tmp_path / "file.h5") as file:
            assert len(file.load(lazy=lazy, only=[])) == 0
            assert len(file.load(lazy=lazy, only=())) == 0
            assert file.load(lazy=lazy, only=None) == {"a": 1, "b": {"c": 2}}
            assert file.load(lazy=lazy, only="/") == {"a": 1, "b": {"c": 2}}
            assert file.load(lazy=lazy, only=iter(["b/c"])) == {"b": {"c": 2}}


def test_an_empty_group_is_true(tmp_path):
    h5.write(tmp_path / "file.h5", {"empty": {}})
    with h5.HDF5(tmp_path / "file.h5") as file:
        content = file.load()
        assert content.empty
        assert len(content.empty) == 0
