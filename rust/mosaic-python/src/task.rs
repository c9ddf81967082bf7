//! Tasks as Python sees them: awaiting, waiting, outputs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mosaic_core::call::{FailureKind, Outcome};
use mosaic_core::event::Want;
use mosaic_core::id::{ObjectId, RuntimeId};
use mosaic_core::payload::Reference;
use mosaic_runtime::cell::{Group, Stage, TaskCell, Waiter};
use mosaic_runtime::engine::EngineError;
use pyo3::exceptions::{PyStopIteration, PyTimeoutError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::decode::decode_value;
use crate::encode::{MSGPACK, encode_value};
use crate::engine::{Host, engine_error};
use crate::hooks::{cached, error, hooks};
use crate::loops::resolve;

/// The rest of a task's making, left here for `Task.__new__` by whoever makes it.
pub(crate) struct Seed {
    pub(crate) host: Arc<Host>,
    pub(crate) cell: Arc<TaskCell>,
}

thread_local! {
    static SEED: std::cell::Cell<Option<Seed>> = const { std::cell::Cell::new(None) };
}

/// Make a task of the class that Python told us.
pub(crate) fn make_task(
    py: Python<'_>,
    host: &Arc<Host>,
    cell: Arc<TaskCell>,
) -> PyResult<Py<PyAny>> {
    SEED.set(Some(Seed {
        host: Arc::clone(host),
        cell,
    }));
    let made = hooks(py)?.task_type.bind(py).call0();
    SEED.take();
    Ok(made?.unbind())
}

/// One call: a handle on its end and its value.
#[pyclass(frozen, subclass, weakref, module = "mosaic._core")]
pub(crate) struct Task {
    seed: Seed,
    /// Passed to this process rather than made here.
    borrowed: bool,
    asked_for_end: AtomicBool,
    seen: AtomicBool,
    value: Mutex<Option<Py<PyAny>>>,
    failure: OnceLock<Py<PyAny>>,
}

impl Task {
    pub(crate) fn cell(&self) -> &Arc<TaskCell> {
        &self.seed.cell
    }

    fn host(&self) -> &Arc<Host> {
        &self.seed.host
    }

    /// The runtime that runs it, once known.
    fn runner(&self) -> Option<RuntimeId> {
        self.host()
            .engine
            .runner_of(self.cell().id, self.cell().tessera)
    }

    fn reached(&self, stage: Stage) -> bool {
        self.cell().reached(stage)
    }

    /// Set in motion what it takes to reach the stage.
    fn ask(&self, stage: Stage) {
        let engine = &self.host().engine;
        if self.borrowed && !self.cell().ended() && !self.asked_for_end.swap(true, Ordering::AcqRel)
        {
            engine.want(self.cell(), Want::End);
        }
        if stage == Stage::Value && self.cell().ended() {
            engine.want_value(self.cell());
        }
    }

    /// The exception of a failed task.
    fn exception<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.seen.store(true, Ordering::Release);
        if let Some(failure) = self.failure.get() {
            return Ok(Some(failure.bind(py).clone()));
        }
        let failure = self.cell().look(|outcome| match outcome {
            Some(Outcome::Failed(failure)) => Some(failure.clone()),
            _ => None,
        });
        let Some(failure) = failure else {
            return Ok(None);
        };
        let kind = match failure.kind {
            FailureKind::Raised => "raised",
            FailureKind::Cancelled => "cancelled",
            FailureKind::TimedOut => "timed_out",
            FailureKind::Disconnected => "disconnected",
            FailureKind::Stopped => "stopped",
            FailureKind::ObjectLost => "object_lost",
            FailureKind::Rejected => "rejected",
            FailureKind::Internal => "internal",
        };
        let detail = (!failure.detail.body.is_empty()).then_some(&failure.detail.body[..]);
        let exception = hooks(py)?.decode_failure.bind(py).call1((
            kind,
            &failure.message,
            &failure.context,
            detail,
        ))?;
        Ok(Some(
            self.failure
                .get_or_init(|| exception.unbind())
                .bind(py)
                .clone(),
        ))
    }

    /// Raise the exception of a failed task.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        match self.exception(py)? {
            None => Ok(()),
            Some(exception) => {
                // Each raise begins a traceback of its own.
                let exception =
                    exception.call_method1(pyo3::intern!(py, "with_traceback"), (py.None(),))?;
                Err(PyErr::from_value(exception))
            }
        }
    }

    /// The value of a task that has reached [`Stage::Value`].
    fn value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.check(py)?;
        let known = lock(&self.value).as_ref().map(|value| value.clone_ref(py));
        if let Some(value) = known {
            return Ok(value.into_bound(py));
        }
        let Some(payload) = self.cell().take_value() else {
            return Err(error(
                py,
                "MosaicError",
                "the value of the task was taken by somebody else",
            ));
        };
        let value = decode_value(py, payload)?;
        let mut slot = lock(&self.value);
        Ok(slot
            .get_or_insert_with(|| value.clone().unbind())
            .bind(py)
            .clone())
    }

    /// Refuse a wait that could not end: of a tessera for itself, of a worker's main thread for itself.
    fn check_deadlock(&self, py: Python<'_>, blocking: bool) -> PyResult<()> {
        if self.cell().ended() {
            return Ok(());
        }
        if blocking
            && cached!(py, "asyncio", "_get_running_loop")?
                .call0()?
                .is_truthy()?
        {
            return Err(error(
                py,
                "MosaicError",
                "task.wait() on the thread of a running event loop would stop the loop that brings the answer: use `await task.result()`",
            ));
        }
        let cell = self.cell();
        if self.host().waits_for_itself(py, cell.tessera, blocking)? {
            let (class, method) = (&cell.class, &cell.method);
            return Err(error(
                py,
                "MosaicError",
                &format!(
                    "waiting here for {class}.{method} is waiting for itself: it can only run after the call that waits. \
                     Return the task instead of waiting, call the method directly, or give the tessera `is_async=True`"
                ),
            ));
        }
        Ok(())
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Task {
    fn drop(&mut self) {
        let cell = &self.seed.cell;
        if !self.seen.load(Ordering::Acquire) && !self.borrowed {
            self.seed.host.engine.abandon(cell);
        }
        self.seed
            .host
            .engine
            .release(ObjectId::Task(cell.id), cell.is_precious(MSGPACK));
    }
}

#[pymethods]
impl Task {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let seed = SEED
            .take()
            .ok_or_else(|| PyTypeError::new_err("tasks are made by calling methods of proxies"))?;
        Ok(Self {
            borrowed: seed.cell.borrowed,
            asked_for_end: AtomicBool::new(false),
            seed,
            seen: AtomicBool::new(false),
            value: Mutex::new(None),
            failure: OnceLock::new(),
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(value) = self.value.try_lock()
            && let Some(value) = value.as_ref()
        {
            visit.call(value)?;
        }
        if let Some(failure) = self.failure.get() {
            visit.call(failure)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        if let Ok(mut value) = self.value.try_lock() {
            drop(value.take());
        }
    }

    #[getter]
    fn id(&self) -> (u32, u64) {
        let id = self.cell().id;
        (id.owner.0, id.sequence)
    }

    #[getter]
    fn tessera(&self) -> (u32, u64) {
        let id = self.cell().tessera;
        (id.owner.0, id.sequence)
    }

    #[getter]
    fn tessera_name(&self) -> String {
        self.cell().class.to_string()
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
                .wait_placed(py, self.cell().tessera)
                .map(|runtime| runtime.0),
        }
    }

    #[getter]
    fn method(&self) -> String {
        self.cell().method.to_string()
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

    #[getter]
    fn nbytes(&self) -> Option<u64> {
        self.cell().size()
    }

    fn __await__(slf: Bound<'_, Self>) -> Waiting {
        Waiting::new(Target::Task(slf.unbind()), Stage::End)
    }

    fn result(slf: Bound<'_, Self>) -> TaskResult {
        TaskResult { task: slf.unbind() }
    }

    #[pyo3(signature = (timeout = None))]
    fn wait<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        self.check_deadlock(py, true)?;
        let deadline = deadline(timeout);
        for stage in [Stage::End, Stage::Value] {
            self.ask(stage);
            self.block(py, stage, deadline)?;
        }
        self.value(py)
    }

    #[pyo3(signature = (timeout = None))]
    fn wait_ended(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        self.check_deadlock(py, true)?;
        self.ask(Stage::End);
        self.block(py, Stage::End, deadline(timeout))
    }

    fn failure<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.exception(py)
    }

    fn cancel(&self) -> bool {
        if self.cell().ended() || self.borrowed {
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
    fn subscribe(&self, py: Python<'_>, future: Py<PyAny>) -> PyResult<()> {
        self.ask(Stage::End);
        let (_, mailbox) = self.host().loops.of_running_loop(py)?;
        let token = mailbox.get().register(future.clone_ref(py));
        if self
            .cell()
            .subscribe(
                Stage::End,
                Waiter::Loop(Arc::clone(&mailbox.get().mailbox), token),
            )
            .is_err()
        {
            mailbox.get().forget(token);
            resolve(future.bind(py))?;
        }
        Ok(())
    }

    fn subscribe_notice(&self, token: u64) {
        self.ask(Stage::End);
        let notices = Arc::clone(self.host().engine.notices());
        if self
            .cell()
            .subscribe(Stage::End, Waiter::Notice(notices, token))
            .is_err()
        {
            mosaic_runtime::cell::Notify::notify(&**self.host().engine.notices(), token);
        }
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
    fn block(&self, py: Python<'_>, stage: Stage, deadline: Option<Instant>) -> PyResult<()> {
        block(py, || self.host().engine.wait(self.cell(), stage, deadline))
    }
}

/// Block without the GIL; run Python's signal handlers when a signal interrupts.
pub(crate) fn block(
    py: Python<'_>,
    wait: impl Fn() -> Result<(), EngineError> + Sync,
) -> PyResult<()> {
    loop {
        match py.detach(&wait) {
            Ok(()) => return Ok(()),
            Err(EngineError::Interrupted) => py.check_signals()?,
            Err(EngineError::TimedOut) => {
                return Err(PyTimeoutError::new_err(
                    "the time passed before the answer came",
                ));
            }
            Err(other) => return Err(engine_error(py, &other)),
        }
    }
}

/// The moment at which a wait of that many seconds ends.
pub(crate) fn deadline(timeout: Option<f64>) -> Option<Instant> {
    let timeout = Duration::try_from_secs_f64(timeout?.max(0.0)).ok()?;
    Instant::now().checked_add(timeout)
}

/// What a wait is for.
enum Target {
    Task(Py<Task>),
    Value(Py<Task>),
    Gather(Py<Gather>),
}

/// The iterator behind `await`: yields a future of the running loop at most once a stage.
#[pyclass(module = "mosaic._core")]
pub(crate) struct Waiting {
    target: Target,
    stage: Stage,
    future: Option<Py<PyAny>>,
}

impl Waiting {
    fn new(target: Target, stage: Stage) -> Self {
        Self {
            target,
            stage,
            future: None,
        }
    }

    /// Subscribe a future; false if there is nothing to wait for.
    fn subscribe(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let host = match &self.target {
            Target::Task(task) | Target::Value(task) => {
                let task = task.get();
                task.ask(self.stage);
                if task.reached(self.stage) {
                    return Ok(None);
                }
                task.check_deadlock(py, false)?;
                Arc::clone(task.host())
            }
            Target::Gather(gather) => {
                let Some(host) = gather.get().ask(py, self.stage) else {
                    return Ok(None);
                };
                host
            }
        };
        let (event_loop, mailbox) = host.loops.of_running_loop(py)?;
        let future = event_loop.call_method0(pyo3::intern!(py, "create_future"))?;
        let token = mailbox.get().register(future.clone().unbind());
        let waiter = Waiter::Loop(Arc::clone(&mailbox.get().mailbox), token);
        match &self.target {
            Target::Task(task) | Target::Value(task) => {
                if task.get().cell().subscribe(self.stage, waiter).is_err() {
                    mailbox.get().forget(token);
                    return Ok(None);
                }
            }
            Target::Gather(gather) => gather.get().subscribe(py, self.stage, waiter),
        }
        Ok(Some(future.unbind()))
    }

    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.target {
            Target::Task(task) => {
                task.get().check(py)?;
                Ok(task.bind(py).clone().into_any())
            }
            Target::Value(task) => task.get().value(py),
            Target::Gather(gather) => gather.get().collect(py),
        }
    }
}

#[pymethods]
impl Waiting {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        loop {
            if let Some(future) = self.future.take() {
                // Raises if the future was cancelled; its value is None.
                future.call_method0(py, pyo3::intern!(py, "result"))?;
            }
            if let Some(future) = self.subscribe(py)? {
                future.setattr(py, pyo3::intern!(py, "_asyncio_future_blocking"), true)?;
                self.future = Some(future.clone_ref(py));
                return Ok(future);
            }
            if self.stage == Stage::End && self.wants_values() {
                self.stage = Stage::Value;
                continue;
            }
            let value = self.finish(py)?;
            return Err(PyStopIteration::new_err((value.unbind(),)));
        }
    }
}

impl Waiting {
    fn wants_values(&self) -> bool {
        match &self.target {
            Target::Task(_) => false,
            Target::Value(_) => true,
            Target::Gather(gather) => gather.get().values,
        }
    }
}

/// What `task.result()` returns: awaitable, as often as wanted.
#[pyclass(frozen, module = "mosaic._core")]
pub(crate) struct TaskResult {
    task: Py<Task>,
}

#[pymethods]
impl TaskResult {
    fn __await__(&self, py: Python<'_>) -> Waiting {
        Waiting::new(Target::Value(self.task.clone_ref(py)), Stage::End)
    }

    /// Block until the value is here and return it.
    #[pyo3(signature = (timeout = None))]
    fn wait<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        self.task.get().wait(py, timeout)
    }
}

/// A reference to one output of a task, or to its end. One without a task stands for a value that changes: as an
/// argument, its method `read` is asked for a task that reads it.
#[pyclass(frozen, subclass, module = "mosaic._core")]
pub(crate) struct Output {
    pub(crate) task: Option<Py<Task>>,
    key: Option<Py<PyAny>>,
    pub(crate) done: bool,
}

impl Output {
    /// The key as dependencies carry it: empty for the whole.
    pub(crate) fn part(&self, py: Python<'_>) -> PyResult<Bytes> {
        let Some(key) = &self.key else {
            return Ok(Bytes::new());
        };
        let payload = encode_value(key.bind(py))?;
        let mut part = vec![payload.format];
        part.extend_from_slice(&payload.body);
        Ok(part.into())
    }
}

#[pymethods]
impl Output {
    #[new]
    #[pyo3(signature = (task, key = None, *, done = false, whole = false))]
    fn new(task: Option<Py<Task>>, key: Option<Py<PyAny>>, done: bool, whole: bool) -> Self {
        Self {
            task,
            key: if whole || done { None } else { key },
            done,
        }
    }

    #[getter]
    fn task(&self, py: Python<'_>) -> PyResult<Py<Task>> {
        match &self.task {
            Some(task) => Ok(task.clone_ref(py)),
            None => Err(error(
                py,
                "MosaicError",
                "a reference to a value that changes has no task: read it with `await ref.value()`",
            )),
        }
    }

    #[getter]
    fn key(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.key.as_ref().map(|key| key.clone_ref(py))
    }
}

/// Waits for many tasks at the cost of one.
#[pyclass(frozen, module = "mosaic._core")]
pub(crate) struct Gather {
    tasks: Vec<Py<Task>>,
    values: bool,
}

impl Gather {
    /// Set things in motion; the engine's host if there is something to wait for.
    fn ask(&self, py: Python<'_>, stage: Stage) -> Option<Arc<Host>> {
        let mut pending = None;
        for task in &self.tasks {
            let task = task.bind(py).get();
            if task.cell().failure_kind().is_some() {
                return None;
            }
            if !task.reached(stage) {
                task.ask(stage);
                pending = Some(task.host());
            }
        }
        pending.map(Arc::clone)
    }

    fn subscribe(&self, py: Python<'_>, stage: Stage, waiter: Waiter) {
        let group = Group::new(self.tasks.len(), waiter);
        for task in &self.tasks {
            task.bind(py).get().cell().subscribe_group(stage, &group);
        }
    }

    fn collect<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        for task in &self.tasks {
            if task.get().cell().failure_kind().is_some() {
                task.get().check(py)?;
            }
        }
        if !self.values {
            return Ok(PyList::new(py, &self.tasks)?.into_any());
        }
        let values = self
            .tasks
            .iter()
            .map(|task| task.get().value(py))
            .collect::<PyResult<Vec<_>>>()?;
        Ok(PyList::new(py, values)?.into_any())
    }
}

#[pymethods]
impl Gather {
    #[new]
    fn new(tasks: Vec<Py<Task>>, values: bool) -> Self {
        Self { tasks, values }
    }

    fn __await__(slf: Bound<'_, Self>) -> Waiting {
        Waiting::new(Target::Gather(slf.unbind()), Stage::End)
    }

    #[pyo3(signature = (timeout = None))]
    fn wait<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let deadline = deadline(timeout);
        let stages: &[Stage] = if self.values {
            &[Stage::End, Stage::Value]
        } else {
            &[Stage::End]
        };
        for stage in stages {
            for task in &self.tasks {
                task.get().check_deadlock(py, true)?;
            }
            let Some(host) = self.ask(py, *stage) else {
                continue;
            };
            let signal = host
                .engine
                .borrow_signal()
                .map_err(|error| engine_error(py, &error))?;
            self.subscribe(py, *stage, Waiter::Thread(Arc::clone(&signal)));
            let cells: Vec<_> = self
                .tasks
                .iter()
                .map(|task| Arc::clone(task.get().cell()))
                .collect();
            let waited = block(py, || {
                host.engine.wait_for(&signal, deadline, || {
                    let failed = || cells.iter().any(|cell| cell.failure_kind().is_some());
                    (cells.iter().all(|cell| cell.reached(*stage)) || failed()).then_some(())
                })
            });
            host.engine.return_signal(&signal);
            waited?;
        }
        self.collect(py)
    }
}
