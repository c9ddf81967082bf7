"""Reads the machines of a job from the lists of Slurm, Grid Engine and PBS."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path


def expand(text: str) -> list[str]:
    """Return the names in a list of Slurm's.

    Raises
    ------
    ValueError
        It is no such list.

    Examples
    --------
    >>> expand("gpu[1-3,07],login")
    ['gpu1', 'gpu2', 'gpu3', 'gpu07', 'login']
    >>> expand("r[1-2]n[8-9]")
    ['r1n8', 'r1n9', 'r2n8', 'r2n9']
    """
    return [name for part in _split(text) for name in _expand_one(part)]


def _split(text: str) -> list[str]:
    parts = re.findall(r"(?:[^,\[\]]|\[[^\[\]]*\])+", text)
    if ",".join(parts) != text.strip():
        raise ValueError(f"{text!r} is not a list of machines")
    return [part.strip() for part in parts]


def _expand_one(part: str) -> Iterator[str]:
    match = re.search(r"\[([^\[\]]*)\]", part)
    if match is None:
        yield part
        return
    for piece in match[1].split(","):
        first, dash, last = piece.partition("-")
        last = last if dash else first
        if not (first.isdigit() and last.isdigit()) or int(last) < int(first):
            raise ValueError(f"{part!r} is not a list of machines")
        for number in range(int(first), int(last) + 1):
            head = f"{part[: match.start()]}{number:0{len(first)}d}"
            yield from (head + tail for tail in _expand_one(part[match.end() :]))


def given(environment: Mapping[str, str]) -> tuple[str, list[str]] | None:
    """Return the variable that names the machines of this job, and each of them once; None outside of a job.

    Raises
    ------
    ValueError
        The list cannot be read.
    """
    for variable in ("SLURM_JOB_NODELIST", "SLURM_NODELIST"):
        if text := environment.get(variable, "").strip():
            return variable, _once(expand(text))
    for variable in ("PE_HOSTFILE", "PBS_NODEFILE"):
        if path := environment.get(variable, "").strip():
            try:
                lines = Path(path).read_text().splitlines()
            except OSError as error:
                raise ValueError(f"{variable}: {path} cannot be read: {error.strerror}") from None
            # Grid Engine writes slots and more behind the name, PBS a line for each slot.
            names = _once([line.split()[0] for line in lines if line.strip()])
            if not names:
                raise ValueError(f"{variable}: {path} names no machine")
            return variable, names
    return None


def _once(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))


def is_here(name: str, environment: Mapping[str, str]) -> bool:
    """Return whether a name or an address is this machine's."""
    # A node of Slurm's may have a name of its own.
    own = {"localhost", socket.gethostname(), environment.get("SLURMD_NODENAME", "localhost")}
    if name in own:
        return True
    if not name[:1].isdigit() and name.partition(".")[0] in {one.partition(".")[0] for one in own}:
        return True
    return _is_own_address(name)


def _is_own_address(name: str) -> bool:
    """Return whether this machine could listen under an address."""
    if not name:
        return False
    try:
        family, kind, _, _, place = socket.getaddrinfo(name, 0, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.bind(place)
    except OSError:
        return False
    # Those of every machine are not this one's.
    return place[0] not in {"0.0.0.0", "::"}  # noqa: S104
