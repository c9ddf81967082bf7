"""`ArrayProxy`: several tesserae of one class, spread over the workers."""

from __future__ import annotations

from mosaic.core import methods, network
from mosaic.core.attribute import ArrayAttribute, RemoteAttribute
from mosaic.core.futures import AllReady, Completion
from mosaic.core.names import ProcessNames
from mosaic.core.task import TaskArrayProxy
from mosaic.errors import RuntimeDisconnectedError
from mosaic.serialise.pickle_class import PickleClass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Any, Self

    from mosaic.core.proxy import TesseraProxy

_ASKED_OF_ARRAYS = frozenset({"obj", "outputs", "result"})
"""Names that programs for mosaic 1.2 find on arrays of any class: read, they are attributes of the elements."""


class NoElementError(RuntimeDisconnectedError, RuntimeError):
    """No element of an array lives on the runtime that was asked for."""


class ArrayProxy(ProcessNames):
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
    timeout : float, optional
        Seconds that awaiting the array waits for its elements.
    """

    _user_class: type
    _proxies: list[TesseraProxy]
    _safe: bool
    _timeout: float | None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make an array that forwards the operators of the user's class."""
        user = args[0] if args else kwargs.get("cls")
        return object.__new__(
            methods.forwarding_class(cls, user) if isinstance(user, type) else cls
        )

    def __init__(
        self,
        cls: type,
        proxies: list[TesseraProxy],
        safe: bool = True,
        timeout: float | None = None,
    ) -> None:
        self._user_class = cls
        self._proxies = proxies
        self._safe = safe
        self._timeout = timeout

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
                f"every element of this array of {self._user_class.__name__} is dead (they were on {names})"
            )
        return living

    def __getattr__(self, name: str) -> Any:
        cls = self.__dict__.get("_user_class")
        if cls is None:
            raise AttributeError(f"an array of tesserae has no attribute {name!r}", name=name)
        if name not in _ASKED_OF_ARRAYS and isinstance(methods.find(cls, name), methods.Method):
            return self._send(name)
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
            f"no element of this array of {self._user_class.__name__} lives on {uid} (they live on {there})"
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
    def is_proxy(self) -> bool:
        """Whether this stands for objects that live elsewhere: yes."""
        return True

    @property
    def _cls(self) -> PickleClass:
        """The user's class, wrapped (for programs of mosaic 1.2)."""
        return PickleClass(self._user_class)

    @property
    def _tessera(self) -> Self:
        """The array itself: it stands for the tesserae (for programs of mosaic 1.2)."""
        return self

    @property
    def max_retries(self) -> int:
        """How often a call that raised is run again."""
        return self._proxies[0].max_retries

    @property
    def is_async(self) -> bool:
        """Whether calls run as soon as their arguments are ready, as far as the proxies know."""
        return self._proxies[0].is_async

    @property
    def args(self) -> tuple[Any, ...]:
        """Empty: the arguments of the construction are sent and not kept (for programs of mosaic 1.2)."""
        return ()

    @property
    def kwargs(self) -> dict[str, Any]:
        """Empty, as `args` (for programs of mosaic 1.2)."""
        return {}

    @property
    def has_tessera(self) -> bool:
        """Whether tesserae stand behind this object: yes."""
        return True

    @property
    def is_tessera(self) -> bool:
        """Whether this is the hosting side of a tessera: no."""
        return False

    @property
    def is_parameter(self) -> bool:
        """Whether the elements are roots of parameters."""
        return False

    @property
    def init_future(self) -> AllReady:
        """Awaited, it waits until the elements exist (for programs of mosaic 1.2)."""
        return AllReady([proxy.init_future for proxy in self._living()])

    def state_changed(self, state: str) -> None:
        """Do nothing: the core sets the state (for programs of mosaic 1.2)."""

    def make_parameter(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Make a parameter of each element."""
        return [proxy.make_parameter(*args, **kwargs) for proxy in self._living()]

    def __await__(self) -> Generator[Any, None, Self]:
        """Wait until the elements exist; gives the array."""
        if self._timeout is None:
            return self._ready().__await__()
        return self._ready_in_time(self._timeout).__await__()

    async def _ready_in_time(self, seconds: float) -> Self:
        import asyncio

        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await self._ready()
        except TimeoutError:
            if limit.expired():
                raise TimeoutError(
                    f"elements of this array of {self._user_class.__name__} are not there after {seconds} s: "
                    f"their states are {', '.join(self.state)}"
                ) from None
            raise

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

    def stop(self) -> Completion:
        """Free every element; a method ``stop`` of the user's class wins. See `mosaic.stop_tessera`."""
        return Completion(*[proxy._mosaic_stop() for proxy in self._living()])

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
        return sorted({*object.__dir__(self), *methods.listed(self._user_class)})

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_array, (self._user_class, self._proxies, self._safe, self._timeout)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def _repr_html_(self) -> str:
        from mosaic.notebook.summary import of_tesserae

        return of_tesserae(f"Array of {len(self._proxies)} tesserae", self._proxies)

    def __repr__(self) -> str:
        places = ", ".join(str(proxy.runtime_id) for proxy in self._proxies)
        kind = f"{len(self._proxies)} of {self._user_class.__name__}"
        return f"<ArrayProxy object at {id(self):#x}, {kind}, runtimes=[{places}]>"


def _rebuild_array(
    cls: type, proxies: list[TesseraProxy], safe: bool, timeout: float | None
) -> ArrayProxy:
    return ArrayProxy(cls, proxies, safe, timeout)


class ArrayMethod:
    """Calls a method of every living element, or of the one on ``runtime``."""

    __slots__ = ("_array", "_name")

    __doc__ = property(lambda self: self._array._proxies[0]._send(self._name).__doc__)

    def __init__(self, array: ArrayProxy, name: str) -> None:
        self._array = array
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call; returns a `TaskArrayProxy`, or with ``runtime`` the task of one element."""
        name = self._name
        if kwargs and kwargs.get("runtime") is not None:
            return self._array._on(kwargs.pop("runtime"))._send(name)(*args, **kwargs)
        tasks: list[Any] = [proxy._send(name)(*args, **kwargs) for proxy in self._array._living()]
        return TaskArrayProxy(tasks)

    def __getattr__(self, name: str) -> Any:
        # What the method is called, and what it takes: as its own function says.
        if name not in _OF_FUNCTIONS:
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}", name=name)
        return getattr(self._array._proxies[0]._send(self._name), name)


_OF_FUNCTIONS = frozenset({"__name__", "__qualname__", "__wrapped__"})
