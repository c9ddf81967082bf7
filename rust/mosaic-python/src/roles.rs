//! Starting the engine of this process, as the head or as a worker, and what it is started with.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mosaic_core::event;
use mosaic_core::placement::LeastLoaded;
use mosaic_runtime::engine::{EngineConfig, EngineError};
use mosaic_runtime::executor::Executor;
use mosaic_runtime::node::Launch;
use mosaic_runtime::roles::{self, WorkerConfig};
use mosaic_runtime::store::StoreSettings;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::engine::PyEngine;
use crate::errors::engine_error;
use crate::executor::PythonExecutor;
use crate::host::Host;
use crate::waiting::detach;

/// What the head starts its worker processes with.
#[pyclass(frozen, module = "mosaic._core")]
pub(crate) struct WorkerLaunch(Launch);

#[pymethods]
impl WorkerLaunch {
    #[new]
    #[pyo3(signature = (*, command, environment, workers, stop_grace))]
    fn new(
        command: Vec<String>,
        environment: HashMap<String, String>,
        workers: usize,
        stop_grace: f64,
    ) -> PyResult<Self> {
        let grace = Duration::try_from_secs_f64(stop_grace).map_err(|_| {
            PyValueError::new_err(format!(
                "stop_grace must be a positive number of seconds, not {stop_grace}"
            ))
        })?;
        Ok(Self(Launch {
            command,
            environment: environment.into_iter().collect(),
            workers,
            grace,
        }))
    }
}

/// The limits of the stores: those of the environment where the program says nothing else.
#[pyclass(frozen, module = "mosaic._core")]
pub(crate) struct StoreLimits(StoreSettings);

#[pymethods]
impl StoreLimits {
    #[new]
    #[pyo3(signature = (*, memory = None, spill_directory = None, spill_limit = None))]
    fn new(
        memory: Option<&str>,
        spill_directory: Option<PathBuf>,
        spill_limit: Option<&str>,
    ) -> PyResult<Self> {
        let mut settings = StoreSettings::from_environment().map_err(PyValueError::new_err)?;
        let named = |option: &'static str| {
            move |error: String| PyValueError::new_err(format!("{option}: {error}"))
        };
        if let Some(text) = memory {
            settings
                .set_memory(text)
                .map_err(named("warehouse_memory"))?;
        }
        if let Some(text) = spill_limit {
            settings
                .set_spill_limit(text)
                .map_err(named("spill_limit"))?;
        }
        if let Some(path) = spill_directory {
            settings.spill_directory = path;
        }
        Ok(Self(settings))
    }
}

/// Where the monitor of an `mrun` is.
#[pyclass(frozen, module = "mosaic._core")]
pub(crate) struct MonitorAddress(roles::MonitorAddress);

#[pymethods]
impl MonitorAddress {
    #[new]
    #[pyo3(signature = (*, directory, process, key, commanded))]
    fn new(directory: PathBuf, process: u32, key: PathBuf, commanded: bool) -> Self {
        Self(roles::MonitorAddress {
            directory,
            monitor: process,
            key,
            commanded,
        })
    }
}

/// Who chooses the worker of a new tessera.
#[pyclass(
    frozen,
    eq,
    rename_all = "SCREAMING_SNAKE_CASE",
    module = "mosaic._core"
)]
#[derive(PartialEq)]
pub(crate) enum Placement {
    RoundRobin,
    LeastLoaded,
    Program,
}

/// The role of a runtime.
#[pyclass(
    frozen,
    eq,
    rename_all = "SCREAMING_SNAKE_CASE",
    module = "mosaic._core"
)]
#[derive(Clone, PartialEq)]
pub(crate) enum Role {
    Head,
    Worker,
    Warehouse,
}

#[pymethods]
impl Role {
    fn __str__(&self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Worker => "worker",
            Self::Warehouse => "warehouse",
        }
    }
}

/// A runtime that takes part.
#[pyclass(frozen, get_all, module = "mosaic._core")]
pub(crate) struct Member {
    runtime: u32,
    uid: String,
    pid: u32,
    role: Role,
}

impl From<event::Member> for Member {
    fn from(member: event::Member) -> Self {
        Self {
            runtime: member.runtime.0,
            uid: member.uid,
            pid: member.pid,
            role: match member.role {
                event::Role::Head => Role::Head,
                event::Role::Worker => Role::Worker,
                event::Role::Warehouse => Role::Warehouse,
            },
        }
    }
}

/// Start the head, workers as processes; monitor and node agent in this process unless that of an `mrun` is named.
#[pyfunction]
#[pyo3(signature = (launch, store, *, placement, max_pending, monitor = None, profile = None))]
pub(crate) fn start_head(
    py: Python<'_>,
    launch: &WorkerLaunch,
    store: &StoreLimits,
    placement: &Placement,
    max_pending: usize,
    monitor: Option<&MonitorAddress>,
    profile: Option<&str>,
) -> PyResult<PyEngine> {
    let mut launch = launch.0.clone();
    let limits = store.0.to_environment();
    let is_limit = |name: &String| limits.iter().any(|(limit, _)| limit == name);
    launch.environment.retain(|(name, _)| !is_limit(name));
    launch.environment.extend(limits);
    let config = EngineConfig {
        max_pending,
        foreign_strategy: *placement == Placement::Program,
        store: store.0.clone(),
    };
    let executor = PythonExecutor::new(py)?;
    let carries_out: Arc<dyn Executor> = Arc::<PythonExecutor>::clone(&executor);
    let monitor = monitor.map(|address| address.0.clone());
    let engine = detach(py, || match monitor {
        Some(address) => roles::joining_head(&config, launch, address, carries_out),
        None => roles::head(&config, launch, carries_out),
    })
    .map_err(|error| engine_error(&error))?;
    if profile.is_some()
        && let Err(error) = detach(py, || engine.profile(profile, false))
    {
        detach(py, || engine.stop(None));
        return Err(error.into());
    }
    if *placement == Placement::LeastLoaded {
        engine.set_strategy(Box::new(LeastLoaded::default()));
    }
    Host::install(py, engine, executor).map(PyEngine::new)
}

/// Join the head named in the environment, as the worker process that it started.
#[pyfunction]
pub(crate) fn join_worker(py: Python<'_>) -> PyResult<PyEngine> {
    let executor = PythonExecutor::new(py)?;
    let carries_out: Arc<dyn Executor> = Arc::<PythonExecutor>::clone(&executor);
    let engine = detach(py, || {
        let store = StoreSettings::from_environment().map_err(EngineError::System)?;
        let config = EngineConfig {
            store,
            ..EngineConfig::default()
        };
        roles::worker(WorkerConfig::from_environment()?, &config, carries_out)
    })
    .map_err(|error| engine_error(&error))?;
    Host::install(py, engine, executor).map(PyEngine::new)
}
