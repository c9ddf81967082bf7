"""What workers take over of the driver's program: arguments, warnings' filters, log levels, the recursion limit."""

import sys
import warnings

import pytest

from mosaic.runtime import interpreter
from tests.support.scripts import run_script

PROGRAM = """
import json, logging, sys, warnings
import mosaic

class OwnWarning(UserWarning):
    pass

def look():
    import logging
    with warnings.catch_warnings(record=True) as seen:
        warnings.warn("this one is left out", stacklevel=1)
        warnings.warn("this one is seen", stacklevel=1)
        warnings.warn("mine", OwnWarning, stacklevel=1)
        warnings.warn("not shown by default", DeprecationWarning, stacklevel=1)
    main = sys.modules["__main__"]
    return {
        "argv": sys.argv,
        "file": main.__file__,
        "recursion": sys.getrecursionlimit(),
        "warnings": [str(one.message) for one in seen],
        "levels": [logging.getLogger(name).level for name in ("", "quiet", "loud", "mosaic")],
        "disabled": logging.root.manager.disable,
    }

async def main(runtime):
    before = look()
    (after,) = await runtime.map(look_there, [0])
    print(json.dumps([before, after]))

def look_there(_):
    return look()

if __name__ == "__main__":
    sys.setrecursionlimit(4321)
    logging.getLogger("quiet").setLevel(logging.ERROR)
    logging.getLogger("loud").setLevel(7)
    logging.disable(3)
    warnings.simplefilter("always")
    warnings.filterwarnings("ignore", message="this one is (left|not)")
    warnings.filterwarnings("ignore", category=OwnWarning)
    mosaic.run(main, num_workers=1)
"""


@pytest.mark.parametrize(
    "under", [(), ("-m", "mosaic.cli.mrun", "-nw", "1")], ids=["alone", "mrun"]
)
def test_a_worker_has_the_surroundings_of_the_driver(under):
    import json

    prefix = (sys.executable, *under) if under else ()
    arguments = ("--grid", "a b", "-c", "naïve \udcff")
    out, _ = run_script(PROGRAM, *arguments, under=prefix)
    before, after = json.loads(out.splitlines()[-1])
    assert after == before
    assert before["argv"][1:] == list(arguments)
    assert before["file"].endswith("script.py")
    assert before["recursion"] == 4321
    assert before["warnings"] == ["this one is seen", "not shown by default"]
    assert before["levels"] == [19, 40, 7, 19]


def test_a_replacement_has_them_too():
    out, _ = run_script(
        """
        import os, sys
        import mosaic

        def arguments():
            return os.getpid(), sys.argv[1:]

        async def main(runtime):
            pid, _ = await runtime.submit(arguments).result()
            os.kill(pid, 9)
            await runtime.wait_for_workers(1, 20)
            while (found := await look(runtime))[0] == pid:
                pass
            print(found[1])

        async def look(runtime):
            try:
                return await runtime.submit(arguments).result()
            except mosaic.RuntimeDisconnectedError:
                return os.getpid(), None

        if __name__ == "__main__":
            sys.argv.append("added before the start")
            mosaic.run(main, num_workers=1)
        """,
        "given",
    )
    assert out.splitlines()[-1] in {"['given', 'added before the start']", "None"}


def test_random_states_and_changed_modules_stay_with_the_driver():
    out, _ = run_script(
        """
        import random, colorsys
        import mosaic

        def draw(_):
            return random.random(), hasattr(colorsys, "CHANGED")

        async def main(runtime):
            (own, other) = await runtime.map(draw, [0, 1], chunksize=1)
            print(own[0] != other[0], own[1], other[1])

        if __name__ == "__main__":
            random.seed(1)
            colorsys.CHANGED = True
            mosaic.run(main, num_workers=2)
        """
    )
    assert out == "True False False\n"


def test_many_arguments_are_compressed_and_too_many_are_left_out(monkeypatch, caplog):
    monkeypatch.setattr(sys, "argv", ["script.py", *(f"data/shot-{n:05d}.h5" for n in range(5000))])
    text = interpreter.describe()[interpreter.VARIABLE]
    assert len(text) < interpreter.LIMIT
    assert interpreter._unpack(text)["argv"] == sys.argv
    import random

    draw = random.Random(0).randbytes
    monkeypatch.setattr(sys, "argv", ["script.py", *(draw(60).hex() for _ in range(2000))])
    text = interpreter.describe()[interpreter.VARIABLE]
    assert interpreter._unpack(text)["argv"] == ["script.py"]
    assert "2001 arguments are too long" in caplog.text


def test_a_filter_names_a_category_that_is_imported_later(monkeypatch):
    class Named(UserWarning):
        pass

    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.filterwarnings("error", category=Named, module="tests")
        described = interpreter._describe_filters()
        interpreter._take_filters(described)
        with pytest.raises(Named):
            warnings.warn("here", Named, stacklevel=1)
        with pytest.warns(UserWarning, match="another"):
            warnings.warn("another", UserWarning, stacklevel=1)


IN_A_FILE = """
import sys
import mosaic

@mosaic.tessera
class Plain:
    def imported(self):
        return sorted({"logging", "re", "zlib", "asyncio"} & sys.modules.keys())

    def level(self):
        import logging
        logging.getLogger("library").info("shown")
        return logging.__spec__.loader is logging.__loader__, type(logging.__loader__).__name__
"""


def test_a_worker_imports_nothing_for_it(tmp_path):
    (tmp_path / "plain.py").write_text(IN_A_FILE)
    out, err = run_script(
        f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import mosaic, plain

        if __name__ == "__main__":
            with mosaic.session(num_workers=1):
                object = plain.Plain.remote()
                print(object.imported().wait())
                print(object.level().wait())
        """
    )
    assert out == "[]\n(True, 'SourceFileLoader')\n"
    assert "INFO    shown" in err
