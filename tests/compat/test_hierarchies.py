"""Hierarchies of classes in the style of mosaic 1.2: each decorated, each taking its own keywords."""

from abc import ABC, abstractmethod

import pytest

import mosaic
from tests.compat.classes import Base, Gridded


@mosaic.tessera
class Scalar(Gridded):
    def __init__(self, *args, **kwargs):
        self.dtype = kwargs.pop("dtype", "float32")
        super().__init__(*args, **kwargs)

    def described(self):
        return (*super().described(), self.grid, self.dtype)


class Undecorated(Scalar):
    def __init__(self, *args, **kwargs):
        kwargs.setdefault("name", "undecorated")
        super().__init__(*args, **kwargs)

    def described(self):
        return (*super().described(), "more")


class Mixin:
    """Plain, and first in line."""

    def __init__(self, *args, **kwargs):
        self.mixed = kwargs.pop("mixed", False)
        super().__init__(*args, **kwargs)


@mosaic.tessera
class Mixed(Mixin, Undecorated):
    pass


@mosaic.tessera
class Method(ABC):
    """Abstract."""

    @abstractmethod
    def step(self, value): ...

    def two_steps(self, value):
        return self.step(self.step(value))


@mosaic.tessera
class Doubling(Method):
    def step(self, value):
        return 2 * value


KEYWORDS = {"name": "vp", "grid": (3, 4), "dtype": "float64", "unknown": 1}


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (Base, ("Base", "vp", (1,), {"grid": (3, 4), "dtype": "float64", "unknown": 1})),
        (Gridded, ("Gridded", "vp", (1,), {"dtype": "float64", "unknown": 1})),
        (Scalar, ("Scalar", "vp", (1,), {"unknown": 1}, (3, 4), "float64")),
        (Undecorated, ("Undecorated", "vp", (1,), {"unknown": 1}, (3, 4), "float64", "more")),
        (Mixed, ("Mixed", "vp", (1,), {"unknown": 1}, (3, 4), "float64", "more")),
    ],
)
async def test_a_subclass_is_built_as_itself(runtime, warehouse, cls, expected):
    assert cls(1, **KEYWORDS).described() == expected
    assert await cls.remote(1, **KEYWORDS).described().result() == expected
    options = {"max_retries": 2, "runtime": runtime.workers[1]}
    proxy = cls.remote(1, **KEYWORDS, **options)
    assert await proxy.described().result() == expected
    assert (await proxy).runtime_id == runtime.workers[1].uid
    array = cls.remote(1, len=runtime.num_workers, **KEYWORDS)
    assert await array.described().result() == [expected] * 2
    parameter = cls.parameter(1, **KEYWORDS)
    assert parameter.described() == expected
    assert await parameter._tessera.described().result() == expected
    assert isinstance(parameter, cls)


async def test_abstract_bases(runtime):
    with pytest.raises(TypeError, match="abstract"):
        Method()
    assert await Doubling.remote().two_steps(3).result() == 12
    with pytest.raises(TypeError, match="abstract"):
        await Method.remote()


async def test_a_name_that_the_method_takes_is_the_methods(runtime):
    solver = Run.remote()
    assert await solver.run(runtime="the method's", timeout=3).result() == ("the method's", 3)
    assert await solver.anything(runtime=runtime.workers[0], max_retries=1, more=2).result() == {
        "more": 2
    }


@mosaic.tessera
class Run:
    def run(self, runtime=None, timeout=None):
        return runtime, timeout

    def anything(self, **kwargs):
        return kwargs


class Clashing:
    """Has methods by the names of proxies' own."""

    def init(self, value):
        return "init", value

    def stop(self):
        return "stop"

    def state(self):
        return "state"

    def state_changed(self, value):
        return "changed", value


with pytest.warns(UserWarning, match=r"own stop.*mosaic\.stop_tessera\(proxy\)"):
    mosaic.tessera(Clashing)


async def test_a_class_with_the_names_of_proxies(runtime):
    proxy = Clashing.remote()
    assert await proxy["init"](1).result() == ("init", 1)
    assert await proxy["stop"]().result() == "stop"
    assert await proxy.stop().result() == "stop"
    assert await proxy["state"]().result() == "state"
    assert await proxy["state_changed"](1).result() == ("changed", 1)
    assert proxy.state == "listening"


async def test_slots_of_a_class_that_goes_by_value(runtime):
    @mosaic.tessera
    class Local:
        __slots__ = ("__hidden", "value")

        def __init__(self, value=0):
            self.value = value
            self.__hidden = 2 * value

        def hidden(self):
            return self.__hidden, hasattr(self, "__dict__")

        def alike(self):
            return type(self)(self.value)

    class Finer(Local):
        __slots__ = ("more",)

    class Open(Local):
        pass

    for cls, is_open in ((Local, False), (Finer, False), (Open, True)):
        proxy = cls.remote(3)
        assert await proxy.hidden().result() == (6, is_open)
        found = await proxy.alike().result()
        assert (type(found), found.value, found.hidden()) == (cls, 3, (6, is_open))
        assert await runtime.submit(lambda one: one.hidden(), found).result() == (6, is_open)
