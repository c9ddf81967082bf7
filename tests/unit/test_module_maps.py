"""The header of each Rust module that has modules below it is a map: it names every one of them."""

import re
from pathlib import Path

import pytest

RUST = Path(__file__).parents[2] / "rust"
MAPS = sorted(path for name in ("lib.rs", "mod.rs") for path in RUST.glob(f"*/src/**/{name}"))
MODULE = re.compile(r"^(?:pub(?:\(\w+\))? )?mod (\w+);", re.MULTILINE)


def unnamed(source: str) -> list[str]:
    """Return the modules that a file declares and its header does not name."""
    header = "\n".join(line for line in source.splitlines() if line.startswith("//!"))
    named = {part for name in re.findall(r"`([\w:]+)`", header) for part in name.split("::")}
    return [module for module in MODULE.findall(source) if module not in {*named, "tests"}]


@pytest.mark.parametrize("path", MAPS, ids=lambda path: str(path.relative_to(RUST)))
def test_header_names_every_module(path):
    assert unnamed(path.read_text()) == []


def test_module_that_no_header_names_is_found():
    source = "//! | [`reader`] | reads |\n\nmod reader;\npub(crate) mod writer;\nmod tests;\n"
    assert unnamed(source) == ["writer"]
