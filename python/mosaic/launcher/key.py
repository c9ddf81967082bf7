"""``mosaic-workspace/monitor.key``: the file by which programs find and join the network of `mrun`.

The file names the private directory with the sockets and the secret, and the settings. Whether the `mrun` that wrote it
lives is told by the lock that every process of it holds in that directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import stat
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from mosaic import _core
from mosaic._version import __version__
from mosaic.errors import MosaicError


@dataclass(frozen=True)
class Key:
    """What is in the file.

    Parameters
    ----------
    directory : str
        Where the sockets and the secret are.
    pid : int
        The process of the monitor.
    host : str
        The machine that it runs on.
    protocol : int
        The version of mosaic's protocol.
    version : str
        The version of mosaic.
    commanded : bool
        Whether it runs a command, to which the workers belong; else they are for any program of this user.
    num_workers, num_threads : int
        Workers of the node, threads of each.
    allocated_workers, allocated_threads : bool
        Whether these were asked for: then they are what a program may have, else they are what the machine has.
    mode : str
        ``cluster``, or ``local``.
    log_level : str or None
        If one was asked for.
    profile : bool
        Whether programs are to be profiled.
    """

    directory: str
    pid: int
    host: str
    protocol: int
    version: str
    commanded: bool
    num_workers: int
    num_threads: int
    allocated_workers: bool
    allocated_threads: bool
    mode: str
    log_level: str | None
    profile: bool

    @property
    def alive(self) -> bool:
        """Whether a process of it lives; on another machine, where that cannot be told, it is taken to."""
        return self.host != socket.gethostname() or is_held(self.directory)


def is_held(directory: str) -> bool:
    """Return whether a process holds the lock in a runtime's directory."""
    try:
        descriptor = os.open(os.path.join(directory, "lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def read(path: str | os.PathLike[str]) -> Key:
    """Read a key, unless another user may have written or read it.

    Raises
    ------
    FileNotFoundError
        There is none.
    MosaicError
        It, or the folder around it, is not this user's alone; or it is no key of this version.
    """
    path = os.path.abspath(path)
    check_folder(os.path.dirname(path))
    text, mode = _read(path)
    if mode & 0o077:
        raise MosaicError(
            f"{path} can be read or written by others (mode {mode:o}): remove it, and start mrun again"
        )
    found = _parse(text)
    if found is None:
        raise MosaicError(
            f"{path} is not a key of mosaic {__version__}: was it written by another version? "
            "Remove it if no mrun runs here"
        )
    if found.protocol != _core.PROTOCOL_VERSION:
        raise MosaicError(
            f"{path} was written by mosaic {found.version}, which speaks another protocol than this one, "
            f"{__version__}: use one version everywhere"
        )
    return found


def _read(path: str) -> tuple[str, int]:
    """Return what is in a file of this user's, and who may read and write it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise MosaicError(f"{path} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise MosaicError(f"{path} is not a file: remove it")
        _check_owner(path, status)
        return file.read(), status.st_mode & 0o777


def _parse(text: str) -> Key | None:
    try:
        content = json.loads(text)
        return Key(**{field.name: content[field.name] for field in fields(Key)})
    except (ValueError, TypeError, KeyError):
        return None


def own_folder(folder: str) -> None:
    """Take the right to write from others than this user, who has a folder; whoever made it let its group, perhaps.

    Raises
    ------
    MosaicError
        It belongs to another user.
    """
    status = os.stat(folder)
    if status.st_uid == os.geteuid() and status.st_mode & 0o022:
        os.chmod(folder, status.st_mode & 0o755)
    check_folder(folder)


def check_folder(folder: str) -> None:
    """Refuse a folder in which others could have put a key.

    Raises
    ------
    FileNotFoundError
        There is none.
    MosaicError
        It belongs to another user, or others may write to it.
    """
    status = os.stat(folder, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        # A link to a larger disk is fine, if this user has made it.
        _check_owner(folder, status)
        status = os.stat(folder)
    if not stat.S_ISDIR(status.st_mode):
        raise MosaicError(f"{folder} is not a folder: mrun keeps its key in one of that name")
    _check_owner(folder, status)
    if status.st_mode & 0o022:
        raise MosaicError(
            f"others may write to {folder} (mode {status.st_mode & 0o777:o}): chmod 700 it, or remove it"
        )


def _check_owner(path: str, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise MosaicError(
            f"{path} belongs to user {status.st_uid}, not to {os.geteuid()}: it is not trusted; "
            "work in a directory of your own"
        )


def place(key: Key, path: Path, taken: Path) -> tuple[Path, str | None]:
    """Write a key where programs find it.

    Parameters
    ----------
    key : Key
        What to write.
    path : Path
        Where; replaced if what is there is left over.
    taken : Path
        Where else, if that is another's who lives.

    Returns
    -------
    Path
        Where it is.
    str or None
        A word about what was there.

    Raises
    ------
    MosaicError
        The file that is there is another user's.
    """
    draft = path.with_name(f".{key.pid}.key")
    descriptor = os.open(
        draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(key), file, indent=1)
        file.write("\n")
    said = None
    try:
        while True:
            try:
                # Fails if there is one: of two at a time one wins.
                os.link(draft, path)
            except FileExistsError:
                with contextlib.suppress(FileNotFoundError):
                    living, said = _look(path)
                    if living:
                        draft.rename(taken)
                        return taken, said
                    _remove_left_over(path)
            else:
                return path, said
    finally:
        draft.unlink(missing_ok=True)


def _look(path: Path) -> tuple[bool, str]:
    """Return whether a key is that of a living one, and what is to be said of it.

    One that others may write to is not trusted, but that it is left over may be seen from it.
    """
    found = _parse(_read(os.fspath(path))[0])
    if found is None:
        return False, f"{path} was no key of this version; it is replaced"
    if not found.alive:
        return (
            False,
            f"{path} was left over from an mrun (process {found.pid}) that is gone; it is replaced",
        )
    where = "" if found.host == socket.gethostname() else f" on {found.host}"
    return True, (
        f"{path} belongs to another mrun (process {found.pid}{where}), which runs: "
        "this one has a key of its own"
    )


def _remove_left_over(path: Path) -> None:
    """Remove a key that was left over, unless another has replaced it meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        # Of those who have seen that it is left over one removes it; the others see that it is another now.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(descriptor).st_ino and not _look(path)[0]:
                path.unlink()
    finally:
        os.close(descriptor)


def remove(path: Path, directory: str) -> None:
    """Remove the key of that directory, and the folder around it if nothing else is in there."""
    # It has gone already, or another's is there; something else is in the folder.
    with contextlib.suppress(OSError, MosaicError):
        found = _parse(_read(os.fspath(path))[0])
        if found is not None and found.directory == directory:
            path.unlink()
    with contextlib.suppress(OSError):
        path.parent.rmdir()
