"""Deaths, signals and hangs: what goes wrong, and what everybody else is told."""

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
