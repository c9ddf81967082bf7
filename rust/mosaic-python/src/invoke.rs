//! One call, from its decoded arguments to its encoded end: what the lanes of [`crate::executor`] do with each.
//!
//! On the threads of the lanes, with the GIL.

use mosaic_core::call::{Call, CallKind, Failure, FailureKind, Outcome, ReadyCall};
use mosaic_core::id::{TaskId, TesseraId};
use mosaic_core::payload::Payload;
use mosaic_runtime::sync::order::assert_none_held;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::call_context;
use crate::decode::{decode_arguments, decode_value};
use crate::encode::{Encoded, HeldReferences, MSGPACK, OPAQUE, PICKLE, encode_value, noting};
use crate::errors::{ObjectLostError, is_shortage, with_reserve};
use crate::executor::PythonExecutor;
use crate::hooks::{cached, hooks};
use crate::tracing;

/// Results with larger buffers than this are kept alive in their encoded form only.
const KEPT_TWICE: u64 = 64 << 10;

impl PythonExecutor {
    fn object<'py>(&self, py: Python<'py>, tessera: TesseraId) -> PyResult<Bound<'py, PyAny>> {
        let object = self
            .objects
            .lock()
            .get(&tessera)
            .map(|object| object.clone_ref(py));
        object.map(|object| object.into_bound(py)).ok_or_else(|| {
            pyo3::exceptions::PyRuntimeError::new_err(format!(
                "internal error: {tessera:?} has no object"
            ))
        })
    }

    /// Do what the call asks for; returns what Python returned. Arguments that came in a store, or from other tasks, are
    /// put into `brought`, for the caller to let go of.
    pub(crate) fn invoke<'py>(
        &self,
        py: Python<'py>,
        ready: ReadyCall,
        brought: &mut Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut call = ready.call;
        let arguments = std::mem::take(&mut call.arguments);
        let from_elsewhere = !ready.values.is_empty() || !arguments.segments.is_empty();
        let (args, kwargs) = decode_arguments(py, arguments, ready.values)?;
        call_context::enter(py, call.origin)?;
        if from_elsewhere {
            brought.extend(args.iter().cloned());
            brought.extend(kwargs.iter().map(|kwargs| kwargs.clone().into_any()));
            if let Some(recorder) = self.recorder() {
                recorder.ran();
            }
        }
        let Some(recorder) = self.recorder() else {
            return self.run_code(py, &call, args, kwargs.as_ref());
        };
        if recorder.traced() {
            self.trace(py);
        }
        let result = self.run_code(py, &call, args, kwargs.as_ref());
        // Whoever set it: the method itself may have.
        if tracing::is_traced() {
            tracing::clear_hook(py);
        }
        result
    }

    /// Trace this thread, if there is a recording and nobody else does.
    pub(crate) fn trace(&self, py: Python<'_>) -> bool {
        self.recorder_handle()
            .is_some_and(|recorder| tracing::set_hook(py, recorder))
    }

    fn run_code<'py>(
        &self,
        py: Python<'py>,
        call: &Call,
        mut args: Vec<Bound<'py, PyAny>>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        assert_none_held("the program's code runs");
        match call.kind {
            CallKind::Construct => {
                let class = args.remove(0);
                let kwargs = kwargs.cloned().unwrap_or_else(|| PyDict::new(py));
                let id = (call.tessera.owner.0, call.tessera.sequence);
                let object = hooks(py)?.build.bind(py).call1((
                    id,
                    class,
                    PyTuple::new(py, args)?,
                    kwargs,
                ))?;
                if call.construction.concurrent {
                    self.concurrent.lock().insert(call.tessera);
                }
                let earlier = self.objects.lock().insert(call.tessera, object.unbind());
                drop(earlier);
                Ok(py.None().into_bound(py))
            }
            CallKind::Method => {
                let object = self.object(py, call.tessera)?;
                let method = object.getattr(&*call.method)?;
                method.call(PyTuple::new(py, args)?, kwargs)
            }
            CallKind::GetAttribute | CallKind::GetAttributeNow => {
                self.object(py, call.tessera)?.getattr(&*call.method)
            }
            CallKind::SetAttribute => {
                self.object(py, call.tessera)?
                    .setattr(&*call.method, args.remove(0))?;
                Ok(py.None().into_bound(py))
            }
            CallKind::Function => {
                let function = args.remove(0);
                function.call(PyTuple::new(py, args)?, kwargs)
            }
            CallKind::ResultMethod(task) => {
                let living = self.living(py, task)?;
                living
                    .getattr(&*call.method)?
                    .call(PyTuple::new(py, args)?, kwargs)
            }
            CallKind::Stop => Ok(py.None().into_bound(py)),
        }
    }

    /// The living result of a task that ran here.
    fn living<'py>(&self, py: Python<'py>, task: TaskId) -> PyResult<Bound<'py, PyAny>> {
        let lost =
            || ObjectLostError::new_err(format!("the result of {task:?} is not here any more"));
        let known = self
            .results
            .lock()
            .get(&task)
            .map(|object| object.clone_ref(py));
        if let Some(object) = known {
            return Ok(object.into_bound(py));
        }
        let encoded = self.host().and_then(|host| host.engine.result_here(task));
        let object = decode_value(py, encoded.ok_or_else(lost)?)?;
        let earlier = self.results.lock().insert(task, object.clone().unbind());
        drop(earlier);
        Ok(object)
    }

    /// The end of a call, from what Python returned or raised; that may be gone when this returns. What it refers to is
    /// held until the caller drops the second: after the engine has the first.
    pub(crate) fn outcome(
        &self,
        py: Python<'_>,
        task: TaskId,
        kind: CallKind,
        result: PyResult<Bound<'_, PyAny>>,
    ) -> (Outcome, HeldReferences) {
        if let Some(recorder) = self.recorder() {
            recorder.returned();
        }
        let value = match result {
            Ok(value) => value,
            Err(error) => return failure(py, &error),
        };
        if kind == CallKind::Construct {
            let built = Outcome::Value(Payload {
                format: MSGPACK,
                body: bytes::Bytes::from_static(&[0xc0]),
                ..Payload::default()
            });
            return (built, HeldReferences::default());
        }
        let Encoded { payload, held } = match encode_value(&value) {
            Ok(encoded) => encoded,
            Err(error)
                if error.is_instance_of::<pyo3::exceptions::PyMemoryError>(py)
                    || is_shortage(py, &error) =>
            {
                return failure(py, &error);
            }
            Err(error) => Payload {
                format: OPAQUE,
                body: format!(
                    "the result cannot be moved: {error}; `task.remote` can still use it where it is"
                )
                .into(),
                ..Payload::default()
            }
            .into(),
        };
        let large = payload
            .segments
            .iter()
            .map(mosaic_core::payload::Segment::length)
            .sum::<u64>()
            > KEPT_TWICE;
        if !large && payload.format != MSGPACK {
            let earlier = self.results.lock().insert(task, value.unbind());
            drop(earlier);
        }
        (Outcome::Value(payload), held.at_once())
    }
}

/// An exception as the failure of a call, and what is held for it.
fn failure(py: Python<'_>, error: &PyErr) -> (Outcome, HeldReferences) {
    let cancelled = cached!(py, "asyncio", "CancelledError")
        .is_ok_and(|class| error.matches(py, class).unwrap_or(false));
    if cancelled {
        let failure = Failure::new(FailureKind::Cancelled, "cancelled while it ran");
        return (Outcome::Failed(failure), HeldReferences::default());
    }
    // The exception itself does not know its traceback before somebody has caught it.
    if let Some(traceback) = error.traceback(py) {
        let _ = error
            .value(py)
            .setattr(pyo3::intern!(py, "__traceback__"), traceback);
    }
    let mut failure = Failure::new(FailureKind::Raised, String::new());
    let encoded = noting(|| {
        let encode = hooks(py)?.encode_exception.bind(py);
        let encode = || encode.call1((error.value(py),));
        // It tries what works, and would take what the shortage itself does for what does not.
        let encoded = if is_shortage(py, error) {
            mosaic_runtime::node::descriptors::with_reserve(encode)
        } else {
            with_reserve(py, encode)
        };
        let (message, detail): (String, Vec<u8>) = encoded?.extract()?;
        failure.message = message;
        Ok(Payload {
            format: PICKLE,
            body: detail.into(),
            ..Payload::default()
        })
    });
    let held = match encoded {
        Ok(Encoded { payload, held }) => {
            failure.detail = payload;
            held
        }
        Err(second) => {
            failure.message = format!("{error} (and the exception cannot be encoded: {second})");
            HeldReferences::default()
        }
    };
    (Outcome::Failed(failure), held.at_once())
}
