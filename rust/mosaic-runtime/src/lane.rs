//! A queue of calls for one thread: the main lane of an executor.
//!
//! The engine pushes batches; one thread takes everything that is there. A call that was revoked while it
//! waits is still handed out, marked: its end has to be reported.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use mosaic_core::call::ReadyCall;
use mosaic_core::id::{TaskId, TesseraId};
use rustc_hash::FxHashSet;

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
    revoked: Mutex<Revoked>,
    revocations: AtomicUsize,
}

#[derive(Debug, Default)]
struct Revoked {
    tasks: FxHashSet<TaskId>,
    /// What runs at the moment.
    running: Option<TaskId>,
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

    fn revoked(&self) -> std::sync::MutexGuard<'_, Revoked> {
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Mark a call as not wanted any more. Returns whether it runs already.
    pub fn revoke(&self, task: TaskId) -> bool {
        let mut revoked = self.revoked();
        if revoked.running == Some(task) {
            return true;
        }
        if revoked.tasks.insert(task) {
            self.revocations.fetch_add(1, Ordering::Release);
        }
        false
    }

    /// A call is about to start. Returns whether it may: it was not revoked.
    pub fn begin(&self, task: TaskId) -> bool {
        let mut revoked = self.revoked();
        if revoked.tasks.remove(&task) {
            self.revocations.fetch_sub(1, Ordering::Release);
            return false;
        }
        revoked.running = Some(task);
        true
    }

    /// A call has ended.
    pub fn end(&self, task: TaskId) {
        let mut revoked = self.revoked();
        if revoked.running == Some(task) {
            revoked.running = None;
        }
        if revoked.tasks.remove(&task) {
            self.revocations.fetch_sub(1, Ordering::Release);
        }
    }

    /// Whether a call that runs elsewhere than on this lane was revoked before it began.
    pub fn is_revoked(&self, task: TaskId) -> bool {
        if self.revocations.load(Ordering::Acquire) == 0 {
            return false;
        }
        let removed = self.revoked().tasks.remove(&task);
        if removed {
            self.revocations.fetch_sub(1, Ordering::Release);
        }
        removed
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
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
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
                self.filled.wait_timeout_while(queue, timeout, waiting).unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.filled.wait_while(queue, waiting).unwrap_or_else(PoisonError::into_inner),
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
