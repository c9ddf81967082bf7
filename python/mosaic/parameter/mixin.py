"""Parameters: local objects tied to a root elsewhere, a tessera at the warehouse as a rule.

A parameter is an instance of a class derived from the user's (`mosaic.parameter.derive`); its root is an instance
of the same derived class, served by `mosaic.parameter.root`. Invariants:

- PARAM-1: the root lives as long as a parameter that is tied to it, anywhere.
- PARAM-2: a push is one call on the root, so that no two are ever mixed.
- PARAM-3: what came from elsewhere is tied to the same root as the one that was sent.
"""

from __future__ import annotations

from functools import partial

from mosaic.core import methods
from mosaic.core.hosted import hosted
from mosaic.core.losses import losses_as
from mosaic.parameter import link
from mosaic.parameter.state import apply_state, state_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from typing import Any, Self, SupportsIndex

    from mosaic._core import Task
    from mosaic.core.host import Tessera
    from mosaic.core.proxy import TesseraProxy
    from mosaic.parameter.reference import ParameterReference

    Names = str | Iterable[str] | None


class _Own(property):
    """A name of mosaic's own, which wins over the class's: what the class sets by that name is kept, and not read."""

    def __set__(self, instance: Any, value: object) -> None:
        vars(instance)[self.fget.__name__] = value  # type: ignore[union-attr]


class ParameterMixin:
    """What instances made by ``Klass.parameter()`` are, besides being a ``Klass``.

    Attributes and methods are local. ``method(..., propagate=True)``, `set` and `push` change the root too; `get` and
    `pull` bring its state here.
    """

    __slots__ = ()

    @_Own
    def _tessera(self) -> TesseraProxy | Tessera:
        found = link.link_of(self)
        root = found.proxy if found is not None else hosted(self)
        if root is None:
            raise AttributeError(
                f"this {link.plain_class(type(self)).__name__} is tied to no root", name="_tessera"
            )
        return root

    @_Own
    def ref(self) -> ParameterReference:
        """Return a reference to the root: its value is a parameter that is tied to it, with its state."""
        from mosaic.parameter.reference import reference

        return reference(self)

    @_Own
    def has_tessera(self) -> bool:
        """Whether this is tied to a root, or is one."""
        return bool(self.is_proxy or self.is_tessera)

    @_Own
    def is_proxy(self) -> bool:
        """Whether the root lives elsewhere."""
        return link.link_of(self) is not None

    @_Own
    def is_tessera(self) -> bool:
        """Whether this is the root itself."""
        return hosted(self) is not None

    @_Own
    def cached(self) -> bool:
        """Whether it is sent without its state, so that receivers use their node's copy."""
        found = link.link_of(self)
        root = hosted(self) if found is None else None
        return found.cached if found is not None else root is not None and root.cached

    def __await__(self) -> Generator[Any, None, Self]:
        """Wait until the root exists; gives the parameter."""
        yield from link.settle(self).__await__()
        return self

    def set(self, name: str, value: object) -> Change:
        """Set an attribute here and on the root; need not be awaited."""
        setattr(self, name, value)
        methods.give(link.plain_class(type(self)), (name,))
        return Change(self, link.send(self, "set", name, value))

    async def get(self, name: str) -> Any:
        """Bring an attribute's value from the root; it is stored here and returned."""
        task = link.send(self, "get", name)
        if task is None:
            return getattr(self, name)
        value = await link.answer(self, task)
        setattr(self, name, value)
        return value

    async def push(self, attr: Names = None, publish: bool = False) -> None:
        """Move attributes to the root, all at once.

        Parameters
        ----------
        attr : str or iterable of str, optional
            Their names; all without.
        publish : bool
            Make the root's value available on every node, too.
        """
        if hosted(self) is not None:
            if publish:
                await self.publish()
            return
        names = None if attr is None else _names(attr)
        values = state_of(self) if names is None else {name: getattr(self, name) for name in names}
        await link.answer(self, link.send(self, "push", names is None, values, publish))

    async def pull(self, attr: Names = None) -> Any:
        """Bring attributes from the root.

        Parameters
        ----------
        attr : str or iterable of str, optional
            Their names; all without.

        Returns
        -------
        object
            The value of one attribute, the list of several, the parameter itself for all.
        """
        names = None if attr is None else _names(attr)
        task = link.send(self, "pull", names)
        if task is not None:
            values = await link.answer(self, task)
            if names is None:
                apply_state(self, values)
                found = link.link_of(self)
                if found is not None:
                    found.filling = None
            else:
                for name in names:
                    setattr(self, name, values[name])
        if names is None:
            return self
        found_values = [getattr(self, name) for name in names]
        return found_values[0] if isinstance(attr, str) else found_values

    async def publish(self) -> None:
        """Make the root's value available on every node: copies with ``cached`` are of it from now on."""
        task = link.send(self, "publish")
        if task is not None:
            await link.answer(self, task)
            return
        from mosaic.parameter.root import service

        service(self)("publish")

    def _mosaic_put(self, publish: bool) -> ParameterReference | None:
        """Push the parameter, for `Runtime.put`; None where it is tied to no root."""
        from mosaic.parameter.reference import put

        return put(self, publish)

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        from mosaic.parameter.pickling import reduce

        return reduce(self, protocol)


class Change:
    """What `ParameterMixin.set` gives: need not be awaited.

    Parameters
    ----------
    parameter : ParameterMixin
        Whose root is changed.
    task : Task, optional
        The change; None if the parameter is the root.
    """

    __slots__ = ("_parameter", "_task")

    def __init__(self, parameter: ParameterMixin, task: Task | None) -> None:
        self._parameter = parameter
        self._task = task

    def __await__(self) -> Generator[Any, None, None]:
        if self._task is not None:
            yield from link.answer(self._parameter, self._task).__await__()

    def wait(self, timeout: float | None = None) -> None:
        """Block until the root is changed."""
        with losses_as(partial(link.lost, self._parameter), *link.GONE):
            if self._task is not None:
                self._task.wait(timeout)


def _names(attr: str | Iterable[str]) -> list[str]:
    names = [attr] if isinstance(attr, str) else list(attr)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"attr names attributes, but {name!r} is no name")
    return names
