"""`mosaic.logger()`: the standard logger ``mosaic``, with a level ``perf`` and the uid of the process in each line.

A handler on standard error shows messages as long as the program has not set up logging of its own: then the program's
handlers see them, and this one is silent. While a runtime runs, the same handler shows what libraries log, at the
runtime's level (`begin`); workers do so at the levels of the driver (`follow`).
"""

from __future__ import annotations

import logging
import os
import sys
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    _StreamHandler: TypeAlias = logging.StreamHandler[Any]
else:
    _StreamHandler = logging.StreamHandler

PERF = 19
"""The level just below info, and the lowest shown by default: programs report each shot and each loss with it."""

DEFAULT_LEVEL = "perf"

logging.addLevelName(PERF, "PERF")

LEVELS = {
    "trace": 5,
    "debug": logging.DEBUG,
    "perf": PERF,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}

_ENVIRONMENT = "MOSAIC_LOG_LEVEL"

log_level = os.environ.get(_ENVIRONMENT, "").lower()
"""The level in force, by name. It changes: read it as an attribute of this module."""
if log_level not in LEVELS:
    log_level = DEFAULT_LEVEL


class _Handler(_StreamHandler):
    """Writes to what `sys.stderr` is at that moment, unless the root logger has handlers."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(_Formatter("%(message)s"))

    @property
    def stream(self) -> Any:
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.root.handlers and sys.stderr is not None:
            super().emit(record)


class _Formatter(logging.Formatter):
    """Shows the time, the level, the uid of the process that the message is from, and the message."""

    def format(self, record: logging.LogRecord) -> str:
        time, level = self.formatTime(record), record.levelname
        return f"{time} {level:<7} {_uid(record)}{super().format(record)}"


def _uid(record: logging.LogRecord) -> str:
    core = sys.modules.get("mosaic._core")
    engine = core.engine() if core is not None else None
    own = engine.uid if engine is not None else None
    uid = getattr(record, _UID, None) or own
    # The driver puts the uid before each line that a worker, or the warehouse, prints.
    return f"[{uid}] " if uid is not None and (uid != own or own == "head") else ""


_UID = "mosaic_uid"
"""The attribute of a record that names the process which the message is from."""


class LoggerManager:
    """Mosaic's logger: the standard one by the name ``mosaic``, and the levels that programs of mosaic 1.2 use."""

    def __init__(self) -> None:
        self.logger = logging.getLogger("mosaic")
        if not any(isinstance(handler, _Handler) for handler in self.logger.handlers):
            self.logger.addHandler(_Handler())
        level = os.environ.get(_ENVIRONMENT)
        if level and self.logger.level == logging.NOTSET:
            self.set_level(level)

    def __call__(self) -> LoggerManager:
        """Return mosaic's logger: programs of mosaic 1.2 call `default_logger`, and use it uncalled too."""
        return logger()

    def set_level(self, level: str | int) -> None:
        """Set the lowest level that is shown: ``debug``, ``perf``, ``info``, ``warning``, ``error``.

        Raises
        ------
        ValueError
            There is no such level.
        """
        global log_level
        if isinstance(level, str):
            if level.lower() not in LEVELS:
                raise ValueError(f"there is no log level {level!r} (known: {', '.join(LEVELS)})")
            log_level = level.lower()
            level = LEVELS[log_level]
        else:
            log_level = _name_of(level)
        self.logger.setLevel(level)

    def is_enabled_for(self, level: int) -> bool:
        """Return whether a message is shown: by mosaic's own level, else the program's, else from perf on."""
        if self.logger.level == logging.NOTSET and not logging.root.handlers:
            return level >= LEVELS[DEFAULT_LEVEL]
        return self.logger.isEnabledFor(level)

    def log(
        self, level: int, message: object, *args: Any, uid: str | None = None, **kwargs: Any
    ) -> None:
        """Log at a level given as a number.

        Parameters
        ----------
        level : int
            One of the standard `logging` module's, or `PERF`.
        message : object
            The text; with further arguments, they are formatted into it by ``%``.
        *args
            What is formatted into the text.
        uid : str, optional
            The process that the message is from, such as ``worker:0:3``. Default is this one.
        **kwargs
            As of `logging.Logger.log`: ``exc_info``, ``extra``, ``stack_info``, ``stacklevel``.
        """
        if self.is_enabled_for(level):
            if uid is not None:
                kwargs["extra"] = {**(kwargs.get("extra") or {}), _UID: uid}
            self.logger._log(level, message, args, **kwargs)

    def debug(self, message: object, *args: Any, **kwargs: Any) -> None:
        """Log what helps to find faults."""
        self.log(logging.DEBUG, message, *args, **kwargs)

    def perf(self, message: object, *args: Any, **kwargs: Any) -> None:
        """Log at the level perf, which is for measures of speed."""
        self.log(PERF, message, *args, **kwargs)

    def info(self, message: object, *args: Any, **kwargs: Any) -> None:
        """Log what happens."""
        self.log(logging.INFO, message, *args, **kwargs)

    def warning(self, message: object, *args: Any, **kwargs: Any) -> None:
        """Log what is odd."""
        self.log(logging.WARNING, message, *args, **kwargs)

    warn = warning

    def error(self, message: object, *args: Any, **kwargs: Any) -> None:
        """Log what went wrong."""
        self.log(logging.ERROR, message, *args, **kwargs)


def _name_of(level: int) -> str:
    for name, number in LEVELS.items():
        if number == level:
            return name
    return logging.getLevelName(level).lower()


_manager: LoggerManager | None = None


def logger() -> LoggerManager:
    """Return mosaic's logger; it works with and without a runtime."""
    global _manager
    if _manager is None:
        _manager = LoggerManager()
    return _manager


def clear_logger() -> None:
    """Take mosaic's handler away and forget the level."""
    global _manager, log_level
    found = logging.getLogger("mosaic")
    for handler in list(found.handlers):
        if isinstance(handler, _Handler):
            found.removeHandler(handler)
    found.setLevel(logging.NOTSET)
    _manager = None
    log_level = DEFAULT_LEVEL


class _Before(NamedTuple):
    """What `begin` changed: the level of mosaic's logger, that of the root logger, and what each was set to."""

    own: int
    root: int
    last_resort: logging.Handler | None
    changed: tuple[int, int]


_before: _Before | None = None


def begin(level: str | None) -> None:
    """Show messages for as long as a runtime runs: the program's and, where it has no handlers, those of libraries.

    Parameters
    ----------
    level : str or None
        The lowest level that is shown; None for that of the logger ``mosaic``, if it has one, or `DEFAULT_LEVEL`.

    Notes
    -----
    For what libraries log the handler takes the place of `logging.lastResort`, so that `logging.basicConfig` goes on
    working. A level that the program has given to the root logger stays.
    """
    global _before
    manager = logger()
    own, root, last_resort = manager.logger.level, logging.root.level, logging.lastResort
    if level is not None or own == logging.NOTSET:
        manager.set_level(level or DEFAULT_LEVEL)
    if not logging.root.handlers:
        if root == logging.WARNING:
            logging.root.setLevel(manager.logger.level)
        logging.lastResort = _Handler()
    _before = _Before(own, root, last_resort, (manager.logger.level, logging.root.level))


def end() -> None:
    """Take back what `begin` changed, where the program has not changed it since."""
    global _before, log_level
    before, _before = _before, None
    if before is None:
        return
    found = logging.getLogger("mosaic")
    if found.level == before.changed[0]:
        found.setLevel(before.own)
        log_level = _name_of(before.own) if before.own else DEFAULT_LEVEL
    if logging.root.level == before.changed[1]:
        logging.root.setLevel(before.root)
    if isinstance(logging.lastResort, _Handler):
        logging.lastResort = before.last_resort


def levels() -> dict[str, int]:
    """Return the levels that workers follow: of loggers that have one, of the root (``""``), of `logging.disable`.

    Handlers stay in this process. Their lowest level bounds that of the root.
    """
    found = {
        name: one.level
        for name, one in list(logging.root.manager.loggerDict.items())
        if isinstance(one, logging.Logger) and one.level != logging.NOTSET
    }
    shown = [handler.level for handler in logging.root.handlers]
    found[""] = max(logging.root.level, min(shown, default=logging.NOTSET))
    found[_DISABLED] = logging.root.manager.disable
    return found


_DISABLED = "\0disabled"


def follow(levels: dict[str, int]) -> None:
    """Take over the levels of the driver, in a worker; what libraries log is shown."""
    global log_level
    levels = dict(levels)
    root, disabled = levels.pop(""), levels.pop(_DISABLED)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    own = levels.get("mosaic")
    if own is not None:
        log_level = _name_of(own)
    logging.root.setLevel(root)
    logging.lastResort = _Handler()
    if disabled:
        logging.disable(disabled)


def __getattr__(name: str) -> Any:
    if name == "default_logger":
        return logger()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
