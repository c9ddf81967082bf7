"""Programs under ``mrun``, and the processes that it starts for them."""

import json
import sys
from pathlib import Path

import psutil

from tests.support.scripts import Script

MRUN = (sys.executable, "-m", "mosaic.cli.mrun")


def under_mrun(*options: str) -> tuple[str, ...]:
    """Return what stands before a program that is run by ``mrun`` with these options."""
    return (*MRUN, *options)


class Mrun(Script):
    """A program under ``mrun``; the process of `Script` is that of ``mrun``."""

    def __init__(
        self,
        text: str,
        *args: object,
        options: tuple[str, ...] = ("-nw", "2"),
        env: dict[str, str] | None = None,
    ) -> None:
        super().__init__(text, *args, env=env, under=under_mrun(*options))

    @property
    def key_path(self) -> Path:
        return self.home / "mosaic-workspace" / "monitor.key"

    @property
    def key(self) -> dict[str, object]:
        return dict(json.loads(self.key_path.read_text()))

    def find(self, role: str) -> psutil.Process:
        """Return a process of its: ``mrun``, ``agent``, ``script``, or ``worker`` for the first of them."""
        if role == "mrun":
            return psutil.Process(self.pid)
        agent = next(p for p in psutil.Process(self.pid).children() if "run_agent" in _words(p))
        if role == "agent":
            return agent
        if role == "worker":
            return min(agent.children(), key=lambda worker: worker.pid)
        return next(p for p in psutil.Process(self.pid).children() if p.pid != agent.pid)


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""
