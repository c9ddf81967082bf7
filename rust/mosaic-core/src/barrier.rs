//! Barriers: a program learns when every task submitted before has ended.
//!
//! A barrier records the tasks of its runtime that have not ended when it starts, and asks every other member for a
//! barrier of its own. It passes when its tasks have ended and every member has answered or died (`BARRIER-1`).
//!
//! The head also knows which runtimes have registered functions for its next barrier. A runtime sends that registration
//! before the end of the call that made it, so the head knows of it when the barrier passes, and asks no other runtime
//! (`BARRIER-2`).

use std::collections::BTreeSet;

use rustc_hash::FxHashSet;

use crate::id::{RuntimeId, TaskId};

/// Who is told when a barrier passes.
#[derive(Debug)]
pub(crate) enum Requester<H> {
    /// A program of this runtime.
    Program {
        /// Its handle.
        handle: H,
        /// The members that have not answered.
        unanswered: FxHashSet<RuntimeId>,
    },
    /// A peer, who gave it this number.
    Peer(RuntimeId, u64),
}

#[derive(Debug)]
pub(crate) struct Fence<H> {
    pub(crate) number: u64,
    pub(crate) unended: FxHashSet<TaskId>,
    pub(crate) asker: Requester<H>,
}

impl<H> Fence<H> {
    pub(crate) fn has_passed(&self) -> bool {
        let answered = match &self.asker {
            Requester::Program { unanswered, .. } => unanswered.is_empty(),
            Requester::Peer(..) => true,
        };
        self.unended.is_empty() && answered
    }
}

/// The barriers of this runtime.
#[derive(Debug)]
pub(crate) struct Barriers<H> {
    pub(crate) raised: Vec<Fence<H>>,
    /// On the head: who has something to do at its next barrier.
    pub(crate) barrier_tasks: BTreeSet<RuntimeId>,
    next: u64,
}

impl<H> Default for Barriers<H> {
    fn default() -> Self {
        Self {
            raised: Vec::new(),
            barrier_tasks: BTreeSet::new(),
            next: 0,
        }
    }
}

impl<H> Barriers<H> {
    pub(crate) fn raise(&mut self, unended: FxHashSet<TaskId>, asker: Requester<H>) -> u64 {
        self.next += 1;
        self.raised.push(Fence {
            number: self.next,
            unended,
            asker,
        });
        self.next
    }

    /// A task of this runtime has ended.
    pub(crate) fn ended(&mut self, task: TaskId) {
        for barrier in &mut self.raised {
            barrier.unended.remove(&task);
        }
    }

    /// A member has answered the barrier of that number, or, without a number, died.
    pub(crate) fn answered(&mut self, by: RuntimeId, number: Option<u64>) {
        for barrier in &mut self.raised {
            if let Requester::Program { unanswered, .. } = &mut barrier.asker
                && number.is_none_or(|number| number == barrier.number)
            {
                unanswered.remove(&by);
            }
        }
        if number.is_none() {
            self.barrier_tasks.remove(&by);
            self.raised
                .retain(|barrier| !matches!(barrier.asker, Requester::Peer(peer, _) if peer == by));
        }
    }

    /// Take out those that have passed.
    pub(crate) fn take_passed(&mut self) -> Vec<Fence<H>> {
        self.raised
            .extract_if(.., |barrier| barrier.has_passed())
            .collect()
    }
}
