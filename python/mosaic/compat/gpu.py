"""Counts the GPUs that this process may use."""

from __future__ import annotations

import os
import re
import shutil
import sys

_VISIBLE = "CUDA_VISIBLE_DEVICES"

_NVIDIA_FOLDER = "/proc/driver/nvidia/gpus"
_DEVICE_FOLDER = "/dev"


def gpu_count() -> int | None:
    """Return how many NVIDIA GPUs this process may use: those of the machine, or fewer by ``CUDA_VISIBLE_DEVICES``.

    Returns
    -------
    int or None
        None where it cannot be told: the driver says nothing, and that variable is not set.
    """
    present = _present()
    visible = os.environ.get(_VISIBLE)
    if visible is None:
        return present
    named = _named(visible)
    return named if present is None else min(named, present)


def _named(visible: str) -> int:
    """Return how many devices a value of ``CUDA_VISIBLE_DEVICES`` names; CUDA stops at the first that is none."""
    count = 0
    for name in visible.split(","):
        if not re.fullmatch(r"\d+|(GPU|MIG)-[\w/-]+", name.strip()):
            break
        count += 1
    return count


def _present() -> int | None:
    for folder, pattern in ((_NVIDIA_FOLDER, r"[\da-fA-F:.]+"), (_DEVICE_FOLDER, r"nvidia\d+")):
        try:
            found = [name for name in os.listdir(folder) if re.fullmatch(pattern, name)]
        except OSError:
            continue
        if found:
            return len(found)
    program = shutil.which("nvidia-smi")
    if program is not None:
        return _ask(program)
    # Linux shows what its driver has in these folders: without any, there are none. A guest of Windows does not.
    return 0 if sys.platform == "linux" and not os.path.exists("/dev/dxg") else None


def _ask(program: str) -> int | None:
    """Return what the driver's own program says, None where it fails."""
    import subprocess

    try:
        done = subprocess.run(
            [program, "--list-gpus"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())
