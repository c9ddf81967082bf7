"""Behaviour through the public interface, with real worker processes."""

from tests.support.fixtures import (
    flag,
    fresh,
    log,
    pytest_pyfunc_call,
    runner,
    runtime,
)

__all__ = ["flag", "fresh", "log", "pytest_pyfunc_call", "runner", "runtime"]
