//! The time limits of calls.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mosaic_core::event::Event;
use mosaic_core::id::TaskId;

use crate::shared::{Shared, lock};

/// The calls with a time limit, soonest first.
#[derive(Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, TaskId)>>,
}

impl Shared {
    pub(crate) fn start_timer(&self, task: TaskId, after: Duration) {
        let Some(at) = Instant::now().checked_add(after) else {
            return;
        };
        let mut timers = lock(&self.timers);
        let first = timers
            .heap
            .peek()
            .is_none_or(|Reverse((first, _))| at < *first);
        timers.heap.push(Reverse((at, task)));
        drop(timers);
        if first {
            self.timers_changed.notify_one();
        }
    }

    pub(crate) async fn run_timers(self: Arc<Self>) {
        loop {
            let next = lock(&self.timers).heap.peek().map(|Reverse((at, _))| *at);
            let Some(next) = next else {
                self.timers_changed.notified().await;
                continue;
            };
            tokio::select! {
                () = self.timers_changed.notified() => continue,
                () = tokio::time::sleep_until(next.into()) => {}
            }
            let mut passed = Vec::new();
            {
                let mut timers = lock(&self.timers);
                let now = Instant::now();
                while timers
                    .heap
                    .peek()
                    .is_some_and(|Reverse((at, _))| *at <= now)
                {
                    passed.extend(
                        timers
                            .heap
                            .pop()
                            .map(|Reverse((_, task))| Event::CallTimedOut(task)),
                    );
                }
            }
            self.process(&mut passed);
        }
    }
}
