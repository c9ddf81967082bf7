//! Records of the tesserae that live in this runtime: their states, and the queues of their calls.
//!
//! - `TESS-1`: calls of one caller start in the order in which they were sent, each at most once.
//! - `TESS-2`: a coroutine call of a tessera that is not concurrent runs alone. Plain calls are dispatched many at a time,
//!   because the executor runs them one after another. A call that may be retried runs alone, so that its retry precedes
//!   later calls.
//! - `TESS-3`: each caller has its own queue, and a call that waits for arguments blocks only the queue of its caller.
//!   Otherwise two callers could deadlock: the awaited argument may be the result of a call on the same tessera that
//!   another caller sent later.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::call::{Call, CallKind, Failure};
use crate::id::{RuntimeId, TaskId};

/// Plain calls of one tessera that may be dispatched and not ended at a time.
const MAX_DISPATCHED: usize = 4096;

#[derive(Debug)]
pub(super) enum State {
    Building,
    Listening,
    Failed(Box<Failure>),
    Stopped,
}

/// The calls of one caller that have not started.
#[derive(Debug, Default)]
pub(super) struct CallerQueue {
    pub(super) calls: VecDeque<TaskId>,
    /// Whether it is among the runnable.
    pub(super) listed: bool,
}

/// A tessera that lives here.
#[derive(Debug)]
pub(super) struct HostedTessera {
    pub(super) state: State,
    pub(super) class: Arc<str>,
    pub(super) concurrent: bool,
    pub(super) restartable: bool,
    /// The call that builds it.
    pub(super) construction: TaskId,
    pub(super) queues: BTreeMap<RuntimeId, CallerQueue>,
    /// The callers whose first call may have all its arguments.
    pub(super) runnable: VecDeque<RuntimeId>,
    /// Calls that bypass the queues and cannot start yet.
    pub(super) skipping: Vec<TaskId>,
    /// Calls from the queues that were dispatched and have not ended.
    pub(super) running: usize,
    /// Calls that bypassed the queues and run.
    pub(super) skipped: usize,
    /// Whether the call that runs excludes all others.
    pub(super) alone: bool,
}

impl HostedTessera {
    pub(super) fn new(construction: &Call) -> Self {
        Self {
            state: State::Building,
            class: Arc::clone(&construction.method),
            concurrent: construction.construction.concurrent,
            restartable: construction.construction.restartable,
            construction: construction.task,
            queues: BTreeMap::new(),
            runnable: VecDeque::new(),
            skipping: Vec::new(),
            running: 0,
            skipped: 0,
            alone: false,
        }
    }

    /// Whether a call that has all its arguments starts here and now, nobody being before it; then it has.
    pub(super) fn starts_at_once(&mut self, call: &Call) -> bool {
        let alone = call.coroutine || call.retries > 0;
        if !matches!(self.state, State::Listening)
            || !self.queues.is_empty()
            || call.kind == CallKind::Stop
            || call.kind.skips_queue()
            || (!self.concurrent && self.is_full(alone))
        {
            return false;
        }
        self.alone = alone && !self.concurrent;
        self.started(call);
        true
    }

    /// Whether a call of a tessera that is not concurrent has to wait; one that has to be alone for all others.
    pub(super) fn is_full(&self, alone: bool) -> bool {
        self.running >= MAX_DISPATCHED || self.running > 0 && (self.alone || alone)
    }

    /// The one for the functions of a key, which nobody builds: it is here with its first call and goes with the last.
    pub(super) fn keyed(first: TaskId) -> Self {
        Self {
            state: State::Listening,
            class: Arc::from(""),
            concurrent: false,
            restartable: false,
            construction: first,
            queues: BTreeMap::new(),
            runnable: VecDeque::new(),
            skipping: Vec::new(),
            running: 0,
            skipped: 0,
            alone: false,
        }
    }

    /// A call was dispatched.
    pub(super) fn started(&mut self, call: &Call) {
        if call.kind.skips_queue() {
            self.skipped += 1;
        } else {
            self.running += 1;
        }
    }

    /// A call that was dispatched has ended.
    pub(super) fn ended(&mut self, skipped: bool) {
        if skipped {
            self.skipped -= 1;
        } else {
            self.running -= 1;
            self.alone &= self.running > 0;
        }
    }

    /// Calls that have not started.
    pub(super) fn queued(&self) -> usize {
        let queued = self.queues.values().map(|queue| queue.calls.len());
        queued.sum::<usize>() + self.skipping.len()
    }

    /// Whether it is built, or never will be, and has no call.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_busy()
            && self.queues.is_empty()
            && self.skipping.is_empty()
            && !matches!(self.state, State::Building)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.running + self.skipped > 0
    }
}
