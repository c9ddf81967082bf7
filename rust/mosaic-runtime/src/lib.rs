//! The engine of the mosaic actor runtime: carries out what the state machine in `mosaic-core` decides.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`engine`] | one runtime in this process: its API, its event loop, its locks |
//! | [`net`] | sockets: listener, handshake, read and write halves, descriptor passing |
//! | [`sync`] | completions, mailboxes, wake-ups and threads |
//! | [`executor`] | the trait that runs user code, the queue of its main thread, an implementation in Rust |
//! | [`store`] | large buffers in shared memory or on disk |
//! | [`node`] | the processes of one machine: start, supervision, standard output, exit status, directory |
//! | [`launcher`] | what `mrun` starts: the monitor, the node agent, the command |
//! | [`roles`] | head and worker, put together from the modules above |
//! | [`notice`] | the queue of notices to the program: output, deaths, log records |
//! | [`telemetry`] | the recorder of a profile |
//! | [`reduce`](mod@reduce) | element-wise reduction of arrays |
//! | [`compression`] | LZ4 for whole payloads |
//! | `error` | `EngineError`, the error of the public API |
//!
//! Each folder maps its own files in its `mod.rs`. Nothing here knows Python.

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
