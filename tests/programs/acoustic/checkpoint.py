"""Fields on disk between runs: as they would travel, and compressed where that pays."""

import os

from mosaic.comms.compression import decompress, maybe_compress
from mosaic.comms.serialisation import deserialise, serialise


def write(path, obj):
    """Write an object; nobody ever finds half of it."""
    in_band, buffers = serialise(obj)
    parts = [maybe_compress(part) for part in (in_band, *buffers)]
    beside = f"{path}.new"
    with open(beside, "wb") as file:
        for name, payload in parts:
            file.write(f"{name} {memoryview(payload).nbytes}\n".encode())
            file.write(payload)
    os.replace(beside, path)
    return [name for name, _ in parts]


def read(path):
    """Read an object again."""
    parts = []
    with open(path, "rb") as file:
        while header := file.readline().split():
            name, size = header[0].decode(), int(header[1])
            payload = file.read(size)
            parts.append(decompress(None if name == "None" else name, payload))
    return deserialise(parts[0], [bytearray(part) for part in parts[1:]])
