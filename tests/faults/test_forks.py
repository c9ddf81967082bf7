"""Drivers fork: helpers, pools, compilers. The child has no runtime, the parent keeps its own."""

import pytest

from tests.support.scripts import run_script

pytestmark = pytest.mark.faults

HEAD = """
import os
import sys
import warnings
# CPython itself warns of forks in processes with threads.
warnings.filterwarnings("ignore", category=DeprecationWarning)
import mosaic
from tests.support.actors import Counter
"""


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)", "pass"])
def test_a_child_that_ends_harms_nobody(end):
    out, err = run_script(
        HEAD
        + f"""
def main():
    with mosaic.session(num_workers=1):
        counter = Counter.remote(1)
        counter.add(1).wait()
        child = os.fork()
        if child == 0:
            {end}
            return
        os.waitpid(child, 0)
        print(counter.add(1).wait())

main()
"""
    )
    assert out.split() == ["3"]
    assert "Traceback" not in err


def test_mosaic_in_the_child_is_an_error_and_no_hang():
    out, _ = run_script(
        HEAD
        + """
mosaic.init(num_workers=1)
counter = Counter.remote(1)
task = counter.add(1)
task.wait()
child = os.fork()
if child == 0:
    for use in (lambda: counter.add(1).wait(10), lambda: Counter.remote().value().wait(10)):
        try:
            use()
        except (mosaic.MosaicError, RuntimeError) as error:
            print("told:", type(error).__name__, flush=True)
        except BaseException as error:
            print("odd:", type(error).__name__, error, flush=True)
        else:
            print("answered", flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(counter.add(1).wait())
mosaic.stop()
"""
    )
    assert out.count("told:") == 2, out
    assert out.split()[-1] == "3"


def test_pools_and_processes():
    out, _ = run_script(
        HEAD
        + """
import multiprocessing
import subprocess

def square(x):
    return x * x

if __name__ == "__main__":
    with mosaic.session(num_workers=1):
        counter = Counter.remote(1)
        counter.add(1).wait()
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map(square, range(4)))
        subprocess.run(["true"], check=True)
        print(counter.add(1).wait())
"""
    )
    assert out.splitlines() == ["[0, 1, 4, 9]", "3"]


def test_children_of_the_program_are_its_own():
    # A helper forked before the runtime lives on, and its end is not stolen.
    out, _ = run_script(
        HEAD
        + """
import subprocess

helper = subprocess.Popen([sys.executable, "-c", "input(); raise SystemExit(7)"],
                          stdin=subprocess.PIPE)
with mosaic.session(num_workers=1):
    assert Counter.remote(1).add(1).wait() == 2
    assert helper.poll() is None
helper.communicate(b"\\n")
print(helper.returncode)
"""
    )
    assert out.split() == ["7"]


def test_a_runtime_in_a_forked_child():
    # Forked before any runtime was there, a child may have one of its own.
    out, _ = run_script(
        HEAD
        + """
child = os.fork()
if child == 0:
    with mosaic.session(num_workers=1):
        print(Counter.remote(1).add(1).wait(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
with mosaic.session(num_workers=1):
    print(Counter.remote(1).add(2).wait())
"""
    )
    assert out.split() == ["2", "3"]


def test_forks_inside_methods():
    out, _ = run_script(
        HEAD
        + """
import subprocess

def fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    subprocess.run(["true"], check=True)
    return "forked"

with mosaic.session(num_workers=1) as runtime:
    print(runtime.submit(fork).wait(20), runtime.submit(abs, -1).wait(20))
"""
    )
    assert out.split() == ["forked", "1"]


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)"])
def test_arrays_of_the_parent_are_the_parents(end):
    out, _ = run_script(
        HEAD
        + f"""
import asyncio
import gc
import sys
import numpy as np

COUNT = 1_000_000

class Arrays:
    pass

with mosaic.session(num_workers=1, warehouse_memory="40MB") as runtime:
    own = Arrays()
    own.made = mosaic.empty(COUNT)
    own.made[:] = 1
    own.passed = mosaic.empty(COUNT)
    own.passed[:] = 2
    own.task = runtime.submit(np.sum, own.passed)
    own.received = runtime.submit(np.full, COUNT, 3.0).wait()
    # Some of these are on disk.
    references = [runtime.put(np.full(COUNT, float(value))) for value in range(4, 9)]
    before = asyncio.run(runtime.memory())
    child = os.fork()
    if child == 0:
        own.received[:] = 0
        own.passed[:] = 0
        own = references = None
        gc.collect()
        {end}
    assert os.waitpid(child, 0)[1] == 0
    after = asyncio.run(runtime.memory())
    assert before.taken == after.taken, (before.taken, after.taken)
    assert len(before.buffers) == len(after.buffers)
    print(own.task.wait(), own.made.sum(), own.passed.sum(), own.received.sum())
    print(*(reference.wait().sum() for reference in references))
"""
    )
    numbers = [float(word) for word in out.split()]
    assert numbers == [2e6, 1e6, 2e6, 3e6, 4e6, 5e6, 6e6, 7e6, 8e6]
