//! What `mrun` starts: a monitor and a node agent, processes without user code, and the program's command.
//!
//! ```text
//! mrun (monitor) ── node agent ── workers, warehouse
//!        │              ╎ news
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
//! The monitor admits one head at a time and sends it the addresses of the agents; an agent starts and supervises
//! processes for the head that has it. All listen on Unix sockets in one private directory, behind the same handshake
//! as every other connection; another program could start an agent as well.
//!
//! The death of one of them closes its connections, and the others clean up (`LAUNCH-1`): the agent ends its
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
