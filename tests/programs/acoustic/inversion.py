"""The loop over blocks, iterations and shots."""

import numpy as np

import mosaic
from mosaic import types
from mosaic.core import ArrayProxy
from mosaic.core.base import CMDBase
from mosaic.types import Struct

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


async def invert(runtime, problem, *, num_iterations=(2, 1), accident=None, **options):
    """Find the speed of sound.

    Parameters
    ----------
    runtime : Runtime
        The network.
    problem : Problem
        Loaded already.
    num_iterations : tuple of int
        For each block.
    accident : Accident, optional
        Befalls one of the workers.
    **options
        Of the solvers' ``remote``.

    Returns
    -------
    Struct
        The field, and the loss of each iteration.
    """
    logger = mosaic.logger()
    grid = problem.grid
    vp = Field.parameter(name="vp", grid=grid, needs_grad=True)
    assert isinstance(vp, Field)
    assert isinstance(vp, CMDBase)
    problem.load_field(vp)
    await vp.push(attr="_data")

    observed = {}
    for id in problem.acquisitions.ids:
        observed[id] = await runtime.put(problem.acquisitions.get(id).observed, publish=True)
        assert isinstance(observed[id], types.awaitable_types)

    loop = OptimisationLoop(*num_iterations)
    history = []
    for block in loop.blocks():
        logger.info("block %d", block.id)
        pde = Solver.remote(grid=grid, name="solver", len=runtime.num_workers, **options)
        loss = Loss.remote(name="loss", len=runtime.num_workers, **options)
        smoothness = Smoothness.remote(
            name="smoothness", weight=WEIGHT, max_retries=1, len=runtime.num_workers, **options
        )
        assert isinstance(pde, ArrayProxy)
        await pde
        wavelet = wavelet_of(grid, CYCLES)
        optimiser = GradientDescent(vp, step_size=STEP_SIZES[block.id])

        for _ in block.iterations():
            iteration = loop.next()
            vp.clear_grad()
            await vp.push(attr=["grad", "parts"])

            @runtime.async_for(problem.acquisitions.ids)
            async def shots(worker, id):
                sub = problem.sub_problem(id)
                modelled = pde(  # noqa: B023
                    wavelet,  # noqa: B023
                    vp,
                    problem=sub,
                    runtime=worker,
                    accident=accident,
                )
                await modelled.init_future
                misfit = await loss(  # noqa: B023
                    modelled, observed[id], problem=sub, runtime=worker
                ).result()
                await misfit.adjoint(problem=sub)
                return float(misfit)

            values = await shots
            somewhere = smoothness.runtime_id[-1]
            penalty = await smoothness(vp, runtime=somewhere).result()
            await penalty.adjoint(problem=None)
            history.append(sum(values) + float(penalty))
            await optimiser.step()
            problem.dump_field(vp, iteration)
            problem.append_history(vp, iteration, history)
            logger.info("iteration %d: loss %g", iteration, history[-1])

    for ref in observed.values():
        await ref.drop(propagate=True)
    return Struct({"vp": vp, "history": history})


async def main(runtime, folder=".", **options):
    """Invert what is in a folder."""
    problem = Problem(name="phantom", grid=Grid(), folder=folder)
    problem.load()
    found = await invert(runtime, problem, **options)
    return found.vp.data, found.history
