"""Fixtures of the tests that use a running network, for the conftest files of their folders."""

import asyncio
import inspect
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mosaic
from tests.support.rendezvous import Flag, Log


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run tests that are coroutine functions on the loop of their module."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    pyfuncitem.funcargs["runner"].run(pyfuncitem.obj(**arguments))
    return True


@pytest.fixture(scope="module", autouse=True)
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for the async tests of a module."""
    with asyncio.Runner() as runner:
        # The thread of `asyncio.to_thread` lives as long as the loop.
        runner.run(asyncio.to_thread(int))
        yield runner


async def _first_answer(runtime: "mosaic.Runtime") -> None:
    # Long enough that the answer is not there before the wait begins.
    await runtime.submit(time.sleep, 0.02).result()


@pytest.fixture(scope="module")
def runtime(runner: asyncio.Runner) -> Iterator["mosaic.Runtime"]:
    """A network with two workers, shared by the tests of a module."""
    with mosaic.session(num_workers=2) as runtime:
        # The first wait on a loop makes that loop's mailbox, which lives as long as the loop.
        # What a thread waits with is kept for the next one.
        runner.run(_first_answer(runtime))
        runtime.submit(time.sleep, 0.02).wait()
        yield runtime


async def _first_need(runtime: "mosaic.Runtime") -> None:
    await runtime.exec("first need", lambda _: None)


@pytest.fixture(scope="module")
def warehouse(runtime: "mosaic.Runtime", runner: asyncio.Runner) -> str:
    """Have the warehouse of the module's network started: it is no leak of the first test that needs it."""
    runner.run(_first_need(runtime))
    return "warehouse:0"


@pytest.fixture
def fresh(runner: asyncio.Runner) -> Iterator["mosaic.Runtime"]:
    """A network with two workers for this test alone."""
    with mosaic.session(num_workers=2) as runtime:
        runner.run(_first_answer(runtime))
        yield runtime


@pytest.fixture
def flag(tmp_path: Path) -> Callable[[str], Flag]:
    """Make flags by name; every process sees the same one."""
    return lambda name: Flag(tmp_path / f"{name}.flag")


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """A log that every process can append to."""
    return Log(tmp_path / "log.txt")
