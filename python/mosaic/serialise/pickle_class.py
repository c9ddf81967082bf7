"""`PickleClass`: a class or function that pickles by value, wherever it was defined."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_NAMES = ("__name__", "__qualname__")
"""What is read of a class to name it; the other special names are the wrapper's own."""


class PickleClass:
    """Wrap a class or function so that it pickles by value, even if a worker could import it.

    Parameters
    ----------
    cls : type or callable
        What to wrap; ``.cls`` gives it back, calling the wrapper calls it, unknown attributes come from it.
    """

    def __init__(self, cls: Any) -> None:
        self.cls = cls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the class or function."""
        return self.cls(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == "cls" or (name.startswith("__") and name not in _NAMES):
            raise AttributeError(name)
        return getattr(self.cls, name)

    def __reduce__(self) -> tuple[Any, ...]:
        import sys

        import cloudpickle

        module = sys.modules.get(getattr(self.cls, "__module__", ""))
        if module is None or module.__name__ in {"__main__", "builtins"}:
            return _rebuild, (_dumps(self.cls),)
        known = module.__name__ in cloudpickle.list_registry_pickle_by_value()
        if not known:
            cloudpickle.register_pickle_by_value(module)
        try:
            return _rebuild, (_dumps(self.cls),)
        finally:
            if not known:
                cloudpickle.unregister_pickle_by_value(module)


def _dumps(cls: Any) -> bytes:
    from _io import BytesIO

    from mosaic.serialise.reducers import ClassPickler

    stream = BytesIO()
    ClassPickler(stream, 5).dump(cls)
    return stream.getvalue()


def _rebuild(payload: bytes) -> PickleClass:
    from _pickle import loads

    return PickleClass(loads(payload))
