"""What is differentiated: variables, fields over the grid, and traces over time."""

import copy

import numpy as np

import mosaic
from mosaic import types
from mosaic.core import TaskProxy


class Step:
    """One call of an operator, as its outputs remember it.

    Parameters
    ----------
    op : TesseraProxy or Operator
        What was called; elsewhere a proxy of it.
    call : str
        What the operator remembers the call by.
    inputs : list
        For each input the step that made it, or the variable itself where it is a leaf, or None.
    """

    def __init__(self, op, call, inputs):
        self.op = op
        self.call = call
        self.inputs = inputs

    async def adjoint(self, grad, tasks, **kwargs):
        """Have the operator send a gradient back; return those of its inputs.

        Where the operator is elsewhere these are references: a gradient goes from one operator to the next, and not
        through this process. Its task is noted, to be waited for in the end.
        """
        op = self.op
        if not (hasattr(op, "_tessera") and op.is_proxy):
            return await op.adjoint(self.call, grad, **kwargs)
        task = TaskProxy(op, "adjoint", self.call, grad, **kwargs)
        await op._init_task(task, self.call, grad, **kwargs)
        await task.init_future
        tasks.append(task)
        return task.outputs


@mosaic.tessera
class Variable:
    """Something with a gradient."""

    def __init__(self, *args, **kwargs):
        self.name = kwargs.pop("name", "variable")
        self.needs_grad = kwargs.pop("needs_grad", False)
        self.grad = None
        self.parts = {}
        self.prev = None
        super().__init__(*args, **kwargs)

    async def adjoint(self, grad=None, **kwargs):
        """Send a gradient back along the graph, whichever processes its operators are in."""
        steps = [] if self.prev is None else [(self.prev, grad)]
        tasks = []
        while steps:
            step, grad = steps.pop()
            grads = await step.adjoint(grad, tasks, **kwargs)
            for index, before in enumerate(step.inputs):
                if isinstance(before, Step):
                    steps.append((before, grads[index]))
        await mosaic.gather(tasks)

    async def add_grad(self, part, **kwargs):
        """Add a part of the gradient; a part that comes again takes its own place."""
        if isinstance(part, types.awaitable_types):
            part = await part.result()
        for key, value in part.items():
            self.parts[key] = value
        self.grad = sum(self.parts[key] for key in sorted(self.parts))

    async def deliver(self, key, grad):
        """Bring a part of the gradient to the node's warehouse; the next barrier takes it to the root."""
        ref = await self.runtime.exec(f"{self._tessera.uid}-parts", collect, (self, key, grad))
        assert type(ref) in types.awaitable_types
        return ref.warehouse_id

    def clear_grad(self):
        self.grad = None
        self.parts = {}

    def detach(self):
        """Return a copy that knows nothing of where it came from."""
        detached = copy.copy(self)
        detached.prev = None
        return detached


async def collect(held, variable, key, grad):
    """Keep a part of a gradient at the warehouse; the first that comes says what is to be done at the barrier."""
    if held is None:
        held = {}
        runtime = mosaic.runtime()
        assert runtime.uid.startswith("warehouse")

        async def hand_over():
            ref = await runtime.exec(f"{variable._tessera.uid}-parts", same)
            await variable.add_grad(ref, propagate=True)
            await ref.drop(propagate=True)

        runtime.register_barrier_task(hand_over)
    held[key] = grad
    return held


async def same(held):
    return held


@mosaic.tessera
class Field(Variable):
    """Values over the grid."""

    def __init__(self, *args, **kwargs):
        self.grid = kwargs.pop("grid")
        self._data = np.full(self.grid.shape, float(kwargs.pop("value", 0.0)))
        super().__init__(*args, **kwargs)

    @property
    def data(self):
        return self._data

    @data.setter
    def data(self, data):
        if data.shape != self.grid.shape:
            raise ValueError(f"{self.name} has the shape {self.grid.shape}, not {data.shape}")
        self._data = np.array(data, dtype=float)

    def fill(self, value):
        self._data[:] = value

    def __call__(self):
        return self.data

    def alike(self, data):
        made = copy.copy(self.detach())
        made._data = np.array(data, dtype=float)
        return made

    def __add__(self, other):
        return self.alike(self.data + getattr(other, "data", other))

    def __mul__(self, other):
        return self.alike(self.data * getattr(other, "data", other))

    __radd__ = __add__
    __rmul__ = __mul__

    def __sub__(self, other):
        return self + (-1.0) * other

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.data, dtype=dtype)


class Traces(Variable):
    """What the receivers heard; derived from a tessera class, and not decorated again."""

    __slots__ = ("samples",)

    def __init__(self, samples, *args, **kwargs):
        self.samples = samples
        super().__init__(*args, **kwargs)

    def energy(self):
        return float(np.sum(self.samples**2))


class Scalar(Variable):
    """A single number."""

    def __init__(self, value, *args, **kwargs):
        self.value = float(value)
        super().__init__(*args, **kwargs)

    def __float__(self):
        return self.value
