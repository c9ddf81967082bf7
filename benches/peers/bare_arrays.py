"""The raw limits of arrays: the memory of one process, and a socket between two.

``numpy`` copies into shared memory that was touched before, and adds in place, in one process. ``blocking-echo`` sends
arrays over a Unix socket into memory that numpy allocates; nothing is decoded.

usage: see `benches.peers.bare`
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import socket
import struct
from typing import ClassVar

import numpy as np

from benches.peers import arrays
from benches.peers.arrays import OPERAND_MB, OPERANDS, Peer, look, marked
from benches.peers.bare import BLOCKING, one_connection, two_echoes
from benches.peers.measure import now

NUMPY = ("numpy", np.__version__)

HEAD = struct.Struct("<cQ")
TAKE, PREPARE, GIVE = b"t", b"p", b"g"


class Memory(Peer):
    """One process: a transfer is one copy into shared memory that both sides would see."""

    notes: ClassVar = {
        "array": "one copy into warm shared memory",
        "both": "one copy into warm shared memory",
        "reduce": "np.add in place, one thread, all in one process",
    }

    def __init__(self, megabytes: int) -> None:
        self.map = mmap.mmap(-1, megabytes * 1_000_000)
        self.shared = marked(megabytes, np.frombuffer(self.map, np.float32))
        self.kept = marked(megabytes)

    async def take(self, worker: int, array: np.ndarray) -> int:
        np.copyto(self.shared, array)
        return look(self.shared)

    async def prepare(self, worker: int, megabytes: int) -> None:
        """Nothing to do: the array is there."""

    async def give(self, worker: int) -> np.ndarray:
        np.copyto(self.shared, self.kept)
        return self.shared


class Adder(Memory):
    """One process that adds arrays."""

    def __init__(self) -> None:
        super().__init__(OPERAND_MB)
        self.operands = [marked(OPERAND_MB) for _ in range(OPERANDS)]

    async def total(self) -> tuple[np.ndarray, float]:
        start = now()
        np.add(self.operands[0], self.operands[1], out=self.shared)
        for operand in self.operands[2:]:
            np.add(self.shared, operand, out=self.shared)
        return self.shared, now() - start


class Socket(Peer):
    """Two processes and a Unix socket; the driver sends and receives while the event loop waits."""

    notes: ClassVar = {"array": "sendall and recv_into", "filled": "the process's own memory"}

    def __init__(self, connections: list[socket.socket]) -> None:
        self.connections = connections

    def empty(self, count: int) -> np.ndarray:
        return np.empty(count, np.float32)

    async def take(self, worker: int, array: np.ndarray) -> int:
        self.connections[worker].sendall(HEAD.pack(TAKE, array.nbytes))
        self.connections[worker].sendall(array)
        return HEAD.unpack(receive(self.connections[worker], HEAD.size))[1]

    async def prepare(self, worker: int, megabytes: int) -> None:
        self.connections[worker].sendall(HEAD.pack(PREPARE, megabytes))

    async def give(self, worker: int) -> np.ndarray:
        self.connections[worker].sendall(HEAD.pack(GIVE, 0))
        _, length = HEAD.unpack(receive(self.connections[worker], HEAD.size))
        return receive(self.connections[worker], length).view(np.float32)


def receive(connection: socket.socket, length: int) -> np.ndarray:
    """Read that many bytes; EOFError at the end of the stream."""
    data = np.empty(length, np.uint8)
    view, done = memoryview(data), 0
    while done < length:
        more = connection.recv_into(view[done:])
        if not more:
            raise EOFError
        done += more
    return data


def answer(connection: socket.socket) -> None:
    """Take and give arrays until the connection closes."""
    kept = marked(1)
    while True:
        operation, length = HEAD.unpack(receive(connection, HEAD.size))
        if operation == TAKE:
            found = look(receive(connection, length).view(np.float32))
            connection.sendall(HEAD.pack(TAKE, found))
        elif operation == PREPARE:
            kept = marked(length)
        else:
            connection.sendall(HEAD.pack(GIVE, kept.nbytes))
            connection.sendall(kept)


def serve(path: str) -> None:
    """Be the other end of one connection."""
    with one_connection(path) as connection:
        answer(connection)


def measure_row(row: str) -> None:
    """Measure one row: in memory, and over a socket where it is about one transfer."""
    memory = Adder() if row == "reduce_ms" else Memory(arrays.ROWS[row][2])
    asyncio.run(arrays.measure_row(NUMPY, row, memory))
    if not row.startswith(("array", "filled")):
        return
    with two_echoes("arrays") as paths, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in paths]
        for connection, path in zip(connections, paths, strict=True):
            connection.connect(path)
        asyncio.run(arrays.measure_row(BLOCKING, row, Socket(connections)))
        for connection in connections:
            connection.close()
