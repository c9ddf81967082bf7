//! What is noted without a lock, and told later: calls that came with a batch, the plain call that runs, that there is
//! something to write.
//!
//! A plain call that has begun is seen by the writer's next look, or its thread wakes the writer for another
//! (`NOTED-1`): each of the two stores, passes a fence and loads what the other has stored.

use mosaic_core::id::TaskId;

use super::clock::ticks;
use super::tables::packed;
use crate::sync::primitives::{AtomicBool, AtomicU64, Ordering, fence};

/// The calls that came with a batch of messages, and when: read once for a few of them.
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

    /// Whether there are any, which are to be told at the end of the batch.
    #[inline]
    pub(crate) fn are_any(&self) -> bool {
        !self.calls.is_empty()
    }
}

/// The plain call that runs, for whoever writes. A lock at each beginning would cost more than all that is noted there.
/// A beginning that falls into the very moment of the writer's look may be told with the next batch only.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// 0 for none, and while the time changes.
    task: AtomicU64,
    time: AtomicU64,
    /// The file knows of this one.
    told: AtomicU64,
}

impl Plain {
    /// A call begins; a [`Flag`] is raised for it next.
    pub(super) fn begin(&self, task: u64, time: u64) {
        self.set(task, time);
        fence(Ordering::SeqCst);
    }

    /// It is this one again, or none.
    pub(super) fn set(&self, task: u64, time: u64) {
        self.task.store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        self.time.store(time, Ordering::Relaxed);
        self.task.store(task, Ordering::Release);
    }

    /// Another file knows of none.
    pub(super) fn tell_again(&self) {
        self.told.store(0, Ordering::Relaxed);
    }

    /// Time and task, if the file does not know of it. Asked by one thread at a time.
    pub(super) fn untold(&self) -> Option<(u64, u64)> {
        let task = self.task.load(Ordering::Acquire);
        let time = self.time.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let same = task == self.task.load(Ordering::Relaxed);
        let new = task != 0 && same && self.told.swap(task, Ordering::Relaxed) != task;
        new.then_some((time, task))
    }
}

/// Whether the writer knows that there is something for it.
#[derive(Debug, Default)]
pub(super) struct Flag(AtomicBool);

impl Flag {
    /// There is something: a row was pushed under its lock, or a plain call has begun. Returns whether the writer is to
    /// be woken for it.
    #[inline]
    pub(super) fn raise(&self) -> bool {
        !self.0.load(Ordering::Relaxed) && !self.0.swap(true, Ordering::AcqRel)
    }

    /// The writer is about to look at everything.
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
            let seen = world.0.untold();
            let wakes = lane.join().unwrap();
            assert!(wakes || seen == Some((1, 7)));
        });
    }
}
