"""Decides whether a run is profiled, and where its profile is written."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = "MOSAIC_PROFILE"
"""A path, or 1: record a profile there, or in the workspace."""

WORKSPACE = "mosaic-workspace"
"""The directory, in the working directory, of files that runs leave for people and other commands."""

NO = frozenset({"0", "false", "no", "off"})
YES = frozenset({"1", "true", "yes", "on"})
"""What switches are called in variables."""


asked: str | bool | None = None
"""What `Profiler.start` was given before a network started: a path, or True for one in the workspace."""


def wanted(profile: object, default: bool = False) -> str | None:
    """Return the file that a starting network is to record, made for it; None if it is not to.

    Parameters
    ----------
    profile : bool, path or None
        The program's choice. None, and False, which programs of mosaic 1.2 pass on, leave it to ``MOSAIC_PROFILE``,
        and that to `asked`.
    default : bool
        Whether there is one where neither says anything.

    Raises
    ------
    TypeError
        It is something else.
    OSError
        The file cannot be made.
    """
    if profile is None or profile is False:
        text = os.environ.get(ENVIRONMENT, "") or ("1" if default or asked else "0")
        if text.lower() in NO:
            return None
        if text.lower() in YES:
            return new_file(asked if isinstance(asked, str) else None)
        return new_file(text)
    if profile is True:
        return new_file(None)
    if isinstance(profile, (str, os.PathLike)):
        return new_file(os.fspath(profile))
    raise TypeError(f"profile must be True, False or the path of a file, not {profile!r}")


def new_file(path: str | None = None) -> str:
    """Make an empty file for a profile; a file that is there is left alone, and a number added to the name.

    Parameters
    ----------
    path : str, optional
        Default is a name with date and time, in the workspace.

    Returns
    -------
    str
        Its absolute path.
    """
    from pathlib import Path

    if path is None:
        from datetime import datetime

        moment = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        place = Path(WORKSPACE) / f"profile_{moment}.mprof"
    else:
        place = Path(path).expanduser()
    # `mrun` keeps its key in the workspace, and does not trust one that others may write to.
    mode = 0o700 if place.parent.name == WORKSPACE else 0o777
    place.parent.mkdir(mode=mode, parents=True, exist_ok=True)
    return str(_unused(place.absolute()))


def _unused(place: Path) -> Path:
    number = 1
    while True:
        name = place if number == 1 else place.with_stem(f"{place.stem}_{number}")
        try:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except FileExistsError:
            number += 1
        else:
            return name


def discard(path: str) -> None:
    """Remove the file of a network that did not start, if nothing was written to it."""
    import contextlib

    with contextlib.suppress(OSError):
        if os.path.getsize(path) == 0:
            os.remove(path)


def tell_start(path: str) -> None:
    """Say where the profile is written."""
    from mosaic.log import logger

    logger().info("recording a profile: %s", path)


def forget_asked() -> None:
    """Note that a network has started: what was asked before holds for that one."""
    global asked
    asked = None


def tell_end(path: str | os.PathLike[str]) -> None:
    """Say where the profile is, and what to do with it."""
    from mosaic.log import logger

    logger().info("the profile is in %s: look at it with 'mprof %s'", path, path)
