"""The inversion, however it is started and whatever befalls it, finds what plain NumPy finds in one process."""

import asyncio
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import mosaic
import mosaic.utils
from mosaic.profile import model, tables
from tests.programs import plain
from tests.programs.accident import Accident
from tests.programs.acoustic import checkpoint
from tests.programs.acoustic.grid import Grid
from tests.programs.acoustic.inversion import main
from tests.programs.acoustic.losses import Smoothness
from tests.programs.acoustic.variables import Field
from tests.support.kernels import Kernel
from tests.support.launching import under_mrun
from tests.support.rendezvous import Flag
from tests.support.scripts import ROOT, run_in

PROGRAM = Path(__file__).with_name("invert.py")
PLACE = {"PYTHONPATH": str(ROOT)}

TOLERANCE = {"rtol": 1e-12, "atol": 1e-9}
"""Metres a second: of values around 1500, summed in another order."""


@pytest.fixture(scope="module")
def expected():
    """Return what the plain program finds, and its losses."""
    return plain.invert(plain.observe())


@pytest.fixture
def folder(tmp_path):
    plain.write(tmp_path)
    return tmp_path


def agrees(vp, history, expected):
    np.testing.assert_allclose(vp, expected[0], **TOLERANCE)
    np.testing.assert_allclose(history, expected[1], rtol=1e-9)


def invert(folder, workers, **options):
    async def inverted(runtime):
        return await asyncio.wait_for(main(runtime, folder, **options), 40)

    return mosaic.run(inverted, num_workers=workers, log_level="perf")


def test_the_gradient_of_the_plain_program_is_one():
    generator = np.random.default_rng(0)
    vp = plain.start() + 5.0 * generator.normal(size=plain.start().shape)
    direction = generator.normal(size=vp.shape)
    observed, pulse = plain.observe(), plain.pulse(3.0)
    after, before = (
        plain.objective(vp + sign * 1e-3 * direction, pulse, observed)[0] for sign in (1, -1)
    )
    _, grad = plain.objective(vp, pulse, observed)
    assert np.sum(grad * direction) == pytest.approx((after - before) / 2e-3, rel=1e-6)


def test_the_inversion_gets_closer(expected):
    vp, history = expected
    assert history[0] > history[1] > history[2]
    inside = (slice(6, 18), slice(6, 14))
    assert np.linalg.norm((vp - plain.truth())[inside]) < np.linalg.norm(
        (plain.start() - plain.truth())[inside]
    )


def test_operators_are_plain_objects_without_a_runtime():
    field = Field(name="vp", grid=Grid(), needs_grad=True)
    field.data = plain.truth()

    async def differentiate():
        penalty = await Smoothness(weight=plain.WEIGHT)(field)
        await penalty.adjoint()
        return float(penalty)

    value, grad = plain.smoothness(plain.truth())
    assert asyncio.run(differentiate()) == pytest.approx(value)
    np.testing.assert_allclose(field.grad, grad, rtol=1e-12)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_as_in_one_process(workers, folder, expected):
    found = invert(folder, workers)
    agrees(found.vp, found.history, expected)
    assert sorted(found.energies) == list(range(plain.SHOTS))
    assert len(found.network.workers) == workers
    devices = mosaic.utils.gpu_count() or 1
    assert found.network.devices == [index % devices for index in range(workers)]
    assert (found.network.mode, found.network.level) == ("local", "perf")
    assert found.network.places.warehouse == "warehouse:0"


@pytest.mark.faults
@pytest.mark.parametrize(("workers", "when"), [(2, "forward"), (2, "adjoint"), (4, "adjoint")])
def test_with_a_worker_killed_in_the_middle(workers, when, folder, expected):
    flag = Flag(folder / "killed")
    found = invert(folder, workers, accident=Accident(when, 3, flag))
    assert flag.is_set()
    agrees(found.vp, found.history, expected)


@pytest.mark.faults
def test_with_the_only_worker_killed(folder, expected):
    flag = Flag(folder / "killed")
    found = invert(folder, 1, accident=Accident("adjoint", 3, flag), max_restarts=1)
    assert flag.is_set()
    agrees(found.vp, found.history, expected)


@pytest.mark.faults
def test_without_restarts_the_only_workers_death_is_told(folder):
    accident = Accident("forward", 3, Flag(folder / "killed"))
    with pytest.raises(mosaic.RuntimeDisconnectedError, match=r"worker:0:0"):
        invert(folder, 1, accident=accident)


def test_the_files_that_it_leaves(folder, expected):
    invert(folder, 2)
    versions = [f"phantom-Vp-{version:05d}.h5" for version in (1, 2, 3)]
    assert sorted(path.name for path in folder.glob("*.h5")) == [
        "phantom-Acquisitions.h5",
        *versions,
        "phantom-Vp.h5",
    ]
    with h5py.File(folder / "phantom-Vp-00003.h5") as file:
        assert file.attrs["protocol"] == "0.1"
        assert not file.attrs["is_array"]
        np.testing.assert_allclose(file["data"][()], expected[0], **TOLERANCE)
        np.testing.assert_allclose(file["history"][()], expected[1], rtol=1e-9)
        assert file["data"].attrs["is_ndarray"]
        assert file["history"].attrs["is_list"]
        assert list(file["space/shape"][()]) == [plain.ROWS, plain.COLUMNS]
    with h5py.File(folder / "phantom-Vp-00001.h5") as file:
        assert file["history"].shape == (1,)
    assert checkpoint.read(folder / "checkpoint-2")["iteration"] == 2


@pytest.mark.parametrize(
    ("launcher", "workers"), [("alone", 2), ("mrun", 1), ("mrun", 2), ("mrun", 4)]
)
def test_as_a_program(launcher, workers, folder, expected):
    command = [sys.executable, str(PROGRAM)]
    if launcher == "mrun":
        command = [*under_mrun("-nw", str(workers)), *command]
    else:
        command.append(str(workers))
    out, _ = run_in(folder, command, env=PLACE)
    said = dict(line.partition(" ")[::2] for line in out.splitlines())
    assert (said["workers"], said["mode"]) == (str(workers), "local")
    assert (said["received"], said["largest"]) == ("True", "True")
    assert (said["compiled"], said["helper"]) == ("kernel", "0")
    agrees(np.load(folder / "result.npy"), [float(v) for v in said["history"].split()], expected)


@pytest.mark.faults
def test_as_a_program_with_a_worker_killed_in_the_middle(folder, expected):
    command = [*under_mrun("-nw", "2"), sys.executable, str(PROGRAM)]
    run_in(folder, command, env=PLACE | {"ACOUSTIC_ACCIDENT": "adjoint"})
    assert (folder / "killed").exists()
    np.testing.assert_allclose(np.load(folder / "result.npy"), expected[0], **TOLERANCE)


def test_with_a_profile(folder, expected):
    path = folder / "run.profile"

    async def inverted(runtime):
        mosaic.profiler.start_trace()
        try:
            return await asyncio.wait_for(main(runtime, folder), 40)
        finally:
            mosaic.profiler.stop_trace()

    found = mosaic.run(inverted, num_workers=2, profile=str(path))
    agrees(found.vp, found.history, expected)
    assert found.network.traced
    functions = {name for _, name, *_ in model.build(tables.read(path)).functions}
    assert any("adjoint" in name for name in functions)
    assert not any("laplacian" in name or "make_sponge" in name for name in functions)


def test_as_a_notebook(folder, expected):
    async def cells():
        async with Kernel() as kernel:
            await kernel.run(f"""
                import os, mosaic, numpy as np
                from tests.programs.acoustic.inversion import main
                os.chdir({str(folder)!r})
            """)
            shown = await kernel.run("""
                runtime = await mosaic.interactive("on", num_workers=2)
                print(runtime.mode)
            """)
            assert shown.lines() == ["interactive"]
            await kernel.run('np.save("result.npy", (await main(runtime)).vp)')
            shown = await kernel.run('await mosaic.interactive("off"); print(mosaic.runtime())')
            assert shown.lines() == ["None"]
            kernel.assert_nothing_left()

    asyncio.run(cells())
    np.testing.assert_allclose(np.load(folder / "result.npy"), expected[0], **TOLERANCE)
