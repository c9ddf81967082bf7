//! What threads and event loops wait for.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`completion`] | the end and the value of one task, and its waiters |
//! | [`mailbox`] | completions for a foreign event loop, one wake-up a batch |
//! | [`signal`] | a wake-up as a file descriptor: eventfd, or a pipe |
//! | [`threads`] | the engine's own threads, their signal mask, detection of forks |
//! | [`primitives`] | mutexes and atomics, which `make loom` replaces |

pub mod completion;
pub mod mailbox;
pub(crate) mod primitives;
pub mod signal;
pub mod threads;
