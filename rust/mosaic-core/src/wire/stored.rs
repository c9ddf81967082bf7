//! Segments that do not travel: what a frame says of them instead, written and read by whoever owns the store.

use std::sync::Arc;

use bytes::BytesMut;

use super::WireError;
use crate::id::NodeId;
use crate::payload::{Loss, Stored};

/// Longest description of a stored segment, in bytes.
pub const LONGEST_DESCRIPTION: u64 = 256;

/// Finds the segment of a description as it travels: the machine (4 bytes, little-endian), and what its store wrote.
pub(super) fn find(
    borrower: &mut dyn Borrower,
    description: &[u8],
) -> Result<Arc<dyn Stored>, Loss> {
    let (node, description) = description
        .split_first_chunk::<4>()
        .ok_or(Loss::Malformed("description of a stored segment"))?;
    if NodeId(u32::from_le_bytes(*node)) != borrower.node() {
        return Err(Loss::Malformed("a buffer in a store of another machine"));
    }
    borrower.find(description)
}

/// Marks, in the table of segment lengths, the description of a stored segment.
pub(super) const STORED: u64 = 1 << 63;

/// Says where a stored segment lies, for one peer.
pub trait Lender {
    /// Appends the description of a segment. It may rely on those before it in the same frame.
    ///
    /// # Errors
    /// The segment cannot be had any more; the frame is not sent.
    fn describe(&mut self, segment: &Arc<dyn Stored>, out: &mut BytesMut) -> Result<(), WireError>;
}

/// Finds the segments that a peer describes.
pub trait Borrower {
    /// The machine whose stores this process can map. A segment in a store of another one is lost.
    fn node(&self) -> NodeId;

    /// The segment of a description, in the order in which they were written.
    ///
    /// # Errors
    /// The segment cannot be had: the value that it belongs to is lost, and nothing else.
    fn find(&mut self, description: &[u8]) -> Result<Arc<dyn Stored>, Loss>;
}

/// For connections over which no stored segment goes.
#[derive(Debug, Default)]
pub struct NoStore;

impl Lender for NoStore {
    fn describe(&mut self, _: &Arc<dyn Stored>, _: &mut BytesMut) -> Result<(), WireError> {
        Err(WireError::Malformed(
            "a stored segment where there is no store",
        ))
    }
}

impl Borrower for NoStore {
    fn node(&self) -> NodeId {
        NodeId::FIRST
    }

    fn find(&mut self, _: &[u8]) -> Result<Arc<dyn Stored>, Loss> {
        Err(Loss::Malformed("a stored segment where there is no store"))
    }
}
