//! What `mrun` starts, as Python sees it: the monitor, the node agent, the command.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

use mosaic_runtime::launcher::monitor::{Monitor, MonitorConfig};
use mosaic_runtime::launcher::{AgentConfig, agent, command};
use mosaic_runtime::node::directory::Directory;
use mosaic_runtime::sync::{Mutex, Rank};
use pyo3::prelude::*;

use crate::errors::{MosaicError, engine_error};
use crate::waiting::{block, deadline, detach};

/// The monitor of this process: a directory first, then what listens there.
#[pyclass(frozen, name = "Monitor", module = "mosaic._core")]
pub(crate) struct PyMonitor {
    path: PathBuf,
    place: Mutex<Option<Directory>>,
    monitor: OnceLock<Monitor>,
}

impl PyMonitor {
    fn started(&self) -> PyResult<&Monitor> {
        self.monitor
            .get()
            .ok_or_else(|| MosaicError::new_err("the monitor has not been started"))
    }
}

#[pymethods]
impl PyMonitor {
    #[new]
    fn new() -> PyResult<Self> {
        let place = Directory::create()?;
        Ok(Self {
            path: place.path().to_path_buf(),
            place: Mutex::new(Rank::LauncherDirectory, Some(place)),
            monitor: OnceLock::new(),
        })
    }

    #[pyo3(signature = (agent_command, key))]
    fn start(
        &self,
        py: Python<'_>,
        agent_command: Option<Vec<OsString>>,
        key: PathBuf,
    ) -> PyResult<()> {
        let Some(place) = self.place.lock().take() else {
            return Err(MosaicError::new_err("the monitor was started before"));
        };
        let config = MonitorConfig {
            agent: agent_command,
            key,
            report,
        };
        let monitor =
            detach(py, || Monitor::start(place, config)).map_err(|error| engine_error(&error))?;
        // Only one thread can have had the place.
        let _ = self.monitor.set(monitor);
        Ok(())
    }

    #[getter]
    fn directory(&self) -> PathBuf {
        self.path.clone()
    }

    #[getter]
    fn agent(&self) -> Option<u32> {
        self.monitor.get().and_then(Monitor::agent)
    }

    fn wait_ready(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let monitor = self.started()?;
        let deadline = deadline(timeout);
        block(py, || monitor.wait_ready(deadline))
    }

    fn guard(&self, command: Option<u32>) {
        if let Some(monitor) = self.monitor.get() {
            monitor.guard(command);
        }
    }

    fn stop(&self, py: Python<'_>) {
        detach(py, || {
            let place = self.place.lock().take();
            if let Some(place) = place {
                place.leave();
                place.remove();
            }
            if let Some(monitor) = self.monitor.get() {
                monitor.stop();
            }
        });
    }
}

/// Said past Python, whose interpreter may be at anything.
fn report(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "mrun: {text}");
}

/// Be the node agent that the monitor named in the environment has started, until it ends.
#[pyfunction]
pub(crate) fn run_agent(py: Python<'_>) -> PyResult<()> {
    detach(py, || agent(&AgentConfig::from_environment()?)).map_err(|error| engine_error(&error))
}

/// Start a command in a process group of its own; return its process id.
#[pyfunction]
#[expect(
    clippy::needless_pass_by_value,
    reason = "an argument that was converted from Python's is ours"
)]
pub(crate) fn spawn_command(
    command: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
) -> PyResult<u32> {
    Ok(command::spawn(&command, environment)?)
}
