//! The memory of this machine that this process may use.

use pyo3::prelude::*;

use crate::waiting::detach;

/// See `available_memory` in `_core.pyi`.
#[pyfunction]
pub(crate) fn available_memory(py: Python<'_>) -> Option<u64> {
    detach(py, mosaic_runtime::node::cgroup::available)
}
