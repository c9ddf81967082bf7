"""One module of the Rust crates names the locks of libraries; all others take locks with a rank from it."""

import re
from pathlib import Path

import pytest

RUST = Path(__file__).parents[2] / "rust"
OWNER = RUST / "mosaic-runtime" / "src" / "sync" / "primitives.rs"
SOURCES = sorted(path for path in RUST.glob("*/**/*.rs") if path != OWNER)
LOCK = r"(?:Mutex|RwLock|Condvar|PoisonError|ReentrantMutex|FairMutex)\w*"
# A path to a lock of a library, or one among the names that a `use` takes from there.
NAMED = re.compile(
    rf"\b(?:std|parking_lot|loom|tokio|async_lock|spin)::(?:sync::)?(?:\w+::)*(?:{LOCK}|\{{[^;]*?\b{LOCK}[^;]*?\}})"
)


def lock_names(source: str) -> list[str]:
    """Return the places at which a source names a lock of a library."""
    code = "\n".join(line for line in source.splitlines() if not line.lstrip().startswith("//"))
    return [match.group() for match in NAMED.finditer(code)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(RUST)))
def test_source_names_no_lock_of_a_library(path):
    assert lock_names(path.read_text()) == []


@pytest.mark.parametrize(
    "planted",
    [
        "static ALL: std::sync::Mutex<u8> = std::sync::Mutex::new(0);",
        "use std::sync::{Arc, Mutex, Weak};",
        "use std::{io, sync::{Arc, RwLock}};",
        "use parking_lot::Condvar;",
        "use tokio::sync::{Mutex, Notify};",
        "let value = lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);",
        "fn lock(&self) -> parking_lot::MutexGuard<'_, u8> {",
    ],
)
def test_planted_name_is_found(planted):
    assert lock_names(planted)


def test_locks_with_a_rank_and_comments_are_let_through():
    source = "use crate::sync::{Condvar, Mutex, Rank};\nuse std::sync::{Arc, OnceLock};\n// As std::sync::Mutex does."
    assert lock_names(source) == []
