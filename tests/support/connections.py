"""Cutting connections between processes that live on, from within one of the two."""

import os
import socket
import struct
from pathlib import Path


def connected_to(pid: int) -> list[socket.socket]:
    """Return duplicates of this process's Unix sockets whose other end is in that process."""
    found: dict[str, socket.socket] = {}
    for entry in list(Path("/proc/self/fd").iterdir()):
        try:
            name = os.readlink(entry)
            # One socket may have several descriptors.
            if name in found or not name.startswith("socket:"):
                continue
            end = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:
            continue
        if _peer(end) == pid:
            found[name] = end
        else:
            end.close()
    return list(found.values())


def _peer(end: socket.socket) -> int | None:
    try:
        if end.family != socket.AF_UNIX or end.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return None
        end.getpeername()
        credentials = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    except OSError:
        return None
    return int(struct.unpack("iII", credentials)[0])


def cut(pid: int) -> int:
    """Shut down every connection of this process with that one; return how many there were."""
    ends = connected_to(pid)
    for end in ends:
        try:
            end.shutdown(socket.SHUT_RDWR)
        finally:
            end.close()
    return len(ends)


def sockets_of(pid: int) -> int:
    """Return how many sockets a process has open."""
    count = 0
    for entry in list(Path(f"/proc/{pid}/fd").iterdir()):
        try:
            count += os.readlink(entry).startswith("socket:")
        except OSError:
            continue
    return count
