//! Views: what a program sees of a buffer. Writable; what is written is seen by nobody else (`VIEW-1`).
//!
//! A view is a private mapping of the memory file in which the buffer lies; what lies on disk is read into memory of
//! the process's own. A mapping outlives its view, clean again, for the next buffer in the same place: mapping
//! 100 MB anew and touching every page costs more than copying them.
//!
//! A view that the store *allocated* is written to by its program first, straight into the file. When it is passed on
//! for the first time it becomes a view as any other (`VIEW-2`): the file keeps what was written so far.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};

use mosaic_core::payload::{Reference, Stored};

use super::buffer::Pin;
use super::inner::Inner;
use super::memfd::{Mapping, MemoryFile};
use super::pool::Extent;
use crate::sync::{Mutex, Rank};

/// Mappings kept for the next buffer in the same place.
const MAX_CACHED: usize = 64;

/// What keeps the bytes behind a view.
#[derive(Debug)]
pub(crate) enum Source {
    Own(Pin),
    Borrowed(Arc<dyn Stored>),
}

impl Source {
    fn stored(&self) -> Arc<dyn Stored> {
        match self {
            Self::Own(pin) => Arc::clone(&pin.buffer) as Arc<dyn Stored>,
            Self::Borrowed(stored) => Arc::clone(stored),
        }
    }
}

#[derive(Debug)]
enum Memory {
    /// Read from disk, or copied where no mapping could be had.
    Heap(Box<[u64]>),
    Mapped {
        mapping: Option<Mapping>,
        file: Arc<MemoryFile>,
        offset: usize,
        /// While the program writes straight into the file: where it lies in the slab.
        open: Mutex<Option<Arc<Extent>>>,
    },
}

/// A copy-on-write view of a buffer.
#[derive(Debug)]
pub struct View {
    memory: Memory,
    length: usize,
    source: Source,
    store: Weak<Inner>,
}

impl View {
    /// A view of part of a memory file.
    pub(crate) fn mapped(
        store: &Arc<Inner>,
        file: &Arc<MemoryFile>,
        offset: usize,
        length: usize,
        source: Source,
    ) -> io::Result<Arc<Self>> {
        let whole = super::memfd::pieces(length);
        let cached = store.mappings.take(file, offset, whole);
        let mapping = match cached {
            Some(mapping) => Ok(mapping),
            None => Mapping::private(file, offset, whole),
        };
        let memory = match mapping {
            Ok(mapping) => Memory::Mapped {
                mapping: Some(mapping),
                file: Arc::clone(file),
                offset,
                open: Mutex::new(Rank::ViewExtent, None),
            },
            // Too many mappings, most likely: a copy does as well.
            Err(_) => Memory::Heap(heap(length, |out| {
                let mut read = 0;
                while read < out.len() {
                    let at = (offset + read) as u64;
                    match rustix::io::pread(file.as_fd(), &mut out[read..], at)? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        count => read += count,
                    }
                }
                Ok(())
            })?),
        };
        Ok(Self::made(store, memory, length, source))
    }

    /// A view of bytes that are read in.
    pub(crate) fn read(
        store: &Arc<Inner>,
        length: usize,
        source: Source,
        read: impl FnOnce(&mut [u8]) -> io::Result<()>,
    ) -> io::Result<Arc<Self>> {
        let memory = Memory::Heap(heap(length, read)?);
        Ok(Self::made(store, memory, length, source))
    }

    /// A view through which the program writes into an extent of the store (`VIEW-2`).
    pub(crate) fn open(
        store: &Arc<Inner>,
        extent: &Arc<Extent>,
        length: usize,
        pin: Pin,
    ) -> io::Result<Arc<Self>> {
        let (slab, offset) = (&extent.slab, extent.offset);
        let mapping = Mapping::shared(&slab.file, offset, extent.length)?;
        // The pages are warm in the slab's own mapping: their tables come along, if the system can do that.
        mapping.take_tables(&slab.mapping, offset);
        let memory = Memory::Mapped {
            mapping: Some(mapping),
            file: Arc::clone(&slab.file),
            offset,
            open: Mutex::new(Rank::ViewExtent, Some(Arc::clone(extent))),
        };
        Ok(Self::made(store, memory, length, Source::Own(pin)))
    }

    fn made(store: &Arc<Inner>, memory: Memory, length: usize, source: Source) -> Arc<Self> {
        let view = Arc::new(Self {
            memory,
            length,
            source,
            store: Arc::downgrade(store),
        });
        store.views.add(&view);
        view
    }

    /// Where its bytes are, in this process.
    pub fn address(&self) -> *mut u8 {
        match &self.memory {
            Memory::Heap(words) => words.as_ptr().cast_mut().cast(),
            Memory::Mapped { mapping, .. } => mapping
                .as_ref()
                .map_or(std::ptr::null_mut(), Mapping::address),
        }
    }

    /// Length in bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// What is counted as long as this process looks at it; `None` for a buffer of its own.
    pub fn reference(&self) -> Option<Reference> {
        match &self.source {
            Source::Own(_) => None,
            Source::Borrowed(stored) => Some(stored.reference()),
        }
    }

    /// The buffer behind it, if that is what the view shows at this moment.
    pub(crate) fn share(&self) -> Option<Arc<dyn Stored>> {
        let Memory::Mapped {
            mapping: Some(mapping),
            file,
            offset,
            open,
        } = &self.memory
        else {
            return None;
        };
        let pagemap = self.store.upgrade()?.pagemap()?;
        let mut open = open.lock();
        if let Some(extent) = open.take() {
            mapping.give_tables(&extent.slab.mapping, extent.offset);
            if mapping.freeze(file, *offset).is_err() {
                *open = Some(extent);
                return None;
            }
        } else if !matches!(mapping.is_written(&pagemap, 0, self.length), Ok(false)) {
            return None;
        }
        Some(self.source.stored())
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let Some(store) = self.store.upgrade() else {
            return;
        };
        store.views.remove(self.address() as usize);
        if let Memory::Mapped {
            mapping,
            file,
            offset,
            open,
        } = &mut self.memory
            && let Some(mapping) = mapping.take()
        {
            // Nobody else has this view any more.
            if let Some(extent) = open.get_mut().take() {
                mapping.give_tables(&extent.slab.mapping, extent.offset);
            } else if let Some(pagemap) = store.pagemap()
                && mapping.discard_writes(&pagemap).is_ok()
            {
                store.mappings.insert(Arc::clone(file), *offset, mapping);
                store.reclaimer.used(&store);
            }
        }
    }
}

fn heap(length: usize, read: impl FnOnce(&mut [u8]) -> io::Result<()>) -> io::Result<Box<[u64]>> {
    let mut words = Vec::new();
    let count = length.div_ceil(8);
    words.try_reserve_exact(count).map_err(io::Error::other)?;
    words.resize(count, 0u64);
    // SAFETY: as many bytes as words of eight, and any bytes make words.
    let bytes = unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), length) };
    read(bytes)?;
    Ok(words.into_boxed_slice())
}

/// The views that live, by address.
#[derive(Debug)]
pub(crate) struct Views {
    living: Mutex<std::collections::BTreeMap<usize, Weak<View>>>,
}

impl Default for Views {
    fn default() -> Self {
        Self {
            living: Mutex::with_default(Rank::LivingViews),
        }
    }
}

impl Views {
    fn add(&self, view: &Arc<View>) {
        let address = view.address() as usize;
        self.living.lock().insert(address, Arc::downgrade(view));
    }

    fn remove(&self, address: usize) {
        self.living.lock().remove(&address);
    }

    /// The view that shows exactly these bytes.
    pub(crate) fn find(&self, address: usize, length: usize) -> Option<Arc<View>> {
        let living = self.living.lock();
        let view = living.get(&address)?.upgrade()?;
        drop(living);
        (view.length == length).then_some(view)
    }
}

/// Clean mappings without a view.
#[derive(Debug)]
pub(crate) struct MappingCache {
    mappings: Mutex<VecDeque<(Arc<MemoryFile>, usize, Mapping)>>,
}

impl Default for MappingCache {
    fn default() -> Self {
        Self {
            mappings: Mutex::with_default(Rank::CachedMappings),
        }
    }
}

impl MappingCache {
    fn take(&self, file: &Arc<MemoryFile>, offset: usize, length: usize) -> Option<Mapping> {
        let mut mappings = self.mappings.lock();
        let place = mappings.iter().rposition(|(own, at, mapping)| {
            Arc::ptr_eq(own, file) && *at == offset && mapping.length() == length
        })?;
        mappings.remove(place).map(|(_, _, mapping)| mapping)
    }

    fn insert(&self, file: Arc<MemoryFile>, offset: usize, mapping: Mapping) {
        let mut mappings = self.mappings.lock();
        mappings.push_back((file, offset, mapping));
        let oldest = (mappings.len() > MAX_CACHED).then(|| mappings.pop_front());
        drop(mappings);
        drop(oldest);
    }

    /// Let go of all.
    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *self.mappings.lock());
        drop(all);
    }
}
