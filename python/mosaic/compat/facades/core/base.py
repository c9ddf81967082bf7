"""`Base`, `CMDBase`, `RemoteBase` and `ProxyBase`, where mosaic 1.2 had them."""

from mosaic.compat.bases import Base, CMDBase, ProxyBase, RemoteBase
from mosaic.errors import MemoryOverflowError, RuntimeDisconnectedError

__all__ = [
    "Base",
    "CMDBase",
    "MemoryOverflowError",
    "ProxyBase",
    "RemoteBase",
    "RuntimeDisconnectedError",
]
