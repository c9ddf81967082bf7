"""Hierarchies of classes as old programs have them: each decorated, each taking what it knows of the keywords."""

import copy
import pickle
from abc import ABC, abstractmethod

import numpy as np
import pytest

import mosaic


@mosaic.tessera
class Base:
    def __init__(self, *args, **kwargs):
        self.name = kwargs.pop("name", "base")
        self.args = args
        self.left = kwargs

    def kind(self):
        return type(self).__name__

    def described(self):
        return self.kind(), self.name, self.args, self.left


@mosaic.tessera
class Gridded(Base):
    def __init__(self, *args, **kwargs):
        self.grid = kwargs.pop("grid", None)
        super().__init__(*args, **kwargs)

    def shape(self):
        return self.grid


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
    assert await parameter.ref.described().result() == expected
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


@mosaic.tessera
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


async def test_a_class_with_the_names_of_proxies(runtime):
    proxy = Clashing.remote()
    assert await proxy["init"](1).result() == ("init", 1)
    assert await proxy["stop"]().result() == "stop"
    assert await proxy["state"]().result() == "state"
    assert await proxy["state_changed"](1).result() == ("changed", 1)
    assert proxy.state == "listening"


# Fields: local, sent, and tied to a root.


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
    assert again.uid == field.uid


async def test_propagate(field):
    field.fill(3.0, propagate=True)
    assert await field.ref.data is not None
    np.testing.assert_array_equal(await field.ref.data, np.full((2, 3), 3.0))
    field.fill(4.0)
    np.testing.assert_array_equal(await field.ref.data, np.full((2, 3), 3.0))
    await field.add_grad_later(1.0, propagate=True)
    assert (field.grad, await field.ref.grad) == (1.0, 1.0)


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
    assert await field.ref.needs_grad is False
    await field.push(attr=["_data", "name"], publish=True)
    field.fill(0.0)
    assert (await field.pull(attr=["_data", "name"]))[1] == "vp"
    assert field[0, 0] == 1500.0
    field.set("name", "density")
    assert (await field.get("name"), await field.ref.name) == ("density", "density")
    assert await field.pull() is field


class Problem:
    """Holds parameters and proxies, and is sent around."""

    def __init__(self, **kwargs):
        self.__dict__.update(kwargs)


def of_problem(problem):
    problem.medium["vp"].add_grad(1.0, propagate=True)
    return (
        problem.medium["vp"].uid,
        problem.medium["vp"][0, 0],
        problem.solver.uid,
        [one.uid for one in problem.solvers],
    )


async def test_inside_other_objects_they_are_references(runtime, field):
    solver, solvers = Base.remote(name="solver"), Base.remote(len=2)
    problem = Problem(medium={"vp": field}, solver=solver, solvers=solvers)
    there = await runtime.submit(of_problem, problem).result()
    assert there == (field.uid, 1500.0, solver.uid, [one.uid for one in solvers])
    assert await field.pull(attr="grad") == 1.0
    reference = await runtime.put(problem)
    again = await reference.value()
    assert (again.medium["vp"].uid, again.solver.uid) == (field.uid, solver.uid)
    assert await again.solver.kind().result() == "Base"
