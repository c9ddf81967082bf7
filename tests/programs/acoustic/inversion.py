"""The loop over blocks, iterations and shots."""

import os

import numpy as np

import mosaic
import mosaic.core
from mosaic import types
from mosaic.types import Struct
from mosaic.utils import Future, MultiError, async_property, at_exit, camel_case

from . import checkpoint, report
from .grid import Grid
from .losses import Loss, Smoothness
from .optimisers import GradientDescent, OptimisationLoop
from .problem import Problem
from .solver import Solver
from .variables import Field

STEP_SIZES = (8.0, 5.0)
"""Metres a second, for each block."""

CYCLES = 3.0
"""Of the wavelet, in the time that is modelled."""

WEIGHT = 1.0e-10
"""Of the smoothness beside the data."""


def wavelet_of(grid, cycles):
    """Return a pulse in time."""
    time = np.arange(grid.num) / grid.num
    argument = (np.pi * cycles * (time - 1.0 / cycles)) ** 2
    return (1.0 - 2.0 * argument) * np.exp(-argument)


class Inversion:
    """Finds the speed of sound.

    Parameters
    ----------
    runtime : Runtime
        The network.
    problem : Problem
        Loaded already.
    accident : Accident, optional
        Befalls one of the workers.
    **options
        Of the operators' ``remote``.
    """

    def __init__(self, runtime, problem, accident=None, **options):
        self.runtime = runtime
        self.problem = problem
        self.accident = accident
        self.options = options
        self.loop = mosaic.get_event_loop()
        self.logger = mosaic.logger()
        self.warehouse = mosaic.get_local_warehouse()
        self.history = []
        self.energies = {}
        self.saved = []
        self.last_saved = None
        self.finished = Future(name="inversion")

    async def run(self, *num_iterations):
        """Run that many iterations in each block; return the field."""
        grid = self.problem.grid
        self.vp = Field.parameter(name="vp", grid=grid, needs_grad=False)
        assert report.kind_of(self.vp) == "parameter"
        self.problem.load_field(self.vp)
        self.vp.needs_grad = True
        await self.vp.push(attr="needs_grad")
        await self.vp.push(attr=["_data"])
        uid = f"wavelet-{os.getpid()}"
        await self.warehouse.put_remote(obj=wavelet_of(grid, CYCLES), uid=uid, reply=True)
        self.observed = await self.publish()
        counted = OptimisationLoop(*num_iterations)
        for block in counted.blocks():
            await self.run_block(block, counted, uid)
        for ref in self.observed.values():
            await ref.drop(propagate=True)
        await self.warehouse.drop_remote(uid=uid, reply=True)
        assert uid not in self.warehouse
        await self.last_saved
        self.finished.set_result(counted.done)
        return self.vp

    @async_property
    async def energy(self):
        """What all receivers heard of the last iteration, once there is no other."""
        await self.finished
        return sum(self.energies.values())

    async def publish(self):
        """Put what was observed where every worker finds it."""
        observed = {}
        for id in self.problem.acquisitions.ids:
            samples = self.problem.acquisitions.get(id).observed
            observed[id] = await self.runtime.put(samples, publish=True)
            assert isinstance(observed[id], types.awaitable_types)
            assert report.length_of(observed[id]) == 1
        return observed

    async def run_block(self, block, counted, uid):
        self.logger.info("block %d of %s", block.id, camel_case(self.problem.name))
        kwargs = {"len": self.runtime.num_workers, **self.options}
        self.pde = Solver.remote(grid=self.problem.grid, name="solver", **kwargs)
        self.loss = Loss.remote(name="loss", **kwargs)
        self.smoothness = Smoothness.remote(
            name="smoothness", weight=WEIGHT, max_retries=1, **kwargs
        )
        await mosaic.gather(self.pde, self.loss, self.smoothness)
        assert report.kind_of(self.pde) == "array"
        assert report.length_of(self.pde) == self.runtime.num_workers
        optimiser = GradientDescent(self.vp, step_size=STEP_SIZES[block.id])
        for _ in block.iterations():
            await self.iterate(counted.next(), optimiser, uid)
        await self.close()

    async def close(self):
        """Stop the operators of a block, and tell of all that went wrong at once."""
        errors = MultiError()
        for operators in (self.pde, self.loss, self.smoothness):
            try:
                await operators.stop()
            except mosaic.core.RuntimeDisconnectedError as error:
                errors.add(error)
        if len(errors) > 0:
            raise errors

    async def iterate(self, iteration, optimiser, uid):
        self.vp.clear_grad(propagate=True)
        await self.vp.set("parts", {})

        @self.runtime.async_for(self.problem.acquisitions.ids, safe=True)
        async def shots(worker, id):
            return await self.one_shot(worker, id, uid)

        values = await shots
        # Where there is a solver still: workers may have died.
        somewhere = self.smoothness.runtime_id[-1]
        penalty = await self.smoothness(self.vp, runtime=somewhere).result()
        await penalty.adjoint()
        self.history.append(sum(values) + float(penalty))
        await optimiser.step()
        # Files are written beside the loop, one after another.
        await self.loop.run_in_executor(self.problem.dump_field, self.vp, iteration)
        self.problem.append_history(self.vp, iteration, self.history)
        self.last_saved = self.loop.run(self.save, iteration)
        self.logger.info("iteration %d: loss %g", iteration, self.history[-1])

    async def one_shot(self, worker, id, uid):
        problem = self.problem.sub_problem(id)
        modelled = self.pde(uid, self.vp, problem=problem, runtime=worker, accident=self.accident)
        assert report.kind_of(modelled) == "task"
        await modelled.init_future
        misfit = self.loss(modelled, self.observed[id], problem=problem, runtime=worker)
        assert modelled in misfit._dependencies
        assert misfit._eager
        self.energies[id] = await modelled.remote.energy().result()
        value = await misfit.result()
        await value.adjoint()
        return float(value)

    async def save(self, iteration):
        path = os.path.join(self.problem.folder, f"checkpoint-{iteration}")
        checkpoint.write(path, {"iteration": iteration, "data": self.vp.data})
        self.saved.append(path)


async def main(runtime, folder=None, *, num_iterations=(2, 1), **options):
    """Invert what is in a folder: the one given, that of the environment, or the working directory."""
    folder = folder or os.environ.get("ACOUSTIC_FOLDER", ".")
    described = report.of_network(runtime)
    problem = Problem(name="phantom", grid=Grid(), folder=folder)
    problem.load()
    inversion = Inversion(runtime, problem, **options)
    at_exit.add(inversion.saved.clear)
    beats = []
    heart = inversion.loop.interval(beats.append, 0.05, None)
    try:
        vp = await inversion.run(*num_iterations)
    finally:
        heart.cancel()
        at_exit.remove(inversion.saved.clear)
    assert await inversion.energy == sum(inversion.energies.values())
    last = checkpoint.read(inversion.saved[-1])
    assert last["iteration"] == sum(num_iterations)
    np.testing.assert_array_equal(last["data"], vp.data)
    return Struct(
        {
            "vp": vp.data,
            "history": inversion.history,
            "energies": inversion.energies,
            "network": described,
        }
    )
