//! How much memory the stores of a node's processes have taken together, and the limit.
//!
//! All of them map one page: a limit, and a slot for each process with the bytes that it has taken.
//!
//! - `QUOTA-1`: only the process itself writes to its slot, so its death leaves nothing half done; the head clears
//!   the slot of a dead process.
//! - `QUOTA-2`: a process enters what it is about to take first and adds up then, so that of two at once both may be
//!   refused, and never are both let through beyond the limit.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::sync::threads;
use crate::sync::{Mutex, Rank};

const NAME: &str = "ledger";
const SLOTS: usize = 1023;
/// The limit, whether a process waits for memory, then the words of each slot.
const WORDS: usize = 2 + SLOT_WORDS * SLOTS;
/// Owner of a slot (its runtime's number plus one), bytes taken, bytes of those that nothing uses.
const SLOT_WORDS: usize = 3;

const fn slot_word(slot: usize, word: usize) -> usize {
    2 + SLOT_WORDS * slot + word
}

/// The shared page.
pub(crate) struct Quota {
    words: *const AtomicU64,
}

// SAFETY: the words are atomic, and mapped as long as the quota lives.
unsafe impl Send for Quota {}
// SAFETY: see above.
unsafe impl Sync for Quota {}

impl std::fmt::Debug for Quota {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger")
            .field("limit", &self.limit())
            .field("taken", &self.taken())
            .finish()
    }
}

impl Quota {
    /// Make it, in a runtime's directory, and map it.
    pub(crate) fn create(directory: &Path, limit: u64) -> io::Result<Arc<Self>> {
        let mut bytes = vec![0; WORDS * 8];
        bytes[..8].copy_from_slice(&limit.to_ne_bytes());
        // Written whole, so that the pages are there when they are mapped.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(directory.join(NAME))?;
        file.write_all(&bytes)?;
        Self::map(&file)
    }

    /// Map the one of a runtime's directory.
    pub(crate) fn open(directory: &Path) -> io::Result<Arc<Self>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(directory.join(NAME))?;
        Self::map(&file)
    }

    fn map(file: &File) -> io::Result<Arc<Self>> {
        use rustix::mm::{MapFlags, ProtFlags, mmap};
        if file.metadata()?.len() < (WORDS * 8) as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a short ledger"));
        }
        // SAFETY: new addresses of the kernel's choice.
        let words = unsafe {
            mmap(
                std::ptr::null_mut(),
                WORDS * 8,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                file,
                0,
            )
        }?;
        Ok(Arc::new(Self {
            words: words.cast_const().cast(),
        }))
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < WORDS);
        // SAFETY: in bounds, aligned, and mapped as long as `self` lives.
        unsafe { &*self.words.add(index) }
    }

    /// Most bytes that all may take together.
    pub(crate) fn limit(&self) -> u64 {
        self.word(0).load(Ordering::Relaxed)
    }

    /// Bytes that all have taken together.
    pub(crate) fn taken(&self) -> u64 {
        (0..SLOTS)
            .map(|slot| self.word(slot_word(slot, 1)).load(Ordering::SeqCst))
            .sum()
    }

    /// Bytes that all have taken and nothing uses.
    pub(crate) fn idle(&self) -> u64 {
        (0..SLOTS)
            .map(|slot| self.word(slot_word(slot, 2)).load(Ordering::SeqCst))
            .sum()
    }

    /// A slot for a process.
    pub(crate) fn take_slot(self: &Arc<Self>, runtime: u32) -> QuotaSlot {
        let owner = u64::from(runtime) + 1;
        let free = (0..SLOTS).find(|slot| {
            let word = self.word(slot_word(*slot, 0));
            word.compare_exchange(0, owner, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        });
        QuotaSlot {
            quota: Arc::clone(self),
            // With a thousand processes on one machine, the last ones share a slot.
            index: free.unwrap_or(SLOTS - 1),
            shared: free.is_none(),
            on_freed: Mutex::with_default(Rank::FreedCallback),
            wanted: AtomicBool::new(false),
        }
    }

    /// A process has died (`QUOTA-1`).
    pub(crate) fn clear(&self, runtime: u32) {
        let owner = u64::from(runtime) + 1;
        for slot in 0..SLOTS {
            if self.word(slot_word(slot, 0)).load(Ordering::Acquire) == owner {
                self.word(slot_word(slot, 1)).store(0, Ordering::SeqCst);
                self.word(slot_word(slot, 2)).store(0, Ordering::SeqCst);
                self.word(slot_word(slot, 0)).store(0, Ordering::Release);
            }
        }
    }

    /// Ask all to say when they have given something back, until [`Quota::waits`] is answered.
    pub(crate) fn wait(&self) {
        self.word(1).store(1, Ordering::SeqCst);
    }

    /// Whether a process waits for memory; clears the request.
    pub(crate) fn waits(&self) -> bool {
        self.word(1).load(Ordering::SeqCst) != 0 && self.word(1).swap(0, Ordering::SeqCst) != 0
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // SAFETY: mapped in `map`, and nobody can reach it any more.
        let _ = unsafe { rustix::mm::munmap(self.words.cast_mut().cast(), WORDS * 8) };
    }
}

/// Enter a change of one of a slot's words. What a forked child drops is its parent's, and still there.
fn change(word: &AtomicU64, bytes: usize, more: bool) {
    if threads::forked() {
        return;
    }
    if more {
        word.fetch_add(bytes as u64, Ordering::SeqCst);
    } else {
        word.fetch_sub(bytes as u64, Ordering::SeqCst);
    }
}

type Callback = Box<dyn Fn() + Send + Sync>;

/// One process's slot.
pub(crate) struct QuotaSlot {
    pub(crate) quota: Arc<Quota>,
    index: usize,
    shared: bool,
    /// Called when memory of this process was freed and a waiter needs it.
    on_freed: Mutex<Option<Arc<Callback>>>,
    wanted: AtomicBool,
}

impl std::fmt::Debug for QuotaSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat")
            .field("index", &self.index)
            .field("taken", &self.taken())
            .finish_non_exhaustive()
    }
}

impl QuotaSlot {
    fn idle(&self) -> &AtomicU64 {
        self.quota.word(slot_word(self.index, 2))
    }

    fn bytes(&self) -> &AtomicU64 {
        self.quota.word(slot_word(self.index, 1))
    }

    /// Enter that many bytes, if the limit allows (`QUOTA-2`).
    pub(crate) fn grow(&self, bytes: usize) -> bool {
        change(self.bytes(), bytes, true);
        if self.quota.taken() <= self.quota.limit() {
            return true;
        }
        change(self.bytes(), bytes, false);
        false
    }

    /// Enter that many bytes whatever the limit: they are taken already.
    pub(crate) fn enter(&self, bytes: usize) {
        change(self.bytes(), bytes, true);
    }

    /// That many bytes were given back.
    pub(crate) fn shrink(&self, bytes: usize) {
        if bytes > 0 {
            change(self.bytes(), bytes, false);
            self.freed();
        }
    }

    /// That many of the bytes taken are used again.
    pub(crate) fn busy(&self, bytes: usize) {
        change(self.idle(), bytes, false);
    }

    /// Nothing uses that many of the bytes taken any more.
    pub(crate) fn left(&self, bytes: usize) {
        change(self.idle(), bytes, true);
        self.freed();
    }

    /// Bytes that other processes have taken and nothing uses.
    pub(crate) fn idle_elsewhere(&self) -> u64 {
        let own = self.idle().load(Ordering::SeqCst);
        self.quota.idle().saturating_sub(own)
    }

    /// Memory of this process can be used for something else.
    pub(crate) fn freed(&self) {
        if self.wanted.load(Ordering::SeqCst) || self.quota.word(1).load(Ordering::Relaxed) != 0 {
            let callback = self.on_freed.lock().clone();
            if let Some(callback) = callback {
                callback();
            }
        }
    }

    /// Whether a thread of this process waits for memory.
    pub(crate) fn set_wanted(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::SeqCst);
    }

    /// Set the callback for memory that is freed while a process waits for it.
    pub(crate) fn when_freed(&self, callback: Option<Callback>) {
        *self.on_freed.lock() = callback.map(Arc::new);
    }

    /// Bytes that this process has taken.
    pub(crate) fn taken(&self) -> u64 {
        self.bytes().load(Ordering::SeqCst)
    }

    /// Bytes that all have taken together.
    #[cfg(test)]
    pub(crate) fn total(&self) -> u64 {
        self.quota.taken()
    }
}

impl Drop for QuotaSlot {
    fn drop(&mut self) {
        if !self.shared && !threads::forked() {
            self.bytes().store(0, Ordering::SeqCst);
            self.idle().store(0, Ordering::SeqCst);
            self.quota
                .word(slot_word(self.index, 0))
                .store(0, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(limit: u64) -> (tempfile::TempDir, Arc<Quota>) {
        let directory = tempfile::tempdir().expect("a directory");
        let quota = Quota::create(directory.path(), limit).expect("made");
        (directory, quota)
    }

    /// `QUOTA-1`
    #[test]
    fn quota_1_slot_of_a_dead_process_is_cleared_and_reused() {
        let (directory, quota) = quota(100);
        let slot = quota.take_slot(3);
        assert!(slot.grow(60));
        // The process is gone without a word.
        std::mem::forget(slot);
        let other = Quota::open(directory.path()).expect("mapped").take_slot(4);
        assert!(!other.grow(60));
        quota.clear(3);
        assert!(other.grow(60));
        assert_eq!(quota.taken(), 60);
        assert_eq!(quota.take_slot(5).index, 0);
    }

    /// `QUOTA-2`
    #[test]
    fn quota_2_many_at_once_never_exceed_the_limit() {
        let (_directory, quota) = quota(1000);
        let slots: Vec<_> = (0..4).map(|runtime| quota.take_slot(runtime)).collect();
        std::thread::scope(|scope| {
            for slot in &slots {
                let quota = &quota;
                scope.spawn(move || {
                    let mut mine = 0;
                    for round in 0..20_000u64 {
                        let bytes = (round % 37) as usize;
                        if slot.grow(bytes) {
                            mine += bytes;
                            assert!(slots_within(quota));
                        }
                        if mine > 200 {
                            slot.shrink(mine);
                            mine = 0;
                        }
                    }
                    slot.shrink(mine);
                });
            }
        });
        assert_eq!(quota.taken(), 0);
    }

    /// What was let through; a request that is being refused may be seen on top of it.
    fn slots_within(quota: &Quota) -> bool {
        quota.taken() <= quota.limit() + 3 * 36
    }
}
