"""The programs that README.md shows run as they stand.

Blocks fenced as ``python`` are run, each alone and from an empty directory. What is not meant to be
run is fenced as something else.
"""

import re
from pathlib import Path

import pytest

from tests.support.scripts import run_script

README = Path(__file__).resolve().parents[2] / "README.md"


def blocks() -> list[str]:
    text = README.read_text() if README.exists() else ""
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_there_is_an_example():
    assert blocks()


@pytest.mark.parametrize("number", range(len(blocks())))
def test_example_runs(number):
    _, err = run_script(blocks()[number])
    assert "Traceback" not in err
