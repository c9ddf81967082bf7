//! Encoded values on their way: the rules carry them, count the references in them, and never look inside.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{ObjectId, RuntimeId};

/// A list that is nearly always empty, and takes one word then: a million calls may wait with theirs.
pub type Few<T> = thin_vec::ThinVec<T>;

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
    /// Length in bytes.
    fn length(&self) -> u64;
    /// The store's own type back.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// A buffer beside the body.
#[derive(Clone, Debug)]
pub enum Segment {
    /// Bytes of this process, which travel.
    Bytes(Bytes),
    /// Bytes in a store, which do not.
    Stored(Arc<dyn Stored>),
}

impl Segment {
    /// Length in bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Stored(stored) => stored.length(),
        }
    }
}

impl PartialEq for Segment {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bytes(own), Self::Bytes(other)) => own == other,
            (Self::Stored(own), Self::Stored(other)) => own.reference() == other.reference(),
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
    pub segments: Few<Segment>,
    /// References nested in the value, those of stored segments among them.
    pub references: Few<Reference>,
}

impl Payload {
    /// Length in bytes, wherever they lie.
    pub fn size(&self) -> usize {
        self.body.len() + self.segments.iter().map(Segment::length).sum::<u64>() as usize
    }

    /// Length in bytes of what moves when the payload travels.
    pub fn moving(&self) -> usize {
        let moving = |segment: &Segment| match segment {
            Segment::Bytes(bytes) => bytes.len(),
            Segment::Stored(_) => 0,
        };
        self.body.len() + self.segments.iter().map(moving).sum::<usize>()
    }
}
