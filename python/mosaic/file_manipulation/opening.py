"""Opens files; a new file has a temporary name until it is complete.

Until `Opened.publish` nothing is at that place, or the file that was there before.
"""

from __future__ import annotations

import errno
import os

from mosaic.file_manipulation.lazy import Source, open_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mosaic.file_manipulation.file_names import FileName


class Opened:
    """An open file, beside its place as long as it is new and incomplete.

    Parameters
    ----------
    name : str
        Its place.
    file : h5py.File
        The open file.
    beside : str, optional
        Where it lies until it is complete.
    unused : callable, optional
        Gives an unused place for the file; without it a file that is there is replaced.
    """

    def __init__(
        self,
        name: str,
        file: Any,
        beside: str | None = None,
        unused: Callable[[], str] | None = None,
    ) -> None:
        self.name = name
        self.file = file
        self.source = Source(file)
        self._beside = beside
        self._unused = unused
        self._failed = False
        # A fork's child has the same file open, which is not its to move.
        self._process = os.getpid()

    def fail(self) -> None:
        """Note that what has been written is not complete."""
        self._failed = True

    def publish(self) -> None:
        """Move a new file to its place.

        Raises
        ------
        FileExistsError
            Another process has made a file there meanwhile, which was not to be replaced.
        """
        beside, self._beside = self._beside, None
        if beside is None:
            return
        if self._unused is None:
            os.replace(beside, os.path.realpath(self.name))
            return
        while not _moved(beside, self.name):
            name = self._unused()
            if name == self.name:
                text = f"another writer has made the file meanwhile; what was written here is in {beside}"
                raise FileExistsError(errno.EEXIST, text, name)
            # The next version.
            self.name = name

    def abandon(self) -> None:
        """Release a file that was not closed: it is complete, and open as long as anybody has a part of it."""
        if self.file and self._beside is not None and self._process == os.getpid():
            self.file.flush()
            self._settle()

    def close(self) -> None:
        """Close the file, and move it to its place or remove it."""
        if not self.file or self._process != os.getpid():
            return
        try:
            self.source.finish()
        finally:
            try:
                self._close_file()
            finally:
                lost = self._is_lost
                self._settle()
                self.source.leave(None if lost else self.name)

    @property
    def _is_lost(self) -> bool:
        return self._failed and self._beside is not None

    def _close_file(self) -> None:
        try:
            self.file.close()
        except Exception as error:
            # h5py writes what it still holds, for which there may be no room. Of a file that goes, that is nothing new.
            if not self._is_lost:
                self.fail()
                raise OSError(f"{self.name} could not be written to its end: {error}") from error

    def _settle(self) -> None:
        if not self._failed:
            self.publish()
        elif self._beside is not None:
            os.unlink(self._beside)
            self._beside = None


def open_named(name: FileName, mode: str) -> Opened:
    """Open a file for one of the values of `MODES`, a new one beside its place."""
    if mode in {"w", "x"}:
        return _open_new(name, mode)
    if mode == "a" and name.any_version:
        return _open_new(name, "x")
    found = name.to_read()
    if found is None:
        if mode == "a":
            return _open_new(name, "x")
        raise name.missing()
    return Opened(found, open_file(found, found, mode))


def _open_new(naming: FileName, mode: str) -> Opened:
    name = naming.to_write()
    place = os.path.realpath(name)
    folder, base = os.path.split(place)
    there = os.path.lexists(place)
    if os.path.isdir(place):
        raise IsADirectoryError(errno.EISDIR, "it cannot be written: it is a folder", name)
    if there and mode == "x":
        text = "there is a file already: mode='w' writes in its place"
        raise FileExistsError(errno.EEXIST, text, name)
    if there and not os.access(place, os.W_OK):
        raise PermissionError(errno.EACCES, "the file may not be written to", name)
    if not os.path.isdir(folder):
        text = f"it cannot be written: there is no folder {folder}"
        raise FileNotFoundError(errno.ENOENT, text, name)
    if there and not os.access(folder, os.W_OK):
        # Nothing can be made beside it.
        return Opened(name, open_file(name, name, mode))
    beside = os.path.join(folder, f".{base}.{os.getpid()}-{os.urandom(4).hex()}.partial")
    unused = naming.to_write if mode == "x" or naming.any_version else None
    opened = Opened(name, open_file(name, beside, "x"), beside, unused)
    if there:
        os.chmod(beside, os.stat(place).st_mode & 0o7777)
    return opened


def _moved(beside: str, name: str) -> bool:
    """Move a file to where there is none; return whether there was none."""
    try:
        os.link(beside, name)
    except FileExistsError:
        return False
    except OSError:
        # A file system without hard links: what is made there at this very moment is replaced.
        if os.path.lexists(name):
            return False
        os.rename(beside, name)
    else:
        os.unlink(beside)
    return True
