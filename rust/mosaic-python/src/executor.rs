//! The executor that runs Python: plain calls on the main thread, coroutines on an event loop.
//!
//! `run` and `revoke` come from threads that hold the engine's lock and must not take the GIL: they only
//! queue. The main lane is the thread that called `run_main_lane`; the coroutine lane is whichever loop was
//! attached, woken through a mailbox. Living objects are touched by these two threads, with the GIL (`EXE-1`).

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use mosaic_core::call::{CallKind, Failure, FailureKind, Outcome, ReadyCall};
use mosaic_core::id::{TaskId, TesseraId};
use mosaic_core::payload::Payload;
use mosaic_runtime::executor::{Executor, Revoked};
use mosaic_runtime::lane::{Job, Lane};
use mosaic_runtime::mailbox::Mailbox;
use mosaic_runtime::signal::Signal;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::coroutine::CallCoroutine;
use crate::decode::{decode_arguments, decode_value};
use crate::encode::{MSGPACK, OPAQUE, encode_value};
use crate::engine::Host;
use crate::hooks::{cached, hooks};
use crate::task::lock;

/// A result that `task.remote` may want alive.
enum Living {
    /// As the method returned it.
    Object(Py<PyAny>),
    /// Encoded: plain, or so large that it is not kept twice.
    Encoded(Payload),
}

/// Results with larger buffers than this are kept alive in their encoded form only.
const KEPT_TWICE: u64 = 64 << 10;

/// Something for the coroutine lane to do.
pub(crate) enum CoroutineJob {
    Run(Box<ReadyCall>),
    Cancel(TaskId),
}

thread_local! {
    /// The tessera whose plain call runs on this thread.
    static RUNNING: Cell<Option<TesseraId>> = const { Cell::new(None) };
    /// Whether this thread is a main lane.
    static MAIN_LANE: Cell<bool> = const { Cell::new(false) };
}

/// See the module.
pub(crate) struct PythonExecutor {
    host: OnceLock<Weak<Host>>,
    main: Lane,
    pub(crate) coroutines: Arc<Mailbox<CoroutineJob>>,
    /// Plain calls go to the attached loop too.
    both: AtomicBool,
    stopped: AtomicBool,
    objects: Mutex<FxHashMap<TesseraId, Py<PyAny>>>,
    concurrent: Mutex<FxHashSet<TesseraId>>,
    results: Mutex<FxHashMap<TaskId, Living>>,
    pub(crate) running: Mutex<FxHashMap<TaskId, Py<PyAny>>>,
    event_loop: Mutex<Option<Py<PyAny>>>,
    attached: Signal,
}

impl PythonExecutor {
    pub(crate) fn new(_py: Python<'_>) -> PyResult<Arc<Self>> {
        Ok(Arc::new(Self {
            host: OnceLock::new(),
            main: Lane::new()?,
            coroutines: Arc::new(Mailbox::new(Signal::new()?)),
            both: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            objects: Mutex::default(),
            concurrent: Mutex::default(),
            results: Mutex::default(),
            running: Mutex::default(),
            event_loop: Mutex::default(),
            attached: Signal::new()?,
        }))
    }

    pub(crate) fn belong_to(&self, host: &Arc<Host>) {
        let _ = self.host.set(Arc::downgrade(host));
    }

    fn host(&self) -> Option<Arc<Host>> {
        self.host.get().and_then(Weak::upgrade)
    }

    /// The engine has stopped: drop what still lives.
    pub(crate) fn clear(&self, _py: Python<'_>) {
        let objects = std::mem::take(&mut *lock(&self.objects));
        let results = std::mem::take(&mut *lock(&self.results));
        let event_loop = lock(&self.event_loop).take();
        drop((objects, results, event_loop));
        self.coroutines.wake().close();
        self.attached.close();
        self.main.signal().close();
    }

    /// The tessera whose call runs in the current context.
    #[allow(clippy::unused_self)]
    pub(crate) fn running_tessera(&self, py: Python<'_>) -> PyResult<Option<TesseraId>> {
        if let Some(tessera) = RUNNING.get() {
            return Ok(Some(tessera));
        }
        let current = context_variable(py)?.call_method1(pyo3::intern!(py, "get"), (py.None(),))?;
        if current.is_none() {
            return Ok(None);
        }
        let (owner, sequence): (u32, u64) = current.extract()?;
        Ok(Some(TesseraId {
            owner: mosaic_core::id::RuntimeId(owner),
            sequence,
        }))
    }

    /// Whether this thread is a worker's main lane.
    #[allow(clippy::unused_self)]
    pub(crate) fn is_main_lane(&self) -> bool {
        MAIN_LANE.get()
    }

    /// Whether a wait in the current context keeps a call on that tessera of this runtime from running.
    pub(crate) fn blocks(
        &self,
        py: Python<'_>,
        tessera: TesseraId,
        blocking: bool,
    ) -> PyResult<bool> {
        if blocking && MAIN_LANE.get() {
            return Ok(true);
        }
        let own = self.running_tessera(py)? == Some(tessera);
        Ok(own && !tessera.is_functions() && !lock(&self.concurrent).contains(&tessera))
    }

    // ---- the main lane ---------------------------------------------------------------------------

    pub(crate) fn run_main_lane(self: &Arc<Self>, py: Python<'_>) {
        MAIN_LANE.set(true);
        let mut batch = VecDeque::new();
        let Some(host) = self.host() else { return };
        while py.detach(|| host.engine.take_jobs(&self.main, &mut batch)) {
            while let Some(job) = batch.pop_front() {
                self.run_job(py, job, || batch.is_empty() && self.main.is_empty());
                if self.stopped.load(Ordering::Acquire) {
                    break;
                }
            }
        }
        // What still lives here ends on the thread on which it lived.
        self.clear(py);
    }

    fn run_job(self: &Arc<Self>, py: Python<'_>, job: Job, last: impl FnOnce() -> bool) {
        match job {
            Job::Run(ready) => {
                let (task, tessera) = (ready.call.task, ready.call.tessera);
                if self.main.begin(task) {
                    let outer = RUNNING.replace(Some(tessera));
                    let outcome = self.run_plain(py, *ready);
                    RUNNING.set(outer);
                    self.finish(task, outcome, last());
                }
            }
            Job::DropTessera(tessera) => {
                let object = lock(&self.objects).remove(&tessera);
                lock(&self.concurrent).remove(&tessera);
                drop(object);
            }
            Job::DropResult(task) => {
                let living = lock(&self.results).remove(&task);
                drop(living);
            }
        }
    }

    pub(crate) fn finish(&self, task: TaskId, outcome: Outcome, last: bool) {
        if let Some(host) = self.host() {
            host.engine.finish(task, outcome, last);
        }
        // Not before: a call whose end was not reported yet is one that runs.
        self.main.end(task);
    }

    fn run_plain(self: &Arc<Self>, py: Python<'_>, ready: ReadyCall) -> Outcome {
        let (task, kind) = (ready.call.task, ready.call.kind);
        let result = self.invoke(py, ready).and_then(|value| {
            // A plain method may hand back a coroutine of a colleague: its callers want the value.
            if value.is_instance(cached!(py, "types", "CoroutineType")?)? {
                self.await_blocking(py, value)
            } else {
                Ok(value)
            }
        });
        self.outcome(py, task, kind, result)
    }

    /// Run a coroutine on the coroutine lane and wait here for its end.
    fn await_blocking<'py>(
        &self,
        py: Python<'py>,
        coroutine: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if self.both.load(Ordering::Acquire) {
            return Err(pyo3::exceptions::PyTypeError::new_err(
                "a plain method of a local tessera returned a coroutine: declare the method `async def`",
            ));
        }
        let event_loop = loop {
            if let Some(event_loop) = lock(&self.event_loop)
                .as_ref()
                .map(|event_loop| event_loop.clone_ref(py))
            {
                break event_loop;
            }
            if self.stopped.load(Ordering::Acquire) {
                let message = "the runtime stopped before the coroutine could run";
                return Err(crate::hooks::error(py, "RuntimeDisconnectedError", message));
            }
            self.coroutines.rouse();
            py.detach(|| self.attached.wait(None)).ok();
        };
        let future =
            cached!(py, "asyncio", "run_coroutine_threadsafe")?.call1((coroutine, event_loop))?;
        future.call_method0(pyo3::intern!(py, "result"))
    }

    // ---- the coroutine lane ----------------------------------------------------------------------

    /// Block until something is there for the coroutine lane; false if the engine stopped instead.
    pub(crate) fn wait_coroutine(&self, py: Python<'_>) -> bool {
        let woken = py.detach(|| self.coroutines.wake().wait(None));
        woken.is_ok() && !self.stopped.load(Ordering::Acquire)
    }

    pub(crate) fn attach(
        self: &Arc<Self>,
        py: Python<'_>,
        event_loop: Py<PyAny>,
        both: bool,
    ) -> PyResult<()> {
        self.both.store(both, Ordering::Release);
        let drain = Bound::new(
            py,
            CoroutineDrain {
                executor: Arc::downgrade(self),
            },
        )?;
        let Some(descriptor) = self.coroutines.wake().descriptor() else {
            return Ok(());
        };
        event_loop.call_method1(py, "add_reader", (descriptor, drain))?;
        *lock(&self.event_loop) = Some(event_loop);
        self.attached.raise();
        if both {
            // What came for the main lane before this loop took its place.
            let mut waiting = VecDeque::new();
            self.main.try_take(&mut waiting);
            for job in waiting {
                self.run_job(py, job, || false);
            }
        }
        Ok(())
    }

    /// Start what waits; on the loop's thread.
    pub(crate) fn drain_coroutines(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        let mut batch = Vec::new();
        self.coroutines.drain(&mut batch);
        if self.both.load(Ordering::Acquire) {
            let mut waiting = VecDeque::new();
            self.main.try_take(&mut waiting);
            while let Some(job) = waiting.pop_front() {
                self.run_job(py, job, || waiting.is_empty());
            }
        }
        for job in batch {
            match job {
                CoroutineJob::Run(ready) => self.start_coroutine(py, *ready)?,
                CoroutineJob::Cancel(task) => {
                    let running = lock(&self.running)
                        .get(&task)
                        .map(|running| running.clone_ref(py));
                    if let Some(running) = running {
                        running.call_method0(py, pyo3::intern!(py, "cancel"))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn start_coroutine(self: &Arc<Self>, py: Python<'_>, ready: ReadyCall) -> PyResult<()> {
        let (task, tessera, kind) = (ready.call.task, ready.call.tessera, ready.call.kind);
        if !self.main.begin(task) {
            return Ok(());
        }
        let outer = RUNNING.replace(Some(tessera));
        let invoked = self.invoke(py, ready);
        RUNNING.set(outer);
        let coroutine = match invoked {
            Ok(value) if value.is_instance(cached!(py, "types", "CoroutineType")?)? => value,
            // Not a coroutine after all, or an attribute that was read past a running call.
            other => {
                let outcome = self.outcome(py, task, kind, other);
                self.finish(task, outcome, true);
                return Ok(());
            }
        };
        let Some(event_loop) = lock(&self.event_loop)
            .as_ref()
            .map(|event_loop| event_loop.clone_ref(py))
        else {
            return Ok(());
        };
        let context = cached!(py, "contextvars", "copy_context")?.call0()?;
        context.call_method1(
            pyo3::intern!(py, "run"),
            (
                context_variable(py)?.getattr(pyo3::intern!(py, "set"))?,
                (tessera.owner.0, tessera.sequence),
            ),
        )?;
        let wrapped = Bound::new(
            py,
            CallCoroutine::new(Arc::clone(self), task, kind, coroutine.unbind()),
        )?;
        let options = PyDict::new(py);
        options.set_item(pyo3::intern!(py, "context"), context)?;
        let running = event_loop.call_method(
            py,
            pyo3::intern!(py, "create_task"),
            (wrapped,),
            Some(&options),
        )?;
        lock(&self.running).insert(task, running);
        Ok(())
    }

    // ---- running ---------------------------------------------------------------------------------

    fn object<'py>(&self, py: Python<'py>, tessera: TesseraId) -> PyResult<Bound<'py, PyAny>> {
        let object = lock(&self.objects)
            .get(&tessera)
            .map(|object| object.clone_ref(py));
        object.map(|object| object.into_bound(py)).ok_or_else(|| {
            pyo3::exceptions::PyRuntimeError::new_err(format!(
                "internal error: {tessera:?} has no object"
            ))
        })
    }

    /// Do what the call asks for; returns what Python returned.
    fn invoke<'py>(&self, py: Python<'py>, ready: ReadyCall) -> PyResult<Bound<'py, PyAny>> {
        let call = ready.call;
        let (mut args, kwargs) = decode_arguments(py, call.arguments, ready.values)?;
        match call.kind {
            CallKind::Construct => {
                let class = args.remove(0);
                let kwargs = kwargs.unwrap_or_else(|| PyDict::new(py));
                let id = (call.tessera.owner.0, call.tessera.sequence);
                let object = hooks(py)?.build.bind(py).call1((
                    id,
                    class,
                    PyTuple::new(py, args)?,
                    kwargs,
                ))?;
                if call.construction.concurrent {
                    lock(&self.concurrent).insert(call.tessera);
                }
                lock(&self.objects).insert(call.tessera, object.unbind());
                Ok(py.None().into_bound(py))
            }
            CallKind::Method => {
                let object = self.object(py, call.tessera)?;
                let method = object.getattr(&*call.method)?;
                method.call(PyTuple::new(py, args)?, kwargs.as_ref())
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
                function.call(PyTuple::new(py, args)?, kwargs.as_ref())
            }
            CallKind::ResultMethod(task) => {
                let living = self.living(py, task)?;
                living
                    .getattr(&*call.method)?
                    .call(PyTuple::new(py, args)?, kwargs.as_ref())
            }
            CallKind::Stop => Ok(py.None().into_bound(py)),
        }
    }

    /// The living result of a task that ran here.
    fn living<'py>(&self, py: Python<'py>, task: TaskId) -> PyResult<Bound<'py, PyAny>> {
        let lost = || {
            crate::hooks::error(
                py,
                "ObjectLostError",
                &format!("the result of {task:?} is not here any more"),
            )
        };
        let payload = match lock(&self.results).get(&task) {
            Some(Living::Object(object)) => return Ok(object.bind(py).clone()),
            Some(Living::Encoded(payload)) => payload.clone(),
            None => return Err(lost()),
        };
        let object = decode_value(py, payload)?;
        let encoded = lock(&self.results).insert(task, Living::Object(object.clone().unbind()));
        drop(encoded);
        Ok(object)
    }

    /// The end of a call, from what Python returned or raised.
    pub(crate) fn outcome(
        &self,
        py: Python<'_>,
        task: TaskId,
        kind: CallKind,
        result: PyResult<Bound<'_, PyAny>>,
    ) -> Outcome {
        let value = match result {
            Ok(value) => value,
            Err(error) => return failure(py, &error),
        };
        if kind == CallKind::Construct {
            return Outcome::Value(Payload {
                format: MSGPACK,
                body: bytes::Bytes::from_static(&[0xc0]),
                ..Payload::default()
            });
        }
        let payload = match encode_value(&value) {
            Ok(payload) => payload,
            Err(error) if error.is_instance_of::<pyo3::exceptions::PyMemoryError>(py) => {
                return failure(py, &error);
            }
            Err(error) => Payload {
                format: OPAQUE,
                body: format!(
                    "the result cannot be moved: {error}; `task.remote` can still use it where it is"
                )
                .into(),
                ..Payload::default()
            },
        };
        let large = payload
            .segments
            .iter()
            .map(mosaic_core::payload::Segment::length)
            .sum::<u64>()
            > KEPT_TWICE;
        let living = if large || payload.format == MSGPACK {
            Living::Encoded(payload.clone())
        } else {
            Living::Object(value.unbind())
        };
        let earlier = lock(&self.results).insert(task, living);
        drop(earlier);
        Outcome::Value(payload)
    }
}

/// An exception as the failure of a call.
pub(crate) fn failure(py: Python<'_>, error: &PyErr) -> Outcome {
    let cancelled = cached!(py, "asyncio", "CancelledError")
        .is_ok_and(|class| error.matches(py, class).unwrap_or(false));
    if cancelled {
        return Outcome::Failed(Failure::new(
            FailureKind::Cancelled,
            "cancelled while it ran",
        ));
    }
    // The exception itself does not know its traceback before somebody has caught it.
    if let Some(traceback) = error.traceback(py) {
        let _ = error
            .value(py)
            .setattr(pyo3::intern!(py, "__traceback__"), traceback);
    }
    let encoded = hooks(py)
        .and_then(|hooks| hooks.encode_exception.bind(py).call1((error.value(py),)))
        .and_then(|encoded| encoded.extract::<(String, Vec<u8>)>());
    let mut failure = Failure::new(FailureKind::Raised, String::new());
    match encoded {
        Ok((message, detail)) => {
            failure.message = message;
            failure.detail = Payload {
                format: crate::encode::PICKLE,
                body: detail.into(),
                ..Payload::default()
            };
        }
        Err(second) => {
            failure.message = format!("{error} (and the exception cannot be encoded: {second})");
        }
    }
    Outcome::Failed(failure)
}

/// The variable that tells a coroutine's context which tessera it runs for.
fn context_variable(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static VARIABLE: pyo3::sync::PyOnceLock<Py<PyAny>> = pyo3::sync::PyOnceLock::new();
    VARIABLE
        .get_or_try_init(py, || {
            py.import("contextvars")?
                .getattr("ContextVar")?
                .call1(("mosaic_tessera",))
                .map(Bound::unbind)
        })
        .map(|variable| variable.bind(py))
}

/// What the attached loop calls when the coroutine lane's signal is readable.
#[pyclass(frozen, module = "mosaic._core")]
struct CoroutineDrain {
    executor: Weak<PythonExecutor>,
}

#[pymethods]
impl CoroutineDrain {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        match self.executor.upgrade() {
            Some(executor) => executor.drain_coroutines(py),
            None => Ok(()),
        }
    }
}

impl Executor for PythonExecutor {
    fn run(&self, calls: &mut Vec<ReadyCall>) {
        let both = self.both.load(Ordering::Acquire);
        let mut plain = Vec::new();
        for call in calls.drain(..) {
            if call.call.coroutine || call.call.kind == CallKind::GetAttributeNow {
                self.coroutines.push(CoroutineJob::Run(Box::new(call)));
            } else {
                plain.push(Job::Run(Box::new(call)));
            }
        }
        if !plain.is_empty() {
            self.main.push(plain);
            if both {
                self.coroutines.rouse();
            }
        }
    }

    fn revoke(&self, task: TaskId) -> Revoked {
        let revoked = self.main.revoke(task);
        if revoked == Revoked::Running {
            // A plain call is not among the lane's coroutines and runs on.
            self.coroutines.push(CoroutineJob::Cancel(task));
        }
        revoked
    }

    fn drop_tessera(&self, tessera: TesseraId) {
        self.main.push([Job::DropTessera(tessera)]);
        if self.both.load(Ordering::Acquire) {
            self.coroutines.rouse();
        }
    }

    fn drop_result(&self, task: TaskId) {
        let mut results = lock(&self.results);
        if let Some(Living::Encoded(_)) = results.get(&task) {
            // Only bytes: no need to trouble the program's threads.
            results.remove(&task);
        } else if results.contains_key(&task) {
            drop(results);
            self.main.push([Job::DropResult(task)]);
            if self.both.load(Ordering::Acquire) {
                self.coroutines.rouse();
            }
        }
    }

    fn warn(&self, message: &str) {
        use std::io::Write;
        // Standard error of a worker goes to the driver with the worker's name before it.
        let _ = writeln!(std::io::stderr(), "mosaic: {message}");
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.main.stop();
        self.coroutines.rouse();
        self.attached.raise();
    }
}
