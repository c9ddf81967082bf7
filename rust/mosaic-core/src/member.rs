//! Members: the runtimes that take part, as messages and events name them.

use crate::id::{NodeId, RuntimeId};

/// The role of a runtime.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub enum Role {
    /// The program's own process, with monitor and node agent.
    Head,
    /// Hosts tesserae.
    #[default]
    Worker,
    /// Holds the living values of its machine: roots of parameters, values made by functions. Hosts only tesserae that
    /// ask for the warehouse.
    Warehouse,
}

/// A runtime that takes part.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Member {
    /// Its number.
    pub runtime: RuntimeId,
    /// The machine that it runs on.
    pub node: NodeId,
    /// Its name: `worker:0:1`.
    pub uid: String,
    /// Its process.
    pub pid: u32,
    /// What it is there for.
    pub role: Role,
}
