"""What tesserae, tasks and proxies need of the layers above `mosaic.core`.

`mosaic.runtime.hooks` sets `provider` before a runtime starts. A process without a runtime has no provider.
"""

from __future__ import annotations

from mosaic.core import network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mosaic.runtime.hooks import Services

provider: Services | None = None


def services() -> Services:
    """Return what the layers above provide.

    Raises
    ------
    MosaicError
        No runtime has been started here.
    """
    if provider is None:
        raise network.no_runtime()
    return provider
