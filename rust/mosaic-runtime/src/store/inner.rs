//! The open store of one process: where buffers go, and how they are found again.
//!
//! A buffer goes to memory that is warm, then to memory that the limit allows, then to what buffers of this process
//! leave that go to disk in its place, and then to disk itself (`STORE-1`). A caller is refused only if all of that
//! fails, and nothing stored before is lost by it (`STORE-2`).

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use mosaic_core::catalog::{self, Catalog};
use mosaic_core::id::{BufferId, RuntimeId};
use mosaic_core::payload::Stored;
use rustc_hash::FxHashMap;

use super::buffer::{Borrowed, BorrowedPlace, Buffer, Pin, Place};
use super::pool::{NoMemory, Pool};
use super::quota::QuotaSlot;
use super::reclaim::Reclaimer;
use super::report::{BufferReport, StoreReport};
use super::settings::{self, bytes};
use super::spill::Spill;
use super::view::{MappingCache, Source, View, Views};
use super::{MemoryPressure, StoreError, StoreSettings, memfd, pool, spill};
use crate::node::descriptors;
use crate::sync::threads;
use crate::sync::{Mutex, Rank};

/// What there is once it is open.
pub(crate) struct Inner {
    pub(super) me: RuntimeId,
    pub(super) settings: StoreSettings,
    pub(super) slot: Arc<QuotaSlot>,
    pub(super) pool: Pool,
    pub(super) spill: Arc<Spill>,
    pub(super) table: Mutex<Table>,
    /// Pins of the buffers that other processes may use.
    pub(super) exported: Mutex<FxHashMap<BufferId, Pin>>,
    pub(super) sequence: AtomicU64,
    pub(super) views: Views,
    pub(super) mappings: MappingCache,
    /// Open while there are views to be looked over.
    pub(super) pagemap: Mutex<Option<Arc<File>>>,
    pub(super) reclaimer: Reclaimer,
    pub(super) memory_pressure: Arc<dyn MemoryPressure>,
    pub(super) myself: Weak<Inner>,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) catalog: Catalog,
    pub(super) buffers: FxHashMap<BufferId, Weak<Buffer>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("seat", &self.slot)
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// A store that has nothing in it yet.
    pub(super) fn new(
        me: RuntimeId,
        settings: StoreSettings,
        slot: Arc<QuotaSlot>,
        memory_pressure: Arc<dyn MemoryPressure>,
    ) -> Arc<Self> {
        let pressure = Arc::downgrade(&memory_pressure);
        slot.when_freed(Some(Box::new(move || {
            if let Some(memory_pressure) = pressure.upgrade() {
                memory_pressure.memory_available();
            }
        })));
        let (directory, limit) = (settings.spill_directory.clone(), settings.spill_limit);
        Arc::new_cyclic(|myself| Self {
            me,
            settings,
            pool: Pool::new(Arc::clone(&slot)),
            slot,
            spill: Arc::new(Spill::new(directory, limit)),
            table: Mutex::with_default(Rank::StoreTable),
            exported: Mutex::with_default(Rank::StoreExports),
            sequence: AtomicU64::new(1),
            views: Views::default(),
            mappings: MappingCache::default(),
            pagemap: Mutex::with_default(Rank::PageMap),
            reclaimer: Reclaimer::default(),
            memory_pressure,
            myself: Weak::clone(myself),
        })
    }

    pub(crate) fn pinned(&self, buffer: BufferId) {
        self.table.lock().catalog.pinned(buffer);
    }

    pub(crate) fn unpinned(&self, buffer: BufferId) {
        self.table.lock().catalog.unpinned(buffer);
    }

    /// A buffer is gone.
    pub(crate) fn forget(&self, buffer: &Buffer) {
        let mut table = self.table.lock();
        table.catalog.removed(buffer.id);
        table.buffers.remove(&buffer.id);
        drop(table);
        if let Some(store) = self.myself.upgrade() {
            self.reclaimer.used(&store);
        }
    }

    fn add(&self, length: usize, place: Place) -> Arc<Buffer> {
        let id = BufferId {
            owner: self.me,
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed),
        };
        let where_to = match place {
            Place::Memory(_) => catalog::Place::Memory,
            Place::Disk(_) => catalog::Place::Disk,
        };
        let buffer = Arc::new(Buffer {
            id,
            length,
            place: Mutex::new(Rank::BufferPlace, place),
            store: Weak::clone(&self.myself),
        });
        let mut table = self.table.lock();
        table.catalog.added(id, length as u64, where_to);
        table.buffers.insert(id, Arc::downgrade(&buffer));
        buffer
    }

    /// Memory for that many bytes: what is idle, then what the limit allows, then what own buffers leave that go to
    /// disk.
    fn memory(&self, length: usize) -> Result<pool::Extent, NoMemory> {
        let mut result = self.pool.allocate(length);
        if result.is_ok() {
            return result;
        }
        if self.pool.give_back() > 0 {
            result = self.pool.allocate(length);
        }
        if result.is_err() && length as u64 <= self.settings.memory_limit {
            while result.is_err() && self.make_room(length as u64) {
                self.pool.give_back();
                result = self.pool.allocate(length);
            }
            if result.is_err() {
                // What others keep warm for nothing comes too late for this one, and in time for the next.
                self.memory_pressure.reclaim();
            }
        }
        result
    }

    /// Write own buffers of that many bytes to disk, the least recently used first. False if none went.
    fn make_room(&self, bytes: u64) -> bool {
        let mut table = self.table.lock();
        let going = table.catalog.leave(bytes);
        let going: Vec<_> = going
            .into_iter()
            .map(|id| (id, table.buffers.get(&id).and_then(Weak::upgrade)))
            .collect();
        drop(table);
        let (mut gone, mut refused) = (false, false);
        for (id, buffer) in going {
            let written = match &buffer {
                Some(buffer) if !refused => self.write(buffer),
                _ => None,
            };
            if let (Some(spilled), Some(buffer)) = (written, &buffer) {
                let mut place = buffer.place.lock();
                if self.table.lock().catalog.left(id) {
                    let before = std::mem::replace(&mut *place, Place::Disk(Arc::new(spilled)));
                    drop(place);
                    drop(before);
                    gone = true;
                }
            } else {
                refused |= buffer.is_some();
                self.table.lock().catalog.stayed(id);
            }
        }
        gone
    }

    fn write(&self, buffer: &Buffer) -> Option<spill::Spilled> {
        let Place::Memory(extent) = buffer.place() else {
            return None;
        };
        // SAFETY: the extent is this buffer's as long as it is held here, and nobody writes to a buffer.
        let bytes = unsafe { std::slice::from_raw_parts(extent.address(), buffer.length) };
        self.spill.write(bytes).ok()
    }

    pub(super) fn copy_in(&self, bytes: &[u8]) -> Result<Arc<Buffer>, StoreError> {
        let length = bytes.len();
        let refused = match self.memory(length) {
            Ok(extent) => {
                // SAFETY: the extent is new and nobody else's; it is at least as long as the bytes.
                unsafe {
                    std::ptr::copy_nonoverlapping(bytes.as_ptr(), extent.address(), length);
                }
                let buffer = self.add(length, Place::Memory(Arc::new(extent)));
                return Ok(buffer);
            }
            Err(refused) => refused,
        };
        match self.spill.write(bytes) {
            Ok(spilled) => Ok(self.add(length, Place::Disk(Arc::new(spilled)))),
            Err(refusal) => Err(self.full(length, &refused, Some(&refusal))),
        }
    }

    fn full(&self, length: usize, memory: &NoMemory, disk: Option<&spill::Refusal>) -> StoreError {
        let limit = self.settings.memory_limit;
        let what = bytes(length as u64);
        if let NoMemory::System(error) = memory
            && descriptors::are_short(error)
        {
            let text = format!("{what} do not fit into the store");
            return StoreError::Descriptors(descriptors::shortage(&text));
        }
        let mut text = match memory {
            NoMemory::Limit => format!(
                "{what} do not fit into the store: its memory is limited to {} ({})",
                bytes(limit),
                settings::MEMORY
            ),
            NoMemory::System(error) => {
                format!("{what} do not fit into the store: the system gives no memory ({error})")
            }
        };
        if let Some(refusal) = disk {
            text = format!(
                "{text}, and {} takes no more: {refusal} ({}, {})",
                self.spill.directory().display(),
                settings::SPILL_DIRECTORY,
                settings::SPILL_LIMIT
            );
        }
        if length as u64 > limit {
            StoreError::TooLarge(text)
        } else {
            StoreError::Full(text)
        }
    }

    pub(super) fn allocate(&self, length: usize) -> Result<Arc<View>, StoreError> {
        let extent = self
            .memory(length)
            .map_err(|refused| self.full(length, &refused, None))?;
        let extent = Arc::new(extent);
        let buffer = self.add(length, Place::Memory(Arc::clone(&extent)));
        let (pin, _) = Pin::new(self, &buffer);
        let store = self.myself.upgrade().ok_or_else(closed)?;
        View::open(&store, &extent, length, pin).map_err(|error| system(&error))
    }

    pub(super) fn view(&self, stored: &Arc<dyn Stored>) -> Result<Arc<View>, StoreError> {
        let store = self.myself.upgrade().ok_or_else(closed)?;
        let any = Arc::clone(stored).into_any();
        let view = match any.downcast::<Buffer>() {
            Ok(buffer) => {
                self.bring_back(&buffer);
                let (pin, place) = Pin::new(self, &buffer);
                let (length, source) = (buffer.length, Source::Own(pin));
                match place {
                    Place::Memory(extent) => {
                        View::mapped(&store, &extent.slab.file, extent.offset, length, source)
                    }
                    Place::Disk(spilled) => View::read(&store, length, source, |out| {
                        spill::read(&spilled.file, spilled.range, length, out)
                    }),
                }
            }
            Err(any) => {
                let borrowed = any
                    .downcast::<Borrowed>()
                    .map_err(|_| StoreError::System("a buffer of no store of ours".into()))?;
                let (length, source) = (borrowed.length, Source::Borrowed(Arc::clone(stored)));
                match &borrowed.place {
                    BorrowedPlace::Memory { file, offset, .. } => {
                        View::mapped(&store, file, *offset, length, source)
                    }
                    BorrowedPlace::Disk { file, range } => {
                        View::read(&store, length, source, |out| {
                            spill::read(file, *range, length, out)
                        })
                    }
                }
            }
        };
        view.map_err(|error| system(&error))
    }

    /// A buffer on disk that is asked for comes back to memory, if there is room without sending others away.
    fn bring_back(&self, buffer: &Arc<Buffer>) {
        let Place::Disk(spilled) = buffer.place() else {
            return;
        };
        let Ok(extent) = self.pool.allocate(buffer.length) else {
            return;
        };
        // SAFETY: the extent is new and nobody else's.
        let out = unsafe { std::slice::from_raw_parts_mut(extent.address(), buffer.length) };
        if spill::read(&spilled.file, spilled.range, buffer.length, out).is_err() {
            // The next reader gets the error.
            return;
        }
        let mut place = buffer.place.lock();
        let Place::Disk(now) = &*place else { return };
        // Not where it was exported from disk meanwhile.
        if Arc::ptr_eq(now, &spilled) && self.table.lock().catalog.came_back(buffer.id) {
            *place = Place::Memory(Arc::new(extent));
        }
    }

    /// The page map, which shows the dirty pages of a view; `None` where the system has none.
    pub(super) fn pagemap(&self) -> Option<Arc<File>> {
        if threads::forked() {
            // The one that is open shows the parent's memory.
            return None;
        }
        let mut pagemap = self.pagemap.lock();
        if pagemap.is_none() {
            *pagemap = memfd::pagemap().ok().map(Arc::new);
        }
        pagemap.clone()
    }

    pub(super) fn give_back(&self) {
        self.mappings.clear();
        self.pool.give_back();
        let pagemap = self.pagemap.lock().take();
        drop(pagemap);
    }

    pub(super) fn report(&self) -> StoreReport {
        let table = self.table.lock();
        let (in_memory, on_disk) = table.catalog.totals();
        let described = table.catalog.describe();
        drop(table);
        let exported = self.exported.lock();
        let buffers = described.into_iter().map(|found| {
            let exported = exported.contains_key(&found.buffer);
            BufferReport {
                buffer: found.buffer,
                length: found.length,
                spilled: found.place == catalog::Place::Disk,
                views: found.pins - usize::from(exported),
                exported,
                holders: Vec::new(),
                what: String::new(),
            }
        });
        StoreReport {
            limit: self.slot.quota.limit(),
            taken_by_all: self.slot.quota.taken(),
            taken: self.slot.taken(),
            in_memory,
            on_disk,
            disk_used: self.spill.used(),
            buffers: buffers.collect(),
        }
    }
}

fn closed() -> StoreError {
    StoreError::System("the runtime has stopped".into())
}

fn system(error: &io::Error) -> StoreError {
    StoreError::refused("a buffer cannot be shown", error)
}
