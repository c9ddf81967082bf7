//! What is noted without a lock, and told later: calls that came with a batch, the plain call that runs.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use mosaic_core::id::TaskId;

use super::clock::ticks;
use super::tables::packed;

/// The calls that came with a batch of messages, and when: read once for a few of them.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    calls: Vec<(u64, u64)>,
    time: u64,
}

impl Arrivals {
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
