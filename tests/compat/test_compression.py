"""Payloads that mosaic 1.2 compressed, by whatever was installed there."""

import sys
import types
import zlib

import numpy as np
import pytest

from mosaic.comms.compression import decompress

PAYLOAD = bytes(range(10)) * 10_000


@pytest.mark.parametrize("name", [None, False])
def test_what_was_not_compressed_comes_back_as_it_is(name):
    payload = memoryview(b"as it is")
    assert decompress(name, payload) is payload


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_zlib(kind):
    found = decompress("zlib", kind(zlib.compress(PAYLOAD)))
    assert found == PAYLOAD
    np.frombuffer(found, "u1")[:] = 0
    assert not any(found)


def test_damaged_bytes():
    packed = zlib.compress(PAYLOAD)
    for damaged in (b"", b"abc", packed[: len(packed) // 2], bytes(100)):
        with pytest.raises(ValueError, match="damaged or was not compressed by zlib: "):
            decompress("zlib", damaged)


def real(name):
    """Compress by the codec itself, where it is installed."""
    if name == "blosc":
        return pytest.importorskip("blosc").compress(PAYLOAD, typesize=8)
    if name == "zstd":
        return pytest.importorskip("zstandard").ZstdCompressor().compress(PAYLOAD)
    return pytest.importorskip("snappy").compress(PAYLOAD)


@pytest.mark.parametrize("name", ["blosc", "zstd", "snappy"])
def test_codecs_that_are_installed(name):
    packed = real(name)
    for payload in (packed, memoryview(packed)):
        found = decompress(name, payload)
        assert found == PAYLOAD
        found[0] = 1
    with pytest.raises(ValueError, match=f"damaged or was not compressed by {name}"):
        decompress(name, packed[: len(packed) // 2])


class Reader:
    """What `zstandard` reads a stream with."""

    eof = True

    def decompress(self, payload):
        return bytes(payload)[::-1]

    decompressobj = __call__ = lambda self: self


def backwards(payload, **options):
    assert type(payload) is bytes
    return bytearray(payload[::-1]) if options.get("as_bytearray") else payload[::-1]


STAND_INS = {
    "blosc": [("blosc", {"decompress": backwards}), ("blosc2", {"decompress": backwards})],
    "zstd": [("zstandard", {"ZstdDecompressor": Reader()})],
    "snappy": [("snappy", {"decompress": backwards})],
}


@pytest.mark.parametrize("name", STAND_INS)
def test_the_codec_is_imported_when_a_payload_names_it(name, monkeypatch):
    for module, _ in STAND_INS[name]:
        monkeypatch.setitem(sys.modules, module, None)
    for module, content in STAND_INS[name]:
        stand_in = types.ModuleType(module)
        vars(stand_in).update(content)
        monkeypatch.setitem(sys.modules, module, stand_in)
        found = decompress(name, b"abc")
        assert (found, type(found)) == (b"cba", bytearray)
        monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("blosc", "pip install blosc or pip install blosc2"),
        ("zstd", "zstandard"),
        ("snappy", "python-snappy"),
    ],
)
def test_the_error_names_the_package(name, packages, monkeypatch):
    for module in ("blosc", "blosc2", "zstandard", "compression", "compression.zstd", "snappy"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        ImportError, match=f"compressed by {name}, .* not installed here: .*{packages}"
    ):
        decompress(name, b"abc")


def test_a_stream_that_ends_before_its_end(monkeypatch):
    stand_in = types.ModuleType("zstandard")
    stand_in.ZstdDecompressor = Reader()
    monkeypatch.setattr(Reader, "eof", False)
    monkeypatch.setitem(sys.modules, "zstandard", stand_in)
    with pytest.raises(ValueError, match="zstd: it has been cut"):
        decompress("zstd", b"abc")
