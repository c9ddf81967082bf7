//! The rules of the mosaic actor runtime.
//!
//! Everything here is a state machine over plain data: [`machine::Machine::handle`] takes an
//! [`event::Event`] and appends [`event::Action`]s. No sockets, no threads, no clock, no randomness:
//! whoever carries out the actions (the `mosaic-runtime` crate, or a simulated network in the tests)
//! brings those. Every interleaving, crash and time-out can therefore be replayed from a seed.
//!
//! | module | what it decides |
//! | --- | --- |
//! | [`id`] | names of runtimes, tasks, tesserae and buffers |
//! | [`payload`] | encoded values and the references inside them |
//! | [`call`] | what a call and its end look like |
//! | [`wire`] | messages, frames, limits |
//! | [`event`] | the interface: what happened, what to do |
//! | [`link`] | what follows when a connection is lost and both ends live |
//! | [`machine`] | the state machine of one runtime; its module names the rules beside it |
//! | [`catalog`] | which buffers of a store lie in memory, and which go to disk |
//! | [`placement`] | which worker a tessera goes to |
#![forbid(unsafe_code)]

mod arrival;
pub mod call;
pub mod catalog;
mod death;
mod ending;
pub mod event;
mod fence;
mod finding;
mod holding;
pub mod id;
mod inbound;
mod keeping;
mod kept;
pub mod link;
pub mod machine;
mod membership;
mod outcome;
pub mod payload;
pub mod placement;
mod refs;
mod route;
mod sending;
mod task;
mod tessera;
mod warehouse;
pub mod wire;
