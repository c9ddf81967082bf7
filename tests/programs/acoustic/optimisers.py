"""From gradients to better fields."""

import numpy as np

import mosaic
from mosaic.core import ParameterMixin
from mosaic.utils import camel_case, snake_case


class Mask:
    """Keeps a gradient away from the edges."""

    def __init__(self, width=3):
        self.width = width

    def __call__(self, data):
        inside = np.zeros_like(data)
        inside[self.width : -self.width, self.width : -self.width] = 1.0
        return data * inside


class Normalise:
    """Gives a gradient a largest value of one."""

    def __call__(self, data):
        largest = np.max(np.abs(data))
        return data / largest if largest > 0 else data


class Pipeline:
    """Processing steps by their names, one after another."""

    known = {"mask": Mask, "normalise": Normalise}

    def __init__(self, *names, **kwargs):
        classes = {camel_case(name): cls for name, cls in self.known.items()}
        self.steps = [classes[camel_case(snake_case(name))](**kwargs.get(name, {})) for name in names]

    def __call__(self, data):
        for step in self.steps:
            data = step(data)
        return data


@mosaic.tessera
class Optimiser:
    """Changes a variable by its gradient."""

    def __init__(self, variable, *args, **kwargs):
        if not isinstance(variable, ParameterMixin):
            raise TypeError(f"{variable!r} has nowhere to gather its gradient")
        self.variable = variable
        self.step_size = kwargs.pop("step_size", 1.0)
        super().__init__(*args, **kwargs)

    async def step(self, **kwargs):
        raise NotImplementedError


@mosaic.tessera(max_retries=1)
class GradientDescent(Optimiser):
    """Goes a step against the gradient."""

    def __init__(self, variable, *args, **kwargs):
        self.process = kwargs.pop("process", Pipeline("mask", "normalise"))
        super().__init__(variable, *args, **kwargs)

    async def step(self, **kwargs):
        variable = self.variable
        grad = await variable.pull(attr="grad")
        direction = self.process.cls(grad) if hasattr(self.process, "cls") else self.process(grad)
        variable.data = (variable - self.step_size * variable.alike(direction)).data
        await variable.push(attr=["_data"])
        return variable


class Block:
    """Some iterations that have the same settings."""

    def __init__(self, id, num_iterations):
        self.id = id
        self.num_iterations = num_iterations

    def iterations(self):
        yield from range(self.num_iterations)


class OptimisationLoop:
    """Blocks of iterations, counted through."""

    def __init__(self, *num_iterations):
        self.num_iterations = num_iterations
        self.done = 0

    def blocks(self):
        for id, num in enumerate(self.num_iterations):
            yield Block(id, num)

    def next(self):
        self.done += 1
        return self.done
