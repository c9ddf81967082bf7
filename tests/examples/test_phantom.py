"""Maps of the speed of sound: the built-in one, the readers and what they refuse."""

import h5py
import numpy as np
import pytest
from PIL import Image

from examples.ultrasound_tomography.grid import Grid
from examples.ultrasound_tomography.phantom import (
    SPEED_BOUNDS,
    Phantom,
    PhantomError,
    load,
    shepp_logan,
)


@pytest.fixture
def tissue():
    """A slow disc off the middle of water at 1490 m/s."""
    y, x = np.mgrid[:40, :50]
    return np.where(np.hypot(y - 15, x - 25) < 8, 1450.0, 1490.0)


def write_hdf5(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, value in datasets.items():
            file[name.replace("__", "/")] = value
    return path


def test_built_in_phantom_is_soft_tissue_in_water():
    phantom = shepp_logan()
    assert phantom.speed[0, 0] == phantom.water == 1500
    assert phantom.speed.min() == 1480
    assert phantom.speed.max() == 1570
    assert phantom.fits(0.074)


def test_npy(tmp_path, tissue):
    path = tmp_path / "model.npy"
    np.save(path, tissue.astype(np.float32))
    phantom = load(path)
    assert np.array_equal(phantom.speed, tissue)
    assert phantom.water == 1490
    assert phantom.spacing == pytest.approx(0.15 / 50)
    assert load(path, width=0.1).spacing == pytest.approx(0.1 / 50)


def test_hdf5_with_its_spacing(tmp_path, tissue):
    path = write_hdf5(tmp_path / "model.h5", data=tissue, other=tissue, space__spacing=[1e-3, 1e-3])
    phantom = load(path)
    assert np.array_equal(phantom.speed, tissue)
    assert phantom.spacing == 1e-3
    assert load(path, width=0.1).spacing == pytest.approx(0.1 / 50)


def test_hdf5_with_one_map_of_any_name(tmp_path, tissue):
    path = write_hdf5(tmp_path / "model.hdf5", group__speed=tissue, axis=np.arange(3))
    assert np.array_equal(load(path).speed, tissue)


@pytest.mark.parametrize("mode", ["L", "I;16", "F", "RGB", "RGBA", "P"])
def test_pictures_spread_grey_levels(tmp_path, mode):
    levels = np.zeros((20, 30), np.uint8)
    levels[5:15, 10:20] = 255
    if mode in {"I;16", "F"}:
        deep = (levels // 255).astype(np.float32) if mode == "F" else levels.astype(np.uint16) * 257
        picture = Image.fromarray(deep)
    else:
        picture = Image.fromarray(levels).convert(mode)
    path = tmp_path / ("model.tif" if mode == "F" else "model.png")
    picture.save(path)
    phantom = load(path)
    assert phantom.speed.shape == (20, 30)
    assert phantom.speed[0, 0] == phantom.water == 1500
    assert phantom.speed[10, 15] == pytest.approx(1570)


def test_transparent_is_water(tmp_path):
    path = tmp_path / "model.png"
    Image.new("RGBA", (30, 20), (255, 255, 255, 0)).save(path)
    assert np.all(load(path).speed == 1500)


def bad_array(name, value, message):
    return pytest.param(name, value, message, id=message.replace(" ", "-"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        bad_array("a.npy", np.full((20, 20), 1.5), "multiply by 1000"),
        bad_array("a.npy", np.full((20, 20), 0.0), "not speeds in m/s"),
        bad_array("a.npy", np.full((20, 20), 3000.0), "soft tissue"),
        bad_array("a.npy", np.full((20, 20, 20), 1500.0), "two dimensions"),
        bad_array("a.npy", np.full((20, 2), 1500.0), "too small"),
        bad_array("a.npy", np.full((20, 20), np.nan), "NaN"),
        bad_array("a.npy", np.full((20, 20), 1500j), "real numbers"),
        bad_array("a.npy", np.array([{}]), "cannot be read"),
        bad_array("a.txt", np.full((20, 20), 1500.0), "unknown kind of file"),
    ],
)
def test_what_cannot_be_a_map_is_refused(tmp_path, name, value, message):
    path = tmp_path / name
    with path.open("wb") as file:
        np.save(file, value, allow_pickle=True)
    with pytest.raises(PhantomError, match=message) as error:
        load(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ["a.npy", "a.h5", "a.png", "a.tif", "a.jpg"])
@pytest.mark.parametrize("content", [b"", b"this is no such file\n" * 10], ids=["empty", "text"])
def test_broken_files_are_refused(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(PhantomError, match="cannot be read") as error:
        load(path)
    assert "\n" not in str(error.value)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(PhantomError, match="no such file"):
        load(tmp_path / "nothing.h5")


def test_hdf5_that_leaves_a_choice_is_refused(tmp_path, tissue):
    path = write_hdf5(tmp_path / "two.h5", first=tissue, second=tissue)
    with pytest.raises(PhantomError, match=r"found: first, second"):
        load(path)
    with pytest.raises(PhantomError, match="found: none"):
        load(write_hdf5(tmp_path / "none.h5", axis=np.arange(3)))


@pytest.mark.parametrize("spacing", [[1e-3, 2e-3], [0, 0], ["x", "y"]], ids=str)
def test_hdf5_with_impossible_spacing_is_refused(tmp_path, tissue, spacing):
    path = write_hdf5(tmp_path / "model.h5", data=tissue, space__spacing=spacing)
    with pytest.raises(PhantomError, match="must be positive, the same both ways"):
        load(path)


def test_sampling_keeps_place_and_size():
    speed = np.full((60, 60), 1500.0)
    speed[10:20, 30:50] = 1540.0  # 10 x 20 mm, its middle 15 mm above and 10 mm right
    grid = Grid(cells=81, spacing=2e-3, sponge=5, time_step=1e-7, num_steps=1)
    contrast = Phantom(speed, 1e-3).sample(grid, radius=0.07) - 1500
    mass = contrast.sum()
    assert mass * grid.spacing**2 == pytest.approx(40 * 0.010 * 0.020, rel=1e-3)
    assert (contrast.sum(axis=1) @ grid.axis) / mass == pytest.approx(-0.015, abs=1e-5)
    assert (contrast.sum(axis=0) @ grid.axis) / mass == pytest.approx(0.010, abs=1e-5)


def test_there_is_water_beyond_the_disc():
    grid = Grid(cells=41, spacing=1e-3, sponge=5, time_step=1e-7, num_steps=1)
    phantom = Phantom(np.full((100, 100), 1550.0), 1e-3, water=1480.0)
    sampled = phantom.sample(grid, radius=0.01)
    assert np.all(sampled[grid.radius >= 0.01] == 1480)
    assert np.allclose(sampled[grid.radius < 0.01], 1550)
    assert not phantom.fits(0.01)
    assert SPEED_BOUNDS[0] < sampled.min() <= sampled.max() < SPEED_BOUNDS[1]
