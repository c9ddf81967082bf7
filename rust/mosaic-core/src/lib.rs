//! The rules of the mosaic actor runtime, as a state machine without I/O.
//!
//! Everything here is a state machine over plain data: [`machine::Machine::handle`] takes an
//! [`event::Event`] and appends [`event::Action`]s. No sockets, no threads, no clock, no randomness:
//! the `mosaic-runtime` crate, or a simulated network in the tests, carries out the actions and
//! brings those. Every interleaving, crash and time-out can therefore be replayed from a seed.
//!
//! Data, which every owner may use:
//!
//! | module | what it describes |
//! | --- | --- |
//! | [`id`] | identifiers of runtimes, machines, tasks, tesserae and buffers |
//! | [`member`] | the runtimes that take part, and their roles |
//! | [`payload`] | encoded values and the references inside them |
//! | [`call`] | calls and their outcomes |
//! | [`recount`] | reference counts, as two runtimes exchange them after the loss of a connection |
//! | [`wire`] | messages, frames, limits |
//! | [`event`] | the interface of the state machine: events and actions |
//! | [`snapshot`] | what the owners remember, as rows |
//! | `subscriber` | who is notified of an outcome |
//!
//! Owners of tables, from the bottom up. Each owns the one below it and calls it directly; it answers those above by
//! internal events (`docs/design/owners.md`):
//!
//! | module | what it decides |
//! | --- | --- |
//! | [`membership`] | which runtimes take part, which have died, which cannot be reached |
//! | [`context`] | what is sent, and in which order internal events are taken |
//! | `references` | distributed reference counts |
//! | `values` | values that programs put |
//! | `results` | outcomes of tasks: subscribed to, fetched |
//! | `callee` | tesserae that live in a runtime, and the calls that have arrived for them |
//! | `caller` | tasks that a runtime owns, and the calls on their way to tesserae |
//! | `barrier` | when all tasks submitted before a moment have ended |
//! | `link` | the exchange of recounts after the loss of a connection between two runtimes that live |
//! | [`placement`] | on the head: which worker gets a new tessera |
//! | `warehouse` | when a warehouse starts, and which calls wait for it |
//! | [`machine`] | the state machine of one runtime: routes events to the owners |
//! | [`catalog`] | which buffers of a store are in memory, and which are spilled to disk |
#![forbid(unsafe_code)]

mod barrier;
pub mod call;
mod callee;
mod caller;
pub mod catalog;
pub mod context;
pub mod event;
pub mod id;
mod link;
pub mod machine;
pub mod member;
pub mod membership;
pub mod payload;
pub mod placement;
pub mod recount;
mod references;
mod results;
pub mod snapshot;
mod subscriber;
mod values;
mod warehouse;
pub mod wire;
