"""HDF5 files in the layout that mosaic's programs exchange: `HDF5`, and functions for one step.

A new file is written beside its place and moved there when its first `HDF5.dump` or `HDF5.append` is complete: whatever
ends the writer before, a file that was there stays as it was. Later writes change the file in place.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping

from mosaic.file_manipulation.file_names import FileName, named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Any, Self

    from mosaic.file_manipulation.lazy import LazyArray
    from mosaic.file_manipulation.opening import Opened
    from mosaic.file_manipulation.struct import Struct

__all__ = ["HDF5", "LazyArray", "append", "file_exists", "read", "rm", "write"]

_MODES = {"r": "r", "r+": "r+", "a": "a", "a+": "a", "w": "w", "w+": "w", "x": "x", "w-": "x"}
"""The modes of `HDF5`, and what h5py calls them."""


class HDF5:
    """A file of named values, read as `Struct`.

    Parameters
    ----------
    filename : str or path, optional
        The file.
    path : str or path, optional
        The folder, by default the working directory; the file itself where nothing else names one.
    project_name, parameter : str, optional
        In place of a file name: the file is ``<project>-<ParameterInCamelCase>.h5``.
    version : int, optional
        From 1 on it goes into that name, with five digits. Without it writing takes the first version that there is
        no file of, reading and ``r+`` the last that there is, which -1 stands for in every mode.
    version_start : int
        The first version that is tried for a new file.
    extension : str
        The end of that name.
    mode : str
        ``r`` to read; ``w`` to write a new file, in place of one that is there; ``x`` the same where none is; ``a`` to
        write to one, new or not; ``r+`` to write to one that is there.
    **others
        Keywords that it does not know are ignored, here and in the other functions and methods of this module: programs
        pass those of their own ``load`` and ``dump`` on.

    Raises
    ------
    RuntimeError
        Nothing names the file.
    FileNotFoundError
        There is no such file to read.
    FileExistsError
        There is one, and the mode is ``x``.
    OSError
        The file is no HDF5 file, or is in use.
    ValueError
        There is no such mode.
    ImportError
        h5py is not installed.

    Examples
    --------
    >>> import os, tempfile
    >>> name = os.path.join(tempfile.mkdtemp(), "model.h5")
    >>> with HDF5(name, mode="w") as file:
    ...     file.dump({"space": {"shape": (3, 4)}, "name": "vp"})
    >>> with HDF5(name) as file:
    ...     description = file.load()
    >>> description.space.shape, description.name
    ((3, 4), 'vp')
    """

    def __init__(
        self,
        filename: str | os.PathLike[str] | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        project_name: str | None = None,
        parameter: str | None = None,
        version: int | None = None,
        version_start: int = 0,
        extension: str = ".h5",
        mode: str = "r",
        **others: Any,
    ) -> None:
        if mode not in _MODES:
            raise ValueError(
                f"files are not opened with mode {mode!r} but with one of {', '.join(_MODES)}"
            )
        self._mode = _MODES[mode]
        name = FileName(
            filename,
            path=path,
            project_name=project_name,
            parameter=parameter,
            version=version,
            version_start=version_start,
            extension=extension,
        )
        self._opened = _open(name, self._mode)
        # A writer that is forgotten, not closed, leaves what it wrote, as h5py does.
        self._finaliser = weakref.finalize(self, self._opened.abandon)

    @property
    def filename(self) -> str:
        """The name of the file."""
        return self._opened.name

    @property
    def mode(self) -> str:
        """What the file was opened for."""
        return self._mode

    @property
    def file(self) -> Any:
        """The open `h5py.File`; until a new file is complete it lies beside its place."""
        return self._opened.file

    def dump(self, content: Mapping[str, Any], **others: Any) -> None:
        """Write members; those of the same name that are there are replaced.

        Parameters
        ----------
        content : mapping of str to object
            The members: numbers, texts, bytes, None, arrays, lists and tuples of these, dictionaries, and lists of
            dictionaries. A slash in a name leads into a group.
        **others
            Ignored.

        Raises
        ------
        TypeError
            One cannot be stored; the message names it. Nothing has been written then.
        OSError
            The file is open for reading only, or closed, or there is no room for it.
        """
        self._write(content, merge=False)

    def append(self, content: Mapping[str, Any], **others: Any) -> None:
        """Add members, or overwrite them in place; the others in the same groups stay.

        A number fills an array that has its name. Items of a list overwrite those of the same number. To add some, name
        them: ``{"shots": {"shots_00000007": {...}}}``.

        Parameters
        ----------
        content : mapping of str to object
            See `dump`.
        **others
            Ignored.

        Raises
        ------
        TypeError, OSError
            See `dump`.
        """
        self._write(content, merge=True)

    def load(
        self,
        lazy: bool = True,
        filter: Mapping[str, Any] | None = None,
        only: str | Iterable[str] | None = None,
        **others: Any,
    ) -> Struct:
        """Read the members.

        Parameters
        ----------
        lazy : bool
            Whether arrays stay in the file, as h5py datasets with a ``load()``, usable until the file is closed; and
            groups, until something of them is looked at.
        filter : mapping, optional
            For groups, by name, the members to keep: names, or numbers of a list's items: ``{"shots": [0, 7]}``. What
            there is not is left out.
        only : str or iterable of str, optional
            The members to read, the others are left out; a path goes into groups: ``["space/shape"]``. An empty list
            reads none.
        **others
            Ignored.

        Returns
        -------
        Struct

        Raises
        ------
        OSError
            The file is closed.
        """
        import h5py

        from mosaic.file_manipulation.decoding import Reader

        file = self._open_file()
        reader = Reader(lazy, filter, only, self._opened.source)
        content: Struct = reader.read(h5py.h5g.open(file.id, b"/"))
        return content

    def close(self) -> None:
        """Close the file; closing it again does nothing."""
        self._finaliser.detach()
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._opened.fail()
        self.close()

    def __repr__(self) -> str:
        state = "open" if self._opened.file else "closed"
        return f"<{type(self).__name__} {self.filename!r}, mode {self.mode!r}, {state}>"

    def _open_file(self) -> Any:
        if not self._opened.file:
            raise OSError(
                f"{self.filename} has been closed: open it again with HDF5({self.filename!r})"
            )
        return self._opened.file

    def _write(self, content: Mapping[str, Any], *, merge: bool) -> None:
        if not isinstance(content, Mapping):
            raise TypeError(f"a file holds a dictionary of values, not a {type(content).__name__}")
        file = self._open_file()
        if self._mode == "r":
            raise OSError(
                f"{self.filename} is open for reading only: open it with mode='a' to write"
            )
        import h5py

        from mosaic.file_manipulation import encoding

        planned = encoding.plan_members(content, "")
        try:
            encoding.mark_root(file)
            encoding.write_members(h5py.h5g.open(file.id, b"/"), planned, merge=merge)
            file.flush()
        except BaseException as error:
            self._opened.fail()
            if isinstance(error, RuntimeError):
                # What h5py makes of a full disk, now and then.
                raise OSError(f"{self.filename} could not be written: {error}") from error
            raise
        self._opened.publish()


def file_exists(*args: Any, **kwargs: Any) -> bool:
    """Return whether there is a file, of any version where none is given; takes what names one for `HDF5`."""
    return named(*args, **kwargs).to_read() is not None


def rm(*args: Any, **kwargs: Any) -> None:
    """Remove a file, the last version where none is given; takes what names one for `HDF5`.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    name = named(*args, **kwargs)
    found = name.to_read()
    if found is None:
        raise name.missing()
    os.remove(found)


def write(name: str | os.PathLike[str], content: Any, group: Any = None, **others: Any) -> None:
    """Write a new file in one step, or one member into a group of an open file.

    Parameters
    ----------
    name : str or path
        The file; with a group, the member, or ``/`` for the group itself.
    content : object
        The members of the file; with a group, the member's value.
    group : h5py.Group, optional
        The group to write to.
    **others
        Ignored.

    Raises
    ------
    TypeError
        Something in it cannot be stored; the message names it.
    """
    _write_one(name, content, group, "w")


def append(name: str | os.PathLike[str], content: Any, group: Any = None, **others: Any) -> None:
    """Add to a file in one step, or to a member of a group of an open file; see `write` and `HDF5.append`."""
    _write_one(name, content, group, "a")


def _write_one(name: str | os.PathLike[str], content: Any, group: Any, mode: str) -> None:
    if group is None:
        with HDF5(name, mode=mode) as file:
            (file.dump if mode == "w" else file.append)(content)
        return
    from mosaic.file_manipulation import encoding

    path, member = group.name.rstrip("/"), os.fspath(name)
    if member == "/" and not isinstance(content, Mapping):
        kind = type(content).__name__
        raise TypeError(f"{path or '/'}: a group holds a dictionary of values, not a {kind}")
    members = content if member == "/" else {member: content}
    planned = encoding.plan_members(members, path)
    if member == "/":
        encoding.mark_member_group(group.id)
    encoding.write_members(group.id, planned, merge=mode == "a")


def read(
    item: Any,
    lazy: bool | None = None,
    filter: Mapping[str, Any] | None = None,
    only: str | Iterable[str] | None = None,
    **others: Any,
) -> Any:
    """Read a file in one step, or a group or dataset of an open file.

    Parameters
    ----------
    item : str, path, h5py.Group or h5py.Dataset
        What to read.
    lazy : bool, optional
        Whether arrays stay in the file: by default those of an open one do. A file that was given by name is
        closed when the last of its arrays has gone.
    filter, only
        See `HDF5.load`.
    **others
        Ignored.

    Returns
    -------
    Struct or object
    """
    if isinstance(item, (str, os.PathLike)):
        file = HDF5(item)
        content = file.load(bool(lazy), filter, only)
        if not lazy:
            file.close()
        return content
    from mosaic.file_manipulation.decoding import Reader

    name = (item.name or "").rpartition("/")[2]
    return Reader(lazy is not False, filter, only).read(item.id, name)


def _open(name: FileName, mode: str) -> Opened:
    try:
        from mosaic.file_manipulation.opening import open_named
    except ImportError as error:
        raise ImportError(
            f"mosaic.h5 cannot open {name}: it needs h5py, which cannot be imported here ({error}); "
            "pip install h5py, or mosaic with its extra: pip install 'mosaic[hdf5]'",
            name="h5py",
        ) from error
    return open_named(name, mode)


def __getattr__(name: str) -> Any:
    if name == "LazyArray":
        from mosaic.file_manipulation.lazy import LazyArray

        return LazyArray
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
