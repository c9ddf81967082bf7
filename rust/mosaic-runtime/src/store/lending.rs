//! What a frame says of a buffer, and the files that go with it.
//!
//! ```text
//! offset  size  field
//!      0     1  where it lies: 0 memory, 1 disk
//!      1     1  1 if its file goes with this description, 0 if it went with an earlier one of the frame
//!      2     2  the file's place among those of the frame
//!      4     4  owner
//!      8     8  the buffer's number
//!     16     8  the file's number, in memory
//!     24     8  offset in the file
//!     32     8  length
//!     40     8  length on disk
//!     48     4  checksum, on disk
//! ```
//!
//! Integers are little-endian. Files leave in the order of their descriptions, and arrive no later than these.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bytes::{Buf, BufMut, BytesMut};
use mosaic_core::id::{BufferId, RuntimeId};
use mosaic_core::payload::Stored;
use mosaic_core::wire::WireError;
use mosaic_core::wire::stored::{Borrower, Lender};

use super::Store;
use super::buffer::{Borrowed, BorrowedPlace, Buffer, Place};
use super::memory::MemoryFile;
use super::spill::Range;

const LENGTH: usize = 52;
const MEMORY: u8 = 0;
const DISK: u8 = 1;

/// A file that goes to a peer with a frame.
#[derive(Clone, Debug)]
pub(crate) enum Passed {
    Memory(Arc<MemoryFile>),
    Disk(Arc<File>),
}

impl Passed {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Memory(own), Self::Memory(other)) => Arc::ptr_eq(own, other),
            (Self::Disk(own), Self::Disk(other)) => Arc::ptr_eq(own, other),
            _ => false,
        }
    }
}

impl AsFd for Passed {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Memory(file) => (**file).as_fd(),
            Self::Disk(file) => file.as_fd(),
        }
    }
}

/// Describes the buffers of one frame.
pub(crate) struct Lending<'a> {
    store: &'a Store,
    /// The files that go with the frame.
    pub(crate) files: Vec<Passed>,
}

impl<'a> Lending<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self {
            store,
            files: Vec::new(),
        }
    }
}

impl Lender for Lending<'_> {
    fn describe(&mut self, segment: &Arc<dyn Stored>, out: &mut BytesMut) -> Result<(), WireError> {
        let lost = || WireError::Malformed("a buffer of no store of ours");
        let any = Arc::clone(segment).into_any();
        let (id, length, slab, offset, range, file) = match any.downcast::<Buffer>() {
            Ok(buffer) => match self.store.lend(&buffer) {
                Place::Memory(extent) => {
                    let file = Passed::Memory(Arc::clone(&extent.slab.file));
                    let (slab, offset) = (extent.slab.number, extent.offset as u64);
                    (buffer.id, buffer.length, slab, offset, None, file)
                }
                Place::Disk(spilled) => {
                    let file = Passed::Disk(Arc::clone(&spilled.file));
                    let range = spilled.range;
                    (buffer.id, buffer.length, 0, range.offset, Some(range), file)
                }
            },
            Err(any) => {
                let borrowed = any.downcast::<Borrowed>().map_err(|_| lost())?;
                let (id, length) = (borrowed.id, borrowed.length);
                match &borrowed.place {
                    BorrowedPlace::Memory { file, slab, offset } => {
                        let file = Passed::Memory(Arc::clone(file));
                        (id, length, *slab, *offset as u64, None, file)
                    }
                    BorrowedPlace::Disk { file, range } => {
                        let file = Passed::Disk(Arc::clone(file));
                        (id, length, 0, range.offset, Some(*range), file)
                    }
                }
            }
        };
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
        Ok(())
    }
}

/// What came from one peer, and is not described yet.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    files: VecDeque<OwnedFd>,
    /// Those of the frame that is being read.
    frame: Vec<Passed>,
}

impl Arrived {
    /// A file came.
    pub(crate) fn push(&mut self, file: OwnedFd) {
        self.files.push_back(file);
    }

    /// No frame is half read: what was described is held by those who use it.
    pub(crate) fn frame_is_over(&mut self) {
        self.frame.clear();
    }

    pub(crate) fn borrowing<'a>(&'a mut self, store: &'a Store) -> Borrowing<'a> {
        Borrowing {
            store,
            arrived: self,
        }
    }
}

/// Finds the buffers that a peer describes.
pub(crate) struct Borrowing<'a> {
    store: &'a Store,
    arrived: &'a mut Arrived,
}

impl Borrowing<'_> {
    /// The file of a description.
    fn file(
        &mut self,
        disk: bool,
        new: bool,
        index: usize,
        name: (RuntimeId, u64),
    ) -> Option<Passed> {
        if !new {
            return self.arrived.frame.get(index).cloned();
        }
        if index == 0 {
            self.arrived.frame.clear();
        }
        let file = self.arrived.files.pop_front()?;
        let file = if disk {
            Passed::Disk(Arc::new(File::from(file)))
        } else {
            Passed::Memory(self.store.import(name, file).ok()?)
        };
        self.arrived.frame.push(file.clone());
        Some(file)
    }
}

impl Borrower for Borrowing<'_> {
    fn find(&mut self, description: &[u8]) -> Result<Arc<dyn Stored>, WireError> {
        let malformed = || WireError::Malformed("description of a buffer");
        if description.len() != LENGTH {
            return Err(malformed());
        }
        let mut bytes = description;
        let (kind, new, index) = (bytes.get_u8(), bytes.get_u8(), bytes.get_u16_le());
        let id = BufferId {
            owner: RuntimeId(bytes.get_u32_le()),
            sequence: bytes.get_u64_le(),
        };
        let (slab, offset, length) = (bytes.get_u64_le(), bytes.get_u64_le(), bytes.get_u64_le());
        let (stored, checksum) = (bytes.get_u64_le(), bytes.get_u32_le());
        let length = usize::try_from(length).map_err(|_| malformed())?;
        let file = self
            .file(kind == DISK, new == 1, usize::from(index), (id.owner, slab))
            .ok_or_else(malformed)?;
        let place = match (kind, file) {
            (MEMORY, Passed::Memory(file)) => {
                let offset = usize::try_from(offset).map_err(|_| malformed())?;
                let end = offset.checked_add(super::memory::pieces(length));
                if end.is_none_or(|end| end > file.length()) {
                    return Err(malformed());
                }
                BorrowedPlace::Memory { file, slab, offset }
            }
            (DISK, Passed::Disk(file)) => BorrowedPlace::Disk {
                file,
                range: Range {
                    offset,
                    stored,
                    checksum,
                },
            },
            _ => return Err(malformed()),
        };
        if let Some(own) = self.store.own(id) {
            return Ok(own);
        }
        Ok(Arc::new(Borrowed { id, length, place }))
    }
}
