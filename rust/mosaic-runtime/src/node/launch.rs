//! How workers are started: the command, and the environment variables that identify a worker.

use std::time::Duration;

use super::processes::{Program, as_bytes};

/// Environment of a worker: where the runtime's directory is.
pub const DIRECTORY: &str = "MOSAIC_WORKER_DIRECTORY";
/// Environment of a worker: its number.
pub const RUNTIME: &str = "MOSAIC_WORKER_RUNTIME";
/// Environment of a worker: its name.
pub const UID: &str = "MOSAIC_WORKER_UID";
/// Environment of a worker: what it is there for, [`WAREHOUSE`] or anything else.
pub const ROLE: &str = "MOSAIC_WORKER_ROLE";
/// The role of the process that keeps the machine's living values.
pub const WAREHOUSE: &str = "warehouse";
/// Environment of a worker: the process id of the head, with which it ends.
pub const HEAD: &str = "MOSAIC_WORKER_HEAD";
/// Environment of a worker: the process that started it, with which it ends too. The head, or a node agent.
pub const PARENT: &str = "MOSAIC_WORKER_PARENT";
/// Environment of a worker: the process of the monitor.
pub const MONITOR: &str = "MOSAIC_WORKER_MONITOR";

/// How workers are started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment on top of this process's own.
    pub environment: Vec<(String, String)>,
    /// How many to start at once.
    pub workers: usize,
    /// How long running methods may go on after the stop.
    pub grace: Duration,
}

impl Launch {
    /// The program to start workers with: for this process or, with all of the environment, for a node agent.
    pub(crate) fn program(&self, whole: bool) -> Program {
        let own = whole.then(std::env::vars_os).into_iter().flatten();
        let added = self
            .environment
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        // Of two with one name the later one counts.
        let environment = own
            .chain(added)
            .map(|(name, value)| (as_bytes(name), as_bytes(value)))
            .collect();
        let working_directory = whole.then(std::env::current_dir).and_then(Result::ok);
        Program {
            command: self.command.clone(),
            environment,
            whole,
            working_directory: working_directory.map(|path| as_bytes(path.into())),
        }
    }
}
