"""Functions in a process of their own."""

import gc
import os
import signal
import subprocess
import sys
import time

import pytest

import mosaic
from tests.support.rendezvous import Flag, eventually
from tests.support.scripts import Script


def test_a_function_runs_elsewhere():
    def describe(value, *, scale):
        print("from the function")
        return os.getpid(), value * scale

    process = mosaic.subprocess(describe, start=True)(3, scale=4)
    pid, value = process.result()
    assert pid == process.pid != os.getpid()
    assert value == process.result()[1] == 12
    assert process.join() == 0
    assert not process.is_alive()
    assert "describe" in repr(process)


def test_as_a_decorator_and_by_the_utilities_name():
    @mosaic.utils.subprocess
    def big():
        return bytes(1_000_000)

    process = big()
    process.start_process()
    assert len(process.result()) == 1_000_000


def test_a_failure_arrives():
    process = mosaic.subprocess(int, start=True)("three")
    with pytest.raises(ValueError, match="three") as raised:
        process.result()
    assert "Remote traceback" in "".join(raised.value.__notes__)


def test_a_process_that_ends_without_a_result_says_how():
    with pytest.raises(
        RuntimeError, match=r"_exit, process \d+, ended with code 3, without a result"
    ):
        mosaic.subprocess(os._exit, start=True)(3).result()
    process = mosaic.subprocess(time.sleep, name="sleeper", start=True)(1000)
    with pytest.raises(TimeoutError, match="sleeper still runs after"):
        process.join(0.01)
    assert process.is_alive()
    process.kill()
    with pytest.raises(RuntimeError, match=r"sleeper, process .* killed by signal 9"):
        process.result()


def test_it_is_terminated():
    process = mosaic.subprocess(time.sleep, start=True)(1000)
    process.terminate()
    assert process.join() == -signal.SIGTERM


def test_one_that_is_forgotten_goes_on(tmp_path):
    done = Flag(tmp_path / "done")
    mosaic.subprocess(done.set, start=True)()
    gc.collect()
    done.wait()
    for process in list(mosaic.utils.subprocess._running):
        process.join()


def test_a_large_result_needs_no_reader():
    process = mosaic.subprocess(bytes, start=True)(1_000_000)
    assert process.join(20) == 0
    assert len(process.result()) == 1_000_000


def test_sys_exit_is_its_end():
    process = mosaic.subprocess(sys.exit, start=True)(5)
    with pytest.raises(RuntimeError, match=r"exit, process .* ended with code 5"):
        process.result()


def test_a_result_that_cannot_be_pickled_says_so():
    with pytest.raises(TypeError, match="frame"):
        mosaic.subprocess(sys._getframe, start=True)().result()


def test_only_functions():
    with pytest.raises(TypeError, match=r"takes a function, not 'ls': see subprocess\.run"):
        mosaic.subprocess("ls")


def test_the_rest_is_pythons():
    assert mosaic.subprocess.run is subprocess.run
    assert mosaic.utils.subprocess.PIPE is subprocess.PIPE
    with pytest.raises(AttributeError):
        mosaic.subprocess.nothing  # noqa: B018 - it raises


def test_it_ends_with_who_started_it():
    text = """
        import os, signal, time, mosaic

        def wait(path):
            open(path, "w").close()
            time.sleep(1000)

        process = mosaic.subprocess(wait, start=True)(os.path.abspath("waits"))
        print(process.pid, flush=True)
        time.sleep(1000)
        """
    with Script(text) as script:
        script.wait_for_flag("waits")
        assert len(script.processes()) == 2
        script.send(signal.SIGKILL)
        script.wait()
        eventually(lambda: not script.processes(), "its end", 5)


def test_starting_one_imports_neither_a_pool_nor_numpy():
    code = (
        "import sys, mosaic\n"
        "seen = lambda: 'numpy' in __import__('sys').modules\n"
        "print(mosaic.subprocess(seen, start=True)().result())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
