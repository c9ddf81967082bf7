//! The engine of the mosaic actor runtime: carries out what the rules in `mosaic-core` decide.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`roles`] | head and worker, put together from the parts below |
//! | [`engine`] | the I/O thread, the inbox, submissions; its waits are in `blocking`, its store in `storing` |
//! | [`executor`] | the seam to whatever runs user code |
//! | [`closures`] | an executor made of Rust closures, for programs and benches without Python |
//! | [`cell`] | tasks as their holders see them, and who waits for them |
//! | [`mailbox`] | completions to a foreign event loop, one wake-up a batch |
//! | [`node`] | starts and watches the workers of this machine |
//! | [`notice`] | what the program is told outside of any call |
//! | [`store`] | bytes of large buffers, in shared memory or on disk |
//! | [`auth`], [`directory`] | the secret, the handshake, the private directory |
//! | [`reduce`](mod@reduce) | element-wise reduction of arrays |
//! | [`telemetry`] | the recorder of a profile |
//!
//! Nothing here knows Python.

pub mod auth;
mod begun;
mod blocking;
pub mod cell;
pub mod closures;
pub mod directory;
pub mod engine;
mod error;
pub mod executor;
mod inlet;
pub mod lane;
pub mod mailbox;
mod memory;
mod net;
pub mod node;
pub mod notice;
mod passing;
mod peer;
pub mod reduce;
pub mod roles;
mod shared;
pub mod signal;
mod state;
pub mod store;
mod storing;
mod sync;
pub mod telemetry;
pub mod threads;
mod timers;
mod waiting;
