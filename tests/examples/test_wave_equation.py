"""The waves of the tomography example are right, and so is the gradient of their misfit."""

import numpy as np
import pytest
from scipy.special import hankel1

from examples.ultrasound_tomography import wave_equation
from examples.ultrasound_tomography.acquisition import Pulse, Ring, interpolation
from examples.ultrasound_tomography.grid import (
    DispersionError,
    Grid,
    StabilityError,
    design_grid,
    largest_time_step,
    phase_speed_error,
)
from examples.ultrasound_tomography.wave_equation import WaveEquation

SPEEDS = (1400.0, 1700.0)
RING = Ring(radius=0.02, num_transducers=12)
PULSE = Pulse(150e3)


@pytest.fixture(scope="module")
def grid():
    duration = PULSE.duration + 60e-6
    return design_grid(RING.radius, PULSE.max_frequency, duration, SPEEDS, sponge=8)


@pytest.fixture(scope="module")
def exact(grid):
    """Double precision, for comparisons up to rounding."""
    return WaveEquation(grid, RING, PULSE, np.float64)


@pytest.fixture(scope="module")
def rough(grid):
    """A speed of sound that varies from cell to cell, sponge included."""
    random = np.random.default_rng(1)
    return 1550 + 20 * np.clip(random.standard_normal(grid.shape), -3, 3)


@pytest.fixture(scope="module")
def observed(exact, grid):
    lens = 1500 + 30 * np.exp(-((grid.radius / 0.008) ** 2))
    return exact.forward(lens, 0)


def greens_function(distance, speed, pulse, grid):
    """Pressure at a distance from a point source in an endless homogeneous 2-D medium.

    In the frequency domain the solution of -k^2 G - div grad G = delta is i/4 H0(k r) with the
    first Hankel function for the time factor exp(-i w t) (Morse and Feshbach 1953, Methods of
    Theoretical Physics, chapter 7.2); numpy's transform has the other sign, hence the conjugate.
    """
    padded = 8 * grid.num_steps
    emitted = np.zeros(padded)
    emitted[: grid.num_steps] = pulse(grid.times)
    omega = 2 * np.pi * np.fft.rfftfreq(padded, grid.time_step)
    green = np.zeros(omega.size, complex)
    green[1:] = np.conj(0.25j * hankel1(0, omega[1:] * distance / speed))
    # The first recorded sample is one step after the start.
    return np.fft.irfft(np.fft.rfft(emitted) * green, padded)[1 : grid.num_steps + 1]


def test_homogeneous_medium_matches_the_greens_function():
    speed, ring = 1500.0, Ring(radius=0.03, num_transducers=16)
    spacing = speed / PULSE.max_frequency / 10
    time_step = 0.2 * spacing / speed
    duration = PULSE.duration + 2 * ring.radius / speed
    fine = Grid(
        cells=2 * (int(ring.radius / spacing) + 60) + 1,
        spacing=spacing,
        sponge=54,
        time_step=time_step,
        num_steps=int(duration / time_step),
    )
    recorded = WaveEquation(fine, ring, PULSE).forward(np.full(fine.shape, speed), 0)
    distances = np.linalg.norm(ring.positions - ring.positions[0], axis=1)
    for receiver in range(1, ring.num_transducers):
        analytical = greens_function(distances[receiver], speed, PULSE, fine)
        error = np.linalg.norm(recorded[:, receiver] - analytical) / np.linalg.norm(analytical)
        assert error < 0.015


def test_sponge_absorbs_what_leaves():
    duration = PULSE.duration + 6 * RING.radius / 1500
    near, far = (
        design_grid(RING.radius, PULSE.max_frequency, duration, SPEEDS, sponge=sponge)
        for sponge in (20, 120)
    )
    water = [np.full(grid.shape, 1500.0) for grid in (near, far)]
    with_edge, without_edge = (
        WaveEquation(grid, RING, PULSE).forward(speed, 0)
        for grid, speed in zip((near, far), water, strict=True)
    )
    assert np.linalg.norm(with_edge - without_edge) < 0.02 * np.linalg.norm(without_edge)


def test_reciprocity_in_any_medium(exact, rough):
    there = exact.forward(rough, 2)[:, 7]
    back = exact.forward(rough, 7)[:, 2]
    assert np.linalg.norm(there - back) < 1e-12 * np.linalg.norm(there)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gradient_matches_finite_differences(exact, rough, observed, seed):
    direction = np.random.default_rng(seed).standard_normal(rough.shape)
    _, gradient = exact.gradient(rough, 0, observed)
    half = 1e-3
    above, _ = exact.gradient(rough + half * direction, 0, observed)
    below, _ = exact.gradient(rough - half * direction, 0, observed)
    assert np.vdot(gradient, direction) == pytest.approx((above - below) / (2 * half), rel=1e-6)


def test_taylor_remainder_is_of_second_order(exact, rough, observed):
    direction = np.random.default_rng(3).standard_normal(rough.shape)
    misfit, gradient = exact.gradient(rough, 0, observed)
    slope = np.vdot(gradient, direction)
    remainders = [
        exact.gradient(rough + step * direction, 0, observed)[0] - misfit - step * slope
        for step in (0.4, 0.2, 0.1)
    ]
    ratios = np.array(remainders[:-1]) / np.array(remainders[1:])
    assert ratios == pytest.approx([4, 4], rel=0.02)


def test_back_propagation_is_the_adjoint_of_the_linearised_modelling(exact, rough, grid):
    random = np.random.default_rng(4)
    direction = random.standard_normal(rough.shape)
    recorded = exact.forward(rough, 3)
    residual = random.standard_normal(recorded.shape)
    _, gradient = exact.gradient(rough, 3, recorded - residual)

    def central(step):
        above = exact.forward(rough + step * direction, 3)
        return (above - exact.forward(rough - step * direction, 3)) / (2 * step)

    derivative = (4 * central(0.01) - central(0.02)) / 3  # Richardson: error of fourth order
    forwards = np.vdot(derivative, residual) * grid.time_step
    assert np.vdot(direction, gradient) == pytest.approx(forwards, rel=1e-8)


def test_single_precision_suffices(exact, rough, observed, grid):
    single = WaveEquation(grid, RING, PULSE)
    misfit, gradient = single.gradient(rough, 0, observed.astype(np.float32))
    expected_misfit, expected = exact.gradient(rough, 0, observed)
    assert gradient.dtype == np.float32
    assert misfit == pytest.approx(expected_misfit, rel=1e-4)
    assert np.linalg.norm(gradient - expected) < 1e-4 * np.linalg.norm(expected)


def test_calls_leave_no_trace(exact, rough, observed):
    first = exact.gradient(rough, 0, observed)
    exact.forward(rough - 10, 5)
    second = exact.gradient(rough, 0, observed)
    assert first[0] == second[0]
    assert np.array_equal(first[1], second[1])


@pytest.mark.parametrize(("factor", "stable"), [(0.99, True), (1.02, False)])
def test_stability_limit_is_sharp(monkeypatch, factor, stable):
    time_step = factor * largest_time_step(1e-3, 1500)
    grid = Grid(cells=40, spacing=1e-3, sponge=0, time_step=time_step, num_steps=400)
    monkeypatch.setattr(wave_equation, "check_stability", lambda grid, speed: None)
    ring = Ring(radius=0.01, num_transducers=4)
    recorded = WaveEquation(grid, ring, PULSE, np.float64).forward(np.full((40, 40), 1500.0), 0)
    assert (np.abs(recorded).max() < 10) == stable


def test_time_step_beyond_the_limit_is_refused():
    grid = Grid(cells=40, spacing=1e-3, sponge=4, time_step=0.5e-6, num_steps=10)
    waves = WaveEquation(grid, Ring(0.01, 4), PULSE)
    with pytest.raises(StabilityError, match=r"unstable at 1500 m/s .* below 4\.082e-07 s"):
        waves.forward(np.full(grid.shape, 1500.0), 0)


def test_too_few_points_per_wavelength_are_refused():
    with pytest.raises(DispersionError, match=r"2\.5 grid points in the shortest wavelength"):
        design_grid(0.02, 300e3, 1e-5, SPEEDS, points_per_wavelength=2.5)
    grid = Grid(cells=40, spacing=1e-3, sponge=4, time_step=1e-7, num_steps=10)
    with pytest.raises(DispersionError, match="use smaller cells"):
        WaveEquation(grid, Ring(0.01, 4), Pulse(900e3)).forward(np.full(grid.shape, 1500.0), 0)


def test_phase_speed_error_is_that_of_the_scheme():
    # Along an axis, without error in time: sqrt(5/2 - 8/3 cos(k h) + 1/6 cos(2 k h)) / (k h).
    along_axis = 1 - np.sqrt(5 / 2 - 1 / 6) / (np.pi / 2)
    assert phase_speed_error(4, 1e-3) == pytest.approx(along_axis, rel=1e-4)
    assert phase_speed_error(40, 1e-3) < 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda speed: speed[1:], "shape"),
        (lambda speed: -speed, "positive"),
        (lambda speed: speed * np.nan, "finite"),
    ],
    ids=["shape", "negative", "nan"],
)
def test_impossible_models_are_refused(exact, rough, change, message):
    with pytest.raises(ValueError, match=message):
        exact.forward(change(rough), 0)


def test_data_of_another_shape_are_refused(exact, rough, observed):
    with pytest.raises(ValueError, match=r"observed data of shape \(3, 12\)"):
        exact.gradient(rough, 0, observed[:3])


def test_transducers_read_between_the_grid_points(grid):
    cells, weights = interpolation(grid, RING.positions)
    row, column = np.divmod(cells, grid.cells)
    number = 2 * np.pi / (5 * grid.spacing)  # five cells in a wavelength
    wave = np.exp(1j * number * (0.6 * grid.axis[row] + 0.8 * grid.axis[column]))
    exact_values = np.exp(1j * number * RING.positions @ [0.6, 0.8])
    assert np.abs(weights @ wave - exact_values).max() < 5e-3


def test_transducers_need_room(grid):
    edge = np.array([[grid.axis[-1], 0.0]])
    with pytest.raises(ValueError, match="too close to the edge"):
        interpolation(grid, edge)


def test_emitters_are_spread_evenly():
    assert Ring(0.1, 128).emitters(4) == [0, 32, 64, 96]
    with pytest.raises(ValueError, match="between 1 and 8"):
        Ring(0.1, 8).emitters(9)


def test_pulse_rises_from_silence_and_keeps_its_band():
    times = np.arange(4096) * 1e-7
    amplitude = PULSE(times)
    spectrum = np.abs(np.fft.rfft(amplitude))
    frequency = np.fft.rfftfreq(times.size, 1e-7)
    assert abs(amplitude[0]) < 0.01
    assert frequency[spectrum.argmax()] == pytest.approx(150e3, rel=0.02)
    assert spectrum[frequency > PULSE.max_frequency].max() < 0.06 * spectrum.max()
    assert spectrum[0] < 1e-3 * spectrum.max()
