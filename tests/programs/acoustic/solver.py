"""The acoustic wave equation in two dimensions, by finite differences, and its adjoint."""

import numpy as np

import mosaic
from mosaic.profile import no_profiler, skip_profile

from .operators import Operator
from .variables import Traces


@skip_profile
def laplacian(field):
    """Return the sum of second differences, with nothing outside the grid."""
    padded = np.pad(field, 1)
    return (
        padded[2:, 1:-1]
        + padded[:-2, 1:-1]
        + padded[1:-1, 2:]
        + padded[1:-1, :-2]
        - 4.0 * padded[1:-1, 1:-1]
    )


@mosaic.tessera
class Solver(Operator):
    """Models what receivers hear of a source."""

    def __init__(self, *args, **kwargs):
        self.grid = kwargs.pop("grid")
        self.absorbing = kwargs.pop("absorbing", 4)
        super().__init__(*args, **kwargs)
        self.device = None
        self.wavefields = {}
        self.wavelets = {}
        with no_profiler:
            self.sponge = self.make_sponge()

    def make_sponge(self):
        sponge = np.ones(self.grid.shape)
        for axis, count in enumerate(self.grid.shape):
            edge = np.minimum(np.arange(count), np.arange(count)[::-1])
            fade = np.exp(-((0.08 * np.clip(self.absorbing - edge, 0, None)) ** 2))
            sponge *= fade.reshape([-1 if other == axis else 1 for other in range(2)])
        return sponge

    async def wavelet(self, uid):
        """Return a wavelet by its name at the node's warehouse; it is fetched once."""
        if uid not in self.wavelets:
            warehouse = mosaic.get_local_warehouse()
            self.wavelets[uid] = await warehouse.get_remote(uid=uid, reply=True)
        return self.wavelets[uid]

    async def forward(self, call, wavelet, vp, problem, **kwargs):
        self.device = self.runtime.indices[1]
        self.logger.perf("%s models shot %d on device %d", self.name, problem.shot.id, self.device)
        wavelet = await self.wavelet(wavelet)
        grid, shot = self.grid, problem.shot
        courant = (vp.data * grid.step / grid.spacing) ** 2
        before, now = np.zeros(grid.shape), np.zeros(grid.shape)
        heard = np.zeros((grid.num, len(shot.receivers)))
        curvature = np.zeros((grid.num, *grid.shape))
        for index in range(grid.num):
            curvature[index] = laplacian(now)
            curvature[index][tuple(shot.source)] += wavelet[index]
            after = self.sponge * (2.0 * now - before + courant * curvature[index])
            before, now = self.sponge * now, after
            heard[index] = now[tuple(shot.receivers.T)]
        self.wavefields[call] = curvature
        if "accident" in kwargs and kwargs["accident"] is not None:
            kwargs["accident"].happen("forward", shot.id)
        return Traces(heard, name="modelled")

    async def backward(self, call, grad, wavelet, vp, problem, **kwargs):
        grid, shot = self.grid, problem.shot
        curvature = self.wavefields.pop(call)
        courant = (vp.data * grid.step / grid.spacing) ** 2
        total = np.zeros(grid.shape)
        # Of the state after each step: of `now`, and of `before`.
        of_now, of_before = np.zeros(grid.shape), np.zeros(grid.shape)
        for index in reversed(range(grid.num)):
            np.add.at(of_now, tuple(shot.receivers.T), grad[index])
            after = self.sponge * of_now
            total += after * curvature[index]
            of_now, of_before = (
                2.0 * after + laplacian(courant * after) + self.sponge * of_before,
                -after,
            )
        return None, total * 2.0 * vp.data * (grid.step / grid.spacing) ** 2

    async def give(self, variable, grad, **kwargs):
        await super().give(variable, grad, **kwargs)
        if kwargs.get("accident") is not None:
            kwargs["accident"].happen("adjoint", kwargs["problem"].shot.id)
