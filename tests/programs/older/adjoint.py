"""Operators record what they did as they run forwards; the loss sends its gradient back along that record.

Operators live in workers and call one another's adjoints through the record, which travels with the values. Gradients
of the model are summed at the warehouse, and added to the model's root by a task of the barrier.
"""

import asyncio
import sys

import numpy as np

import mosaic
from mosaic.core import TaskProxy, TesseraProxy
from mosaic.core.base import CMDBase
from mosaic.types import awaitable_types

POINTS, SHOTS, ITERATIONS = 600, 6, 2


class Record:
    """One call of an operator: who made it, under which key it is remembered, and the records of its arguments."""

    def __init__(self, made_by, key, arguments):
        self.made_by = made_by._tessera if hasattr(made_by, "_tessera") else made_by
        self.key = key
        self.arguments = arguments


class Signal:
    """A value with a record."""

    def __init__(self, values, record=None):
        self.values = values
        self.record = record

    @property
    def needs_grad(self):
        return self.record is not None

    async def backward(self):
        """Send a gradient of one back to everything that the value depends on."""
        left = [(self.record, 1.0)]
        while left:
            record, grad = left.pop()
            if record is None or grad is None:
                continue
            if getattr(record.made_by, "is_parameter", False):
                await give_to(record.made_by, grad)
                continue
            task = getattr(record.made_by, "__adjoint__")(record.key, grad)  # noqa: B009
            grads = await task.result() if isinstance(task, TaskProxy) else await task
            left += zip(record.arguments, grads, strict=True)
        return float(self.values)


async def give_to(parameter, grad):
    total = await mosaic.runtime().exec(f"{parameter.uid}-total", sum_up, (grad,))
    task = getattr(parameter, "__take__")((total,), eager=True)  # noqa: B009
    await task.init_future


async def sum_up(total, grad):
    return grad.copy() if total is None else total + grad


class Operator:
    def __init__(self):
        self.remembered = {}

    async def __call__(self, *args, key):
        values, records = [], []
        for arg in args:
            if type(arg) in awaitable_types:
                await arg
                arg = await arg.result()  # noqa: PLW2901
            values.append(arg)
            if not hasattr(arg, "needs_grad") or isinstance(arg, CMDBase) or not arg.needs_grad:
                records.append(None)
            else:
                records.append(getattr(arg, "record", None) or Record(arg, None, []))
        self.remembered[key] = values
        result = await self.forward(*values)
        made = Record(self, key, records) if any(record is not None for record in records) else None
        # One that is hosted answers through a proxy of itself, made by hand.
        if made is not None and hasattr(self, "_tessera"):
            made.made_by = TesseraProxy(type(self), runtime=self.runtime.uid, uid=self._tessera.uid)
            made.made_by.init_future.set_result(True)
            made.made_by.state_changed("listening")
        return Signal(result, made)

    async def __adjoint__(self, key, grad):
        return await self.adjoint(grad, *self.remembered.pop(key))


@mosaic.tessera
class Scatter(Operator):
    async def forward(self, model, source):
        return np.convolve(model.values**2, source, "same")

    async def adjoint(self, grad, model, source):
        return 2 * model.values * np.convolve(grad, source[::-1], "same"), None


@mosaic.tessera
class Clip(Operator):
    async def forward(self, signal):
        return np.tanh(signal.values)

    async def adjoint(self, grad, signal):
        return (grad / np.cosh(signal.values) ** 2,)


@mosaic.tessera
class Distance(Operator):
    async def forward(self, signal, observed):
        return 0.5 * np.sum((signal.values - observed) ** 2)

    async def adjoint(self, grad, signal, observed):
        return grad * (signal.values - observed), None


@mosaic.tessera
class Model:
    def __init__(self, values, needs_grad=False):
        self.values = values
        self.needs_grad = needs_grad
        self.uid = "the model"
        self.grad = np.zeros_like(values)
        self.totals = {}

    async def __take__(self, total):
        if not self.totals:
            mosaic.runtime().register_barrier_task(self.__add_totals__)
        self.totals[total[0].warehouse_id] = total[0]

    async def __add_totals__(self):
        root = self._tessera
        proxy = TesseraProxy(root._cls, runtime=root.runtime_id, uid=root.uid)
        proxy.init_future.set_result(True)
        proxy.state_changed("listening")
        tasks, starts = [], []
        for total in self.totals.values():
            task = TaskProxy(proxy, "add", total)
            starts.append(proxy._init_task(task, total))
            tasks.append(task)
        await asyncio.gather(*starts)
        await asyncio.gather(*tasks)
        await asyncio.gather(*(total.drop(propagate=True) for total in self.totals.values()))
        self.totals = {}

    def add(self, total):
        self.grad = self.grad + total


def expected(model, sources, observed):
    """Return the losses, and the gradient of their sum."""
    losses, gradient = [], np.zeros_like(model)
    for source, there in zip(sources, observed, strict=True):
        scattered = np.convolve(model**2, source, "same")
        residual = np.tanh(scattered) - there
        losses.append(0.5 * np.sum(residual**2))
        back = residual / np.cosh(scattered) ** 2
        gradient += 2 * model * np.convolve(back, source[::-1], "same")
    return losses, gradient


async def main(runtime):
    generator = np.random.default_rng(1)
    start, truth = (generator.uniform(0.5, 1.5, POINTS) for _ in range(2))
    # Of an odd length: only so is the reversed convolution the adjoint.
    sources = [generator.normal(size=7) / 7 for _ in range(SHOTS)]
    observed = [np.tanh(np.convolve(truth**2, source, "same")) for source in sources]
    model = Model.parameter(start.copy(), needs_grad=True)
    scatter, clip, distance = (
        cls.remote(len=runtime.num_workers) for cls in (Scatter, Clip, Distance)
    )
    losses, gradient = expected(start, sources, observed)
    bad = isinstance(model, CMDBase) or model.uid != "the model"
    for iteration in range(1, ITERATIONS + 1):
        published = await runtime.put(model, publish=True)

        @runtime.async_for(range(SHOTS))
        async def loop(worker, shot):
            where = {"key": f"shot-{shot}", "runtime": worker}
            scattered = scatter(published, sources[shot], **where)  # noqa: B023
            loss = distance(clip(scattered, **where), observed[shot], **where)
            return await loss.remote.backward().result()

        found = await loop
        await model.pull(attr="grad")
        error = np.abs(model.grad - iteration * gradient).max() / np.abs(gradient).max()
        worst = np.abs(np.array(found) - losses).max() / max(losses)
        print(f"iteration {iteration}: gradient {error:.1e}, losses {worst:.1e}", flush=True)
        bad |= not (error < 1e-12 and worst < 1e-12)
    return bad


if __name__ == "__main__":
    sys.exit(mosaic.run(main, num_workers=2))
