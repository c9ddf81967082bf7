"""Every test runs under a leak check and a time limit (the limit is set in pyproject.toml).

The check stands around each test, and around each module for fixtures that live longer. A test that
failed already is not blamed again: what it left is ended and shown beside its failure.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np  # noqa: F401  numeric libraries start their threads when imported: before the first look
import pytest

from tests import leaks

HOME = pytest.StashKey[Path]()
FAILED = pytest.StashKey[bool]()
LEFT_BY_FAILED = pytest.StashKey[list[tuple[str, str]]]()


def pytest_configure(config: pytest.Config) -> None:
    """Isolate the run before the first import of mosaic reads the environment."""
    config.stash[HOME] = leaks.isolate()
    config.stash[LEFT_BY_FAILED] = []


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the directories of the run."""
    shutil.rmtree(config.stash[HOME], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what needs root where there is none."""
    if os.geteuid() == 0:
        return
    needs_root = pytest.mark.skip(reason="needs root")
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(needs_root)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remember whether the test itself failed, for the leak check of the same test."""
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what failed tests left behind; it may say why they failed."""
    for name, text in terminalreporter.config.stash[LEFT_BY_FAILED]:
        terminalreporter.section(f"left behind by failed {name}")
        terminalreporter.write_line(text)


@pytest.fixture(scope="module", autouse=True)
def no_leaks_of_module(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the last test of a module whose fixtures left something behind."""
    before, failed_before = leaks.take(), request.session.testsfailed
    yield
    settle(request, before.leaks(), failed=request.session.testsfailed > failed_before)


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that left something behind."""
    allowed = frozenset(
        kind for mark in request.node.iter_markers("allow_leaks") for kind in mark.args
    )
    if not allowed <= set(leaks.KINDS):
        pytest.fail(f"allow_leaks: no such kind: {allowed - set(leaks.KINDS)}", pytrace=False)
    before = leaks.take()
    yield
    settle(request, before.leaks(allowed), failed=request.node.stash.get(FAILED, False))


def settle(request: pytest.FixtureRequest, left: leaks.Left, *, failed: bool) -> None:
    """End what was left running, and blame whom it is fair to blame."""
    if not left:
        return
    leaks.end_processes(left)
    text = leaks.describe(left)
    if failed:  # its traceback may well be what keeps these alive
        request.config.stash[LEFT_BY_FAILED].append((request.node.nodeid, text))
    else:
        pytest.fail(f"left behind by {request.node.nodeid}:\n{text}", pytrace=False)
