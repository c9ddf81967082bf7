//! Coroutine calls on their way through asyncio: one asyncio task for as many as end in their first step.
//!
//! A runner is what an asyncio task runs. It starts coroutine calls one after another and reports the end of each
//! in the same step. The first that gives up its turn has the runner, and so the asyncio task, for itself from then
//! on, and others go on in a new one. A coroutine therefore sees one `asyncio.current_task()` from its first line
//! to its last (`RUN-1`), a context of its own (`RUN-2`), and no cancellation that was meant for another (`RUN-3`).
//! No runner waits for calls: an idle loop has no task of ours (`RUN-4`).
//!
//! With an asyncio task for each, a call in a burst took the loop's thread 5.3 microseconds, with this 2.3: `make
//! bench-peers BENCH_ARGS='--row burst_async_def'` beside `/proc/PID/task/*/schedstat`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mosaic_core::call::CallKind;
use mosaic_core::id::{TaskId, TesseraId};
use mosaic_runtime::executor::CallState;
use mosaic_runtime::telemetry::{self, Recorder, Run};
use pyo3::exceptions::PyStopIteration;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::executor::PythonExecutor;
use crate::hooks::cached;
use crate::tracing;

/// Calls that a runner starts before the loop gets its turn.
const TURN: usize = 64;

/// A coroutine that has begun.
pub(crate) struct RunningCoroutine {
    pub(crate) task: TaskId,
    pub(crate) state: CallState,
    pub(crate) kind: CallKind,
    pub(crate) coroutine: Py<PyAny>,
    pub(crate) context: Py<PyAny>,
    /// Where it stands, for the profile.
    pub(crate) run: Option<Run>,
    /// It asked for its functions to be traced, and has not ended that.
    pub(crate) traced: AtomicBool,
}

/// See the module.
#[pyclass(module = "mosaic._core")]
pub(crate) struct Runner {
    executor: Arc<PythonExecutor>,
    current: Option<RunningCoroutine>,
    /// The current coroutine has given up its turn before.
    owned: bool,
    /// Calls started since the loop had its turn.
    started: usize,
    left: bool,
}

enum Step<'py> {
    Yielded(Bound<'py, PyAny>),
    Returned(Bound<'py, PyAny>),
}

impl Runner {
    pub(crate) fn new(executor: Arc<PythonExecutor>) -> Self {
        Self {
            executor,
            current: None,
            owned: false,
            started: 0,
            left: false,
        }
    }

    /// Take the current coroutine's step to its conclusion, and start what comes next.
    fn go_on<'py>(
        &mut self,
        py: Python<'py>,
        mut stepped: Option<PyResult<Step<'py>>>,
    ) -> PyResult<Py<PyAny>> {
        loop {
            if let Some(step) = stepped {
                let result = match step {
                    Ok(Step::Yielded(value)) => {
                        if let Err(error) = self.give_up_turn(py) {
                            error.write_unraisable(py, None);
                        }
                        return Ok(value.unbind());
                    }
                    Ok(Step::Returned(value)) => Ok(value),
                    Err(error) => Err(error),
                };
                self.end(py, result);
                if self.owned || is_being_cancelled(py).unwrap_or(true) {
                    return Err(self.leave(py));
                }
            }
            if self.started >= TURN {
                self.started = 0;
                // Of a lane that runs plain calls too, they have their turn as well.
                if let Err(error) = self.executor.drain_coroutines(py) {
                    error.write_unraisable(py, None);
                }
                return Ok(py.None());
            }
            let Some(accepted) = self.executor.next_coroutine(py) else {
                return Err(self.leave(py));
            };
            self.started += 1;
            self.current = self.executor.begin_coroutine(py, accepted);
            stepped = self
                .current
                .as_ref()
                .map(|current| send(py, &self.executor, current, &py.None().into_bound(py)));
        }
    }

    /// The current coroutine waits for something: others go on without it.
    fn give_up_turn(&mut self, py: Python<'_>) -> PyResult<()> {
        if self.owned {
            return Ok(());
        }
        self.owned = true;
        if let Some(current) = &self.current {
            let own = cached!(py, "asyncio", "current_task")?.call0()?;
            self.executor.suspended(current.task, own.unbind());
        }
        self.executor.runner_left(py)
    }

    /// The current coroutine has ended: report it.
    fn end(&mut self, py: Python<'_>, result: PyResult<Bound<'_, PyAny>>) {
        let Some(current) = self.current.take() else {
            return;
        };
        if self.owned {
            self.executor.resumed_to_its_end(current.task);
        }
        let before = current.run.map(telemetry::resume);
        let (outcome, held) = self
            .executor
            .outcome(py, current.task, current.kind, result);
        if let Some(before) = before {
            self.executor.ended(&outcome, before);
        }
        self.executor
            .finish_between(current.task, current.state, outcome);
        drop(held);
    }

    /// This asyncio task ends. The failures of calls went to their callers: asyncio has nothing to report.
    fn leave(&mut self, py: Python<'_>) -> PyErr {
        if !std::mem::replace(&mut self.left, true) {
            let next = if self.owned {
                // What the end of its coroutine let start.
                self.executor.drain_coroutines(py)
            } else {
                self.executor.runner_left(py)
            };
            if let Err(error) = next {
                error.write_unraisable(py, None);
            }
        }
        PyStopIteration::new_err((py.None(),))
    }
}

/// Whether the asyncio task that runs is to be cancelled: by the coroutine that it has just run.
fn is_being_cancelled(py: Python<'_>) -> PyResult<bool> {
    let own = cached!(py, "asyncio", "current_task")?.call0()?;
    if own.is_none() {
        return Ok(false);
    }
    own.call_method0(pyo3::intern!(py, "cancelling"))?
        .is_truthy()
}

/// A step of a coroutine in its own context, and under its own name in the profile.
fn step<T>(
    py: Python<'_>,
    executor: &PythonExecutor,
    current: &RunningCoroutine,
    step: impl FnOnce() -> PyResult<T>,
) -> PyResult<T> {
    let Some(run) = current.run else {
        return within(py, &current.context, step);
    };
    let before = telemetry::resume(run);
    let all = executor.recorder().is_some_and(Recorder::traced);
    if all || current.traced.load(Ordering::Relaxed) {
        executor.trace(py);
    }
    let stepped = within(py, &current.context, step);
    let traced = tracing::is_traced();
    if traced {
        tracing::clear_hook(py);
    }
    current.traced.store(traced && !all, Ordering::Relaxed);
    telemetry::resume(before);
    stepped
}

/// `within(context, step)`: a step in a context.
pub(crate) fn within<T>(
    py: Python<'_>,
    context: &Py<PyAny>,
    step: impl FnOnce() -> PyResult<T>,
) -> PyResult<T> {
    // SAFETY: a live context object, left below on every path.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } != 0 {
        return Err(PyErr::fetch(py));
    }
    let stepped = step();
    // SAFETY: entered above, on this thread; an exception that a step raised was fetched.
    if unsafe { ffi::PyContext_Exit(context.as_ptr()) } != 0 {
        return Err(PyErr::fetch(py));
    }
    stepped
}

/// `coroutine.send(value)` without an exception for its return.
fn send<'py>(
    py: Python<'py>,
    executor: &PythonExecutor,
    current: &RunningCoroutine,
    value: &Bound<'py, PyAny>,
) -> PyResult<Step<'py>> {
    step(py, executor, current, || {
        let mut result = std::ptr::null_mut();
        // SAFETY: both are live objects; `result` is a new reference unless the send failed.
        unsafe {
            match ffi::PyIter_Send(current.coroutine.as_ptr(), value.as_ptr(), &raw mut result) {
                ffi::PySendResult::PYGEN_NEXT => {
                    Ok(Step::Yielded(Bound::from_owned_ptr(py, result)))
                }
                ffi::PySendResult::PYGEN_RETURN => {
                    Ok(Step::Returned(Bound::from_owned_ptr(py, result)))
                }
                ffi::PySendResult::PYGEN_ERROR => Err(PyErr::fetch(py)),
            }
        }
    })
}

/// `coroutine.throw(error)`, the same way.
fn throw<'py>(
    py: Python<'py>,
    executor: &PythonExecutor,
    current: &RunningCoroutine,
    error: &Bound<'py, PyTuple>,
) -> PyResult<Step<'py>> {
    let coroutine = current.coroutine.bind(py);
    let thrown = step(py, executor, current, || {
        coroutine.call_method1(pyo3::intern!(py, "throw"), error)
    });
    match thrown {
        Ok(value) => Ok(Step::Yielded(value)),
        Err(error) if error.is_instance_of::<PyStopIteration>(py) => error
            .value(py)
            .getattr(pyo3::intern!(py, "value"))
            .map(Step::Returned),
        Err(error) => Err(error),
    }
}

#[pymethods]
impl Runner {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __await__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let none = py.None().into_bound(py);
        self.send(py, &none)
    }

    fn send(&mut self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let stepped = self
            .current
            .as_ref()
            .map(|current| send(py, &self.executor, current, value));
        self.go_on(py, stepped)
    }

    #[pyo3(signature = (*error))]
    fn throw(&mut self, py: Python<'_>, error: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        if let Some(current) = &self.current {
            let stepped = throw(py, &self.executor, current, error);
            return self.go_on(py, Some(stepped));
        }
        // Somebody cancels every task of the loop: between two calls, it was meant for neither.
        self.leave(py);
        Err(PyErr::from_value(error.get_item(0)?))
    }

    // Living objects are the executor's, which every runner shares: it keeps them until it stops.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(current) = &self.current {
            visit.call(&current.coroutine)?;
            visit.call(&current.context)?;
        }
        Ok(())
    }

    fn __clear__(&mut self) {
        self.current = None;
    }

    fn close(&mut self, py: Python<'_>) -> PyResult<()> {
        match &self.current {
            Some(current) => current
                .coroutine
                .call_method0(py, pyo3::intern!(py, "close"))
                .map(drop),
            None => Ok(()),
        }
    }
}

/// What the contexts of a tessera's coroutines are copies of: it tells the tessera that they run for.
pub(crate) fn context_of(py: Python<'_>, tessera: TesseraId) -> PyResult<Py<PyAny>> {
    // SAFETY: gives a new reference, or null with an exception set.
    let context =
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent()) }?.unbind();
    within(py, &context, || {
        context_variable(py)?.call_method1(
            pyo3::intern!(py, "set"),
            ((tessera.owner.0, tessera.sequence),),
        )
    })?;
    Ok(context)
}

/// Copy a context.
pub(crate) fn copy_context(py: Python<'_>, context: &Py<PyAny>) -> PyResult<Py<PyAny>> {
    // SAFETY: a live context object; gives a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_Copy(context.as_ptr())) }
        .map(Bound::unbind)
}

/// The variable that tells a coroutine's context which tessera it runs for.
pub(crate) fn context_variable(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
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
