"""Change the case of names."""

from __future__ import annotations


def snake_case(name: str) -> str:
    """Turn ``SomeName`` into ``some_name``.

    Examples
    --------
    >>> snake_case("SomeName"), snake_case("HTTPServer"), snake_case("some_name")
    ('some_name', 'http_server', 'some_name')
    """
    parts: list[str] = []
    for position, letter in enumerate(name):
        if letter.isupper() and position and name[position - 1] != "_":
            before = name[position - 1]
            after = name[position + 1 : position + 2]
            if not before.isupper() or (after and after.islower()):
                parts.append("_")
        parts.append(letter.lower())
    return "".join(parts)


def camel_case(name: str) -> str:
    """Turn ``some_name`` into ``SomeName``.

    Examples
    --------
    >>> camel_case("some_name"), camel_case("SomeName")
    ('SomeName', 'SomeName')
    """
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def lowercase(name: str) -> str:
    """Return the name in lower case."""
    return name.lower()


def uppercase(name: str) -> str:
    """Return the name in upper case."""
    return name.upper()
