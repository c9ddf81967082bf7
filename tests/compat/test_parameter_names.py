"""What parameters add to a class: no more names than mosaic 1.2 adds, and ``propagate`` for every method."""

import functools

import pytest

import mosaic


@mosaic.tessera
class Named:
    """Has attributes by names that proxies have."""

    def __init__(self):
        self.uid = "my-field"
        self.runtime_id = 3
        self.is_parameter = "perhaps"
        self.state = "my own"

    def names(self):
        return self.uid, self.runtime_id, self.is_parameter, self.state


@mosaic.tessera
class Plain:
    pass


OWN = ("my-field", 3, "perhaps", "my own")


async def test_the_classs_own_names_work_inside_its_methods(runtime, warehouse):
    parameter = await Named.parameter()
    assert parameter.names() == OWN
    assert (parameter.uid, parameter.runtime_id, parameter.is_parameter) == OWN[:3]
    assert await parameter._tessera.names().result() == OWN
    parameter.set("uid", "another")
    assert await parameter.get("uid") == "another"
    for name in ("uid", "runtime_id", "is_parameter", "state"):
        assert not hasattr(await Plain.parameter(), name)


def counted(function):
    @functools.wraps(function)
    def wrapper(self, *args, **kwargs):
        self.calls += 1
        return function(self, *args, **kwargs)

    return wrapper


@mosaic.tessera
class Field:
    total = 0

    def __init__(self):
        self.value = 0
        self.calls = 0

    def add(self, x):
        self.value += x
        return self.value

    def __add_twice__(self, x):
        self.value += 2 * x
        return self.value

    async def __add_later__(self, x):
        self.value += x
        return self.value

    @counted
    def decorated(self, x):
        return self.add(x)

    @functools.lru_cache  # noqa: B019
    def remembered(self, x):
        return self.add(x)

    add_five = functools.partialmethod(add, 5)

    @classmethod
    def raise_total(cls, x):
        Field.total += x
        return Field.total

    @staticmethod
    def raise_it(x):
        return Field.raise_total(x)

    @staticmethod
    async def raise_it_later(x):
        return Field.raise_total(x)

    def total_here(self):
        return Field.total

    def __iadd__(self, x):
        self.value += x
        return self

    def __setitem__(self, key, x):
        self.value = x

    def declares(self, x, propagate="mine"):
        return x, propagate


@pytest.mark.parametrize(
    ("method", "args", "value"),
    [
        ("add", (1,), 1),
        ("__add_twice__", (1,), 2),
        ("__add_later__", (1,), 1),
        ("decorated", (1,), 1),
        ("remembered", (1,), 1),
        ("add_five", (), 5),
        ("__iadd__", (1,), 1),
        ("__setitem__", (0, 8), 8),
    ],
)
async def test_every_method_takes_propagate(runtime, warehouse, method, args, value):
    field = await Field.parameter()
    result = getattr(field, method)(*args, propagate=True)
    if method == "__add_later__":
        result = await result
    assert (field.value, await field._tessera.value) == (value, value)
    result = getattr(field, method)(*args, propagate=False)
    if method == "__add_later__":
        await result
    assert await field._tessera.value == value


async def test_static_and_class_methods_take_it_too(runtime, warehouse):
    field = await Field.parameter()
    before, there = Field.total, await field._tessera.total_here().result()
    field.raise_total(1, propagate=True)
    field.raise_it(2, propagate=True)
    await field.raise_it_later(3, propagate=True)
    assert Field.total == before + 6
    assert await field._tessera.total_here().result() == there + 6
    assert type(field).raise_it(0) == before + 6


async def test_what_declares_it_gets_it(runtime, warehouse):
    field = await Field.parameter()
    assert field.declares(1) == (1, "mine")
    assert field.declares(1, propagate=True) == (1, True)


async def test_methods_of_parameters_stay_what_they_are(runtime, warehouse):
    field = await Field.parameter()
    field.remembered(1)
    assert field.remembered.cache_info().hits >= 0
    assert field.add.__name__ == "add"
    field += 2
    assert (type(field).__name__, field.value) == ("Field", 3)
