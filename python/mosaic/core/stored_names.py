"""Reads from byte code which attributes the methods of a class store on ``self``.

Neither the source nor an instance is needed, and `inspect` and `dis` are not imported. The analysis knows direct
assignments of every form (``self.x = …``, ``self.x += …``, ``for self.x in …``, ``setattr(self, "x", …)``), in plain,
decorated and nested functions. It does not follow ``self`` into other functions or through other names.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import CodeType
    from typing import Any

_function_type = type(lambda: None)
_code_type = type((lambda: None).__code__)

_cache: dict[type, frozenset[str]] = {}


def stored_names(cls: type) -> frozenset[str]:
    """Return the names of the attributes that the methods of a class, and of its bases, store on ``self``."""
    found = _cache.get(cls)
    if found is None:
        names: set[str] = set()
        seen: set[int] = set()
        for base in cls.__mro__[:-1]:
            for name, member in list(base.__dict__.items()):
                if isinstance(member, staticmethod) and name != "__new__":
                    continue
                for function in _functions(member, seen):
                    code = function.__code__
                    if name == "__new__":
                        # The object is a local variable there.
                        targets: Iterable[int] = range(len(code.co_varnames))
                    else:
                        targets = (0,) if code.co_argcount else ()
                    names.update(_stored(code, frozenset(targets)))
        found = _cache[cls] = frozenset(names)
    return found


def mentions(cls: type, name: str) -> bool:
    """Return whether a method of a class has a name in its code: if not, none stores an attribute of that name."""
    seen: set[int] = set()
    return any(
        _mentions(function.__code__, name)
        for base in cls.__mro__[:-1]
        for member in list(base.__dict__.values())
        for function in _functions(member, seen)
    )


def _mentions(code: CodeType, name: str) -> bool:
    return (
        name in code.co_names
        or name in code.co_consts
        or any(_mentions(const, name) for const in code.co_consts if isinstance(const, _code_type))
    )


def _functions(member: Any, seen: set[int]) -> Iterator[Any]:
    """Give the functions behind a member of a class: of properties, decorators and wrappers of any kind."""
    waiting = [member]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        if isinstance(one, _function_type):
            seen.add(id(one))
            yield one
            waiting += [cell for cell in _contents(one.__closure__) if not isinstance(cell, type)]
            waiting += one.__dict__.values()
        elif isinstance(one, property):
            waiting += (one.fget, one.fset, one.fdel)
        elif isinstance(one, (classmethod, staticmethod)):
            waiting.append(one.__func__)
        elif type(one).__module__ == "functools" or hasattr(type(one), "__get__"):
            # Descriptors and wrappers written in Python keep their function in their attributes.
            seen.add(id(one))
            waiting += _attributes(one)


def _contents(closure: tuple[Any, ...] | None) -> Iterator[Any]:
    for cell in closure or ():
        try:
            yield cell.cell_contents
        except ValueError:
            # Not yet bound.
            continue


def _attributes(obj: object) -> list[Any]:
    try:
        values = list(object.__getattribute__(obj, "__dict__").values())
    except AttributeError:
        values = []
    if type(obj).__name__ == "partial":
        values.append(obj.func)  # type: ignore[attr-defined]
    return values


class _Opcodes:
    """The numbers of the instructions that matter, which differ between versions of Python."""

    def __init__(self) -> None:
        from opcode import opmap

        self.extended = opmap["EXTENDED_ARG"]
        self.cache = opmap.get("CACHE", 0)
        self.store = opmap["STORE_ATTR"]
        self.load_attr = opmap["LOAD_ATTR"]
        self.copy = opmap["COPY"]
        self.constant = opmap["LOAD_CONST"]
        self.single = {
            opmap[name]
            for name in ("LOAD_FAST", "LOAD_FAST_BORROW", "LOAD_FAST_CHECK", "LOAD_DEREF")
            if name in opmap
        }
        # Two variables in one instruction, four bits each: the second is on top of the stack after it.
        self.double = {
            opmap[name]
            for name in (
                "LOAD_FAST_LOAD_FAST",
                "LOAD_FAST_BORROW_LOAD_FAST_BORROW",
                "STORE_FAST_LOAD_FAST",
            )
            if name in opmap
        }
        import sys

        # Since 3.12 the lowest bit of the argument says whether a method is looked up.
        self.attr_shift = 1 if sys.version_info >= (3, 12) else 0


_opcodes: _Opcodes | None = None


def _stored(code: CodeType, targets: frozenset[int]) -> Iterator[str]:
    """Give the names of the attributes that some code stores on the variables with these indices."""
    global _opcodes
    ops = _opcodes
    if ops is None:
        ops = _opcodes = _Opcodes()
    names, constants = code.co_names, code.co_consts
    sets = "setattr" in names or "__setattr__" in names
    variables = [*code.co_varnames, *(n for n in code.co_cellvars if n not in code.co_varnames)]
    if targets:
        argument = 0
        # Whether the last instruction has put the object on top of the stack, and whether the one before it did.
        loaded = copied = False
        raw = code.co_code
        for position in range(0, len(raw), 2):
            op = raw[position]
            if op == ops.cache:
                continue
            argument = argument << 8 | raw[position + 1]
            if op == ops.extended:
                continue
            now = now_copied = False
            if op in ops.single:
                now = argument in targets
            elif op in ops.double:
                now = argument & 15 in targets
            elif op == ops.copy:
                now_copied = loaded and argument == 1
            elif op == ops.store:
                if loaded:
                    yield names[argument]
            elif op == ops.load_attr:
                if copied:
                    # The start of ``self.x += …``.
                    yield names[argument >> ops.attr_shift]
            elif op == ops.constant and sets and loaded:
                constant = constants[argument]
                if isinstance(constant, str):
                    yield constant
            loaded, copied, argument = now, now_copied, 0
    held = {variables[index] for index in targets if index < len(variables)} | {
        name for index, name in enumerate(code.co_freevars, len(variables)) if index in targets
    }
    for constant in constants:
        if isinstance(constant, _code_type):
            start = len(constant.co_varnames) + sum(
                name not in constant.co_varnames for name in constant.co_cellvars
            )
            inner = frozenset(
                start + index for index, name in enumerate(constant.co_freevars) if name in held
            )
            if inner:
                yield from _stored(constant, inner)
