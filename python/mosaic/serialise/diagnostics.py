"""Finds the part of a value that cannot be pickled, after pickle has refused the value.

pickle names the type that it refuses and nothing of the way there. Nothing here runs unless it has refused.
"""

from __future__ import annotations

import threading
import types
from _io import BytesIO
from _pickle import PicklingError

from mosaic.serialise import by_value
from mosaic.serialise.per_process import is_per_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_DEPTH = 6
_WIDTH = 1000
"""Parts of one object that are asked for."""

_AGAIN_AND_AGAIN = 20
"""Calls of one method among the frames of an error that show that it calls itself."""

_ITEM = "item "
_NOT_ABOUT_A_PART = (MemoryError, RecursionError)

_state = threading.local()


def explain(error: Exception, value: object, met: list[Any], pickler: type[Any]) -> None:
    """Say in an error of pickle's which part of the value it is about, if that can be found out.

    Parameters
    ----------
    error : Exception
        What pickle raised.
    value : object
        What was pickled.
    met : list
        The functions and classes that were met on the way, and are pickled by value.
    pickler : type
        The pickler that raised it, with which the parts are pickled again.
    """
    if getattr(_state, "explaining", False) or isinstance(error, _NOT_ABOUT_A_PART):
        return
    if isinstance(error.__cause__, RecursionError) or getattr(error, "_mosaic_explained", False):
        return
    _state.explaining = True
    try:
        way = next(
            filter(None, (_find(root, pickler, _DEPTH) for root in (*reversed(met), value))), []
        )
    except Exception:
        # Of the value's own methods; the error of pickle's is the one to be seen.
        way = []
    finally:
        _state.explaining = False
    # The places in the arguments of a call say nothing.
    while way and way[0].startswith(_ITEM):
        del way[0]
    if not way:
        return
    where = ", in ".join(reversed(way))
    if (
        isinstance(error, (TypeError, AttributeError, PicklingError))
        and len(error.args) == 1
        and type(error).__str__ in {BaseException.__str__, object.__str__}
    ):
        error.args = (f"{error.args[0]}: {where}",)
    else:
        error.add_note(f"raised while this was pickled: {where}")
    # A class may be pickled for a value, and both picklers see the error.
    error._mosaic_explained = True  # type: ignore[attr-defined]


def explain_recursion(error: RecursionError) -> None:
    """Say in an error of unpickling which method calls itself, if one does.

    Parameters
    ----------
    error : RecursionError
        What unpickling raised, with its traceback.
    """
    frame, last, count = error.__traceback__, None, 0
    while frame is not None:
        if frame.tb_frame.f_code.co_name in {"__getattr__", "__getattribute__"}:
            last, count = frame, count + 1
        frame = frame.tb_next
    if last is None or count < _AGAIN_AND_AGAIN:
        return
    code = last.tb_frame.f_code
    error.args = (
        f"{code.co_qualname} calls itself without end while its object is unpickled ({code.co_filename}, line "
        f"{last.tb_lineno}): the object has no attributes yet. Raise AttributeError there for names that it does not "
        "know and for the attributes that it needs itself",
    )


def _find(value: object, pickler: type[Any], depth: int) -> list[str]:
    """Return the way from a value to what cannot be pickled in it, the last step last."""
    if depth == 0:
        return []
    for number, (label, part) in enumerate(_parts(value)):
        if number == _WIDTH:
            break
        if not _refused(part, pickler):
            continue
        return [label, *_find(part, pickler, depth - 1)]
    return []


def _refused(part: object, pickler: type[Any]) -> bool:
    try:
        # Arrays are left out, not copied.
        pickler(BytesIO(), 5, buffer_callback=lambda _: False).dump(part)
    except Exception:
        return True
    return False


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Give the parts that a value is pickled with, each with its name for people."""
    if isinstance(value, type):
        if not by_value.importable(value):
            yield from _held(
                (f"attribute {name!r} of class {value.__qualname__}", held)
                for name, held in value.__dict__.items()
                if name not in {"__dict__", "__weakref__", "_abc_impl"}
                and not isinstance(held, (types.MemberDescriptorType, types.GetSetDescriptorType))
            )
    elif isinstance(value, types.FunctionType):
        if not by_value.importable(value):
            yield from _held(_parts_of_function(value))
    elif isinstance(value, (staticmethod, classmethod, types.MethodType)):
        yield from _parts(value.__func__)
    elif isinstance(value, property):
        for function in (value.fget, value.fset, value.fdel):
            yield from _parts(function)
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"{_ITEM}{number}", item) for number, item in enumerate(value))
    elif isinstance(value, dict):
        yield from ((f"{_ITEM}{key!r:.60}", item) for key, item in value.items())
    else:
        kind = type(value).__qualname__
        for name, held in getattr(value, "__dict__", {}).items():
            yield f"attribute {name!r} of an object of class {kind}", held


def _held(parts: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    return (part for part in parts if not is_per_process(part[1]))


def _parts_of_function(function: Any) -> Iterator[tuple[str, Any]]:
    name = function.__qualname__
    space = function.__globals__
    for used in by_value.global_names(function.__code__):
        if used in space:
            yield f"global {used!r} of function {name}", space[used]
    for used, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"variable {used!r} of function {name}", cell.cell_contents
        except ValueError:
            continue
    for default in function.__defaults__ or ():
        yield f"a default of function {name}", default
    for used, default in (function.__kwdefaults__ or {}).items():
        yield f"default of {used!r} of function {name}", default
    for used, held in function.__dict__.items():
        yield f"attribute {used!r} of function {name}", held
