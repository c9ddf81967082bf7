"""Tells the Rust core which Python objects to work with; whoever starts an engine imports this first."""

from __future__ import annotations

from mosaic import _core
from mosaic.core.host import build
from mosaic.core.task import TaskProxy
from mosaic.serialise.codec import deserialise, serialise


def _encode_exception(error: BaseException) -> tuple[str, bytes]:
    from mosaic.core.failure import encode_exception

    return encode_exception(error)


def _decode_failure(
    kind: str, message: str, context: list[str], detail: bytes | None
) -> BaseException:
    from mosaic.core.failure import decode_failure

    return decode_failure(kind, message, context, detail)


_core.configure(
    task_type=TaskProxy,
    pickle=serialise,
    unpickle=deserialise,
    encode_exception=_encode_exception,
    decode_failure=_decode_failure,
    build=build,
)
