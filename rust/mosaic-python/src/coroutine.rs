//! A user's coroutine on its way through asyncio, with the end of the call noticed in the same step.

use std::sync::Arc;

use mosaic_core::call::CallKind;
use mosaic_core::id::TaskId;
use pyo3::exceptions::PyStopIteration;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::executor::PythonExecutor;
use crate::task::lock;

/// What asyncio's task runs: passes every step on to the user's coroutine and reports its end. One turn of
/// the loop less for each call than a done callback costs.
#[pyclass(module = "mosaic._core")]
pub(crate) struct CallCoroutine {
    executor: Arc<PythonExecutor>,
    task: TaskId,
    kind: CallKind,
    inner: Py<PyAny>,
    ended: bool,
}

impl CallCoroutine {
    pub(crate) fn new(
        executor: Arc<PythonExecutor>,
        task: TaskId,
        kind: CallKind,
        inner: Py<PyAny>,
    ) -> Self {
        Self {
            executor,
            task,
            kind,
            inner,
            ended: false,
        }
    }

    /// The user's coroutine has ended so: report it, and start what could not start before.
    fn end(&mut self, py: Python<'_>, result: PyResult<Bound<'_, PyAny>>) -> PyErr {
        if !self.ended {
            self.ended = true;
            let outcome = self.executor.outcome(py, self.task, self.kind, result);
            let running = lock(&self.executor.running).remove(&self.task);
            drop(running);
            // What becomes ready by this end needs no wake-up: it is started right below.
            self.executor.coroutines.hold();
            self.executor.finish(self.task, outcome, true);
            if let Err(error) = self.executor.drain_coroutines(py) {
                error.write_unraisable(py, None);
            }
        }
        // The failure went to the caller: asyncio has nothing to report.
        PyStopIteration::new_err((py.None(),))
    }

    fn step(&mut self, py: Python<'_>, stepped: PyResult<Step<'_>>) -> PyResult<Py<PyAny>> {
        match stepped {
            Ok(Step::Yielded(value)) => Ok(value.unbind()),
            Ok(Step::Returned(value)) => Err(self.end(py, Ok(value))),
            Err(error) => Err(self.end(py, Err(error))),
        }
    }
}

enum Step<'py> {
    Yielded(Bound<'py, PyAny>),
    Returned(Bound<'py, PyAny>),
}

/// `coroutine.send(value)` without an exception for its return.
fn send<'py>(coroutine: &Bound<'py, PyAny>, value: &Bound<'py, PyAny>) -> PyResult<Step<'py>> {
    let py = coroutine.py();
    let mut result = std::ptr::null_mut();
    // SAFETY: both are live objects; `result` is a new reference unless the send failed.
    unsafe {
        match ffi::PyIter_Send(coroutine.as_ptr(), value.as_ptr(), &raw mut result) {
            ffi::PySendResult::PYGEN_NEXT => Ok(Step::Yielded(Bound::from_owned_ptr(py, result))),
            ffi::PySendResult::PYGEN_RETURN => {
                Ok(Step::Returned(Bound::from_owned_ptr(py, result)))
            }
            ffi::PySendResult::PYGEN_ERROR => Err(PyErr::fetch(py)),
        }
    }
}

#[pymethods]
impl CallCoroutine {
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
        let inner = self.inner.bind(py).clone();
        self.step(py, send(&inner, value))
    }

    #[pyo3(signature = (*error))]
    fn throw(&mut self, py: Python<'_>, error: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        let inner = self.inner.bind(py).clone();
        let thrown = inner.call_method1(pyo3::intern!(py, "throw"), error);
        let stepped = match thrown {
            Ok(value) => Ok(Step::Yielded(value)),
            Err(error) if error.is_instance_of::<PyStopIteration>(py) => error
                .value(py)
                .getattr(pyo3::intern!(py, "value"))
                .map(Step::Returned),
            Err(error) => Err(error),
        };
        self.step(py, stepped)
    }

    fn close(&mut self, py: Python<'_>) -> PyResult<()> {
        self.inner
            .call_method0(py, pyo3::intern!(py, "close"))
            .map(drop)
    }
}
