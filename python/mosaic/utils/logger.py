"""`mosaic.logger()`: the standard logger ``mosaic``, with a level ``perf`` and the uid of the process in each line.

A handler on standard error shows messages as long as the program has not set up logging of its own: then those handlers
see them, and this one is silent.
"""

from __future__ import annotations

import logging
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    _StreamHandler: TypeAlias = logging.StreamHandler[Any]
else:
    _StreamHandler = logging.StreamHandler

PERF = 15
"""The level between debug and info."""

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
    log_level = "info"


class _Handler(_StreamHandler):
    """Writes to what `sys.stderr` is at that moment, unless the root logger has handlers."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(_Formatter())

    @property
    def stream(self) -> Any:
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.root.handlers and sys.stderr is not None:
            super().emit(record)


class _Formatter(logging.Formatter):
    """Shows the level, the uid of this process where it has one, and the message."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname:<7} {_uid()}{super().format(record)}"


def _uid() -> str:
    core = sys.modules.get("mosaic._core")
    engine = core.engine() if core is not None else None
    # The driver puts the uid before each line that a worker, or the warehouse, prints.
    return f"[{engine.uid}] " if engine is not None and engine.uid == "head" else ""


class LoggerManager:
    """Mosaic's logger: the standard one by the name ``mosaic``, and the levels that old programs use."""

    def __init__(self) -> None:
        self.logger = logging.getLogger("mosaic")
        if not any(isinstance(handler, _Handler) for handler in self.logger.handlers):
            self.logger.addHandler(_Handler())
        level = os.environ.get(_ENVIRONMENT)
        if level and self.logger.level == logging.NOTSET:
            self.set_level(level)

    def __call__(self) -> LoggerManager:
        """Return mosaic's logger: old programs call `default_logger`, and use it uncalled too."""
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
            log_level = logging.getLevelName(level).lower()
        self.logger.setLevel(level)

    def is_enabled_for(self, level: int) -> bool:
        """Tell whether a message of a level is shown: by mosaic's own level, else the program's, else from info on."""
        if self.logger.level == logging.NOTSET and not logging.root.handlers:
            return level >= logging.INFO
        return self.logger.isEnabledFor(level)

    def log(self, level: int, message: object, *args: Any, **kwargs: Any) -> None:
        """Log at a level given as a number."""
        if self.is_enabled_for(level):
            self.logger._log(level, message, args, **kwargs)

    def debug(self, message: object, *args: Any, **kwargs: Any) -> None:
        """Log what helps to find faults."""
        self.log(logging.DEBUG, message, *args, **kwargs)

    def perf(self, message: object, *args: Any, **kwargs: Any) -> None:
        """Log what tells about speed."""
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
    log_level = "info"


def __getattr__(name: str) -> Any:
    if name == "default_logger":
        return logger()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
