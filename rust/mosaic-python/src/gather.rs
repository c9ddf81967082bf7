//! Waiting for many tasks at the cost of one.

use std::sync::Arc;

use mosaic_runtime::sync::completion::{Group, Stage, Waiter};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::errors::engine_error;
use crate::host::Host;
use crate::task::Task;
use crate::waiting::{Target, Waiting, block, deadline};

/// Waits for many tasks at the cost of one.
#[pyclass(frozen, module = "mosaic._core")]
pub(crate) struct Gather {
    tasks: Vec<Py<Task>>,
    pub(crate) values: bool,
}

impl Gather {
    /// Set things in motion; the engine's host if there is something to wait for.
    pub(crate) fn ask(&self, py: Python<'_>, stage: Stage) -> Option<Arc<Host>> {
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

    pub(crate) fn subscribe(&self, py: Python<'_>, stage: Stage, waiter: Waiter) -> Arc<Group> {
        let group = Group::new(self.tasks.len(), waiter);
        for task in &self.tasks {
            task.bind(py).get().cell().subscribe_group(stage, &group);
        }
        group
    }

    /// Have those that have not ended forget the group, whose waiter gave up or has heard enough.
    pub(crate) fn unsubscribe(&self, group: &Arc<Group>) {
        if group.is_over() {
            return;
        }
        for task in &self.tasks {
            task.get().cell().unsubscribe_group(group);
        }
    }

    pub(crate) fn collect<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        for task in &self.tasks {
            if task.get().cell().failure_kind().is_some() {
                Task::check(task.bind(py))?;
            }
        }
        if !self.values {
            return Ok(PyList::new(py, &self.tasks)?.into_any());
        }
        let values = self
            .tasks
            .iter()
            .map(|task| Task::value(task.bind(py)))
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

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.tasks.iter().try_for_each(|task| visit.call(task))
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
                .map_err(|error| engine_error(&error))?;
            let group = self.subscribe(py, *stage, Waiter::Thread(Arc::clone(&signal)));
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
            self.unsubscribe(&group);
            host.engine.return_signal(&signal);
            waited?;
        }
        self.collect(py)
    }
}
