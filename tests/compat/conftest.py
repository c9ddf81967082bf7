"""Idioms of programs for mosaic 1.2, with real worker processes."""

from tests.support.fixtures import (
    flag,
    fresh,
    log,
    pytest_pyfunc_call,
    runner,
    runtime,
    warehouse,
)

__all__ = ["flag", "fresh", "log", "pytest_pyfunc_call", "runner", "runtime", "warehouse"]
