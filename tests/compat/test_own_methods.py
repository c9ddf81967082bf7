"""Methods with double underscores of a class's own are called like any other, wherever the object is."""

import numpy as np

import mosaic


@mosaic.tessera
class Operator:
    def __init__(self, value=1):
        self.value = value

    def __call_adjoint__(self, x):
        self.value += x
        return self.value

    async def __run_backward__(self, x):
        self.value *= x
        return self.value

    @classmethod
    def __of_class__(cls, x):
        return cls.__name__, x

    def __len__(self):
        return self.value

    def __call__(self, x):
        return self.value * x

    def itself(self):
        return self

    def __iadd__(self, x):
        self.value += x
        return self


async def test_on_proxies(runtime):
    proxy = Operator.remote()
    assert await getattr(proxy, "__call_adjoint__")(2).result() == 3  # noqa: B009
    assert await proxy.__run_backward__(4).result() == 12
    assert await proxy.__of_class__(1).result() == ("Operator", 1)
    assert await proxy.__len__().result() == 12
    assert await proxy.__call__(2).result() == 24
    assert hasattr(proxy, "__call_adjoint__")
    assert not hasattr(proxy, "__other__")


async def test_on_arrays(runtime):
    array = Operator.remote(len=2)
    assert await array.__call_adjoint__(2).result() == [3, 3]
    worker = array.runtime_id[1]
    assert await array.__run_backward__(3, runtime=worker).result() == 9
    assert await array.value == [3, 9]
    assert not hasattr(array, "__other__")


async def test_on_living_results(runtime):
    task = Operator.remote(5).itself()
    assert await task.remote.__call_adjoint__(2).result() == 7
    assert await task.remote.__run_backward__(2).result() == 14
    assert await task.remote.__call__(2).result() == 28
    # Its class is known only where it is: what libraries ask anything for is refused.
    for name in (
        "__array__",
        "__array_interface__",
        "__dlpack__",
        "__len__",
        "_repr_html_",
        "__deepcopy__",
    ):
        assert not hasattr(task.remote, name), name
    assert await task.remote["__len__"]().result() == 14
    assert np.asarray(task.remote).shape == ()


async def test_on_parameters(runtime, warehouse):
    parameter = await Operator.parameter(1)
    root = parameter._tessera
    assert parameter.__call_adjoint__(2, propagate=True) == 3
    assert await root.value == 3
    assert await parameter.__run_backward__(4, propagate=True) == 12
    assert await root.value == 12
    parameter.__call_adjoint__(1)
    assert (parameter.value, await root.value) == (13, 12)
    assert len(parameter) == 13


async def test_on_the_root_of_a_parameter(runtime, warehouse):
    parameter = await Operator.parameter(1)
    assert await parameter._tessera.__call_adjoint__(2).result() == 3
    assert await parameter._tessera.__run_backward__(2).result() == 6
