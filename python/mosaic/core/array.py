"""`ArrayProxy`: several tesserae of one class, spread over the workers."""

from __future__ import annotations

from mosaic.core import methods, network
from mosaic.core.attribute import ArrayAttribute, RemoteAttribute
from mosaic.core.base import PROBES, ProxyBase
from mosaic.core.stages import AllReady
from mosaic.core.task import TaskArrayProxy
from mosaic.errors import RuntimeDisconnectedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Any, Self

    from mosaic.core.proxy import TesseraProxy


class NoElementError(RuntimeDisconnectedError, RuntimeError):
    """No element of an array lives on the runtime that was asked for."""


class ArrayProxy(ProxyBase):
    """The proxies of an array of tesserae.

    A call goes to every living element and returns one awaitable; ``runtime=worker`` picks the element that lives
    there and returns its task. Elements keep their index; ``len`` counts the living.

    Parameters
    ----------
    cls : type
        The user's class.
    proxies : list of TesseraProxy
        The elements.
    safe : bool
        A worker that dies while the array is being built is left out with a warning, instead of failing the array.
    """

    _cls: type
    _proxies: list[TesseraProxy]
    _safe: bool

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make an array that forwards the operators of the user's class."""
        user = args[0] if args else kwargs.get("cls")
        return object.__new__(
            methods.forwarding_class(cls, user) if isinstance(user, type) else cls
        )

    def __init__(self, cls: type, proxies: list[TesseraProxy], safe: bool = True) -> None:
        self._cls = cls
        self._proxies = proxies
        self._safe = safe

    def _living(self) -> list[TesseraProxy]:
        """Return the elements whose runtime lives.

        Raises
        ------
        RuntimeDisconnectedError
            There is none left.
        """
        living = [proxy for proxy in self._proxies if not proxy._is_lost]
        if not living:
            names = ", ".join(str(proxy.runtime_id) for proxy in self._proxies)
            raise RuntimeDisconnectedError(
                f"every element of this array of {self._cls.__name__} is dead (they were on {names})"
            )
        return living

    def __getattr__(self, name: str) -> Any:
        cls = self.__dict__.get("_cls")
        if cls is None or name.startswith(PROBES):
            raise AttributeError(f"an array of tesserae has no attribute {name!r}", name=name)
        found = methods.describe(cls, name)
        if isinstance(found, methods.Method):
            return self._send(name)
        if found is None and (name.startswith("_") or methods.is_closed(cls)):
            raise methods.missing(cls, name)
        return ArrayAttribute([RemoteAttribute(proxy, name) for proxy in self._living()])

    def _send(self, name: str) -> ArrayMethod:
        return ArrayMethod(self, name)

    def get_attr(self, name: str, *, immediate: bool = False) -> ArrayAttribute:
        """Read an attribute of every element; awaited it gives the list."""
        return ArrayAttribute(
            [proxy.get_attr(name, immediate=immediate) for proxy in self._living()]
        )

    def set_attr(self, name: str, value: object) -> TaskArrayProxy:
        """Set an attribute of every element; need not be awaited."""
        tasks: list[Any] = [proxy.set_attr(name, value) for proxy in self._living()]
        return TaskArrayProxy(tasks)

    def _on(self, runtime: object) -> TesseraProxy:
        """Return the element that lives on a runtime, given by its uid or proxy.

        Raises
        ------
        RuntimeDisconnectedError
            No element lives there.
        """
        uid = runtime if isinstance(runtime, str) else getattr(runtime, "uid", None)
        for proxy in self._proxies:
            if proxy.runtime_id == uid:
                return proxy
        for proxy in self._proxies:
            # In a worker, the head may not have said yet where it goes.
            if proxy.runtime_id is None and network.uid_of(proxy._ref.wait_placed()) == uid:
                return proxy
        there = ", ".join(str(proxy.runtime_id) for proxy in self._proxies)
        raise NoElementError(
            f"no element of this array of {self._cls.__name__} lives on {uid} (they live on {there})"
        )

    @property
    def uid(self) -> list[str]:
        """The uid of each element."""
        return [proxy.uid for proxy in self._living()]

    @property
    def runtime_id(self) -> list[str | None]:
        """The uid of each element's runtime."""
        return [proxy.runtime_id for proxy in self._living()]

    @property
    def remote_runtime(self) -> list[Any]:
        """A proxy of each element's runtime."""
        return [proxy.remote_runtime for proxy in self._living()]

    @property
    def state(self) -> list[str]:
        """The state of each element."""
        return [proxy.state for proxy in self._proxies]

    @property
    def type(self) -> str:
        """What this is: ``array_proxy``."""
        return "array_proxy"

    @property
    def has_tessera(self) -> bool:
        """Whether tesserae stand behind this object: yes."""
        return True

    @property
    def is_parameter(self) -> bool:
        """Whether the elements are roots of parameters."""
        return False

    @property
    def init_future(self) -> AllReady:
        """Awaited, it waits until the elements exist (for old programs)."""
        return AllReady([proxy.init_future for proxy in self._living()])

    def state_changed(self, state: str) -> None:
        """Do nothing: the core tells the state (for old programs)."""

    def make_parameter(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Make a parameter of each element."""
        return [proxy.make_parameter(*args, **kwargs) for proxy in self._living()]

    def __await__(self) -> Generator[Any, None, Self]:
        """Wait until the elements exist; gives the array."""
        return self._ready().__await__()

    async def _ready(self) -> Self:
        for proxy in self._proxies:
            try:
                await proxy
            except RuntimeDisconnectedError as error:
                if not self._safe:
                    raise
                import warnings

                warnings.warn(
                    f"{proxy.uid} is left out of its array: {error}", RuntimeWarning, stacklevel=2
                )
        self._living()
        return self

    async def stop(self) -> None:
        """Free every element."""
        for stopping in [proxy.stop() for proxy in self._living()]:
            await stopping

    def __getitem__(self, index: Any) -> Any:
        """Return an element by its index, or a method of all by its name."""
        if isinstance(index, str):
            return self._send(index)
        return self._proxies[index]

    def __len__(self) -> int:
        try:
            return len(self._living())
        except RuntimeDisconnectedError:
            return 0

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[TesseraProxy]:
        return iter(self._living())

    def __dir__(self) -> list[str]:
        return sorted(
            {*object.__dir__(self), *(name for name in dir(self._cls) if not name.startswith("_"))}
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_array, (self._cls, self._proxies, self._safe)

    def _repr_html_(self) -> str:
        from mosaic.core.summary import of_tesserae

        return of_tesserae(f"Array of {len(self._proxies)} tesserae", self._proxies)

    def __repr__(self) -> str:
        places = ", ".join(str(proxy.runtime_id) for proxy in self._proxies)
        kind = f"{len(self._proxies)} of {self._cls.__name__}"
        return f"<ArrayProxy object at {id(self):#x}, {kind}, runtimes=[{places}]>"


def _rebuild_array(cls: type, proxies: list[TesseraProxy], safe: bool) -> ArrayProxy:
    return ArrayProxy(cls, proxies, safe)


class ArrayMethod:
    """Calls a method of every living element, or of the one on ``runtime``."""

    __slots__ = ("_array", "_name", "_picks")

    def __init__(self, array: ArrayProxy, name: str) -> None:
        self._array = array
        self._name = name
        found = methods.describe(array._cls, name)
        self._picks = not isinstance(found, methods.Method) or "runtime" in found.reserved

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call; returns a `TaskArrayProxy`, or with ``runtime`` the task of one element."""
        if self._picks and kwargs.get("runtime") is not None:
            return self._array._on(kwargs.pop("runtime"))._send(self._name)(*args, **kwargs)
        name = self._name
        tasks: list[Any] = [proxy._send(name)(*args, **kwargs) for proxy in self._array._living()]
        return TaskArrayProxy(tasks)
