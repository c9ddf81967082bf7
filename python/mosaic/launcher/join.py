"""Finds the network of `mrun` that this program joins, and its settings."""

from __future__ import annotations

import os

from mosaic._core import MonitorAddress
from mosaic.errors import MosaicError
from mosaic.launcher.recording import WORKSPACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mosaic.launcher.key import Key

VARIABLE = "MOSAIC_MONITOR_KEY"
"""Names the key to the command that `mrun` runs; empty means that there is none."""

NAME = "monitor.key"
"""The name of the key in the workspace."""


class Launched:
    """An `mrun` that was found.

    Parameters
    ----------
    key : Key
        What it left.
    path : str
        Where.
    named : bool
        Whether the environment names it: then this program belongs to it. Else its key was found in the working
        directory.
    """

    def __init__(self, key: Key, path: str, *, named: bool) -> None:
        self.key = key
        self.path = path
        self.named = named

    @property
    def address(self) -> MonitorAddress:
        """Where its monitor is."""
        return MonitorAddress(
            directory=self.key.directory,
            process=self.key.pid,
            key=self.path,
            commanded=self.named and self.key.commanded,
        )

    def workers(self, asked: int | None) -> int | None:
        """Return how many workers there are to be, given what the program asks for; None if neither says."""
        given = self.key.num_workers if self.key.allocated_workers else None
        return _settle("num_workers", asked, given)

    def threads(self, asked: int | None) -> int | None:
        """Return how many threads each worker has, given what the program asks for; None if neither says."""
        given = self.key.num_threads if self.key.allocated_threads else None
        return _settle("num_threads", asked, given)

    def give_up(self, error: Exception) -> None:
        """Report why it is not joined."""
        _warn(f"the mrun of {self.path} is not joined: {error}. The runtime starts without it")


def _settle(name: str, asked: int | None, given: int | None) -> int | None:
    if given is None or asked is None or asked == given:
        return given or asked
    _warn(f"the program asks for {name}={asked}, but mrun was given {given}: that is what it gets")
    return given


def _warn(text: str) -> None:
    from mosaic.log import logger

    logger().warning(text)


def find() -> Launched | None:
    """Return the `mrun` that this program belongs to, or that waits in the working directory for one.

    Raises
    ------
    MosaicError
        The one that the environment names is gone, or its key cannot be trusted.
    """
    named = os.environ.get(VARIABLE)
    if named is not None:
        return _named(named) if named else None
    path = os.path.join(WORKSPACE, NAME)
    if not os.path.lexists(path):
        return None
    from mosaic.launcher import key

    path = os.path.abspath(path)
    try:
        found = key.read(path)
    except FileNotFoundError:
        return None
    except MosaicError as error:
        _warn(f"{error}. The runtime starts without it")
        return None
    if not found.alive:
        _warn(
            f"{path} was left over from an mrun (process {found.pid}) that is gone; the runtime starts without it"
        )
        return None
    if found.host != _host():
        _warn(
            f"{path} belongs to an mrun on {found.host}, another machine than this; the runtime starts without it"
        )
        return None
    return Launched(found, path, named=False)


def _named(path: str) -> Launched:
    from mosaic.launcher import key

    try:
        found = key.read(path)
    except FileNotFoundError:
        found = None
    if found is None or not found.alive:
        raise MosaicError(
            f"the mrun that started this program is gone ({VARIABLE} names {path}): "
            f"start the program with mrun, or unset {VARIABLE} to run it alone"
        )
    if found.host != _host():
        raise MosaicError(
            f"the mrun that started this program runs on {found.host}: several machines come later"
        )
    return Launched(found, path, named=True)


def _host() -> str:
    import socket

    return socket.gethostname()
