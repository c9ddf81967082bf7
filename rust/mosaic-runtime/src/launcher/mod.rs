//! What `mrun` starts: a monitor and a node agent, processes without user code, and the program's command.
//!
//! ```text
//! mrun (monitor) ── node agent ── workers, warehouse
//!        │              ╎ news
//!        └── command ── head (the program's process)
//! ```
//!
//! The monitor lets one head in at a time and tells it where the agents are; the agents start and watch processes for
//! whichever head has them. All listen on Unix sockets in one private directory, behind the same handshake as every
//! other connection, and an agent could as well be started by somebody else.
//!
//! Whoever of them dies, the others see it by a closed connection and tidy up (`LAUNCH-1`): the agent ends its
//! workers with its head and everything with the monitor; a head gives up its workers with the agent or the monitor.

mod admission;
pub(crate) mod agent;
pub mod command;
pub(crate) mod guard;
pub mod monitor;
pub(crate) mod protocol;

pub use agent::{AgentConfig, agent};

/// The monitor's socket in the directory.
pub(crate) const MONITOR_SOCKET: &str = "monitor.sock";
/// An agent's socket in the directory.
pub(crate) const AGENT_SOCKET: &str = "node-0.sock";
/// The name of this machine's node.
pub(crate) const NODE_UID: &str = "node:0";
/// Connections to a monitor or an agent that may be in the handshake at a time.
const HALF_OPEN: usize = 16;
