"""The walls of `make lint` around the structure of the Python package: each finds a planted violation."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import structure

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Return a copy of what the walls look at."""
    root = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "tools/structure.py", "tools/file_names.txt"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    (root / "docs").mkdir()
    shutil.copy(ROOT / "docs/GLOSSARY.md", root / "docs")
    shutil.copytree(
        ROOT / "python/mosaic",
        root / "python/mosaic",
        ignore=shutil.ignore_patterns("__pycache__", "*.so"),
    )
    return root


@pytest.fixture
def copied(tree):
    """Return the copy, and afterwards take out of it what the test has planted."""
    yield tree
    while _planted:
        path, text = _planted.pop()
        path.unlink() if text is None else path.write_text(text)


_planted = []


def check(root):
    return subprocess.run(
        [sys.executable, "tools/structure.py"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


def check_imports(root):
    code = (
        f"import sys; sys.path.insert(0, {str(root / 'python')!r})\n"
        "from importlinter.cli import lint_imports_command\n"
        "lint_imports_command(['--no-cache', '--no-logo'])"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


def plant(root, name, text):
    path = root / "python/mosaic" / name
    path.parent.mkdir(exist_ok=True)
    before = path.read_text() if path.exists() else None
    _planted.append((path, before))
    path.write_text((before or "") + text)


def test_lines_without_code_do_not_count():
    code = ["x = 1", "def f():", '    return """a', 'b"""']
    source = "\n".join(['"""Docstring.', "", "More.", '"""', "# A comment.", "", *code])
    assert structure.real_lines(source) == len(code)


def test_structure_of_the_tree_is_as_agreed(copied):
    done = check(copied)
    assert done.stderr == ""
    assert done.returncode == 0
    assert "core + runtime" in done.stdout


def test_lines_beyond_the_budget_of_a_package_are_found(copied):
    plant(copied, "core/network.py", "\n".join(f"x{n} = {n}" for n in range(5000)))
    done = check(copied)
    assert done.returncode == 1
    assert "core: " in done.stderr
    assert "core + runtime: " in done.stderr
    assert "more than its budget" in done.stderr


def test_package_without_a_budget_is_found(copied):
    plant(copied, "queue/__init__.py", "x = 1\n")
    assert "queue: no budget" in check(copied).stderr


def test_import_by_name_is_found(copied):
    plant(
        copied,
        "core/network.py",
        "\nimport importlib\nimportlib.import_module('mosaic.cli.mrun')\n",
    )
    done = check(copied)
    assert done.returncode == 1
    assert "core/network.py" in done.stderr
    assert "import by name" in done.stderr


def test_file_with_a_private_name_is_found(copied):
    plant(copied, "core/whoever.py", "")
    plant(copied, "core/mailboxes_of_nobody.py", "")
    done = check(copied)
    assert done.returncode == 1
    assert "'whoever' is no word of docs/GLOSSARY.md" in done.stderr
    assert "'nobody'" in done.stderr


def test_file_with_a_term_of_the_glossary_passes(copied):
    plant(copied, "core/reference_counts.py", "")
    assert "reference_counts" not in check(copied).stderr


def test_import_contracts_of_the_tree_are_kept(copied):
    done = check_imports(copied)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "module", "contract"),
    [
        ("core/network.py", "mosaic.cli.mrun", "are leaves"),
        ("core/network.py", "mosaic.runtime.head", "only what lies below"),
        ("core/network.py", "mosaic.utils", "imports a facade"),
        ("core/network.py", "mosaic.core.proxy", "no cycle of imports"),
    ],
    ids=["leaf", "package_above", "facade", "cycle"],
)
def test_import_inside_a_function_that_breaks_a_contract_is_found(copied, file, module, contract):
    plant(copied, file, f"\ndef f():\n    import {module} as found\n    return found\n")
    done = check_imports(copied)
    assert done.returncode == 1
    broken = [
        line for line in done.stdout.splitlines() if line.endswith("BROKEN") or " BROKEN (" in line
    ]
    assert any(contract in line for line in broken), done.stdout
