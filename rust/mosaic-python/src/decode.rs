//! Payloads back to Python values.

use bytes::Bytes;
use mosaic_core::call::Slot;
use mosaic_core::payload::{Payload, Segment as Part, ThinVec};
use pyo3::exceptions::{PyIndexError, PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::by_name;
use crate::encode::{ARRAYS, BODY_IN_STORE, MSGPACK, NAMED, OPAQUE, PICKLE};
use crate::errors::{SerialisationError, loss_error};
use crate::hooks::hooks;
use crate::msgpack::{Reader, truncated};
use crate::store::{MappedView, Segment};

/// Decode one value.
pub(crate) fn decode_value(py: Python<'_>, mut payload: Payload) -> PyResult<Bound<'_, PyAny>> {
    check(&payload)?;
    let looked = body_in_store(py, &mut payload)?;
    let body = looked.as_ref().map_or(&payload.body[..], MappedView::bytes);
    match payload.format {
        MSGPACK | ARRAYS => Reader::new(py, body, payload.segments).value(),
        PICKLE => unpickle(py, body, payload.segments),
        OPAQUE => Err(SerialisationError::new_err(
            String::from_utf8_lossy(body).into_owned(),
        )),
        0 => Ok(py.None().into_bound(py)),
        other => Err(PyValueError::new_err(format!("unknown encoding {other}"))),
    }
}

/// Refuse a value of which part is not here.
fn check(payload: &Payload) -> PyResult<()> {
    payload.loss().map_or(Ok(()), |loss| Err(loss_error(loss)))
}

/// A long body lies in the store: it is the last segment.
fn body_in_store(py: Python<'_>, payload: &mut Payload) -> PyResult<Option<MappedView>> {
    if payload.format & BODY_IN_STORE == 0 {
        return Ok(None);
    }
    payload.format &= !BODY_IN_STORE;
    match payload.segments.pop() {
        Some(Part::Stored(stored)) => MappedView::at(py, &stored).map(Some),
        _ => Err(truncated()),
    }
}

fn unpickle<'py>(
    py: Python<'py>,
    body: &[u8],
    segments: ThinVec<Part>,
) -> PyResult<Bound<'py, PyAny>> {
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
    check(&payload)?;
    let looked = match payload.format & !BODY_IN_STORE {
        MSGPACK | NAMED => body_in_store(py, &mut payload)?,
        _ => None,
    };
    let body = looked.as_ref().map_or(&payload.body[..], MappedView::bytes);
    let plain = match payload.format {
        MSGPACK => Some((None, body)),
        NAMED => {
            let (name, rest) = by_name::split(body).ok_or_else(truncated)?;
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
        let mut reader = Reader::new(py, bytes, std::mem::take(&mut payload.segments));
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
    let position = key.extract::<i64>().ok();
    if let Some(0 | -1) = position {
        return Ok(value.clone());
    }
    let class = if position.is_some() {
        py.get_type::<PyIndexError>()
    } else {
        py.get_type::<PyKeyError>()
    };
    Err(PyErr::from_type(
        class,
        format!(
            "the task has one output, 0, and not {key:?}: it returned {}",
            value.get_type().name()?
        ),
    ))
}
