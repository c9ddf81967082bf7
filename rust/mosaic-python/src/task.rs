//! Tasks as Python sees them: handles on the ends and values of calls.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use mosaic_core::call::{FailureKind, Outcome};
use mosaic_core::event::Want;
use mosaic_core::id::{ObjectId, RuntimeId};
use mosaic_core::payload::{Payload, Reference};
use mosaic_runtime::sync::completion::{Completion, Stage, Waiter};
use pyo3::exceptions::{PyException, PyMemoryError, PyTypeError};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::impl_::pymethods::tp_new_impl;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyTuple, PyType, PyWeakrefReference};

use crate::asyncio::{Subscription, resolve};
use crate::decode::decode_value;
use crate::decoded_once::{Decoded, Decoding};
use crate::encode::MSGPACK;
use crate::errors::{MosaicError, failure_exception};
use crate::hooks::{cached, hooks};
use crate::host::Host;
use crate::waiting::{Target, TaskResult, Waiting, block, deadline};

/// Make a task of the class that `configure` was given; past the `__call__` of that class, which is for programs that make
/// tasks by hand.
///
/// `PyO3` has no public function that makes an instance of a class derived from one of ours; [`tp_new_impl`] is what its
/// `#[new]` calls. The public way, `Task.__new__` with an argument that carries host and completion, took 190 ns more of
/// the 735 that a submission took the caller (thread time of 500 calls `proxy.nothing()` in a row, least of 300).
pub(crate) fn make_task(
    py: Python<'_>,
    host: &Arc<Host>,
    cell: Arc<Completion>,
) -> PyResult<Py<PyAny>> {
    let class = task_class(py)?;
    let task = PyClassInitializer::from(Task {
        host: Arc::clone(host),
        cell,
        asked_for_end: AtomicBool::new(false),
        seen: AtomicBool::new(false),
        end: Decoding::default(),
        needs: OnceLock::new(),
        given: OnceLock::new(),
    });
    // SAFETY: the class derives from `Task`, see `task_class`. What comes back is a new reference to a live
    // object of a class that takes part in collection; `watch` tracks it again.
    let made = unsafe {
        let made = tp_new_impl::<_, Task>(py, task, class.as_type_ptr())?;
        ffi::PyObject_GC_UnTrack(made.cast());
        Bound::from_owned_ptr(py, made)
    };
    Ok(made.unbind())
}

/// The class that `configure` was given, which derives from [`Task`].
fn task_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = CLASS.get_or_try_init(py, || {
        let class = &hooks(py)?.task_type;
        if class.bind(py).is_subclass_of::<Task>()? {
            Ok(class.clone_ref(py))
        } else {
            Err(PyTypeError::new_err(
                "task_type must derive from mosaic._core.Task",
            ))
        }
    });
    class.map(|class| class.bind(py))
}

/// Have the collector look at a task from now on: something hangs on it that may refer to it. Before that it would
/// look at thousands of pending tasks for nothing, which took a tenth of the caller's time in a burst (`perf record`).
fn watch(task: &Bound<'_, Task>) {
    let task = task.as_ptr();
    // SAFETY: a live object of a class that takes part in collection, with the GIL, and not tracked twice.
    unsafe {
        if ffi::PyObject_GC_IsTracked(task) == 0 {
            ffi::PyObject_GC_Track(task.cast());
        }
    }
}

/// One call: a handle on its end and its value.
#[pyclass(frozen, subclass, weakref, module = "mosaic._core")]
pub(crate) struct Task {
    host: Arc<Host>,
    cell: Arc<Completion>,
    asked_for_end: AtomicBool,
    seen: AtomicBool,
    /// Its value or its exception, once somebody has asked.
    end: Decoding,
    /// Weak references to the tasks among the call's arguments, where there are any.
    needs: OnceLock<Py<PyList>>,
    /// What the call was given, as far as that is remembered; refers to nothing that could refer back.
    given: OnceLock<Py<PyAny>>,
}

impl Task {
    pub(crate) fn cell(&self) -> &Arc<Completion> {
        &self.cell
    }

    pub(crate) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Remember what the call was given to wait for, without keeping it.
    pub(crate) fn remember_needs(slf: &Bound<'_, Self>, tasks: &[Bound<'_, Self>]) -> PyResult<()> {
        let needs = tasks
            .iter()
            .map(|task| PyWeakrefReference::new(task.as_any()))
            .collect::<PyResult<Vec<_>>>()?;
        let _ = slf.get().needs.set(PyList::new(slf.py(), needs)?.unbind());
        Ok(())
    }

    /// Remember what the call was given; see [`crate::call_arguments`].
    pub(crate) fn remember_given(&self, given: Bound<'_, PyAny>) {
        let _ = self.given.set(given.unbind());
    }

    /// The runtime that runs it, once known.
    fn runner(&self) -> Option<RuntimeId> {
        self.host()
            .engine
            .runner_of(self.cell().id, self.cell().callee.tessera)
    }

    pub(crate) fn reached(&self, stage: Stage) -> bool {
        self.cell().reached(stage)
    }

    /// Set in motion what it takes to reach the stage.
    pub(crate) fn ask(&self, stage: Stage) {
        let engine = &self.host().engine;
        if self.cell().borrowed
            && !self.cell().ended()
            && !self.asked_for_end.swap(true, Ordering::AcqRel)
        {
            engine.request_outcome(self.cell(), Want::End);
        }
        if stage == Stage::Value && self.cell().ended() {
            engine.request_value(self.cell());
        }
    }

    /// What came of an ended task: its value, or the exception to raise. Decoded for the first who asks.
    fn end<'py>(slf: &Bound<'py, Self>) -> PyResult<Decoded<'py>> {
        let task = slf.get();
        task.end.get_or(slf.py(), || {
            let decoded = Self::decode(slf)?;
            let (Ok(object) | Err(object)) = &decoded;
            // SAFETY: a live object's type.
            if unsafe { ffi::PyType_IS_GC(object.get_type_ptr()) } != 0 {
                watch(slf);
            }
            Ok(decoded)
        })
    }

    fn decode<'py>(slf: &Bound<'py, Self>) -> PyResult<Decoded<'py>> {
        let (py, task) = (slf.py(), slf.get());
        let failure = task.cell().look(|outcome| match outcome {
            Some(Outcome::Failed(failure)) => Some(failure.clone()),
            _ => None,
        });
        if let Some(failure) = failure {
            return failure_exception(py, &failure).map(Err);
        }
        let decoded = match decode_value(py, Self::payload(slf)?) {
            Ok(value) => Ok(value),
            // How the value is, rather than how this process is at the moment: it would be so again.
            Err(error)
                if error.is_instance_of::<PyException>(py)
                    && !error.is_instance_of::<PyMemoryError>(py) =>
            {
                Err(task.note_rebuilding(py, &error))
            }
            Err(error) => return Err(error),
        };
        task.cell().forget_value();
        Ok(decoded)
    }

    /// An error of the value's own unpickling, which shows where it was raised however often it is raised again.
    fn note_rebuilding<'py>(&self, py: Python<'py>, error: &PyErr) -> Bound<'py, PyAny> {
        let exception = error.value(py).clone().into_any();
        let callee = &self.cell().callee;
        let (class, method) = (&callee.class, &callee.method);
        let frames = error
            .traceback(py)
            .and_then(|traceback| traceback.format().ok())
            .unwrap_or_default();
        let note =
            format!("\nraised while the result of {class}.{method} was rebuilt here:\n{frames}");
        // What is no usual exception is raised without it.
        let _ = exception.call_method1(pyo3::intern!(py, "add_note"), (note.trim_end(),));
        exception
    }

    fn payload(slf: &Bound<'_, Self>) -> PyResult<Payload> {
        slf.get().cell().value().ok_or_else(|| {
            MosaicError::new_err(
                "the value of the task is not here: it was read as the result of a task before",
            )
        })
    }

    /// A value of the caller's own, of a task that has reached [`Stage::Value`] and keeps its value.
    pub(crate) fn fresh<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::check(slf)?;
        decode_value(slf.py(), Self::payload(slf)?)
    }

    /// The exception of a failed task.
    fn exception<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let task = slf.get();
        task.seen.store(true, Ordering::Release);
        if task.cell().failure_kind().is_none() {
            return Ok(None);
        }
        Ok(Self::end(slf)?.err())
    }

    /// Raise the exception of a failed task.
    pub(crate) fn check(slf: &Bound<'_, Self>) -> PyResult<()> {
        match Self::exception(slf)? {
            None => Ok(()),
            Some(exception) => Err(to_raise(&exception)),
        }
    }

    /// The value of a task that has reached [`Stage::Value`].
    pub(crate) fn value<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.get().seen.store(true, Ordering::Release);
        Self::end(slf)?.map_err(|exception| to_raise(&exception))
    }

    /// Refuse a wait that could not end: of a tessera for itself, of a worker's main thread for itself.
    pub(crate) fn check_deadlock(&self, py: Python<'_>, blocking: bool) -> PyResult<()> {
        if self.cell().ended() {
            return Ok(());
        }
        if blocking
            && cached!(py, "asyncio", "_get_running_loop")?
                .call0()?
                .is_truthy()?
        {
            return Err(MosaicError::new_err(
                "task.wait() on the thread of a running event loop would stop the loop that brings the answer: use `await task.result()`",
            ));
        }
        let callee = &self.cell().callee;
        if callee.runs
            && self
                .host()
                .waits_for_itself(py, self.cell().id, callee.tessera, blocking)?
        {
            let (class, method) = (&callee.class, &callee.method);
            return Err(MosaicError::new_err(format!(
                "waiting here for {class}.{method} is waiting for itself: it can only run after the call that waits. \
                     Return the task instead of waiting, call the method directly, or give the tessera `is_async=True`"
            )));
        }
        Ok(())
    }
}

/// An exception that may have been raised before: each raise begins a traceback of its own.
fn to_raise(exception: &Bound<'_, PyAny>) -> PyErr {
    let py = exception.py();
    let bare = exception.call_method1(pyo3::intern!(py, "with_traceback"), (py.None(),));
    bare.map_or_else(|error| error, PyErr::from_value)
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.seen.load(Ordering::Acquire) && !self.cell.borrowed {
            self.host.engine.abandon(&self.cell);
        }
        let precious = self.cell.is_precious(MSGPACK);
        self.host
            .engine
            .release(ObjectId::Task(self.cell.id), precious);
    }
}

#[pymethods]
impl Task {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        Err(PyTypeError::new_err(
            "tasks are made by calling methods of proxies",
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(needs) = self.needs.get() {
            visit.call(needs)?;
        }
        self.end.traverse(&visit)
    }

    fn __clear__(&self) {
        self.end.clear();
    }

    #[getter]
    fn id(&self) -> (u32, u64) {
        let id = self.cell().id;
        (id.owner.0, id.sequence)
    }

    #[getter]
    fn tessera(&self) -> (u32, u64) {
        let id = self.cell().callee.tessera;
        (id.owner.0, id.sequence)
    }

    #[getter]
    fn tessera_name(&self) -> String {
        self.cell().callee.class.to_string()
    }

    #[getter(host)]
    fn host_runtime(&self) -> Option<u32> {
        self.runner().map(|runner| runner.0)
    }

    /// The runtime that runs it; blocks until that is decided.
    fn wait_placed(&self, py: Python<'_>) -> PyResult<u32> {
        match self.runner() {
            Some(runner) => Ok(runner.0),
            None => self
                .host()
                .wait_placed(py, self.cell().callee.tessera)
                .map(|runtime| runtime.0),
        }
    }

    #[getter]
    fn borrowed(&self) -> bool {
        self.cell().borrowed
    }

    #[getter]
    fn method(&self) -> String {
        self.cell().callee.method.to_string()
    }

    #[getter]
    fn state(&self) -> &'static str {
        if !self.cell().ended() {
            return if self.runner().is_some() {
                "queued"
            } else {
                "pending"
            };
        }
        match self.cell().failure_kind() {
            None => "done",
            Some(FailureKind::Cancelled) => "cancelled",
            Some(_) => "failed",
        }
    }

    #[getter]
    fn ended(&self) -> bool {
        self.ask(Stage::End);
        self.cell().ended()
    }

    /// The tasks among the call's arguments that somebody still holds.
    #[getter]
    fn needs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let held = PyList::empty(py);
        for reference in self
            .needs
            .get()
            .map(|needs| needs.bind(py))
            .into_iter()
            .flatten()
        {
            let task = reference.call0()?;
            if !task.is_none() {
                held.append(task)?;
            }
        }
        Ok(held)
    }

    /// What the call was given, as [`crate::call_arguments`] has put it down; None for nothing.
    #[getter]
    fn given(&self) -> Option<&Py<PyAny>> {
        self.given.get()
    }

    #[getter]
    fn nbytes(&self) -> Option<u64> {
        self.cell().size()
    }

    fn __await__(slf: Bound<'_, Self>) -> Waiting {
        Waiting::new(Target::Task(slf.unbind()), Stage::End)
    }

    fn result(slf: Bound<'_, Self>) -> TaskResult {
        TaskResult::new(slf.unbind(), false)
    }

    /// Awaitable as `result` is; gives each who asks a value of its own.
    fn fresh_result(slf: Bound<'_, Self>) -> TaskResult {
        TaskResult::new(slf.unbind(), true)
    }

    #[pyo3(signature = (timeout = None))]
    pub(crate) fn wait<'py>(
        slf: &Bound<'py, Self>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::wait_for_value(slf, timeout)?;
        Self::value(slf)
    }

    #[pyo3(signature = (timeout = None))]
    fn wait_ended(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        self.check_deadlock(py, true)?;
        self.ask(Stage::End);
        self.block(py, Stage::End, deadline(timeout))
    }

    fn failure<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        Self::exception(slf)
    }

    /// A task that ends when this call has reached its worker; fails as the call did if it did not get there.
    fn arrival(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let host = self.host();
        make_task(py, host, host.engine.delivery(self.cell().id))
    }

    fn cancel(&self) -> bool {
        if self.cell().ended() || self.cell().borrowed {
            return false;
        }
        self.seen.store(true, Ordering::Release);
        self.host().engine.cancel(self.cell().id);
        true
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "an argument of a Python method"
    )]
    fn subscribe(slf: &Bound<'_, Self>, future: Py<PyAny>) -> PyResult<Subscription> {
        let (py, task) = (slf.py(), slf.get());
        watch(slf);
        task.ask(Stage::End);
        let (_, mailbox) = task.host().loops.of_running_loop(py)?;
        let token = mailbox.get().register(future.clone_ref(py));
        let cell = Arc::clone(task.cell());
        let waiter = Waiter::Loop(Arc::clone(&mailbox.get().mailbox), token);
        if cell.subscribe(Stage::End, waiter).is_err() {
            mailbox.get().forget(token);
            resolve(future.bind(py))?;
        }
        Ok(Subscription::new(mailbox.unbind(), token, cell))
    }

    fn subscribe_notice(slf: &Bound<'_, Self>, token: u64) {
        let task = slf.get();
        watch(slf);
        task.ask(Stage::End);
        let notices = Arc::clone(task.host().engine.notices());
        if task
            .cell()
            .subscribe(Stage::End, Waiter::Notice(notices, token))
            .is_err()
        {
            mosaic_runtime::sync::completion::Notify::notify(
                &**task.host().engine.notices(),
                token,
            );
        }
    }

    fn unsubscribe_notice(&self, token: u64) {
        self.cell().unsubscribe_notice(token);
    }

    /// How many wait for it here.
    #[getter]
    fn waiters(&self) -> usize {
        self.cell().waiters()
    }

    fn note(&self) {
        let id = self.cell().id;
        crate::encode::note(Reference {
            object: ObjectId::Task(id),
            authority: id.owner,
        });
    }
}

impl Task {
    /// Block until the value is here, encoded.
    pub(crate) fn wait_for_value(slf: &Bound<'_, Self>, timeout: Option<f64>) -> PyResult<()> {
        let (py, task) = (slf.py(), slf.get());
        task.check_deadlock(py, true)?;
        let deadline = deadline(timeout);
        for stage in [Stage::End, Stage::Value] {
            task.ask(stage);
            task.block(py, stage, deadline)?;
        }
        Ok(())
    }

    fn block(&self, py: Python<'_>, stage: Stage, deadline: Option<Instant>) -> PyResult<()> {
        block(py, || self.host().engine.wait(self.cell(), stage, deadline))
    }
}
