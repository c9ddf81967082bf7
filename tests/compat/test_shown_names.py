"""Proxies and arrays have the names that their class shows, and no others."""

import copy
import functools
import inspect

import numpy as np
import pytest

import mosaic
from tests.support.actors import Echo

PROBED = (
    *(
        "shape",
        "dtype",
        "ndim",
        "__array__",
        "__array_interface__",
        "__cuda_array_interface__",
        "__dlpack__",
    ),
    *("__len__", "__html__", "__wrapped__", "__dataclass_fields__", "__setstate__", "_repr_latex_"),
    *(
        "_ipython_display_",
        "_ipython_canary_method_should_not_exist_",
        "needs_grad",
        "obj",
        "outputs",
    ),
    *("result", "_fields", "has_tessera", "is_tessera", "_mosaic_root"),
)


class Grid:
    spacing = 2.0
    origin: float

    def __init__(self):
        self.extent = 3.0


@mosaic.tessera
class Model(Grid):
    __slots__ = ("slot",)

    title = None

    def __init__(self):
        super().__init__()
        self.slot = 1
        self._velocity = 4.0
        for name in ("found", "later"):
            setattr(self, name, name)

    @property
    def velocity(self):
        return self._velocity

    @functools.cached_property
    def slowness(self):
        return 1 / self._velocity

    def step(self):
        """Make a step."""
        self.time = 5
        return self.time


@mosaic.tessera
class Anything:
    """Makes up its attributes."""

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return f"made up {name}"


@mosaic.tessera
class Arraylike:
    """Has what libraries ask for."""

    shape = (3,)

    def __array__(self, *args, **kwargs):
        return np.arange(3)

    def __len__(self):
        return 3


SHOWN = "spacing origin extent slot title velocity slowness step time _velocity".split()  # noqa: SIM905


def objects_of(cls):
    return cls.remote(), cls.remote(len=2)


async def test_the_names_that_a_class_shows(runtime):
    for one in objects_of(Model):
        assert [name for name in SHOWN if not hasattr(one, name)] == []
        assert {name for name in SHOWN if not name.startswith("_")} <= set(dir(one))
    model = Model.remote()
    await model.step()
    values = [await getattr(model, name) for name in SHOWN if name not in {"origin", "step"}]
    assert values == [2.0, 3.0, 1, None, 4.0, 0.25, 5, 4.0]
    with pytest.raises(AttributeError, match="origin"):
        await model.origin


async def test_no_other_name_is_there(runtime):
    proxy, array = objects_of(Model)
    assert [name for name in PROBED if hasattr(proxy, name)] == []
    # Arrays of mosaic 1.2 have these, whatever their class.
    expected = ["__len__", "obj", "outputs", "result", "has_tessera", "is_tessera"]
    assert sorted(name for name in PROBED if hasattr(array, name)) == sorted(expected)
    for one in (proxy, array):
        with pytest.raises(
            AttributeError, match=r"'Model' shows no attribute 'found'.*get_attr\('found'\)"
        ) as info:
            _ = one.found
        assert info.value.name == "found"
    assert await proxy.get_attr("found") == "found"
    assert await array.get_attr("later") == ["later"] * 2
    assert await proxy["found"] == "found"
    assert np.asarray(proxy).shape == ()


async def test_what_is_given_to_set_attr_is_shown(runtime):
    proxy, array = objects_of(Model)
    assert not hasattr(proxy, "source")
    proxy.set_attr("source", 7)
    assert await proxy.source == 7
    array.set_attr("receiver", 8)
    assert await array.receiver == [8, 8]
    assert await array[1].receiver == 8


async def test_what_a_parameter_sets_is_shown_of_its_root(runtime, warehouse):
    parameter = await Model.parameter()
    assert not hasattr(parameter._tessera, "set_by_a_parameter")
    parameter.set("set_by_a_parameter", 3)
    assert await parameter._tessera.set_by_a_parameter == 3


@mosaic.tessera
class Reader:
    async def read(self, proxy):
        return hasattr(proxy, "marked"), await proxy.marked


async def test_what_was_given_is_shown_where_the_proxy_arrives(runtime):
    proxy = Model.remote()
    proxy.set_attr("marked", 9)
    assert await Reader.remote().read(proxy).result() == (True, 9)


async def test_a_class_that_makes_up_attributes_may_have_any(runtime):
    for one, expected in zip(
        objects_of(Anything), ("made up shape", ["made up shape"] * 2), strict=True
    ):
        assert await one.shape == expected
        probed = {name for name in PROBED if name.startswith("_") and hasattr(one, name)}
        assert probed - {"__len__"} == {"_fields"}


async def test_what_a_class_defines_is_never_refused(runtime):
    proxy, array = objects_of(Arraylike)
    assert await proxy.shape == (3,)
    assert await proxy.__len__().result() == 3
    assert len(array) == 2
    np.testing.assert_array_equal(await proxy.__array__().result(), np.arange(3))
    assert not hasattr(proxy, "__array_interface__")
    with pytest.raises(TypeError):
        len(proxy)


async def test_methods_tell_what_they_are(runtime, warehouse):
    for one in objects_of(Described):
        assert (one.method.__name__, one.method.__doc__) == ("method", "Say so.")
        assert str(inspect.signature(one.method)) == "(x, *, scale=2)"
        assert str(inspect.signature(one.static)) == "(x)"
        assert str(inspect.signature(one.of_class)) == "(x=1)"
        assert str(inspect.signature(one.wrapped)) == "(x, *, scale=2)"
        assert one.method.__qualname__ == "Described.method"
    parameter = await Described.parameter()
    assert parameter._tessera.method.__doc__ == "Say so."
    assert await Described.remote().method(3).result() == 6


def passing(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


@mosaic.tessera
class Described:
    def method(self, x, *, scale=2):
        """Say so."""
        return x * scale

    @staticmethod
    def static(x):
        return x

    @classmethod
    def of_class(cls, x=1):
        return x

    wrapped = passing(method)


async def test_a_copy_of_a_proxy_is_the_proxy(runtime):
    for one in objects_of(Model):
        assert copy.copy(one) is one
        assert copy.deepcopy({"one": [one]})["one"][0] is one


async def test_the_class_of_a_proxy_is_wrapped(runtime):
    for one in objects_of(Model):
        assert type(one._cls) is mosaic.core.PickleClass
        assert one._cls.cls is Model
        assert one._cls.spacing == 2.0
    proxy = await Model.remote()
    again = mosaic.core.TesseraProxy(proxy._cls, runtime=proxy.runtime_id, uid=proxy.uid)
    assert await again.step().result() == 5
    assert await Echo.remote().back(again).result() == proxy
