"""What `mosaic.tessera` does to a class."""

import copy
import dataclasses
import pickle

import pytest

import mosaic
from mosaic.core import ParameterMixin
from mosaic.core.options import split


@mosaic.tessera(max_retries=2)
class Plain:
    """Has a docstring."""

    def __init__(self, x=1):
        self.x = x


@mosaic.tessera
class Derived(Plain):
    pass


class Undecorated(Plain):
    pass


@mosaic.tessera
class Slotted:
    __slots__ = ("x",)


def test_it_returns_the_same_class():
    class Local:
        pass

    assert mosaic.tessera(Local) is Local
    assert mosaic.tessera(is_async=True)(Local) is Local
    assert Plain.__doc__ == "Has a docstring."


def test_local_instances_are_ordinary():
    for cls in (Plain, Derived, Undecorated):
        obj = cls(3)
        assert pickle.loads(pickle.dumps(obj)).x == copy.deepcopy(obj).x == 3
        assert vars(obj) == {"x": 3}
        assert not hasattr(obj, "_tessera")
    assert not isinstance(Plain(), ParameterMixin)


def test_options_are_inherited():
    assert Derived._mosaic_options == {"max_retries": 2}
    assert Undecorated._mosaic_options == {"max_retries": 2}
    assert Slotted._mosaic_options == {}


@pytest.mark.parametrize(
    "name", ["remote", "local", "parameter", "local_parameter", "select_worker"]
)
def test_class_methods(name):
    for cls in (Plain, Derived, Undecorated, Slotted):
        assert callable(getattr(cls, name))
        assert getattr(cls, name).__self__ is cls


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((lambda: None,), {}),
        ((3,), {}),
        ((Plain, Plain), {}),
        ((Plain,), {"max_retries": 1}),
        ((), {}),
        ((), {"colour": "red"}),
        ((), {"max_retries": -1}),
        ((), {"max_restarts": 1.5}),
        ((), {"len": 3}),
        ((int,), {}),
    ],
)
def test_other_uses_say_how_to_use_it(args, kwargs):
    with pytest.raises((TypeError, ValueError)):
        mosaic.tessera(*args, **kwargs)


def test_the_classs_own_names_win():
    with pytest.warns(UserWarning, match="Clash has its own remote, logger"):

        @mosaic.tessera
        class Clash:
            def remote(self):
                return "mine"

            logger = "mine"

    assert Clash().remote() == Clash().logger == "mine"


def test_a_subclass_of_a_tessera_class_is_no_clash(recwarn):
    mosaic.tessera(type("Sub", (Plain,), {}))
    assert not recwarn.list


def test_instances_may_have_attributes_by_those_names():
    obj = Plain()
    obj.runtime = 5
    assert obj.runtime == 5


def test_dataclasses_work():
    @dataclasses.dataclass
    class Data(Plain):
        worker: int
        node: str = "a"

    assert Data(3).worker == 3
    with pytest.raises(TypeError):
        Data()


def test_the_logger_works_without_a_runtime():
    Plain().logger.debug("nothing to see")
    assert Plain().runtime is None
    assert not hasattr(Plain(), "node")


def test_without_a_runtime_remote_says_so():
    with pytest.raises(mosaic.MosaicError, match=r"mosaic\.run"):
        Plain.remote()
    for make in (Plain.parameter, Plain.local_parameter):
        with pytest.raises(mosaic.MosaicError, match=r"mosaic\.run"):
            make()


def test_options_are_told_from_arguments():
    options, rest = split(
        {"max_retries": 2}, {"max_retries": 5, "runtime": "worker:0:1", "x": 1, "safe": 3}
    )
    assert options["max_retries"] == 5
    assert options["runtime"] == "worker:0:1"
    assert rest == {"x": 1, "safe": 3}
    options, rest = split({}, {"len": 2, "safe": False})
    assert (options["len"], options["safe"], rest) == (2, False, {})
    with pytest.raises(ValueError, match="len"):
        split({}, {"len": 0})
    with pytest.raises(TypeError, match="max_retries"):
        split({}, {"max_retries": "2"})
