//! What `mrun` starts, as Python sees it: the monitor, the node agent, the command.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;

use mosaic_runtime::launcher::monitor::{Monitor, MonitorConfig};
use mosaic_runtime::launcher::{AgentSeat, agent, command};
use pyo3::prelude::*;

use crate::engine::engine_error;
use crate::waiting::{block, deadline};

/// The monitor of this process.
#[pyclass(frozen, name = "Monitor", module = "mosaic._core")]
pub(crate) struct PyMonitor {
    monitor: Monitor,
}

#[pymethods]
impl PyMonitor {
    /// Start the monitor and the node agent; the agent by a command, or in this process without one.
    #[new]
    #[pyo3(signature = (agent_command, key))]
    fn new(py: Python<'_>, agent_command: Option<Vec<OsString>>, key: PathBuf) -> PyResult<Self> {
        let config = MonitorConfig {
            agent: agent_command,
            key,
            report,
        };
        let monitor = py
            .detach(|| Monitor::start(config))
            .map_err(|error| engine_error(py, &error))?;
        Ok(Self { monitor })
    }

    #[getter]
    fn directory(&self) -> PathBuf {
        self.monitor.directory().to_path_buf()
    }

    #[getter]
    fn agent(&self) -> Option<u32> {
        self.monitor.agent()
    }

    fn wait_ready(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let deadline = deadline(timeout);
        block(py, || self.monitor.wait_ready(deadline))
    }

    fn guard(&self, command: Option<u32>) {
        self.monitor.guard(command);
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.monitor.stop());
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
    py.detach(|| agent(&AgentSeat::from_environment()?))
        .map_err(|error| engine_error(py, &error))
}

/// Start a command in a process group of its own, which gets the terminal of that descriptor; return its process id.
#[pyfunction]
#[pyo3(signature = (command, environment, terminal = None))]
pub(crate) fn spawn_command(
    command: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    terminal: Option<RawFd>,
) -> PyResult<u32> {
    Ok(command::spawn(&command, environment, terminal)?)
}
