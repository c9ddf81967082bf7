"""The loop of an optimisation in the style of mosaic 1.2: published fields, chains of operators, closures that add."""

import asyncio
import copy

import numpy as np
import pytest

import mosaic
from mosaic.core import TaskProxy, TesseraProxy
from mosaic.types import Struct

NUM = 6


class Node:
    """A call in the graph, known by names alone."""

    def __init__(self, cls, uid, runtime_id, inputs):
        self.cls = cls
        self.uid = uid
        self.runtime_id = runtime_id
        self.inputs = inputs

    def proxy(self):
        proxy = TesseraProxy(self.cls, runtime=self.runtime_id, uid=self.uid)
        proxy.init_future.set_result(True)
        proxy.state_changed("listening")
        return proxy


@mosaic.tessera
class Variable:
    """Has a gradient, which a parameter gathers at its root."""

    def __init__(self, *args, **kwargs):
        self.name = kwargs.pop("name", "variable")
        self.needs_grad = kwargs.pop("needs_grad", False)
        self.data = np.asarray(kwargs.pop("data", 0.0), float)
        self.grad = None
        self.node = None
        super().__init__(*args, **kwargs)

    def fill(self, value):
        self.data = np.full(NUM, float(value))

    def alike(self, data):
        return self.__class__(name=self.name, data=data, needs_grad=self.needs_grad)

    async def take_grad(self, grad, **kwargs):
        """Sum a gradient at the node's warehouse, by a function made here; the barrier takes the sum to the root."""
        if not self.needs_grad:
            return
        if not (hasattr(self, "is_proxy") and self.is_proxy):
            self.grad = grad if self.grad is None else self.grad + grad
            return
        variable, uid = self, f"{self._tessera.uid}-sum"

        async def hand_over():
            async def the_same(held):
                return held

            reference = await mosaic.runtime().exec(uid, the_same)
            await variable.add_at_root(reference, propagate=True)
            await reference.drop(propagate=True)

        async def add(held, grad):
            if held is None:
                mosaic.runtime().register_barrier_task(hand_over)
                return np.array(grad)
            held += grad
            return held

        await mosaic.runtime().exec(uid, add, func_args=(grad,))

    async def add_at_root(self, total):
        if isinstance(total, mosaic.types.awaitable_types):
            total = await total.result()
        self.grad = total if self.grad is None else self.grad + total

    async def adjoint(self, grad=None, **kwargs):
        nodes = [(self.node, grad)]
        while nodes:
            node, grad = nodes.pop()
            proxy = node.proxy()
            task = TaskProxy(proxy, "adjoint", grad, **kwargs)
            await proxy._init_task(task, grad, **kwargs)
            grads = await task.result()
            nodes += [
                (before, grads[index])
                for index, before in enumerate(node.inputs)
                if before is not None
            ]


@mosaic.tessera
class Operator:
    def __init__(self, *args, **kwargs):
        self.inputs = None
        self.given = None
        super().__init__(*args, **kwargs)

    async def __call__(self, *args, **kwargs):
        self.inputs, self.given = args, kwargs
        output = await self.forward(*args, **kwargs)
        outputs = output if isinstance(output, tuple) else (output,)
        for one in outputs:
            one.node = Node(
                type(self),
                self._tessera.uid,
                self.runtime.uid,
                [getattr(value, "node", None) for value in args],
            )
        return output

    async def adjoint(self, grad, **kwargs):
        grads = await self.backward(grad, *self.inputs, **{**self.given, **kwargs})
        for value, one in zip(self.inputs, grads, strict=True):
            if getattr(value, "needs_grad", False) and value.node is None:
                await value.take_grad(one, **kwargs)
        self.inputs = None
        return grads


@mosaic.tessera
class Filter(Operator):
    """Turns two into two."""

    async def forward(self, first, second, **kwargs):
        return first.alike(2.0 * first.data), second.alike(3.0 * second.data)

    async def backward(self, grad, first, second, **kwargs):
        return 2.0 * grad, 3.0 * grad


@mosaic.tessera
class Product(Operator):
    async def forward(self, first, vp, rho, problem, **kwargs):
        self.logger.perf("shot %d", problem.shot)
        return Variable(name="product", data=first.data * vp.data * rho.data, needs_grad=True)

    async def backward(self, grad, first, vp, rho, problem, **kwargs):
        return grad * vp.data * rho.data, grad * first.data * rho.data, grad * first.data * vp.data


@mosaic.tessera
class Sum(Operator):
    async def forward(self, value, scale, **kwargs):
        return Variable(name="sum", data=np.sum(value.data) * scale, needs_grad=True)

    async def backward(self, grad, value, scale, **kwargs):
        one = 1.0 if grad is None else grad
        return np.full(NUM, one * scale), None


@pytest.fixture
def operators(runtime):
    kwargs = {"len": runtime.num_workers}
    return Struct(
        {
            "filter": Filter.remote(**kwargs),
            "product": Product.remote(**kwargs),
            "sum": Sum.remote(**kwargs),
        }
    )


@pytest.fixture
def medium(runtime, warehouse):
    vp = Variable.parameter(name="vp", needs_grad=True)
    vp.fill(3.0)
    rho = Variable.parameter(name="rho", needs_grad=False)
    rho.fill(2.0)
    return Struct({"vp": vp, "rho": rho})


async def adjoint(runtime, operators, medium, shots, publish):
    """Run one iteration; return the values of the shots."""
    fields = list(medium.values())
    if publish:
        fields = [runtime.put(field, publish=True) for field in fields]
        await asyncio.gather(*fields)
    values = []

    @runtime.async_for(shots, safe=True)
    async def loop(worker, shot):
        problem = Struct({"shot": shot, "medium": copy.copy(medium)})
        wavelet = Variable(name="wavelet", data=np.arange(NUM) + float(shot))
        kwargs = {"iteration": 0, "problem": problem, "runtime": worker}
        filtered = operators.filter(wavelet, wavelet, **kwargs)
        await filtered.init_future
        modelled = operators.product(filtered.outputs[0], *fields, **kwargs)
        await modelled.init_future
        fun = await operators.sum(modelled, 0.5, **kwargs).result()
        values.append(float(fun.data))
        await fun.adjoint(iteration=0)

    await loop
    return sorted(values)


def expected(shots, vp=3.0):
    wavelets = [2.0 * (np.arange(NUM) + shot) for shot in shots]
    return [float(np.sum(0.5 * w * vp * 2.0)) for w in wavelets], sum(w for w in wavelets)


@pytest.mark.parametrize("publish", [True, False])
async def test_iterations(runtime, operators, medium, publish):
    vp = medium.vp
    for iteration in range(3):
        shots = range(iteration, iteration + 5)
        vp.grad = None
        await vp.push(attr="grad")
        values, grad = expected(shots, vp.data)
        found = await adjoint(runtime, operators, medium, shots, publish)
        np.testing.assert_allclose(found, values, rtol=1e-12)
        np.testing.assert_allclose(await vp.pull(attr="grad"), grad, rtol=1e-12)
        vp.data = vp.data - 0.01 * vp.grad
        await vp.push(publish=True)
    assert await medium.rho.pull(attr="grad") is None


async def test_the_fields_may_be_cached(runtime, warehouse, operators):
    vp = Variable.parameter(name="vp", needs_grad=True, data=np.full(NUM, 3.0), cached=True)
    rho = Variable.parameter(name="rho", data=np.full(NUM, 2.0), cached=True)
    found = await adjoint(
        runtime, operators, Struct({"vp": vp, "rho": rho}), range(4), publish=False
    )
    values, grad = expected(range(4))
    np.testing.assert_allclose(found, values, rtol=1e-12)
    np.testing.assert_allclose(await vp.pull(attr="grad"), grad, rtol=1e-12)


async def test_a_published_parameter_is_one_where_it_arrives(runtime, medium):
    reference = await runtime.put(medium.vp, publish=True)
    told = await runtime.submit(told_of, reference).result()
    assert told == (medium.vp._tessera.uid, True, True, True, 3.0)
    again = await reference.value()
    assert again._tessera.uid == medium.vp._tessera.uid


def told_of(field):
    return field._tessera.uid, field.is_proxy, field.has_tessera, field.needs_grad, field.data[0]


async def test_copies_of_a_problem_keep_its_ties(runtime, medium, operators):
    problem = Struct({"medium": medium, "operators": operators, "shots": [1, 2]})
    for twin in (copy.copy(problem), copy.deepcopy(problem)):
        assert twin.operators.sum.uid == operators.sum.uid
        assert twin.medium.vp._tessera.uid == medium.vp._tessera.uid
        await twin.medium.vp.add_at_root(np.ones(NUM), propagate=True)
    np.testing.assert_array_equal(await medium.vp.pull(attr="grad"), np.full(NUM, 2.0))
