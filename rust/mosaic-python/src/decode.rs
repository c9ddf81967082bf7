//! Payloads back to Python values.

use bytes::{Buf, Bytes};
use mosaic_core::call::Slot;
use mosaic_core::payload::{Payload, Segment as Part};
use pyo3::exceptions::{PyIndexError, PyKeyError, PyLookupError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::encode::{BODY_IN_STORE, MSGPACK, NAMED, OPAQUE, PICKLE, TUPLE};
use crate::hooks::{error, hooks};
use crate::named;
use crate::store::{Looked, Segment};

/// Decode one value.
pub(crate) fn decode_value(py: Python<'_>, mut payload: Payload) -> PyResult<Bound<'_, PyAny>> {
    let looked = body_in_store(py, &mut payload)?;
    let body = looked.as_ref().map_or(&payload.body[..], Looked::bytes);
    match payload.format {
        MSGPACK => Reader { py, bytes: body }.value(),
        PICKLE => unpickle(py, body, payload.segments),
        OPAQUE => Err(error(
            py,
            "SerialisationError",
            &String::from_utf8_lossy(body),
        )),
        0 => Ok(py.None().into_bound(py)),
        other => Err(PyValueError::new_err(format!("unknown encoding {other}"))),
    }
}

/// A long body lies in the store: it is the last segment.
fn body_in_store(py: Python<'_>, payload: &mut Payload) -> PyResult<Option<Looked>> {
    if payload.format & BODY_IN_STORE == 0 {
        return Ok(None);
    }
    payload.format &= !BODY_IN_STORE;
    match payload.segments.pop() {
        Some(Part::Stored(stored)) => Looked::at(py, &stored).map(Some),
        _ => Err(truncated()),
    }
}

fn unpickle<'py>(py: Python<'py>, body: &[u8], segments: Vec<Part>) -> PyResult<Bound<'py, PyAny>> {
    let buffers = PyList::empty(py);
    for segment in segments {
        buffers.append(Bound::new(py, Segment::new(py, segment)?)?)?;
    }
    let body = PyBytes::new(py, body);
    hooks(py)?.unpickle.bind(py).call1((body, buffers))
}

/// The positional and keyword arguments of a call.
pub(crate) type Arguments<'py> = (Vec<Bound<'py, PyAny>>, Option<Bound<'py, PyDict>>);

/// Decode the arguments of a call and put the values of its dependencies in their places.
pub(crate) fn decode_arguments(
    py: Python<'_>,
    mut payload: Payload,
    values: Vec<(Slot, Bytes, Payload)>,
) -> PyResult<Arguments<'_>> {
    let looked = match payload.format & !BODY_IN_STORE {
        MSGPACK | NAMED => body_in_store(py, &mut payload)?,
        _ => None,
    };
    let body = looked.as_ref().map_or(&payload.body[..], Looked::bytes);
    let plain = match payload.format {
        MSGPACK => Some((None, body)),
        NAMED => {
            let (name, rest) = named::split(body).ok_or_else(truncated)?;
            let name = PyBytes::new(py, name);
            let first = hooks(py)?
                .unpickle
                .bind(py)
                .call1((name, PyList::empty(py)))?;
            Some((Some(first), rest))
        }
        _ => None,
    };
    let (mut args, mut kwargs) = if let Some((first, bytes)) = plain {
        let mut reader = Reader { py, bytes };
        let count = reader.array_length()?;
        let mut args = Vec::with_capacity(count.min(bytes.len()) + 1);
        args.extend(first);
        for _ in 0..count {
            args.push(reader.value()?);
        }
        let named = reader.map_length()?;
        let kwargs = if named == 0 {
            None
        } else {
            Some(reader.dict(named)?)
        };
        (args, kwargs)
    } else {
        let (args, kwargs): (Bound<'_, PyTuple>, Bound<'_, PyDict>) =
            decode_value(py, payload)?.extract()?;
        (
            args.iter().collect(),
            (!kwargs.is_empty()).then_some(kwargs),
        )
    };
    for (slot, part, payload) in values {
        if slot == Slot::Order {
            continue;
        }
        let mut value = decode_value(py, payload)?;
        if !part.is_empty() {
            value = select_output(&value, &decode_part(py, &part)?)?;
        }
        match slot {
            Slot::Positional(index) => match args.get_mut(usize::from(index)) {
                Some(place) => *place = value,
                None => {
                    return Err(PyValueError::new_err(
                        "a dependency has no place among the arguments",
                    ));
                }
            },
            Slot::Keyword(name) => kwargs
                .get_or_insert_with(|| PyDict::new(py))
                .set_item(name, value)?,
            Slot::Order => {}
        }
    }
    Ok((args, kwargs))
}

/// What [`crate::output::Output::part`] made.
fn decode_part<'py>(py: Python<'py>, part: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let (format, body) = part.split_first().ok_or_else(truncated)?;
    decode_value(
        py,
        Payload {
            format: *format,
            body: Bytes::copy_from_slice(body),
            ..Payload::default()
        },
    )
}

/// One output of a result.
#[pyfunction]
pub(crate) fn select_output<'py>(
    value: &Bound<'py, PyAny>,
    key: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = value.py();
    if let Ok(tuple) = value.cast::<PyTuple>() {
        let index: isize = key.extract().map_err(|_| {
            PyKeyError::new_err(format!(
                "the task returned a tuple of {}: its outputs have positions, not {key:?}",
                tuple.len()
            ))
        })?;
        let length = tuple.len().cast_signed();
        let place = if index < 0 { index + length } else { index };
        if !(0..length).contains(&place) {
            return Err(PyIndexError::new_err(format!(
                "the task has {length} outputs, not an output {index}"
            )));
        }
        return tuple.get_item(place.cast_unsigned());
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        if let Some(found) = dict.get_item(key)? {
            return Ok(found);
        }
        let keys: Vec<String> = dict
            .keys()
            .iter()
            .take(10)
            .map(|key| format!("{key:?}"))
            .collect();
        return Err(PyKeyError::new_err(format!(
            "the task has no output {key:?}; it has {}",
            keys.join(", ")
        )));
    }
    match key.extract::<i64>() {
        Ok(0) => Ok(value.clone()),
        _ => Err(PyErr::from_type(
            py.get_type::<PyLookupError>(),
            format!(
                "the task has one output, 0, and not {key:?}: it returned {}",
                value.get_type().name()?
            ),
        )),
    }
}

fn truncated() -> PyErr {
    PyValueError::new_err("an encoded value ends too early")
}

/// Reads msgpack.
struct Reader<'py, 'b> {
    py: Python<'py>,
    bytes: &'b [u8],
}

impl<'py, 'b> Reader<'py, 'b> {
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

    fn array_length(&mut self) -> PyResult<usize> {
        match self.marker()? {
            marker @ 0x90..=0x9f => Ok(usize::from(marker & 0x0f)),
            0xdc => self.number(2),
            0xdd => self.number(4),
            other => Err(PyValueError::new_err(format!(
                "{other:#x} does not begin an array"
            ))),
        }
    }

    fn map_length(&mut self) -> PyResult<usize> {
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

    fn dict(&mut self, count: usize) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(self.py);
        for _ in 0..count {
            let key = self.value()?;
            dict.set_item(key, self.value()?)?;
        }
        Ok(dict)
    }

    fn value(&mut self) -> PyResult<Bound<'py, PyAny>> {
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
            0xc9 => {
                self.number(4)?;
                if self.marker()?.cast_signed() != TUPLE {
                    return Err(PyValueError::new_err("an unknown extension type"));
                }
                let count = self.array_length()?;
                let items = (0..count)
                    .map(|_| self.value())
                    .collect::<PyResult<Vec<_>>>()?;
                PyTuple::new(py, items)?.into_any()
            }
            other => {
                return Err(PyValueError::new_err(format!(
                    "{other:#x} does not begin a value"
                )));
            }
        })
    }
}
