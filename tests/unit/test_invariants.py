"""Invariants have unique ids, and each has a test that bears its id.

The header of a module defines an invariant in one of two forms: as an item, ```ID`: sentence``, or within a sentence
that ends with the id in parentheses, ``(`ID`)``. A header that only refers to an invariant says where it is defined,
as in ``(`ID`, [`crate::sync`])``. A test bears an id in its name (``fn lane_1_revoked_call_never_begins``) or in its
documentation.
"""

import ast
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
ID = r"[A-Z][A-Z0-9]+-\d+"
DEFINED = re.compile(rf"^(?:- )?`?({ID})`?:|\(`({ID})`\)", re.MULTILINE)
# What looks like one: encodings, algorithms, standards.
OTHERS = re.compile(r"^(?:UTF|CRC|SHA|ISO|FNV|RFC|GPU)-")
TESTS_IN_SOURCE = re.compile(r"^\s*#\[cfg\((?:all\()?(?:.*, )?test\b.*$", re.MULTILINE)


def header(path: Path) -> str:
    """Return what a module says of itself."""
    source = path.read_text()
    if path.suffix == ".py":
        return ast.get_docstring(ast.parse(source)) or ""
    return "\n".join(
        line[3:].removeprefix(" ") for line in source.splitlines() if line.startswith("//!")
    )


def defined(text: str) -> list[str]:
    """Return the ids that a header defines."""
    found = ["".join(groups) for groups in DEFINED.findall(text)]
    return [name for name in found if not OTHERS.match(name)]


def is_borne(name: str, tests: str) -> bool:
    """Tell whether a test bears an id: in the name of a function, or as it is."""
    prefix = name.lower().replace("-", "_")
    return re.search(rf"\b(?:fn|def) (?:\w*_)?{prefix}(?!\d)|\b{name}\b", tests) is not None


def definitions() -> Counter[str]:
    """Count the definitions of each id, over the whole tree."""
    sources = [*ROOT.glob("rust/*/src/**/*.rs"), *ROOT.glob("python/mosaic/**/*.py")]
    return Counter(name for path in sources for name in defined(header(path)))


def all_tests() -> str:
    """Return the tests of all languages, those in source files too."""
    paths = [*ROOT.glob("rust/*/tests/**/*.rs"), *ROOT.glob("tests/**/*.py")]
    parts = [path.read_text() for path in paths if path != Path(__file__)]
    for path in ROOT.glob("rust/*/src/**/*.rs"):
        source = path.read_text()
        start = 0 if path.name == "tests.rs" else None
        if match := TESTS_IN_SOURCE.search(source):
            start = match.start()
        parts.append(source[start:] if start is not None else "")
    return "\n".join(parts)


def test_every_invariant_is_defined_once():
    found = definitions()
    assert len(found) > 50
    assert [name for name, count in found.items() if count > 1] == []


def test_every_invariant_has_a_test_that_bears_its_id():
    tests = all_tests()
    assert sorted(name for name in definitions() if not is_borne(name, tests)) == []


def test_both_forms_of_a_definition_are_found_and_references_are_not():
    text = (
        "A call ends once (`TASK-1`), in UTF-8.\n\n"
        "- `LANE-1`: never both.\n"
        "- DEC-2: waits.\n"
        "Prevented (`LANE-9`; [`crate::executor`]), as `REF-4` in the table says."
    )
    assert defined(text) == ["TASK-1", "LANE-1", "DEC-2"]


def test_an_id_is_borne_by_a_name_or_by_documentation_and_by_no_longer_id():
    assert is_borne("LANE-1", "fn loom_lane_1_prevented_or_begins() {")
    assert is_borne("LANE-1", "/// `LANE-1`: whatever is remembered")
    assert not is_borne("LANE-1", "fn lane_12_is_another() {} /// `LANE-12`")
