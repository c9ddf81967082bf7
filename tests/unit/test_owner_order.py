"""The modules of the core crate import downwards only: an owner of rules knows no owner above it.

`docs/design/owners.md` has the order and the reasons.
"""

import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "rust/mosaic-core/src"

#: Data, which every owner may use; these modules use no owner.
DATA = {
    "id",
    "member",
    "payload",
    "call",
    "recount",
    "wire",
    "event",
    "snapshot",
    "subscriber",
    "catalog",
}

#: The owners that each owner may use, data apart. A further owner below is reached through its own owner.
BELOW = {
    "membership": set(),
    "context": {"membership"},
    "references": {"context"},
    "values": {"context", "references"},
    "results": {"context", "references", "values"},
    "callee": {"context", "references", "values", "results"},
    "caller": {"context", "references", "values", "results", "callee"},
    "placement": {"membership", "context"},
    "warehouse": {"context", "placement"},
    "link": {"caller"},
    "barrier": {"caller"},
    "map": {"caller", "context"},
}

USE = re.compile(r"\bcrate::(\w+)")


def imports(source: str) -> set[str]:
    """Return the modules of the crate that a source text names, in-function paths included."""
    code = "\n".join(line for line in source.splitlines() if not line.lstrip().startswith("//"))
    return set(USE.findall(code))


def violations(owner: str, source: str) -> list[str]:
    """Return the modules that an owner, or a data module, may not use and does."""
    if owner == "machine":
        return []
    allowed = DATA | BELOW.get(owner, set()) | {owner}
    return sorted(imports(source) - allowed)


def files():
    for path in sorted(SOURCE.glob("**/*.rs")):
        owner = path.relative_to(SOURCE).parts[0].removesuffix(".rs")
        if owner != "lib":
            yield pytest.param(owner, path, id=str(path.relative_to(SOURCE)))


@pytest.mark.parametrize(("owner", "path"), list(files()))
def test_owner_imports_only_owners_below_it(owner, path):
    assert owner in DATA | set(BELOW) | {"machine"}, "a new module needs its place in the order"
    assert violations(owner, path.read_text()) == []


def test_order_of_owners_has_no_cycle():
    left = {owner: set(below) for owner, below in BELOW.items()}
    while left:
        lowest = [owner for owner, below in left.items() if not below & set(left)]
        assert lowest, f"these owners use each other: {sorted(left)}"
        for owner in lowest:
            del left[owner]


@pytest.mark.parametrize(
    ("owner", "source", "found"),
    [
        ("references", "use crate::caller::Caller;", ["caller"]),
        ("callee", "fn f() { crate::machine::Machine::new() }", ["machine"]),
        ("wire", "use crate::values::Values;", ["values"]),
        ("caller", "use crate::results::Results; // use crate::barrier::Barriers", ["barrier"]),
        ("caller", "use crate::results::Results;\n//! [`crate::barrier`]", []),
    ],
)
def test_import_against_the_order_is_found(owner, source, found):
    assert violations(owner, source) == found
