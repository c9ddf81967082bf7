//! The engine of the mosaic actor runtime: carries out what the rules in `mosaic-core` decide.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`roles`] | head and worker, put together from the parts below |
//! | [`engine`] | what a program asks of it; its start is in `starting`, its waits in `blocking`, its store in `storing` |
//! | [`executor`] | the seam to whatever runs user code |
//! | [`closures`] | an executor made of Rust closures, for programs and benches without Python |
//! | [`completion`] | tasks as their holders see them, and who waits for them |
//! | [`mailbox`] | completions to a foreign event loop, one wake-up a batch |
//! | [`node`] | the workers of a head, in its own hands or a node agent's |
//! | [`launcher`] | what `mrun` starts: the monitor, the node agent, the command |
//! | [`notice`] | what the program is told outside of any call; what workers print comes from `printed` |
//! | [`store`] | bytes of large buffers, in shared memory or on disk |
//! | [`auth`], [`directory`] | the secret, the handshake, the private directory |
//! | [`reduce`](mod@reduce) | element-wise reduction of arrays |
//! | [`telemetry`] | the recorder of a profile |
//! | [`compression`] | LZ4 for whole payloads |
//! | [`memory`] | how much memory there is, and who was killed for want of it |
//!
//! Nothing here knows Python.

pub mod compression;
pub mod engine;
mod error;
pub mod executor;
pub mod launcher;
pub mod net;
pub mod node;
pub mod notice;
pub mod reduce;
pub mod roles;
pub mod store;
pub mod sync;
pub mod telemetry;
