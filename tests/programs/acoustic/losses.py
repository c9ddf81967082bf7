"""What is minimised."""

import numpy as np

import mosaic
from mosaic.profile import use_trace

from .operators import Operator
from .variables import Scalar


@mosaic.tessera
class Loss(Operator):
    """Half the squared difference of what was modelled and what was observed."""

    async def forward(self, call, modelled, observed, problem, **kwargs):
        difference = modelled.samples - observed
        return Scalar(0.5 * np.sum(difference**2), name=f"loss-{problem.shot.id}")

    async def backward(self, call, grad, modelled, observed, problem, **kwargs):
        scale = 1.0 if grad is None else grad
        return scale * (modelled.samples - observed), None


@mosaic.tessera
class Smoothness(Operator):
    """Half the squared differences of neighbours; its gradient goes to the root at once."""

    def __init__(self, *args, **kwargs):
        self.weight = kwargs.pop("weight", 1.0e-3)
        super().__init__(*args, **kwargs)

    async def forward(self, call, vp, **kwargs):
        across = [np.diff(vp.data, axis=axis) for axis in range(2)]
        return Scalar(0.5 * self.weight * sum(np.sum(d**2) for d in across), name="smoothness")

    @use_trace
    async def backward(self, call, grad, vp, **kwargs):
        total = np.zeros_like(vp.data)
        for axis in range(2):
            difference = np.diff(vp.data, axis=axis)
            after = [slice(None)] * 2
            after[axis] = slice(1, None)
            before = [slice(None)] * 2
            before[axis] = slice(None, -1)
            total[tuple(after)] += difference
            total[tuple(before)] -= difference
        return self.weight * total

    async def give(self, variable, grad, **kwargs):
        await variable.add_grad({self.name: grad}, propagate=True)
