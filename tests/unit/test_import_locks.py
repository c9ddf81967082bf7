"""Imports of several threads at once by `mosaic.serialise.import_locks`, each in a process of its own."""

import subprocess
import sys
import textwrap

import pytest

from tests.support import crosswise

HEAD = """
import importlib, sys, threading, traceback
from mosaic.serialise import import_locks
import_locks.install()
import meet
meet.armed = True

def threads(*functions):
    found = [None] * len(functions)

    def run(place, function):
        try:
            found[place] = function()
        except BaseException as error:
            traceback.print_exc()
            found[place] = error

    started = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(functions)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(20)
        assert not thread.is_alive(), "a thread hangs"
    assert not import_locks._waits and not import_locks._importing and not import_locks._starters
    return found
"""


@pytest.fixture
def run(tmp_path):
    def run(text: str) -> list[str]:
        (tmp_path / "begun").mkdir()
        done = subprocess.run(
            [sys.executable, "-c", HEAD + textwrap.dedent(text)],
            env={"PYTHONPATH": str(tmp_path), "MEET_DIRECTORY": str(tmp_path / "begun")},
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    crosswise.write_packages(tmp_path, "pa", "pb")
    crosswise.write_circle(tmp_path, "left", "right")
    return run


def test_imp_1_packages_are_complete_before_their_modules_begin(run):
    out = run("""
    import os, time

    def part(name):
        # The other thread is in the midst of the package.
        while not os.path.exists(os.path.join(os.environ["MEET_DIRECTORY"], name)):
            time.sleep(0.001)
        return importlib.import_module(f"{name}.child").Inner().ready()

    print(threads(lambda: __import__("pa").READY, lambda: part("pa")))
    print(threads(lambda: importlib.import_module("pb").READY, lambda: part("pb")))
    """)
    assert out == ["[1, 1]"] * 2


@pytest.mark.parametrize("way", ["__import__", "importlib.import_module"])
def test_imp_2_and_3_a_circle_of_modules_ends_complete_in_both_threads(run, way):
    out = run(f"print(threads(lambda: {way}('left').total(), lambda: {way}('right').total()))")
    assert out == ["[2, 2]"]


def test_imp_3_a_module_in_between_finds_the_circle_complete(run, tmp_path):
    crosswise.write(tmp_path, "above.py", "import right\nTOTAL = right.total()\n")
    out = run(
        "print(threads(lambda: __import__('left').total(), lambda: __import__('above').TOTAL))"
    )
    assert out == ["[2, 2]"]


def test_imp_4_a_module_may_join_threads_that_import_its_parts(run, tmp_path):
    crosswise.write(
        tmp_path,
        "boss/__init__.py",
        """
        import threading
        from concurrent.futures import ThreadPoolExecutor
        from importlib import import_module

        with ThreadPoolExecutor(2) as pool:
            VALUES = [module.VALUE for module in pool.map(import_module, ["boss.one", "boss.two"])]
        """,
    )
    for name in ("one", "two"):
        crosswise.write(tmp_path, f"boss/{name}.py", f"VALUE = {name!r}")
    assert run("print(threads(lambda: __import__('boss').VALUES))") == ["[['one', 'two']]"]


def test_errors_of_imports_are_those_of_python(run, tmp_path):
    crosswise.write(tmp_path, "faulty/__init__.py", "")
    crosswise.write(tmp_path, "faulty/part.py", "def fail():\n    raise ValueError('no')\nfail()\n")
    out = run("""
    def fail(name):
        try:
            exec(f"import {name}")
        except Exception as error:
            names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
            print(type(error).__name__, error, names)

    fail("faulty.part")
    fail("faulty.none")
    fail("nowhere.part")
    fail("meet.part")
    """)
    assert out == [
        "ValueError no ['fail', '<module>', '<module>', 'fail']",
        "ModuleNotFoundError No module named 'faulty.none' ['fail', '<module>']",
        "ModuleNotFoundError No module named 'nowhere' ['fail', '<module>']",
        "ModuleNotFoundError No module named 'meet.part'; 'meet' is not a package ['fail', '<module>']",
    ]
