//! Memory for buffers, kept warm: taking fresh pages from the system costs fifteen times as much as using those
//! that are there.
//!
//! Memory comes in slabs, each a memory file that this process keeps mapped. Small buffers share slabs; a large one
//! has a slab of its own, which the next of about its size takes over. An extent that is dropped goes back to its
//! slab and stays warm until the store gives idle memory back.
//!
//! Every byte that may be resident is entered in the quota, before it is touched (`POOL-1`). No two extents overlap
//! (`POOL-2`).

use std::io;
use std::sync::Arc;

use super::memfd::{Mapping, MemoryFile, PIECE, WHOLE_DIRECTORIES, pieces};
use super::quota::QuotaSlot;
use super::ranges::Ranges;
use crate::node::descriptors;
use crate::sync::{Mutex, Rank};

/// Buffers up to this length share slabs.
const SMALL: usize = 8 << 20;
/// Length of a shared slab.
const SHARED_SLAB: usize = 32 << 20;
/// Large buffers have slabs of their own up to this many slabs; then they share, for each slab is a descriptor here and
/// in every process that looks at it.
const MAX_OWN: usize = if cfg!(test) { 3 } else { 64 };
/// Length of a slab that large buffers share: addresses, of which only what buffers lie in takes memory.
const LARGE_SLAB: usize = 1 << 30;

/// Whether a large buffer may share a slab: several of its length fit, and views of it map nothing beyond it.
const fn shares(length: usize) -> bool {
    length > SMALL && length < WHOLE_DIRECTORIES && cfg!(target_pointer_width = "64")
}

/// Why there is no memory for a buffer.
#[derive(Debug)]
pub(crate) enum NoMemory {
    /// The node's limit is reached.
    Limit,
    /// The system refused.
    System(io::Error),
}

/// A memory file that buffers lie in.
#[derive(Debug)]
pub(crate) struct Slab {
    /// Counts up within the process.
    pub(crate) number: u64,
    pub(crate) file: Arc<MemoryFile>,
    pub(crate) mapping: Mapping,
    space: Mutex<Space>,
    slot: Arc<QuotaSlot>,
}

/// What is free in a slab, and what is warm.
#[derive(Debug)]
struct Space {
    free: Ranges,
    /// For each piece, whether it may be resident.
    warm: Vec<bool>,
    used: usize,
}

impl Space {
    fn cold_pieces(&self, offset: usize, length: usize) -> usize {
        let range = offset / PIECE..(offset + length) / PIECE;
        self.warm[range].iter().filter(|warm| !**warm).count()
    }

    /// Where that many bytes are free: where the fewest of them are cold, and of those the tightest range.
    fn find(&self, length: usize) -> Option<(usize, usize)> {
        let fitting = self.ranges().filter(|(_, free)| *free >= length);
        fitting
            .map(|(offset, free)| (self.cold_pieces(offset, length), free, offset))
            .min()
            .map(|(cold, _, offset)| (cold, offset))
    }

    fn ranges(&self) -> impl Iterator<Item = (usize, usize)> {
        let free = self.free.iter();
        free.map(|(offset, length)| (offset as usize, length as usize))
    }

    fn take(&mut self, offset: usize, length: usize) {
        self.free.take(offset as u64, length as u64);
        self.used += length;
    }

    fn put_back(&mut self, offset: usize, length: usize) {
        self.free.put_back(offset as u64, length as u64);
        self.used -= length;
    }
}

impl Slab {
    fn new(number: u64, length: usize, slot: &Arc<QuotaSlot>) -> io::Result<Arc<Self>> {
        let file = MemoryFile::create(length)?;
        let mapping = Mapping::shared(&file, 0, length)?;
        Ok(Arc::new(Self {
            number,
            file: Arc::new(file),
            mapping,
            space: Mutex::new(
                Rank::SlabSpace,
                Space {
                    free: Ranges::whole(length as u64),
                    warm: vec![false; length / PIECE],
                    used: 0,
                },
            ),
            slot: Arc::clone(slot),
        }))
    }

    /// An extent of that many bytes, if there is room for it. Fresh pages are taken without any lock: that takes
    /// long, and the I/O thread drops extents.
    fn allocate(self: &Arc<Self>, length: usize) -> Result<Option<Extent>, NoMemory> {
        let mut space = self.space.lock();
        let Some((cold, offset)) = space.find(length) else {
            return Ok(None);
        };
        let cold = cold * PIECE;
        if cold > 0 && !self.slot.grow(cold) {
            return Err(NoMemory::Limit);
        }
        space.take(offset, length);
        space.warm[offset / PIECE..(offset + length) / PIECE].fill(true);
        drop(space);
        self.slot.busy(length - cold);
        let extent = Extent {
            slab: Arc::clone(self),
            offset,
            length,
        };
        if cold > 0
            && let Err(error) = self.mapping.populate(offset, length)
        {
            // It goes back as it is, and to the system with what else is idle.
            return Err(NoMemory::System(error));
        }
        Ok(Some(extent))
    }

    /// Give the memory of what is free back to the system. Returns how many bytes that were.
    fn give_back(&self) -> usize {
        let mut space = self.space.lock();
        let warm: Vec<_> = space
            .ranges()
            .filter(|&(at, length)| space.cold_pieces(at, length) * PIECE < length)
            .collect();
        // In use, as long as the system takes its time with them.
        for &(offset, length) in &warm {
            space.take(offset, length);
        }
        drop(space);
        let mut given = 0;
        for (offset, length) in warm {
            let gone = self.file.give_back(offset, length).is_ok();
            let mut space = self.space.lock();
            if gone {
                given += length - space.cold_pieces(offset, length) * PIECE;
                space.warm[offset / PIECE..(offset + length) / PIECE].fill(false);
            }
            space.put_back(offset, length);
        }
        self.slot.busy(given);
        self.slot.shrink(given);
        given
    }

    fn is_unused(&self) -> bool {
        self.space.lock().used == 0
    }

    fn warm(&self) -> usize {
        let space = self.space.lock();
        space.warm.iter().filter(|warm| **warm).count() * PIECE
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        // Readers may still map the file: what is free of it is everything by now.
        if self.file.give_back(0, self.file.length()).is_err() {
            // Goes with the last mapping.
        }
        let warm = self.warm();
        self.slot.busy(warm);
        self.slot.shrink(warm);
    }
}

/// Part of a slab, used by one buffer.
#[derive(Debug)]
pub(crate) struct Extent {
    pub(crate) slab: Arc<Slab>,
    pub(crate) offset: usize,
    pub(crate) length: usize,
}

impl Extent {
    /// Where its bytes are in this process.
    pub(crate) fn address(&self) -> *mut u8 {
        // SAFETY: extents lie within their slab's mapping.
        unsafe { self.slab.mapping.address().add(self.offset) }
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        self.slab.space.lock().put_back(self.offset, self.length);
        self.slab.slot.left(self.length);
    }
}

/// All slabs of a process.
#[derive(Debug)]
pub(crate) struct Pool {
    slabs: Mutex<Slabs>,
    slot: Arc<QuotaSlot>,
}

#[derive(Debug, Default)]
struct Slabs {
    all: Vec<Arc<Slab>>,
    made: u64,
}

impl Pool {
    pub(crate) fn new(slot: Arc<QuotaSlot>) -> Self {
        Self {
            slabs: Mutex::with_default(Rank::PoolSlabs),
            slot,
        }
    }

    /// Memory for a buffer of that many bytes, warm if there is any.
    pub(crate) fn allocate(&self, length: usize) -> Result<Extent, NoMemory> {
        let length = pieces(length.max(1));
        let fits = |slab: &&Arc<Slab>| {
            let size = slab.file.length();
            if length <= SMALL {
                size == SHARED_SLAB
            } else {
                // A large one wastes at most a quarter of the slab that it takes over.
                let own = size >= length && size <= length + length / 4 && slab.is_unused();
                own || size == LARGE_SLAB && shares(length)
            }
        };
        let all = self.slabs.lock().all.clone();
        let mut candidates: Vec<_> = all.iter().filter(fits).collect();
        candidates.sort_by_key(|slab| slab.file.length());
        for slab in candidates {
            if let Some(extent) = slab.allocate(length)? {
                return Ok(extent);
            }
        }
        let mut slabs = self.slabs.lock();
        let many = slabs.all.len() >= MAX_OWN && shares(length);
        let size = match length {
            ..=SMALL => SHARED_SLAB,
            _ if many => LARGE_SLAB,
            own => own,
        };
        slabs.made += 1;
        let slab = match Slab::new(slabs.made, size, &self.slot) {
            // A limit may be set on addresses (`ulimit -v`).
            Err(error) if many && !descriptors::are_short(&error) => {
                Slab::new(slabs.made, length, &self.slot)
            }
            slab => slab,
        };
        let slab = slab.map_err(NoMemory::System)?;
        slabs.all.push(Arc::clone(&slab));
        drop(slabs);
        slab.allocate(length)?.ok_or(NoMemory::Limit)
    }

    /// One of this process's slabs, by its number.
    pub(crate) fn slab(&self, number: u64) -> Option<Arc<Slab>> {
        let slabs = self.slabs.lock();
        slabs.all.iter().find(|slab| slab.number == number).cloned()
    }

    /// Give idle memory back to the system. Returns how many bytes that were.
    pub(crate) fn give_back(&self) -> usize {
        let all = self.slabs.lock().all.clone();
        let given = all.iter().map(|slab| slab.give_back()).sum();
        drop(all);
        let mut slabs = self.slabs.lock();
        let unused = |slab: &mut Arc<Slab>| slab.is_unused() && Arc::strong_count(slab) == 1;
        let gone: Vec<_> = slabs.all.extract_if(.., unused).collect();
        drop(slabs);
        drop(gone);
        given
    }
}

#[cfg(test)]
mod tests {
    use super::super::quota::Quota;
    use super::*;

    fn pool(limit: u64) -> (tempfile::TempDir, Pool, Arc<QuotaSlot>) {
        let directory = tempfile::tempdir().expect("a directory");
        let quota = Quota::create(directory.path(), limit).expect("a quota");
        let slot = Arc::new(quota.take_slot(7));
        (directory, Pool::new(Arc::clone(&slot)), slot)
    }

    /// `POOL-1`
    #[test]
    fn pool_1_what_may_be_resident_is_entered_and_no_more_than_the_limit() {
        let (_directory, pool, slot) = pool(40 << 20);
        let first = pool.allocate(10 << 20).expect("memory");
        assert_eq!(slot.total(), 10 << 20);
        drop(first);
        assert_eq!(slot.total(), 10 << 20, "it stays warm");
        let again = pool.allocate((10 << 20) - 5).expect("memory");
        assert_eq!(slot.total(), 10 << 20, "the warm one is used");
        let second = pool.allocate(25 << 20).expect("memory");
        assert!(matches!(pool.allocate(9 << 20), Err(NoMemory::Limit)));
        let small = pool.allocate(100).expect("memory");
        assert_eq!(slot.total(), (35 << 20) + PIECE as u64);
        drop((again, second, small));
        assert_eq!(pool.give_back(), (35 << 20) + PIECE);
        assert_eq!(slot.total(), 0);
        assert!(pool.slabs.lock().all.is_empty(), "unused slabs go");
    }

    /// `POOL-2`
    #[test]
    fn pool_2_many_large_buffers_share_slabs() {
        let (_directory, pool, slot) = pool(1 << 30);
        let length = SMALL + 1;
        let mut extents: Vec<_> = (0..8)
            .map(|_| pool.allocate(length).expect("memory"))
            .collect();
        let slabs: std::collections::BTreeSet<_> =
            extents.iter().map(|extent| extent.slab.number).collect();
        assert_eq!(slabs.len(), MAX_OWN + 1);
        assert_eq!(slot.total(), 8 * pieces(length) as u64);
        let shared: Vec<_> = extents.drain(MAX_OWN..).collect();
        for pair in shared.windows(2) {
            assert!(pair[0].offset + pair[0].length <= pair[1].offset);
        }
        // So long a one shares nothing: its views map more than their own bytes.
        let own = pool.allocate(WHOLE_DIRECTORIES).expect("memory");
        assert_eq!(own.slab.file.length(), WHOLE_DIRECTORIES);
        drop((extents, shared, own));
        pool.give_back();
        assert_eq!(slot.total(), 0);
        assert!(pool.slabs.lock().all.is_empty(), "unused slabs go");
    }

    /// `POOL-2`
    #[test]
    fn pool_2_extents_extents_do_not_overlap_and_ranges_grow_together_again() {
        let (_directory, pool, _seat) = pool(1 << 30);
        let mut extents = Vec::new();
        for round in 0..200usize {
            let length = (round * 7919) % (3 << 20) + 1;
            extents.push(pool.allocate(length).expect("memory"));
            if round % 3 == 0 {
                extents.swap_remove(round / 2 % extents.len());
            }
        }
        let mut ranges: Vec<_> = extents
            .iter()
            .map(|extent| (extent.slab.number, extent.offset, extent.length))
            .collect();
        ranges.sort_unstable();
        for pair in ranges.windows(2) {
            assert!(pair[0].0 != pair[1].0 || pair[0].1 + pair[0].2 <= pair[1].1);
        }
        let slab = Arc::clone(&extents[0].slab);
        extents.clear();
        let space = slab.space.lock();
        assert_eq!(space.ranges().collect::<Vec<_>>(), [(0, SHARED_SLAB)]);
    }
}
