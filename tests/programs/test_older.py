"""Programs in the manner of mosaic 1.2 compute what plain NumPy computes."""

import sys
from pathlib import Path

import pytest

from tests.support.scripts import ROOT, run_in

FOLDER = Path(__file__).with_name("older")


@pytest.mark.parametrize("name", ["adjoint", "kept", "restarted"])
def test_as_plain_numpy(name, tmp_path):
    # It compares by itself, and exits with 1 where the two differ.
    command = [sys.executable, str(FOLDER / f"{name}.py")]
    out, _ = run_in(tmp_path, command, env={"PYTHONPATH": str(ROOT)})
    assert out
