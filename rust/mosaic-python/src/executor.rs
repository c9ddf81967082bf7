//! The executor that runs Python: plain calls on the main thread, coroutines on an event loop.
//!
//! `run` and `cancel_running` come from threads that hold the engine's lock and must not take the GIL: they only
//! queue. The main lane is the thread that called `run_main_lane`; the coroutine lane is whichever loop was
//! attached, woken through a mailbox. Living objects are touched by these two threads, with the GIL (`EXE-1`).

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use mosaic_core::call::{CallKind, Outcome, ReadyCall};
use mosaic_core::id::{TaskId, TesseraId};
use mosaic_runtime::executor::lane::{Job, Lane};
use mosaic_runtime::executor::{AcceptedCall, CallState, Executor};
use mosaic_runtime::sync::mailbox::Mailbox;
use mosaic_runtime::sync::signal::Signal;
use mosaic_runtime::sync::{Mutex, Rank};
use mosaic_runtime::telemetry::{self, Recorder, Run};
use pyo3::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::asyncio::remove_reader;
use crate::call_context;
use crate::coroutine::{Runner, RunningCoroutine, context_of, context_variable, copy_context};
use crate::encode::HeldReferences;
use crate::errors::RuntimeDisconnectedError;
use crate::hooks::cached;
use crate::host::Host;
use crate::store;
use crate::waiting::detach;

/// Something for the coroutine lane to do.
pub(crate) enum CoroutineJob {
    Run(AcceptedCall),
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
    recorder: OnceLock<Arc<Recorder>>,
    main: Lane,
    pub(crate) coroutines: Arc<Mailbox<CoroutineJob>>,
    /// Plain calls go to the attached loop too.
    both: AtomicBool,
    stopped: AtomicBool,
    pub(crate) objects: Mutex<FxHashMap<TesseraId, Py<PyAny>>>,
    pub(crate) concurrent: Mutex<FxHashSet<TesseraId>>,
    /// The living results that `task.remote` may ask for; the engine has the others, encoded.
    pub(crate) results: Mutex<FxHashMap<TaskId, Py<PyAny>>>,
    /// Coroutine calls that wait for a runner.
    waiting: Mutex<VecDeque<AcceptedCall>>,
    /// A runner that no coroutine has for itself is scheduled or runs.
    has_runner: AtomicBool,
    /// The asyncio tasks of coroutines that have given up their turn.
    suspended: Mutex<FxHashMap<TaskId, Py<PyAny>>>,
    /// What the contexts of a tessera's coroutines are copied from.
    contexts: Mutex<FxHashMap<TesseraId, Py<PyAny>>>,
    event_loop: Mutex<Option<Py<PyAny>>>,
    attached: Signal,
}

impl PythonExecutor {
    pub(crate) fn new(_py: Python<'_>) -> PyResult<Arc<Self>> {
        Ok(Arc::new(Self {
            host: OnceLock::new(),
            recorder: OnceLock::new(),
            main: Lane::new()?,
            coroutines: Arc::new(Mailbox::new(Signal::new()?)),
            both: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            objects: Mutex::with_default(Rank::LivingObjects),
            concurrent: Mutex::with_default(Rank::ConcurrentTesserae),
            results: Mutex::with_default(Rank::LivingResults),
            waiting: Mutex::with_default(Rank::WaitingCoroutines),
            has_runner: AtomicBool::new(false),
            suspended: Mutex::with_default(Rank::SuspendedCoroutines),
            contexts: Mutex::with_default(Rank::CoroutineContexts),
            event_loop: Mutex::with_default(Rank::EventLoop),
            attached: Signal::new()?,
        }))
    }

    pub(crate) fn belong_to(&self, host: &Arc<Host>) {
        let _ = self.host.set(Arc::downgrade(host));
        let _ = self.recorder.set(Arc::clone(host.engine.recorder()));
    }

    pub(crate) fn host(&self) -> Option<Arc<Host>> {
        self.host.get().and_then(Weak::upgrade)
    }

    /// What records a profile, while it does.
    pub(crate) fn recorder(&self) -> Option<&Recorder> {
        let recorder = self.recorder.get()?;
        recorder.on().then_some(&**recorder)
    }

    /// The same, to be kept.
    pub(crate) fn recorder_handle(&self) -> Option<&Arc<Recorder>> {
        self.recorder.get().filter(|recorder| recorder.on())
    }

    /// The engine has stopped: drop what still lives.
    pub(crate) fn clear(&self, py: Python<'_>) {
        let objects = std::mem::take(&mut *self.objects.lock());
        let results = std::mem::take(&mut *self.results.lock());
        let contexts = std::mem::take(&mut *self.contexts.lock());
        let suspended = std::mem::take(&mut *self.suspended.lock());
        let event_loop = self.event_loop.lock().take();
        if self.both.load(Ordering::Acquire)
            && let Some(event_loop) = &event_loop
        {
            // The program's own loop, which goes on without us.
            remove_reader(event_loop.bind(py), self.coroutines.wake().descriptor());
        }
        drop((objects, results, contexts));
        if self.both.load(Ordering::Acquire) {
            for own in suspended.into_values() {
                // Nobody waits for it any more: that is nothing for asyncio to report.
                let _ = own.setattr(py, pyo3::intern!(py, "_log_destroy_pending"), false);
            }
        } else {
            // The process ends: what a coroutine would do on its being closed has nobody to do it for.
            std::mem::forget(suspended);
        }
        drop(event_loop);
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
        Ok(own && !tessera.is_functions() && !self.concurrent.lock().contains(&tessera))
    }

    // ---- the main lane ---------------------------------------------------------------------------

    pub(crate) fn run_main_lane(self: &Arc<Self>, py: Python<'_>) {
        MAIN_LANE.set(true);
        let mut batch = VecDeque::new();
        let Some(host) = self.host() else { return };
        while detach(py, || host.engine.take_jobs(&self.main, &mut batch)) {
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
            Job::Run(AcceptedCall { ready, state }) => {
                let (task, tessera) = (ready.call.task, ready.call.tessera);
                if state.begin() {
                    let outer = RUNNING.replace(Some(tessera));
                    let profiled = self.recorder().map(|recorder| recorder.began(task, false));
                    let mut brought = Vec::new();
                    let (outcome, held) = self.run_plain(py, ready, &mut brought);
                    if let Some(before) = profiled {
                        self.ended(&outcome, before);
                    }
                    RUNNING.set(outer);
                    // What was lent to it is given back before its end is known, as whoever waits for memory counts on,
                    // and in the same batch: on its own that would wake the I/O thread, which would send the end then.
                    store::releasing_together(|| drop(brought));
                    self.finish(task, state, outcome, last());
                    drop(held);
                }
            }
            Job::DropTessera(tessera) => {
                let object = self.objects.lock().remove(&tessera);
                self.concurrent.lock().remove(&tessera);
                let context = self.contexts.lock().remove(&tessera);
                drop((object, context));
            }
            Job::DropResult(task) => {
                let living = self.results.lock().remove(&task);
                drop(living);
            }
        }
    }

    /// The call that this thread runs has ended, for the profile; it goes on with what it ran before.
    pub(crate) fn ended(&self, outcome: &Outcome, before: Run) {
        if let Some(recorder) = self.recorder() {
            recorder.ended(outcome, before);
        } else {
            telemetry::resume(before);
        }
    }

    /// Report the end of a plain call.
    fn finish(&self, task: TaskId, state: CallState, outcome: Outcome, last: bool) {
        state.end(&outcome);
        if let Some(host) = self.host() {
            host.engine.finish(task, outcome, last);
        }
    }

    /// The same for a coroutine, by whose end another may start.
    pub(crate) fn finish_between(&self, task: TaskId, state: CallState, outcome: Outcome) {
        state.end(&outcome);
        if let Some(host) = self.host() {
            host.engine.finish_between(task, outcome);
        }
    }

    fn run_plain<'py>(
        self: &Arc<Self>,
        py: Python<'py>,
        ready: ReadyCall,
        brought: &mut Vec<Bound<'py, PyAny>>,
    ) -> (Outcome, HeldReferences) {
        let (task, kind) = (ready.call.task, ready.call.kind);
        let result = self.invoke(py, ready, brought).and_then(|value| {
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
            if let Some(event_loop) = self.attached_loop(py) {
                break event_loop;
            }
            if self.stopped.load(Ordering::Acquire) {
                let message = "the runtime stopped before the coroutine could run";
                return Err(RuntimeDisconnectedError::new_err(message));
            }
            self.coroutines.rouse();
            detach(py, || self.attached.wait(None)).ok();
        };
        let future =
            cached!(py, "asyncio", "run_coroutine_threadsafe")?.call1((coroutine, event_loop))?;
        future.call_method0(pyo3::intern!(py, "result"))
    }

    // ---- the coroutine lane ----------------------------------------------------------------------

    /// Block until something is there for the coroutine lane; false if the engine stopped instead.
    pub(crate) fn wait_coroutine(&self, py: Python<'_>) -> bool {
        let woken = detach(py, || self.coroutines.wake().wait(None));
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
        let former = self.event_loop.lock().replace(event_loop);
        drop(former);
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

    fn attached_loop(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let event_loop = self.event_loop.lock();
        event_loop
            .as_ref()
            .map(|event_loop| event_loop.clone_ref(py))
    }

    /// Take in what has come, and have what waits run; on the loop's thread.
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
        self.take_in(py, batch);
        if self.waiting.lock().is_empty() || self.has_runner.load(Ordering::Acquire) {
            return Ok(());
        }
        if let Some(event_loop) = self.attached_loop(py) {
            let runner = Bound::new(py, Runner::new(Arc::clone(self)))?;
            event_loop.call_method1(py, pyo3::intern!(py, "create_task"), (runner,))?;
            self.has_runner.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn take_in(&self, py: Python<'_>, batch: Vec<CoroutineJob>) {
        for job in batch {
            match job {
                CoroutineJob::Run(ready) => self.waiting.lock().push_back(ready),
                CoroutineJob::Cancel(task) => {
                    let running = self
                        .suspended
                        .lock()
                        .get(&task)
                        .map(|running| running.clone_ref(py));
                    let cancelled = running
                        .map(|running| running.call_method0(py, pyo3::intern!(py, "cancel")));
                    if let Some(Err(error)) = cancelled {
                        error.write_unraisable(py, None);
                    }
                }
            }
        }
    }

    /// The next coroutine call for the runner that asks. Nobody needs to be woken for what comes from here on:
    /// the runner asks again, or says that it leaves.
    pub(crate) fn next_coroutine(&self, py: Python<'_>) -> Option<AcceptedCall> {
        let next = || self.waiting.lock().pop_front();
        if let Some(ready) = next() {
            return Some(ready);
        }
        let mut batch = Vec::new();
        self.coroutines.take(&mut batch);
        self.take_in(py, batch);
        next()
    }

    /// The runner starts no more calls: another one does, as soon as there is something to do.
    pub(crate) fn runner_left(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        self.has_runner.store(false, Ordering::Release);
        self.drain_coroutines(py)
    }

    /// Begin a coroutine call; `None` if it has ended by that already, or must not begin.
    pub(crate) fn begin_coroutine(
        &self,
        py: Python<'_>,
        accepted: AcceptedCall,
    ) -> Option<RunningCoroutine> {
        let AcceptedCall { ready, state } = accepted;
        let (task, tessera, kind) = (ready.call.task, ready.call.tessera, ready.call.kind);
        if !state.begin() {
            return None;
        }
        let outer = RUNNING.replace(Some(tessera));
        let profiled = self.recorder().map(|recorder| recorder.began(task, true));
        let invoked = self.invoke(py, ready, &mut Vec::new());
        RUNNING.set(outer);
        let run = profiled.map(telemetry::resume);
        let begun = invoked.and_then(|value| {
            if !value.is_instance(cached!(py, "types", "CoroutineType")?)? {
                return Ok(Err(value));
            }
            let context = self.context(py, tessera)?;
            call_context::pass_on(py, &context)?;
            Ok(Ok((value.unbind(), context)))
        });
        // Not a coroutine after all, or an attribute that was read past a running call.
        let ended = match begun {
            Ok(Ok((coroutine, context))) => {
                return Some(RunningCoroutine {
                    task,
                    state,
                    kind,
                    coroutine,
                    context,
                    run,
                    traced: AtomicBool::new(false),
                });
            }
            Ok(Err(value)) => Ok(value),
            Err(error) => Err(error),
        };
        let before = run.map(telemetry::resume);
        let (outcome, held) = self.outcome(py, task, kind, ended);
        if let Some(before) = before {
            self.ended(&outcome, before);
        }
        self.finish_between(task, state, outcome);
        drop(held);
        None
    }

    /// A fresh context for a coroutine of that tessera.
    fn context(&self, py: Python<'_>, tessera: TesseraId) -> PyResult<Py<PyAny>> {
        let known = self
            .contexts
            .lock()
            .get(&tessera)
            .map(|context| context.clone_ref(py));
        let template = if let Some(known) = known {
            known
        } else {
            // Without the lock, here and below: whatever allocates may collect, and run anything.
            let made = context_of(py, tessera)?;
            let earlier = self.contexts.lock().insert(tessera, made.clone_ref(py));
            drop(earlier);
            made
        };
        copy_context(py, &template)
    }

    /// A coroutine has given up its turn; the asyncio task is its own.
    pub(crate) fn suspended(&self, task: TaskId, own: Py<PyAny>) {
        let earlier = self.suspended.lock().insert(task, own);
        drop(earlier);
    }

    /// Such a coroutine has ended.
    pub(crate) fn resumed_to_its_end(&self, task: TaskId) {
        let own = self.suspended.lock().remove(&task);
        drop(own);
    }
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
    fn run(&self, calls: &mut Vec<AcceptedCall>) {
        let both = self.both.load(Ordering::Acquire);
        let mut plain = Vec::new();
        for call in calls.drain(..) {
            if call.ready.call.coroutine || call.ready.call.kind == CallKind::GetAttributeNow {
                self.coroutines.push(CoroutineJob::Run(call));
            } else {
                plain.push(Job::Run(call));
            }
        }
        if !plain.is_empty() {
            self.main.push(plain);
            if both {
                self.coroutines.rouse();
            }
        }
    }

    fn cancel_running(&self, task: TaskId) {
        // A plain call is not among the lane's coroutines and runs on.
        self.coroutines.push(CoroutineJob::Cancel(task));
    }

    fn drop_tessera(&self, tessera: TesseraId) {
        self.main.push([Job::DropTessera(tessera)]);
        if self.both.load(Ordering::Acquire) {
            self.coroutines.rouse();
        }
    }

    fn drop_result(&self, task: TaskId) {
        if self.results.lock().contains_key(&task) {
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
