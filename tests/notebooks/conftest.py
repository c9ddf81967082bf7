"""Kernels for the tests of notebooks."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.fixtures import pytest_pyfunc_call, runner
from tests.support.kernels import Kernel, kernel_with_runtime

__all__ = ["pytest_pyfunc_call", "runner"]


@pytest.fixture(scope="module")
def kernel(runner: asyncio.Runner) -> Iterator[Kernel]:
    """A kernel with two workers and a warehouse, shared by the tests of a module."""
    context = kernel_with_runtime(num_workers=2)
    kernel = runner.run(context.__aenter__())
    try:
        runner.run(kernel.run('await runtime.exec("first need", lambda _: None)'))
        yield kernel
    finally:
        runner.run(context.__aexit__(None, None, None))
