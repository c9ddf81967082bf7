"""Reads values from HDF5 files: the counterpart of `mosaic.file_manipulation.encoding`.

Flags that a file lacks count as False; what a dataset was then follows from its type and shape. Nothing but what is
asked for is opened: a filter names the members of a group, which are looked up by name, however many there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5i, h5o, h5t

from mosaic.file_manipulation.elements import decoded_elements, has_flag, raw_elements, whole_array
from mosaic.file_manipulation.lazy import LazyArray, Source
from mosaic.file_manipulation.struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Only: TypeAlias = "dict[str, Only]"

_NUMBERED = re.compile(r".*_([0-9]{8,})", re.DOTALL)

_EVERYTHING: Only = {}

_NAMES = {"None": None, "True": True, "False": False}


class Reader:
    """Reads the members of groups.

    Parameters
    ----------
    lazy : bool
        Whether arrays stay in the file, as `LazyArray`.
    filter : mapping, optional
        For groups, by name, the members to keep: names, or numbers of a list's items.
    only : str or iterable of str, optional
        The members of the first group to read, by name or by path: ``space/shape``. In lists a path goes on
        in each item.
    source : Source, optional
        The file, to leave groups there too until they are looked at.
    """

    def __init__(
        self,
        lazy: bool = True,
        filter: Mapping[str, Any] | None = None,
        only: str | Iterable[str] | None = None,
        source: Source | None = None,
    ) -> None:
        self._lazy = lazy
        self._source = source if lazy else None
        self._filter = dict(filter or {})
        paths = [only] if isinstance(only, str) else list(only or ())
        self._only = _tree(paths)
        # No path at all is nothing to read; a path without names is the first group.
        self._nothing = only is not None and not any(paths)

    def read(self, item: Any, name: str = "") -> Any:
        """Return the value of a low-level identifier, which has that name."""
        if isinstance(item, h5d.DatasetID):
            return self._dataset(item)
        if has_flag(item, b"is_array"):
            return self._list(item, name, self._only)
        return self._struct(item, name, self._only)

    def _struct(self, group: Any, name: str, only: Only) -> Struct:
        made = Struct()
        if self._nothing:
            return made
        for one in self._kept(group, name, only):
            # Nothing in it is left to convert.
            dict.__setitem__(made, one, self._member(group, one, only.get(one, _EVERYTHING)))
        return made

    def _member(self, group: Any, name: str, only: Only) -> Any:
        item = h5o.open(group, name.encode())
        if not isinstance(item, h5g.GroupID):
            return self._dataset(item)
        if has_flag(item, b"is_array"):
            return self._list(item, name, only)
        return self._deferred(item, name, only) if self._source else self._struct(item, name, only)

    def _list(self, group: Any, name: str, only: Only) -> list[Any]:
        numbered = []
        for one in self._kept(group, name, _EVERYTHING):
            match = _NUMBERED.fullmatch(one)
            if match:
                numbered.append((int(match[1]), one))
        names = [one for _, one in sorted(numbered)]
        if self._source is None:
            return [self._member(group, one, only) for one in names]
        # By the layout they are groups: none of them is opened.
        path = h5i.get_name(group)
        return [self._deferred(path + b"/" + one.encode(), one, only) for one in names]

    def _deferred(self, group: Any, name: str, only: Only) -> Struct:
        assert self._source is not None  # noqa: S101 - for the type checker
        path = group if isinstance(group, bytes) else h5i.get_name(group)
        return self._source.struct(path, lambda found: self._struct(found, name, only))

    def _kept(self, group: Any, name: str, only: Only) -> Iterable[str]:
        """Return the names of the members to read, in the file's order."""
        wanted = self._filter.get(name)
        if wanted is None:
            if only:
                return [one for one in only if one.encode() in group]
            return [key.decode() for key in group]
        given = [wanted] if isinstance(wanted, (str, int)) else wanted
        candidates = {one for each in given for one in _candidates(each, name)}
        kept = sorted(one for one in candidates if one.encode() in group)
        return [one for one in kept if one in only] if only else kept

    # Datasets.

    def _dataset(self, item: Any) -> Any:
        if not isinstance(item, h5d.DatasetID):
            raise TypeError("a named type is no value: the file was not written by mosaic")
        shape = item.shape
        if shape is None:
            return None
        kind = item.get_type().get_class()
        if not shape:
            return self._scalar(item, kind)
        if kind == h5t.OPAQUE and has_flag(item, b"is_bytes"):
            return b""
        if not has_flag(item, b"is_ndarray"):
            for flag, letter in ((b"is_list", "l"), (b"is_tuple", "t")):
                if has_flag(item, flag):
                    return _nested(item, letter)
        return LazyArray(item) if self._lazy else whole_array(item)

    def _scalar(self, item: Any, kind: int) -> Any:
        if has_flag(item, b"is_ndarray"):
            # An array without dimensions: NumPy's scalar.
            return whole_array(item)[()]
        value: Any = raw_elements(item)[()]
        if kind == h5t.STRING:
            if has_flag(item, b"is_none"):
                return None
            if isinstance(value, bytes) and not _is_variable(item):
                # Of a fixed length: bytes, unless it says that it is a text.
                return value.decode() if has_flag(item, b"is_str") else value
            return value.decode() if isinstance(value, bytes) else value
        if kind == h5t.OPAQUE and isinstance(value, np.void):
            return value.tobytes()
        return value.item() if value.dtype.kind in "biufc" else value


def _tree(paths: Iterable[str]) -> Only:
    """Return what to read as nested dictionaries of names; an empty one stands for everything."""
    tree: Only = {}
    whole: list[tuple[Only, str]] = []
    for path in paths:
        parts = [part for part in path.split("/") if part]
        if not parts:
            continue
        *above, last = parts
        branch = tree
        for part in above:
            branch = branch.setdefault(part, {})
        branch.setdefault(last, {})
        whole.append((branch, last))
    for branch, last in whole:
        # A group that is named is read whole, whatever else is named in it.
        branch[last] = {}
    return tree


def _candidates(wanted: Any, name: str) -> tuple[str, ...]:
    """Return the names that a filter may mean."""
    text = str(wanted)
    return (text, f"{name}_{int(text):08d}") if text.isdecimal() else (text,)


def _is_variable(item: Any) -> bool:
    return bool(item.get_type().is_variable_str())


def _nested(item: Any, letter: str) -> Any:
    """Return a dataset as the lists and tuples that it was."""
    found = decoded_elements(item)
    literals = _extra(item, "literals")
    if literals is not None:
        values = zip(found.flat, np.asarray(literals).flat, strict=True)
        found.flat = [_literal(text) if is_literal else text for text, is_literal in values]
    return _levelled(found, _extra(item, "levels") or letter * found.ndim)


def _extra(item: Any, name: str) -> Any:
    """Return an attribute that few datasets have, None where it is not there."""
    if not h5a.exists(item, name.encode()):
        return None
    return h5py.AttributeManager(h5py.Dataset(item))[name]


def _levelled(array: Any, levels: str) -> Any:
    if not levels:
        return array
    kind = tuple if levels[0] == "t" else list
    if levels[0] == "t" and array.ndim > 1 and array.dtype.kind in "biufc":
        # As in the older package rows of a tuple are arrays, with which programs compute.
        return tuple(array)
    if set(levels) == {"l"} and len(levels) == array.ndim and array.dtype.kind not in "mM":
        return array.tolist()
    if array.ndim == 1 and array.dtype.kind not in "mM":
        return kind(array.tolist())
    return kind(_levelled(one, levels[1:]) for one in array)


def _literal(text: str) -> Any:
    if text in _NAMES:
        return _NAMES[text]
    for kind in (int, float, complex):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
