"""Payloads are compressed where a sample says that it pays."""

import math
import os

import numpy as np
import pytest

from mosaic import _core
from mosaic.compat import compression
from mosaic.compat.compression import decompress, maybe_compress
from mosaic.serialise.codec import deserialise, serialise

SOFT = bytes(range(10)) * 100_000
HARD = os.urandom(1_000_000)


def test_what_shrinks_is_compressed():
    name, packed = maybe_compress(SOFT)
    assert name == "lz4"
    assert type(packed) is bytes
    assert len(packed) < len(SOFT) / 50
    assert decompress(name, packed) == SOFT


@pytest.mark.parametrize("payload", [SOFT[:9_999], HARD, b"", b"short"], ids=len)
def test_what_is_small_or_does_not_shrink_comes_back_as_it_is(payload):
    name, same = maybe_compress(payload)
    assert name is None
    assert same is payload
    assert decompress(None, payload) is payload


def test_the_least_size_is_settable():
    assert maybe_compress(SOFT[:500], min_size=100)[0] == "lz4"
    assert maybe_compress(SOFT, min_size=1e9)[0] is None


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((300, 200)),
        np.zeros((300, 200), order="F"),
        np.zeros(30_000, "M8[s]"),
        np.zeros(30_000, "c16"),
        np.zeros(30_000, [("a", "i4"), ("b", "f8")]),
    ],
    ids=lambda array: f"{array.dtype} {'F' if array.flags.fnc else 'C'}",
)
def test_arrays(array):
    name, packed = maybe_compress(array)
    assert name == "lz4"
    assert decompress(name, packed) == array.tobytes("A")


def test_other_buffers():
    for payload in (bytearray(SOFT), memoryview(SOFT), memoryview(np.zeros((100, 200)))):
        name, packed = maybe_compress(payload)
        assert decompress(name, memoryview(packed)) == bytes(payload)


def test_the_buffers_of_a_value():
    """What programs do that send values by themselves."""
    value = {"soft": np.zeros(30_000), "hard": np.frombuffer(HARD, "u1"), "text": "a"}
    body, buffers = serialise(value)
    sent = [maybe_compress(buffer) for buffer in buffers]
    assert [name for name, _ in sent] == ["lz4", None]
    back = deserialise(body, [decompress(name, packed) for name, packed in sent])
    assert back["text"] == "a"
    for name in ("soft", "hard"):
        np.testing.assert_array_equal(back[name], value[name])


@pytest.mark.parametrize("dtype", ["f8", "M8[s]", [("a", "i4"), ("b", "f8")]], ids=str)
def test_arrays_that_are_not_contiguous(dtype):
    strided = np.arange(100_000).reshape(1000, 100).astype("i8").astype(dtype)[:, ::2]
    for array in (strided, strided[::-1], strided.T, np.broadcast_to(np.zeros((), dtype), 99_999)):
        name, packed = maybe_compress(array)
        assert name == "lz4"
        assert decompress(name, packed) == array.tobytes()
    name, same = maybe_compress(strided, min_size=1e9)
    assert name is None
    assert same is strided
    assert maybe_compress(memoryview(bytes(100_000))[::2])[0] == "lz4"


def test_texts():
    text = "größe" * 10_000
    name, packed = maybe_compress(text)
    assert (name, decompress(name, packed).decode()) == ("lz4", text)
    assert maybe_compress("short") == (None, "short")


def test_what_is_no_buffer_says_so():
    for payload in (5, None, [1, 2]):
        with pytest.raises(TypeError, match=r"buffer|bytes-like"):
            maybe_compress(payload)


def test_what_was_compressed_can_be_written_to():
    name, packed = maybe_compress(np.zeros(30_000))
    array = np.frombuffer(decompress(name, packed))
    array[:] = 1
    assert array.all()


def test_samples_decide(monkeypatch):
    """Hard parts beside soft ones; how much goes through LZ4 is counted."""
    seen = []

    def watched(payload):
        seen.append(memoryview(payload).nbytes)
        return compress(payload)

    compress = _core.compress
    monkeypatch.setattr(_core, "compress", watched)
    assert maybe_compress(HARD)[0] is None
    assert seen == [50_000]
    seen.clear()
    assert maybe_compress(HARD, sample_size=1000, nsamples=3)[0] is None
    assert seen == [3000]
    seen.clear()
    # A payload whose start and end are hard, and whose middle the samples see.
    name, packed = maybe_compress(HARD[:100_000] + SOFT + HARD[:100_000])
    assert name == "lz4"
    assert seen == [50_000, 1_200_000]
    # Samples that miss the hard part do not make a payload larger.
    assert len(packed) < 1_200_000
    hidden = bytearray(HARD)
    last = len(hidden) - 10_000
    for index in range(5):
        start = last * index // 4
        hidden[start : start + 10_000] = bytes(10_000)
    name, same = maybe_compress(hidden)
    assert name is None
    assert same is hidden


def test_a_name_that_is_not_known():
    for name in ("gzip", True, 5):
        with pytest.raises(
            ValueError, match=f"no compression called {name!r} here; .* 'lz4', 'zlib'"
        ):
            decompress(name, b"")


@pytest.mark.parametrize("damage", [b"", b"abc", b"\xff\xff\xff\xff" + bytes(100)], ids=len)
def test_damaged_bytes(damage):
    with pytest.raises(ValueError, match="damaged"):
        decompress("lz4", damage)


def test_a_cut_payload():
    name, packed = maybe_compress(SOFT)
    with pytest.raises(ValueError, match="damaged"):
        decompress(name, packed[: len(packed) // 2])


def test_every_length_comes_back():
    for length in (1, 15, 16, 17, 255, 4096, 65_535, 65_536, 65_537, 1_000_003):
        payload = (SOFT * math.ceil(length / len(SOFT)))[:length]
        assert _core.decompress(_core.compress(payload)) == payload


def test_longer_than_a_block_is_left_alone(monkeypatch):
    monkeypatch.setattr(compression, "LONGEST", 20_000)
    assert maybe_compress(SOFT[:20_000])[0] == "lz4"
    assert maybe_compress(SOFT[:20_001])[0] is None
