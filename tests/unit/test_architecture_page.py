"""The page on the architecture names files and functions that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/design/architecture.md").read_text()
FILE = re.compile(r"`((?:rust|python|tools|tests)/[\w/.-]+\.(?:rs|py))`")
STEP = re.compile(r"`((?:rust|python)/[\w/.-]+\.(?:rs|py))`[ ,\n]*\(?`(\w+)`")


def missing_files(page: str) -> list[str]:
    """Return the files that a page names and that are not there."""
    return [name for name in FILE.findall(page) if not (ROOT / name).is_file()]


def missing_functions(page: str) -> list[str]:
    """Return the functions that a page names in a file that does not define them."""
    missing = []
    for name, function in STEP.findall(page):
        source = (ROOT / name).read_text() if (ROOT / name).is_file() else ""
        if not re.search(rf"\b(?:fn|def|enum|struct) {function}\b", source):
            missing.append(f"{name}: {function}")
    return missing


def test_files_of_the_page_exist() -> None:
    assert len(FILE.findall(PAGE)) > 30
    assert missing_files(PAGE) == []


def test_functions_of_the_page_are_defined_in_their_files() -> None:
    assert len(STEP.findall(PAGE)) > 20
    assert missing_functions(PAGE) == []


def test_planted_names_are_found() -> None:
    page = (
        "1. `rust/mosaic-core/src/absent.rs` (`nothing`)\n2. `python/mosaic/errors.py` (`absent`)"
    )
    assert missing_files(page) == ["rust/mosaic-core/src/absent.rs"]
    assert missing_functions(page) == [
        "rust/mosaic-core/src/absent.rs: nothing",
        "python/mosaic/errors.py: absent",
    ]
