"""The current runtime of this process: set by the head, made on demand in a worker, none in the child of a fork."""

from __future__ import annotations

from mosaic import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mosaic.runtime.runtime import Runtime

_current: Runtime | None = None


def current() -> Runtime | None:
    """Return the runtime of this process, None if there is none."""
    global _current
    engine = _core.engine()
    if engine is None:
        # Nothing was started, it has been stopped, or this is the child of a fork.
        _current = None
    elif _current is None or _current.engine.stopped:
        from mosaic.runtime.roles import role_of

        _current = role_of(engine)
    return _current


def set_current(runtime: Runtime | None) -> None:
    """Make a runtime this process's; the one before lets go of its engine."""
    global _current
    if _current is not None and _current is not runtime:
        _current.leave()
    _current = runtime
