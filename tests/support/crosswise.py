"""Packages whose imports by two threads meet for certain: each waits, while it is imported, for the other thread."""

import textwrap
from pathlib import Path

MEET = """
import os, sys, threading, time

locks = sys.modules["_frozen_importlib"]
armed = "MOSAIC_WORKER_UID" in os.environ
inside = threading.Barrier(2)
finished = threading.Event()

def waited_for(name):
    '''Return when another thread waits for this module; CPython tells nobody of that.'''
    if armed:
        open(os.path.join(os.environ["MEET_DIRECTORY"], name), "w").close()
        lock = locks._get_module_lock(name)
        end = time.monotonic() + 20
        while not lock.waiters and not finished.is_set():
            assert time.monotonic() < end, f"nobody waits for {name}"
            time.sleep(0.001)
"""

PACKAGE = """
import meet
meet.waited_for(__name__)
from {name}.child import Inner

class Outer:
    def ready(self):
        return READY

READY = 1
"""

CHILD = """
import {name}

class Inner:
    def ready(self):
        return {name}.READY
"""

CIRCULAR = """
import meet
meet.inside.wait(20)
import {other}
meet.waited_for(__name__)
VALUE = 1

def total():
    return VALUE + {other}.VALUE
"""


def write(directory: Path, name: str, text: str) -> None:
    """Write a module."""
    path = directory / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(textwrap.dedent(text))


def write_packages(directory: Path, *names: str) -> None:
    """Write packages that are not complete before another thread waits for them, and ``meet``, which they need."""
    write(directory, "meet.py", MEET)
    for name in names:
        write(directory, f"{name}/__init__.py", PACKAGE.format(name=name))
        write(directory, f"{name}/child.py", CHILD.format(name=name))


def write_circle(directory: Path, one: str, other: str) -> None:
    """Write two modules that import each other, each only when a thread is in the midst of the other one."""
    write(directory, f"{one}.py", CIRCULAR.format(other=other))
    write(directory, f"{other}.py", CIRCULAR.format(other=one))
