//! Connections between runtimes: from the listening socket to frames.

pub(crate) mod connections;
pub mod handshake;
pub(crate) mod listener;
pub(crate) mod poller;
pub(crate) mod reader;
pub(crate) mod scm_rights;
pub(crate) mod writer;
