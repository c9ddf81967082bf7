"""The tomography example from end to end, on real workers."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mosaic
from examples.ultrasound_tomography.acquisition import Pulse, Ring
from examples.ultrasound_tomography.inversion import Preconditioner, minimise
from examples.ultrasound_tomography.medium import Medium
from examples.ultrasound_tomography.phantom import SPEED_BOUNDS, Phantom
from examples.ultrasound_tomography.plotting import save_figure
from examples.ultrasound_tomography.solver import Solver
from examples.ultrasound_tomography.tomography import Experiment, model_error, reconstruct
from examples.ultrasound_tomography.wave_equation import WaveEquation

ROOT = Path(__file__).parents[2]

EXPERIMENT = Experiment(
    ring=Ring(radius=0.02, num_transducers=24),
    num_shots=6,
    iterations=4,
    frequencies=(120e3, 200e3),
    noise=1e-3,
)


class Notes:
    """A reporter that remembers."""

    def __init__(self):
        self.cost = 0.0
        self.lines = []

    def advance(self, cost):
        self.cost += cost

    def say(self, text):
        self.lines.append(text)


@pytest.fixture
def phantom():
    """A fast and a slow disc."""
    y, x = np.mgrid[-20:21, -20:21]
    speed = np.full((41, 41), 1500.0)
    speed[np.hypot(y + 5, x - 4) < 5] = 1540
    speed[np.hypot(y - 6, x + 3) < 6] = 1470
    return Phantom(speed, 1e-3)


def invert(phantom, num_workers, notes):
    async def main(runtime):
        return await reconstruct(runtime, phantom, EXPERIMENT, notes)

    return mosaic.run(main, num_workers=num_workers, num_threads=1)


def test_inversion_recovers_the_phantom(phantom, tmp_path):
    notes = Notes()
    result = invert(phantom, 2, notes)
    assert result.error_before == pytest.approx(1)
    assert result.error_after < 0.5
    for misfits in result.misfits.values():
        assert len(misfits) == 1 + EXPERIMENT.iterations
        assert misfits[-1] < 0.5 * misfits[0]
    assert sum("misfit" in line for line in notes.lines) == 2 * (1 + EXPERIMENT.iterations)
    assert notes.cost >= 0.99 * EXPERIMENT.total_cost

    figure = tmp_path / "figure.png"
    save_figure(figure, result, EXPERIMENT.ring, EXPERIMENT.ring.emitters(6))
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_same_bits_for_any_number_of_workers(phantom):
    one, two = (invert(phantom, workers, Notes()) for workers in (1, 2))
    assert np.array_equal(one.inverted, two.inverted)
    assert one.misfits == two.misfits


def invert_plainly(phantom):
    """The same mathematics in this process, without any runtime: the last model and all misfits."""
    ring, radius = EXPERIMENT.ring, EXPERIMENT.imaging_radius
    shots = ring.emitters(EXPERIMENT.num_shots)
    estimate, misfits = Phantom(np.full((2, 2), 1500.0), 2 * radius), {}
    for frequency in EXPERIMENT.frequencies:
        pulse = Pulse(frequency)
        grid = EXPERIMENT.grid(pulse)
        waves = WaveEquation(grid, ring, pulse)
        true = phantom.sample(grid, radius)
        data = []
        for shot in shots:
            clean = waves.forward(true.astype(np.float32), shot)
            noise = np.random.default_rng([EXPERIMENT.seed, shot]).standard_normal(clean.shape)
            data.append((clean + EXPERIMENT.noise * clean.std() * noise).astype(np.float32))
        energy = sum(np.sum(np.square(traces), dtype=np.float64) for traces in data)
        scale = 2 / (grid.time_step * energy)

        async def objective(speed, waves=waves, data=data, scale=scale):
            total, gradient = 0.0, np.zeros(speed.shape)
            for shot, traces in zip(shots, data, strict=True):
                misfit, part = waves.gradient(speed.astype(np.float32), shot, traces)
                total += misfit
                gradient += part
            return scale * total, scale * gradient

        smoothing = EXPERIMENT.smoothing * 1500.0 / frequency
        outcome = asyncio.run(
            minimise(
                objective,
                estimate.sample(grid, radius),
                precondition=Preconditioner.disc(grid, radius, smoothing),
                bounds=SPEED_BOUNDS,
                iterations=EXPERIMENT.iterations,
                first_change=EXPERIMENT.first_change,
            )
        )
        misfits[frequency] = outcome.misfits
        estimate = Phantom(outcome.model, grid.spacing)
    return outcome.model, misfits


def test_same_result_as_plain_numpy_in_one_process(phantom):
    spread = invert(phantom, 2, Notes())
    model, misfits = invert_plainly(phantom)
    # The plain run sums the gradients in double precision.
    assert np.allclose(spread.inverted, model, rtol=0, atol=1e-2)
    assert spread.misfits.keys() == misfits.keys()
    for frequency, values in misfits.items():
        assert spread.misfits[frequency] == pytest.approx(values, rel=1e-5)


def test_a_worker_may_die_and_no_bit_changes(phantom):
    class Killer(Notes):
        """Kills a worker in the middle of the first evaluation."""

        def __init__(self):
            super().__init__()
            self.shots = -1  # the first report is that of the data

        def advance(self, cost):
            super().advance(cost)
            self.shots += 1
            if self.shots == EXPERIMENT.num_shots - 1:
                os.kill(self.victim, signal.SIGKILL)

    killer = Killer()

    async def main(runtime):
        killer.victim = await runtime.submit(os.getpid, runtime=runtime.workers[0]).result()
        return await reconstruct(runtime, phantom, EXPERIMENT, killer)

    disturbed = mosaic.run(main, num_workers=2, num_threads=1)
    undisturbed = invert(phantom, 2, Notes())
    assert np.array_equal(disturbed.inverted, undisturbed.inverted)
    assert disturbed.misfits == undisturbed.misfits


def test_local_solver_needs_no_runtime():
    pulse = Pulse(120e3)
    grid = EXPERIMENT.grid(pulse)
    solver = Solver(grid, EXPERIMENT.ring, pulse)
    assert isinstance(solver, WaveEquation)
    recorded = solver.record(Medium(np.full(grid.shape, 1500.0)), 0)
    assert recorded.shape == (grid.num_steps, 24)


def test_model_error():
    true = np.array([[1500.0, 1540.0]])
    assert model_error(np.full((1, 2), 1500.0), true, 1500.0) == 1
    assert model_error(true, true, 1500.0) == 0
    assert model_error(true + 3, np.full((1, 2), 1500.0), 1500.0) == pytest.approx(np.hypot(43, 3))


@pytest.mark.slow
def test_command_line_writes_the_figure(tmp_path):
    figure = tmp_path / "result.png"
    options = ["--workers", "2", "--shots", "2", "--iterations", "1", "--output", str(figure)]
    done = subprocess.run(
        [sys.executable, "-m", "examples.ultrasound_tomography", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "iteration  1  misfit" in done.stdout
    assert "relative model error: 1.000 before" in done.stdout
    assert figure.read_bytes().startswith(b"\x89PNG")
