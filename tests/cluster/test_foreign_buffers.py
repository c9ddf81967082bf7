"""Values of other libraries whose buffers pickle out of band travel as arrays do."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import mosaic
from tests.support.actors import Echo

ROWS = 300_000


@mosaic.tessera
class Looker:
    def facts(self, value):
        return type(value).__name__, len(value)

    def total(self, frame, column):
        return float(frame[column].sum())


def frame(rows=ROWS):
    return pd.DataFrame(
        {
            "x": np.arange(rows, dtype=float),
            "n": np.arange(rows),
            "name": pd.Categorical.from_codes(np.arange(rows) % 3, ["a", "b", "c"]),
        },
        index=pd.date_range("2020-01-01", periods=rows, freq="s"),
    )


async def bytes_in_store(runtime) -> int:
    return sum(buffer.nbytes for buffer in (await runtime.memory()).buffers)


@pytest.mark.parametrize("rows", [10, ROWS])
async def test_pandas(runtime, rows):
    sent = frame(rows)
    back = await Echo.remote().back(sent).result()
    pd.testing.assert_frame_equal(back, sent)
    back.loc[back.index[0], "x"] = -1.0
    assert sent["x"].iloc[0] == 0.0
    assert await Looker.remote().total(sent, "x").result() == rows * (rows - 1) / 2


@pytest.mark.parametrize("rows", [10, ROWS])
async def test_arrow(runtime, rows):
    table = pa.table({"x": np.arange(rows), "text": [f"row {index}" for index in range(rows)]})
    back = await Echo.remote().back(table).result()
    assert back.equals(table)
    array = pa.array(np.arange(rows, dtype=float))
    assert (await Echo.remote().back([array]).result())[0].equals(array)


async def test_their_buffers_lie_in_the_store(runtime):
    ref = await runtime.put(frame())
    assert await bytes_in_store(runtime) > 2 * 8 * ROWS
    assert await Looker.remote().facts(ref).result() == ("DataFrame", ROWS)
    table = await runtime.put(pa.table({"x": np.arange(ROWS, dtype=float)}))
    assert await bytes_in_store(runtime) > 3 * 8 * ROWS
    assert await Looker.remote().facts(table).result() == ("Table", ROWS)


async def test_a_value_by_protocol_5(runtime):
    """Whatever gives its buffers to pickle, without being an array."""
    import pickle

    class Field:
        def __init__(self, data):
            self.data = data

        def __reduce_ex__(self, protocol):
            return rebuild, (pickle.PickleBuffer(self.data),)

    def rebuild(buffer):
        return bytes(memoryview(buffer)[:3]), memoryview(buffer).readonly, memoryview(buffer).nbytes

    got = await Echo.remote().back(Field(bytearray(b"abc" * 1_000_000))).result()
    assert got == (b"abc", False, 3_000_000)
