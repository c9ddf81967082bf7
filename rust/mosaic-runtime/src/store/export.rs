//! Exported and imported buffers: their descriptions in a frame, and the files that go along.
//!
//! ```text
//! offset  size  field
//!      0     1  where it lies: 0 memory, 1 disk
//!      1     1  1 if its file goes with this description, 0 if it went with an earlier one of the frame
//!      2     2  the file's place among those of the frame
//!      4     4  owner
//!      8     8  the buffer's number
//!     16     8  the file's number in its owner's store
//!     24     8  offset in the file
//!     32     8  length
//!     40     8  length on disk
//!     48     4  checksum, on disk
//!     52     8  the file's device
//!     60     8  the file's number on that
//! ```
//!
//! Integers are little-endian. Files leave in the order of their descriptions and arrive no later than these, unless
//! the receiver has no descriptor left for them.
//!
//! - `EXPORT-1`: a received file is found by its identity (device and number), so that a lost file leaves every other
//!   one where it belongs, whichever frame described it.
//! - `EXPORT-2`: a file that is open here already need not be received again.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bytes::{Buf, BufMut, BytesMut};
use mosaic_core::id::{BufferId, NodeId, RuntimeId};
use mosaic_core::payload::{Loss, Stored};
use mosaic_core::wire::WireError;
use mosaic_core::wire::stored::{Borrower, Lender};

use super::Store;
use super::buffer::{Borrowed, BorrowedPlace, Buffer, Place, SlabName};
use super::memfd::{Identity, MemoryFile};
use super::spill::{Range, SpillFile};
use crate::node::descriptors;

const LENGTH: usize = 68;
const MEMORY: u8 = 0;
const DISK: u8 = 1;

/// A file that goes to a peer with a frame.
#[derive(Clone, Debug)]
pub(crate) enum SharedFile {
    Memory(Arc<MemoryFile>),
    Disk(Arc<SpillFile>),
}

impl SharedFile {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Memory(own), Self::Memory(other)) => Arc::ptr_eq(own, other),
            (Self::Disk(own), Self::Disk(other)) => Arc::ptr_eq(own, other),
            _ => false,
        }
    }

    fn identity(&self) -> Identity {
        match self {
            Self::Memory(file) => file.identity(),
            Self::Disk(file) => file.identity,
        }
    }
}

impl AsFd for SharedFile {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Memory(file) => (**file).as_fd(),
            Self::Disk(file) => file.as_fd(),
        }
    }
}

/// Describes the buffers of one frame.
pub(crate) struct Exporter<'a> {
    store: &'a Store,
    /// The files that go with the frame.
    pub(crate) files: Vec<SharedFile>,
}

impl<'a> Exporter<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self {
            store,
            files: Vec::new(),
        }
    }
}

impl Lender for Exporter<'_> {
    fn describe(&mut self, segment: &Arc<dyn Stored>, out: &mut BytesMut) -> Result<(), WireError> {
        let lost = || WireError::Malformed("a buffer of no store of ours");
        let any = Arc::clone(segment).into_any();
        let (id, length, slab, offset, range, file) = match any.downcast::<Buffer>() {
            Ok(buffer) => match self.store.export(&buffer) {
                Place::Memory(extent) => {
                    let file = SharedFile::Memory(Arc::clone(&extent.slab.file));
                    let (slab, offset) = (extent.slab.number, extent.offset as u64);
                    (buffer.id, buffer.length, slab, offset, None, file)
                }
                Place::Disk(spilled) => {
                    let file = SharedFile::Disk(Arc::clone(&spilled.file));
                    let (number, range) = (spilled.file.number, spilled.range);
                    (
                        buffer.id,
                        buffer.length,
                        number,
                        range.offset,
                        Some(range),
                        file,
                    )
                }
            },
            Err(any) => {
                let borrowed = any.downcast::<Borrowed>().map_err(|_| lost())?;
                let (id, length) = (borrowed.id, borrowed.length);
                match &borrowed.place {
                    BorrowedPlace::Memory { file, slab, offset } => {
                        let file = SharedFile::Memory(Arc::clone(file));
                        (id, length, *slab, *offset as u64, None, file)
                    }
                    BorrowedPlace::Disk { file, range } => {
                        let number = file.number;
                        let file = SharedFile::Disk(Arc::clone(file));
                        (id, length, number, range.offset, Some(*range), file)
                    }
                }
            }
        };
        let identity = file.identity();
        let known = self.files.iter().position(|own| own.is(&file));
        let index = known.unwrap_or_else(|| {
            self.files.push(file);
            self.files.len() - 1
        });
        out.put_u8(if range.is_some() { DISK } else { MEMORY });
        out.put_u8(u8::from(known.is_none()));
        out.put_u16_le(index as u16);
        out.put_u32_le(id.owner.0);
        out.put_u64_le(id.sequence);
        out.put_u64_le(slab);
        out.put_u64_le(offset);
        out.put_u64_le(length as u64);
        out.put_u64_le(range.map_or(0, |range| range.stored));
        out.put_u32_le(range.map_or(0, |range| range.checksum));
        out.put_u64_le(identity.device);
        out.put_u64_le(identity.number);
        Ok(())
    }
}

/// What came from one peer, and is not described yet.
#[derive(Debug, Default)]
pub(crate) struct ReceivedFiles {
    files: VecDeque<(Identity, OwnedFd)>,
    /// Those of the frame that is being read; nothing in the place of one that is not to be had.
    frame: Vec<Option<SharedFile>>,
    /// Files were lost on this connection for want of descriptors.
    truncated: bool,
}

impl ReceivedFiles {
    /// A file came.
    pub(crate) fn push(&mut self, file: OwnedFd) {
        // The system refuses this for no open file.
        if let Ok(identity) = Identity::of(&file) {
            self.files.push_back((identity, file));
        }
    }

    /// Some did not come: there were no descriptors for them.
    pub(crate) fn truncated(&mut self) {
        self.truncated = true;
    }

    /// No frame is half read: what was described is held by those who use it.
    pub(crate) fn frame_is_over(&mut self) {
        self.frame.clear();
    }

    fn take(&mut self, identity: Identity) -> Option<OwnedFd> {
        let place = self.files.iter().position(|(own, _)| *own == identity)?;
        self.files.remove(place).map(|(_, file)| file)
    }

    pub(crate) fn importer<'a>(&'a mut self, store: &'a Store) -> Importer<'a> {
        Importer {
            store,
            received: self,
        }
    }
}

/// Finds the buffers that a peer describes.
pub(crate) struct Importer<'a> {
    store: &'a Store,
    received: &'a mut ReceivedFiles,
}

/// What a description says of the file.
struct Named {
    disk: bool,
    /// It went with this description.
    new: bool,
    index: usize,
    name: SlabName,
    identity: Identity,
}

impl Importer<'_> {
    /// The file of a description; nothing if it is not here.
    fn file(&mut self, named: &Named) -> Result<Option<SharedFile>, Loss> {
        let Named {
            disk, index, name, ..
        } = *named;
        if !named.new {
            let sent = self.received.frame.get(index).cloned().flatten();
            return Ok(sent.or_else(|| self.store.known(disk, name)));
        }
        if index == 0 {
            self.received.frame.clear();
        }
        let came = self.received.take(named.identity);
        let file = match (self.store.known(disk, name), came) {
            (Some(known), _) => Ok(Some(known)),
            (None, Some(came)) => self.store.import(disk, name, came).map(Some),
            (None, None) => Ok(None),
        };
        let found = file.as_ref().ok().cloned().flatten();
        self.received.frame.push(found);
        file.map_err(|error| Loss::System(format!("a buffer cannot be shared: {error}")))
    }

    fn lost(&self, length: usize) -> Loss {
        if self.received.truncated {
            Loss::Descriptors {
                length: length as u64,
                limit: descriptors::limit(),
            }
        } else {
            malformed()
        }
    }
}

fn malformed() -> Loss {
    Loss::Malformed("description of a buffer")
}

impl Borrower for Importer<'_> {
    fn node(&self) -> NodeId {
        NodeId::FIRST
    }

    fn find(&mut self, description: &[u8]) -> Result<Arc<dyn Stored>, Loss> {
        if description.len() != LENGTH {
            return Err(malformed());
        }
        let mut bytes = description;
        let (kind, new, index) = (bytes.get_u8(), bytes.get_u8(), bytes.get_u16_le());
        let id = BufferId {
            owner: RuntimeId(bytes.get_u32_le()),
            sequence: bytes.get_u64_le(),
        };
        let (number, offset, length) = (bytes.get_u64_le(), bytes.get_u64_le(), bytes.get_u64_le());
        let (stored, checksum) = (bytes.get_u64_le(), bytes.get_u32_le());
        let identity = Identity {
            device: bytes.get_u64_le(),
            number: bytes.get_u64_le(),
        };
        // Before anything is refused: what came with this description is not to be left lying.
        let file = self.file(&Named {
            disk: kind == DISK,
            new: new == 1,
            index: usize::from(index),
            name: (id.owner, number),
            identity,
        });
        let length = usize::try_from(length).map_err(|_| malformed())?;
        if let Some(own) = self.store.own(id) {
            return Ok(own);
        }
        let file = file?.ok_or_else(|| self.lost(length))?;
        let place = match (kind, file) {
            (MEMORY, SharedFile::Memory(file)) => {
                let offset = usize::try_from(offset).map_err(|_| malformed())?;
                let end = offset.checked_add(super::memfd::pieces(length));
                if end.is_none_or(|end| end > file.length()) {
                    return Err(malformed());
                }
                BorrowedPlace::Memory {
                    file,
                    slab: number,
                    offset,
                }
            }
            (DISK, SharedFile::Disk(file)) => BorrowedPlace::Disk {
                file,
                range: Range {
                    offset,
                    stored,
                    checksum,
                },
            },
            _ => return Err(malformed()),
        };
        Ok(Arc::new(Borrowed { id, length, place }))
    }
}
