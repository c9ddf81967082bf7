"""The README's examples run as they stand and print what it says they print; so do those of the migration page."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
MIGRATION = ROOT / "docs" / "migration.md"
EXAMPLES = re.findall(r"```python\n(.*?)```.*?```text\n(.*?)```", README.read_text(), re.DOTALL)


def test_there_are_examples():
    assert len(EXAMPLES) == README.read_text().count("```python") > 0


@pytest.mark.parametrize(("program", "printed"), EXAMPLES, ids=["calls", "arrays"])
def test_example_of_the_readme(program, printed, tmp_path):
    assert run(program, tmp_path) == (0, printed, "")


def test_random_numbers_of_the_migration_page_are_the_same_in_each_run(tmp_path):
    (program,) = re.findall(r"```python\n(.*?)```", MIGRATION.read_text(), re.DOTALL)
    first = run(program, tmp_path)
    assert re.fullmatch(r"-?\d+\.\d+\n", first[1]), first
    assert run(program, tmp_path) == first


def run(program, folder):
    script = folder / "example.py"
    script.write_text(program)
    done = subprocess.run(
        [sys.executable, script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr
