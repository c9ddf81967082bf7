//! The limit of open files, as `mosaic.runtime.children` needs it.

use std::cell::RefCell;

use mosaic_runtime::node::descriptors::{self, Lowered};
use pyo3::prelude::*;

thread_local! {
    /// What this thread has lowered, innermost last.
    static LOWERED: RefCell<Vec<Lowered>> = const { RefCell::new(Vec::new()) };
}

/// The soft limit of open files for what this process starts; None where that is its own.
#[pyfunction]
pub(crate) fn given_descriptors() -> Option<u64> {
    descriptors::given()
}

/// See `_core.pyi`.
#[pyfunction]
pub(crate) fn free_descriptors() -> bool {
    descriptors::free_reserve()
}

/// See `_core.pyi`.
#[pyfunction]
#[pyo3(signature = (*, insist))]
pub(crate) fn lower_descriptors(insist: bool) -> bool {
    let Some(lowered) = descriptors::lower(insist) else {
        return false;
    };
    LOWERED.with_borrow_mut(|all| all.push(lowered));
    true
}

/// Take `lower_descriptors` back.
#[pyfunction]
pub(crate) fn raise_descriptors() {
    drop(LOWERED.with_borrow_mut(Vec::pop));
}
