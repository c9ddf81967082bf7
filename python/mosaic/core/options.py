"""Options of tessera classes and of single tesserae, and their separation from the arguments of the class."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULTS: dict[str, Any] = {
    "runtime": None,
    "uid": None,
    "len": None,
    "max_retries": 0,
    "max_restarts": 0,
    "is_async": False,
    "cached": False,
}
"""Every option with its default, in the decorator or at the call site."""


def check(options: dict[str, Any]) -> None:
    """Check the values of options.

    Raises
    ------
    TypeError, ValueError
        An option has a name, a type or a value that makes no sense.
    """
    for name, value in options.items():
        if name not in DEFAULTS and name != "safe":
            known = ", ".join(DEFAULTS)
            raise TypeError(f"mosaic.tessera has no option {name!r}; it has {known}")
        if name in {"max_retries", "max_restarts"} or (name == "len" and value is not None):
            if not hasattr(type(value), "__index__") or isinstance(value, bool):
                raise TypeError(f"{name} must be a whole number, not {value!r}")
            if value < (1 if name == "len" else 0):
                raise ValueError(
                    f"{name} must not be less than {1 if name == 'len' else 0}, but is {value}"
                )


def split(own: dict[str, Any], kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part the keyword arguments of a call such as `remote`: mosaic's options, and those of ``__init__``.

    Parameters
    ----------
    own : dict
        The options that the decorator gave; the call site wins.
    kwargs : dict
        Keyword arguments of the call; left as they are.

    Returns
    -------
    tuple of dict
        Every option, and what remains for ``__init__``.
    """
    options = {**DEFAULTS, **own}
    rest: dict[str, Any] = {}
    given: dict[str, Any] = {}
    for name, value in kwargs.items():
        if name in DEFAULTS:
            given[name] = value
        else:
            rest[name] = value
    options["safe"], options["timeout"] = True, None
    if given.get("len") is not None:
        options["safe"] = bool(rest.pop("safe", True))
        options["timeout"] = rest.pop("timeout", None)
    if given:
        check(given)
        options.update(given)
    return options, rest
