"""Checks the structure of the Python package: lines per package, imports by name, names of files.

usage: python tools/structure.py [ROOT]

ROOT is the repository; the settings are in its pyproject.toml under ``tool.mosaic``. Prints the table of lines, then
one line for each violation; the exit status is 1 if there is any. The import contracts are checked by import-linter.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
import tomllib
from collections import defaultdict
from pathlib import Path

TOP = "(top level)"
"""The row of the modules that lie in no package."""

_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def real_lines(source: str) -> int:
    """Return how many lines of a module have code: no blank lines, comments or docstrings."""
    texts: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        is_constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_constant and isinstance(node.value.value, str):
            texts.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - texts)


def lines_of_packages(package: Path) -> dict[str, int]:
    """Return the real lines of each package right below a package."""
    found: dict[str, int] = defaultdict(int)
    for path in package.rglob("*.py"):
        inside = path.relative_to(package).parts
        found[inside[0] if len(inside) > 1 else TOP] += real_lines(path.read_text())
    return found


def check_lines(package: Path, settings: dict[str, dict[str, int]]) -> tuple[list[str], list[str]]:
    """Compare the lines of the packages with their budgets.

    Parameters
    ----------
    package : Path
        The folder of the package ``mosaic``.
    settings : dict
        ``limits`` by package, and ``sums``: packages, limit and goal by title.

    Returns
    -------
    list of str
        The table.
    list of str
        The violations.
    """
    found = lines_of_packages(package)
    limits: dict[str, int] = settings["limits"]
    rows = [(name, found[name], limits.get(name), None) for name in sorted(found)]
    for title, one in settings["sums"].items():
        without = one.get("without")
        names = one.get("of") or [name for name in found if name not in without]
        rows.append((title, sum(found.get(name, 0) for name in names), one["limit"], one["goal"]))
    table = [f"{'package':44} {'real lines':>10} {'limit':>7} {'goal':>7}"]
    problems = []
    for name, lines, limit, goal in rows:
        table.append(f"{name:44} {lines:10} {limit or '–':>7} {goal or '':>7}")
        if limit is None:
            problems.append(f"{name}: no budget; add one under tool.mosaic.lines in pyproject.toml")
        elif lines > limit:
            problems.append(f"{name}: {lines} real lines, {lines - limit} more than its budget")
    problems += [f"{name}: has a budget and no files" for name in limits if name not in found]
    return table, problems


def imports_by_name(source: str) -> list[int]:
    """Return the lines of a module that name a function which imports by name."""
    names = {"import_module", "__import__"}
    return sorted(
        {
            node.lineno
            for node in ast.walk(ast.parse(source))
            if (isinstance(node, ast.Name) and node.id in names)
            or (isinstance(node, ast.Attribute) and node.attr in names)
        }
    )


def check_imports_by_name(package: Path, allowed: dict[str, str]) -> list[str]:
    """Return a violation for each import by name outside the modules that may import so, each for its reason."""
    problems = []
    used = set()
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        lines = imports_by_name(path.read_text())
        if lines and name in allowed:
            used.add(name)
        elif lines:
            problems.append(
                f"{name}:{lines[0]}: an import by name, which import-linter cannot see; "
                "import it, or add the file under tool.mosaic.imports-by-name in pyproject.toml"
            )
    problems += [f"{name}: imports nothing by name any more" for name in sorted({*allowed} - used)]
    return problems


def words_of_glossary(page: str) -> set[str]:
    """Return the words of the terms that a glossary explains."""
    terms = re.findall(r"^\| \*\*(.+?)\*\*", page, re.MULTILINE)
    return {word for term in terms for word in re.findall(r"[a-z]+", term.lower())}


def unknown_words(name: str, known: set[str]) -> list[str]:
    """Return the words of a file's name that are not known, in the singular or as they are."""
    words = re.findall(r"[a-z]+", name.lower())
    return [word for word in words if not {word, word.removesuffix("s")} & known]


def check_file_names(root: Path, everyday: list[str], earlier: set[str]) -> list[str]:
    """Return a violation for each new module or crate module whose name is no term.

    Parameters
    ----------
    root : Path
        The repository.
    everyday : list of str
        Words beyond those of the glossary.
    earlier : set of str
        Names that were there before this check.
    """
    known = words_of_glossary((root / "docs" / "GLOSSARY.md").read_text()) | set(everyday)
    paths = [
        *(root / "python" / "mosaic").rglob("*.py"),
        *(path for source in root.glob("rust/*/src") for path in source.rglob("*.rs")),
    ]
    problems = []
    for path in sorted(paths):
        if path.stem in earlier:
            continue
        for word in unknown_words(path.stem, known):
            problems.append(
                f"{path.relative_to(root)}: {word!r} is no word of docs/GLOSSARY.md; "
                "name the file by a standard term and add the term there"
            )
    return problems


def main(root: Path) -> int:
    """Print the table and the violations; return the exit status."""
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["mosaic"]
    package = root / "python" / "mosaic"
    table, problems = check_lines(package, settings["lines"])
    print(*table, sep="\n")
    problems += check_imports_by_name(package, settings["imports-by-name"])
    earlier = set((root / "tools" / "file_names.txt").read_text().split())
    problems += check_file_names(root, settings["file-names"]["everyday"], earlier)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]))
