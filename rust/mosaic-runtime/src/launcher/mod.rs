//! What `mrun` starts: a monitor and a node agent, processes without user code, and the program's command.
//!
//! ```text
//! mrun (monitor) ── node agent ── workers, warehouse
//!        │              ╎ output, exits
//!        └── command ── head (the program's process)
//! ```
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`monitor`] | the monitor: starts this machine's agent, runs the command |
//! | [`admission`] | which head the monitor admits: one at a time |
//! | [`agent`](mod@agent) | the node agent: starts and supervises processes for its head |
//! | [`command`](mod@command) | the command, in a process group of its own |
//! | [`guard`] | clean-up after a monitor that was killed |
//! | [`protocol`] | messages between monitor, agent and head, and their frames |
//!
//! The monitor admits one head at a time and sends it the addresses of the agents. An agent starts and supervises
//! processes for the head that is attached to it. Both listen on Unix sockets in one private directory and require the
//! handshake of every other connection, so that a program other than `mrun` could start an agent.
//!
//! A process that dies closes its connections, and the others clean up (`LAUNCH-1`): the agent kills the workers of a
//! head that is gone, and everything when the monitor is gone; a head gives up its workers when the agent or the
//! monitor is gone.

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
