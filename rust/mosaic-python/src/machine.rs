//! The memory of this machine that this process may use.

use pyo3::prelude::*;

/// See `available_memory` in `_core.pyi`.
#[pyfunction]
pub(crate) fn available_memory(py: Python<'_>) -> Option<u64> {
    py.detach(mosaic_runtime::node::cgroup::available)
}
