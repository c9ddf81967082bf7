"""The table of the objects that this process hosts.

Its keys are the identities of the objects; it holds weak references to them, so that it keeps none alive.
"""

from __future__ import annotations

from _weakref import ref as _weak

from mosaic.core import network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mosaic._core import _RawId as RawId
    from mosaic.core.host import Tessera

_hosted: dict[int, Tessera] = {}
_watched: dict[int, object] = {}
_objects: dict[RawId, Any] = {}
_named: dict[str, RawId] = {}
"""The tesserae of this process whose makers chose their uids."""


def register(raw: RawId, obj: object, uid: str | None, view: Tessera) -> None:
    """Enter an object until it is freed; one whose class allows no weak reference is not entered.

    Parameters
    ----------
    raw : tuple of int
        The id of its tessera.
    obj : object
        The live object.
    uid : str, optional
        The uid that its maker chose.
    view : Tessera
        Its hosting side.
    """
    known = hosted(obj)
    if known is not None and known._raw == raw:
        # The code that made the object in this process has entered it already.
        return
    key = id(obj)

    def gone(_: object) -> None:
        view = _hosted.pop(key, None)
        _watched.pop(key, None)
        _objects.pop(raw, None)
        if uid is not None and _named.get(uid) == raw:
            del _named[uid]
        if view is not None and view.on_freed is not None:
            view.on_freed(raw)

    try:
        watched = _weak(obj, gone)
    except TypeError:
        return
    _watched[key] = watched
    _objects[raw] = watched
    if uid is not None:
        _named[uid] = raw
    _hosted[key] = view


def named(uid: str) -> RawId | None:
    """Return the id of the tessera by that uid, if it is hosted in this process."""
    raw = _named.get(uid)
    if raw is None:
        raw = network.tessera_of(uid)
    return raw if raw in _objects else None


def object_of(raw: RawId) -> Any:
    """Return the live object of a tessera, if it is hosted in this process."""
    found = _objects.get(raw)
    return None if found is None else found()


def hosted(obj: object) -> Tessera | None:
    """Return the hosting side of an object, if it is a tessera's."""
    found = _hosted.get(id(obj))
    return found if found is not None and found.obj is obj else None
