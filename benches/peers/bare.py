"""The raw limits: a framed echo between bare interpreters on a Unix socket, no framework.

``asyncio-echo`` has an asyncio protocol on both sides, ``blocking-echo`` plain sockets on both. A
frame is a length of four bytes and a body; the answer is the same frame. Nothing is decoded, nobody
is authenticated: what a framework adds is the distance to these.

usage: python -m benches.peers.bare ROW | serve | echo STYLE PATH
"""

from __future__ import annotations

import asyncio
import contextlib
import platform
import select
import socket
import struct
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from benches.peers import measure
from benches.peers.measure import now

LENGTH = struct.Struct("<I")
ASYNCIO = ("asyncio-echo", platform.python_version())
BLOCKING = ("blocking-echo", platform.python_version())


# ----------------------------------------------------------------------------------------- asyncio


class Echo(asyncio.Protocol):
    """Server: whole frames go back as they came, in one write a read."""

    def __init__(self, ended: asyncio.Event) -> None:
        self.ended = ended
        self.buffer = bytearray()

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = 0
        for _body, end in frames(self.buffer):  # noqa: B007  the last end is what is wanted
            pass
        self.transport.write(bytes(self.buffer[:end]))
        del self.buffer[:end]

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


class Caller(asyncio.Protocol):
    """Client: a future a call; written at once when nothing is under way, else once a turn."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.buffer = bytearray()
        self.outgoing: list[bytes] = []
        self.waiting: deque[asyncio.Future[bytes]] = deque()

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def call(self, body: bytes = b"") -> asyncio.Future[bytes]:
        future = self.loop.create_future()
        frame = LENGTH.pack(len(body)) + body
        if not self.waiting:
            self.transport.write(frame)
        else:
            if not self.outgoing:
                self.loop.call_soon(self.flush)
            self.outgoing.append(frame)
        self.waiting.append(future)
        return future

    def flush(self) -> None:
        self.transport.write(b"".join(self.outgoing))
        self.outgoing.clear()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = 0
        for body, end in frames(self.buffer):  # noqa: B007
            self.waiting.popleft().set_result(body)
        del self.buffer[:end]


def frames(buffer: bytearray) -> Iterator[tuple[bytes, int]]:
    """Yield the bodies of the whole frames in the buffer, each with the place where it ends."""
    start = 0
    while len(buffer) - start >= LENGTH.size:
        (length,) = LENGTH.unpack_from(buffer, start)
        body = start + LENGTH.size
        if len(buffer) - body < length:
            return
        start = body + length
        yield bytes(buffer[body:start]), start


async def echo_asyncio(path: str) -> None:
    """Answer one connection until it closes."""
    ended = asyncio.Event()
    server = await asyncio.get_running_loop().create_unix_server(lambda: Echo(ended), path)
    print("LISTENING", flush=True)
    await ended.wait()
    server.close()


async def connect(path: str) -> Caller:
    """Open a connection to an echo."""
    return (await asyncio.get_running_loop().create_unix_connection(Caller, path))[1]


# ---------------------------------------------------------------------------------------- blocking


def read_exactly(connection: socket.socket, length: int) -> bytes:
    """Read that many bytes; EOFError at the end of the stream."""
    data = b""
    while len(data) < length:
        more = connection.recv(length - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def exchange(connection: socket.socket, body: bytes = b"") -> bytes:
    """Send one frame and wait for the answer."""
    connection.sendall(LENGTH.pack(len(body)) + body)
    (length,) = LENGTH.unpack(read_exactly(connection, LENGTH.size))
    return read_exactly(connection, length) if length else b""


@contextlib.contextmanager
def one_connection(path: str) -> Iterator[socket.socket]:
    """Accept one connection; what is done with it ends when the other end closes it."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print("LISTENING", flush=True)
        connection, _ = listener.accept()
    with connection, contextlib.suppress(EOFError):
        yield connection


def echo_blocking(path: str) -> None:
    """Answer one connection until it closes."""
    with one_connection(path) as connection:
        while True:
            head = read_exactly(connection, LENGTH.size)
            (length,) = LENGTH.unpack(head)
            body = read_exactly(connection, length) if length else b""
            connection.sendall(head + body)


# -------------------------------------------------------------------------------------------- rows


@contextlib.contextmanager
def two_echoes(style: str) -> Iterator[list[str]]:
    """Start two echo processes; yield the paths of their sockets, and wait for their end."""
    with tempfile.TemporaryDirectory(prefix="echo-") as directory, contextlib.ExitStack() as stack:
        paths = [str(Path(directory) / str(index)) for index in range(2)]
        command = [sys.executable, "-m", "benches.peers.bare", "echo", style]
        children = [
            stack.enter_context(subprocess.Popen([*command, path], stdout=subprocess.PIPE))
            for path in paths
        ]
        for child in children:
            child.stdout.readline()
        yield paths
        for child in children:
            child.wait(10)


async def measure_asyncio(row: str) -> None:
    """Measure one row with asyncio on both sides."""
    with two_echoes("asyncio") as paths:
        callers = [await connect(path) for path in paths]
        first = callers[0]
        for caller in callers:
            await caller.call()

        async def burst(body: bytes) -> float:
            start = now()
            await asyncio.gather(*[first.call(body) for _ in range(measure.BURST_CALLS)])
            return measure.BURST_CALLS / (now() - start)

        async def chain() -> float:
            start = now()
            body = b"\0" * 8
            for index in range(measure.CHAIN):
                body = await callers[index % 2].call(body)
            return (now() - start) * 1e3

        async def one_at_a_time() -> float:
            items = iter(range(measure.ITEMS))

            async def work(caller: Caller) -> None:
                for item in items:  # one iterator: each caller takes the next item that is left
                    await caller.call(item.to_bytes(8, "little"))

            start = now()
            await asyncio.gather(*[work(caller) for caller in callers])
            return measure.ITEMS / (now() - start)

        rows: dict[str, tuple[Callable[[], object], str]] = {
            "call_async_us": (lambda: measure.microseconds_a_call(first.call), ""),
            "burst_asyncio": (lambda: burst(b""), "one future a call"),
            "burst_1k_asyncio": (lambda: burst(measure.PAYLOAD), "one future a call"),
            "chain_ms": (chain, "each result goes through the driver"),
            "map_single": (one_at_a_time, ""),
        }
        if row in rows:
            once, note = rows[row]
            measure.record(ASYNCIO, row, await measure.repeat(once), note)
        for caller in callers:
            caller.transport.close()
        await asyncio.sleep(0)


def measure_blocking(row: str) -> None:
    """Measure one row with plain sockets on both sides."""
    if row != "call_blocking_us":
        return
    with two_echoes("blocking") as paths, contextlib.ExitStack() as stack:
        connections = []
        for path in paths:
            connections.append(stack.enter_context(socket.socket(socket.AF_UNIX)))
            connections[-1].connect(path)
            exchange(connections[-1])
        call = lambda: exchange(connections[0])  # noqa: E731
        once = lambda: measure.microseconds_a_blocking_call(call)  # noqa: E731
        measure.record(BLOCKING, row, measure.repeat_blocking(once))
        for connection in connections:
            connection.close()


def serve() -> None:
    """Be the child of `measure.lifecycle`: two bare interpreters that answered once."""
    with two_echoes("blocking") as paths:
        connections = [socket.socket(socket.AF_UNIX) for _ in paths]
        for connection, path in zip(connections, paths, strict=True):
            connection.connect(path)
            exchange(connection)
        print("READY", flush=True)
        select.select([sys.stdin], [], [])
        for connection in connections:
            connection.close()


def main() -> None:
    """Do what the arguments say."""
    match sys.argv[1:]:
        case ["echo", "asyncio", path]:
            asyncio.run(echo_asyncio(path))
        case ["echo", "blocking", path]:
            echo_blocking(path)
        case ["echo", "arrays", path]:
            from benches.peers import bare_arrays  # numpy: not for the other rows

            bare_arrays.serve(path)
        case ["serve"]:
            serve()
        case ["lifecycle"]:
            measure.lifecycle(BLOCKING, "benches.peers.bare", "two bare interpreters, no framework")
        case [row] if row in measure.ARRAY_ROWS:
            from benches.peers import bare_arrays

            bare_arrays.measure_row(row)
        case [row]:
            asyncio.run(measure_asyncio(row))
            measure_blocking(row)


if __name__ == "__main__":
    main()
