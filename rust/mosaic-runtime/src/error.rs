//! `EngineError`: why the engine refuses something.

use std::io;

use crate::store::StoreError;

/// Why the engine refused something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// It has stopped.
    #[error("the runtime has stopped")]
    Stopped,
    /// It belongs to the process that this one was forked from.
    #[error(
        "this process was forked from one with a runtime, which does not go along: start one of its own here"
    )]
    Forked,
    /// Too many tasks have not ended.
    #[error("{0} tasks have not ended yet: await some of them, or raise `max_pending`")]
    Backpressure(usize),
    /// The time passed.
    #[error("timed out")]
    TimedOut,
    /// A Unix signal came in; try again after its handlers ran.
    #[error("interrupted by a signal")]
    Interrupted,
    /// Workers cannot be started.
    #[error("{0}")]
    NoWorkers(String),
    /// The store refused a buffer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system refused something.
    #[error("{0}")]
    System(String),
}

impl From<std::io::Error> for EngineError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::Interrupted {
            Self::Interrupted
        } else {
            Self::System(error.to_string())
        }
    }
}

/// The suffix of a message about the end of a connection: its error, if it had one.
pub(crate) fn because(error: Option<&io::Error>) -> String {
    error.map_or_else(String::new, |error| format!(": {error}"))
}
