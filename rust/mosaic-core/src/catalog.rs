//! Catalogue of the buffers in one runtime's store: which are in memory, which on disk, and which are spilled next.
//!
//! - `CAT-1`: a buffer that a program views, or that was lent to another runtime, is *pinned* and is not spilled.
//! - `CAT-2`: of the other buffers, the least recently used is spilled first.
//! - `CAT-3`: a buffer that is pinned while it is written to disk stays in memory.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::id::BufferId;

/// Where a buffer lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In memory.
    Memory,
    /// In memory, and being written to disk.
    Leaving,
    /// On disk alone.
    Disk,
}

#[derive(Debug)]
struct Entry {
    length: u64,
    place: Place,
    pins: usize,
    /// Its place in the order of use.
    used: u64,
}

/// What is known of one buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Description {
    /// Which.
    pub buffer: BufferId,
    /// Length in bytes.
    pub length: u64,
    /// Where it lies.
    pub place: Place,
    /// How many look at it, or have it lent to them.
    pub pins: usize,
}

/// The buffers of one store.
#[derive(Debug, Default)]
pub struct Catalog {
    entries: FxHashMap<BufferId, Entry>,
    /// Those in memory that nothing pins, by last use.
    free: BTreeMap<u64, BufferId>,
    clock: u64,
    memory: u64,
    disk: u64,
}

impl Catalog {
    /// A buffer was made; nothing pins it yet.
    pub fn added(&mut self, buffer: BufferId, length: u64, place: Place) {
        self.clock += 1;
        let entry = Entry {
            length,
            place,
            pins: 0,
            used: self.clock,
        };
        match place {
            Place::Disk => self.disk += length,
            Place::Memory | Place::Leaving => {
                self.memory += length;
                self.free.insert(self.clock, buffer);
            }
        }
        self.entries.insert(buffer, entry);
    }

    /// A buffer is gone.
    pub fn removed(&mut self, buffer: BufferId) {
        if let Some(entry) = self.entries.remove(&buffer) {
            self.free.remove(&entry.used);
            match entry.place {
                Place::Disk => self.disk -= entry.length,
                Place::Memory | Place::Leaving => self.memory -= entry.length,
            }
        }
    }

    /// Somebody looks at a buffer, or it is lent.
    pub fn pinned(&mut self, buffer: BufferId) {
        if let Some(entry) = self.entries.get_mut(&buffer) {
            entry.pins += 1;
            self.free.remove(&entry.used);
        }
    }

    /// One pin less: the buffer was used just now.
    pub fn unpinned(&mut self, buffer: BufferId) {
        self.clock += 1;
        if let Some(entry) = self.entries.get_mut(&buffer) {
            entry.pins = entry.pins.saturating_sub(1);
            entry.used = self.clock;
            if entry.pins == 0 && entry.place == Place::Memory {
                self.free.insert(self.clock, buffer);
            }
        }
    }

    /// Pick buffers of at least that many bytes to go to disk, the least recently used first; fewer if there
    /// are no more. They are leaving from now on, until [`Catalog::left`] or [`Catalog::stayed`].
    pub fn leave(&mut self, bytes: u64) -> Vec<BufferId> {
        let (mut going, mut gone) = (Vec::new(), 0);
        while gone < bytes {
            let Some((_, buffer)) = self.free.pop_first() else {
                break;
            };
            if let Some(entry) = self.entries.get_mut(&buffer) {
                entry.place = Place::Leaving;
                gone += entry.length;
                going.push(buffer);
            }
        }
        going
    }

    /// A leaving buffer was written to disk. Whether it lies there alone now: not if it was pinned meanwhile.
    pub fn left(&mut self, buffer: BufferId) -> bool {
        let Some(entry) = self.entries.get_mut(&buffer) else {
            return false;
        };
        if entry.place != Place::Leaving {
            return false;
        }
        if entry.pins > 0 {
            entry.place = Place::Memory;
            return false;
        }
        entry.place = Place::Disk;
        self.memory -= entry.length;
        self.disk += entry.length;
        true
    }

    /// A leaving buffer could not be written to disk.
    pub fn stayed(&mut self, buffer: BufferId) {
        if let Some(entry) = self.entries.get_mut(&buffer)
            && entry.place == Place::Leaving
        {
            entry.place = Place::Memory;
            if entry.pins == 0 {
                self.free.insert(entry.used, buffer);
            }
        }
    }

    /// A buffer was read back from disk. Whether it lies in memory alone now: not if it is pinned where it is.
    pub fn came_back(&mut self, buffer: BufferId) -> bool {
        match self.entries.get_mut(&buffer) {
            Some(entry) if entry.place == Place::Disk && entry.pins == 0 => {
                entry.place = Place::Memory;
                self.disk -= entry.length;
                self.memory += entry.length;
                self.free.insert(entry.used, buffer);
                true
            }
            _ => false,
        }
    }

    /// Bytes in memory, and bytes on disk, before compression.
    pub fn totals(&self) -> (u64, u64) {
        (self.memory, self.disk)
    }

    /// All buffers, in the order in which they were made.
    pub fn describe(&self) -> Vec<Description> {
        let mut all: Vec<_> = self
            .entries
            .iter()
            .map(|(&buffer, entry)| Description {
                buffer,
                length: entry.length,
                place: entry.place,
                pins: entry.pins,
            })
            .collect();
        all.sort_unstable_by_key(|description| description.buffer);
        all
    }

    /// Panics where an invariant does not hold. For tests, after every step.
    pub fn validate(&self) {
        let (mut memory, mut disk, mut free) = (0, 0, 0);
        for (buffer, entry) in &self.entries {
            match entry.place {
                Place::Disk => disk += entry.length,
                Place::Memory | Place::Leaving => memory += entry.length,
            }
            let may_go = entry.pins == 0 && entry.place == Place::Memory;
            free += usize::from(may_go);
            assert_eq!(
                self.free.get(&entry.used) == Some(buffer),
                may_go,
                "CAT-1: {buffer:?} has {} pins and lies in {:?}",
                entry.pins,
                entry.place
            );
        }
        assert_eq!(
            (memory, disk),
            (self.memory, self.disk),
            "the sums are right"
        );
        assert_eq!(free, self.free.len(), "CAT-1: nobody else may go");
    }
}
