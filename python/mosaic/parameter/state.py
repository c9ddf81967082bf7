"""Reads and sets the whole state of an object, as its class defines it for pickling."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def state_of(obj: Any) -> Any:
    """Return all attributes of an object, as its class says what they are."""
    return obj.__getstate__()


def apply_state(obj: Any, state: Any) -> None:
    """Set all attributes of an object; those of its own that the state does not mention stay."""
    if hasattr(type(obj), "__setstate__"):
        obj.__setstate__(state)
        return
    slots: dict[str, Any] = {}
    if isinstance(state, tuple):
        state, slots = state
    if state:
        obj.__dict__.update(state)
    for name, value in slots.items():
        setattr(obj, name, value)
