"""A facade: names of mosaic 1.2; the code is in `mosaic.serialise` and `mosaic.compat`."""

from __future__ import annotations

from mosaic._facade import lazy_names

# Its modules, which are those of mosaic 1.2, lie there.
__path__ = [f"{__path__[0]}/../compat/facades/comms"]


def get_hostname() -> str:
    """Return the name of this machine."""
    import socket

    return socket.gethostname()


__getattr__ = lazy_names(__name__, {}, {"compression", "serialisation"})
