"""Of a large file only what is asked for is opened and read."""

import copy
import json
import pickle
import weakref

import h5py
import numpy as np
import pytest
from h5py import h5o

from mosaic import h5
from mosaic.file_manipulation import decoding, lazy
from mosaic.types import Struct

SHOTS = 10_000


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file with 10,000 groups."""
    name = tmp_path_factory.mktemp("h5") / "large.h5"
    data = np.arange(16.0)
    shots = [{"id": index, "data": data} for index in range(SHOTS)]
    h5.write(name, {"num": SHOTS, "shots": shots, "space": {"shape": (3, 4), "more": {"a": 1}}})
    return name


@pytest.fixture
def opened(monkeypatch):
    """The names of what is opened and read, as the reader does it."""
    found = []

    class Watched:
        def __getattr__(self, name):
            return getattr(h5o, name)

        def open(self, group, name):
            found.append(name.decode())
            return h5o.open(group, name)

    monkeypatch.setattr(decoding, "h5o", Watched())
    return found


def test_a_lazy_load_opens_no_item_of_a_list(large, opened):
    with h5.HDF5(large) as file:
        content = file.load()
        assert opened == ["num", "shots", "space"]
        assert len(content.shots) == SHOTS
        assert opened == ["num", "shots", "space"]
        assert content.shots[7].id == 7
        assert opened[3:] == ["data", "id"]
        assert content.space.shape == (3, 4)
        assert opened[5:] == ["more", "shape"]
        assert content.shots[7].data.load().sum() == 120
        assert len(opened) == 7


def test_a_filter_opens_what_it_names(large, opened):
    with h5.HDF5(large) as file:
        content = file.load(lazy=False, filter={"shots": [9999, 5]})
    assert [shot.id for shot in content.shots] == [5, 9999]
    assert sum(name.startswith("shots_") for name in opened) == 2
    assert len(opened) == 3 + 2 * 3 + 2 + 1
    assert content.num == SHOTS


def test_only_opens_what_it_names(large, opened):
    with h5.HDF5(large) as file:
        assert file.load(only="num") == {"num": SHOTS}
        assert opened == ["num"]
        assert file.load(only=["space/more", "nothing"]) == {"space": {"more": {"a": 1}}}
        content = file.load(only=["shots/id", "num"], filter={"shots": range(3)}, lazy=False)
    assert content == {"num": SHOTS, "shots": [{"id": 0}, {"id": 1}, {"id": 2}]}


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ([1, 2], [1, 2]),
        (("shots_00000002",), [2]),
        (["1", 2, 77], [1, 2]),
        (0, [0]),
        (np.array([2, 0]), [0, 2]),
        ([], []),
    ],
    ids=str,
)
def test_what_a_filter_takes(tmp_path, wanted, kept):
    h5.write(tmp_path / "file.h5", {"a": 1, "shots": [{"id": index} for index in range(3)]})
    with h5.HDF5(tmp_path / "file.h5") as file:
        content = file.load(filter={"shots": wanted, "absent": [1]})
        assert [shot.id for shot in content.shots] == kept
        assert content.a == 1


def test_a_filter_of_a_dictionary(tmp_path):
    h5.write(
        tmp_path / "file.h5", {"all": {"one": 1, "two": 2, "3": 3}, "deep": {"all": {"two": 4}}}
    )
    with h5.HDF5(tmp_path / "file.h5") as file:
        content = file.load(filter={"all": ["two", 3]}, lazy=False)
    assert content == {"all": {"two": 2, "3": 3}, "deep": {"all": {"two": 4}}}


def test_arrays_stay_in_the_file(tmp_path):
    h5.write(
        tmp_path / "file.h5",
        {"data": np.arange(10.0), "names": np.array(["a"]), "zero": np.array(1)},
    )
    with h5.HDF5(tmp_path / "file.h5") as file:
        content = file.load()
        assert isinstance(content.data, h5py.Dataset)
        assert (content.data.shape, content.data.dtype) == ((10,), np.dtype("f8"))
        assert content.data[2:4].tolist() == [2, 3]
        assert type(content.data.load()) is np.ndarray
        assert content.names.load().dtype == np.dtype("<U1")
        assert content.zero == np.array(1)
        assert type(copy.deepcopy(content).data) is np.ndarray
        assert type(pickle.loads(pickle.dumps(content.data))) is np.ndarray
    with pytest.raises(OSError, match="has been closed: load it before"):
        content.data.load()


LOOKS = {
    "attribute": lambda s: s.shape,
    "item": lambda s: s["shape"],
    "get": lambda s: s.get("shape"),
    "in": lambda s: "shape" in s,
    "len": lambda s: len(s) == 2,
    "iter": lambda s: "shape" in iter(s),
    "dict": lambda s: dict(s)["shape"],
    "**": lambda s: dict(**s)["shape"],
    "{**}": lambda s: {**s}["shape"],
    "|": lambda s: (s | {"x": 1}).shape,
    "dict |": lambda s: ({"x": 1} | s)["shape"],
    "==": lambda s: s == {"shape": [3, 4], "more": {"a": 1}},
    "== swapped": lambda s: {"shape": [3, 4], "more": {"a": 1}} == s,  # noqa: SIM300
    "update": lambda s: Struct().update(s) or True,
    "keys": lambda s: "shape" in s.keys(),  # noqa: SIM118
    "items": lambda s: dict(s.items())["shape"],
    "values": lambda s: [3, 4] in s.values(),
    "pop": lambda s: s.pop("shape"),
    "set": lambda s: setattr(s, "x", 1) or s.shape,
    "setdefault": lambda s: s.setdefault("shape"),
    "del": lambda s: s.delete("shape") or "shape" not in s,
    "copy": lambda s: s.copy()["shape"],
    "deepcopy": lambda s: copy.deepcopy(s).shape,
    "pickle": lambda s: type(pickle.loads(pickle.dumps(s))) is Struct,
    "json": lambda s: json.loads(json.dumps(s))["shape"],
    "str": lambda s: "shape: [3, 4]" in str(s),
    "repr": lambda s: repr(s).startswith("Struct({'more'"),
    "dir": lambda s: "shape" in dir(s),
    "reversed": lambda s: "shape" in list(reversed(s)),
}


def test_whichever_way_a_group_is_looked_at_it_is_there(tmp_path):
    h5.write(tmp_path / "file.h5", {"space": {"shape": [3, 4], "more": {"a": 1}}})
    with h5.HDF5(tmp_path / "file.h5") as file:
        for name, look in LOOKS.items():
            space = file.load().space
            assert type(space) is lazy.LazyStruct
            assert look(space), name
            # From now on it is a plain one.
            assert type(space) is Struct, name


def test_groups_are_there_after_the_file_was_closed(tmp_path):
    h5.write(tmp_path / "file.h5", {"space": {"shape": (3, 4), "more": {"a": {"b": 1}}}})
    with h5.HDF5(tmp_path / "file.h5") as file:
        content = file.load()
    # The file is not needed any more.
    h5.rm(tmp_path / "file.h5")
    assert content == {"space": {"shape": (3, 4), "more": {"a": {"b": 1}}}}


def test_of_a_large_file_too(large, opened):
    with h5.HDF5(large) as file:
        content = file.load()
    assert len(opened) == 3
    assert content.shots[1234].id == 1234
    assert content.space.more.a == 1
    with pytest.raises(OSError, match="closed"):
        content.shots[5].data.load()


@pytest.mark.parametrize("how", ["changed", "removed"])
def test_unless_it_has_changed(tmp_path, how, monkeypatch):
    monkeypatch.setattr(lazy, "FEW", 2)
    name = tmp_path / "file.h5"
    h5.write(name, {"shots": [{"id": index} for index in range(5)]})
    with h5.HDF5(name) as file:
        content = file.load()
        assert content.shots[0].id == 0
    if how == "changed":
        h5.write(name, {"shots": [{"id": 77} for index in range(5)]})
    else:
        h5.rm(name)
    assert content.shots[0].id == 0
    with pytest.raises(OSError, match=r"/shots/shots_00000001 of .*file\.h5 .* changed or gone"):
        content.shots[1].id  # noqa: B018 - it raises


def test_a_file_that_was_loaded_is_written_again(tmp_path):
    name = tmp_path / "file.h5"
    h5.write(name, {"a": {"b": 1}, "shots": [{"c": 2}]})
    with h5.HDF5(name) as file:
        content = file.load()
    content.a.b = 5
    h5.write(name, content)
    assert h5.read(name) == {"a": {"b": 5}, "shots": [{"c": 2}]}


def test_what_nobody_looks_at_is_let_go(tmp_path):
    h5.write(tmp_path / "file.h5", {"space": {"a": 1}})
    with h5.HDF5(tmp_path / "file.h5") as file:
        content = file.load()
        gone = weakref.ref(content.pop("space"))
        assert gone() is None
        assert not file._opened.source._left


def test_a_file_stays_open_for_what_was_loaded_of_it(tmp_path):
    h5.write(tmp_path / "file.h5", {"data": np.arange(3), "space": {"a": np.arange(4)}})
    content = h5.HDF5(tmp_path / "file.h5").load()
    assert content.data.load().tolist() == [0, 1, 2]
    assert content.space.a.load().tolist() == [0, 1, 2, 3]
    content = h5.read(tmp_path / "file.h5", lazy=True)
    assert content.data[1] == 1


def test_items_of_a_list_that_are_no_groups(tmp_path):
    """As nobody writes them, but the list says that they are there."""
    with h5py.File(tmp_path / "file.h5", "w") as file:
        group = file.create_group("odd")
        group.attrs["is_array"] = True
        group["odd_00000000"] = 3
        group["other"] = 4
    assert h5.read(tmp_path / "file.h5").odd == [3]


def test_what_was_loaded_can_be_printed_after_the_file_was_closed(tmp_path):
    h5.write(tmp_path / "file.h5", {"array": np.zeros(3), "number": 5})
    with h5.HDF5(tmp_path / "file.h5") as file:
        content = file.load()
    assert "number: 5" in str(content)
    assert "array: <Closed" in str(content)
