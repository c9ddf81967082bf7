"""What programs of mosaic 1.2 import, from where they import it."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mosaic
from mosaic.runtime.head import _ACCEPTED
from tests.support.actors import Counter, Echo
from tests.support.scripts import run_code, run_script

NAMES = {
    "mosaic": "tessera init run stop runtime logger clear_runtime interactive gather h5 profiler subprocess"
    " __version__ Head Monitor Node Worker Warehouse Runtime RuntimeProxy default_logger",
    "mosaic.core": "tessera MemoryOverflowError RuntimeDisconnectedError Tessera TesseraProxy ArrayProxy Task TaskProxy"
    " TaskArray TaskArrayProxy TaskOutput TaskOutputGenerator TaskDone ParameterMixin PickleClass",
    "mosaic.core.base": "Base CMDBase RemoteBase ProxyBase RuntimeDisconnectedError MemoryOverflowError",
    "mosaic.core.task": "Task TaskProxy TaskArray TaskArrayProxy TaskOutput TaskOutputGenerator TaskDone"
    " RuntimeDisconnectedError MemoryOverflowError",
    "mosaic.core.tessera": "Tessera TesseraProxy ArrayProxy ParameterMixin PickleClass tessera"
    " RuntimeDisconnectedError MemoryOverflowError",
    "mosaic.cli.clusters": "slurm sge pbs",
    "mosaic.cli.clusters.pbs": "node_list submission_script",
    "mosaic.cli.clusters.sge": "node_list submission_script",
    "mosaic.cli.clusters.slurm": "node_list submission_script",
    "mosaic.comms": "compression serialisation get_hostname",
    "mosaic.comms.compression": "maybe_compress decompress",
    "mosaic.comms.serialisation": "serialise deserialise",
    "mosaic.file_manipulation": "h5 HDF5 file_exists rm write append read",
    "mosaic.file_manipulation.h5": "HDF5 file_exists rm write append read",
    "mosaic.types.struct": "Struct",
    "mosaic.utils": "snake_case camel_case lowercase uppercase gpu_count cpu_count memory_limit memory_used sizeof"
    " remote_sizeof set_main_thread MultiError Future EventLoop gather async_property at_exit subprocess mimport"
    " LoggerManager default_logger logger event_loop change_case utils",
    "mosaic.utils.at_exit": "at_exit add remove funcs",
    "mosaic.utils.change_case": "snake_case camel_case lowercase uppercase",
    "mosaic.utils.event_loop": "EventLoop Future gather async_property",
    "mosaic.utils.logger": "LoggerManager default_logger log_level clear_logger",
    "mosaic.utils.mimport": "mimport",
    "mosaic.utils.subprocess": "subprocess",
    "mosaic.utils.utils": "gpu_count cpu_count memory_limit memory_used sizeof remote_sizeof set_main_thread",
    "mosaic.types": "struct Struct WarehouseObject awaitable_types remote_types proxy_types",
    "mosaic.profile": "profiler global_profiler skip_profile no_profiler use_trace",
    "mosaic.runtime": "Runtime RuntimeProxy Head Monitor Node Worker Warehouse monitor_strategies MonitorStrategy"
    " RoundRobin monitor node strategies",
    "mosaic.runtime.head": "Head",
    "mosaic.runtime.monitor": "Monitor MonitorStrategy RoundRobin monitor_strategies",
    "mosaic.runtime.node": "Node",
    "mosaic.runtime.runtime": "Runtime RuntimeProxy",
    "mosaic.runtime.strategies": "MonitorStrategy RoundRobin monitor_strategies",
    "mosaic.runtime.warehouse": "Warehouse",
    "mosaic.runtime.worker": "Worker",
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
    homes: dict[str, dict[str, list[str]]] = {}
    modules = ("h5", "subprocess", "runtime", "tessera", "logger", "mimport")
    for module, names in NAMES.items():
        found = importlib.import_module(module)
        for name in names.split():
            if name not in modules:
                homes.setdefault(name, {}).setdefault(id(getattr(found, name)), []).append(module)
    # By one name, functions of different schedulers.
    del homes["node_list"], homes["submission_script"]
    assert [(name, places) for name, places in homes.items() if len(places) > 1] == []


def test_each_is_found_as_the_first_thing_that_is_imported():
    code = "import os\n"
    for module, names in NAMES.items():
        statement = f"from {module} import {', '.join(names.split())}"
        # A fork for each, which is faster than an interpreter.
        code += (
            "if os.fork() == 0:\n"
            f"    try: {statement}\n"
            f"    except BaseException as error: print({statement!r}, error, flush=True)\n"
            "    os._exit(0)\n"
            "os.wait()\n"
        )
    assert run_code(code) == ""
    expressions = [
        f"{module}.{name}"
        for module, names in NAMES.items()
        for name in names.split()
        # The commands are no attribute of the package.
        if not module.startswith("mosaic.cli")
    ]
    assert run_code(f"import mosaic\nfor one in {expressions!r}: eval(one)") == ""


USE = """
class Plain: pass
assert tessera(Plain) is Plain
@tessera(max_retries=2)
class Optional: pass
assert Plain.remote and Optional.remote
try: tessera(3)
except TypeError as error: assert "class" in str(error)
"""


@pytest.mark.parametrize(
    "statement",
    [
        "from mosaic.core import tessera",
        "import mosaic.core.tessera; from mosaic.core import tessera",
        "from mosaic.core.tessera import tessera, Tessera",
        "import mosaic; tessera = mosaic.core.tessera",
        "import mosaic; tessera = mosaic.core.tessera.tessera",
        "import pickle, mosaic.core; tessera = pickle.loads(pickle.dumps(mosaic.core.tessera))",
        "from mosaic import tessera; import mosaic.core.tessera",
    ],
)
def test_tessera_is_a_decorator_wherever_it_comes_from(statement):
    run_code(statement + USE)


def test_warnings_of_the_decorator_name_the_program():
    from mosaic.core import tessera

    with pytest.warns(UserWarning, match="has its own remote") as warned:

        @tessera
        class Clashing:
            def remote(self):
                pass

    assert warned[0].filename == __file__


def test_mimport_is_a_module_and_a_function():
    run_code(
        "import mosaic.utils.mimport, pickle\n"
        "from mosaic.utils import mimport\n"
        "from mosaic.utils.mimport import mimport as function\n"
        "assert mimport('os.path') is function('os.path') is mosaic.utils.mimport('os.path')\n"
        "assert pickle.loads(pickle.dumps(mimport)) is mimport"
    )


def test_modules_of_schedulers(monkeypatch, tmp_path):
    from mosaic.cli.clusters import pbs, sge, slurm

    for variable in ("SLURM_JOB_NODELIST", "SLURM_NODELIST", "PE_HOSTFILE", "PBS_NODEFILE"):
        monkeypatch.delenv(variable, raising=False)
    assert [one.node_list() for one in (slurm, sge, pbs)] == [None] * 3
    monkeypatch.setenv("SLURM_JOB_NODELIST", "gpu[1-2]")
    (tmp_path / "nodes").write_text("n1\nn1\nn2\n")
    monkeypatch.setenv("PBS_NODEFILE", str(tmp_path / "nodes"))
    assert slurm.node_list("gpu1") == ["gpu1", "gpu2"]
    assert (sge.node_list(), pbs.node_list()) == (None, ["n1", "n2"])
    for one, line in ((slurm, "--job-name=job"), (sge, "-N job"), (pbs, "-N job")):
        script = one.submission_script("job", 1, 3, num_threads=2, node_memory=50)
        assert line in script
        assert "mrun -n 1 -nw 3 -nth 2 python job.py" in script
    assert "--mem=51200M" in slurm.submission_script("job", node_memory=50)
    with pytest.raises(ValueError, match="num_nodes=2"):
        slurm.submission_script("job", num_nodes=2)


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

THINGS = {"proxy", "task", "runtime", "warehouse", "ref", "obj", "loop", "parameter"}
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


async def test_the_migration_page_names_attributes_that_there_are(runtime, warehouse):
    proxy = await Echo.remote()
    hosted = Echo.local()
    await hosted.listen_async()
    things = {
        "proxy": proxy,
        "task": proxy.back(1),
        "runtime": runtime,
        "warehouse": mosaic.get_local_warehouse(),
        "ref": runtime.put(1),
        "parameter": Counter.parameter(),
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


def test_modules_that_are_functions_go_to_workers():
    """As globals of classes and functions of a script, which travel by value."""
    out, _ = run_script(
        """
        import mosaic
        from mosaic.core import tessera
        from mosaic.utils import mimport, subprocess
        from mosaic.utils.mimport import mimport as function

        @tessera
        class HTTPServer:
            def use(self):
                @tessera(max_retries=1)
                class Inner:
                    pass

                assert mimport("os.path") is function("os.path")
                assert subprocess.PIPE == -1
                return hasattr(Inner, "remote")

        if __name__ == "__main__":
            with mosaic.session(num_workers=1):
                server = HTTPServer.remote()
                print(server.use().wait(), server.uid)
        """
    )
    seen, uid = out.split()
    assert seen == "True"
    assert uid.startswith("tess-h_t_t_p_server-")
