//! The job queue of one thread: the main lane of an executor.
//!
//! The engine pushes batches; one thread takes everything that is queued. A call that was revoked meanwhile is taken
//! too, and its state does not let it begin ([`crate::executor::call_states`]).

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use mosaic_core::id::{TaskId, TesseraId};

use crate::executor::AcceptedCall;
use crate::sync::signal::Signal;
use crate::sync::{Mutex, Rank};

/// Something for the lane to do.
#[derive(Debug)]
pub enum Job {
    /// Run a call, if it may begin.
    Run(AcceptedCall),
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
#[derive(Debug)]
pub struct Lane {
    queue: Mutex<Queue>,
    /// The thread has nothing to do and waits for the signal.
    sleeping: AtomicBool,
    signal: Signal,
}

impl Lane {
    /// An empty lane.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            queue: Mutex::with_default(Rank::Lane),
            sleeping: AtomicBool::new(false),
            signal: Signal::new()?,
        })
    }

    /// Add jobs; wakes the thread once.
    pub fn push(&self, jobs: impl IntoIterator<Item = Job>) {
        self.queue.lock().jobs.extend(jobs);
        self.rouse();
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.lock().jobs.is_empty()
    }

    /// Take everything that is there. `Some` says whether the lane goes on: at the end, what was not taken is
    /// dropped. `None` if there is nothing: from now on a push raises the signal, until [`Lane::wake`].
    pub fn take_or_sleep(&self, batch: &mut VecDeque<Job>) -> Option<bool> {
        let mut queue = self.queue.lock();
        if queue.jobs.is_empty() && !queue.stopped {
            self.sleeping.store(true, Ordering::Release);
            return None;
        }
        std::mem::swap(&mut queue.jobs, batch);
        Some(!queue.stopped)
    }

    /// The thread is awake: a push need not wake it.
    pub fn wake(&self) {
        if !self.sleeping.swap(false, Ordering::AcqRel) {
            self.signal.clear();
        }
    }

    /// What wakes the thread.
    pub fn signal(&self) -> &Signal {
        &self.signal
    }

    /// Take what is there without blocking.
    pub fn try_take(&self, batch: &mut VecDeque<Job>) {
        let mut queue = self.queue.lock();
        if batch.is_empty() {
            std::mem::swap(&mut queue.jobs, batch);
        } else {
            batch.append(&mut queue.jobs);
        }
    }

    /// Let the thread run out.
    pub fn stop(&self) {
        let mut queue = self.queue.lock();
        queue.stopped = true;
        let jobs = std::mem::take(&mut queue.jobs);
        drop(queue);
        // With the arguments of calls, which may lie in the store.
        drop(jobs);
        self.rouse();
        // Unless the thread waits for it at this moment: then the thread closes it as it leaves.
        self.signal.close();
    }

    fn rouse(&self) {
        if self.sleeping.swap(false, Ordering::AcqRel) {
            self.signal.raise();
        }
    }
}
