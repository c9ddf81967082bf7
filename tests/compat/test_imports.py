"""Names that programs import, from where they import them, and what each of them is."""

import importlib
import threading

import pytest

import mosaic
from tests.support.scripts import run_code

FUNCTIONS = {
    "mosaic.comms": ("get_hostname",),
    "mosaic.comms.compression": ("decompress", "maybe_compress"),
    "mosaic.comms.serialisation": ("deserialise", "serialise"),
    "mosaic.file_manipulation.h5": ("append", "file_exists", "read", "rm", "write"),
    "mosaic.h5": ("append", "file_exists", "read", "rm", "write"),
    "mosaic.utils": (
        *("async_property", "camel_case", "cpu_count", "default_logger", "gather", "gpu_count"),
        *("lowercase", "memory_limit", "memory_used", "mimport", "remote_sizeof"),
        *("set_main_thread", "sizeof", "snake_case", "subprocess", "uppercase"),
    ),
    "mosaic.utils.at_exit": ("add", "remove"),
    "mosaic.utils.logger": ("clear_logger",),
    "mosaic": ("gather", "logger", "subprocess"),
}

CLASSES = {
    "mosaic.types": ("Struct",),
    "mosaic.file_manipulation.h5": ("HDF5",),
    "mosaic.h5": ("HDF5",),
    "mosaic.utils": ("EventLoop", "Future", "LoggerManager", "MultiError"),
}

PAIRS = [
    (module, name) for table in (FUNCTIONS, CLASSES) for module in table for name in table[module]
]


def test_each_name_where_it_is_imported_from():
    """Every one in an order of its own: what one import leaves behind must not be what the next one needs."""
    for module, name in PAIRS:
        if module == "mosaic.h5":
            continue
        found = getattr(importlib.import_module(module), name)
        assert callable(found), (module, name)
        assert isinstance(found, type) == (name in CLASSES.get(module, ())), (module, name)
    for module, name in PAIRS:
        found = mosaic
        for part in module.split(".")[1:]:
            found = getattr(found, part)
        assert callable(getattr(found, name)), (module, name)


def test_as_attributes_of_the_package_alone():
    expressions = [f"{module}.{name}" for module, name in PAIRS]
    expressions += ["mosaic.utils.logger.log_level", "mosaic.utils.at_exit.add"]
    lines = run_code(
        f"import mosaic\nfor each in {expressions!r}: print(type(eval(each)).__name__)"
    )
    assert len(lines.split()) == len(expressions)


@pytest.mark.parametrize(
    "statement",
    [
        "from mosaic.utils import at_exit; at_exit.add(lambda: print('left')); at_exit.remove(print)",
        "from mosaic import h5; print('left' if h5.HDF5 else '')",
        "import mosaic.file_manipulation.h5 as h5; print('left' if h5.read else '')",
        "from mosaic.file_manipulation import h5; print('left' if h5.rm else '')",
        "from mosaic.types import Struct, WarehouseObject, awaitable_types; print('left')",
        "from mosaic.comms import compression, serialisation, get_hostname; print('left')",
    ],
    ids=["at_exit", "h5", "file_manipulation.h5", "file_manipulation", "types", "comms"],
)
def test_statements_of_programs(statement):
    assert run_code(statement) == "left\n"


def test_at_exit_runs_the_last_first():
    code = (
        "from mosaic.utils import at_exit\n"
        "def second(): print('second')\n"
        "def never(): print('never')\n"
        "at_exit.add(second); at_exit.add(never); at_exit.add(lambda: print('first'))\n"
        "at_exit.remove(never); at_exit.remove(len)\n"
    )
    assert run_code(code) == "first\nsecond\n"


def test_importing_them_leaves_h5py_alone():
    out = run_code(
        "import sys, mosaic, mosaic.utils, mosaic.types, mosaic.comms, mosaic.file_manipulation\n"
        "mosaic.types.Struct, mosaic.utils.sizeof, mosaic.comms.compression\n"
        "print('h5py' in sys.modules, 'numpy' in sys.modules, 'asyncio' in sys.modules)"
    )
    assert out == "False False False\n"


def test_set_main_thread():
    code = """
import threading
from mosaic.utils import set_main_thread
real = threading.main_thread()
def check():
    assert threading.main_thread() is real
    set_main_thread()
    assert threading.main_thread() is threading.current_thread()
    assert threading.current_thread().name == "MainThread"
    set_main_thread()
thread = threading.Thread(target=check)
thread.start()
thread.join()
# One that has ended is nobody's main thread, and the end of the interpreter waits for threads as ever.
assert threading.main_thread() is real
other = threading.Thread(target=set_main_thread)
other.start()
set_main_thread()
assert threading.main_thread() is real
threading.Thread(target=lambda: (started.set(), print("waited for"))).start() if (started := threading.Event()) else 0
"""
    assert run_code(code) == "waited for\n"
    assert threading.main_thread() is threading.current_thread()


def test_mimport():
    from mosaic.utils import mimport

    assert mimport("mosaic.core.naming").__name__ == "mosaic.core.naming"
    assert mimport("mosaic.core.naming.snake_case")("AbC") == "ab_c"
    assert mimport("mosaic.types:Struct.copy").__name__ == "copy"
    for name in ("no_such_module", "mosaic.nothing_like_it", "mosaic.types:Nothing"):
        with pytest.raises(ImportError, match=name.rpartition(".")[2].rpartition(":")[2]):
            mimport(name)


def test_the_log_level_is_there_before_any_message():
    code = "from mosaic.utils import logger; print(logger.log_level)"
    assert run_code(f"import os; os.environ['MOSAIC_LOG_LEVEL'] = 'PERF'; {code}") == "perf\n"


def test_default_logger_called_and_uncalled(caplog):
    from mosaic.utils import default_logger

    assert default_logger() is mosaic.logger()
    default_logger.error("uncalled")
    default_logger().error("called")
    assert [record.getMessage() for record in caplog.records] == ["uncalled", "called"]
