//! Python values to payloads.
//!
//! What travels as msgpack ([`crate::msgpack`]) needs nothing of Python's; everything else is handed to the pickle hook
//! whole.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use mosaic_core::call::{Dependency, Slot, Source};
use mosaic_core::id::{ObjectId, RuntimeId};
use mosaic_core::payload::{Payload, Reference, Segment as Part, ThinVec};
use mosaic_runtime::store::THRESHOLD;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use rustc_hash::FxHashSet;

use crate::by_name;
use crate::hooks::hooks;
use crate::host::{Host, host_if_any};
use crate::msgpack::{NeedsPickle, Writer, Written};
use crate::output::Output;
use crate::store::{keep_buffer, keep_bytes, keep_elements};
use crate::task::Task;

/// [`Payload::format`]: one msgpack value, or for arguments: the array of positional ones and the map of keyword ones.
pub(crate) const MSGPACK: u8 = 1;
/// [`Payload::format`]: a pickle; its out-of-band buffers are the segments.
pub(crate) const PICKLE: u8 = 2;
/// [`Payload::format`]: a value that cannot be encoded; the body says why.
pub(crate) const OPAQUE: u8 = 3;
/// [`Payload::format`], for arguments: the first is a function or class by its name ([`crate::by_name`]), the rest as in [`MSGPACK`].
pub(crate) const NAMED: u8 = 4;
/// [`Payload::format`]: as [`MSGPACK`], with arrays in it, which can be changed where they are.
pub(crate) const ARRAYS: u8 = 5;

/// Marks, in [`Payload::format`], a body so long that it lies in the store, as the last segment.
pub(crate) const BODY_IN_STORE: u8 = 0x80;

thread_local! {
    /// The references found by the encoder at work on this thread, if there is one.
    static FOUND: RefCell<Option<Found>> = const { RefCell::new(None) };
}

/// From this number of references on, whether one is new is looked up in a set.
const MANY: usize = 16;

#[derive(Default)]
struct Found {
    references: ThinVec<Reference>,
    /// The same, once there are many.
    known: FxHashSet<(ObjectId, RuntimeId)>,
    held: HeldReferences,
}

impl Found {
    fn add(&mut self, reference: Reference) {
        let key = |reference: &Reference| (reference.object, reference.authority);
        if self.references.len() < MANY {
            if self.references.contains(&reference) {
                return;
            }
        } else {
            if self.known.is_empty() {
                self.known.extend(self.references.iter().map(key));
            }
            if !self.known.insert(key(&reference)) {
                return;
            }
        }
        self.references.push(reference);
        self.held.add(reference);
    }
}

/// The references in an encoded value, each counted from the moment at which the encoder found it. Dropped once the
/// engine counts them for the value itself: the proxies that were encoded may be gone before that.
#[derive(Default)]
pub(crate) struct HeldReferences {
    host: Option<Arc<Host>>,
    objects: Vec<ObjectId>,
    /// Nothing else that is about to be told to the engine would take the news along.
    at_once: bool,
}

impl HeldReferences {
    fn add(&mut self, reference: Reference) {
        let Some(host) = self.host.take().or_else(host_if_any) else {
            return;
        };
        let engine = &host.engine;
        // The payload itself keeps a buffer of this process's store.
        let own = matches!(reference.object, ObjectId::Buffer(_))
            && reference.authority == engine.runtime();
        if !own {
            engine.retain(reference);
            self.objects.push(reference.object);
        }
        self.host = Some(host);
    }

    /// Tell the engine at once when they are let go of, rather than with what it hears next.
    pub(crate) fn at_once(mut self) -> Self {
        self.at_once = true;
        self
    }
}

impl Drop for HeldReferences {
    fn drop(&mut self) {
        if let Some(host) = &self.host {
            for object in &self.objects {
                host.engine.release(*object, self.at_once);
            }
        }
    }
}

/// An encoded value, and what is held for it until the engine has it.
pub(crate) struct Encoded {
    pub(crate) payload: Payload,
    pub(crate) held: HeldReferences,
}

impl From<Payload> for Encoded {
    fn from(payload: Payload) -> Self {
        Self {
            payload,
            held: HeldReferences::default(),
        }
    }
}

/// The value being encoded refers to this. Of what a program pickles by itself nobody keeps count.
pub(crate) fn note(reference: Reference) {
    FOUND.with_borrow_mut(|found| {
        if let Some(found) = found {
            found.add(reference);
        }
    });
}

/// Encode one value.
pub(crate) fn encode_value(value: &Bound<'_, PyAny>) -> PyResult<Encoded> {
    let mut writer = Writer::new();
    match writer.value(value, 0) {
        Ok(()) => {
            let written = writer.finish();
            let format = if written.arrays { ARRAYS } else { MSGPACK };
            plain(value.py(), format, written)
        }
        Err(NeedsPickle) => pickle(value),
    }
}

/// A payload of msgpack: a copy of what is large in it, since a value is what it was at the call.
fn plain(py: Python<'_>, format: u8, written: Written) -> PyResult<Encoded> {
    let payload = Payload {
        format,
        body: written.body,
        ..Payload::default()
    };
    if payload.body.len() < THRESHOLD && written.large.is_empty() {
        return Ok(payload.into());
    }
    noting(|| {
        let mut payload = payload;
        for elements in written.large {
            payload.segments.push(keep_elements(py, &elements)?);
            elements.release(py);
        }
        store_body(py, payload)
    })
}

/// Make a payload, with the references that are noted meanwhile.
pub(crate) fn noting(make: impl FnOnce() -> PyResult<Payload>) -> PyResult<Encoded> {
    let outer = FOUND.replace(Some(Found::default()));
    let payload = make();
    let found = FOUND.replace(outer).unwrap_or_default();
    let mut payload = payload?;
    payload.references = found.references;
    Ok(Encoded {
        payload,
        held: found.held,
    })
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
            lost @ Part::Lost(_) => payload.segments.push(lost),
        }
    }
    Ok(payload)
}

/// Pickle a value, with the references found in it and a copy of its out-of-band buffers: a value is what
/// it was at the call.
fn pickle(value: &Bound<'_, PyAny>) -> PyResult<Encoded> {
    let py = value.py();
    let hooks = hooks(py)?;
    noting(|| {
        let pickled = hooks.pickle.bind(py).call1((value,))?;
        pickled_payload(&pickled)
    })
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
        references: ThinVec::new(),
    };
    store_body(pickled.py(), payload)
}

/// The arguments of a call, as they travel.
pub(crate) struct Arguments<'py> {
    pub(crate) payload: Payload,
    /// To be dropped once the call is submitted.
    pub(crate) held: HeldReferences,
    pub(crate) dependencies: ThinVec<Dependency>,
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
    let mut dependencies = ThinVec::new();
    let mut tasks = Vec::new();
    let count = kwargs.map_or(0, PyDictMethods::len);
    let name = first.map(by_name::pickled_name).transpose()?;
    // Without a first argument, or with one that travels by its name.
    if !matches!(name, Some(None))
        && !has_tasks(args, kwargs)
        && let Some(mut written) = plain_arguments(
            args.iter_borrowed().map(pyo3::Borrowed::to_owned),
            args.len(),
            kwargs,
            count,
        )
    {
        let format = match name.flatten() {
            None => MSGPACK,
            Some(name) => {
                written.body = by_name::join(&name, &written.body);
                NAMED
            }
        };
        let Encoded { payload, held } = plain(py, format, written)?;
        return Ok(Arguments {
            payload,
            held,
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
    let written = plain_arguments(positional.iter().cloned(), count, keyword.as_ref(), named);
    if let Some(written) = written {
        let Encoded { payload, held } = plain(py, MSGPACK, written)?;
        return Ok(Arguments {
            payload,
            held,
            dependencies,
            tasks,
        });
    }
    let keyword = keyword.unwrap_or_else(|| PyDict::new(py));
    let whole = (PyTuple::new(py, positional)?, keyword).into_pyobject(py)?;
    let Encoded { payload, held } = pickle(whole.as_any())?;
    Ok(Arguments {
        payload,
        held,
        dependencies,
        tasks,
    })
}

fn plain_arguments<'py>(
    positional: impl Iterator<Item = Bound<'py, PyAny>>,
    count: usize,
    keyword: Option<&Bound<'py, PyDict>>,
    named: usize,
) -> Option<Written> {
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
    handle.get().cell().mark_observed();
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
