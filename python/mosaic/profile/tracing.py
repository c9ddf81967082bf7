"""Marks on functions and blocks: which are left out of a trace, and which are traced in any case."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from typing import overload

from mosaic import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType
    from typing import Any, Self, TypeVar

    Function = TypeVar("Function", bound=Callable[..., Any])


@overload
def skip_profile(function: Function, *, stop_trace: bool = False) -> Function: ...
@overload
def skip_profile(
    function: None = None, *, stop_trace: bool = False
) -> Callable[[Function], Function]: ...
def skip_profile(function: Any = None, *, stop_trace: bool = False) -> Any:
    """Leave a function out of every trace, with whatever it calls; its time is its caller's.

    Parameters
    ----------
    function : function, optional
        A Python function or method, plain or ``async``; as a decorator, with brackets or without.
    stop_trace : bool
        Accepted for programs of mosaic 1.2: what the function calls is left out in any case.

    Returns
    -------
    function
        The same one; without one the decorator.

    Raises
    ------
    TypeError
        It is not written in Python.
    """
    if function is None:
        return skip_profile
    written = inspect.unwrap(function)
    code: CodeType | None = getattr(written, "__code__", None)
    if code is None:
        raise TypeError(f"skip_profile is for functions written in Python, not for {function!r}")
    # Within its code the mark goes wherever the function does.
    marked = code.replace(co_consts=(*code.co_consts, _core.NOT_TRACED))
    written.__code__ = marked
    return function


class _Mark(ABC):
    """A context manager and decorator in one, with brackets and without; may be entered within itself."""

    def __call__(self, function: Any = None) -> Any:
        if function is None:
            return self
        if isinstance(function, str):
            return self._by_name(function)
        if not callable(function):
            raise TypeError(f"{self!r} marks functions and blocks, not {function!r}")
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def marked_coroutine(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await function(*args, **kwargs)

            return marked_coroutine

        @functools.wraps(function)
        def marked(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return marked

    def _by_name(self, name: str) -> Self:
        """Return the mark for a trace of that name."""
        return self

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(self, *_: object) -> None: ...


class _NoProfiler(_Mark):
    """Leaves out of a trace what runs within a block or a function, on its thread.

    ``with no_profiler:``, ``with no_profiler():``, ``@no_profiler``, ``@no_profiler()``. A block that awaits should
    be a function marked with `skip_profile`: what runs meanwhile on the same thread is left out too.
    """

    @skip_profile
    def __enter__(self) -> Self:
        _core.quiet(1)
        return self

    @skip_profile
    def __exit__(self, *_: object) -> None:
        _core.quiet(-1)

    def __repr__(self) -> str:
        return "no_profiler"


class _UseTrace(_Mark):
    """Records the functions that run within a block or a function, if a profile is recorded.

    ``with use_trace:``, ``with use_trace():``, ``@use_trace``, ``@use_trace()``; and ``use_trace("name")`` in the place
    of each. In a method it concerns the call that runs it, elsewhere the methods of all workers, as
    `Profiler.start_trace` does.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = name
        # What each entry began, the last one last. Blocks within blocks of one thread end in turn.
        self._begun: list[str] = []

    def _by_name(self, name: str) -> Self:
        return type(self)(name)

    def __enter__(self) -> Self:
        from mosaic.profile.switch import profiler

        begun = ""
        engine = _core.engine()
        if engine is not None and engine.profile is not None and not engine.traced:
            if engine.call_is_running() is None:
                profiler.start_trace(self._name)
                begun = "everywhere"
            elif engine.trace_here():
                begun = "here"
        self._begun.append(begun)
        return self

    @skip_profile
    def __exit__(self, *_: object) -> None:
        from mosaic.profile.switch import profiler

        begun = self._begun.pop()
        engine = _core.engine()
        if begun == "everywhere":
            profiler.stop_trace(self._name)
        elif begun == "here" and engine is not None:
            engine.end_trace_here()

    def __repr__(self) -> str:
        return "use_trace" if self._name is None else f"use_trace({self._name!r})"


no_profiler = _NoProfiler()
"""Leaves out of a trace what runs within a block or a function: ``with no_profiler:``, ``@no_profiler``."""

use_trace = _UseTrace()
"""Records the functions that run within a block or a function: ``with use_trace:``, ``@use_trace``."""
