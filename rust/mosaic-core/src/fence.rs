//! Fences: to know when every task submitted before has ended.
//!
//! A fence counts the tasks of its runtime that had not ended when it was raised, and asks every other
//! member to do the same. It passes when all have answered or died (`FENCE-1`).
//!
//! Beside the fences: who has something to do at the head's next barrier. That is said ahead of the end of the call
//! that registered it, so that the head knows when its fence has passed, and asks nobody else (`FENCE-2`).

use std::collections::BTreeSet;

use rustc_hash::FxHashSet;

use crate::id::{RuntimeId, TaskId};

/// Who is told when a fence passes.
#[derive(Debug)]
pub(crate) enum Asker<H> {
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
    pub(crate) asker: Asker<H>,
}

impl<H> Fence<H> {
    pub(crate) fn has_passed(&self) -> bool {
        let answered = match &self.asker {
            Asker::Program { unanswered, .. } => unanswered.is_empty(),
            Asker::Peer(..) => true,
        };
        self.unended.is_empty() && answered
    }
}

/// The fences of this runtime.
#[derive(Debug)]
pub(crate) struct Fences<H> {
    pub(crate) raised: Vec<Fence<H>>,
    /// On the head: who has something to do at its next barrier.
    pub(crate) barrier_tasks: BTreeSet<RuntimeId>,
    next: u64,
}

impl<H> Default for Fences<H> {
    fn default() -> Self {
        Self {
            raised: Vec::new(),
            barrier_tasks: BTreeSet::new(),
            next: 0,
        }
    }
}

impl<H> Fences<H> {
    pub(crate) fn raise(&mut self, unended: FxHashSet<TaskId>, asker: Asker<H>) -> u64 {
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
        for fence in &mut self.raised {
            fence.unended.remove(&task);
        }
    }

    /// A member has answered the fence of that number, or, without a number, died.
    pub(crate) fn answered(&mut self, by: RuntimeId, number: Option<u64>) {
        for fence in &mut self.raised {
            if let Asker::Program { unanswered, .. } = &mut fence.asker
                && number.is_none_or(|number| number == fence.number)
            {
                unanswered.remove(&by);
            }
        }
        if number.is_none() {
            self.barrier_tasks.remove(&by);
            self.raised
                .retain(|fence| !matches!(fence.asker, Asker::Peer(peer, _) if peer == by));
        }
    }

    /// Take out those that have passed.
    pub(crate) fn take_passed(&mut self) -> Vec<Fence<H>> {
        self.raised
            .extract_if(.., |fence| fence.has_passed())
            .collect()
    }
}
