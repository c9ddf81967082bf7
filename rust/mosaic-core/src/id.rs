//! Names of things: runtimes, tasks, tesserae and buffers.
//!
//! Every id is made by the runtime that needs it, without asking anyone: a runtime draws its number
//! from the monitor when it joins, and counts its own tasks and tesserae from there. A number is
//! never given out twice, so that a replaced worker cannot be taken for the one that died.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One process of the network. The head (which hosts the monitor) is number 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuntimeId(pub u32);

impl RuntimeId {
    /// The head, which also hosts the monitor.
    pub const HEAD: Self = Self(0);
}

/// One call. Made by the caller, which *owns* the task.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId {
    /// The runtime that made the call.
    pub owner: RuntimeId,
    /// Counts up within the owner.
    pub sequence: u64,
}

/// One actor. Made by the runtime that asked for it, its *owner*; hosted by a worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TesseraId {
    /// The runtime that asked for the tessera.
    pub owner: RuntimeId,
    /// Counts up within the owner. Zero is the owner's own *functions* tessera.
    pub sequence: u64,
}

impl TesseraId {
    /// The tessera that every runtime hosts from its start: plain functions run on it, in no order.
    pub const fn functions(runtime: RuntimeId) -> Self {
        Self {
            owner: runtime,
            sequence: 0,
        }
    }

    /// Whether this is a runtime's own tessera for plain functions.
    pub const fn is_functions(self) -> bool {
        self.sequence == 0
    }
}

/// One buffer in a store. Made by the runtime in whose store it lies, its *owner*.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BufferId {
    /// The runtime in whose store it lies.
    pub owner: RuntimeId,
    /// Counts up within the owner.
    pub sequence: u64,
}

/// Anything that references are counted for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum ObjectId {
    /// A tessera; its host keeps the count.
    Tessera(TesseraId),
    /// A task and its result; its owner keeps the count.
    Task(TaskId),
    /// A buffer; its owner keeps the count.
    Buffer(BufferId),
}

macro_rules! short_debug {
    ($type:ty, $self:ident, $($format:tt)*) => {
        impl fmt::Debug for $type {
            fn fmt(&$self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $($format)*)
            }
        }
    };
}
short_debug!(RuntimeId, self, "r{}", self.0);
short_debug!(TaskId, self, "t{}.{}", self.owner.0, self.sequence);
short_debug!(BufferId, self, "b{}.{}", self.owner.0, self.sequence);
short_debug!(TesseraId, self, "a{}.{}", self.owner.0, self.sequence);
