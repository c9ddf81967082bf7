"""`mimport` from folders, as programs of mosaic 1.2 load the settings of a run."""

import pickle
import sys

import pytest

from mosaic.comms.serialisation import deserialise, serialise
from mosaic.utils import mimport


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "settings.py").write_text(
        "import sys\nclass Frequency:\n    value = 5\n    unit: 'Unit' = 'MHz'\n"
        "same = sys.modules[__name__].Frequency is Frequency\n"
    )
    package = tmp_path / "survey"
    package.mkdir()
    (package / "__init__.py").write_text("from survey import shots\nfrom .shots import number\n")
    (package / "shots.py").write_text("number = 3\n")
    return tmp_path


@pytest.mark.parametrize(
    "kind",
    [lambda one: (one,), lambda one: [str(one)], str, lambda one: one],
    ids=["tuple", "list", "str", "path"],
)
def test_a_module_is_loaded_from_a_folder(folder, kind):
    modules = set(sys.modules)
    settings = mimport("settings", fromlist=kind(folder))
    assert (settings.Frequency.value, settings.same, settings.__name__) == (5, True, "settings")
    assert settings.__file__ == str(folder / "settings.py")
    assert not {"settings", "survey"} & set(sys.modules) - modules


def test_it_is_loaded_anew_each_time(folder):
    first = mimport("settings", fromlist=(folder,))
    text = (folder / "settings.py").read_text()
    # Of the same length, within the same second: bytecode would count as new.
    (folder / "settings.py").write_text(text.replace("value = 5", "value = 7"))
    second = mimport("settings", fromlist=(folder,))
    assert (first.Frequency.value, second.Frequency.value) == (5, 7)
    assert not (folder / "__pycache__").exists()


def test_what_is_inside_and_packages(folder):
    assert mimport("settings.Frequency", fromlist=(folder,)).value == 5
    assert mimport("settings:Frequency.value", fromlist=(folder,)) == 5
    assert mimport("survey", fromlist=(folder,)).number == 3
    assert mimport("survey.shots", fromlist=(folder,)).number == 3
    assert mimport("survey.shots.number", fromlist=(folder,)) == 3


def test_modules_that_are_imported_stay(folder):
    (folder / "json.py").write_text("mine = True\n")
    import json

    assert mimport("json", fromlist=(folder,)).mine
    assert sys.modules["json"] is json
    assert not hasattr(json, "mine")


def test_its_objects_travel_by_value(folder):
    kind = mimport("settings.Frequency", fromlist=(folder,))
    back = deserialise(*serialise(kind()))
    assert back.value == 5
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(kind())


def test_what_is_not_there_is_named(folder):
    with pytest.raises(ImportError, match=f"no module 'nothing' in {folder}"):
        mimport("nothing", fromlist=(folder,))
    for name in ("settings.Nothing", "settings:Nothing", "survey.Nothing"):
        with pytest.raises(ImportError, match="no 'Nothing' in"):
            mimport(name, fromlist=(folder,))
    (folder / "broken.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        mimport("broken", fromlist=(folder,))
    assert "broken" not in sys.modules
    # Without folders it is an import like any other.
    with pytest.raises(ImportError):
        mimport("settings")
