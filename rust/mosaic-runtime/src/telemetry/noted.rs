//! What is recorded without a lock: the calls of a batch of messages, the plain call that runs, whether there is
//! something to write.
//!
//! - `NOTED-1`: a plain call that has begun is seen by the recorder's thread at its next look, or wakes it for another
//!   look. Each of the two threads stores, passes a fence and loads what the other has stored.

use mosaic_core::id::TaskId;

use super::clock::ticks;
use super::tables::packed;
use crate::sync::primitives::{AtomicBool, AtomicU64, Ordering, fence};

/// The calls of a batch of messages and the times of their arrival. The clock is read once for a few calls.
#[derive(Debug, Default)]
pub(crate) struct ReceivedCalls {
    calls: Vec<(u64, u64)>,
    time: u64,
}

impl ReceivedCalls {
    /// Calls that share a reading of the clock.
    const SHARED: usize = 4;

    pub(super) fn note(&mut self, task: TaskId) {
        if self.calls.len().is_multiple_of(Self::SHARED) {
            self.time = ticks();
        }
        self.calls.push((self.time, packed(task)));
    }

    pub(super) fn calls(&self) -> &[(u64, u64)] {
        &self.calls
    }

    pub(super) fn clear(&mut self) {
        self.calls.clear();
    }

    /// Whether there are any, which are recorded at the end of the batch.
    #[inline]
    pub(crate) fn are_any(&self) -> bool {
        !self.calls.is_empty()
    }
}

/// The plain call that runs, for the recorder's thread. A lock at each beginning would cost more than the rest of the
/// recording. A call that begins while the thread looks may be in the next batch only.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// 0 for none, and while the time changes.
    task: AtomicU64,
    time: AtomicU64,
    /// The call that is in the file.
    reported: AtomicU64,
}

impl Plain {
    /// A call begins; a [`Flag`] is raised for it next.
    pub(super) fn begin(&self, task: u64, time: u64) {
        self.set(task, time);
        fence(Ordering::SeqCst);
    }

    /// This call runs again, or none.
    pub(super) fn set(&self, task: u64, time: u64) {
        self.task.store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        self.time.store(time, Ordering::Relaxed);
        self.task.store(task, Ordering::Release);
    }

    /// The next file has no call yet.
    pub(super) fn report_again(&self) {
        self.reported.store(0, Ordering::Relaxed);
    }

    /// Time and task of the call that runs, if it is not in the file. Called by one thread at a time.
    pub(super) fn unreported(&self) -> Option<(u64, u64)> {
        let task = self.task.load(Ordering::Acquire);
        let time = self.time.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let same = task == self.task.load(Ordering::Relaxed);
        let new = task != 0 && same && self.reported.swap(task, Ordering::Relaxed) != task;
        new.then_some((time, task))
    }
}

/// Whether the recorder's thread has been woken.
#[derive(Debug, Default)]
pub(super) struct Flag(AtomicBool);

impl Flag {
    /// A row was pushed under its lock, or a plain call has begun. Returns whether the recorder's thread is to be woken.
    #[inline]
    pub(super) fn raise(&self) -> bool {
        !self.0.load(Ordering::Relaxed) && !self.0.swap(true, Ordering::AcqRel)
    }

    /// The recorder's thread is about to look at all buffers.
    pub(super) fn lower(&self) {
        self.0.store(false, Ordering::Release);
        fence(Ordering::SeqCst);
    }
}

#[cfg(all(test, mosaic_loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    #[test]
    fn loom_noted_1_a_call_that_begins_is_seen_or_wakes_the_writer() {
        loom::model(|| {
            let world = Arc::new((Plain::default(), Flag::default()));
            // An earlier row has woken the writer.
            assert!(world.1.raise());
            let lane = thread::spawn({
                let world = Arc::clone(&world);
                move || {
                    world.0.begin(7, 1);
                    world.1.raise()
                }
            });
            world.1.lower();
            let seen = world.0.unreported();
            let wakes = lane.join().unwrap();
            assert!(wakes || seen == Some((1, 7)));
        });
    }
}
