//! msgpack back to values.

use bytes::Buf;
use mosaic_core::payload::{Segment as Part, ThinVec};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use super::{ARRAY, SCALAR, TUPLE, array};

/// The error of bytes that end too early.
pub(crate) fn truncated() -> PyErr {
    PyValueError::new_err("an encoded value ends too early")
}

/// Reads msgpack.
pub(crate) struct Reader<'py, 'b> {
    py: Python<'py>,
    bytes: &'b [u8],
    /// The elements of large arrays, in their order.
    segments: <ThinVec<Part> as IntoIterator>::IntoIter,
}

impl<'py, 'b> Reader<'py, 'b> {
    pub(crate) fn new(py: Python<'py>, bytes: &'b [u8], segments: ThinVec<Part>) -> Self {
        let segments = segments.into_iter();
        Self {
            py,
            bytes,
            segments,
        }
    }

    fn take(&mut self, count: usize) -> PyResult<&'b [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or_else(truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn number(&mut self, width: usize) -> PyResult<usize> {
        let mut bytes = self.take(width)?;
        Ok(bytes.get_uint(width) as usize)
    }

    fn marker(&mut self) -> PyResult<u8> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn array_length(&mut self) -> PyResult<usize> {
        match self.marker()? {
            marker @ 0x90..=0x9f => Ok(usize::from(marker & 0x0f)),
            0xdc => self.number(2),
            0xdd => self.number(4),
            other => Err(PyValueError::new_err(format!(
                "{other:#x} does not begin an array"
            ))),
        }
    }

    pub(crate) fn map_length(&mut self) -> PyResult<usize> {
        match self.marker()? {
            marker @ 0x80..=0x8f => Ok(usize::from(marker & 0x0f)),
            0xde => self.number(2),
            0xdf => self.number(4),
            other => Err(PyValueError::new_err(format!(
                "{other:#x} does not begin a map"
            ))),
        }
    }

    fn string(&mut self, length: usize) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyString::from_bytes(self.py, self.take(length)?)?.into_any())
    }

    fn binary(&mut self, length: usize) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyBytes::new(self.py, self.take(length)?).into_any())
    }

    fn list(&mut self, count: usize) -> PyResult<Bound<'py, PyAny>> {
        let items = (0..count)
            .map(|_| self.value())
            .collect::<PyResult<Vec<_>>>()?;
        Ok(PyList::new(self.py, items)?.into_any())
    }

    pub(crate) fn dict(&mut self, count: usize) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(self.py);
        for _ in 0..count {
            let key = self.value()?;
            dict.set_item(key, self.value()?)?;
        }
        Ok(dict)
    }

    pub(crate) fn value(&mut self) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py;
        Ok(match self.marker()? {
            marker @ 0x00..=0x7f => PyInt::new(py, marker).into_any(),
            marker @ 0xe0..=0xff => PyInt::new(py, marker.cast_signed()).into_any(),
            0xc0 => py.None().into_bound(py),
            0xc2 => false.into_pyobject(py)?.to_owned().into_any(),
            0xc3 => true.into_pyobject(py)?.to_owned().into_any(),
            0xcb => PyFloat::new(py, f64::from_bits(self.take(8)?.get_u64())).into_any(),
            0xcf => PyInt::new(py, self.take(8)?.get_u64()).into_any(),
            0xd3 => PyInt::new(py, self.take(8)?.get_i64()).into_any(),
            marker @ 0xa0..=0xbf => self.string(usize::from(marker & 0x1f))?,
            marker @ 0xd9..=0xdb => {
                let length = self.number(1 << (marker - 0xd9))?;
                self.string(length)?
            }
            marker @ 0xc4..=0xc6 => {
                let length = self.number(1 << (marker - 0xc4))?;
                self.binary(length)?
            }
            marker @ 0x90..=0x9f => self.list(usize::from(marker & 0x0f))?,
            marker @ 0xdc..=0xdd => {
                let count = self.number(2 << (marker - 0xdc))?;
                self.list(count)?
            }
            marker @ 0x80..=0x8f => self.dict(usize::from(marker & 0x0f))?.into_any(),
            marker @ 0xde..=0xdf => {
                let count = self.number(2 << (marker - 0xde))?;
                self.dict(count)?.into_any()
            }
            0xc9 => self.extension()?,
            other => {
                return Err(PyValueError::new_err(format!(
                    "{other:#x} does not begin a value"
                )));
            }
        })
    }

    fn extension(&mut self) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py;
        let length = self.number(4)?;
        match self.marker()?.cast_signed() {
            TUPLE => {
                let count = self.array_length()?;
                let items = (0..count)
                    .map(|_| self.value())
                    .collect::<PyResult<Vec<_>>>()?;
                Ok(PyTuple::new(py, items)?.into_any())
            }
            SCALAR => array::read_scalar(py, self.take(length)?),
            ARRAY => array::read(py, self.take(length)?, &mut self.segments),
            other => Err(PyValueError::new_err(format!(
                "an extension of the unknown type {other}"
            ))),
        }
    }
}
