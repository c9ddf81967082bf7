//! Waiting for tasks: `await` of one, of its value, of many, and blocking.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mosaic_runtime::engine::EngineError;
use mosaic_runtime::sync::completion::{Group, Stage, Waiter};
use mosaic_runtime::sync::order::assert_none_held;
use pyo3::exceptions::{PyStopIteration, PyTimeoutError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::marker::Ungil;
use pyo3::prelude::*;

use crate::asyncio::LoopMailbox;
use crate::call_context;
use crate::errors::engine_error;
use crate::gather::Gather;
use crate::hooks::cached;
use crate::host::{Host, host_if_any};
use crate::signals::Watch;
use crate::task::Task;

/// Do something without the GIL. The one place of the bindings that lets go of it: a thread that held a lock would wait
/// with it until it has the GIL again (`LOCK-2`, [`mosaic_runtime::sync`]).
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub(crate) fn detach<T: Ungil>(py: Python<'_>, act: impl Ungil + FnOnce() -> T) -> T {
    assert_none_held("the GIL is released");
    py.detach(act)
}

/// Block without the GIL; run Python's signal handlers when a signal interrupts.
pub(crate) fn block<T: Send>(
    py: Python<'_>,
    wait: impl Fn() -> Result<T, EngineError> + Sync,
) -> PyResult<T> {
    let watch = interruptions(py).and_then(|host| host.interruptions.watch(py));
    let result = block_watched(py, &wait, watch.as_ref());
    if let Some(watch) = watch {
        watch.end(py);
    }
    result
}

fn block_watched<T: Send>(
    py: Python<'_>,
    wait: &(impl Fn() -> Result<T, EngineError> + Sync),
    watch: Option<&Watch>,
) -> PyResult<T> {
    // What came before the watch began is not written anywhere.
    py.check_signals()?;
    loop {
        match detach(py, wait) {
            Ok(answer) => return Ok(answer),
            Err(EngineError::Interrupted) => {
                if let Some(watch) = watch {
                    watch.drain();
                }
                py.check_signals()?;
            }
            Err(EngineError::TimedOut) => {
                return Err(PyTimeoutError::new_err(
                    "the time passed before the answer came",
                ));
            }
            Err(other) => return Err(engine_error(&other)),
        }
    }
}

/// The engine whose pipe tells of signals, where this thread may be the one that handles them.
fn interruptions(py: Python<'_>) -> Option<Arc<Host>> {
    thread_local! {
        static IS_MAIN: std::cell::OnceCell<bool> = const { std::cell::OnceCell::new() };
    }
    let is_main = || -> PyResult<bool> {
        let own: u64 = cached!(py, "_thread", "get_ident")?.call0()?.extract()?;
        let threading = py.import("threading")?;
        let main = threading.call_method0("main_thread")?;
        Ok(main.getattr("ident")?.extract::<Option<u64>>()? == Some(own))
    };
    let is_main = IS_MAIN.with(|known| *known.get_or_init(|| is_main().unwrap_or(false)));
    is_main.then(host_if_any).flatten()
}

/// The moment at which a wait of that many seconds ends.
pub(crate) fn deadline(timeout: Option<f64>) -> Option<Instant> {
    let timeout = Duration::try_from_secs_f64(timeout?.max(0.0)).ok()?;
    Instant::now().checked_add(timeout)
}

/// What a wait is for.
pub(crate) enum Target {
    Task(Py<Task>),
    Value(Py<Task>),
    /// A value of the waiter's own.
    Fresh(Py<Task>),
    Gather(Py<Gather>),
}

/// A future that was handed out, and is to be resolved.
struct Subscribed {
    mailbox: Py<LoopMailbox>,
    token: u64,
    group: Option<Arc<Group>>,
}

/// The iterator behind `await`: yields a future of the running loop at most once a stage.
#[pyclass(module = "mosaic._core")]
pub(crate) struct Waiting {
    target: Target,
    stage: Stage,
    future: Option<Py<PyAny>>,
    subscribed: Option<Subscribed>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl Waiting {
    pub(crate) fn new(target: Target, stage: Stage) -> Self {
        Self {
            target,
            stage,
            future: None,
            subscribed: None,
        }
    }

    /// Nobody waits for the future any more, which may never be resolved.
    fn give_up(&mut self) {
        let Some(subscribed) = self.subscribed.take() else {
            return;
        };
        let mailbox = subscribed.mailbox.get();
        mailbox.forget(subscribed.token);
        match &self.target {
            Target::Task(task) | Target::Value(task) | Target::Fresh(task) => {
                let cell = task.get().cell();
                cell.unsubscribe_loop(&mailbox.mailbox, subscribed.token);
            }
            Target::Gather(gather) => {
                if let Some(group) = &subscribed.group {
                    gather.get().unsubscribe(group);
                }
            }
        }
    }

    /// The future was resolved. Of many tasks, some may still tell a group that has heard of a failure.
    fn woken(&mut self) {
        if let Some(subscribed) = self.subscribed.take()
            && let Some(group) = subscribed.group
            && let Target::Gather(gather) = &self.target
        {
            gather.get().unsubscribe(&group);
        }
    }

    /// Subscribe a future; none if there is nothing to wait for.
    fn subscribe(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let host = match &self.target {
            Target::Task(task) | Target::Value(task) | Target::Fresh(task) => {
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
        let group = match &self.target {
            Target::Task(task) | Target::Value(task) | Target::Fresh(task) => {
                if task.get().cell().subscribe(self.stage, waiter).is_err() {
                    mailbox.get().forget(token);
                    return Ok(None);
                }
                None
            }
            Target::Gather(gather) => Some(gather.get().subscribe(py, self.stage, waiter)),
        };
        self.subscribed = Some(Subscribed {
            mailbox: mailbox.unbind(),
            token,
            group,
        });
        Ok(Some(future.unbind()))
    }

    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.target {
            Target::Task(task) => {
                Task::check(task.bind(py))?;
                Ok(task.bind(py).clone().into_any())
            }
            Target::Value(task) => Task::value(task.bind(py)),
            Target::Fresh(task) => Task::fresh(task.bind(py)),
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
                if let Err(error) = future.call_method0(py, pyo3::intern!(py, "result")) {
                    self.give_up();
                    return Err(error);
                }
                self.woken();
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
            call_context::show_printed(py)?;
            let value = self.finish(py)?;
            return Err(PyStopIteration::new_err((value.unbind(),)));
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.target {
            Target::Task(task) | Target::Value(task) | Target::Fresh(task) => visit.call(task)?,
            Target::Gather(gather) => visit.call(gather)?,
        }
        if let Some(future) = &self.future {
            visit.call(future)?;
        }
        if let Some(subscribed) = &self.subscribed {
            visit.call(&subscribed.mailbox)?;
        }
        Ok(())
    }

    fn __clear__(&mut self) {
        self.give_up();
        self.future = None;
    }
}

impl Waiting {
    fn wants_values(&self) -> bool {
        match &self.target {
            Target::Task(_) => false,
            Target::Value(_) | Target::Fresh(_) => true,
            Target::Gather(gather) => gather.get().values,
        }
    }
}

/// What `task.result()` returns: awaitable, as often as wanted.
#[pyclass(frozen, module = "mosaic._core")]
pub(crate) struct TaskResult {
    task: Py<Task>,
    /// Each who waits gets a value of its own.
    fresh: bool,
}

impl TaskResult {
    pub(crate) fn new(task: Py<Task>, fresh: bool) -> Self {
        Self { task, fresh }
    }
}

#[pymethods]
impl TaskResult {
    fn __await__(&self, py: Python<'_>) -> Waiting {
        let task = self.task.clone_ref(py);
        let target = if self.fresh {
            Target::Fresh(task)
        } else {
            Target::Value(task)
        };
        Waiting::new(target, Stage::End)
    }

    /// Block until the value is here and return it.
    #[pyo3(signature = (timeout = None))]
    fn wait<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let task = self.task.bind(py);
        if !self.fresh {
            return Task::wait(task, timeout);
        }
        Task::wait_for_value(task, timeout)?;
        Task::fresh(task)
    }

    // What cannot be changed cannot close a cycle by itself: it is enough to be seen through.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.task)
    }
}
