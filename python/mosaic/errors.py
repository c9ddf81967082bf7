"""The errors that mosaic raises: all under `MosaicError`, each also the built-in that a user would catch.

Every class here pickles, so that an error may cross from process to process.
"""

from __future__ import annotations

__all__ = [
    "AuthenticationError",
    "BackpressureError",
    "MemoryOverflowError",
    "MosaicError",
    "ObjectLostError",
    "RemoteError",
    "RuntimeDisconnectedError",
    "SerialisationError",
    "TesseraStoppedError",
    "TooFewWorkersError",
]


class MosaicError(Exception):
    """The base of every error of mosaic's own."""


class RuntimeDisconnectedError(MosaicError, ConnectionError):
    """The process that held a tessera, a task or a value died; the message says which and how."""


class ObjectLostError(MosaicError, LookupError):
    """A value was dropped, or lost with the process that held it; the message names it."""


class MemoryOverflowError(MosaicError, MemoryError):
    """A process went over the memory that it may use."""


class AuthenticationError(MosaicError, PermissionError):
    """A peer could not show that it belongs to this network."""


class BackpressureError(MosaicError, RuntimeError):
    """More calls are pending than a caller may have; the message says what to await."""


class TesseraStoppedError(MosaicError, RuntimeError):
    """The tessera that was called had been stopped or freed before."""


class TooFewWorkersError(MosaicError, TimeoutError, RuntimeError):
    """The workers that were asked for did not take part in time; the message says how many did."""


class SerialisationError(MosaicError, TypeError):
    """A value could not be turned into bytes, or back; the message says which and why."""


class RemoteError(MosaicError, RuntimeError):
    """An exception raised in another process that cannot be rebuilt in this one.

    Parameters
    ----------
    message : str
        What ``str`` gave of the original exception.
    type_name : str
        Name of the original exception's class, with its module.
    traceback : str
        The text of the remote traceback.
    """

    def __init__(self, message: str = "", type_name: str = "", traceback: str = "") -> None:
        super().__init__(message, type_name, traceback)
        self.message = message
        self.type_name = type_name
        self.traceback = traceback

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}" if self.type_name else self.message
