"""Changes the case of names by the rules of mosaic 1.2: programs make keys and file names with them."""

from __future__ import annotations


def snake_case(name: object) -> str:
    """Turn ``SomeName`` into ``some_name``.

    Each capital but one at the start gets an underscore before it; ``-``, ``.`` and spaces become underscores.

    Parameters
    ----------
    name : object
        The name; what is no text is turned into one.

    Examples
    --------
    >>> snake_case("SomeName"), snake_case("HTTPServer"), snake_case("some-name")
    ('some_name', 'h_t_t_p_server', 'some_name')
    """
    parts: list[str] = []
    for position, letter in enumerate(str(name)):
        if letter.isupper():
            parts.append("_" + letter.lower() if position else letter.lower())
        else:
            parts.append("_" if letter in "-." or letter.isspace() else letter)
    return "".join(parts)


def camel_case(name: object) -> str:
    """Turn ``some_name`` into ``SomeName``.

    A ``_``, ``.`` or space goes where a letter or digit follows, which becomes a capital; of doubled ones the first
    stays, and so does one at the end. One ``_`` or ``.`` at the start goes.

    Parameters
    ----------
    name : object
        The name; what is no text is turned into one.

    Examples
    --------
    >>> camel_case("some_name"), camel_case("SomeName"), camel_case("a.b c")
    ('SomeName', 'SomeName', 'ABC')
    """
    text = str(name)
    if text[:1] in {"_", "."}:
        text = text[1:]
    parts: list[str] = []
    capital = True
    for position, letter in enumerate(text):
        following = text[position + 1 : position + 2]
        if position and (letter in "_." or letter.isspace()) and following.isalnum():
            capital = True
            continue
        parts.append(letter.upper() if capital else letter)
        capital = False
    return "".join(parts)


def lowercase(name: object) -> str:
    """Return the name, or the text of anything else, in lower case."""
    return str(name).lower()


def uppercase(name: object) -> str:
    """Return the name, or the text of anything else, in upper case."""
    return str(name).upper()
