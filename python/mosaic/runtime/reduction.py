"""Element-wise reduction over references to arrays: `Runtime.reduce`, `TaskArrayProxy.reduce`.

The values are fetched side by side. They are combined in the order of the references, in a thread beside the event
loop, by the core and without the interpreter's lock: a loop goes on turning, and the same arrays give the same bits
whoever was ready first.
"""

from __future__ import annotations

import asyncio

import numpy as np

from mosaic import _core
from mosaic.core.arrays import empty
from mosaic.core.task import TaskArrayProxy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable
    from typing import Any, Literal, TypeAlias

    import numpy.typing as npt

    Array: TypeAlias = npt.NDArray[Any]
    Order: TypeAlias = Literal["C", "F"]

OPERATIONS = ("sum", "mean", "min", "max", "prod")

_REFERENCES = (_core.Task, _core.Output)
_REDUCIBLE = frozenset(
    np.dtype(code)
    for code in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8", "c8", "c16")
)


async def reduce(refs: Iterable[Any] | Awaitable[Iterable[Any]], op: str, out: Any) -> Array:
    """Combine arrays element by element; see `Runtime.reduce`."""
    if op not in OPERATIONS:
        raise ValueError(f"there is no reduction {op!r}; there are {', '.join(OPERATIONS)}")
    return await _reduce_here(await _listed(refs), op, out)


async def _reduce_here(items: list[Any], op: str, out: Any) -> Array:
    """Fetch what the references give to this node, and combine it."""
    values = await _values(items)
    names = [_name(index, item) for index, item in enumerate(items)]
    dtype = _common_dtype(values, names, op)
    if out is not None:
        _check_out(out, values[0].shape, _result_dtype(dtype, op))
    return await asyncio.to_thread(_combine, values, op, out, dtype)


# What there is to combine.


async def _listed(refs: Any) -> list[Any]:
    """Return the references one by one; those of an array call stand in its place."""
    if isinstance(refs, (*_REFERENCES, np.ndarray)):
        raise TypeError(
            f"reduce combines several references, given as a list; this is one {type(refs).__name__}"
        )
    if isinstance(refs, TaskArrayProxy):
        refs = refs.tasks
    elif hasattr(refs, "__await__"):
        refs = await refs
    items: list[Any] = []
    for item in refs:
        items += item.tasks if isinstance(item, TaskArrayProxy) else [item]
    if not items:
        raise ValueError("reduce needs at least one reference, and there are none")
    return items


async def _values(items: list[Any]) -> list[Any]:
    """Return what the references stand for, in their order; raise the first failure."""
    waiting = [asyncio.ensure_future(_value(item)) for item in items]
    try:
        return list(await asyncio.gather(*waiting))
    finally:
        for wait in waiting:
            wait.cancel()


async def _value(item: Any) -> Any:
    if isinstance(item, _REFERENCES):
        reference: Any = item
        return await reference.result()
    if hasattr(item, "__await__"):
        return await _value(await item)
    return item


def _name(index: int, item: Any) -> str:
    uid = item.uid if isinstance(item, _REFERENCES) and hasattr(item, "uid") else None
    return f"reference {index}" if uid is None else f"reference {index} ({uid})"


# Whether it can be combined.


def _common_dtype(values: list[Any], names: list[str], op: str) -> np.dtype[Any]:
    """Return the type of the elements, if all are arrays of one type and shape that have this reduction.

    Raises
    ------
    TypeError, ValueError
        One is not; says which.
    """
    for value, name in zip(values, names, strict=True):
        _check_array(value, name)
    first = values[0]
    dtype: np.dtype[Any] = first.dtype.newbyteorder("=")
    for value, name in zip(values, names, strict=True):
        if value.dtype.newbyteorder("=") != dtype:
            raise TypeError(
                f"arrays of one type can be combined: {name} has dtype {value.dtype} (shape {value.shape}), "
                f"{names[0]} has dtype {dtype}"
            )
        if value.shape != first.shape:
            raise ValueError(
                f"arrays of one shape can be combined: {name} has shape {value.shape} (dtype {dtype}), "
                f"{names[0]} has shape {first.shape}"
            )
    if dtype.kind == "c" and op in {"min", "max"}:
        raise TypeError(
            f"complex numbers have no order, so arrays of {dtype} have no {op!r}: "
            "reduce their absolute values, or real and imaginary parts"
        )
    return dtype


def _check_array(value: Any, name: str) -> None:
    if not isinstance(value, np.ndarray):
        raise TypeError(
            f"reduce combines arrays, and {name} gives an object of type {type(value).__name__} "
            "(numpy.asarray makes an array of numbers)"
        )
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} gives a masked array, whose mask would be lost: reduce value.filled(...) instead"
        )
    if value.dtype.newbyteorder("=") in _REDUCIBLE:
        return
    advice = {
        "b": ": convert with value.astype(numpy.int64) to count, or numpy.uint8 for 'max' (any) and 'min' (all)",
        "f": ": convert with value.astype(numpy.float32) or float64",
        "c": ": convert with value.astype(numpy.complex128)",
    }.get(value.dtype.kind, "")
    raise TypeError(
        "reduce combines integers, float32, float64, complex64 and complex128; "
        f"{name} is an array of {value.dtype}{advice}"
    )


def _result_dtype(dtype: np.dtype[Any], op: str) -> np.dtype[Any]:
    return np.dtype(np.float64) if op == "mean" and dtype.kind in "iu" else dtype


def _check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    wanted = f"out has to be a writable array of shape {shape} and dtype {dtype}"
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"{wanted}, not a {type(out).__name__}")
    if out.dtype != dtype:
        raise TypeError(f"{wanted}; its dtype is {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"{wanted}; its shape is {out.shape}")
    if not out.flags.writeable:
        raise ValueError(f"{wanted}; it is read-only")


# Combining it.


def _combine(values: list[Array], op: str, out: Array | None, dtype: np.dtype[Any]) -> Array:
    """Combine checked arrays on this thread and the core's helpers."""
    shape = values[0].shape
    if out is not None and (out.flags.c_contiguous or out.flags.f_contiguous) and out.flags.aligned:
        order = _order([out])
        target = out
    else:
        order = _order(values)
        target = _allocate(shape, _result_dtype(dtype, op), order)
    arrays = [_flat(value, dtype, order) for value in values]
    # In place: an operand that is written to meanwhile is read from a copy.
    arrays = [array.copy() if np.may_share_memory(array, target) else array for array in arrays]
    _core.reduce(arrays, op, np.asarray(target).reshape(-1, order=order))
    if out is None:
        return target
    if target is not out:
        out[...] = target
    return out


def _order(arrays: list[Array]) -> Order:
    """Return the order in which all of them lie in memory: Fortran's, or else C's, which the others are copied to."""
    fortran = all(array.flags.f_contiguous for array in arrays)
    return "F" if fortran and not all(array.flags.c_contiguous for array in arrays) else "C"


def _flat(array: Array, dtype: np.dtype[Any], order: Order) -> Array:
    """Return the elements as they lie in memory, copied if they lie there in another way."""
    array = np.asarray(array, dtype=dtype, order=order)
    if not array.flags.aligned:
        array = array.copy(order=order)
    return array.reshape(-1, order=order)


def _allocate(shape: tuple[int, ...], dtype: np.dtype[Any], order: Order) -> Array:
    """Return the array for a result: in the store, so that it goes on without a copy."""
    return empty(shape, dtype, order)
