"""Attributes of remote objects: reading, writing, order; and methods that Python spells oddly."""

import pytest

import mosaic
from tests.support.actors import Blocker, Counter


@mosaic.tessera
class Body:
    """Has attributes of every kind."""

    kind = "class attribute"

    def __init__(self, mass=2.0):
        self.mass = mass
        self.parts = [1, 2]

    @property
    def weight(self):
        return self.mass * 9.81

    @property
    def broken(self):
        raise ZeroDivisionError("property")

    @property
    def guarded(self):
        return self._guarded

    @guarded.setter
    def guarded(self, value):
        if value < 0:
            raise ValueError("negative")
        self._guarded = value

    def grow(self, by):
        self.mass += by

    @staticmethod
    def static(x):
        return x + 1

    @classmethod
    def of_class(cls, x):
        return cls.__name__, x

    def items_one_by_one(self):
        yield 1


class Lazy:
    """Attributes that only the object knows."""

    def __init__(self):
        self.hidden = 5

    def __getattr__(self, name):
        if name.startswith("dyn_"):
            return name.removeprefix("dyn_")
        raise AttributeError(name)


Lazy = mosaic.tessera(Lazy)


@mosaic.tessera
class Operators:
    """Defines what a proxy can forward."""

    def __init__(self, x):
        self.x = x

    def __call__(self, y, scale=1):
        return self.x * y * scale

    def __add__(self, y):
        return self.x + y

    def __radd__(self, y):
        return y + self.x

    def __sub__(self, y):
        return self.x - y

    def __mul__(self, y):
        return self.x * y

    def __truediv__(self, y):
        return self.x / y

    def __pow__(self, y):
        return self.x**y

    def __neg__(self):
        return -self.x

    def __matmul__(self, y):
        return ("matmul", y)

    def __len__(self):
        return 17


@mosaic.tessera
class AsyncCall:
    async def __call__(self, x):
        return x + 1


async def test_reading_attributes(runtime):
    body = Body.remote(3.0)
    assert await body.mass == 3.0
    assert await body.get_attr("mass") == 3.0
    assert await body.parts == [1, 2]
    assert await body.kind == "class attribute"
    assert await body.weight == pytest.approx(29.43)


async def test_reading_is_ordered_after_the_calls_before_it(runtime):
    body = Body.remote(0.0)
    for _ in range(50):
        body.grow(1)
    assert await body.mass == 50.0
    body.grow(1)
    assert await body.get_attr("mass") == 51.0


async def test_writing_attributes(runtime):
    body = Body.remote()
    await body.set_attr("mass", 7.0)
    assert await body.mass == 7.0
    # Not awaited, and still done in its turn.
    body.set_attr("mass", 1.0)
    body.grow(1)
    assert await body.mass == 2.0
    await body.set_attr("new", {"a": [1]})
    assert await body.get_attr("new") == {"a": [1]}


async def test_writing_and_reading_properties(runtime):
    body = Body.remote()
    await body.set_attr("guarded", 3)
    assert await body.guarded == 3
    with pytest.raises(ValueError, match="negative"):
        await body.set_attr("guarded", -1)
    with pytest.raises(ZeroDivisionError, match="property"):
        await body.broken


async def test_written_value_is_what_it_was(runtime):
    body = Body.remote()
    value = [1]
    written = body.set_attr("parts", value)
    value.append(2)
    await written
    assert await body.parts == [1]


async def test_immediate_reading_passes_a_running_call(runtime, flag):
    started, release = flag("started"), flag("release")
    blocker = Blocker.remote()
    await blocker.set_attr("colour", "red")
    running = blocker.until(started, release)
    await started.wait_async()
    queued = blocker.get_attr("colour")
    assert await blocker.get_attr("colour", immediate=True) == "red"
    assert not running.done(), "the call still runs"
    release.set()
    assert await queued == "red"
    await running


async def test_unknown_attributes(runtime):
    body = Body.remote()
    with pytest.raises(AttributeError, match="weigth"):
        await body.weigth
    with pytest.raises(AttributeError, match="weigth"):
        await body.get_attr("weigth")
    with pytest.raises(AttributeError, match="launch"):
        await body.launch(3)


async def test_attributes_that_only_the_object_knows(runtime):
    lazy = Lazy.remote()
    assert await lazy.hidden == 5
    assert await lazy.dyn_abc == "abc"
    with pytest.raises(AttributeError, match="unknown"):
        await lazy.unknown


def test_special_names_are_not_forwarded(runtime):
    body = Body.remote()
    with pytest.raises(AttributeError):
        _ = body.__array_interface__
    assert not hasattr(body, "_repr_latex_")
    assert not hasattr(body, "__setstate__")


async def test_static_and_class_methods(runtime):
    body = Body.remote()
    assert await body.static(1).result() == 2
    assert await body.of_class(3).result() == ("Body", 3)


async def test_generators_as_results_are_refused_by_name(runtime):
    with pytest.raises((TypeError, mosaic.MosaicError), match="generator"):
        await Body.remote().items_one_by_one().result()


async def test_calling_a_proxy(runtime):
    operators = Operators.remote(3)
    assert await operators(4).result() == 12
    assert await operators(4, scale=2).result() == 24
    assert await AsyncCall.remote()(1).result() == 2


async def test_operators_return_tasks(runtime):
    a = Operators.remote(6)
    assert await (a + 1).result() == 7
    assert await (1 + a).result() == 7
    assert await (a - 2).result() == 4
    assert await (a * 2).result() == 12
    assert await (a / 4).result() == 1.5
    assert await (a**2).result() == 36
    assert await (-a).result() == -6
    assert await (a @ 5).result() == ("matmul", 5)


async def test_operators_take_tasks(runtime):
    a, b = Operators.remote(6), Operators.remote(2)
    assert await (a + (b + 1)).result() == 9


async def test_dunders_that_python_wants_builtins_from_by_name(runtime):
    assert await Operators.remote(1)["__len__"]().result() == 17


def test_operators_that_the_class_lacks(runtime):
    counter = Counter.remote()
    with pytest.raises(TypeError):
        _ = counter + 1
    with pytest.raises(TypeError):
        counter(1)
