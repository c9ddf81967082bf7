//! The roles that a process can have on one machine, put together from the other modules.

use std::path::PathBuf;
use std::sync::Arc;

use mosaic_core::event::Role;
use mosaic_core::id::RuntimeId;

use crate::directory::Directory;
use crate::engine::{Engine, EngineConfig, EngineError};
use crate::executor::Executor;
use crate::node::{self, Launch, Node};

/// Start the head: the monitor and this machine's node agent, in the program's own process.
pub fn head(
    config: &EngineConfig,
    launch: Launch,
    executor: Arc<dyn Executor>,
) -> Result<Engine, EngineError> {
    Engine::start(
        RuntimeId::HEAD,
        "head".into(),
        Directory::create()?,
        config,
        executor,
        Some(Node::new(launch)),
    )
}

/// What a worker, or the warehouse, has to know before it can join.
#[derive(Debug, Clone)]
pub struct WorkerSeat {
    /// The runtime's directory.
    pub directory: PathBuf,
    /// Its number.
    pub runtime: RuntimeId,
    /// Its name.
    pub uid: String,
    /// What it is there for.
    pub role: Role,
    /// The process to end with: that of the head. `None` for a worker inside somebody else's process.
    pub head: Option<u32>,
}

impl WorkerSeat {
    /// The one that the node agent put into the environment.
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
        })
    }
}

/// Join a head as one of its workers, or as its warehouse.
pub fn worker(
    seat: WorkerSeat,
    config: &EngineConfig,
    executor: Arc<dyn Executor>,
) -> Result<Engine, EngineError> {
    if seat.head.is_some() {
        crate::threads::unblock_signals();
    }
    let directory = Directory::join(&seat.directory)?;
    Engine::start_worker(seat, directory, config, executor)
}
