//! What this machine has for this process.

use pyo3::prelude::*;

/// See `available_memory` in `_core.pyi`.
#[pyfunction]
pub(crate) fn available_memory(py: Python<'_>) -> Option<u64> {
    py.detach(mosaic_runtime::node::cgroup::available)
}
