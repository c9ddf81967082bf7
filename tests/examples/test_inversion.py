"""The minimiser of the tomography example, on functions whose minimum is known."""

import asyncio

import numpy as np
import pytest

from examples.ultrasound_tomography.grid import Grid
from examples.ultrasound_tomography.inversion import Preconditioner, minimise

CURVATURES = np.linspace(1, 30, 36).reshape(6, 6)


def quadratic(target):
    async def objective(model):
        error = model - target
        return 0.5 * float(np.sum(CURVATURES * error**2)), CURVATURES * error

    return objective


def run(objective, start, **options):
    settings = {
        "precondition": np.copy,
        "bounds": (-10, 10),
        "iterations": 40,
        "first_change": 0.5,
    }
    return asyncio.run(minimise(objective, start, **{**settings, **options}))


def test_finds_the_minimum_of_a_quadratic():
    target = np.random.default_rng(0).uniform(-1, 1, (6, 6))
    outcome = run(quadratic(target), np.zeros((6, 6)))
    assert np.allclose(outcome.model, target, atol=1e-4)
    assert np.all(np.diff(outcome.misfits) <= 0)


def test_stays_within_the_bounds():
    target = np.linspace(-2, 2, 36).reshape(6, 6)
    outcome = run(quadratic(target), np.zeros((6, 6)), bounds=(-1, 1.5))
    assert np.allclose(outcome.model, np.clip(target, -1, 1.5), atol=1e-3)


def test_first_step_has_the_size_asked_for():
    tried = []

    async def slope(model):
        tried.append(model)
        return float(model.sum()), np.ones_like(model)

    run(slope, np.zeros((6, 6)), iterations=1, first_change=0.25)
    assert np.abs(tried[1] - tried[0]).max() == pytest.approx(0.25)


def test_shortens_steps_that_go_too_far():
    outcome = run(quadratic(np.zeros((6, 6))), np.ones((6, 6)), first_change=9.0, iterations=3)
    assert outcome.misfits[-1] < outcome.misfits[0]


def test_gives_up_when_nothing_helps():
    async def wrong_gradient(model):
        return float(model.sum()), -np.ones_like(model)

    start = np.zeros((6, 6))
    outcome = run(wrong_gradient, start)
    assert np.array_equal(outcome.model, start)
    assert len(outcome.misfits) == 1


def test_stops_where_the_gradient_vanishes():
    target = np.ones((6, 6))
    assert run(quadratic(target), target).misfits == [0]


def test_reports_every_iteration():
    seen = []
    outcome = run(
        quadratic(np.ones((6, 6))),
        np.zeros((6, 6)),
        iterations=4,
        report=lambda iteration, misfit: seen.append((iteration, misfit)),
    )
    assert seen == list(enumerate(outcome.misfits))


def test_preconditioner_is_symmetric_positive_and_keeps_the_outside():
    grid = Grid(cells=31, spacing=1e-3, sponge=2, time_step=1e-7, num_steps=1)
    operator = Preconditioner.disc(grid, radius=0.01, smoothing=1.5e-3)
    a, b = np.random.default_rng(0).standard_normal((2, *grid.shape))
    assert np.vdot(a, operator(b)) == pytest.approx(np.vdot(operator(a), b))
    assert np.vdot(a, operator(a)) > 0
    assert not np.any(operator(a)[grid.radius >= 0.01])
