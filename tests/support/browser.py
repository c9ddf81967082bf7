"""A headless Chromium: what a page becomes in it, as text and as a picture."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
INSTALL_S = 120
"""Seconds that Debian's may take to be installed: a part of what a test that needs it may take."""
RENDER_S = 40


def _found() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


def _install() -> None:
    """Install Debian's; what has not ended after `INSTALL_S` is ended, with all that it has started."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    end = time.monotonic() + INSTALL_S
    # What takes long is the network, so that the time is up there rather than in the midst of unpacking.
    install = ("install", "-y", "--no-install-recommends", "chromium")
    for arguments in (("update",), (*install, "--download-only"), install):
        apt = subprocess.Popen(
            ["apt-get", "-q", "-o", f"DPkg::Lock::Timeout={INSTALL_S}", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            apt.wait(end - time.monotonic())
        except subprocess.TimeoutExpired:
            os.killpg(apt.pid, signal.SIGKILL)
            apt.wait()
            return


@cache
def _found_or_installed() -> str | None:
    if _found() is None and os.geteuid() == 0 and shutil.which("apt-get"):
        _install()
    return _found()


def executable() -> str:
    """Return a Chromium; install Debian's where there is none and that is possible, else skip the test."""
    found = _found_or_installed()
    if found is None:
        pytest.skip(f"there is no Chromium here, and none could be installed within {INSTALL_S} s")
    return found


def _run(page: Path, home: Path, *options: str, fragment: str = "") -> str:
    # One of its own for each: a browser that finds another with the same, even one that is about to end, asks that to
    # do its work, and ends.
    settings = tempfile.mkdtemp(prefix="chromium-", dir=home)
    done = subprocess.run(
        [
            executable(),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
            "--window-size=1400,1000",
            f"--user-data-dir={settings}",
            # The page's own time, which runs on as soon as the page has nothing to do.
            "--virtual-time-budget=10000",
            *options,
            page.as_uri() + (f"#{fragment}" if fragment else ""),
        ],
        capture_output=True,
        text=True,
        timeout=RENDER_S,
        check=True,
    )
    assert done.stdout or options[0] != "--dump-dom", f"the browser shows nothing: {done.stderr}"
    return done.stdout


class Document(HTMLParser):
    """What there is in a page: the text of each element with an id, the rows of each table, the styles of swatches."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self.swatches: dict[str, list[str]] = {}
        self.attributes: dict[str, dict[str, str | None]] = {}
        self.tags: list[str] = []
        self._open: list[tuple[str, str]] = []
        self.feed(text)

    def _ids(self) -> list[str]:
        return [name for _, name in self._open if name]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        self.tags.append(tag)
        self.attributes[said.get("id") or tag] = said
        inside = self._ids()
        table = next((name for name in inside if name in self.tables), None)
        if tag == "table":
            self.tables[said.get("id") or ""] = []
        elif table is not None and tag == "tr":
            self.tables[table].append([])
        elif table is not None and tag in {"td", "th"}:
            self.tables[table][-1].append("")
        elif table is not None and said.get("class") == "swatch":
            self.swatches.setdefault(table, []).append(said.get("style") or "")
        if tag not in {"meta", "input", "br", "link", "img"}:
            self._open.append((tag, said.get("id") or ""))

    def handle_endtag(self, tag: str) -> None:
        while self._open:
            if self._open.pop()[0] == tag:
                return

    def handle_data(self, data: str) -> None:
        for name in self._ids():
            self.texts[name] = self.texts.get(name, "") + data
            rows = self.tables.get(name)
            if rows and rows[-1] and self._open[-1][0] in {"td", "th", "span"}:
                rows[-1][-1] += data


def document(page: Path, home: Path, fragment: str = "") -> Document:
    """Return what the page has become when its program has run."""
    return Document(_run(page, home, "--dump-dom", fragment=fragment))


def picture(page: Path, home: Path, fragment: str = "") -> Path:
    """Return a picture of the page."""
    to = home / "page.png"
    _run(page, home, f"--screenshot={to}", fragment=fragment)
    return to
