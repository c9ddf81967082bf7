"""Examples in docstrings are true."""

import doctest
import importlib
import pkgutil

import pytest

import mosaic


def modules() -> list[str]:
    found = [m.name for m in pkgutil.walk_packages(mosaic.__path__, "mosaic.")]
    return ["mosaic", *(name for name in found if not name.endswith("__main__"))]


@pytest.mark.parametrize("name", modules())
def test_examples_of_a_module(name):
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"needs an optional package: {error}")
    outcome = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert outcome.failed == 0


@pytest.mark.parametrize("name", ["tessera", "run", "init", "stop", "session", "gather"])
def test_public_functions_are_documented(name):
    assert getattr(mosaic, name).__doc__
