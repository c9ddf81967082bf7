"""Tells the Rust core which Python objects to work with; whoever starts an engine imports this first."""

from __future__ import annotations

from mosaic import _core
from mosaic.comms.serialisation import deserialise, serialise
from mosaic.core.task import TaskProxy
from mosaic.core.tessera import build


def _encode_exception(error: BaseException) -> tuple[str, bytes]:
    from mosaic.core.failure import encode_exception

    return encode_exception(error)


def _decode_exception(message: str, detail: bytes) -> BaseException:
    from mosaic.core.failure import decode_exception

    return decode_exception(message, detail)


_core.configure(
    task_type=TaskProxy,
    pickle=serialise,
    unpickle=deserialise,
    encode_exception=_encode_exception,
    decode_exception=_decode_exception,
    build=build,
)
