//! `NumPy`'s arrays and scalars: their description and their bytes, little-endian as they lie in memory.
//!
//! The extension [`super::SCALAR`] is the type of the element, one of [`ELEMENTS`], and its bytes. The extension
//! [`super::ARRAY`] is the type of the elements, how they lie ([`FORTRAN`], [`ASIDE`]), the number of dimensions,
//! each dimension in eight bytes, and the elements, unless they are many: these are the next segment of the payload.
//!
//! Numbers are by far the most of what simulations pass on. Pickle alone takes two or three times as long for a small
//! array as the rest of its call, all through Python; this is a fraction (`python -m benches.anatomy`).

use bytes::{Buf, BufMut};
use mosaic_core::payload::Segment as Part;
use mosaic_runtime::store::THRESHOLD;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyTuple};

use super::truncated;
use crate::hooks::cached;
use crate::store::Segment;

/// The types of elements that are known here, by `NumPy`'s characters, and their formats in the buffer protocol
/// (PEP 3118).
const ELEMENTS: [(u8, &[u8]); 14] = [
    (b'?', b"?"),
    (b'b', b"b"),
    (b'B', b"B"),
    (b'h', b"h"),
    (b'H', b"H"),
    (b'i', b"i"),
    (b'I', b"I"),
    (b'l', b"l"),
    (b'L', b"L"),
    (b'e', b"e"),
    (b'f', b"f"),
    (b'd', b"d"),
    (b'F', b"Zf"),
    (b'D', b"Zd"),
];

/// The first dimension is the one whose elements lie side by side.
const FORTRAN: u8 = 1;
/// The elements are a segment of the payload.
const ASIDE: u8 = 2;

/// What of `NumPy` is needed here.
struct Numpy {
    /// The class of arrays.
    array: Py<PyAny>,
    /// For each of [`ELEMENTS`]: the class of its scalars, and its `dtype`.
    elements: Vec<(Py<PyAny>, Py<PyAny>)>,
}

static NUMPY: PyOnceLock<Numpy> = PyOnceLock::new();

impl Numpy {
    fn get(py: Python<'_>) -> PyResult<&'static Self> {
        NUMPY.get_or_try_init(py, || {
            let numpy = py.import("numpy")?;
            let dtype = numpy.getattr("dtype")?;
            let element = |(character, _): &(u8, &[u8])| {
                let dtype = dtype.call1((char::from(*character).to_string(),))?;
                Ok((dtype.getattr("type")?.unbind(), dtype.unbind()))
            };
            Ok(Self {
                array: numpy.getattr("ndarray")?.unbind(),
                elements: ELEMENTS.iter().map(element).collect::<PyResult<_>>()?,
            })
        })
    }

    /// If the program has it: nothing is an array before.
    fn if_imported(py: Python<'_>) -> Option<&'static Self> {
        if let Some(numpy) = NUMPY.get(py) {
            return Some(numpy);
        }
        let modules = cached!(py, "sys", "modules").ok()?;
        let modules = modules.cast::<PyDict>().ok()?;
        modules.get_item("numpy").ok()??;
        // Not where it is being imported.
        Self::get(py).ok()
    }
}

/// What a value is.
pub(super) enum NumpyValue<'py> {
    Scalar {
        element: u8,
        bytes: Bound<'py, PyBytes>,
    },
    Array(Array),
}

/// An array, whose elements lie in one piece.
pub(super) struct Array {
    element: u8,
    fortran: bool,
    buffer: PyUntypedBuffer,
}

impl<'py> NumpyValue<'py> {
    /// Look at a value. `None`: it is pickle's.
    pub(super) fn of(value: &Bound<'py, PyAny>) -> Option<Self> {
        let py = value.py();
        if cfg!(target_endian = "big") {
            return None;
        }
        let numpy = Numpy::if_imported(py)?;
        let class = value.get_type();
        if class.is(&numpy.array) {
            return Array::of(value).map(Self::Array);
        }
        let place = numpy
            .elements
            .iter()
            .position(|(scalar, _)| class.is(scalar))?;
        let bytes = value.call_method0(pyo3::intern!(py, "tobytes")).ok()?;
        Some(Self::Scalar {
            element: ELEMENTS[place].0,
            bytes: bytes.cast_into().ok()?,
        })
    }
}

impl Array {
    fn of(value: &Bound<'_, PyAny>) -> Option<Self> {
        let py = value.py();
        // Dates have no buffer, nor have arrays without a dimension; strings, records and objects have other formats.
        let buffer = PyUntypedBuffer::get(value).ok()?;
        let format = buffer.format().to_bytes();
        let (element, _) = *ELEMENTS.iter().find(|(_, known)| *known == format)?;
        let metadata = value
            .getattr(pyo3::intern!(py, "dtype"))
            .and_then(|dtype| dtype.getattr(pyo3::intern!(py, "metadata")));
        if !metadata.is_ok_and(|metadata| metadata.is_none()) {
            return None;
        }
        let fortran = !buffer.is_c_contiguous();
        if fortran && !buffer.is_fortran_contiguous() {
            // Cut from a larger one: it goes without what it is cut from.
            let whole = value.call_method0(pyo3::intern!(py, "copy")).ok()?;
            return Self::of(&whole);
        }
        Some(Self {
            element,
            fortran,
            buffer,
        })
    }

    /// Write the body of the extension. Returns the elements if they did not go along.
    pub(super) fn write(self, out: &mut Vec<u8>) -> Option<PyUntypedBuffer> {
        let shape = self.buffer.shape();
        let length = self.buffer.len_bytes();
        let aside = length >= THRESHOLD;
        out.put_u8(self.element);
        out.put_u8(u8::from(self.fortran) * FORTRAN + u8::from(aside) * ASIDE);
        // NumPy has 64 at most.
        out.put_u8(shape.len() as u8);
        for dimension in shape {
            out.put_u64_le(*dimension as u64);
        }
        if aside {
            return Some(self.buffer);
        }
        if length > 0 {
            // SAFETY: contiguous and exported, hence in place, as long as the buffer lives. The interpreter's lock is
            // held; a program that lets go of it and writes meanwhile gets torn values, as with any copy.
            let elements =
                unsafe { std::slice::from_raw_parts(self.buffer.buf_ptr().cast(), length) };
            out.put_slice(elements);
        }
        None
    }
}

/// The `dtype` of elements.
fn dtype(py: Python<'_>, element: u8) -> PyResult<Bound<'_, PyAny>> {
    let place = ELEMENTS.iter().position(|(known, _)| *known == element);
    let place = place.ok_or_else(|| {
        PyValueError::new_err(format!("elements of an unknown type, {element:#x}"))
    })?;
    Ok(Numpy::get(py)?.elements[place].1.bind(py).clone())
}

/// Read the body of [`super::SCALAR`].
pub(super) fn read_scalar<'py>(py: Python<'py>, body: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let (element, bytes) = body.split_first().ok_or_else(truncated)?;
    let whole = made(
        py,
        &PyTuple::empty(py),
        *element,
        PyBytes::new(py, bytes).as_any(),
        false,
    )?;
    whole.get_item(PyTuple::empty(py))
}

/// Read the body of [`super::ARRAY`]; its elements may be the next segment.
pub(super) fn read<'py>(
    py: Python<'py>,
    mut body: &[u8],
    segments: &mut impl Iterator<Item = Part>,
) -> PyResult<Bound<'py, PyAny>> {
    let [element, how, dimensions, rest @ ..] = body else {
        return Err(truncated());
    };
    body = rest;
    if body.len() < 8 * usize::from(*dimensions) {
        return Err(truncated());
    }
    let shape: Vec<u64> = (0..*dimensions).map(|_| body.get_u64_le()).collect();
    let memory = if how & ASIDE == 0 {
        PyByteArray::new(py, body).into_any()
    } else {
        let elements = segments.next().ok_or_else(truncated)?;
        Bound::new(py, Segment::new(py, elements)?)?.into_any()
    };
    let shape = PyTuple::new(py, shape)?;
    made(py, &shape, *element, &memory, how & FORTRAN != 0)
}

/// An array upon memory, which it keeps. An error if the memory is not enough for it.
fn made<'py>(
    py: Python<'py>,
    shape: &Bound<'py, PyTuple>,
    element: u8,
    memory: &Bound<'py, PyAny>,
    fortran: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let order = if fortran {
        pyo3::intern!(py, "F")
    } else {
        pyo3::intern!(py, "C")
    };
    let class = Numpy::get(py)?.array.bind(py);
    class.call1((shape, dtype(py, element)?, memory, 0, py.None(), order))
}
