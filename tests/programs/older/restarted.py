"""A parameter that the head updates between iterations, and that a second run takes up again from a file.

Each iteration publishes the model, has the workers add their parts of the gradient to its root, and takes a step of
gradient descent with momentum at the head. The model is made anew from the file that the first half of the iterations
left.
"""

import sys
import tempfile

import numpy as np

import mosaic
from mosaic import h5
from mosaic.core import ParameterMixin
from mosaic.core.base import CMDBase

SHAPE, SHOTS, ITERATIONS, RATE, INERTIA = (20, 15), 5, 4, 0.05, 0.8


class Saved:
    """What can be written to a file, and read again."""

    def dump(self, *args, **kwargs):
        with mosaic.h5.HDF5(*args, **kwargs, mode="w") as file:
            file.dump(self.__describe__())

    def load(self, *args, **kwargs):
        with h5.HDF5(*args, **kwargs, mode="r") as file:
            found = file.load(lazy=False)
            self.data[:] = found.data
            self.name = found.name
            return found


@mosaic.tessera
class Field(Saved):
    def __init__(self, *args, **kwargs):
        self.name = kwargs.pop("name", "field")
        self.needs_grad = kwargs.pop("needs_grad", False)
        self._data = np.zeros(kwargs.pop("shape", SHAPE))
        self.grad = np.zeros_like(self._data)
        self.updates = 0

    @property
    def data(self):
        return self._data

    def __describe__(self):
        return {"name": self.name, "data": self.data, "updates": self.updates}

    def __accumulate__(self, part):
        self.grad = self.grad + part

    def clear_grad(self, **kwargs):
        self.grad = np.zeros_like(self.grad)


@mosaic.tessera
class Survey:
    def __init__(self, *args, **kwargs):
        self.seen = 0

    async def __call__(self, field, weights, observed, **kwargs):
        self.seen += 1
        residual = weights * field.data - observed
        if field.needs_grad and not isinstance(field, CMDBase) and hasattr(field, "_tessera"):
            field.__accumulate__(weights * residual, propagate=True)
        return 0.5 * float(np.sum(residual**2))


class Momentum:
    """The optimiser, at the head."""

    def __init__(self, field, velocity=None):
        self.field = field
        self.velocity = np.zeros_like(field.data) if velocity is None else np.array(velocity)

    async def step(self):
        await self.field.pull(attr="grad")
        self.velocity = INERTIA * self.velocity - RATE * self.field.grad
        self.field.data[:] += self.velocity
        self.field.updates += 1
        self.field.clear_grad(propagate=True)
        await self.field.push(attr=["_data", "updates"])


async def iterate(runtime, optimiser, weights, observed, count):
    survey = Survey.remote(len=runtime.num_workers)
    losses = []
    for _ in range(count):
        published = await runtime.put(optimiser.field, publish=True)

        @runtime.async_for(range(SHOTS), safe=True)
        async def loop(worker, shot):
            task = survey(published, weights[shot], observed[shot], runtime=worker)  # noqa: B023
            return await task.result()

        losses.append(sum(await loop))
        await optimiser.step()
    return losses


def expected(start, weights, observed):
    data, velocity, losses = start.copy(), np.zeros_like(start), []
    for _ in range(ITERATIONS):
        residuals = [w * data - o for w, o in zip(weights, observed, strict=True)]
        losses.append(sum(0.5 * float(np.sum(r**2)) for r in residuals))
        grad = sum(w * r for w, r in zip(weights, residuals, strict=True))
        velocity = INERTIA * velocity - RATE * grad
        data = data + velocity
    return data, losses


async def main(runtime):
    generator = np.random.default_rng(3)
    start, truth = (generator.uniform(1, 2, SHAPE) for _ in range(2))
    weights = [generator.uniform(0.5, 1, SHAPE) for _ in range(SHOTS)]
    observed = [weight * truth for weight in weights]
    with tempfile.TemporaryDirectory() as folder:
        place = {"path": folder, "project_name": "restarted", "parameter": "some_field"}
        field = Field.parameter(name="vp", needs_grad=True, shape=SHAPE)
        field.data[:] = start
        optimiser = Momentum(field)
        half = ITERATIONS // 2
        losses = await iterate(runtime, optimiser, weights, observed, half)
        field.dump(**place, version=half)
        with mosaic.h5.HDF5(**place, version=half, mode="a") as file:
            file.append({"velocity": optimiser.velocity})
        del field, optimiser

        again = Field.parameter(name="unnamed", needs_grad=True)
        found = again.load(**place, version=half)
        again.updates = int(found.updates)
        await again.push()
        optimiser = Momentum(again, found.velocity)
        losses += await iterate(runtime, optimiser, weights, observed, ITERATIONS - half)

    root = await again.ref.value()
    data, right = expected(start, weights, observed)
    errors = [np.abs(one - data).max() for one in (again.data, root.data)]
    worst = np.abs(np.array(losses) - right).max() / max(right)
    print(f"model {errors[0]:.1e}, its root {errors[1]:.1e}, losses {worst:.1e}", flush=True)
    bad = not (max(errors) < 1e-12 and worst < 1e-12)
    bad |= (again.name, root.updates) != ("vp", ITERATIONS)
    return bad or not isinstance(again, ParameterMixin) or isinstance(again, CMDBase)


if __name__ == "__main__":
    sys.exit(mosaic.run(main, num_workers=2))
