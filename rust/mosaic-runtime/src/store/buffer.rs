//! Buffers: bytes that do not change, in memory or on disk, reference-counted.

use std::any::Any;
use std::sync::{Arc, Weak};

use mosaic_core::id::{BufferId, NodeId, ObjectId, RuntimeId};
use mosaic_core::payload::{Reference, Stored};

use super::inner::Inner;
use super::memfd::MemoryFile;
use super::pool::Extent;
use super::spill::{Range, SpillFile, Spilled};
use crate::sync::Mutex;

/// Where the bytes of an own buffer are.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Memory(Arc<Extent>),
    Disk(Arc<Spilled>),
}

/// A buffer in this process's store.
#[derive(Debug)]
pub(crate) struct Buffer {
    pub(crate) id: BufferId,
    pub(crate) length: usize,
    pub(crate) place: Mutex<Place>,
    pub(crate) store: Weak<Inner>,
}

impl Buffer {
    pub(crate) fn place(&self) -> Place {
        self.place.lock().clone()
    }
}

fn reference(id: BufferId) -> Reference {
    Reference {
        object: ObjectId::Buffer(id),
        authority: id.owner,
    }
}

impl Stored for Buffer {
    fn reference(&self) -> Reference {
        reference(self.id)
    }

    fn node(&self) -> NodeId {
        NodeId::FIRST
    }

    fn length(&self) -> u64 {
        self.length as u64
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(store) = self.store.upgrade() {
            store.forget(self);
        }
    }
}

/// Keeps a buffer where it is, while it is viewed or exported.
#[derive(Debug)]
pub(crate) struct Pin {
    pub(crate) buffer: Arc<Buffer>,
}

impl Pin {
    /// Pin a buffer; returns where it is, and will be as long as the pin lives.
    pub(crate) fn new(store: &Inner, buffer: &Arc<Buffer>) -> (Self, Place) {
        store.pinned(buffer.id);
        let pin = Self {
            buffer: Arc::clone(buffer),
        };
        // Not before it is pinned: until then it may be on its way to disk.
        let place = buffer.place();
        (pin, place)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Some(store) = self.buffer.store.upgrade() {
            store.unpinned(self.buffer.id);
        }
    }
}

/// A buffer in another process's store, described by a peer.
#[derive(Debug)]
pub(crate) struct Borrowed {
    pub(crate) id: BufferId,
    pub(crate) length: usize,
    pub(crate) place: BorrowedPlace,
}

/// Where the bytes of a borrowed buffer are.
#[derive(Debug)]
pub(crate) enum BorrowedPlace {
    Memory {
        file: Arc<MemoryFile>,
        /// The file's number in its owner's pool.
        slab: u64,
        offset: usize,
    },
    Disk {
        file: Arc<SpillFile>,
        range: Range,
    },
}

impl Stored for Borrowed {
    fn reference(&self) -> Reference {
        reference(self.id)
    }

    fn node(&self) -> NodeId {
        NodeId::FIRST
    }

    fn length(&self) -> u64 {
        self.length as u64
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// Whose the files are that buffers lie in, and which of them, for what is imported.
pub(crate) type SlabName = (RuntimeId, u64);
