//! A queue of calls for one thread: the main lane of an executor.
//!
//! The engine pushes batches; one thread takes everything that is there. Every call passes `begin`: it is
//! either prevented by `revoke` or has begun, never both (`LANE-1`).

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use mosaic_core::call::ReadyCall;
use mosaic_core::id::{TaskId, TesseraId};

use crate::begun::Begun;
use crate::executor::Revoked;

/// Something for the lane to do.
#[derive(Debug)]
pub enum Job {
    /// Run a call.
    Run(Box<ReadyCall>),
    /// Drop the living object of a tessera.
    DropTessera(TesseraId),
    /// Drop the living result of a task.
    DropResult(TaskId),
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    stopped: bool,
}

/// Jobs on their way to one thread.
#[derive(Debug, Default)]
pub struct Lane {
    queue: Mutex<Queue>,
    filled: Condvar,
    begun: Begun,
}

impl Lane {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Add jobs; wakes the thread once.
    pub fn push(&self, jobs: impl IntoIterator<Item = Job>) {
        let mut queue = self.lock();
        let was_empty = queue.jobs.is_empty();
        queue.jobs.extend(jobs);
        drop(queue);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// A call is not wanted any more.
    pub fn revoke(&self, task: TaskId) -> Revoked {
        self.begun.revoke(task)
    }

    /// A call is about to begin, on this lane or as a coroutine. Returns whether it may.
    pub fn begin(&self, task: TaskId) -> bool {
        self.begun.begin(task)
    }

    /// A call has ended, and the engine was told.
    pub fn end(&self, task: TaskId) {
        self.begun.end(task);
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lock().jobs.is_empty()
    }

    /// Block until there is something, and take it all. Returns whether the lane goes on: at the end, what
    /// was not taken is dropped.
    pub fn take(&self, batch: &mut VecDeque<Job>) -> bool {
        let mut queue = self.lock();
        while queue.jobs.is_empty() && !queue.stopped {
            queue = self
                .filled
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut queue.jobs, batch);
        !queue.stopped
    }

    /// Block until there is something, the lane has stopped, or the time has passed; take nothing.
    /// Returns whether there is something.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        let queue = self.lock();
        let waiting = |queue: &mut Queue| queue.jobs.is_empty() && !queue.stopped;
        let queue = match timeout {
            Some(timeout) => {
                self.filled
                    .wait_timeout_while(queue, timeout, waiting)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
            None => self
                .filled
                .wait_while(queue, waiting)
                .unwrap_or_else(PoisonError::into_inner),
        };
        !queue.jobs.is_empty()
    }

    /// Take what is there without blocking.
    pub fn try_take(&self, batch: &mut VecDeque<Job>) {
        let mut queue = self.lock();
        if batch.is_empty() {
            std::mem::swap(&mut queue.jobs, batch);
        } else {
            batch.append(&mut queue.jobs);
        }
    }

    /// Let the thread run out.
    pub fn stop(&self) {
        let mut queue = self.lock();
        queue.stopped = true;
        queue.jobs.clear();
        drop(queue);
        self.filled.notify_all();
    }
}
