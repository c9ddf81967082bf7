//! What threads and event loops wait for.

pub mod completion;
pub mod mailbox;
pub(crate) mod primitives;
pub mod signal;
pub mod threads;
