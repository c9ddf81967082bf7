//! LZ4 for whole payloads, without the GIL.

use mosaic_runtime::compression;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::waiting::detach;

/// See `compress` in `_core.pyi`.
#[pyfunction]
pub(crate) fn compress<'py>(
    py: Python<'py>,
    payload: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyBytes>> {
    converted(py, payload, compression::compress)
}

/// See `decompress` in `_core.pyi`.
#[pyfunction]
pub(crate) fn decompress<'py>(
    py: Python<'py>,
    packed: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyBytes>> {
    converted(py, packed, compression::decompress)
}

fn converted<'py>(
    py: Python<'py>,
    bytes: &Bound<'py, PyAny>,
    convert: impl FnOnce(&[u8]) -> Result<Vec<u8>, compression::CompressionError> + Send,
) -> PyResult<Bound<'py, PyBytes>> {
    let buffer = PyBuffer::<u8>::get(bytes)?;
    if !buffer.is_c_contiguous() {
        return Err(PyBufferError::new_err("the bytes are not contiguous"));
    }
    let bytes: &[u8] = if buffer.item_count() == 0 {
        &[]
    } else {
        // SAFETY: contiguous bytes, which the view keeps. That no other thread writes to them meanwhile is left to those
        // who have them, as with `NumPy`, which lets go of the GIL too.
        unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast(), buffer.item_count()) }
    };
    let made = detach(py, move || convert(bytes))
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(PyBytes::new(py, &made))
}
