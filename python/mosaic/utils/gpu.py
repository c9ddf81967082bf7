"""How many GPUs this process may use."""

from __future__ import annotations

import os
import re
import sys

_VISIBLE = "CUDA_VISIBLE_DEVICES"

_NVIDIA_FOLDER = "/proc/driver/nvidia/gpus"


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
    for folder, pattern in ((_NVIDIA_FOLDER, r"[\da-fA-F:.]+"), ("/dev", r"nvidia\d+")):
        try:
            found = [name for name in os.listdir(folder) if re.fullmatch(pattern, name)]
        except OSError:
            continue
        if found:
            return len(found)
    asked = _ask_driver()
    if asked is not None:
        return asked
    # Linux shows the devices of its driver in these folders: without any, there are none.
    return (
        0 if sys.platform == "linux" and os.path.isdir("/proc/driver") and not _is_wsl() else None
    )


def _is_wsl() -> bool:
    return os.path.exists("/dev/dxg")


def _ask_driver() -> int | None:
    """Return what the driver's own program says, None where it is not there or fails."""
    import shutil
    import subprocess

    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "--list-gpus"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())
