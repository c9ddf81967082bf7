"""The engine of this process, and the names of the runtimes that take part in its network.

Imports nothing but the core, so that everything above may use it. `uid_of` remembers the names of
runtimes that have died, so that a message can still name them.
"""

from __future__ import annotations

from mosaic import _core
from mosaic.errors import MosaicError, RuntimeDisconnectedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mosaic._core import Engine
    from mosaic._core import _RawId as RawId

_names: dict[int, str] = {}
_numbers: dict[str, int] = {}
_chosen: dict[RawId, str] = {}


def engine() -> Engine:
    """Return the engine of this process.

    Raises
    ------
    MosaicError
        No runtime has been started here.
    """
    current = _core.engine()
    if current is None:
        raise no_runtime()
    return current


def no_runtime() -> MosaicError:
    """Return the error for a process in which no runtime has been started."""
    return MosaicError(
        "no mosaic runtime runs in this process: use mosaic.run(main), mosaic.init() or mosaic.session()"
    )


def forget() -> None:
    """Forget all names; another network is about to start."""
    _names.clear()
    _numbers.clear()
    _chosen.clear()


def _refresh() -> None:
    current = engine()
    known = {0: "head", current.runtime: current.uid}
    known.update((member.runtime, member.uid) for member in current.members())
    for number, uid in known.items():
        _names[number] = uid
        _numbers[uid] = number


def living() -> set[int]:
    """Return the numbers of the runtimes that take part, this one among them."""
    current = engine()
    found = {member.runtime for member in current.members()}
    found.add(current.runtime)
    return found


def uid_of(number: int) -> str:
    """Return the uid of a runtime, such as ``worker:0:1``, given its number."""
    uid = _names.get(number)
    if uid is None:
        # After the stop the names that are known are all there is.
        if _core.engine() is not None:
            _refresh()
        uid = _names.get(number, f"runtime:{number}")
    return uid


def number_of(runtime: object) -> int:
    """Return the number of a living runtime.

    Parameters
    ----------
    runtime : str or RuntimeProxy
        Its uid, or anything with an attribute ``uid``.

    Raises
    ------
    MosaicError
        There is no such runtime.
    RuntimeDisconnectedError
        It has died.
    """
    uid = runtime if isinstance(runtime, str) else getattr(runtime, "uid", None)
    if not isinstance(uid, str):
        raise MosaicError(f"a runtime is named by its uid or a proxy of it, not by {runtime!r}")
    number = engine().named(uid)
    if number is not None:
        return number
    _refresh()
    if uid in _numbers:
        raise RuntimeDisconnectedError(f"{uid} does not take part any more")
    known = ", ".join(sorted(_numbers)) or "none"
    raise MosaicError(f"there is no runtime {uid!r} (known: {known})")


def workers() -> list[tuple[int, str]]:
    """Return number and uid of each living worker, in the order of their indices."""
    found = [
        (member.runtime, member.uid)
        for member in engine().members()
        if member.role == _core.Role.WORKER
    ]
    found.sort(key=lambda entry: (indices_of(entry[1]), entry[0]))
    return found


def no_worker(what: str = "") -> RuntimeDisconnectedError:
    """Return the error for a network without workers, with the reason if none will come.

    Parameters
    ----------
    what : str
        What they are needed for: ``to run a function``.
    """
    reason = engine().gave_up
    return RuntimeDisconnectedError(
        " ".join(("no worker is left", what)).rstrip()
        + ("" if reason is None else f", and none will join: {reason}")
    )


def warehouse() -> int | None:
    """Return the number of this machine's warehouse; None while there is none."""
    members = engine().members()
    return next((one.runtime for one in members if one.role == _core.Role.WAREHOUSE), None)


def indices_of(uid: str) -> tuple[int, ...]:
    """Return the numbers in a uid: ``(0, 1)`` for ``worker:0:1``, ``()`` for ``head``."""
    return tuple(int(part) for part in uid.split(":")[1:] if part.isdigit())


def on_event_loop() -> bool:
    """Return whether an event loop runs on this very thread, without importing asyncio."""
    import sys

    events = sys.modules.get("asyncio.events")
    return events is not None and events._get_running_loop() is not None


def choose_uid(raw: RawId, uid: str) -> None:
    """Remember the uid that a program chose for a tessera."""
    _chosen[raw] = uid


def tessera_uid(name: str, raw: RawId) -> str:
    """Return the uid of a tessera, such as ``tess-solver-0-2a``: class, owner, sequence in hexadecimal."""
    chosen = _chosen.get(raw)
    return chosen if chosen is not None else f"tess-{_lower(name)}-{raw[0]}-{raw[1]:x}"


def tessera_of(uid: str) -> RawId | None:
    """Return the id of the tessera that a uid names, where mosaic gave it or its choice is known here."""
    for raw, chosen in _chosen.items():
        if chosen == uid:
            return raw
    kind, _, rest = uid.partition("-")
    parts = rest.split("-")
    if kind != "tess" or len(parts) < 3 or not parts[-2].isdecimal():
        return None
    try:
        return int(parts[-2]), int(parts[-1], 16)
    except ValueError:
        return None


def task_uid(name: str, method: str, raw: RawId) -> str:
    """Return the uid of a task, such as ``task-solver-step-0-1f``."""
    return f"task-{_lower(name)}-{method}-{raw[0]}-{raw[1]:x}"


def _lower(name: str) -> str:
    from mosaic.core.naming import snake_case

    return snake_case(name.rpartition(".")[2])
