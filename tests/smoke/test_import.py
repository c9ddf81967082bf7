"""The first thing that anybody does with mosaic: import it."""

import importlib
import importlib.metadata
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import mosaic

ROOT = Path(__file__).resolve().parents[2]

TOP_LEVEL = [
    "tessera",
    "init",
    "run",
    "stop",
    "session",
    "runtime",
    "logger",
    "clear_runtime",
    "interactive",
    "gather",
    "profiler",
    "MosaicError",
    "RuntimeDisconnectedError",
    "ObjectLostError",
    "MemoryOverflowError",
    "RemoteError",
    "AuthenticationError",
    "BackpressureError",
    "__version__",
]


def python(*arguments: str, **environment: str) -> str:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | environment
    done = subprocess.run(
        [sys.executable, *arguments],
        env=env,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_top_level_names(name):
    assert getattr(mosaic, name) is not None


def test_names_are_listed():
    assert set(TOP_LEVEL) - {"__version__"} <= set(dir(mosaic))


def test_commands_of_the_package_are_there():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert "mprof" in scripts
    for place in scripts.values():
        module, _, name = place.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_version_is_the_packages():
    assert mosaic.__version__ == importlib.metadata.version("mosaic")


def test_it_is_typed_and_compiled():
    home = Path(mosaic.__file__).parent
    assert (home / "py.typed").exists()
    assert (home / "_core.pyi").exists()
    core = importlib.import_module("mosaic._core")
    assert core.__file__.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))


def test_import_is_silent_and_warns_of_nothing():
    assert python("-W", "error", "-c", "import mosaic") == ""


def test_import_starts_nothing():
    out = python(
        "-c",
        "import os, threading, mosaic\n"
        "print(threading.active_count(), len(os.listdir('/proc/self/task')))\n"
        "print(mosaic.runtime())",
    )
    assert out.split() == ["1", "1", "None"]


def test_import_leaves_heavy_packages_alone():
    out = python("-c", "import sys, mosaic; print(*sys.modules)")
    heavy = {
        "mosaic.profile",
        "mosaic.launcher.recording",
        "matplotlib",
        "h5py",
        "scipy",
        "pandas",
        "skimage",
        "multiprocessing.pool",
        "psutil",
    }
    assert not heavy & set(out.split())


def test_notebooks_cost_nothing_elsewhere():
    out = python(
        "-c",
        "import sys, mosaic\n"
        "with mosaic.session(num_workers=1) as runtime:\n"
        "    print(*runtime.submit(lambda: list(__import__('sys').modules)).wait(), *sys.modules)",
    )
    notebooks = {"IPython", "ipykernel", "mosaic.notebook.cells", "mosaic.notebook.stdio"}
    assert not notebooks & set(out.split())


def test_signal_handlers_stay():
    out = python(
        "-c",
        "import signal\n"
        "before = {n: signal.getsignal(n) for n in signal.valid_signals()}\n"
        "import mosaic\n"
        "print([n for n, h in before.items() if signal.getsignal(n) is not h])",
    )
    assert out.strip() == "[]"


def test_a_wheel_imports_from_anywhere(tmp_path):
    wheels = sorted((ROOT / "dist").glob("mosaic-*.whl"), key=lambda p: p.stat().st_mtime)
    if not wheels:
        pytest.skip("no wheel in dist/")
    with zipfile.ZipFile(wheels[-1]) as wheel:
        names = wheel.namelist()
        wheel.extractall(tmp_path)
    assert "mosaic/py.typed" in names
    assert not [n for n in names if n.startswith(("tests/", "rust/", "benches/"))]
    out = python("-c", "import mosaic; print(mosaic.__file__)", PYTHONPATH=str(tmp_path))
    assert out.startswith(str(tmp_path))
