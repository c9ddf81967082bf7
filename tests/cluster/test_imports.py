"""Two threads of a process that import: while they decode, in methods, and in modules that use mosaic themselves."""

import os
from pathlib import Path

import pytest

from tests.support import crosswise
from tests.support.scripts import ROOT, run_script

HEAD = """
import asyncio, os, sys, threading
import mosaic
from tests.support.rendezvous import eventually

def begun(name):
    path = os.path.join(os.environ["MEET_DIRECTORY"], name)
    eventually(lambda: os.path.exists(path), f"{name} is being imported", 20)

"""


def run(tmp_path: Path, text: str) -> str:
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    out, err = run_script(
        HEAD + text, env={"PYTHONPATH": path, "MEET_DIRECTORY": str(tmp_path / "begun")}
    )
    assert err == ""
    return out


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()


def test_threads_of_a_worker_import_crosswise(tmp_path):
    crosswise.write_packages(tmp_path, "pa", "pb", "pc", "pd", "pe")
    crosswise.write_circle(tmp_path, "left", "right")
    out = run(
        tmp_path,
        """
import pa.child, pb.child, pc.child, pd.child

@mosaic.tessera
class Plain:
    def decode(self, value):
        return value.ready()

    def bring_in(self, name, attribute):
        value = getattr(__import__(name), attribute)
        return value().ready() if attribute == "Outer" else value()

@mosaic.tessera
class Coroutines:
    async def decode(self, value):
        return value.ready()

    async def bring_in(self, name, attribute):
        value = getattr(__import__(name), attribute)
        return value().ready() if attribute == "Outer" else value()

    async def bring_in_part(self, name):
        from pe.child import Inner
        return Inner().ready()

with mosaic.session(num_workers=1) as runtime:
    plain, coroutines = Plain.remote(), Coroutines.remote()
    pairs = [
        ("pa", lambda: coroutines.decode(pa.Outer()), lambda: plain.decode(pa.child.Inner())),
        ("pb", lambda: plain.bring_in("pb", "Outer"), lambda: coroutines.decode(pb.child.Inner())),
        ("pc", lambda: coroutines.bring_in("pc", "Outer"), lambda: plain.decode(pc.child.Inner())),
        ("pd", lambda: plain.decode(pd.Outer()), lambda: coroutines.bring_in("pd", "Outer")),
        ("pe", lambda: plain.bring_in("pe", "Outer"), lambda: coroutines.bring_in_part("pe")),
    ]
    for name, first, second in pairs:
        one = first()
        begun(name)
        other = second()
        print(name, one.wait(20), other.wait(20))
    one, other = plain.bring_in("left", "total"), coroutines.bring_in("right", "total")
    print(one.wait(20), other.wait(20))
""",
    )
    assert out.splitlines() == [f"{name} 1 1" for name in ("pa", "pb", "pc", "pd", "pe")] + ["2 2"]


def test_threads_of_the_warehouse_decode_crosswise(tmp_path):
    crosswise.write_packages(tmp_path, "pa")
    out = run(
        tmp_path,
        """
import pa.child

def plain(state, value):
    return value.ready()

async def coroutine(state, value):
    return value.ready()

async def main(runtime):
    one = asyncio.ensure_future(runtime.exec("one", plain, (pa.Outer(),)))
    await asyncio.to_thread(begun, "pa")
    other = asyncio.ensure_future(runtime.exec("other", coroutine, (pa.child.Inner(),)))
    print(await (await one).value(), await (await other).value())

mosaic.run(main, num_workers=1)
""",
    )
    assert out == "1 1\n"


def test_a_thread_of_the_driver_decodes_while_another_imports(tmp_path):
    crosswise.write_packages(tmp_path, "pa")
    out = run(
        tmp_path,
        """
import meet

def make():
    import meet
    meet.armed = False
    import pa.child
    return pa.child.Inner()

meet.armed = True
with mosaic.session(num_workers=1) as runtime:
    task = runtime.submit(make)
    found = []

    def decode():
        begun("pa")
        found.append(task.wait().ready())

    thread = threading.Thread(target=decode)
    thread.start()
    import pa
    thread.join()
    print(found)
""",
    )
    assert out == "[1]\n"


def test_a_module_uses_mosaic_while_it_is_imported(tmp_path):
    crosswise.write(tmp_path, "desk.py", "peer = None\n\nclass Box:\n    value = 1\n")
    crosswise.write(
        tmp_path,
        "busy.py",
        """
        import desk
        import mosaic

        VALUE = desk.peer.ask(desk.Box()).wait(20)
        STORED = mosaic.zeros((100_000,)).sum()

        class Result:
            value = VALUE
        """,
    )
    crosswise.write(tmp_path, "late/__init__.py", "from late import part\n")
    crosswise.write(tmp_path, "late/part.py", "class Thing:\n    value = 7\n")
    out = run(
        tmp_path,
        """
import desk, late.part

@mosaic.tessera
class Asks:
    def bring_in(self, peer):
        import desk
        desk.peer = peer
        import busy
        return busy.VALUE, busy.STORED, busy.Result()

@mosaic.tessera
class Peer:
    def __init__(self, neighbour):
        self.neighbour = neighbour

    async def ask(self, box):
        return box.value + await self.neighbour.tell(late.part.Thing()).result()

@mosaic.tessera
class Neighbour:
    async def tell(self, thing):
        import wave
        return thing.value + len(wave.__name__)

with mosaic.session(num_workers=2) as runtime:
    asks = Asks.remote(runtime="worker:0:0")
    peer = Peer.remote(Neighbour.remote(runtime="worker:0:0"), runtime="worker:0:1")
    # The driver, too: `busy` asks the peer while its class is decoded here.
    desk.peer = peer
    value, stored, result = asks.bring_in(peer).wait(20)
    print(value, stored, result.value)
""",
    )
    assert out == "12 0.0 12\n"


def test_a_module_that_joins_threads_which_import_its_parts(tmp_path):
    crosswise.write(
        tmp_path,
        "boss/__init__.py",
        """
        import importlib
        import threading

        found = []

        def bring_in():
            from boss.part import VALUE
            found.append(VALUE)
            found.append(importlib.import_module("boss.deep.part").VALUE)

        thread = threading.Thread(target=bring_in)
        thread.start()
        thread.join(20)
        """,
    )
    crosswise.write(tmp_path, "boss/part.py", "VALUE = 1")
    crosswise.write(tmp_path, "boss/deep/__init__.py", "")
    crosswise.write(tmp_path, "boss/deep/part.py", "VALUE = 2")
    out = run(
        tmp_path,
        """
def plain():
    import boss
    return boss.found

with mosaic.session(num_workers=1) as runtime:
    print(runtime.submit(plain).wait(20))
""",
    )
    assert out == "[1, 2]\n"


def test_what_the_driver_has_imported_of_a_package_is_there_before_user_code(tmp_path):
    """`PRE-1`, `PRE-2`, `PRE-3`"""
    installed = tmp_path / "site-packages"
    for name in ("needed", "needed/deep", "other"):
        crosswise.write(installed, f"{name}/__init__.py", "")
    # Each leaves its name, in the order of imports; one cannot be imported by a worker.
    mark = "import sys\nsys.order = [*getattr(sys, 'order', ()), __name__]\n"
    for name in ("needed/zeta", "needed/deep/part", "needed/alpha", "needed/never", "needed/later"):
        crosswise.write(installed, f"{name}.py", mark)
    crosswise.write(installed, "other/part.py", mark)
    crosswise.write(
        installed,
        "needed/faulty.py",
        "import os\nif 'MOSAIC_WORKER_UID' in os.environ:\n    raise OSError('no display')\n",
    )
    crosswise.write(installed, "needed/thing.py", "class Thing:\n    pass\n")
    out = run(
        installed,
        """
import other.part, needed.zeta, needed.deep.part, needed.faulty, needed.alpha, needed.thing

def imported():
    return getattr(sys, "order", []), [n for n in ("numpy", "other", "cloudpickle") if n in sys.modules]

@mosaic.tessera
class Plain:
    def nothing(self):
        return getattr(sys, "order", [])

    def thing(self, value):
        return sys.order, "other" in sys.modules, "numpy" in sys.modules

    def faulty(self):
        import needed.faulty

@mosaic.tessera
class ByItsCode:
    def where(self):
        return needed.__name__, sys.order

def where():
    return list(sys.order)

with mosaic.session(num_workers=3) as runtime:
    one, two = Plain.remote(runtime="worker:0:0"), Plain.remote(runtime="worker:0:1")
    print(one.nothing().wait())
    print(one.thing(needed.thing.Thing()).wait())
    # A list that grows is written again, for processes that need the package from then on.
    import needed.later
    print(two.thing([needed.thing.Thing]).wait())
    print(ByItsCode.remote(runtime="worker:0:2").where().wait())
    try:
        one.faulty().wait()
    except OSError as error:
        print(error)
    print(sorted(os.listdir(runtime.engine.directory)).count("imported"))

# Pickles that are remembered serve the next network too.
with mosaic.session(num_workers=1) as runtime:
    print(ByItsCode.remote().where().wait()[1])
""",
    )
    order = ["needed.zeta", "needed.deep.part", "needed.alpha"]
    longer = [*order, "needed.later"]
    assert out.splitlines() == [
        "[]",
        str((order, False, False)),
        str((longer, False, False)),
        str(("needed", longer)),
        "no display",
        "1",
        str(longer),
    ]


def test_a_worker_imports_of_the_programs_own_packages_what_it_needs(tmp_path):
    """`PRE-1`"""
    crosswise.write(tmp_path, "own/__init__.py", "")
    crosswise.write(tmp_path, "own/plots.py", "")
    crosswise.write(tmp_path, "own/thing.py", "class Thing:\n    pass\n")
    out = run(
        tmp_path,
        """
import own.plots, own.thing

def imported(_):
    return sorted(name for name in sys.modules if name.startswith("own"))

with mosaic.session(num_workers=1) as runtime:
    print(runtime.submit(imported, own.thing.Thing()).wait())
""",
    )
    assert out == "['own', 'own.thing']\n"


def test_a_package_that_the_worker_lacks_is_named(tmp_path):
    """`PRE-3`"""
    crosswise.write(tmp_path, "only_here/__init__.py", "")
    crosswise.write(tmp_path, "only_here/part.py", "class Thing:\n    pass\n")
    out = run(
        tmp_path,
        """
import only_here.part

with mosaic.session(num_workers=1) as runtime:
    place = sys.modules["only_here"].__path__[0]
    os.rename(place, place + "_gone")
    for value in (only_here.part.Thing(), only_here):
        try:
            runtime.submit(lambda value: 1, value).wait()
        except ModuleNotFoundError as error:
            print(error, error.name)
""",
    )
    assert out == "No module named 'only_here' only_here\n" * 2


def test_an_ordinary_script_with_numpy(tmp_path):
    out = run(
        tmp_path,
        """
import numpy as np

class Trace:
    def __init__(self, data):
        self.data = data

@mosaic.tessera
class Energy:
    async def of(self, trace):
        return float((trace.data * trace.data).sum())

@mosaic.tessera
class Norm:
    def of(self, energy):
        return float(np.sqrt(energy))

async def main(runtime):
    energy = Energy.remote(len=runtime.num_workers)
    norm = Norm.remote(len=runtime.num_workers)
    energies = [e.of(Trace(np.ones(n))) for n in (4, 9) for e in energy]
    print(await asyncio.gather(*(n.of(task).result() for task in energies for n in norm)))

for _ in range(2):
    mosaic.run(main, num_workers=2)
""",
    )
    assert out.splitlines() == ["[2.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0]"] * 2
