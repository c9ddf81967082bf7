"""Which file is meant, what it is opened for, and what is left of it when a writer fails."""

import errno
import os
import stat
import subprocess
import sys

import h5py
import numpy as np
import pytest

from mosaic import h5

NAMING = {"project_name": "alpha2D", "parameter": "true_model"}


def dump(content, **naming):
    with h5.HDF5(mode="w", **naming) as file:
        file.dump(content)
        return os.path.basename(file.filename)


def test_versions(tmp_path):
    naming = {"path": tmp_path, **NAMING}
    assert not h5.file_exists(**naming)
    assert dump({"v": 0}, **naming) == "alpha2D-TrueModel.h5"
    assert dump({"v": 1}, **naming) == "alpha2D-TrueModel-00001.h5"
    assert dump({"v": 7}, version=7, **naming) == "alpha2D-TrueModel-00007.h5"
    assert dump({"v": 2}, **naming) == "alpha2D-TrueModel-00002.h5"
    # Neither of these is a version of that file.
    for other in ("alpha2D-TrueModel-7.h5", "alpha2D-TrueModelOther.h5", "alpha2D-TrueModel.hdf"):
        (tmp_path / other).touch()
    with h5.HDF5(mode="r", **naming) as file:
        assert os.path.basename(file.filename) == "alpha2D-TrueModel-00007.h5"
        assert file.load().v == 7
    for version in (0, 1, 2, 7):
        with h5.HDF5(version=version, **naming) as file:
            assert file.load().v == version
    with h5.HDF5(mode="r+", **naming) as file:
        file.append({"more": 1})
        assert os.path.basename(file.filename) == "alpha2D-TrueModel-00007.h5"
    assert h5.file_exists(version=2, **naming)
    assert not h5.file_exists(version=3, **naming)
    h5.rm(**naming)
    with h5.HDF5(**naming) as file:
        assert file.load().v == 2
    h5.rm(version=0, mode="r", **naming)
    assert dump({"v": 0}, **naming) == "alpha2D-TrueModel.h5"
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".partial")]


def test_two_writers_of_one_version_get_two(tmp_path):
    naming = {"path": tmp_path, **NAMING}
    first, second = h5.HDF5(mode="w", **naming), h5.HDF5(mode="w", **naming)
    assert first.filename == second.filename
    second.dump({"writer": 2})
    first.dump({"writer": 1})
    for file, version in ((second, 0), (first, 1)):
        file.append({"more": 1})
        file.close()
        with h5.HDF5(version=version, **naming) as found:
            assert found.filename == file.filename
            assert found.load().writer == 2 - version
    assert len(os.listdir(tmp_path)) == 2


def test_a_file_that_was_made_meanwhile_is_not_replaced(tmp_path):
    name = tmp_path / "file.h5"
    for mode in ("x", "a"):
        file = h5.HDF5(name, mode=mode)
        h5.write(name, {"other": 1})
        with pytest.raises(FileExistsError, match=r"meanwhile.* in .*\.partial.*file\.h5'"):
            file.append({"mine": 1})
        file.close()
        assert h5.read(name) == {"other": 1}
        (left,) = (one for one in tmp_path.iterdir() if one != name)
        assert h5.read(left) == {"mine": 1}
        left.unlink()
        name.unlink()


def test_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "not here")

    monkeypatch.setattr(os, "link", refuse)
    naming = {"path": tmp_path, **NAMING}
    first, second = h5.HDF5(mode="w", **naming), h5.HDF5(mode="w", **naming)
    for file in (first, second):
        file.dump({})
        file.close()
    assert len(os.listdir(tmp_path)) == 2


def test_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert dump({}, project_name="p", parameter="vp", extension="hdf5") == "p-Vp.hdf5"
    assert dump({}, filename="own name", path=tmp_path) == "own name"
    assert h5.file_exists(tmp_path / "own name")
    assert h5.file_exists(path=tmp_path / "own name")
    assert h5.file_exists("p-Vp.hdf5")


@pytest.mark.parametrize("given", [{}, {"project_name": "a"}, {"parameter": "a", "path": "."}])
def test_a_file_needs_a_name(given):
    for ask in (h5.HDF5, h5.file_exists, h5.rm):
        with pytest.raises(RuntimeError, match="filename, or a project_name and a parameter"):
            ask(**given)


def test_what_is_not_there(tmp_path):
    naming = {"path": tmp_path, **NAMING}
    for ask in (h5.HDF5, h5.rm):
        for version in (None, -1):
            with pytest.raises(FileNotFoundError, match=r"later version of it: .*TrueModel\.h5'$"):
                ask(version=version, **naming)
        with pytest.raises(FileNotFoundError, match=r"no such file: .*TrueModel-00003\.h5'$") as no:
            ask(version=3, **naming)
        assert no.value.errno == errno.ENOENT
        assert no.value.filename == str(tmp_path / "alpha2D-TrueModel-00003.h5")
    with pytest.raises(FileNotFoundError, match="no folder"):
        h5.write(tmp_path / "nowhere" / "file.h5", {})
    with pytest.raises(FileNotFoundError):
        h5.HDF5(tmp_path / "file.h5", mode="r+")
    for mode in ("w", "a"):
        with pytest.raises(IsADirectoryError, match="is a folder"):
            h5.HDF5(tmp_path, mode=mode)
    with pytest.raises(ValueError, match="begin at 0"):
        h5.file_exists(version=-2, **naming)
    with pytest.raises(ValueError, match="begin at 0"):
        h5.file_exists(version_start=-1, **naming)


def test_modes(tmp_path):
    name = tmp_path / "file.h5"
    with pytest.raises(ValueError, match="mode 'rw' but with one of r, "):
        h5.HDF5(name, mode="rw")
    with h5.HDF5(name, mode="a") as file:
        file.append({"a": 1})
    with h5.HDF5(name, mode="r+") as file:
        file.append({"b": 2})
        assert file.load(lazy=False) == {"a": 1, "b": 2}
    with pytest.raises(FileExistsError, match="already"):
        h5.HDF5(name, mode="x")
    with h5.HDF5(name) as file:
        assert (file.mode, isinstance(file.file, h5py.File)) == ("r", True)
        with pytest.raises(OSError, match="open for reading only"):
            file.dump({})
    with pytest.raises(OSError, match="has been closed"):
        file.load()
    file.close()
    assert "closed" in repr(file)
    with h5.HDF5(name, mode="w") as file:
        file.dump({"c": 3})
    assert h5.read(name) == {"c": 3}


def test_append_overwrites_in_place(tmp_path):
    name = tmp_path / "file.h5"
    first = {
        "keep": 1,
        "data": np.zeros(1000),
        "group": {"keep": 2, "text": "long before", "shape": (1, 2)},
        "shots": [{"id": 0, "x": 1.0}, {"id": 1}],
        "kind": 1,
    }
    h5.write(name, first)
    with h5.HDF5(name, mode="a") as file:
        before = file.load()
        file.append(
            {"data": np.ones(1000), "group": {"text": "after", "shape": [3, 4], "new": None}}
        )
        # Whoever has the dataset sees it: it is the same one.
        assert before.data[:3].tolist() == [1, 1, 1]
        file.append({"shots": [{"x": 2.0}], "kind": {"now": "a group"}})
        file.append({"shots": {"shots_00000004": {"id": 4}}, "added": [1]})
    with h5py.File(name) as plain:
        assert plain["shots"].attrs["len"] == 5
        assert plain["shots"].attrs["is_array"]
    content = h5.read(name)
    assert content.pop("data").all()
    assert content == {
        "keep": 1,
        "group": {"keep": 2, "text": "after", "shape": [3, 4], "new": None},
        "shots": [{"id": 0, "x": 2.0}, {"id": 1}, {"id": 4}],
        "kind": {"now": "a group"},
        "added": [1],
    }
    assert type(content.group.shape) is list
    with h5.HDF5(name, mode="a") as file:
        file.append({"shots": [{"id": index} for index in range(7)]})
    assert [shot.id for shot in h5.read(name).shots] == list(range(7))


def test_dump_replaces_what_has_the_same_name(tmp_path):
    name = tmp_path / "file.h5"
    with h5.HDF5(name, mode="w") as file:
        file.dump({"a": {"b": 1}, "c": 2})
        file.dump({"a": {"d": 3}})
    assert h5.read(name) == {"a": {"d": 3}, "c": 2}


def test_a_file_is_there_as_soon_as_it_is_dumped(tmp_path):
    name = tmp_path / "file.h5"
    file = h5.HDF5(name, mode="w")
    assert not name.exists()
    file.dump({"a": 1})
    assert name.exists()
    file.append({"b": 2})
    assert file.load(lazy=False) == {"a": 1, "b": 2}
    file.close()
    assert h5.read(name) == {"a": 1, "b": 2}


def test_a_writer_that_fails_leaves_the_file_that_was_there(tmp_path):
    name = tmp_path / "file.h5"
    h5.write(name, {"old": 1})
    with pytest.raises(ZeroDivisionError), h5.HDF5(name, mode="w") as file:  # noqa: PT012
        file.file["by hand"] = 1
        raise ZeroDivisionError
    assert h5.read(name) == {"old": 1}
    assert os.listdir(tmp_path) == ["file.h5"]


KILLED = """
import os, signal, sys
import numpy as np
from mosaic import h5
file = h5.HDF5(sys.argv[1], mode="w")
file.file["half"] = np.arange(100_000)
file.file.flush()
print("half", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_writer_that_is_killed_leaves_the_file_that_was_there(tmp_path):
    name = tmp_path / "file.h5"
    h5.write(name, {"old": 1})
    done = subprocess.run(
        [sys.executable, "-c", KILLED, name],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stdout) == (-9, "half\n"), done.stderr
    assert h5.read(name) == {"old": 1}
    # What it left is no version of any file.
    assert len(os.listdir(tmp_path)) == 2
    assert [n for n in os.listdir(tmp_path) if n.startswith(".file.h5.") and "partial" in n]


FULL = """
import os, resource, sys
import numpy as np
from mosaic import h5
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for content in ({"data": np.ones(1_000_000)}, {f"m{i}": i for i in range(1000)}):
    try:
        h5.write(sys.argv[1], content)
    except OSError as error:
        print("refused")
os._exit(0)  # h5py tries again to write what it holds
"""


def test_a_full_disk_leaves_the_file_that_was_there(tmp_path):
    name = tmp_path / "file.h5"
    h5.write(name, {"old": 1})
    done = subprocess.run(
        [sys.executable, "-u", "-c", FULL, name],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "refused\nrefused\n"), done.stderr
    assert os.listdir(tmp_path) == ["file.h5"]
    assert h5.read(name) == {"old": 1}


FORGETFUL = """
import sys
from mosaic import h5
file = h5.HDF5(sys.argv[1], mode="w")
file.file["by hand"] = 1
other = h5.HDF5(sys.argv[2], mode="w")
other.dump({"a": 1})
"""


def test_a_writer_that_does_not_close_leaves_its_file(tmp_path):
    names = [tmp_path / "one.h5", tmp_path / "two.h5"]
    subprocess.run([sys.executable, "-c", FORGETFUL, *names], timeout=50, check=True)
    assert h5.read(names[0]) == {"by hand": 1}
    assert h5.read(names[1]) == {"a": 1}
    file = h5.HDF5(tmp_path / "three.h5", mode="w")
    file.file["a"] = 3
    del file
    assert h5.read(tmp_path / "three.h5") == {"a": 3}


def test_links_and_permissions_stay(tmp_path):
    real = tmp_path / "real.h5"
    h5.write(real, {"a": 1})
    real.chmod(0o640)
    link = tmp_path / "link.h5"
    link.symlink_to(real)
    h5.write(link, {"a": 2})
    assert link.is_symlink()
    assert h5.read(real) == {"a": 2}
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    plain = tmp_path / "plain"
    plain.touch()
    h5.write(tmp_path / "new.h5", {})
    assert (tmp_path / "new.h5").stat().st_mode == plain.stat().st_mode


def test_without_h5py_the_module_imports_and_its_use_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['h5py'] = None\n"
        "import mosaic\n"
        "from mosaic.file_manipulation.h5 import HDF5, read, write\n"
        "assert not mosaic.h5.file_exists('model.h5')\n"
        "for use in (lambda: HDF5('model.h5', mode='w'), lambda: read('model.h5'), lambda: write('model.h5', {})):\n"
        "    try: use()\n"
        "    except ImportError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
        cwd=tmp_path,
    )
    said = done.stdout.splitlines()
    assert len(said) == 3
    for line in said:
        assert "model.h5" in line
        assert "pip install h5py" in line
        assert "mosaic[hdf5]" in line
    assert list(tmp_path.iterdir()) == []
