"""The package: its names, and what importing it costs."""

import subprocess
import sys
from pathlib import Path

import pytest

import mosaic
import mosaic.core
import mosaic.runtime
import mosaic.types
import mosaic.utils

HEAVY = {
    "numpy",
    "asyncio",
    "cloudpickle",
    "logging",
    "typing",
    "inspect",
    "dataclasses",
    "re",
    "threading",
    "contextlib",
}


def imported_by(statement):
    code = f"import sys; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    return set(
        subprocess.run(
            [sys.executable, "-S", "-c", code], capture_output=True, check=True, text=True
        ).stdout.split()
    )


def test_a_worker_imports_little():
    path = f"sys.path[:] = {sys.path!r}"
    found = imported_by(
        f"{path}; import mosaic.runtime.worker, mosaic.runtime.hooks, mosaic.runtime.lanes"
    )
    assert "mosaic.core.task" in found
    assert not HEAVY & found


def test_every_name_is_there():
    for module in (mosaic, mosaic.core, mosaic.runtime, mosaic.utils):
        for name in module.__all__:
            assert getattr(module, name) is not None, name
    assert mosaic.core.tessera.tessera is mosaic.tessera
    assert mosaic.core.task.TaskProxy is mosaic.core.TaskProxy


def test_the_module_runtime_is_callable():
    assert mosaic.runtime() is None
    assert mosaic.runtime.Runtime.__name__ == "Runtime"


OF_1_2 = {"cli", "comms", "core", "file_manipulation", "profile", "runtime", "types", "utils"}


def test_no_package_hides_an_attribute_of_the_runtime():
    """`mosaic.name` is the runtime's attribute, unless a package of that name has been imported."""
    found = {path.parent.name for path in Path(mosaic.__file__).parent.glob("*/__init__.py")}
    found |= {path.stem for path in Path(mosaic.__file__).parent.glob("*.py")}
    assert {"launcher", "log", "parameter", "warehouse"} <= found
    assert [
        name for name in found - OF_1_2 - {"__init__"} if hasattr(mosaic.runtime.Runtime, name)
    ] == []


def test_unknown_names_without_a_runtime():
    for name in ("get_local_warehouse", "nonsense", "_private"):
        with pytest.raises(AttributeError, match=name):
            getattr(mosaic, name)


def test_types_tell_references_from_values():
    assert mosaic.core.TaskProxy in mosaic.types.awaitable_types
    assert issubclass(mosaic.types.WarehouseObject, mosaic.types.awaitable_types)
    assert not isinstance(3, mosaic.types.awaitable_types)
    for cls in (*mosaic.types.proxy_types, *mosaic.types.remote_types):
        assert issubclass(cls, mosaic.core.base.CMDBase)


def test_stopping_nothing_is_no_error():
    mosaic.stop()
    mosaic.clear_runtime()


def test_pickle_class_goes_by_value():
    import pickle

    wrapped = mosaic.core.PickleClass(mosaic.core.naming.snake_case)
    assert wrapped("AbC") == "ab_c"
    again = pickle.loads(pickle.dumps(wrapped))
    assert again.cls is not wrapped.cls
    assert again("AbC") == "ab_c"
    assert again.__class__ is mosaic.core.PickleClass
