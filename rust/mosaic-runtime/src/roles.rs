//! The roles of a process, put together from the other modules: head, head under `mrun`, worker, warehouse.

use std::path::PathBuf;
use std::sync::Arc;

use mosaic_core::event::Role;
use mosaic_core::id::RuntimeId;

use crate::engine::{Engine, EngineConfig, EngineError};
use crate::executor::Executor;
use crate::launcher::guard::{self, ParentDeathSignal};
pub use crate::node::attach::MonitorAddress;
use crate::node::attach::{Attached, attach};
use crate::node::directory::Directory;
use crate::node::{self, Launch};

/// Start the head: the monitor and this machine's node agent, in the program's own process.
pub fn head(
    config: &EngineConfig,
    launch: Launch,
    executor: Arc<dyn Executor>,
) -> Result<Engine, EngineError> {
    let directory = Directory::create()?;
    start_head(directory, config, executor, launch, None)
}

/// Start the head only, and join the monitor and the node agent that `mrun` has started.
pub fn joining_head(
    config: &EngineConfig,
    launch: Launch,
    monitor: MonitorAddress,
    executor: Arc<dyn Executor>,
) -> Result<Engine, EngineError> {
    let directory = Directory::create()?;
    // From now on the connection reports the loss of mrun, and waiters get the reason before this process ends.
    let parent_death_signal = guard::disable_parent_death_signal();
    match attach(monitor, &launch, &directory) {
        Ok(attached) => start_head(
            directory,
            config,
            executor,
            launch,
            Some((attached, parent_death_signal)),
        ),
        Err(error) => {
            parent_death_signal.restore();
            directory.leave();
            directory.remove();
            Err(error)
        }
    }
}

fn start_head(
    directory: Directory,
    config: &EngineConfig,
    executor: Arc<dyn Executor>,
    launch: Launch,
    attached: Option<(Attached, ParentDeathSignal)>,
) -> Result<Engine, EngineError> {
    Engine::start(
        RuntimeId::HEAD,
        "head".into(),
        directory,
        config,
        executor,
        launch,
        attached,
    )
}

/// What a worker, or the warehouse, has to know before it can join.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The runtime's directory.
    pub directory: PathBuf,
    /// Its number.
    pub runtime: RuntimeId,
    /// Its name.
    pub uid: String,
    /// What it is there for.
    pub role: Role,
    /// The process to end with: that of the head. `None` for a worker inside the process of another program.
    pub head: Option<u32>,
    /// The process that started it, with which it ends too: the head, or a node agent.
    pub parent: Option<u32>,
    /// The process of the monitor, for who asks.
    pub monitor: Option<u32>,
}

impl WorkerConfig {
    /// The one that the parent put into the environment.
    pub fn from_environment() -> Result<Self, EngineError> {
        let read = |name: &str| {
            std::env::var(name).map_err(|_| {
                EngineError::System(format!(
                    "{name} is not set: workers are started by mosaic, not by hand"
                ))
            })
        };
        let number = |name: &str| {
            read(name)?
                .parse()
                .map_err(|_| EngineError::System(format!("{name} is not a number")))
        };
        Ok(Self {
            directory: read(node::DIRECTORY)?.into(),
            runtime: RuntimeId(number(node::RUNTIME)?),
            uid: read(node::UID)?,
            role: if std::env::var_os(node::ROLE).is_some_and(|role| role == node::WAREHOUSE) {
                Role::Warehouse
            } else {
                Role::Worker
            },
            head: Some(number(node::HEAD)?),
            parent: Some(number(node::PARENT)?),
            monitor: Some(number(node::MONITOR)?),
        })
    }
}

/// Join a head as one of its workers, or as its warehouse.
pub fn worker(
    worker: WorkerConfig,
    config: &EngineConfig,
    executor: Arc<dyn Executor>,
) -> Result<Engine, EngineError> {
    if worker.head.is_some() {
        crate::sync::threads::unblock_signals();
    }
    let directory = Directory::join(&worker.directory)?;
    Engine::start_worker(worker, directory, config, executor)
}
