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

/// One machine of the network: its runtimes share memory, a node agent and a warehouse. The head's is number 0.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize,
)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The machine of the head.
    pub const FIRST: Self = Self(0);
}

/// One call. Made by the caller, which *owns* the task.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId {
    /// The runtime that made the call.
    pub owner: RuntimeId,
    /// Counts up within the owner.
    pub sequence: u64,
}

/// Bits of a kept value's sequence number that its maker counts up; the maker's own number is above them.
const MAKER_SHIFT: u32 = 40;

impl TaskId {
    /// A value that `maker` gives `owner` to keep: named without asking. The owner's own tasks count from 1 and
    /// never come so far.
    pub const fn kept(owner: RuntimeId, maker: RuntimeId, sequence: u64) -> Self {
        Self {
            owner,
            sequence: (maker.0 as u64) << MAKER_SHIFT | sequence,
        }
    }

    /// The runtime that gave this value to its owner to keep, if it is such a one.
    pub const fn maker(self) -> Option<RuntimeId> {
        match self.sequence >> MAKER_SHIFT {
            0 => None,
            maker => Some(RuntimeId(maker as u32)),
        }
    }
}

/// One actor. Made by the runtime that asked for it, its *owner*; hosted by a worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TesseraId {
    /// The runtime that asked for the tessera.
    pub owner: RuntimeId,
    /// Counts up within the owner. Zero is the owner's own *functions* tessera; those with the top bit are its
    /// *keyed* ones.
    pub sequence: u64,
}

/// Marks a keyed tessera.
const KEYED: u64 = 1 << 63;

impl TesseraId {
    /// The tessera that every runtime hosts from its start: plain functions run on it, in no order.
    pub const fn functions(runtime: RuntimeId) -> Self {
        Self {
            owner: runtime,
            sequence: 0,
        }
    }

    /// The tessera that a runtime hosts for a key as long as it has calls: functions run on it one at a time, in
    /// order. Two keys that share a number are only in each other's way.
    pub fn keyed(runtime: RuntimeId, key: &str) -> Self {
        // FNV-1a: the same number in every process.
        let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self {
            owner: runtime,
            sequence: hash | KEYED,
        }
    }

    /// Whether this is a runtime's own tessera for plain functions.
    pub const fn is_functions(self) -> bool {
        self.sequence == 0
    }

    /// Whether this is a runtime's own tessera for the functions of some key.
    pub const fn is_keyed(self) -> bool {
        self.sequence & KEYED != 0
    }

    /// Whether this belongs to its runtime: nobody builds it, and nobody counts references to it.
    pub const fn is_fixture(self) -> bool {
        self.is_functions() || self.is_keyed()
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
