"""Connects the layers: head and workers call `install` before the first call runs.

The Rust core learns which Python objects it works with, and `mosaic.core` which functions of the layers above it
serve tesserae, tasks and proxies (`Services`). As the one module that knows all layers it may import from any of them;
each function imports its module when it is first called, so that workers start fast.
"""

from __future__ import annotations

from mosaic import _core
from mosaic.core import services
from mosaic.core.host import build
from mosaic.core.task import TaskProxy
from mosaic.serialise.codec import deserialise, serialise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Awaitable, Sequence
    from typing import Any

    import numpy.typing as npt

    from mosaic._core import Engine, RemoteMethod, TesseraRef
    from mosaic.compat.event_loop import EventLoops
    from mosaic.core.proxy import TesseraProxy


class Services:
    """Functions of the layers above `mosaic.core`; see `mosaic.core.services`."""

    def current_runtime(self) -> Any:
        """Return the runtime of this process, None if there is none."""
        from mosaic.runtime.current import current

        return current()

    def watch_notices(self) -> None:
        """Make sure that a thread reads the notices of the engine."""
        from mosaic.runtime.notices import watch

        watch()

    def ensure_lane(self, engine: Engine) -> None:
        """Make sure that calls of tesserae hosted here can run; see `mosaic.runtime.lanes`."""
        from mosaic.runtime.lanes import ensure_lane

        ensure_lane(engine)

    def reduce(
        self, tasks: Sequence[Any], op: str, out: npt.NDArray[Any] | None
    ) -> Awaitable[npt.NDArray[Any]]:
        """Combine the values of tasks; see `Runtime.reduce`."""
        from mosaic.runtime.reduction import reduce

        return reduce(tasks, op, out)

    def proxy_class(self) -> type[TesseraProxy]:
        """Return the class of the proxies of tesserae."""
        from mosaic.core.proxy import TesseraProxy

        return TesseraProxy

    def at_warehouse(self, method: RemoteMethod) -> Any:
        """Return what calls a method of a tessera at the warehouse, for which live values are resolved there."""
        from mosaic.warehouse.live_reference import WarehouseMethod

        return WarehouseMethod(method)

    def make_parameter(
        self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]
    ) -> Any:
        """Make a parameter, or a list of them; see ``Klass.parameter``."""
        from mosaic.parameter.create import make

        return make(cls, args, kwargs, options)

    def make_local_parameter(
        self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]
    ) -> Any:
        """Make a parameter that is its own root; see ``Klass.local_parameter``."""
        from mosaic.parameter.create import make_local

        return make_local(cls, args, kwargs, options)

    def parameter_of(
        self,
        proxy: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        cached: bool,
        obj: object = None,
    ) -> Any:
        """Make a parameter whose root is an existing tessera; see `TesseraProxy.make_parameter`."""
        from mosaic.parameter.create import of_proxy

        return of_proxy(proxy, args, kwargs, cached, obj)

    def root_attribute(self, name: str, obj: object) -> Any:
        """Return what a root has beside the attributes of its class: ``_mosaic_root`` or ``_mosaic_copy``."""
        from mosaic.parameter import root

        return root.service(obj) if name == "_mosaic_root" else root.copy_of(obj)

    def event_loops(self, loop: AbstractEventLoop | None = None) -> EventLoops:
        """Return what gives event loops with the names of mosaic 1.2; see `Runtime.get_event_loop`."""
        from mosaic.compat.event_loop import EventLoops

        return EventLoops(loop)

    def reference_to(self, cls: type, runtime: object, uid: str) -> TesseraRef:
        """Return a reference to the tessera that has a uid; see `mosaic.compat.explicit`."""
        from mosaic.compat.explicit import reference

        return reference(cls, runtime, uid)

    def explicit_task(
        self, proxy: Any, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Return a task that has not started; see `mosaic.compat.explicit`."""
        from mosaic.compat.explicit import HandMadeTask

        return HandMadeTask(proxy, method, *args, **kwargs)

    def start_task(
        self, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Awaitable[None]:
        """Start such a task, and wait until it has reached its worker."""
        from mosaic.compat.explicit import init_task

        return init_task(task, args, kwargs)


def _encode_exception(error: BaseException) -> tuple[str, bytes]:
    from mosaic.core.failure import encode_exception

    return encode_exception(error)


def _decode_exception(message: str, detail: bytes) -> BaseException:
    from mosaic.core.failure import decode_exception

    return decode_exception(message, detail)


def install() -> None:
    """Connect the layers; repeated, it changes nothing."""
    _core.configure(
        task_type=TaskProxy,
        pickle=serialise,
        unpickle=deserialise,
        encode_exception=_encode_exception,
        decode_exception=_decode_exception,
        build=build,
    )
    services.provider = Services()
