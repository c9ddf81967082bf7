//! Python values to payloads.
//!
//! Exact built-in values travel as msgpack where no difference can be seen at the other end: `None`, `bool`,
//! `int` of 64 bits, `float`, `str`, `bytes`, and lists, tuples and dicts of those in which no container
//! occurs twice. Everything else is handed to the pickle hook whole. A tuple is the msgpack extension
//! type 1 around an array.

use std::cell::RefCell;

use bytes::Bytes;
use mosaic_core::call::{Dependency, Slot, Source};
use mosaic_core::payload::{Payload, Reference, Segment as Part};
use mosaic_runtime::store::THRESHOLD;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyNone, PyString, PyTuple};

use crate::hooks::hooks;
use crate::named;
use crate::output::Output;
use crate::store::{keep_buffer, keep_bytes};
use crate::task::Task;

/// [`Payload::format`]: one msgpack value, or for arguments: the array of positional ones and the map of keyword ones.
pub(crate) const MSGPACK: u8 = 1;
/// [`Payload::format`]: a pickle; its out-of-band buffers are the segments.
pub(crate) const PICKLE: u8 = 2;
/// [`Payload::format`]: a value that cannot be encoded; the body says why.
pub(crate) const OPAQUE: u8 = 3;
/// [`Payload::format`], for arguments: the first is a function or class by its name ([`crate::named`]), the rest as in [`MSGPACK`].
pub(crate) const NAMED: u8 = 4;

/// Marks, in [`Payload::format`], a body so long that it lies in the store, as the last segment.
pub(crate) const BODY_IN_STORE: u8 = 0x80;

/// The extension type of tuples.
pub(crate) const TUPLE: i8 = 1;
/// Containers beyond this depth are left to pickle.
const DEEPEST: usize = 16;
/// More containers than this in one value are left to pickle, which has a better memory for them.
const MOST_CONTAINERS: usize = 64;

/// The commonest encodings need no memory at all: no arguments, and None.
const NO_ARGUMENTS: &[u8] = &[0x90, 0x80];
const NONE: &[u8] = &[0xc0];
/// A longer encoding is handed on as it is rather than copied.
const LARGEST_SCRATCH: usize = 4 << 10;

thread_local! {
    /// Where the encoder of this thread writes.
    static SCRATCH: std::cell::Cell<Vec<u8>> = const { std::cell::Cell::new(Vec::new()) };
    /// The references found by the encoder at work on this thread.
    static FOUND: RefCell<Vec<Reference>> = const { RefCell::new(Vec::new()) };
}

/// The value being pickled refers to this.
pub(crate) fn note(reference: Reference) {
    FOUND.with_borrow_mut(|found| {
        if !found.contains(&reference) {
            found.push(reference);
        }
    });
}

/// Why a value does not go as msgpack.
pub(crate) struct NotPlain;

/// Writes msgpack.
struct Writer {
    out: Vec<u8>,
    containers: Vec<usize>,
}

impl Writer {
    fn new() -> Self {
        Self {
            out: SCRATCH.take(),
            containers: Vec::new(),
        }
    }

    /// What was written, in an allocation of exactly its size: a million calls may wait with theirs.
    fn finish(mut self) -> Bytes {
        if self.out.len() > LARGEST_SCRATCH {
            return self.out.into();
        }
        let written = match &self.out[..] {
            NO_ARGUMENTS => Bytes::from_static(NO_ARGUMENTS),
            NONE => Bytes::from_static(NONE),
            other => Bytes::copy_from_slice(other),
        };
        self.out.clear();
        SCRATCH.set(self.out);
        written
    }

    fn length(
        &mut self,
        count: usize,
        fix: Option<(u8, usize)>,
        eight: Option<u8>,
        sixteen: u8,
        thirty_two: u8,
    ) -> Result<(), NotPlain> {
        match (
            fix,
            eight,
            u8::try_from(count),
            u16::try_from(count),
            u32::try_from(count),
        ) {
            (Some((base, most)), _, Ok(count), _, _) if usize::from(count) <= most => {
                self.out.push(base | count);
            }
            (_, Some(marker), Ok(count), _, _) => self.out.extend([marker, count]),
            (_, _, _, Ok(count), _) => {
                self.out.push(sixteen);
                self.out.extend(count.to_be_bytes());
            }
            (_, _, _, _, Ok(count)) => {
                self.out.push(thirty_two);
                self.out.extend(count.to_be_bytes());
            }
            _ => return Err(NotPlain),
        }
        Ok(())
    }

    fn array(&mut self, count: usize) -> Result<(), NotPlain> {
        self.length(count, Some((0x90, 15)), None, 0xdc, 0xdd)
    }

    fn map(&mut self, count: usize) -> Result<(), NotPlain> {
        self.length(count, Some((0x80, 15)), None, 0xde, 0xdf)
    }

    fn string(&mut self, text: &str) -> Result<(), NotPlain> {
        self.length(text.len(), Some((0xa0, 31)), Some(0xd9), 0xda, 0xdb)?;
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn integer(&mut self, value: &Bound<'_, PyInt>) -> Result<(), NotPlain> {
        if let Ok(value) = value.extract::<i64>() {
            if (-32..=127).contains(&value) {
                self.out.push(value.cast_unsigned() as u8);
            } else {
                self.out.push(0xd3);
                self.out.extend(value.to_be_bytes());
            }
        } else {
            let value = value.extract::<u64>().map_err(|_| NotPlain)?;
            self.out.push(0xcf);
            self.out.extend(value.to_be_bytes());
        }
        Ok(())
    }

    /// A container that occurs twice, or in itself, is pickle's to get right.
    fn enter(&mut self, container: &Bound<'_, PyAny>, depth: usize) -> Result<(), NotPlain> {
        let address = container.as_ptr() as usize;
        if depth >= DEEPEST
            || self.containers.len() >= MOST_CONTAINERS
            || self.containers.contains(&address)
        {
            return Err(NotPlain);
        }
        self.containers.push(address);
        Ok(())
    }

    fn value(&mut self, value: &Bound<'_, PyAny>, depth: usize) -> Result<(), NotPlain> {
        if value.is_exact_instance_of::<PyNone>() {
            self.out.push(0xc0);
        } else if let Ok(text) = value.cast_exact::<PyString>() {
            let text = text.to_str().map_err(|_| NotPlain)?;
            self.string(text)?;
        } else if let Ok(value) = value.cast_exact::<PyInt>() {
            self.integer(value)?;
        } else if let Ok(value) = value.cast_exact::<PyFloat>() {
            self.out.push(0xcb);
            self.out.extend(value.value().to_be_bytes());
        } else if let Ok(value) = value.cast_exact::<PyBool>() {
            self.out.push(if value.is_true() { 0xc3 } else { 0xc2 });
        } else if let Ok(bytes) = value.cast_exact::<PyBytes>() {
            let bytes = bytes.as_bytes();
            self.length(bytes.len(), None, Some(0xc4), 0xc5, 0xc6)?;
            self.out.extend_from_slice(bytes);
        } else if let Ok(list) = value.cast_exact::<PyList>() {
            self.enter(value, depth)?;
            self.array(list.len())?;
            for item in list.iter() {
                self.value(&item, depth + 1)?;
            }
        } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            if !tuple.is_empty() {
                self.enter(value, depth)?;
            }
            self.out.push(0xc9);
            let length_at = self.out.len();
            self.out.extend([0, 0, 0, 0, TUPLE.cast_unsigned()]);
            self.array(tuple.len())?;
            for item in tuple.iter_borrowed() {
                self.value(&item, depth + 1)?;
            }
            let length = u32::try_from(self.out.len() - length_at - 5).map_err(|_| NotPlain)?;
            self.out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
        } else if let Ok(dict) = value.cast_exact::<PyDict>() {
            self.enter(value, depth)?;
            self.map(dict.len())?;
            for (key, item) in dict.iter() {
                self.value(&key, depth + 1)?;
                self.value(&item, depth + 1)?;
            }
        } else {
            return Err(NotPlain);
        }
        Ok(())
    }
}

/// Encode one value.
pub(crate) fn encode_value(value: &Bound<'_, PyAny>) -> PyResult<Payload> {
    let mut writer = Writer::new();
    match writer.value(value, 0) {
        Ok(()) => plain(value.py(), MSGPACK, writer.finish()),
        Err(NotPlain) => pickle(value),
    }
}

/// A payload of msgpack.
fn plain(py: Python<'_>, format: u8, body: Bytes) -> PyResult<Payload> {
    let payload = Payload {
        format,
        body,
        ..Payload::default()
    };
    if payload.body.len() < THRESHOLD {
        return Ok(payload);
    }
    let outer = FOUND.take();
    let payload = store_body(py, payload);
    let references = FOUND.replace(outer);
    let mut payload = payload?;
    payload.references = references;
    Ok(payload)
}

/// A long body goes to the store; the reference to it is noted.
fn store_body(py: Python<'_>, mut payload: Payload) -> PyResult<Payload> {
    if payload.body.len() >= THRESHOLD {
        match keep_bytes(py, std::mem::take(&mut payload.body))? {
            Part::Bytes(body) => payload.body = body,
            stored @ Part::Stored(_) => {
                payload.segments.push(stored);
                payload.format |= BODY_IN_STORE;
            }
        }
    }
    Ok(payload)
}

/// Pickle a value, with the references found in it and a copy of its out-of-band buffers: a value is what
/// it was at the call.
fn pickle(value: &Bound<'_, PyAny>) -> PyResult<Payload> {
    let py = value.py();
    let hooks = hooks(py)?;
    let outer = FOUND.take();
    let payload = hooks
        .pickle
        .bind(py)
        .call1((value,))
        .and_then(|pickled| pickled_payload(&pickled));
    let references = FOUND.replace(outer);
    let mut payload = payload?;
    payload.references = references;
    Ok(payload)
}

fn pickled_payload(pickled: &Bound<'_, PyAny>) -> PyResult<Payload> {
    let (body, buffers): (Bound<'_, PyBytes>, Bound<'_, PyList>) = pickled.extract()?;
    let segments = buffers
        .iter()
        .map(|buffer| keep_buffer(&buffer))
        .collect::<PyResult<_>>()?;
    let payload = Payload {
        format: PICKLE,
        body: Bytes::copy_from_slice(body.as_bytes()),
        segments,
        references: Vec::new(),
    };
    store_body(pickled.py(), payload)
}

/// The arguments of a call, as they travel.
pub(crate) struct Arguments<'py> {
    pub(crate) payload: Payload,
    pub(crate) dependencies: Vec<Dependency>,
    /// What the dependencies are on; among them tasks that were made on the way, to read values that change, which are
    /// to be held until the call is submitted.
    pub(crate) tasks: Vec<Bound<'py, Task>>,
}

/// Encode the arguments of a call, with `first` before the positional ones (the class of a construction, the
/// function of a function call). Tasks and outputs among them become dependencies.
pub(crate) fn encode_arguments<'py>(
    first: Option<&Bound<'py, PyAny>>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Arguments<'py>> {
    let py = args.py();
    let mut dependencies = Vec::new();
    let mut tasks = Vec::new();
    let count = kwargs.map_or(0, PyDictMethods::len);
    let name = first.map(named::pickled_name).transpose()?;
    // Without a first argument, or with one that travels by its name.
    if !matches!(name, Some(None))
        && !has_tasks(args, kwargs)
        && let Some(body) = plain_arguments(
            args.iter_borrowed().map(pyo3::Borrowed::to_owned),
            args.len(),
            kwargs,
            count,
        )
    {
        let (format, body) = match name.flatten() {
            None => (MSGPACK, body),
            Some(name) => (NAMED, named::join(&name, &body)),
        };
        return Ok(Arguments {
            payload: plain(py, format, body)?,
            dependencies,
            tasks,
        });
    }
    let mut positional = Vec::with_capacity(args.len() + 1);
    positional.extend(first.cloned());
    for arg in args.iter() {
        match dependency(&arg, &mut tasks)? {
            None => positional.push(arg),
            Some(mut found) => {
                if found.slot != Slot::Order {
                    let index = u16::try_from(positional.len()).map_err(|_| {
                        pyo3::exceptions::PyTypeError::new_err("too many positional arguments")
                    })?;
                    found.slot = Slot::Positional(index);
                    positional.push(py.None().into_bound(py));
                }
                dependencies.push(found);
            }
        }
    }
    let mut keyword = kwargs.cloned();
    if let Some(kwargs) = kwargs
        && kwargs.values().iter().any(|value| is_task(&value))
    {
        let kept = PyDict::new(py);
        for (name, value) in kwargs.iter() {
            match dependency(&value, &mut tasks)? {
                None => kept.set_item(name, value)?,
                Some(mut found) => {
                    if found.slot != Slot::Order {
                        found.slot = Slot::Keyword(name.extract()?);
                    }
                    dependencies.push(found);
                }
            }
        }
        keyword = Some(kept);
    }
    let named = keyword.as_ref().map_or(0, PyDictMethods::len);
    let count = positional.len();
    if let Some(body) = plain_arguments(positional.iter().cloned(), count, keyword.as_ref(), named)
    {
        return Ok(Arguments {
            payload: plain(py, MSGPACK, body)?,
            dependencies,
            tasks,
        });
    }
    let keyword = keyword.unwrap_or_else(|| PyDict::new(py));
    let whole = (PyTuple::new(py, positional)?, keyword).into_pyobject(py)?;
    Ok(Arguments {
        payload: pickle(whole.as_any())?,
        dependencies,
        tasks,
    })
}

fn plain_arguments<'py>(
    positional: impl Iterator<Item = Bound<'py, PyAny>>,
    count: usize,
    keyword: Option<&Bound<'py, PyDict>>,
    named: usize,
) -> Option<Bytes> {
    let mut writer = Writer::new();
    writer.array(count).ok()?;
    for arg in positional {
        writer.value(&arg, 0).ok()?;
    }
    writer.map(named).ok()?;
    for (name, value) in keyword.into_iter().flat_map(PyDictMethods::iter) {
        writer.value(&name, 0).ok()?;
        writer.value(&value, 0).ok()?;
    }
    Some(writer.finish())
}

fn is_task(value: &Bound<'_, PyAny>) -> bool {
    value.is_instance_of::<Task>() || value.is_instance_of::<Output>()
}

fn has_tasks(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> bool {
    args.iter_borrowed().any(|arg| is_task(&arg))
        || kwargs.is_some_and(|kwargs| kwargs.values().iter().any(|value| is_task(&value)))
}

/// What an argument that stands for a task asks for; its slot is still to be set, unless it is only an order.
/// The task itself is put into `tasks`.
fn dependency<'py>(
    value: &Bound<'py, PyAny>,
    tasks: &mut Vec<Bound<'py, Task>>,
) -> PyResult<Option<Dependency>> {
    let py = value.py();
    let (handle, part, slot, kept) = if let Ok(task) = value.cast::<Task>() {
        (task.clone(), Bytes::new(), Slot::Positional(0), false)
    } else if let Ok(output) = value.cast::<Output>() {
        let Some(task) = &output.get().task else {
            let reading = value.call_method0(pyo3::intern!(py, "read"))?;
            return dependency(&reading, tasks);
        };
        let output = output.get();
        let slot = if output.done {
            Slot::Order
        } else {
            Slot::Positional(0)
        };
        (task.bind(py).clone(), output.part(py)?, slot, output.kept)
    } else {
        return Ok(None);
    };
    handle.get().cell().read();
    let task = handle.get().cell().id;
    tasks.push(handle);
    Ok(Some(Dependency {
        slot,
        task,
        part,
        kept,
        source: Source::Unresolved {
            authority: task.owner,
        },
    }))
}
