//! Connections between runtimes: Unix sockets from the listener to decoded messages.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`listener`] | accepting and dialling; the task that serves one connection |
//! | [`handshake`] | mutual authentication before the first frame |
//! | [`connections`] | which connection to each peer is current, and what follows from its loss |
//! | [`reader`] | read halves: bytes to messages, by the I/O thread or by a waiting thread |
//! | [`writer`] | write halves and the queue of frames to each peer |
//! | [`poller`] | readiness of all read halves, which an inline poller can mask |
//! | [`scm_rights`] | file descriptors over a Unix socket |
//!

pub(crate) mod connections;
pub mod handshake;
pub(crate) mod listener;
pub(crate) mod poller;
pub(crate) mod reader;
pub(crate) mod scm_rights;
pub(crate) mod writer;
