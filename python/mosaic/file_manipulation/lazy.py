"""Reads arrays (`LazyArray`) and groups (a `Struct` that fills itself) of a file when they are first used.

A group is read when something of it is first looked at; until then it costs its name. That may be after the file was
closed: a file with few groups left reads them when it closes; where there are many, it is opened again, which fails
if it has changed since. Arrays are as h5py's datasets are: gone with the file.

One lock stands over the filling, taken before any of h5py's.
"""

from __future__ import annotations

import os
import threading
import weakref

import h5py
from h5py import h5g

from mosaic.file_manipulation.elements import whole_array
from mosaic.file_manipulation.struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FEW = 1000
"""Groups that a file reads when it closes: about a tenth of a second."""

_LOADER: Any = object()
"""The only key of a `LazyStruct`: what fills it."""

_lock = threading.RLock()


class LazyArray(h5py.Dataset):  # type: ignore[misc]
    """An array that stays in its file until it is asked for: an `h5py.Dataset` with `load`.

    Slices of it read that part. It can be used as long as the file is open. Pickled or copied, it is the array.
    """

    def load(self) -> Any:
        """Return the whole array.

        Returns
        -------
        ndarray
        """
        if not self.id.valid:
            raise OSError(
                "the file of this array has been closed: load it before, or with lazy=False"
            )
        return whole_array(self.id)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.load().__reduce_ex__(protocol)

    def __copy__(self) -> Any:
        return self.load()

    def __deepcopy__(self, memo: Any) -> Any:
        return self.load()


class LazyStruct(Struct):
    """A `Struct` that has not been read; it becomes a plain one when it is."""

    __slots__ = ()


def lazy_struct(loader: Callable[[], Struct]) -> LazyStruct:
    """Make a `Struct` that a function fills when it is first looked at."""
    made = LazyStruct()
    dict.__setitem__(made, _LOADER, loader)
    return made


def fill(struct: Any) -> None:
    """Read a `Struct` that has not been read; anything else is left alone."""
    if type(struct) is not LazyStruct:
        return
    with _lock:
        if type(struct) is not LazyStruct:
            return
        content = dict.__getitem__(struct, _LOADER)()
        dict.pop(struct, _LOADER)
        dict.update(struct, content)
        object.__setattr__(struct, "__class__", Struct)


def _filling(name: str) -> Callable[..., Any]:
    method = getattr(Struct, name)

    def filled(self: Any, *args: Any, **kwargs: Any) -> Any:
        for one in (self, *args):
            fill(one)
        return method(self, *args, **kwargs)

    filled.__name__ = name
    return filled


# Whatever looks at the members. With an `__iter__` of its own, C code leaves its short cut through a dict.
for _name in (
    *("__contains__", "__copy__", "__delitem__", "__dir__", "__eq__", "__getitem__", "__ior__"),
    *("__iter__", "__len__", "__ne__", "__or__", "__reduce_ex__", "__repr__", "__reversed__"),
    *("__ror__", "__setitem__", "__str__", "copy", "get", "items", "keys", "pop", "update"),
    "values",
):
    setattr(LazyStruct, _name, _filling(_name))
del _name


class Source:
    """A file that groups are still to be read from.

    Parameters
    ----------
    file : h5py.File
        The open file.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left: dict[int, weakref.ref[LazyStruct]] = {}
        self._place = ""
        self._state: tuple[int, ...] = ()

    def struct(self, path: bytes, read: Callable[[Any], Struct]) -> LazyStruct:
        """Return a `Struct` for a group, to be read when it is looked at.

        Parameters
        ----------
        path : bytes
            The group.
        read : callable
            Makes a `Struct` of its low-level identifier.
        """

        def load() -> Struct:
            content = self._with_group(path, read)
            self._left.pop(key, None)
            return content

        made = lazy_struct(load)
        key = id(made)
        self._left[key] = weakref.ref(made, lambda _: self._left.pop(key, None))
        return made

    def finish(self) -> None:
        """Read what is left, if it is little; the file is about to be closed."""
        for _ in range(FEW):
            reference = next(iter(self._left.values()), None)
            if reference is None or len(self._left) > FEW:
                return
            fill(reference())

    def leave(self, place: str | None) -> None:
        """Note where to find the file, which has been closed, again; None if it has been removed."""
        self._file = None
        if place is not None and self._left:
            self._place = os.path.realpath(place)
            self._state = _state_of(self._place)

    def _with_group(self, path: bytes, read: Callable[[Any], Struct]) -> Struct:
        if self._file is not None:
            return read(h5g.open(self._file.id, path))
        if not self._state or _state_of(self._place) != self._state:
            raise OSError(
                f"{path.decode()} of {self._place or 'a file'} had not been looked at before that was closed, and the "
                "file has changed or gone since: look at it before, or load with lazy=False"
            )
        with open_file(self._place, self._place, "r") as file:
            return read(h5g.open(file.id, path))


def open_file(name: str, place: str, mode: str) -> Any:
    """Open a file that lies at a place, maybe not yet the one it is named by.

    Raises
    ------
    OSError
        It cannot be opened; the message names it.
    """
    try:
        return h5py.File(place, mode)
    except (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError):
        raise
    except OSError as error:
        # h5py does not name the file, and its reason is about the library's own steps.
        raise OSError(f"{name} cannot be opened as an HDF5 file: {error}") from error


def _state_of(place: str) -> tuple[int, ...]:
    try:
        found = os.stat(place)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
