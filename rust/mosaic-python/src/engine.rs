//! The engine of this process, as Python sees it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mosaic_core::call::{Call, CallKind, Construction};
use mosaic_core::event::{Role, Submission};
use mosaic_core::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use mosaic_core::payload::Reference;
use mosaic_core::placement::LeastLoaded;
use mosaic_runtime::engine::{EngineConfig, EngineError};
use mosaic_runtime::node::Launch;
use mosaic_runtime::notice::Notice;
use mosaic_runtime::roles::{self, MonitorAddress, WorkerConfig};
use mosaic_runtime::store::StoreSettings;
use mosaic_runtime::sync::completion::{Callee, Completion};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::call_context;
use crate::encode::{Arguments, Encoded, encode_arguments, encode_value};
use crate::errors::engine_error;
use crate::executor::PythonExecutor;
use crate::host::{Host, host_if_any};
use crate::method::{TesseraRef, submit};
use crate::task::make_task;
use crate::tracing;
use crate::waiting::{block, deadline};

/// Return the engine of this process, if one runs.
#[pyfunction]
pub(crate) fn engine() -> Option<PyEngine> {
    host_if_any().map(|host| PyEngine { host })
}

/// Start the head, workers as processes; monitor and node agent in this process unless one that `mrun` started is named:
/// its directory, its process, its key, and whether it runs this program as its command.
#[pyfunction]
#[pyo3(signature = (*, worker_command, worker_environment, num_workers, max_pending, stop_grace, foreign_strategy, least_loaded, store_memory = None, spill_directory = None, spill_limit = None, monitor = None, profile = None))]
#[allow(clippy::too_many_arguments)]
pub(crate) fn start_head(
    py: Python<'_>,
    worker_command: Vec<String>,
    worker_environment: HashMap<String, String>,
    num_workers: usize,
    max_pending: usize,
    stop_grace: f64,
    foreign_strategy: bool,
    least_loaded: bool,
    store_memory: Option<&str>,
    spill_directory: Option<PathBuf>,
    spill_limit: Option<&str>,
    monitor: Option<(PathBuf, u32, PathBuf, bool)>,
    profile: Option<&str>,
) -> PyResult<PyEngine> {
    let wrong = pyo3::exceptions::PyValueError::new_err::<String>;
    let mut store = StoreSettings::from_environment().map_err(wrong)?;
    if let Some(text) = store_memory {
        let set = store.set_memory(text);
        set.map_err(|error| wrong(format!("warehouse_memory: {error}")))?;
    }
    if let Some(text) = spill_limit {
        let set = store.set_spill_limit(text);
        set.map_err(|error| wrong(format!("spill_limit: {error}")))?;
    }
    if let Some(path) = spill_directory {
        store.spill_directory = path;
    }
    let mut worker_environment = worker_environment;
    worker_environment.extend(store.to_environment());
    let config = EngineConfig {
        max_pending,
        foreign_strategy,
        store,
    };
    let launch = Launch {
        command: worker_command,
        environment: worker_environment.into_iter().collect(),
        workers: num_workers,
        grace: Duration::try_from_secs_f64(stop_grace).map_err(|_| {
            pyo3::exceptions::PyValueError::new_err(
                "stop_grace must be a positive number of seconds",
            )
        })?,
    };
    let executor = PythonExecutor::new(py)?;
    let seam: Arc<dyn mosaic_runtime::executor::Executor> = Arc::<PythonExecutor>::clone(&executor);
    let launched = monitor.map(|(directory, monitor, key, commanded)| MonitorAddress {
        directory,
        monitor,
        key,
        commanded,
    });
    let engine = py
        .detach(|| match launched {
            Some(place) => roles::joining_head(&config, launch, place, seam),
            None => roles::head(&config, launch, seam),
        })
        .map_err(|error| engine_error(&error))?;
    if profile.is_some()
        && let Err(error) = py.detach(|| engine.profile(profile, false))
    {
        py.detach(|| engine.stop(None));
        return Err(error.into());
    }
    if least_loaded {
        engine.set_strategy(Box::new(LeastLoaded::default()));
    }
    Host::install(py, engine, executor).map(|host| PyEngine { host })
}

/// Join the head named in the environment, as the worker process that it started.
#[pyfunction]
pub(crate) fn join_worker(py: Python<'_>) -> PyResult<PyEngine> {
    let executor = PythonExecutor::new(py)?;
    let seam: Arc<dyn mosaic_runtime::executor::Executor> = Arc::<PythonExecutor>::clone(&executor);
    let engine = py
        .detach(|| {
            let store = StoreSettings::from_environment().map_err(EngineError::System)?;
            let config = EngineConfig {
                store,
                ..EngineConfig::default()
            };
            roles::worker(WorkerConfig::from_environment()?, &config, seam)
        })
        .map_err(|error| engine_error(&error))?;
    Host::install(py, engine, executor).map(|host| PyEngine { host })
}

/// One process's engine.
#[pyclass(frozen, name = "Engine", module = "mosaic._core")]
pub(crate) struct PyEngine {
    host: Arc<Host>,
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

    fn members(&self) -> Vec<(u32, String, u32, &'static str)> {
        let members = self.host.engine.members();
        members
            .into_iter()
            .map(|member| {
                let role = match member.role {
                    Role::Head => "head",
                    Role::Worker => "worker",
                    Role::Warehouse => "warehouse",
                };
                (member.runtime.0, member.uid, member.pid, role)
            })
            .collect()
    }

    fn named(&self, uid: &str) -> Option<u32> {
        self.host.engine.named(uid).map(|runtime| runtime.0)
    }

    fn notices<'py>(&self, py: Python<'py>) -> PyResult<Option<Vec<Bound<'py, PyTuple>>>> {
        let notices = Arc::clone(self.host.engine.notices());
        let Some(taken) = py.detach(move || notices.take()) else {
            return Ok(None);
        };
        taken
            .into_iter()
            .map(|notice| notice_tuple(py, notice))
            .collect::<PyResult<_>>()
            .map(Some)
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
        py.detach(|| self.host.engine.stop(grace));
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
        let kwargs = call_context::depart(py, Some(kwargs.clone()))?;
        let Arguments {
            payload: arguments,
            held: _held,
            dependencies,
            tasks: _tasks,
        } = encode_arguments(Some(cls.as_any()), args, kwargs.as_ref())?;
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
        let report = py.detach(|| self.host.engine.store_report());
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
        py.detach(|| self.host.engine.profile(path, traced))?;
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

fn notice_tuple(py: Python<'_>, notice: Notice) -> PyResult<Bound<'_, PyTuple>> {
    match notice {
        Notice::Output {
            uid,
            error,
            origin,
            line,
        } => {
            let text = String::from_utf8_lossy(&line).into_owned();
            let stream = if error { "stderr" } else { "stdout" };
            ("output", uid, stream, text, origin).into_pyobject(py)
        }
        Notice::Drained(token) => ("drained", token).into_pyobject(py),
        Notice::Log { uid, level, text } => ("report", level, text, uid).into_pyobject(py),
        Notice::Exhausted(reason) => ("exhausted", reason).into_pyobject(py),
        Notice::Joined(uid) => ("joined", uid).into_pyobject(py),
        Notice::Died { uid, cause } => ("died", uid, cause).into_pyobject(py),
        Notice::Choose(tessera) => ("choose", tessera.owner.0, tessera.sequence).into_pyobject(py),
        Notice::Ended(token) => ("done", token).into_pyobject(py),
    }
}
