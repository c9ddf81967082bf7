"""The README's example runs as it stands and prints what the README says it prints."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_example_of_the_readme(tmp_path):
    program, printed = re.search(
        r"```python\n(.*?)```.*?```text\n(.*?)```", README.read_text(), re.DOTALL
    ).groups()
    script = tmp_path / "counter.py"
    script.write_text(program)
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, printed, "")
