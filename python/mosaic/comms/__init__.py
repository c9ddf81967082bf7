"""How values become bytes, and the name of this machine."""

from __future__ import annotations


def get_hostname() -> str:
    """Return the name of this machine."""
    import socket

    return socket.gethostname()
