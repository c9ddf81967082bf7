//! Encoded values on their way: the rules carry them, count the references in them, and never look inside.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::call::{Failure, FailureKind};
use crate::id::{NodeId, ObjectId, RuntimeId};

/// A list that is nearly always empty, and takes one word then: a million calls may wait with theirs.
pub type ThinVec<T> = thin_vec::ThinVec<T>;

/// A reference found inside an encoded value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reference {
    /// What is referred to.
    pub object: ObjectId,
    /// The runtime that counts its holders: the host of a tessera, the owner of a task.
    pub authority: RuntimeId,
}

/// A buffer that lies in a store, in memory that the processes of a machine share or on its disk. It stays
/// where it is; what travels is a description of the place. Its holders are counted as those of any object.
pub trait Stored: Debug + Send + Sync {
    /// What is counted: the buffer, and the runtime in whose store it lies.
    fn reference(&self) -> Reference;
    /// The machine in whose stores it lies: only the processes there can map it.
    fn node(&self) -> NodeId;
    /// Length in bytes.
    fn length(&self) -> u64;
    /// The store's own type back.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// Why a part of a value is not here although its message came.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Loss {
    /// The process had no file descriptor left for the buffer.
    #[error(
        "no file descriptor was left for a buffer of {length} bytes: the process has as many open as it may \
         (RLIMIT_NOFILE = {limit}). Close files, or raise the limit (`ulimit -n`) before the program starts"
    )]
    Descriptors {
        /// Length of the buffer in bytes.
        length: u64,
        /// How many the process may have open.
        limit: u64,
    },
    /// There was no memory for it.
    #[error("no memory for {0} bytes of a message")]
    Memory(u64),
    /// It is longer than a message may be.
    #[error("{what} of {length}, at most {limit} allowed")]
    TooLong {
        /// Of what.
        what: &'static str,
        /// How much came.
        length: u64,
        /// What is allowed.
        limit: u64,
    },
    /// It makes no sense.
    #[error("a message that cannot be read: {0}")]
    Malformed(&'static str),
    /// The system refused.
    #[error("{0}")]
    System(String),
}

impl Loss {
    /// The kind of failure that it is for those who wait for the value.
    pub const fn kind(&self) -> FailureKind {
        match self {
            Self::Descriptors { .. } => FailureKind::Descriptors,
            Self::Memory(_) => FailureKind::Memory,
            Self::TooLong { .. } | Self::Malformed(_) | Self::System(_) => FailureKind::Rejected,
        }
    }

    /// The failure for those who wait for the value.
    #[expect(
        clippy::unnecessary_box_returns,
        reason = "outcomes hold failures in boxes"
    )]
    pub fn failure(&self) -> Box<Failure> {
        Failure::new(self.kind(), self.to_string())
    }
}

/// A buffer beside the body.
#[derive(Clone, Debug)]
pub enum Segment {
    /// Bytes of this process, which travel.
    Bytes(Bytes),
    /// Bytes in a store, which do not.
    Stored(Arc<dyn Stored>),
    /// Bytes that could not be had: the value cannot be rebuilt. Never on the wire.
    Lost(Arc<Loss>),
}

impl Segment {
    /// Length in bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Stored(stored) => stored.length(),
            Self::Lost(loss) => match **loss {
                Loss::Descriptors { length, .. } => length,
                _ => 0,
            },
        }
    }
}

impl PartialEq for Segment {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bytes(own), Self::Bytes(other)) => own == other,
            (Self::Stored(own), Self::Stored(other)) => own.reference() == other.reference(),
            (Self::Lost(own), Self::Lost(other)) => own == other,
            _ => false,
        }
    }
}

impl From<Bytes> for Segment {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

/// An encoded value: in-band bytes, large buffers beside them, and the references inside.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Payload {
    /// How `body` is encoded; only the executor's side knows the meaning.
    pub format: u8,
    /// The in-band bytes.
    pub body: Bytes,
    /// Buffers that travel beside the body without being copied into it.
    pub segments: ThinVec<Segment>,
    /// References nested in the value, those of stored segments among them.
    pub references: ThinVec<Reference>,
}

impl Payload {
    /// One of which nothing is here but the references.
    pub fn lost(format: u8, references: ThinVec<Reference>, loss: Loss) -> Self {
        Self {
            format,
            body: Bytes::new(),
            segments: std::iter::once(Segment::Lost(loss.into())).collect(),
            references,
        }
    }

    /// Why it cannot be rebuilt, if part of it is not here.
    pub fn loss(&self) -> Option<&Loss> {
        self.segments.iter().find_map(|segment| match segment {
            Segment::Lost(loss) => Some(&**loss),
            _ => None,
        })
    }

    /// Length in bytes, wherever they lie.
    pub fn size(&self) -> usize {
        self.body.len() + self.segments.iter().map(Segment::length).sum::<u64>() as usize
    }

    /// Length in bytes of what moves when the payload travels.
    pub fn moving(&self) -> usize {
        let moving = |segment: &Segment| match segment {
            Segment::Bytes(bytes) => bytes.len(),
            Segment::Stored(_) | Segment::Lost(_) => 0,
        };
        self.body.len() + self.segments.iter().map(moving).sum::<usize>()
    }
}
