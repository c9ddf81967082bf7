"""`mosaic.stop_tessera`."""

from __future__ import annotations

from mosaic.core.array import ArrayProxy
from mosaic.core.futures import Completion
from mosaic.core.host import Tessera
from mosaic.core.proxy import TesseraProxy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mosaic.parameter.mixin import ParameterMixin


def stop_tessera(tessera: TesseraProxy | ArrayProxy | Tessera | ParameterMixin) -> Completion:
    """Free a remote object now, after the calls made before; calls made later fail.

    The same as the method ``stop`` of proxies and arrays, which gives way to one of the user's class.

    Parameters
    ----------
    tessera : TesseraProxy, ArrayProxy, Tessera or ParameterMixin
        What to stop: of an array every living element, of a parameter its root.

    Returns
    -------
    Completion
        Need not be awaited; ``wait`` is for synchronous code.

    Raises
    ------
    TypeError
        It is none of these.

    Examples
    --------
    >>> import mosaic
    >>> @mosaic.tessera
    ... class Counter:
    ...     def count(self):
    ...         return 1
    >>> with mosaic.session(num_workers=1) as runtime:
    ...     counter = Counter.remote()
    ...     mosaic.stop_tessera(counter).wait()
    ...     counter.state
    'stopped'
    """
    found: Any = tessera
    if hasattr(type(tessera), "_mosaic_plain"):
        found = found._tessera
    if isinstance(found, Tessera):
        found = found.proxy
    if isinstance(found, ArrayProxy):
        return Completion(*[proxy._mosaic_stop() for proxy in found._living()])
    if not isinstance(found, TesseraProxy):
        raise TypeError(f"stop_tessera() takes a proxy or an array of tesserae, not {tessera!r}")
    return Completion(found._mosaic_stop())
