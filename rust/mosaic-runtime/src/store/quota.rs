//! How much memory the stores of a node's processes have taken together, and the limit.
//!
//! A page that all of them map: a limit, and a seat for each process with the bytes that it has taken. Only the
//! process itself writes to its seat, so a death leaves nothing half done: the node agent clears the seat
//! (`LEDGER-1`). A process enters what it is about to take first and adds up then, so that two at once may both be
//! refused, never both be let through beyond the limit (`LEDGER-2`).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::sync::primitives::lock;
use crate::sync::threads;

const NAME: &str = "ledger";
const SEATS: usize = 1023;
/// The limit, whether somebody waits, then a seat's words one after another.
const WORDS: usize = 2 + SEAT * SEATS;
/// Who has it (its runtime's number and one), bytes taken, bytes of those that nothing uses.
const SEAT: usize = 3;

const fn seat_word(seat: usize, word: usize) -> usize {
    2 + SEAT * seat + word
}

/// The page.
pub(crate) struct Ledger {
    words: *const AtomicU64,
}

// SAFETY: the words are atomic, and mapped as long as the ledger lives.
unsafe impl Send for Ledger {}
// SAFETY: see above.
unsafe impl Sync for Ledger {}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger")
            .field("limit", &self.limit())
            .field("taken", &self.taken())
            .finish()
    }
}

impl Ledger {
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
        (0..SEATS)
            .map(|seat| self.word(seat_word(seat, 1)).load(Ordering::SeqCst))
            .sum()
    }

    /// Bytes that all have taken and nothing uses.
    pub(crate) fn idle(&self) -> u64 {
        (0..SEATS)
            .map(|seat| self.word(seat_word(seat, 2)).load(Ordering::SeqCst))
            .sum()
    }

    /// A seat for a process.
    pub(crate) fn take_seat(self: &Arc<Self>, runtime: u32) -> Seat {
        let owner = u64::from(runtime) + 1;
        let free = (0..SEATS).find(|seat| {
            let word = self.word(seat_word(*seat, 0));
            word.compare_exchange(0, owner, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        });
        Seat {
            ledger: Arc::clone(self),
            // With a thousand processes on one machine, the last ones share a seat.
            index: free.unwrap_or(SEATS - 1),
            shared: free.is_none(),
            on_freed: std::sync::Mutex::default(),
            wanted: AtomicBool::new(false),
        }
    }

    /// A process has died (`LEDGER-1`).
    pub(crate) fn clear(&self, runtime: u32) {
        let owner = u64::from(runtime) + 1;
        for seat in 0..SEATS {
            if self.word(seat_word(seat, 0)).load(Ordering::Acquire) == owner {
                self.word(seat_word(seat, 1)).store(0, Ordering::SeqCst);
                self.word(seat_word(seat, 2)).store(0, Ordering::SeqCst);
                self.word(seat_word(seat, 0)).store(0, Ordering::Release);
            }
        }
    }

    /// Ask all to say when they have given something back, until [`Ledger::waits`] is answered.
    pub(crate) fn wait(&self) {
        self.word(1).store(1, Ordering::SeqCst);
    }

    /// Whether somebody waits for room; asked once.
    pub(crate) fn waits(&self) -> bool {
        self.word(1).load(Ordering::SeqCst) != 0 && self.word(1).swap(0, Ordering::SeqCst) != 0
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // SAFETY: mapped in `map`, and nobody can reach it any more.
        let _ = unsafe { rustix::mm::munmap(self.words.cast_mut().cast(), WORDS * 8) };
    }
}

/// Enter a change of one of a seat's words. What a forked child drops is its parent's, and still there.
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

/// One process's part.
pub(crate) struct Seat {
    pub(crate) ledger: Arc<Ledger>,
    index: usize,
    shared: bool,
    /// Called when memory of this process was freed and somebody waits for it.
    on_freed: std::sync::Mutex<Option<Arc<Callback>>>,
    wanted: AtomicBool,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat")
            .field("index", &self.index)
            .field("taken", &self.taken())
            .finish_non_exhaustive()
    }
}

impl Seat {
    fn idle(&self) -> &AtomicU64 {
        self.ledger.word(seat_word(self.index, 2))
    }

    fn bytes(&self) -> &AtomicU64 {
        self.ledger.word(seat_word(self.index, 1))
    }

    /// Enter that many bytes, if the limit allows (`LEDGER-2`).
    pub(crate) fn grow(&self, bytes: usize) -> bool {
        change(self.bytes(), bytes, true);
        if self.ledger.taken() <= self.ledger.limit() {
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
        self.ledger.idle().saturating_sub(own)
    }

    /// Memory of this process can be used for something else.
    pub(crate) fn freed(&self) {
        if self.wanted.load(Ordering::SeqCst) || self.ledger.word(1).load(Ordering::Relaxed) != 0 {
            let callback = lock(&self.on_freed).clone();
            if let Some(callback) = callback {
                callback();
            }
        }
    }

    /// Whether a thread of this process waits for room.
    pub(crate) fn set_wanted(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::SeqCst);
    }

    /// Whom to tell when memory is freed that somebody waits for.
    pub(crate) fn when_freed(&self, callback: Option<Callback>) {
        *lock(&self.on_freed) = callback.map(Arc::new);
    }

    /// Bytes that this process has taken.
    pub(crate) fn taken(&self) -> u64 {
        self.bytes().load(Ordering::SeqCst)
    }

    /// Bytes that all have taken together.
    #[cfg(test)]
    pub(crate) fn total(&self) -> u64 {
        self.ledger.taken()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.shared && !threads::forked() {
            self.bytes().store(0, Ordering::SeqCst);
            self.idle().store(0, Ordering::SeqCst);
            self.ledger
                .word(seat_word(self.index, 0))
                .store(0, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(limit: u64) -> (tempfile::TempDir, Arc<Ledger>) {
        let directory = tempfile::tempdir().expect("a directory");
        let ledger = Ledger::create(directory.path(), limit).expect("made");
        (directory, ledger)
    }

    /// `LEDGER-1`
    #[test]
    fn ledger_1_the_seat_of_the_dead_is_cleared_and_taken_again() {
        let (directory, ledger) = ledger(100);
        let seat = ledger.take_seat(3);
        assert!(seat.grow(60));
        // The process is gone without a word.
        std::mem::forget(seat);
        let other = Ledger::open(directory.path()).expect("mapped").take_seat(4);
        assert!(!other.grow(60));
        ledger.clear(3);
        assert!(other.grow(60));
        assert_eq!(ledger.taken(), 60);
        assert_eq!(ledger.take_seat(5).index, 0);
    }

    /// `LEDGER-2`
    #[test]
    fn ledger_2_many_at_once_never_exceed_the_limit() {
        let (_directory, ledger) = ledger(1000);
        let seats: Vec<_> = (0..4).map(|runtime| ledger.take_seat(runtime)).collect();
        std::thread::scope(|scope| {
            for seat in &seats {
                let ledger = &ledger;
                scope.spawn(move || {
                    let mut mine = 0;
                    for round in 0..20_000u64 {
                        let bytes = (round % 37) as usize;
                        if seat.grow(bytes) {
                            mine += bytes;
                            assert!(seats_within(ledger));
                        }
                        if mine > 200 {
                            seat.shrink(mine);
                            mine = 0;
                        }
                    }
                    seat.shrink(mine);
                });
            }
        });
        assert_eq!(ledger.taken(), 0);
    }

    /// What was let through; a request that is being refused may be seen on top of it.
    fn seats_within(ledger: &Ledger) -> bool {
        ledger.taken() <= ledger.limit() + 3 * 36
    }
}
