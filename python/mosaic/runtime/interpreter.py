"""The state of the driver's interpreter that workers take over.

It is the arguments, ``__main__.__file__``, the filters of warnings and the log levels.
Workers are fresh interpreters. `describe` runs in the driver when the network starts, `take_over` in each worker before
any code of the program, in replacements too. The description travels in the environment, as `marshal` writes it: both
ends are the same interpreter. A worker imports nothing for it that the program does not import.

Not taken over: attributes that the driver has changed in modules, and the states of random number generators.
"""

from __future__ import annotations

import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    _Filter = tuple[str, Any, type[Warning], Any, int]

VARIABLE = "MOSAIC_INTERPRETER"

LIMIT = 120_000
"""Most characters of the variable: the kernel takes 131,072 bytes with the name (`execve(2)`)."""


def describe() -> dict[str, str]:
    """Return the variable for workers' environments that describes this program.

    Command lines that are too long for one variable even when compressed are left out, with a warning.
    """
    from mosaic.log import levels, logger

    main = sys.modules.get("__main__")
    program: dict[str, Any] = {
        "argv": [argument for argument in sys.argv if type(argument) is str],
        "file": _text(getattr(main, "__file__", None)),
        "recursion": sys.getrecursionlimit(),
        "filters": _describe_filters(),
        "levels": levels(),
    }
    text = _pack(program)
    if len(text) > LIMIT:
        logger().warning(
            f"the program's {len(sys.argv)} arguments are too long for the environment of workers, "
            f"where sys.argv is {sys.argv[:1]!r}"
        )
        text = _pack({**program, "argv": program["argv"][:1]})
    return {VARIABLE: text}


def _text(value: object) -> str | None:
    return value if type(value) is str else None


def _pack(program: dict[str, Any]) -> str:
    packed = marshal.dumps(program)
    if 2 * len(packed) < LIMIT:
        return packed.hex()
    import zlib

    return "z" + zlib.compress(packed).hex()


def _unpack(text: str) -> dict[str, Any]:
    if text[0] != "z":
        return marshal.loads(bytes.fromhex(text))  # type: ignore[no-any-return]  # noqa: S302 - the driver wrote it
    import zlib

    return marshal.loads(zlib.decompress(bytes.fromhex(text[1:])))  # type: ignore[no-any-return]  # noqa: S302


def take_over() -> None:
    """Set the state of this interpreter that the driver has described."""
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        return
    program = _unpack(text)
    sys.argv[:] = program["argv"]
    if program["file"] is not None:
        sys.modules["__main__"].__file__ = program["file"]
    if program["recursion"] != sys.getrecursionlimit():
        sys.setrecursionlimit(program["recursion"])
    _take_filters(program["filters"])
    _when_logging_is_imported(lambda: _follow(program["levels"]))


def _follow(levels: dict[str, int]) -> None:
    from mosaic import log

    log.follow(levels)


# ------------------------------------------------------------------------------------------- warnings


def _describe_filters() -> list[tuple[Any, ...]]:
    import warnings

    return [
        (
            action,
            _describe_pattern(message),
            (category.__module__, category.__qualname__),  # type: ignore[union-attr]
            _describe_pattern(module),
            line,
        )
        for action, message, category, module, line in warnings.filters
    ]


def _describe_pattern(pattern: Any) -> str | tuple[str, int] | None:
    """Return a text that has to be equal, a regular expression and its flags, or None for anything."""
    return pattern if pattern is None or type(pattern) is str else (pattern.pattern, pattern.flags)


def _take_filters(described: list[tuple[Any, ...]]) -> None:
    import _warnings

    filters: list[_Filter] = [
        (action, _make_pattern(message), _make_category(*category), _make_pattern(module), line)
        for action, message, category, module, line in described
    ]
    # The list that `warnings` uses as well, which need not be imported for it.
    _warnings.filters[:] = filters


def _make_pattern(described: str | tuple[str, int] | None) -> Any:
    return _Pattern(*described) if isinstance(described, tuple) else described


class _Pattern:
    """A regular expression that is compiled when a warning is first held against it."""

    def __init__(self, pattern: str, flags: int) -> None:
        self.pattern = pattern
        self.flags = flags
        self._compiled: Any = None

    def match(self, text: str) -> Any:
        if self._compiled is None:
            try:
                import re
            except ImportError:
                # The interpreter shuts down, with objects that warn.
                return None

            self._compiled = re.compile(self.pattern, self.flags)
        return self._compiled.match(text)


def _make_category(module: str, name: str) -> type[Warning]:
    if module == "builtins":
        import builtins

        return getattr(builtins, name, Warning)
    space = {"__module__": module, "__qualname__": name}
    return _Named(name, (Warning,), space)  # type: ignore[return-value]


class _Named(type):
    """A category of warnings that stands for the class of that name, without importing its module."""

    def __subclasscheck__(cls, subclass: type) -> bool:
        name = cls.__module__, cls.__qualname__
        return any((base.__module__, base.__qualname__) == name for base in subclass.__mro__)


# -------------------------------------------------------------------------------------------- logging


def _when_logging_is_imported(then: Callable[[], None]) -> None:
    if "logging" in sys.modules:
        then()
    else:
        sys.meta_path.insert(0, _Finder(then))


class _Finder:
    """Finds the module `logging` where the others find it, and runs a function once it has been imported."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader, self._then)  # type: ignore[assignment]
                return spec
        return None


class _Loader:
    def __init__(self, loader: Any, then: Callable[[], None]) -> None:
        self._loader = loader
        self._then = then

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)  # type: ignore[no-any-return]

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = module.__spec__.loader = self._loader  # type: ignore[union-attr]
        self._loader.exec_module(module)
        self._then()
