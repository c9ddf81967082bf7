"""Names of files: ``<project>-<Parameter>.h5``, and ``<project>-<Parameter>-<version>.h5`` from version 1 on."""

from __future__ import annotations

import errno
import os
import re

from mosaic.core.naming import camel_case

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


LAST = -1
"""The version that stands for the last one that there is."""


class FileName:
    """What a file is called: by a name of its own, or by project, parameter and version.

    Parameters
    ----------
    filename : str or path, optional
        The name itself; below ``path`` where it is relative and that is given.
    path : str or path, optional
        The folder, by default the working directory; the file itself where nothing else names one.
    project_name, parameter : str, optional
        The parts of the name; the parameter is turned into camel case.
    version : int, optional
        The version; by default it is looked for among the files that there are. -1 stands for the last that there is,
        for writing too.
    version_start : int
        The first version that is tried for a new file.
    extension : str
        The end of the name, with or without its dot.
    **others
        Ignored: programs pass the keywords of their own functions on.

    Raises
    ------
    RuntimeError
        Neither a file name nor a project and a parameter are given.
    ValueError
        The version is less than -1, or the first one less than 0.
    """

    def __init__(
        self,
        filename: str | os.PathLike[str] | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        project_name: str | None = None,
        parameter: str | None = None,
        version: int | None = None,
        version_start: int = 0,
        extension: str = ".h5",
        **others: Any,
    ) -> None:
        by_path = filename is None and project_name is None and parameter is None
        if by_path:
            filename = path
        if filename is None and (project_name is None or parameter is None):
            raise RuntimeError(
                "a file needs a filename, or a project_name and a parameter to make one from "
                f"(project_name={project_name!r}, parameter={parameter!r})"
            )
        if version is not None and int(version) < LAST:
            raise ValueError(f"versions of files begin at 0, not at {version}; -1 is the last")
        if int(version_start) < 0:
            raise ValueError(f"versions of files begin at 0, not at version_start={version_start}")
        self._folder = "" if path is None or by_path else os.fspath(path)
        self._given = None if filename is None else os.fspath(filename)
        if self._given is not None:
            version = None
        self._stem = f"{project_name}-{camel_case(parameter or '')}"
        self._version = None if version is None else int(version)
        self._first = int(version_start)
        self._extension = (
            extension if extension.startswith(".") or not extension else f".{extension}"
        )

    def to_write(self) -> str:
        """Return the name of the version, or of the first that there is no file of."""
        if self._version == LAST:
            return self._of(max(self._existing(), default=self._first))
        version = self._first
        while self.any_version and os.path.lexists(self._of(version)):
            version += 1
        return self._of(version)

    def to_read(self) -> str | None:
        """Return the name of the version, or of the last that there is a file of; None where there is none."""
        if not self.any_version and self._version != LAST:
            name = self._of(0)
            return name if os.path.isfile(name) else None
        found = self._existing()
        return self._of(max(found)) if found else None

    def missing(self) -> FileNotFoundError:
        """Return the error of a file that is to be read and is not there."""
        text = "there is no such file"
        if self.any_version or self._version == LAST:
            text += ", nor a later version of it"
        return FileNotFoundError(errno.ENOENT, text, self._of(0))

    @property
    def any_version(self) -> bool:
        """Whether the version is to be looked for."""
        return self._given is None and self._version is None

    def __str__(self) -> str:
        return self._of(0)

    def _of(self, version: int) -> str:
        if self._given is not None:
            return os.path.join(self._folder, self._given)
        number = version if self._version in {None, LAST} else self._version
        ending = f"-{number:05d}" if number else ""
        return os.path.join(self._folder, f"{self._stem}{ending}{self._extension}")

    def _existing(self) -> list[int]:
        pattern = re.compile(
            rf"{re.escape(self._stem)}(?:-(\d{{5,}}))?{re.escape(self._extension)}"
        )
        try:
            names = os.listdir(self._folder or ".")
        except FileNotFoundError:
            return []
        matches = filter(None, map(pattern.fullmatch, names))
        return [int(match[1] or 0) for match in matches]


def named(*args: Any, **kwargs: Any) -> FileName:
    """Make a `FileName` of the arguments that name a file; a mode among them says nothing about the name."""
    return FileName(*args, **kwargs)
