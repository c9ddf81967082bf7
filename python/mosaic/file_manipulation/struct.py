"""`Struct`: an ordered mapping whose members are attributes too; the contents of files are read into it."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from itertools import islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Self

_INDENT = "    "


class UnknownMemberError(AttributeError, KeyError):
    """A `Struct` has no such member: an `AttributeError` and a `KeyError` in one, by whichever way it was asked."""

    # KeyError would show the message in quotes.
    __str__ = Exception.__str__


class _Shadowed:
    """A method of `dict` by a name that members may have: a member of that name is read in its place."""

    __slots__ = ("_function", "_name")

    def __init__(self, function: Any) -> None:
        self._function = function

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, struct: Any, owner: type) -> Any:
        if struct is not None and self._name in struct:
            return struct[self._name]
        return self._function.__get__(struct, owner)


class Struct(dict[str, "Any"]):
    """A mapping in the order of insertion whose members are attributes too.

    Mappings in the content become `Struct`, those in its lists and tuples as well, and its lists are copied; what is
    assigned stays the object that it is. It is a `dict`: ``len``, ``in``, iteration, ``==``, ``|``, ``**``, `json` and
    `copy` do what they do there. Unlike one it is true when it is empty, `update` merges, and it can be a key: its hash
    is that of the object, not of the content.

    A member may have any name. Where that is one of this class's methods (``values``), it is read as an item.

    Parameters
    ----------
    content : mapping or iterable of pairs, optional
        The members.
    mutable : bool
        Whether a member may be assigned again once it is there; holds for what is converted too. `update`, `pop`,
        `delete` and ``del`` change immutable ones too.

    Raises
    ------
    AttributeError
        On assignment to a member that is there, where not ``mutable``; on an unknown member. The latter is a `KeyError`
        too.

    Examples
    --------
    >>> struct = Struct({"space": {"shape": (4, 5)}, "shots": [{"id": 7}]})
    >>> struct.space.shape, struct["shots"][0].id
    ((4, 5), 7)
    >>> print(struct)
    space:
        shape: (4, 5)
    shots: [1]
        - id: 7
    """

    # Slots, since its attributes are its members; the first by a name that no member has.
    __slots__ = ("__weakref__", "_struct_mutable")

    _struct_mutable: bool

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Make an empty one; pickle and copy fill it in afterwards."""
        made = super().__new__(cls)
        object.__setattr__(made, "_struct_mutable", True)
        return made

    def __init__(
        self,
        content: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None,
        mutable: bool = True,
    ) -> None:
        super().__init__()
        object.__setattr__(self, "_struct_mutable", bool(mutable))
        if content is not None:
            for name, value in dict(content).items():
                super().__setitem__(name, _converted(value, mutable))

    def __bool__(self) -> bool:
        return True

    # That of the object: of content that changes, keys would be lost.
    __hash__ = object.__hash__  # type: ignore[assignment]

    # Members as attributes.

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise UnknownMemberError(_unknown(self, name), name=name, obj=self) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        del self[name]

    def __dir__(self) -> list[str]:
        members = (str(name) for name in self)
        return sorted({*super().__dir__(), *filter(str.isidentifier, members)})

    # Members as items.

    def __missing__(self, name: str) -> Any:
        raise UnknownMemberError(_unknown(self, name), name=str(name), obj=self)

    def __setitem__(self, name: str, value: Any) -> None:
        if not self._struct_mutable and name in self:
            raise _refused(self, name)
        super().__setitem__(name, value)

    def __delitem__(self, name: str) -> None:
        if name not in self:
            self.__missing__(name)
        super().__delitem__(name)

    def delete(self, name: str) -> None:
        """Delete a member.

        Raises
        ------
        AttributeError
            There is none of that name.
        """
        del self[name]

    def pop(self, name: str, default: Any = None) -> Any:
        """Delete a member and return its value, or the default where there is none."""
        return super().pop(name, default)

    clear = _Shadowed(dict.clear)
    fromkeys = _Shadowed(dict.__dict__["fromkeys"])
    popitem = _Shadowed(dict.popitem)
    setdefault = _Shadowed(dict.setdefault)

    def update(self, *content: Any, **members: Any) -> None:
        """Set the members of a mapping, or of pairs, and those given by name.

        A mapping for a member that is a `Struct` is merged into it, and so are the items of a list for a list, item by
        item; items that the list does not have are added to it.

        Examples
        --------
        >>> struct = Struct({"space": {"shape": (4, 5), "spacing": 0.5}})
        >>> struct.update({"space": {"spacing": 0.25}})
        >>> struct.space.shape, struct.space.spacing
        ((4, 5), 0.25)
        """
        for name, value in dict(*content, **members).items():
            there = self.get(name)
            super().__setitem__(name, _merged(there, value, self._struct_mutable))

    def __ior__(self, other: Any) -> Self:  # type: ignore[override]
        for name, value in dict(other).items():
            self[name] = _converted(value, self._struct_mutable)
        return self

    def __or__(self, other: Any) -> Self:  # type: ignore[override]
        if not isinstance(other, Mapping):
            return NotImplemented
        made = self.__copy__()
        for name, value in other.items():
            dict.__setitem__(made, name, _converted(value, self._struct_mutable))
        return made

    def __ror__(self, other: Any) -> Self:  # type: ignore[override]
        return type(self)(other) | self if isinstance(other, Mapping) else NotImplemented

    def copy(self) -> Self:
        """Return a deep copy: nested ones, lists and arrays are copied too. `copy.copy` makes a shallow one."""
        from copy import deepcopy

        return deepcopy(self)

    def __copy__(self) -> Self:
        made = type(self).__new__(type(self))
        dict.update(made, self)
        object.__setattr__(made, "_struct_mutable", self._struct_mutable)
        return made

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _restored, (type(self), self._struct_mutable), None, None, iter(self.items())

    # For people.

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def __repr__(self) -> str:
        ending = "" if self._struct_mutable else ", mutable=False"
        return f"{type(self).__name__}({super().__repr__()}{ending})"


def _restored(cls: type[Struct], mutable: bool) -> Struct:
    made = cls.__new__(cls)
    object.__setattr__(made, "_struct_mutable", mutable)
    return made


def _unknown(struct: Struct, name: object) -> str:
    # Made for every `hasattr` too: kept short. Tracebacks add what was probably meant.
    if not len(struct):
        return f"the Struct has no member {name!r}: it is empty"
    shown = list(islice(struct, 10))
    more = f" and {len(struct) - len(shown)} more" if len(struct) > len(shown) else ""
    return f"the Struct has no member {name!r}; it has {', '.join(map(repr, shown))}{more}"


def _refused(struct: Struct, name: object) -> AttributeError:
    return AttributeError(
        f"the Struct is not mutable: its member {name!r} cannot be assigned again",
        name=str(name),
        obj=struct,
    )


def _converted(value: Any, mutable: bool) -> Any:
    """Return a value with `Struct` in place of the mappings in it, and copies of its lists."""
    if isinstance(value, Struct):
        return value
    if isinstance(value, Mapping):
        return Struct(value, mutable)
    kind = type(value)
    if kind is list or kind is tuple:
        converted = [_converted(item, mutable) for item in value]
        if kind is list or any(map(operator.is_not, converted, value)):
            return kind(converted)
    return value


def _merged(there: Any, value: Any, mutable: bool) -> Any:
    """Return what a member is after an update, with the value put into what is there where both have members."""
    if isinstance(there, Struct) and isinstance(value, Mapping):
        there.update(value)
        return there
    kind = type(there)
    listed = (kind is list or kind is tuple) and isinstance(value, (list, tuple))
    if not (listed and any(isinstance(one, Struct) for one in there)):
        return _converted(value, mutable)
    items = [_merged(old, new, mutable) for old, new in zip(there, value, strict=False)]
    items += there[len(value) :]
    items += [_converted(new, mutable) for new in value[len(there) :]]
    if kind is tuple:
        return tuple(items)
    there[:] = items
    return there


def _lines(struct: Mapping[Any, Any]) -> list[str]:
    """Return the lines that show a mapping, one a member, nested ones indented."""
    lines: list[str] = []
    for name, value in struct.items():
        if isinstance(value, Struct):
            lines.append(f"{name}:" if len(value) else f"{name}: (empty)")
            lines += [_INDENT + line for line in _lines(value)]
        elif isinstance(value, (list, tuple)) and any(isinstance(item, Struct) for item in value):
            lines.append(f"{name}: [{len(value)}]")
            for item in value:
                inner = _lines(item) if isinstance(item, Struct) else [_shown(item)]
                first, *rest = inner or ["(empty)"]
                lines.append(f"{_INDENT}- {first}")
                lines += [f"{_INDENT}  {line}" for line in rest]
        else:
            lines.append(f"{name}: {_shown(value)}")
    return lines


def _shown(value: Any) -> str:
    """Return a value on one line: arrays by shape and type, long texts cut."""
    try:
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    except Exception:
        # An array of a file that was closed does not know.
        shape = dtype = None
    if isinstance(shape, tuple) and shape and dtype is not None:
        return f"{type(value).__name__} of {dtype}, shape {shape}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
