//! The engine of this process, as Python sees it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mosaic_core::call::{Call, CallKind, Construction};
use mosaic_core::event::{Role, Submission};
use mosaic_core::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use mosaic_core::payload::Reference;
use mosaic_runtime::sync::completion::{Callee, Completion};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::call_context;
use crate::encode::{Arguments, Encoded, encode_arguments, encode_value};
use crate::errors::engine_error;
use crate::host::{Host, host_if_any};
use crate::method::{TesseraRef, submit};
use crate::notices::Notice;
use crate::roles::Member;
use crate::task::make_task;
use crate::tracing;
use crate::waiting::{block, deadline, detach};

/// Return the engine of this process, if one runs.
#[pyfunction]
pub(crate) fn engine() -> Option<PyEngine> {
    host_if_any().map(PyEngine::new)
}

/// One process's engine.
#[pyclass(frozen, name = "Engine", module = "mosaic._core")]
pub(crate) struct PyEngine {
    host: Arc<Host>,
}

impl PyEngine {
    pub(crate) fn new(host: Arc<Host>) -> Self {
        Self { host }
    }
}

fn tessera_id(raw: (u32, u64)) -> TesseraId {
    TesseraId {
        owner: RuntimeId(raw.0),
        sequence: raw.1,
    }
}

#[pymethods]
impl PyEngine {
    #[getter]
    fn uid(&self) -> &str {
        self.host.engine.uid()
    }

    #[getter]
    fn runtime(&self) -> u32 {
        self.host.engine.runtime().0
    }

    #[getter]
    fn directory(&self) -> PathBuf {
        self.host.engine.directory()
    }

    #[getter]
    fn launchers(&self) -> (Option<u32>, Option<u32>) {
        self.host.engine.launchers()
    }

    #[getter]
    fn gave_up(&self) -> Option<String> {
        self.host.engine.gave_up()
    }

    #[getter]
    fn pending(&self) -> usize {
        self.host.engine.pending()
    }

    #[getter]
    fn stopped(&self) -> bool {
        self.host.engine.stopped()
    }

    #[pyo3(signature = (workers, timeout))]
    fn wait_ready(&self, py: Python<'_>, workers: usize, timeout: Option<f64>) -> PyResult<()> {
        let deadline = deadline(timeout);
        block(py, || self.host.engine.wait_ready(workers, deadline))
    }

    fn members(&self) -> Vec<Member> {
        let members = self.host.engine.members();
        members.into_iter().map(Member::from).collect()
    }

    fn named(&self, uid: &str) -> Option<u32> {
        self.host.engine.named(uid).map(|runtime| runtime.0)
    }

    fn notices(&self, py: Python<'_>) -> Option<Vec<Notice>> {
        let notices = Arc::clone(self.host.engine.notices());
        let taken = detach(py, move || notices.take())?;
        Some(taken.into_iter().map(Notice::from).collect())
    }

    #[pyo3(signature = (tessera, runtime, reason))]
    fn chosen(&self, tessera: (u32, u64), runtime: Option<u32>, reason: String) {
        self.host
            .engine
            .chosen(tessera_id(tessera), runtime.map(RuntimeId).ok_or(reason));
    }

    #[pyo3(signature = (grace = None))]
    fn stop(&self, py: Python<'_>, grace: Option<f64>) {
        let grace = grace.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok());
        detach(py, || self.host.engine.stop(grace));
        self.host.leave(py);
    }

    #[pyo3(signature = (cls, name, args, kwargs, *, place = None, in_warehouse = false, concurrent = false, retries = 0, restarts = 0))]
    #[allow(clippy::too_many_arguments)]
    fn construct(
        &self,
        py: Python<'_>,
        cls: &Bound<'_, PyType>,
        name: &str,
        args: &Bound<'_, PyTuple>,
        kwargs: &Bound<'_, PyDict>,
        place: Option<u32>,
        in_warehouse: bool,
        concurrent: bool,
        retries: u32,
        restarts: u32,
    ) -> PyResult<(TesseraRef, Py<PyAny>)> {
        let origin = call_context::current(py)?;
        let Arguments {
            payload: arguments,
            held: _held,
            dependencies,
            tasks: _tasks,
        } = encode_arguments(Some(cls.as_any()), args, Some(kwargs))?;
        let engine = &self.host.engine;
        let (tessera, task) = (
            TesseraId {
                owner: engine.runtime(),
                sequence: engine.next_sequence(),
            },
            engine.next_task(),
        );
        let class: Arc<str> = name.into();
        let callee = Callee::new(tessera, Arc::clone(&class), "__init__".into());
        let cell = Completion::new(task, callee);
        let construction = Call {
            task,
            tessera,
            kind: CallKind::Construct,
            method: Arc::clone(&class),
            coroutine: false,
            retries,
            origin,
            construction: Construction {
                concurrent,
                restartable: restarts > 0,
                home: if in_warehouse {
                    Role::Warehouse
                } else {
                    Role::Worker
                },
            },
            dependencies,
            arguments,
        };
        let place = place.map(RuntimeId);
        let submission = Submission {
            handle: Arc::clone(&cell),
            call: Box::new(construction),
            host: None,
            place,
            restarts,
            resends: retries,
        };
        submit(py, &self.host, submission, None)?;
        Ok((
            TesseraRef::to_new(&self.host, &cell),
            make_task(py, &self.host, cell)?,
        ))
    }

    fn functions(&self, runtime: u32) -> TesseraRef {
        let runtime = RuntimeId(runtime);
        TesseraRef::new(
            &self.host,
            TesseraId::functions(runtime),
            Some(runtime),
            "function".into(),
        )
    }

    fn keyed(&self, runtime: u32, key: &str) -> TesseraRef {
        let runtime = RuntimeId(runtime);
        TesseraRef::new(
            &self.host,
            TesseraId::keyed(runtime, key),
            Some(runtime),
            key.into(),
        )
    }

    fn warehouse(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let cell = self
            .host
            .engine
            .warehouse()
            .map_err(|error| engine_error(&error))?;
        make_task(py, &self.host, cell)
    }

    fn borrow_tessera(&self, tessera: (u32, u64), host: u32, name: &str) -> TesseraRef {
        let (tessera, host) = (tessera_id(tessera), RuntimeId(host));
        self.host.engine.retain(Reference {
            object: ObjectId::Tessera(tessera),
            authority: host,
        });
        TesseraRef::new(&self.host, tessera, Some(host), name.into())
    }

    fn borrow_task(
        &self,
        py: Python<'_>,
        task: (u32, u64),
        tessera: (u32, u64),
        class: &str,
        method: &str,
    ) -> PyResult<Py<PyAny>> {
        let task = TaskId {
            owner: RuntimeId(task.0),
            sequence: task.1,
        };
        self.host.engine.retain(Reference {
            object: ObjectId::Task(task),
            authority: task.owner,
        });
        make_task(
            py,
            &self.host,
            self.host
                .engine
                .borrowed_completion(task, tessera_id(tessera), class, method),
        )
    }

    fn put(&self, py: Python<'_>, value: &Bound<'_, PyAny>, name: &str) -> PyResult<Py<PyAny>> {
        let Encoded {
            payload,
            held: _held,
        } = encode_value(value)?;
        make_task(py, &self.host, self.host.engine.put(name.into(), payload))
    }

    fn discard(&self, task: (u32, u64)) {
        self.host.engine.discard(TaskId {
            owner: RuntimeId(task.0),
            sequence: task.1,
        });
    }

    /// What this process has in the store.
    fn memory<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let report = detach(py, || self.host.engine.store_report());
        let found = PyDict::new(py);
        found.set_item("limit", report.limit)?;
        found.set_item("taken_by_all", report.taken_by_all)?;
        found.set_item("taken", report.taken)?;
        found.set_item("in_memory", report.in_memory)?;
        found.set_item("on_disk", report.on_disk)?;
        found.set_item("disk_used", report.disk_used)?;
        let buffers = report.buffers.into_iter().map(|buffer| {
            let holders = buffer.holders.into_iter().map(|holder| holder.0);
            (
                (buffer.buffer.owner.0, buffer.buffer.sequence),
                buffer.what,
                buffer.length,
                buffer.spilled,
                buffer.views,
                holders.collect::<Vec<_>>(),
            )
        });
        found.set_item("buffers", buffers.collect::<Vec<_>>())?;
        Ok(found)
    }

    fn account(&self, nbytes: i64) -> PyResult<()> {
        let counted = self.host.engine.account(nbytes);
        counted.map_err(|error| engine_error(&error))
    }

    fn fence(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let cell = self
            .host
            .engine
            .barrier()
            .map_err(|error| engine_error(&error))?;
        make_task(py, &self.host, cell)
    }

    fn output_is_due(&self) -> bool {
        self.host.engine.output_is_due()
    }

    fn drain_output(&self, token: u64) {
        self.host.engine.drain_output(token);
    }

    fn register_barrier_task(&self) {
        self.host.engine.register_barrier_task();
    }

    fn take_barrier_tasks(&self) -> Vec<u32> {
        let runtimes = self.host.engine.take_barrier_tasks();
        runtimes.into_iter().map(|runtime| runtime.0).collect()
    }

    fn holders(&self, tessera: (u32, u64)) -> Vec<u32> {
        self.host
            .engine
            .holders_of(tessera_id(tessera))
            .into_iter()
            .map(|runtime| runtime.0)
            .collect()
    }

    fn __eq__(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.host, &other.host)
    }

    fn __hash__(&self) -> usize {
        Arc::as_ptr(&self.host) as usize
    }

    #[getter]
    fn profile(&self) -> Option<std::path::PathBuf> {
        self.host.engine.recorder().path()
    }

    #[getter]
    fn traced(&self) -> bool {
        self.host.engine.recorder().traced()
    }

    fn trace_here(&self, py: Python<'_>) -> PyResult<bool> {
        let runs = self.host.executor.running_tessera(py)?.is_some();
        Ok(runs && self.host.executor.trace(py))
    }

    #[allow(clippy::unused_self)]
    fn end_trace_here(&self, py: Python<'_>) {
        if tracing::is_traced() {
            tracing::clear_hook(py);
        }
    }

    #[pyo3(signature = (path, traced = false))]
    fn record_profile(&self, py: Python<'_>, path: Option<&str>, traced: bool) -> PyResult<()> {
        detach(py, || self.host.engine.profile(path, traced))?;
        Ok(())
    }

    fn run_main_lane(&self, py: Python<'_>) {
        self.host.executor.run_main_lane(py);
    }

    fn wait_coroutine(&self, py: Python<'_>) -> bool {
        self.host.executor.wait_coroutine(py)
    }

    fn attach_coroutine_lane(
        &self,
        py: Python<'_>,
        event_loop: Py<PyAny>,
        both: bool,
    ) -> PyResult<()> {
        self.host.executor.attach(py, event_loop, both)
    }

    fn call_is_running(&self, py: Python<'_>) -> PyResult<Option<(u32, u64)>> {
        let tessera = self.host.executor.running_tessera(py)?;
        Ok(tessera.map(|tessera| (tessera.owner.0, tessera.sequence)))
    }
}
