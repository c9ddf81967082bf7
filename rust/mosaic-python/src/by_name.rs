//! Functions and classes that travel by their name: pickled once instead of with every call.
//!
//! What can be imported at the other end goes as its name whatever it does to itself meanwhile, so that the pickle
//! of yesterday is the pickle of today. A call of such a function, or a construction of such a class, with plain
//! arguments needs no other pickle then: 3 of the 8 microseconds that a single item of a map took the driver
//! (`make bench-peers BENCH_ARGS='--row map_single'`).

use std::collections::HashMap;

use bytes::{BufMut, Bytes, BytesMut};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::hooks::{cached, hooks};

use mosaic_runtime::sync::{Mutex, Rank};

/// Functions and classes remembered, each by its address, which is its own as long as it is held here.
const REMEMBERED: usize = 256;

/// What is known of a function or class: its pickle.
type Known = (Py<PyAny>, Bytes);

static KNOWN: Mutex<Option<HashMap<usize, Known>>> = Mutex::new(Rank::NamePickles, None);

/// The pickle of a function or class, if it travels by its name.
pub(crate) fn pickled_name(object: &Bound<'_, PyAny>) -> PyResult<Option<Bytes>> {
    let address = object.as_ptr() as usize;
    let known = KNOWN
        .lock()
        .get_or_insert_default()
        .get(&address)
        .map(|(_, pickle)| pickle.clone());
    if known.is_some() {
        return Ok(known);
    }
    let Some(pickle) = pickle_if_named(object)? else {
        return Ok(None);
    };
    let forgotten = remember(address, (object.clone().unbind(), pickle.clone()));
    drop(forgotten);
    Ok(Some(pickle))
}

/// Returns what is forgotten for it: to be dropped without the lock, since Python runs when objects go.
fn remember(address: usize, entry: Known) -> HashMap<usize, Known> {
    let mut known = KNOWN.lock();
    let known = known.get_or_insert_default();
    let mut forgotten = HashMap::new();
    if known.len() >= REMEMBERED {
        std::mem::swap(known, &mut forgotten);
    }
    if let Some(earlier) = known.insert(address, entry) {
        forgotten.insert(address, earlier);
    }
    forgotten
}

fn pickle_if_named(object: &Bound<'_, PyAny>) -> PyResult<Option<Bytes>> {
    let py = object.py();
    let importable = cached!(py, "mosaic.serialise.by_value", "importable")?.call1((object,))?;
    if !importable.is_truthy()? {
        return Ok(None);
    }
    let pickled = hooks(py)?.pickle.bind(py).call1((object,))?;
    let (body, buffers): (Bound<'_, PyBytes>, Bound<'_, PyList>) = pickled.extract()?;
    Ok(buffers
        .is_empty()
        .then(|| Bytes::copy_from_slice(body.as_bytes())))
}

/// The pickle of a name and encoded arguments, in one body.
pub(crate) fn join(pickle: &[u8], arguments: &[u8]) -> Bytes {
    let mut body = BytesMut::with_capacity(4 + pickle.len() + arguments.len());
    body.put_u32_le(pickle.len() as u32);
    body.put_slice(pickle);
    body.put_slice(arguments);
    body.freeze()
}

/// The two again.
pub(crate) fn split(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = body.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}
