"""Fields: objects with arithmetic and slots, used as local ones, sent around, and tied to a root."""

import copy
import pickle

import numpy as np
import pytest

import mosaic
from tests.compat.classes import Base, Gridded


@mosaic.tessera
class Field(Gridded):
    """Numbers over a grid, with arithmetic."""

    def __init__(self, *args, **kwargs):
        self.needs_grad = kwargs.pop("needs_grad", False)
        data = kwargs.pop("data", None)
        super().__init__(*args, **kwargs)
        self._data = np.zeros(self.grid) if data is None else np.asarray(data, float)
        self.grad = None

    @property
    def data(self):
        return self._data

    @data.setter
    def data(self, value):
        self._data = np.asarray(value, float).reshape(self.grid)

    def fill(self, value):
        self._data[:] = value

    def add_grad(self, part):
        self.grad = part if self.grad is None else self.grad + part

    async def add_grad_later(self, part):
        self.add_grad(part)

    def alike(self, data):
        return Field(name=self.name, grid=self.grid, data=data, needs_grad=self.needs_grad)

    def __add__(self, other):
        return self.alike(self._data + getattr(other, "_data", other))

    def __mul__(self, other):
        return self.alike(self._data * getattr(other, "_data", other))

    __rmul__ = __mul__

    def __neg__(self):
        return self * -1.0

    def __call__(self, scale=1.0):
        return scale * self._data

    def __getitem__(self, index):
        return self._data[index]

    def __setitem__(self, index, value):
        self._data[index] = value

    def __len__(self):
        return len(self._data)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._data, dtype=dtype)


@pytest.fixture
def field(runtime, warehouse):
    made = Field.parameter(name="vp", grid=(2, 3), needs_grad=True)
    made.fill(1500.0)
    return made


async def test_a_parameter_works_as_the_class_does(field):
    assert field.name == "vp"
    assert field.shape() == (2, 3)
    field.data = np.arange(6.0)
    field[0, 0] = 7.0
    assert (field[0, 0], len(field), field(2.0)[1, 2]) == (7.0, 2, 10.0)
    summed = 2.0 * (field + field) + 1.0
    assert type(summed) is Field
    assert summed[0, 1] == 5.0
    assert (-field)[0, 1] == -1.0
    np.testing.assert_array_equal(np.asarray(field), field.data)
    assert np.max(field) == 7.0


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
async def test_copies_of_a_parameter(field, duplicate):
    twin = duplicate(field)
    assert isinstance(twin, Field)
    np.testing.assert_array_equal(twin.data, field.data)
    twin.data = np.zeros(6)
    assert field[0, 0] == 1500.0
    again = pickle.loads(pickle.dumps(field))
    np.testing.assert_array_equal(again.data, field.data)
    assert again._tessera.uid == field._tessera.uid


async def test_propagate(field):
    field.fill(3.0, propagate=True)
    assert await field._tessera.data is not None
    np.testing.assert_array_equal(await field._tessera.data, np.full((2, 3), 3.0))
    field.fill(4.0)
    np.testing.assert_array_equal(await field._tessera.data, np.full((2, 3), 3.0))
    await field.add_grad_later(1.0, propagate=True)
    assert (field.grad, await field._tessera.grad) == (1.0, 1.0)


async def test_a_reference_is_its_value_here_and_at_the_root(runtime, field):
    async def one_more(held):
        return 1.0 if held is None else held + 1.0

    reference = await runtime.exec("one-more", one_more)
    await field.add_grad_later(reference, propagate=True)
    task = runtime.submit(float, 2)
    await field.add_grad_later(part=task, propagate=True)
    await field.add_grad_later(task.outputs[0], task.done, propagate=True)
    assert (field.grad, await field.pull(attr="grad")) == (5.0, 5.0)
    await reference.drop(propagate=True)


def add_now(field, number):
    field.add_grad(np.full((2, 3), float(number)), propagate=True)
    return field.is_proxy, field.needs_grad


async def add_later(field, number):
    await field.add_grad_later(np.full((2, 3), float(number)), propagate=True)
    return field.is_proxy, field.needs_grad


@pytest.mark.parametrize("adds", [add_now, add_later])
async def test_the_gradient_gathers_at_the_root(runtime, field, adds):
    @runtime.async_for(range(1, 9))
    async def loop(worker, number):
        return await runtime.submit(adds, field, number, runtime=worker).result()

    assert await loop == [(True, True)] * 8
    assert field.grad is None
    np.testing.assert_array_equal(await field.pull(attr="grad"), np.full((2, 3), 36.0))
    np.testing.assert_array_equal(field.grad, np.full((2, 3), 36.0))
    await field.set("grad", None)
    assert await field.pull(attr="grad") is None


async def test_push_and_pull_by_name(runtime, field):
    field.needs_grad = False
    await field.push(attr="needs_grad")
    assert await field._tessera.needs_grad is False
    await field.push(attr=["_data", "name"], publish=True)
    field.fill(0.0)
    assert (await field.pull(attr=["_data", "name"]))[1] == "vp"
    assert field[0, 0] == 1500.0
    field.set("name", "density")
    assert (await field.get("name"), await field._tessera.name) == ("density", "density")
    assert await field.pull() is field


class Problem:
    """Holds parameters and proxies, and is sent around."""

    def __init__(self, **kwargs):
        self.__dict__.update(kwargs)


def of_problem(problem):
    problem.medium["vp"].add_grad(1.0, propagate=True)
    return (
        problem.medium["vp"]._tessera.uid,
        problem.medium["vp"][0, 0],
        problem.solver.uid,
        [one.uid for one in problem.solvers],
    )


async def test_inside_other_objects_they_are_references(runtime, field):
    solver, solvers = Base.remote(name="solver"), Base.remote(len=2)
    problem = Problem(medium={"vp": field}, solver=solver, solvers=solvers)
    there = await runtime.submit(of_problem, problem).result()
    assert there == (field._tessera.uid, 1500.0, solver.uid, [one.uid for one in solvers])
    assert await field.pull(attr="grad") == 1.0
    reference = await runtime.put(problem)
    again = await reference.value()
    assert (again.medium["vp"]._tessera.uid, again.solver.uid) == (field._tessera.uid, solver.uid)
    assert await again.solver.kind().result() == "Base"


@mosaic.tessera
class Slotted:
    """Has slots and nothing else."""

    __slots__ = ("data", "grad", "name", "needs_grad")

    def __init__(self, *args, **kwargs):
        self.name = kwargs.pop("name", "slotted")
        self.needs_grad = kwargs.pop("needs_grad", False)
        self.data = np.zeros(3)
        self.grad = None

    def add_grad(self, part):
        self.grad = part if self.grad is None else self.grad + part

    def alike(self):
        return type(self)(name=self.name, needs_grad=self.needs_grad)


async def test_slots(runtime, warehouse):
    field = Slotted.parameter(name="vp", needs_grad=True)
    await runtime.submit(add_to_slotted, field).result()
    field.add_grad(2.0, propagate=True)
    assert (field.grad, await field.pull(attr="grad")) == (2.0, 3.0)
    field.name = "rho"
    await field.push()
    assert await field._tessera.name == "rho"
    assert (copy.copy(field).name, field.alike().needs_grad) == ("rho", True)
    found = await Slotted.remote(name="there").alike().result()
    assert (type(found), found.name) == (Slotted, "there")


def add_to_slotted(field):
    field.add_grad(1.0, propagate=True)
