"""A class as programs make parameters of, and what workers do with those."""

import asyncio

import mosaic
from mosaic.core import ParameterMixin


@mosaic.tessera
class Field:
    """A class as programs have them."""

    def __init__(self, value=0, *, name="field"):
        self._value = value
        self.name = name
        self.grad = None

    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, value):
        self._value = value

    def add(self, n):
        self._value = self._value + n
        return self._value

    def accumulate(self, grad):
        self.grad = grad if self.grad is None else self.grad + grad

    async def accumulate_async(self, grad):
        await asyncio.sleep(0)
        self.accumulate(grad)
        return self.grad

    def fail(self, error):
        raise error

    def __call__(self, n):
        self._value = n
        return self

    def __add__(self, other):
        made = self.__class__(self._value, name="sum")
        made.add(other)
        return made

    def __eq__(self, other):
        return isinstance(other, Field) and other.value == self.value

    def __hash__(self):
        return 1

    def about_itself(self):
        return {
            "uid": mosaic.runtime().uid,
            "runtime": self.runtime.uid,
            "has": self.has_tessera,
            "tessera": self.is_tessera,
            "proxy": self.is_proxy,
            "hosted": hasattr(self, "_tessera"),
            "mixin": isinstance(self, ParameterMixin),
        }

    def itself(self):
        return self

    def take(self, x):
        self._value = x
        return type(x).__name__


@mosaic.tessera
class User:
    """What workers do with parameters."""

    def __init__(self):
        self.kept = []

    def keep(self, field):
        self.kept.append(field)
        return field.value

    def forget(self):
        self.kept.clear()

    def value(self, field):
        return field.value

    async def value_async(self, field):
        return field.value

    def describe(self, field):
        return (
            isinstance(field, Field),
            isinstance(field, ParameterMixin),
            field.is_proxy,
            field._tessera.uid,
            field._tessera.runtime_id,
            field.__class__ is Field,
        )

    def change(self, field, n):
        return field.add(n, propagate=True)

    async def push(self, field, **values):
        for name, value in values.items():
            setattr(field, name, value)
        await field.push(list(values))

    async def pull(self, field, name):
        return await field.pull(name)

    def accumulate(self, field, grad):
        field.accumulate(grad, propagate=True)

    async def accumulate_async(self, field, grad):
        await field.accumulate_async(grad, propagate=True)

    async def make(self, value):
        field = Field.parameter(value)
        await field.push("value")
        return [field]

    def in_a_box(self, box):
        return box["field"]._tessera.uid, box["field"].add(1, propagate=True)
