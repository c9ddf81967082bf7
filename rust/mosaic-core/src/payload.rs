//! Encoded values on their way: the rules carry them, count the references in them, and never look inside.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{ObjectId, RuntimeId};

/// A reference found inside an encoded value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reference {
    /// What is referred to.
    pub object: ObjectId,
    /// The runtime that counts its holders: the host of a tessera, the owner of a task.
    pub authority: RuntimeId,
}

/// An encoded value: in-band bytes, large buffers beside them, and the references inside.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Payload {
    /// How `body` is encoded; only the executor's side knows the meaning.
    pub format: u8,
    /// The in-band bytes.
    pub body: Bytes,
    /// Buffers that travel beside the body without being copied into it.
    pub segments: Vec<Bytes>,
    /// References nested in the value.
    pub references: Vec<Reference>,
}

impl Payload {
    /// Length in bytes of everything that moves.
    pub fn size(&self) -> usize {
        self.body.len() + self.segments.iter().map(Bytes::len).sum::<usize>()
    }
}
