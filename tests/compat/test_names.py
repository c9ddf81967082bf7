"""What old programs import, from where they import it."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mosaic
from mosaic.runtime.head import _ACCEPTED
from tests.support.actors import Echo

NAMES = {
    "mosaic": "tessera init run stop runtime logger clear_runtime interactive gather h5 profiler subprocess"
    " __version__",
    "mosaic.core": "Tessera TesseraProxy ArrayProxy ParameterMixin PickleClass Task TaskProxy TaskArray TaskArrayProxy"
    " TaskOutput TaskOutputGenerator TaskDone RuntimeDisconnectedError",
    "mosaic.core.base": "Base CMDBase RemoteBase ProxyBase",
    "mosaic.core.task": "Task TaskProxy TaskArray TaskArrayProxy TaskOutput TaskOutputGenerator TaskDone"
    " RuntimeDisconnectedError",
    "mosaic.core.tessera": "Tessera TesseraProxy ArrayProxy ParameterMixin PickleClass tessera"
    " RuntimeDisconnectedError",
    "mosaic.types": "Struct WarehouseObject awaitable_types remote_types proxy_types",
    "mosaic.profile": "profiler global_profiler skip_profile no_profiler use_trace",
    "mosaic.runtime": "Runtime RuntimeProxy Head Monitor Node Worker Warehouse monitor_strategies MonitorStrategy"
    " RoundRobin",
}


@pytest.mark.parametrize("module", NAMES)
def test_names_are_where_they_were(module):
    found = importlib.import_module(module)
    for name in NAMES[module].split():
        assert getattr(found, name) is not None


def test_the_same_thing_from_everywhere():
    from mosaic import core
    from mosaic.core import task, tessera

    assert core.TaskProxy is task.TaskProxy
    assert core.TesseraProxy is tessera.TesseraProxy
    assert tessera.tessera is mosaic.tessera
    assert core.RuntimeDisconnectedError is task.RuntimeDisconnectedError
    assert core.RuntimeDisconnectedError is mosaic.RuntimeDisconnectedError


@pytest.mark.parametrize(
    "statements",
    [
        "import mosaic; import mosaic.runtime",
        "import mosaic.runtime; import mosaic",
        "import mosaic.core; from mosaic import runtime; import mosaic",
        "from mosaic.runtime import Runtime, RoundRobin; import mosaic",
        "import mosaic.core.tessera, mosaic.core.task, mosaic.types, mosaic.utils, mosaic",
    ],
)
def test_runtime_is_a_package_and_a_function_and_tessera_a_decorator(statements):
    code = (
        f"{statements}\n"
        "assert mosaic.runtime() is None\n"
        "@mosaic.tessera\n"
        "class A: pass\n"
        "with mosaic.session(num_workers=1) as started:\n"
        "    assert mosaic.runtime() is started\n"
        "import mosaic.runtime\n"
        "assert mosaic.runtime.Runtime and mosaic.runtime() is None\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=40)


@pytest.mark.parametrize(
    "name", ["get_local_warehouse", "get_event_loop", "get_worker", "nonsense"]
)
def test_other_names_are_the_runtimes(name):
    assert not hasattr(mosaic, name)
    with pytest.raises(AttributeError, match=name):
        getattr(mosaic, name)


def test_other_names_with_a_runtime():
    with mosaic.session(num_workers=1) as runtime:
        assert mosaic.get_local_warehouse().uid == "warehouse:0"
        assert list(mosaic.get_workers()) == ["worker:0:0"]
        assert mosaic.num_workers == 1
        assert mosaic.get_head() is runtime
        assert mosaic.get_worker() is None
        with pytest.raises(AttributeError, match="nonsense"):
            _ = mosaic.nonsense
    assert not hasattr(mosaic, "get_local_warehouse")


PAGE = Path(__file__).parents[2] / "docs" / "migration.md"

THINGS = {"proxy", "task", "runtime", "warehouse", "ref", "obj", "loop"}
"""What the page calls objects whose attributes it names."""


def names_of_the_page():
    """Give the modules of the migration page with the names in the first columns of their tables."""
    for section in PAGE.read_text().split("\n## ")[1:]:
        module = re.match(r"`(mosaic[.\w]*)`", section)
        for row in re.findall(r"^\| (.*?) \|", section, re.MULTILINE) if module else ():
            for name in re.findall(r"`(?:await )?([A-Za-z_][.\w]*)(?:\([^`]*\))?`", row):
                yield module[1], name


def names_between(start, end):
    """Give the names that a sentence of the page lists."""
    (sentence,) = re.findall(f"^{start}(.*?){end}", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return re.findall(r"`(\w+)`", sentence)


def test_the_migration_page_names_what_there_is():
    checked = 0
    for module, name in names_of_the_page():
        first, *rest = name.removeprefix("mosaic.").split(".")
        if first in THINGS or first.startswith("get_"):
            continue
        home = "mosaic" if name.startswith("mosaic.") else module
        try:
            found = importlib.import_module(f"{home}.{first}")
        except ModuleNotFoundError:
            found = getattr(importlib.import_module(home), first)
        for part in rest:
            found = getattr(found, part)
        checked += 1
    assert checked > 50


async def test_the_migration_page_names_attributes_that_there_are(runtime):
    proxy = await Echo.remote()
    hosted = Echo.local()
    await hosted.listen_async()
    things = {
        "proxy": proxy,
        "task": proxy.back(1),
        "runtime": runtime,
        "warehouse": mosaic.get_local_warehouse(),
        "ref": runtime.put(1),
        "obj": hosted.obj,
        "loop": mosaic.get_event_loop(),
    }
    assert set(things) == THINGS
    checked = set()
    for _, name in names_of_the_page():
        first, *rest = name.split(".")
        if first in THINGS and rest:
            # Not what a proxy would ask the other side for.
            assert inspect.getattr_static(things[first], rest[0]) is not None, name
            checked.add(first)
        elif first.startswith("get_"):
            assert getattr(mosaic, first) is not None
    assert checked == THINGS
    for name in names_between("Instances have, unless their class defines them:", r"\. "):
        assert hasattr(hosted.obj, name), name


def test_the_migration_page_names_the_keywords_that_mean_nothing():
    named = names_between("These keywords of `init` and `run` are taken", r"\. ")
    assert sorted(named) == sorted(_ACCEPTED)
