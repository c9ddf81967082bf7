//! Bytes of large buffers: in memory that the processes of a machine share, or on disk.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`memory`], [`written`] | memory files and mappings of them |
//! | [`pool`] | memory for buffers, kept warm |
//! | [`ledger`] | how much all processes of the node have taken, and the limit |
//! | [`spill`] | buffers on disk |
//! | [`buffer`] | a buffer, here or borrowed; who keeps it where it is |
//! | [`view`] | what a program sees of a buffer |
//! | [`lending`] | what frames say of buffers, and the files that go along |
//! | [`keeper`] | gives idle memory back |
//!
//! A buffer is copied into the store of the process that makes it, once; whoever wants it maps it. The rules count
//! its holders ([`mosaic_core::id::ObjectId::Buffer`]); which buffers go to disk is the
//! [`mosaic_core::catalog::Catalog`]'s to say. Nothing is opened before the first buffer: an idle runtime pays nothing.
//!
//! Called from any thread. Lock order: a buffer's place, then (table | pool | slab | spill), each innermost.

mod buffer;
mod keeper;
pub(crate) mod ledger;
pub(crate) mod lending;
mod memory;
mod pool;
mod settings;
mod spill;
mod view;
#[cfg(target_os = "linux")]
mod written;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use mosaic_core::catalog::{self, Catalog};
use mosaic_core::id::{BufferId, RuntimeId};
use mosaic_core::payload::Stored;
use rustc_hash::FxHashMap;

use crate::shared::lock;
use crate::threads;
use buffer::{Borrowed, BorrowedPlace, Buffer, Pin, Place, SlabName};
use keeper::Keeper;
use ledger::{Ledger, Seat};
use memory::MemoryFile;
use pool::{NoMemory, Pool};
pub use settings::{StoreSettings, bytes};
use spill::Spill;
pub use view::View;
use view::{Kept, Source, Views};

/// Buffers from this length on lie in a store: below it, sending the bytes along costs less than mapping them.
/// `make bench-rust` measures both.
pub const THRESHOLD: usize = 128 << 10;

/// Why a buffer could not be stored or shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no room, neither in memory nor on disk.
    #[error("{0}")]
    Full(String),
    /// There never will be: it is larger than everything.
    #[error("{0}")]
    TooLarge(String),
    /// The system refused, or what came back from disk is damaged.
    #[error("{0}")]
    System(String),
}

/// What is done outside of the store when it runs short.
pub(crate) trait Neighbours: Send + Sync {
    /// Ask the other processes of the node to give idle memory back.
    fn squeeze(&self);
    /// Tell the other processes of the node, and the threads of this one that wait, that there is room.
    fn room(&self);
}

/// One process's store. Opened with the first buffer.
#[derive(Debug)]
pub(crate) struct Store {
    me: RuntimeId,
    directory: PathBuf,
    settings: StoreSettings,
    open: Mutex<Opened>,
}

#[derive(Debug, Default)]
enum Opened {
    #[default]
    NotYet,
    Open(Arc<Inner>),
    Closed,
}

/// What there is once it is open.
pub(crate) struct Inner {
    me: RuntimeId,
    settings: StoreSettings,
    seat: Arc<Seat>,
    pool: Pool,
    spill: Arc<Spill>,
    table: Mutex<Table>,
    /// Those that others may look at.
    lent: Mutex<FxHashMap<BufferId, Pin>>,
    imports: Mutex<FxHashMap<SlabName, Weak<MemoryFile>>>,
    sequence: AtomicU64,
    views: Views,
    kept: Kept,
    /// Open while there are views to be looked over.
    pagemap: Mutex<Option<Arc<File>>>,
    keeper: Keeper,
    neighbours: Arc<dyn Neighbours>,
    myself: Weak<Inner>,
}

#[derive(Debug, Default)]
struct Table {
    catalog: Catalog,
    buffers: FxHashMap<BufferId, Weak<Buffer>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("seat", &self.seat)
            .finish_non_exhaustive()
    }
}

/// One buffer, for people who want to know where the memory is.
#[derive(Clone, Debug)]
pub struct BufferReport {
    /// Which.
    pub buffer: BufferId,
    /// Length in bytes.
    pub length: u64,
    /// It lies on disk.
    pub spilled: bool,
    /// How many views of this process show it.
    pub views: usize,
    /// It is lent to other processes.
    pub lent: bool,
    /// The runtimes that hold it.
    pub holders: Vec<RuntimeId>,
    /// What made the value in which it lies, where that value is kept here.
    pub what: String,
}

/// A process's part of the node's memory.
#[derive(Clone, Debug, Default)]
pub struct StoreReport {
    /// Most bytes that all processes of the node may take.
    pub limit: u64,
    /// Bytes that all of them have taken.
    pub taken_by_all: u64,
    /// Bytes that this process has taken: its buffers in memory, and idle memory kept warm.
    pub taken: u64,
    /// Bytes of its buffers in memory.
    pub in_memory: u64,
    /// Bytes of its buffers on disk, before compression.
    pub on_disk: u64,
    /// Bytes on disk.
    pub disk_used: u64,
    /// Its buffers.
    pub buffers: Vec<BufferReport>,
}

impl Store {
    pub(crate) fn new(me: RuntimeId, directory: PathBuf, settings: StoreSettings) -> Self {
        Self {
            me,
            directory,
            settings,
            open: Mutex::default(),
        }
    }

    fn inner(
        &self,
        neighbours: impl FnOnce() -> Arc<dyn Neighbours>,
    ) -> Result<Arc<Inner>, StoreError> {
        let mut open = lock(&self.open);
        match &*open {
            Opened::Open(inner) => return Ok(Arc::clone(inner)),
            Opened::Closed => return Err(StoreError::System("the runtime has stopped".into())),
            Opened::NotYet => {}
        }
        let ledger = Ledger::open(&self.directory)
            .map_err(|error| StoreError::System(format!("the store cannot be opened: {error}")))?;
        let seat = Arc::new(ledger.take_seat(self.me.0));
        let neighbours = neighbours();
        let inner = Arc::new_cyclic(|myself| Inner {
            me: self.me,
            settings: self.settings.clone(),
            pool: Pool::new(Arc::clone(&seat)),
            seat,
            spill: Arc::new(Spill::new(
                self.settings.spill_directory.clone(),
                self.settings.spill_limit,
            )),
            table: Mutex::default(),
            lent: Mutex::default(),
            imports: Mutex::default(),
            sequence: AtomicU64::new(1),
            views: Views::default(),
            kept: Kept::default(),
            pagemap: Mutex::default(),
            keeper: Keeper::default(),
            neighbours: Arc::clone(&neighbours),
            myself: Weak::clone(myself),
        });
        let for_seat = Arc::downgrade(&neighbours);
        inner.seat.when_freed(Some(Box::new(move || {
            if let Some(neighbours) = for_seat.upgrade() {
                neighbours.room();
            }
        })));
        *open = Opened::Open(Arc::clone(&inner));
        Ok(inner)
    }
}

/// What the engine does with its store.
impl Store {
    fn opened(&self) -> Option<Arc<Inner>> {
        match &*lock(&self.open) {
            Opened::Open(inner) => Some(Arc::clone(inner)),
            Opened::NotYet | Opened::Closed => None,
        }
    }

    /// Copy bytes into the store. `None` if a view shows exactly these bytes: then its buffer is the one.
    pub(crate) fn keep(
        &self,
        bytes: &[u8],
        neighbours: impl FnOnce() -> Arc<dyn Neighbours>,
    ) -> Result<Arc<dyn Stored>, StoreError> {
        let inner = self.inner(neighbours)?;
        if let Some(view) = inner.views.find(bytes.as_ptr() as usize, bytes.len())
            && let Some(stored) = view.share()
        {
            return Ok(stored);
        }
        Ok(inner.keep(bytes)?)
    }

    /// Memory of the store for a program to write to.
    pub(crate) fn allocate(
        &self,
        length: usize,
        neighbours: impl FnOnce() -> Arc<dyn Neighbours>,
    ) -> Result<Arc<View>, StoreError> {
        self.inner(neighbours)?.allocate(length)
    }

    /// Show a buffer.
    pub(crate) fn view(
        &self,
        stored: &Arc<dyn Stored>,
        neighbours: impl FnOnce() -> Arc<dyn Neighbours>,
    ) -> Result<Arc<View>, StoreError> {
        self.inner(neighbours)?.view(stored)
    }

    /// Where a buffer lies that is about to be lent: it stays there until it is returned.
    pub(crate) fn lend(&self, buffer: &Arc<Buffer>) -> Place {
        let Some(inner) = self.opened() else {
            return buffer.place();
        };
        let (pin, place) = Pin::new(&inner, buffer);
        let before = lock(&inner.lent).insert(buffer.id, pin);
        drop(before);
        place
    }

    /// Nobody else looks at a buffer any more.
    pub(crate) fn returned(&self, buffer: BufferId) {
        if let Some(inner) = self.opened() {
            let pin = lock(&inner.lent).remove(&buffer);
            drop(pin);
        }
    }

    /// A buffer of this store, which somebody sent back.
    pub(crate) fn own(&self, buffer: BufferId) -> Option<Arc<dyn Stored>> {
        if buffer.owner != self.me {
            return None;
        }
        let inner = self.opened()?;
        let found = lock(&inner.table).buffers.get(&buffer)?.upgrade()?;
        Some(found)
    }

    /// The memory file of a peer, mapped once however often it is sent.
    pub(crate) fn import(
        &self,
        name: SlabName,
        file: std::os::fd::OwnedFd,
    ) -> io::Result<Arc<MemoryFile>> {
        let Some(inner) = self.opened() else {
            return MemoryFile::adopt(file).map(Arc::new);
        };
        if name.0 == self.me
            && let Some(slab) = inner.pool.slab(name.1)
        {
            return Ok(Arc::clone(&slab.file));
        }
        let mut imports = lock(&inner.imports);
        if let Some(known) = imports.get(&name).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let file = Arc::new(MemoryFile::adopt(file)?);
        imports.retain(|_, file| file.strong_count() > 0);
        imports.insert(name, Arc::downgrade(&file));
        Ok(file)
    }

    /// Another process of the node needs memory.
    pub(crate) fn squeeze(&self) {
        if let Some(inner) = self.opened() {
            inner.keeper.squeeze(&inner);
        }
    }

    /// A process of the node has died: what it had taken is free.
    pub(crate) fn process_died(&self, runtime: RuntimeId, clear: bool) {
        if clear && let Ok(ledger) = Ledger::open(&self.directory) {
            ledger.clear(runtime.0);
        }
        if let Some(inner) = self.opened() {
            inner.kept.clear();
            inner.seat.freed();
        }
    }

    /// Ask to be told when there is room, until `wanted` is taken back.
    pub(crate) fn want_room(&self, wanted: bool) {
        if let Some(inner) = self.opened() {
            inner.seat.set_wanted(wanted);
            if wanted {
                inner.seat.ledger.wait();
                inner.neighbours.squeeze();
            }
        }
    }

    /// Whether other processes have memory that nothing uses: they give it back when they are asked.
    pub(crate) fn others_are_idle(&self) -> bool {
        self.opened()
            .is_some_and(|inner| inner.seat.idle_elsewhere() > 0)
    }

    /// Whether somebody waits for room; asked once.
    pub(crate) fn room_is_wanted(&self) -> bool {
        self.opened().is_some_and(|inner| inner.seat.ledger.waits())
    }

    /// Living values count as that many bytes more, or fewer. They are there already: the limit does not refuse
    /// them, but leaves less for others.
    pub(crate) fn account(
        &self,
        bytes: i64,
        neighbours: impl FnOnce() -> Arc<dyn Neighbours>,
    ) -> Result<(), StoreError> {
        let inner = self.inner(neighbours)?;
        let count = usize::try_from(bytes.unsigned_abs()).unwrap_or(usize::MAX);
        if bytes < 0 {
            inner.seat.shrink(count);
        } else {
            inner.seat.enter(count);
        }
        Ok(())
    }

    /// What is in it.
    pub(crate) fn report(&self) -> StoreReport {
        match self.opened() {
            Some(inner) => inner.report(),
            None => StoreReport {
                limit: self.settings.memory_limit,
                ..StoreReport::default()
            },
        }
    }

    /// Let go of everything; views that programs hold stay.
    pub(crate) fn close(&self) {
        let opened = std::mem::replace(&mut *lock(&self.open), Opened::Closed);
        if let Opened::Open(inner) = opened {
            inner.keeper.stop();
            inner.seat.when_freed(None);
            let lent = std::mem::take(&mut *lock(&inner.lent));
            if self.me == RuntimeId::HEAD {
                drop(lent);
            } else {
                // The head may look at them for as long as it likes: their memory is not to be used for anything
                // else, and goes with the last mapping.
                std::mem::forget(lent);
            }
            inner.give_back();
        }
    }
}

impl Inner {
    pub(crate) fn pinned(&self, buffer: BufferId) {
        lock(&self.table).catalog.pinned(buffer);
    }

    pub(crate) fn unpinned(&self, buffer: BufferId) {
        lock(&self.table).catalog.unpinned(buffer);
    }

    /// A buffer is gone.
    pub(crate) fn forget(&self, buffer: &Buffer) {
        let mut table = lock(&self.table);
        table.catalog.removed(buffer.id);
        table.buffers.remove(&buffer.id);
        drop(table);
        if let Some(store) = self.myself.upgrade() {
            self.keeper.used(&store);
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
            place: Mutex::new(place),
            store: Weak::clone(&self.myself),
        });
        let mut table = lock(&self.table);
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
                self.neighbours.squeeze();
            }
        }
        result
    }

    /// Write own buffers of that many bytes to disk, the least recently used first. False if none went.
    fn make_room(&self, bytes: u64) -> bool {
        let mut table = lock(&self.table);
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
                let mut place = lock(&buffer.place);
                if lock(&self.table).catalog.left(id) {
                    let before = std::mem::replace(&mut *place, Place::Disk(Arc::new(spilled)));
                    drop(place);
                    drop(before);
                    gone = true;
                }
            } else {
                refused |= buffer.is_some();
                lock(&self.table).catalog.stayed(id);
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

    fn keep(&self, bytes: &[u8]) -> Result<Arc<Buffer>, StoreError> {
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

    fn allocate(&self, length: usize) -> Result<Arc<View>, StoreError> {
        let extent = self
            .memory(length)
            .map_err(|refused| self.full(length, &refused, None))?;
        let extent = Arc::new(extent);
        let buffer = self.add(length, Place::Memory(Arc::clone(&extent)));
        let (pin, _) = Pin::new(self, &buffer);
        let store = self.myself.upgrade().ok_or_else(closed)?;
        View::open(&store, &extent, length, pin).map_err(|error| system(&error))
    }

    fn view(&self, stored: &Arc<dyn Stored>) -> Result<Arc<View>, StoreError> {
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
            // Whoever reads it next is told why.
            return;
        }
        let mut place = lock(&buffer.place);
        let Place::Disk(now) = &*place else { return };
        // Not where it was lent as it is.
        if Arc::ptr_eq(now, &spilled) && lock(&self.table).catalog.came_back(buffer.id) {
            *place = Place::Memory(Arc::new(extent));
        }
    }

    /// What tells which pages of a view were written to; `None` where the system does not tell.
    fn pagemap(&self) -> Option<Arc<File>> {
        let mut pagemap = lock(&self.pagemap);
        if pagemap.is_none() && !threads::forked() {
            *pagemap = memory::pagemap().ok().map(Arc::new);
        }
        pagemap.clone()
    }

    fn give_back(&self) {
        self.kept.clear();
        self.pool.give_back();
        drop(lock(&self.pagemap).take());
    }

    fn report(&self) -> StoreReport {
        let table = lock(&self.table);
        let (in_memory, on_disk) = table.catalog.totals();
        let described = table.catalog.describe();
        drop(table);
        let lent = lock(&self.lent);
        let buffers = described.into_iter().map(|found| {
            let lent = lent.contains_key(&found.buffer);
            BufferReport {
                buffer: found.buffer,
                length: found.length,
                spilled: found.place == catalog::Place::Disk,
                views: found.pins - usize::from(lent),
                lent,
                holders: Vec::new(),
                what: String::new(),
            }
        });
        StoreReport {
            limit: self.seat.ledger.limit(),
            taken_by_all: self.seat.ledger.taken(),
            taken: self.seat.taken(),
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
    StoreError::System(format!("a buffer cannot be shown: {error}"))
}
