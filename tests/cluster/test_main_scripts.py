"""Programs: classes and functions of `__main__`, the ways of starting, clean ends."""

import pytest

from tests.support.scripts import run_script

CLASSES = """
import dataclasses
import enum
import mosaic

OFFSET = 100

class Colour(enum.Enum):
    RED = 1

@dataclasses.dataclass
class Shot:
    index: int

class NotedError(Exception):
    pass

def helper(x):
    return x + OFFSET

class Base:
    def base(self):
        return "base"

@mosaic.tessera
class Solver(Base):
    def __init__(self, shot):
        self.shot = shot

    def run(self, colour):
        assert isinstance(self.shot, Shot), type(self.shot)
        assert colour is Colour.RED
        return helper(self.shot.index), colour, super().base()

    def fail(self):
        raise NotedError("from main")

    async def ask(self, other):
        return await other.run(Colour.RED).result()
"""


def test_classes_of_main():
    out, _ = run_script(
        CLASSES
        + """
if __name__ == "__main__":
    async def main(runtime):
        solver = Solver.remote(Shot(7))
        value, colour, base = await solver.run(Colour.RED).result()
        assert (value, colour, base) == (107, Colour.RED, "base")
        assert colour is Colour.RED
        try:
            await solver.fail()
        except NotedError as error:
            assert error.args == ("from main",)
        else:
            raise SystemExit("not raised")
        assert (await solver.ask(Solver.remote(Shot(1))).result())[0] == 101
        assert await runtime.map(helper, [1, 2]) == [101, 102]
        print("all well")

    mosaic.run(main, num_workers=2)
"""
    )
    assert out.splitlines() == ["all well"]


def test_scripts_without_a_guard():
    # Workers must not run the script again.
    out, _ = run_script(
        CLASSES
        + """
print("once")
with mosaic.session(num_workers=2):
    print(Solver.remote(Shot(1)).run(Colour.RED).wait()[0])
"""
    )
    assert out.splitlines() == ["once", "101"]


def test_synchronous_init_and_stop():
    out, err = run_script(
        """
        import mosaic
        from tests.support.actors import Counter

        mosaic.init(num_workers=1)
        print(Counter.remote(1).add(1).wait())
        mosaic.stop()
        """
    )
    assert out.splitlines() == ["2"]
    assert err == ""


def test_forgetting_to_stop_leaves_nothing():
    out, err = run_script(
        """
        import mosaic
        from tests.support.actors import Counter

        mosaic.init(num_workers=1)
        counter = Counter.remote(1)
        print(counter.add(1).wait())
        """
    )
    assert out.splitlines() == ["2"]
    assert "Traceback" not in err


def test_an_exception_in_main_is_shown_once():
    _, err = run_script(
        """
        import mosaic

        async def main(runtime):
            raise LookupError("what went wrong")

        mosaic.run(main, num_workers=1)
        """,
        expect=1,
    )
    assert err.count("LookupError: what went wrong") == 1
    assert err.count("Traceback") == 1


@pytest.mark.parametrize("code", [0, 3])
def test_sys_exit_in_main(code):
    _, err = run_script(
        f"""
        import sys
        import mosaic

        async def main(runtime):
            await runtime.submit(int).result()
            sys.exit({code})

        mosaic.run(main, num_workers=1)
        """,
        expect=code,
    )
    assert "Traceback" not in err


def test_os_exit_in_the_driver_leaves_nothing():
    run_script(
        """
        import os
        import mosaic

        mosaic.init(num_workers=2)
        mosaic.runtime().submit(int).wait()
        os._exit(4)
        """,
        expect=4,
    )


def test_methods_that_still_run_at_the_end_have_time_to_end():
    run_script(
        """
        import time
        import mosaic
        from tests.support.rendezvous import Flag

        started, ended = Flag("started"), Flag("ended")

        def work():
            started.set()
            time.sleep(0.5)  # the work
            ended.set()

        with mosaic.session(num_workers=1) as runtime:
            task = runtime.submit(work)
            started.wait()
        assert ended.is_set()
        """
    )


def test_methods_that_still_run_after_that_are_ended():
    run_script(
        """
        import mosaic
        from tests.support.actors import Blocker
        from tests.support.rendezvous import Flag

        with mosaic.session(num_workers=1):
            Blocker.remote().until(Flag("started"), Flag("never"))
            Flag("started").wait()
        """,
        timeout=15,
    )


def test_standard_input_code():
    out, _ = run_script(
        """
        import subprocess
        import sys

        code = '''
        import mosaic

        @mosaic.tessera
        class Cell:
            def hello(self):
                return 42

        with mosaic.session(num_workers=1):
            print(Cell.remote().hello().wait())
        '''
        import textwrap
        subprocess.run([sys.executable, "-"], input=textwrap.dedent(code).encode(), check=True)
        subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
        """
    )
    assert out.split() == ["42", "42"]


def test_modules_beside_the_script():
    out, _ = run_script(
        """
        import pathlib
        import sys

        pathlib.Path("beside.py").write_text(
            "import mosaic\\n"
            "@mosaic.tessera\\n"
            "class Beside:\\n"
            "    def hello(self):\\n"
            "        return __name__\\n"
        )
        pathlib.Path("sub").mkdir()
        pathlib.Path("sub/inserted.py").write_text("def f():\\n    return 'inserted'\\n")
        sys.path.insert(0, "sub")
        import beside
        import inserted
        import mosaic

        with mosaic.session(num_workers=1) as runtime:
            print(beside.Beside.remote().hello().wait())
            print(runtime.submit(inserted.f).wait())
        """
    )
    assert out.split() == ["beside", "inserted"]


def test_running_as_a_module():
    out, _ = run_script(
        """
        import pathlib
        import subprocess
        import sys

        pathlib.Path("package").mkdir()
        pathlib.Path("package/__init__.py").touch()
        pathlib.Path("package/__main__.py").write_text(
            "import mosaic\\n"
            "from . import other\\n"
            "@mosaic.tessera\\n"
            "class Main:\\n"
            "    def hello(self):\\n"
            "        return other.NAME\\n"
            "with mosaic.session(num_workers=1):\\n"
            "    print(Main.remote().hello().wait())\\n"
        )
        pathlib.Path("package/other.py").write_text("NAME = 'other'\\n")
        subprocess.run([sys.executable, "-m", "package"], check=True)
        """
    )
    assert out.split() == ["other"]


def test_uvloop():
    pytest.importorskip("uvloop")
    out, _ = run_script(
        """
        import asyncio
        import uvloop
        import mosaic
        from tests.support.actors import Counter

        async def main():
            counter = Counter.remote()
            values = await asyncio.gather(*(counter.add(1).result() for _ in range(500)))
            print(values == list(range(1, 501)))

        with mosaic.session(num_workers=1):
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(main())
        """
    )
    assert out.split() == ["True"]
