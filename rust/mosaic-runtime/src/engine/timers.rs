//! Time limits of calls: a heap of deadlines and the task that fires them.
//!
//! - `TIME-1`: an ended call leaves its entry in the heap, which is compacted once such entries make up more than half of
//!   it. A limit may be an hour away, and a hundred thousand calls end in a second.
//! - `TIME-2`: a limit starts when the submission of the call has been posted, so that its event follows that of the
//!   submission, however short it is. A call that has ended by then has its timer ended at once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mosaic_core::event::Event;
use mosaic_core::id::TaskId;
use rustc_hash::FxHashSet;

use crate::engine::inner::EngineInner;

/// Entries of ended calls that may always stay in the heap.
const FEW: usize = 64;

/// The calls with a time limit.
#[derive(Default)]
pub(crate) struct Timers {
    /// Soonest first; some may have ended.
    heap: BinaryHeap<Reverse<(Instant, TaskId)>>,
    /// Those that have not.
    pending: FxHashSet<TaskId>,
}

impl Timers {
    /// Returns whether this is the soonest.
    fn start(&mut self, task: TaskId, at: Instant) -> bool {
        let first = self.soonest().is_none_or(|first| at < first);
        self.heap.push(Reverse((at, task)));
        self.pending.insert(task);
        first
    }

    fn soonest(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    fn end(&mut self, task: TaskId) {
        self.pending.remove(&task);
        if self.heap.len() > 2 * self.pending.len() + FEW {
            let pending = &self.pending;
            self.heap
                .retain(|Reverse((_, task))| pending.contains(task));
            self.heap.shrink_to(2 * self.heap.len() + FEW);
            self.pending.shrink_to(2 * self.heap.len() + FEW);
        }
    }

    /// Take out what has passed; those of it that have not ended.
    fn passed(&mut self, now: Instant) -> Vec<TaskId> {
        let mut passed = Vec::new();
        while self.soonest().is_some_and(|at| at <= now) {
            let next = self.heap.pop().map(|Reverse((_, task))| task);
            passed.extend(next.filter(|task| self.pending.remove(task)));
        }
        passed
    }
}

impl EngineInner {
    pub(crate) fn start_timer(&self, task: TaskId, after: Duration) {
        let Some(at) = Instant::now().checked_add(after) else {
            return;
        };
        let first = self.timers.lock().start(task, at);
        if first {
            self.timers_changed.notify_one();
        }
    }

    /// Time limits that are remembered, those of some ended calls among them.
    pub(crate) fn timers(&self) -> usize {
        self.timers.lock().heap.len()
    }

    /// A call with a time limit has ended.
    pub(crate) fn end_timer(&self, task: TaskId) {
        self.timers.lock().end(task);
    }

    pub(crate) async fn run_timers(self: Arc<Self>) {
        loop {
            let next = self.timers.lock().soonest();
            let Some(next) = next else {
                self.timers_changed.notified().await;
                continue;
            };
            tokio::select! {
                () = self.timers_changed.notified() => continue,
                () = tokio::time::sleep_until(next.into()) => {}
            }
            let passed = self.timers.lock().passed(Instant::now());
            let mut events: Vec<_> = passed.into_iter().map(Event::CallTimedOut).collect();
            self.process(&mut events);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mosaic_core::id::RuntimeId;

    fn task(sequence: u64) -> TaskId {
        let owner = RuntimeId::HEAD;
        TaskId { owner, sequence }
    }

    /// `TIME-1`
    #[test]
    fn time_1_what_ended_calls_leave_is_bounded_by_the_pending_ones() {
        let mut timers = Timers::default();
        let later = Instant::now() + Duration::from_secs(3600);
        for sequence in 0..10 {
            timers.start(task(sequence), later);
        }
        for sequence in 10..100_000 {
            timers.start(task(sequence), later + Duration::from_nanos(sequence));
            timers.end(task(sequence));
            assert!(timers.heap.len() <= 2 * 11 + FEW);
        }
        assert_eq!(timers.pending.len(), 10);
        assert!(timers.heap.capacity() < 1024);
        timers.end(task(3));
        let mut passed = timers.passed(later);
        passed.sort_unstable();
        assert_eq!(passed, [0, 1, 2, 4, 5, 6, 7, 8, 9].map(task));
        assert!(timers.pending.is_empty());
    }

    #[test]
    fn the_soonest_wakes_the_timer() {
        let mut timers = Timers::default();
        let now = Instant::now();
        assert!(timers.start(task(1), now + Duration::from_secs(2)));
        assert!(timers.start(task(2), now + Duration::from_secs(1)));
        assert!(!timers.start(task(3), now + Duration::from_secs(3)));
    }
}
