"""How many GPUs there are."""

import pytest

from mosaic.compat import gpu
from mosaic.utils import gpu_count


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Pretend what the driver shows: a function that takes the files in its folder, and what its program prints."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def pretend(cards=(), devices=(), listing=None):
        folder = tmp_path / "gpus"
        folder.mkdir()
        for card in cards:
            (folder / card).mkdir()
        monkeypatch.setattr(gpu, "_NVIDIA_FOLDER", str(folder))
        monkeypatch.setattr(gpu, "_DEVICE_FOLDER", str(tmp_path / "dev"))
        (tmp_path / "dev").mkdir()
        for device in devices:
            (tmp_path / "dev" / device).touch()
        path = tmp_path / "bin"
        path.mkdir()
        if listing is not None:
            program = path / "nvidia-smi"
            program.write_text(f"#!/bin/sh\n{listing}\n")
            program.chmod(0o755)
        monkeypatch.setenv("PATH", str(path))

    return pretend


CARDS = ("0000:01:00.0", "0000:02:00.0", "0000:a1:00.0")


def test_those_that_the_driver_shows(machine):
    machine(cards=CARDS)
    assert gpu_count() == 3


def test_those_among_the_devices(machine):
    machine(devices=("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"))
    assert gpu_count() == 2


def test_those_that_its_program_lists(machine):
    machine(listing="echo 'GPU 0: A card (UUID: GPU-1)'; echo 'GPU 1: A card (UUID: GPU-2)'")
    assert gpu_count() == 2


def test_a_program_that_fails_says_nothing(machine):
    machine(listing="exit 9")
    assert gpu_count() is None


def test_a_machine_without_a_driver_has_none(machine):
    machine()
    assert gpu_count() == 0


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("0", 1),
        ("2,0", 2),
        ("", 0),
        ("-1", 0),
        ("0,-1,1", 1),
        ("0,1,2,3,4", 3),
        ("GPU-8932f937-d7,1", 2),
    ],
)
def test_the_environment_hides_some(machine, monkeypatch, visible, expected):
    machine(cards=CARDS)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_count() == expected


def test_the_environment_alone(machine, monkeypatch):
    machine(listing="exit 9")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert gpu_count() == 2
