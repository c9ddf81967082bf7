//! References to one output of a task, and to its end.

use bytes::Bytes;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::encode::encode_value;
use crate::errors::MosaicError;
use crate::task::Task;

/// A reference to one output of a task, or to its end. One without a task stands for a value that changes: as an
/// argument, its method `read` is asked for a task that reads it.
#[pyclass(frozen, subclass, module = "mosaic._core")]
pub(crate) struct Output {
    pub(crate) task: Option<Py<Task>>,
    key: Option<Py<PyAny>>,
    pub(crate) done: bool,
    /// It stands for a value that was put, rather than for what a call returned.
    pub(crate) kept: bool,
}

impl Output {
    /// The key as dependencies carry it: empty for the whole.
    pub(crate) fn part(&self, py: Python<'_>) -> PyResult<Bytes> {
        let Some(key) = &self.key else {
            return Ok(Bytes::new());
        };
        let payload = encode_value(key.bind(py))?.payload;
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
        if whole && let Some(task) = &task {
            task.get().cell().keep_value();
        }
        Self {
            task,
            key: if whole || done { None } else { key },
            done,
            kept: whole,
        }
    }

    #[getter]
    fn task(&self, py: Python<'_>) -> PyResult<Py<Task>> {
        match &self.task {
            Some(task) => Ok(task.clone_ref(py)),
            None => Err(MosaicError::new_err(
                "a reference to a value that changes has no task: read it with `await ref.value()`",
            )),
        }
    }

    // What cannot be changed cannot close a cycle by itself: it is enough to be seen through.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(task) = &self.task {
            visit.call(task)?;
        }
        if let Some(key) = &self.key {
            visit.call(key)?;
        }
        Ok(())
    }

    #[getter]
    fn key(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.key.as_ref().map(|key| key.clone_ref(py))
    }
}
