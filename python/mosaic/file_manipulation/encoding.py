"""Converts values to what HDF5 stores, and writes them into a file.

A dictionary becomes a group, a list of dictionaries a group whose members are numbered, the rest datasets with flags
that say what they were. `plan` looks at all values before the first one is written, so that one which cannot
be stored leaves the file as it was. The layout is the older package's (protocol 0.1), which ignores the attributes
that are ours: ``levels``, ``literals`` and ``is_texts``.

Flags are written through h5py's low-level interface: a file of 10,000 groups has hundreds of thousands of them, and it
takes 7 µs for one instead of 35.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5p, h5s, h5t

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypeAlias

    Node: TypeAlias = "Group | Leaf"

PROTOCOL = "0.1"

FLAGS = ("is_ndarray", "is_list", "is_tuple", "is_str", "is_bytes", "is_none")

TEXTS = "is_texts"
"""The flag of ours for tuples and arrays of texts: of those the older package opens none that has ``is_str``."""

TEXT = h5py.string_dtype("utf-8")

_SCALAR = h5s.create(h5s.SCALAR)
BOOLEAN = h5t.py_create(np.dtype(bool), logical=True)
_TRUE, _FALSE = np.array(True), np.array(False)

_UNICODE_LINK = h5p.create(h5p.LINK_CREATE)
_UNICODE_LINK.set_char_encoding(h5t.CSET_UTF8)


class Group:
    """A group to be written.

    Parameters
    ----------
    members : dict
        Its members, by name.
    length : int, optional
        How many dictionaries it lists; None for a dictionary.
    is_path : bool
        Whether it only leads to its members, whose names have slashes: others in the group stay.
    """

    __slots__ = ("is_path", "length", "members")

    def __init__(
        self, members: dict[str, Node], length: int | None = None, *, is_path: bool = False
    ) -> None:
        self.members = members
        self.length = length
        self.is_path = is_path


class Leaf:
    """A dataset to be written.

    Parameters
    ----------
    data : ndarray or h5py.Dataset
        Its elements; those of a dataset are read when it is written.
    *flags : str
        What the value was, of `FLAGS` and `TEXTS`.
    levels : str, optional
        What each level of a nested list was, ``l`` or ``t``, where that is not the same for all dimensions.
    literals : ndarray, optional
        Which texts of a mixed list stand for other values.
    """

    __slots__ = ("data", "flags", "levels", "literals")

    def __init__(
        self,
        data: Any,
        *flags: str,
        levels: str | None = None,
        literals: np.ndarray[Any, Any] | None = None,
    ) -> None:
        self.data = data
        self.flags = frozenset(flags)
        self.levels = levels
        self.literals = literals


def plan(value: Any, path: str, name: str) -> Node:
    """Return what to write for a value.

    Parameters
    ----------
    value : object
        The value.
    path : str
        Where it is, for messages.
    name : str
        Its own name, which members of lists are named after.

    Raises
    ------
    TypeError
        It, or something in it, cannot be stored; the message names which.
    """
    if isinstance(value, Mapping):
        return Group(plan_members(value, path))
    if isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
        if not all(isinstance(item, Mapping) for item in value):
            raise _refused(path, value, "it lists dictionaries and other values together")
        names = [f"{name}_{index:08d}" for index in range(len(value))]
        members = zip(names, value, strict=True)
        return Group({one: plan(item, f"{path}/{one}", one) for one, item in members}, len(value))
    try:
        return _leaf(value, path)
    except (ValueError, OverflowError) as error:
        raise _refused(path, value, str(error)) from error


def plan_members(content: Mapping[str, Any], path: str) -> dict[str, Node]:
    """Return what to write for the members of a group that lies at a path; see `plan`."""
    members: dict[str, Node] = {}
    for key, item in content.items():
        *above, name = _parts(key, path)
        inside, place = members, path
        for part in above:
            place = f"{place}/{part}"
            group = inside.setdefault(part, Group({}, is_path=True))
            if not isinstance(group, Group):
                raise ValueError(f"{path}/{key} cannot be stored: {place} is a value, not a group")
            inside = group.members
        made = plan(item, f"{place}/{name}", name)
        there = inside.get(name)
        if isinstance(there, Group):
            # Members of it came before, by names with slashes.
            if not isinstance(made, Group):
                raise ValueError(f"{path}/{key} cannot be stored: it is a group already")
            made.members = {**there.members, **made.members}
        inside[name] = made
    return members


def _parts(name: object, path: str) -> list[str]:
    """Return the names of the groups that a member's name leads through, and its own."""
    if not isinstance(name, str):
        raise TypeError(f"{path or '/'}: names of members are texts, not {name!r}")
    parts = [str(part) for part in name.split("/") if part]
    if not parts or "\0" in name or "." in parts:
        raise ValueError(f"{path or '/'}: a member cannot be called {name!r}")
    return parts


def _refused(path: str, value: object, reason: str = "") -> TypeError:
    reason = f": {reason}" if reason else ""
    return TypeError(f"{path}: a value of type {type(value).__name__} cannot be stored{reason}")


def _leaf(value: Any, path: str) -> Leaf:
    if value is None:
        return Leaf(_texts("None"), "is_none")
    if isinstance(value, str):
        return Leaf(_texts(str(value)), "is_str")
    if isinstance(value, (bytes, bytearray, memoryview)):
        # An opaque type has a size of one byte at least: no bytes are no elements.
        body = bytes(value)
        return Leaf(np.asarray(np.void(body)) if body else np.empty(0, "V1"), "is_bytes")
    if isinstance(value, (list, tuple)):
        return _list_leaf(value, path)
    if isinstance(value, h5py.Dataset):
        kinds = ("is_ndarray", TEXTS) if _is_text(value.dtype) else ("is_ndarray",)
        return Leaf(value, *kinds)
    if isinstance(value, np.ma.MaskedArray):
        raise _refused(path, value, "fill in what is masked first")
    if isinstance(value, np.ndarray):
        data, *flags = _array(value, path)
        return Leaf(data, "is_ndarray", *flags)
    if isinstance(value, (bool, int, float, complex, np.generic)):
        data = np.asarray(value)
        if data.dtype.kind == "O":
            raise _refused(path, value, "it has more than 64 bits")
        return Leaf(*_array(data, path))
    raise _refused(path, value, "numbers, texts, bytes, None, arrays, and lists of these can be")


def _is_text(dtype: Any) -> bool:
    return h5py.check_string_dtype(dtype) is not None


def _texts(values: Any) -> np.ndarray[Any, Any]:
    """Return texts as an array that h5py stores as UTF-8 of variable length."""
    found = np.asarray(values, dtype=object)
    for text in found.flat:
        if "\0" in text:
            raise ValueError("HDF5 ends a text at a zero character; store such a text as bytes")
        text.encode()
    return found.astype(TEXT)


def _array(array: np.ndarray[Any, Any], path: str) -> tuple[Any, ...]:
    """Return an array as h5py takes it, and the flags that its elements need."""
    kind = array.dtype.kind
    if kind in "biufcS":
        return (array,)
    if kind in "UT" or (kind == "O" and all(isinstance(one, str) for one in array.flat)):
        return _texts(array.astype(object)), TEXTS
    if kind in "mM":
        return (array.astype(h5py.opaque_dtype(array.dtype)),)
    if kind == "V" and array.dtype.itemsize:
        # Tried here, since h5py finds fields that it cannot store when it makes the type.
        try:
            h5t.py_create(array.dtype, logical=True)
        except TypeError as error:
            raise _refused(path, array, str(error)) from error
        return (array,)
    raise _refused(path, array, f"its elements are of type {array.dtype}")


# Lists and tuples.


def _list_leaf(value: list[Any] | tuple[Any, ...], path: str) -> Leaf:
    flag = "is_tuple" if isinstance(value, tuple) else "is_list"
    of_texts = TEXTS if isinstance(value, tuple) else "is_str"
    try:
        array = np.asarray(value)
    except ValueError:
        # It says what shapes there are, but not that they are the fault.
        raise _refused(path, value, "its parts are not of one length") from None
    levels = _levels_of(value)
    if levels == levels[0] * array.ndim:
        levels = ""
    exact = not (array.dtype.kind in "fc" and array.size and _may_be_rounded(array))
    if array.dtype.kind in "biufcmM" and exact:
        return Leaf(_array(array, path)[0], flag, levels=levels)
    objects = np.asarray(value, dtype=object)
    if not exact and not any(isinstance(one, int) and one != complex(one) for one in objects.flat):
        return Leaf(_array(array, path)[0], flag, levels=levels)
    leaves = [one.item() if isinstance(one, np.generic) else one for one in objects.flat]
    if all(isinstance(one, str) for one in leaves):
        return Leaf(_texts(leaves).reshape(objects.shape), flag, of_texts, levels=levels)
    if array.dtype.kind == "S" and all(isinstance(one, bytes) for one in leaves):
        if any(one.endswith(b"\0") for one in leaves):
            raise _refused(path, value, "bytes in it end with a zero, which would be lost")
        return Leaf(array, flag, levels=levels)
    for one in leaves:
        if not isinstance(one, (str, bool, int, float, complex, type(None))):
            raise _refused(path, value, f"it holds a value of type {type(one).__name__}")
    return _mixed(leaves, objects.shape, (flag, of_texts), levels)


def _may_be_rounded(array: np.ndarray[Any, Any]) -> bool:
    """Return whether whole numbers in a list of floating-point ones may have lost digits."""
    return not bool((np.abs(array) < 2.0**53).all())


def _mixed(leaves: list[Any], shape: tuple[int, ...], flags: tuple[str, ...], levels: str) -> Leaf:
    """Store a list of texts, numbers and None as texts, as the older package has them; ours knows what they were."""
    texts = [one if isinstance(one, str) else repr(one) for one in leaves]
    literals = np.array([not isinstance(one, str) for one in leaves])
    return Leaf(
        _texts(texts).reshape(shape),
        *flags,
        levels=levels,
        literals=literals.reshape(shape),
    )


def _levels_of(value: Any) -> str:
    levels = ""
    while isinstance(value, (list, tuple)):
        levels += "t" if isinstance(value, tuple) else "l"
        if not value:
            break
        value = value[0]
    return levels


# Into a file. Groups and datasets are h5py's low-level identifiers.


def mark_root(file: Any) -> None:
    """Give the root the attributes that a file of this layout has."""
    file.attrs["protocol"] = PROTOCOL
    # In local time, as the older package writes it.
    file.attrs["datetime"] = str(datetime.datetime.now())
    file.attrs["is_array"] = False


def mark_member_group(group: Any) -> None:
    """Give a group that was made by other means the attribute that groups have."""
    if not h5a.exists(group, b"is_array"):
        _set_flag(group, b"is_array", False)


def write_members(parent: Any, members: dict[str, Node], *, merge: bool) -> None:
    """Write members into a group.

    Parameters
    ----------
    parent : h5py.h5g.GroupID
        The group.
    members : dict
        What `plan` gave, by name.
    merge : bool
        Whether groups that are there keep their other members; else what has the same name goes.
    """
    for name, node in members.items():
        key = name.encode()
        if key in parent:
            if (merge or (isinstance(node, Group) and node.is_path)) and _merged(
                parent, key, node, merge=merge
            ):
                continue
            parent.unlink(key)
        _create(parent, key, node, merge=merge)


def _create(parent: Any, key: bytes, node: Node, *, merge: bool) -> None:
    link = None if key.isascii() else _UNICODE_LINK
    if isinstance(node, Leaf):
        _create_dataset(parent, key, node, link)
        return
    made = h5g.create(parent, key, lcpl=link)
    _mark_group(made, node.length)
    write_members(made, node.members, merge=merge)


def _merged(parent: Any, key: bytes, node: Node, *, merge: bool) -> bool:
    """Put a member in place of the one that is there, as far as it fits; return whether it did."""
    there = h5py.h5o.open(parent, key)
    if isinstance(node, Group):
        if not isinstance(there, h5g.GroupID):
            return False
        if node.is_path:
            write_members(there, node.members, merge=merge)
            return True
        attributes = h5py.AttributeManager(h5py.Group(there))
        is_list = bool(attributes.get("is_array"))
        if node.length is not None and not is_list:
            return False
        write_members(there, node.members, merge=True)
        if is_list:
            known = attributes.get("len")
            length = _last_number(there) + 1 if known is None else int(known)
            _unmark(there)
            _mark_group(there, max(length, _last_number(node.members) + 1))
        return True
    if not isinstance(there, h5d.DatasetID):
        return False
    data = _data(node)
    if _fills(node, data, there):
        # HDF5 keeps what does not fit into whole numbers at their limits, where NumPy would let it wrap round.
        is_whole = there.dtype.kind in "iu" and data.dtype.kind in "iuf"
        number = data if is_whole else data.astype(there.dtype)
        there.write(h5s.ALL, h5s.ALL, np.full(there.shape, number))
        return True
    same = there.shape == data.shape and there.dtype == data.dtype
    if not same or bool(_is_text(there.dtype)) != bool(_is_text(data.dtype)):
        return False
    if data.size:
        there.write(h5s.ALL, h5s.ALL, data)
    _unmark(there)
    _mark_dataset(there, node)
    return True


def _fills(leaf: Leaf, data: np.ndarray[Any, Any], there: Any) -> bool:
    """Return whether a member is a number, and what is there an array of numbers that hold it."""
    if leaf.flags or data.dtype.kind not in "biufc" or not there.shape:
        return False
    kinds = "biufc" if data.dtype.kind != "c" else "c"
    flags = h5py.Dataset(there).attrs
    is_array = not (flags.get("is_list") or flags.get("is_tuple"))
    return is_array and there.dtype.kind in kinds


def _last_number(names: Iterable[str | bytes]) -> int:
    """Return the number of the last item of a list, by the names of its members; -1 for none."""
    texts = (name.decode() if isinstance(name, bytes) else name for name in names)
    numbers = (text.rpartition("_")[2] for text in texts)
    return max((int(one) for one in numbers if one.isdecimal()), default=-1)


def _data(leaf: Leaf) -> np.ndarray[Any, Any]:
    data = leaf.data[()] if isinstance(leaf.data, h5py.Dataset) else leaf.data
    if isinstance(leaf.data, h5py.Dataset) and TEXTS in leaf.flags:
        return _texts(leaf.data.asstr()[()])
    return np.asarray(data, order="C")


def _create_dataset(parent: Any, key: bytes, leaf: Leaf, link: Any) -> None:
    data = _data(leaf)
    space = h5s.create_simple(data.shape) if data.shape else _SCALAR
    made = h5d.create(parent, key, h5t.py_create(data.dtype, logical=True), space, lcpl=link)
    if data.size:
        made.write(h5s.ALL, h5s.ALL, data)
    _mark_dataset(made, leaf)


def _mark_dataset(dataset: Any, leaf: Leaf) -> None:
    for flag in FLAGS:
        _set_flag(dataset, flag.encode(), flag in leaf.flags)
    if TEXTS in leaf.flags:
        _set_flag(dataset, TEXTS.encode(), True)
    extra = {"levels": leaf.levels or None, "literals": leaf.literals}
    for name, value in extra.items():
        if value is not None:
            h5py.AttributeManager(h5py.Dataset(dataset))[name] = value


def _unmark(item: Any) -> None:
    ours = (TEXTS.encode(), b"levels", b"literals", b"is_array")
    for key in (*(flag.encode() for flag in FLAGS), *ours):
        if h5a.exists(item, key):
            h5a.delete(item, key)


def _mark_group(group: Any, length: int | None) -> None:
    _set_flag(group, b"is_array", length is not None)
    if length is not None:
        h5py.AttributeManager(h5py.Group(group))["len"] = length


def _set_flag(item: Any, key: bytes, value: bool) -> None:
    h5a.create(item, key, BOOLEAN, _SCALAR).write(_TRUE if value else _FALSE, mtype=BOOLEAN)
