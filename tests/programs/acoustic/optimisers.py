"""From gradients to better fields."""

import numpy as np

import mosaic
from mosaic.core import ParameterMixin, PickleClass
from mosaic.utils import camel_case, mimport, snake_case


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
    """Processing steps by their names, one after another; those of others by where they are to be found."""

    def __init__(self, *names, **kwargs):
        self.steps = []
        for name in names:
            path = name if "." in name else f"{__name__}.{camel_case(snake_case(name))}"
            self.steps.append(mimport(path)(**kwargs.get(name, {})))

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
        self.process = PickleClass(kwargs.pop("process", Pipeline))
        self.process_steps = kwargs.pop("process_steps", ("mask", "normalise"))
        super().__init__(variable, *args, **kwargs)

    async def step(self, **kwargs):
        variable = self.variable
        grad = await variable.pull(attr="grad")
        task = mosaic.runtime().submit(processed, self.process, self.process_steps, grad)
        direction = variable.alike(await task.result())
        variable.data = (variable - self.step_size * direction).data
        await variable.push(attr=["_data"])
        return variable


def processed(pipeline, steps, grad):
    """Process a gradient, wherever there is time for it."""
    return pipeline(*steps)(grad)


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
