//! The rules of the mosaic actor runtime, as a state machine without I/O.
//!
//! Everything here is a state machine over plain data: [`machine::Machine::handle`] takes an
//! [`event::Event`] and appends [`event::Action`]s. No sockets, no threads, no clock, no randomness:
//! whoever carries out the actions (the `mosaic-runtime` crate, or a simulated network in the tests)
//! brings those. Every interleaving, crash and time-out can therefore be replayed from a seed.
//!
//! | module | what it decides |
//! | --- | --- |
//! | [`id`] | identifiers of runtimes, tasks, tesserae and buffers |
//! | [`payload`] | encoded values and the references inside them |
//! | [`call`] | calls and their outcomes as data |
//! | [`wire`] | messages, frames, limits |
//! | [`event`] | the interface of the state machine: events and actions |
//! | [`machine`] | the state machine of one runtime: tables and routing |
//! | `caller` | tasks that a runtime owns, and the calls on their way to tesserae |
//! | `callee` | tesserae that live in a runtime, and the calls that have arrived for them |
//! | `results` | outcomes of tasks: stored, subscribed to, fetched |
//! | `values` | values that programs put |
//! | `references` | distributed reference counts |
//! | `membership` | which runtimes take part, and what follows from a death |
//! | [`link`] | what follows from the loss of a connection between two runtimes that live |
//! | [`placement`] | which worker gets a new tessera |
//! | `barrier` | when all tasks submitted before a moment have ended |
//! | `warehouse` | when the warehouse starts, and which calls wait for it |
//! | [`catalog`] | which buffers of a store are in memory, and which are spilled to disk |
#![forbid(unsafe_code)]

mod barrier;
pub mod call;
mod callee;
mod caller;
pub mod catalog;
pub mod event;
pub mod id;
pub mod link;
pub mod machine;
mod membership;
pub mod payload;
pub mod placement;
mod references;
mod results;
mod values;
mod warehouse;
pub mod wire;
