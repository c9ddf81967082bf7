"""Utilities of mosaic 1.2 where a network runs: sizes, `Struct` and files as arguments, the end of a worker."""

import numpy as np
import pytest

import mosaic
from mosaic import h5
from mosaic.types import Struct
from mosaic.utils import MultiError, memory_limit, remote_sizeof
from tests.support.scripts import run_script


@mosaic.tessera
class Reader:
    def describe(self, content):
        return type(content).__name__, content.space.shape, float(content.data[1])

    def make(self, length):
        return np.zeros(length)

    def pair(self):
        return np.zeros(1000), "text"

    def fail(self):
        errors = MultiError()
        for text in ("one", "two"):
            try:
                int(text)
            except ValueError as error:
                errors.add(error)
        errors.raise_if_any()


async def test_a_struct_goes_to_a_worker(runtime):
    content = Struct({"space": {"shape": (3, 4)}, "data": np.arange(3.0)}, mutable=False)
    assert await Reader.remote().describe(content).result() == ("Struct", (3, 4), 1.0)
    ref = await runtime.put(content)
    stored = await ref.value()
    assert (stored.space, repr(stored)[-15:]) == ({"shape": (3, 4)}, repr(content)[-15:])


async def test_what_was_loaded_lazily_goes_as_it_is(runtime, tmp_path):
    h5.write(tmp_path / "file.h5", {"space": {"shape": (3, 4)}, "data": np.arange(100_000.0)})
    with h5.HDF5(tmp_path / "file.h5") as file:
        content = file.load()
        assert await Reader.remote().describe(content).result() == ("Struct", (3, 4), 1.0)


async def test_sizes_of_what_lies_elsewhere(runtime):
    reader = Reader.remote()
    task = reader.make(1000)
    ref = await runtime.put(np.zeros(2000))
    everything = [task, {"ref": ref}, (np.zeros(100),), task.done]
    sizes = remote_sizeof(everything, pending=True)
    assert isinstance(sizes, int)
    total = await sizes
    assert 3100 * 8 <= total < 3100 * 8 + 2000
    # Now that it is known, it is known at once.
    assert remote_sizeof(everything) == total
    pair = reader.pair()
    assert await remote_sizeof(pair.outputs[1]) == await pair.size() >= 8000
    many = Reader.remote(len=2).make(1000)
    assert await remote_sizeof(many) >= 2 * 8000


async def test_several_errors_of_a_method_arrive_as_one(runtime):
    with pytest.raises(MultiError) as raised:
        await Reader.remote().fail()
    assert [type(one) for one in raised.value] == [ValueError, ValueError]
    assert "invalid literal for int() with base 10: 'two'" in str(raised.value)
    assert str(raised.value).count("in fail") == 2


async def test_workers_have_the_same_memory(runtime):
    assert await runtime.submit(memory_limit).result() == memory_limit()


def test_the_log_level_is_read_late():
    out, _ = run_script(
        """
        import mosaic
        from mosaic.utils import logger

        def level():
            from mosaic.utils import logger
            return logger.log_level

        if __name__ == "__main__":
            print(logger.log_level)
            with mosaic.session(num_workers=1, log_level="error") as runtime:
                print(logger.log_level, runtime.submit(level).wait())
            logger.clear_logger()
            print(logger.log_level)
        """
    )
    assert out.split() == ["perf", "error", "error", "perf"]


def test_at_exit_in_a_worker():
    out, err = run_script(
        """
        import mosaic

        @mosaic.tessera
        class Leaver:
            def register(self):
                mosaic.utils.at_exit.add(lambda: print("the worker left", flush=True))

        if __name__ == "__main__":
            mosaic.utils.at_exit.add(lambda: print("the driver left"))
            with mosaic.session(num_workers=1):
                Leaver.remote().register().wait()
        """
    )
    assert "the worker left" in out + err
    assert "the driver left" in out
