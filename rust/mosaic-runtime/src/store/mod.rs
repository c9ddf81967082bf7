//! Large buffers: in memory that the processes of a machine share, or on disk.
//!
//! | module | what it owns |
//! | --- | --- |
//! | this one | `Store`: opened with the first buffer; imports of other processes' files |
//! | [`inner`] | the open store: where a buffer goes, and how it is found again |
//! | [`memfd`] | anonymous memory files and mappings of them |
//! | `dirty_pages` | which pages of a private mapping were written to |
//! | [`pool`] | memory for buffers, kept resident |
//! | [`ranges`] | free ranges of a slab or a file |
//! | [`quota`] | bytes that all processes of the node have taken, and the limit |
//! | [`spill`] | buffers on disk |
//! | [`buffer`] | a buffer, own or borrowed, and what pins it |
//! | [`view`] | views: copy-on-write mappings that programs see; the cache of mappings |
//! | [`export`] | descriptions of buffers in frames, and the files that go along |
//! | [`reclaim`] | the thread that gives idle memory back |
//! | [`report`] | what is in the store, for people |
//! | [`settings`] | limits and their environment variables |
//!
//! A buffer is copied into the store of the process that makes it, once; every other process maps it. The state
//! machine counts its holders ([`mosaic_core::id::ObjectId::Buffer`]); [`mosaic_core::catalog::Catalog`] decides
//! which buffers are spilled. Nothing is opened before the first buffer: an idle runtime pays nothing. Only the head
//! keeps the quota mapped from the start: it may go on without its directory, when its workers are lost.
//!
//! Called from any thread.

mod buffer;
#[cfg(target_os = "linux")]
mod dirty_pages;
pub(crate) mod export;
mod inner;
mod memfd;
mod pool;
pub(crate) mod quota;
mod ranges;
mod reclaim;
mod report;
mod settings;
mod spill;
#[cfg(test)]
mod tests;
mod view;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use mosaic_core::id::{BufferId, RuntimeId};
use mosaic_core::payload::Stored;
use rustc_hash::FxHashMap;

use crate::node::descriptors;
use crate::sync::{Mutex, Rank};
use buffer::{Buffer, Pin, Place, SlabName};
use export::SharedFile;
use inner::Inner;
use memfd::MemoryFile;
use quota::Quota;
pub use report::{BufferReport, StoreReport};
pub use settings::{StoreSettings, bytes};
use spill::SpillFile;
pub use view::View;

/// Buffers from this length on lie in a store. Of a call that looks at an array, the two ways cost the same at 64 KiB
/// (62 and 70 us one after another, 72 and 68 us in a burst, medians); from 128 KiB on the store is ahead. The bare ways
/// are in `benches/store.rs`.
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
    /// There are no file descriptors left.
    #[error("{0}")]
    Descriptors(String),
    /// The system refused, or what came back from disk is damaged.
    #[error("{0}")]
    System(String),
}

impl StoreError {
    /// What the system refused, and why.
    fn refused(what: &str, error: &io::Error) -> Self {
        if descriptors::are_short(error) {
            Self::Descriptors(descriptors::shortage(what))
        } else {
            Self::System(format!("{what}: {error}"))
        }
    }
}

/// What happens outside of the store when it runs short of memory.
pub(crate) trait MemoryPressure: Send + Sync {
    /// Ask the other processes of the node to give idle memory back.
    fn reclaim(&self);
    /// Wake the waiters for memory, in this process and the others of the node.
    fn memory_available(&self);
}

/// One process's store. Opened with the first buffer.
#[derive(Debug)]
pub(crate) struct Store {
    me: RuntimeId,
    directory: PathBuf,
    settings: StoreSettings,
    open: Mutex<Opened>,
    /// The files of others, from the first that comes: a process that only looks needs none of its own.
    imports: Mutex<Imports>,
}

/// Files that peers sent and something here still uses.
#[derive(Debug, Default)]
struct Imports {
    memory: FxHashMap<SlabName, Weak<MemoryFile>>,
    disk: FxHashMap<SlabName, Weak<SpillFile>>,
}

#[derive(Debug)]
enum Opened {
    /// With the quota, at the head, which made it.
    NotYet(Option<Arc<Quota>>),
    Open(Arc<Inner>),
    Closed,
}

impl Store {
    /// The head's, with the quota that the others find in the directory.
    pub(crate) fn create(directory: PathBuf, settings: StoreSettings) -> io::Result<Self> {
        let quota = Quota::create(&directory, settings.memory_limit)?;
        Ok(Self {
            me: RuntimeId::HEAD,
            directory,
            settings,
            open: Mutex::new(Rank::Store, Opened::NotYet(Some(quota))),
            imports: Mutex::with_default(Rank::StoreImports),
        })
    }

    /// That of another process.
    pub(crate) fn join(me: RuntimeId, directory: PathBuf, settings: StoreSettings) -> Self {
        Self {
            me,
            directory,
            settings,
            open: Mutex::new(Rank::Store, Opened::NotYet(None)),
            imports: Mutex::with_default(Rank::StoreImports),
        }
    }

    fn inner(
        &self,
        memory_pressure: impl FnOnce() -> Arc<dyn MemoryPressure>,
    ) -> Result<Arc<Inner>, StoreError> {
        let mut open = self.open.lock();
        let quota = match &*open {
            Opened::Open(inner) => return Ok(Arc::clone(inner)),
            Opened::Closed => return Err(StoreError::System("the runtime has stopped".into())),
            Opened::NotYet(Some(quota)) => Arc::clone(quota),
            Opened::NotYet(None) => Quota::open(&self.directory)
                .map_err(|error| StoreError::refused("the store cannot be opened", &error))?,
        };
        let slot = Arc::new(quota.take_slot(self.me.0));
        let inner = Inner::new(self.me, self.settings.clone(), slot, memory_pressure());
        *open = Opened::Open(Arc::clone(&inner));
        Ok(inner)
    }
}

/// What the engine does with its store.
impl Store {
    fn opened(&self) -> Option<Arc<Inner>> {
        let open = self.open.lock();
        match &*open {
            Opened::Open(inner) => Some(Arc::clone(inner)),
            Opened::NotYet(_) | Opened::Closed => None,
        }
    }

    /// Copy bytes into the store. `None` if a view shows exactly these bytes: then its buffer is the one.
    pub(crate) fn copy_in(
        &self,
        bytes: &[u8],
        memory_pressure: impl FnOnce() -> Arc<dyn MemoryPressure>,
    ) -> Result<Arc<dyn Stored>, StoreError> {
        let inner = self.inner(memory_pressure)?;
        if let Some(view) = inner.views.find(bytes.as_ptr() as usize, bytes.len())
            && let Some(stored) = view.share()
        {
            return Ok(stored);
        }
        Ok(inner.copy_in(bytes)?)
    }

    /// Memory of the store for a program to write to.
    pub(crate) fn allocate(
        &self,
        length: usize,
        memory_pressure: impl FnOnce() -> Arc<dyn MemoryPressure>,
    ) -> Result<Arc<View>, StoreError> {
        self.inner(memory_pressure)?.allocate(length)
    }

    /// Show a buffer.
    pub(crate) fn view(
        &self,
        stored: &Arc<dyn Stored>,
        memory_pressure: impl FnOnce() -> Arc<dyn MemoryPressure>,
    ) -> Result<Arc<View>, StoreError> {
        self.inner(memory_pressure)?.view(stored)
    }

    /// Pin a buffer that is about to be exported, and say where it lies: it stays there until it is returned.
    pub(crate) fn export(&self, buffer: &Arc<Buffer>) -> Place {
        let Some(inner) = self.opened() else {
            return buffer.place();
        };
        let (pin, place) = Pin::new(&inner, buffer);
        let before = inner.exported.lock().insert(buffer.id, pin);
        drop(before);
        place
    }

    /// No other process uses a buffer any more: unpin it.
    pub(crate) fn returned(&self, buffer: BufferId) {
        if let Some(inner) = self.opened() {
            let pin = inner.exported.lock().remove(&buffer);
            drop(pin);
        }
    }

    /// A buffer of this store, which a peer sent back.
    pub(crate) fn own(&self, buffer: BufferId) -> Option<Arc<dyn Stored>> {
        if buffer.owner != self.me {
            return None;
        }
        let inner = self.opened()?;
        let found = inner.table.lock().buffers.get(&buffer)?.upgrade()?;
        Some(found)
    }

    /// A file of a peer's that is here already, or this process's own.
    pub(crate) fn known(&self, disk: bool, name: SlabName) -> Option<SharedFile> {
        if disk {
            let found = self.imports.lock().disk.get(&name)?.upgrade()?;
            return Some(SharedFile::Disk(found));
        }
        if name.0 == self.me {
            let slab = self.opened()?.pool.slab(name.1)?;
            return Some(SharedFile::Memory(Arc::clone(&slab.file)));
        }
        let found = self.imports.lock().memory.get(&name)?.upgrade()?;
        Some(SharedFile::Memory(found))
    }

    /// A file that a peer sent: one of it stays open, however often it is sent.
    pub(crate) fn import(
        &self,
        disk: bool,
        name: SlabName,
        file: std::os::fd::OwnedFd,
    ) -> io::Result<SharedFile> {
        if let Some(known) = self.known(disk, name) {
            return Ok(known);
        }
        if disk {
            let file = Arc::new(SpillFile::new(file.into(), name.1)?);
            let disk = &mut self.imports.lock().disk;
            disk.retain(|_, file| file.strong_count() > 0);
            disk.insert(name, Arc::downgrade(&file));
            return Ok(SharedFile::Disk(file));
        }
        let file = Arc::new(MemoryFile::adopt(file)?);
        let memory = &mut self.imports.lock().memory;
        memory.retain(|_, file| file.strong_count() > 0);
        memory.insert(name, Arc::downgrade(&file));
        Ok(SharedFile::Memory(file))
    }

    /// Another process of the node needs memory.
    pub(crate) fn reclaim(&self) {
        if let Some(inner) = self.opened() {
            inner.reclaimer.reclaim(&inner);
        }
    }

    /// A process of the node has died: what it had taken is free, once the head has seen to that.
    pub(crate) fn process_died(&self, runtime: RuntimeId) {
        if self.me == RuntimeId::HEAD {
            let open = self.open.lock();
            let quota = match &*open {
                Opened::NotYet(quota) => quota.clone(),
                Opened::Open(inner) => Some(Arc::clone(&inner.slot.quota)),
                Opened::Closed => None,
            };
            drop(open);
            if let Some(quota) = quota {
                quota.clear(runtime.0);
            }
        }
        if let Some(inner) = self.opened() {
            inner.mappings.clear();
            inner.slot.freed();
        }
    }

    /// Request a wake-up when there is memory, until `wanted` is taken back.
    pub(crate) fn set_memory_wanted(&self, wanted: bool) {
        if let Some(inner) = self.opened() {
            inner.slot.set_wanted(wanted);
            if wanted {
                inner.slot.quota.wait();
                inner.memory_pressure.reclaim();
            }
        }
    }

    /// Whether other processes have memory that nothing uses: they give it back when they are asked.
    pub(crate) fn others_have_idle_memory(&self) -> bool {
        self.opened()
            .is_some_and(|inner| inner.slot.idle_elsewhere() > 0)
    }

    /// Whether a process waits for memory; clears the request.
    pub(crate) fn memory_is_wanted(&self) -> bool {
        self.opened().is_some_and(|inner| inner.slot.quota.waits())
    }

    /// Living values count as that many bytes more, or fewer. They are there already: the limit does not refuse
    /// them, but leaves less for others.
    pub(crate) fn account(
        &self,
        bytes: i64,
        memory_pressure: impl FnOnce() -> Arc<dyn MemoryPressure>,
    ) -> Result<(), StoreError> {
        let inner = self.inner(memory_pressure)?;
        let count = usize::try_from(bytes.unsigned_abs()).unwrap_or(usize::MAX);
        if bytes < 0 {
            inner.slot.shrink(count);
        } else {
            inner.slot.enter(count);
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
        let opened = std::mem::replace(&mut *self.open.lock(), Opened::Closed);
        if let Opened::Open(inner) = opened {
            inner.reclaimer.stop();
            inner.slot.when_freed(None);
            let exported = std::mem::take(&mut *inner.exported.lock());
            if self.me == RuntimeId::HEAD {
                drop(exported);
            } else {
                // The head may look at them for as long as it likes: their memory is not to be used for anything
                // else, and goes with the last mapping.
                std::mem::forget(exported);
            }
            inner.give_back();
        }
    }
}
