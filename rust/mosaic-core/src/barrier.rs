//! Barriers: a program learns when every task submitted before has ended.
//!
//! A barrier records the tasks of its runtime that have not ended when it starts, and asks every other member for a
//! barrier of its own. It passes when its tasks have ended and every member has answered or died (`BARRIER-1`). A member
//! that cannot be reached has neither answered nor died: the barrier waits.
//!
//! The head also knows which runtimes have registered functions for its next barrier. A runtime sends that registration
//! before the end of the call that made it, so the head knows of it when the barrier passes, and asks no other runtime
//! (`BARRIER-2`).

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::call::Outcome;
use crate::caller::Caller;
use crate::id::{RuntimeId, TaskId};
use crate::payload::Payload;
use crate::snapshot::BarrierRow;
use crate::wire::RulesMessage;

/// Who is notified when a barrier passes.
#[derive(Debug)]
enum Requester<H> {
    /// A program of this runtime.
    Program {
        /// Its handle.
        handle: H,
        /// The members that have not answered.
        unanswered: FxHashSet<RuntimeId>,
    },
    /// A peer, whose barrier has this number.
    Peer(RuntimeId, u64),
}

/// A barrier that has not passed.
#[derive(Debug)]
struct Barrier<H> {
    number: u64,
    /// Tasks of this runtime that had not ended when it started, and have not.
    unended: FxHashSet<TaskId>,
    requester: Requester<H>,
}

impl<H> Barrier<H> {
    fn has_passed(&self) -> bool {
        self.unended.is_empty() && self.unanswered() == 0
    }

    fn unanswered(&self) -> usize {
        match &self.requester {
            Requester::Program { unanswered, .. } => unanswered.len(),
            Requester::Peer(..) => 0,
        }
    }

    fn is_of(&self, runtime: RuntimeId) -> bool {
        matches!(self.requester, Requester::Peer(peer, _) if peer == runtime)
    }
}

/// The barriers of this runtime.
#[derive(Debug)]
pub(crate) struct Barriers<H> {
    open: Vec<Barrier<H>>,
    /// On the head: the runtimes that have registered functions for its next barrier.
    registered: BTreeSet<RuntimeId>,
    last: u64,
}

impl<H> Default for Barriers<H> {
    fn default() -> Self {
        Self {
            open: Vec::new(),
            registered: BTreeSet::new(),
            last: 0,
        }
    }
}

impl<H> Barriers<H> {
    fn begin(&mut self, requester: Requester<H>, caller: &Caller<H>) -> u64 {
        self.last += 1;
        self.open.push(Barrier {
            number: self.last,
            unended: caller.unended(),
            requester,
        });
        self.last
    }

    /// A program asks for a barrier.
    pub(crate) fn requested(&mut self, handle: H, caller: &mut Caller<H>) {
        let me = caller.context().me();
        let mut members = caller.context().membership().numbers();
        members.retain(|member| *member != me);
        let requester = Requester::Program {
            handle,
            unanswered: members.iter().copied().collect(),
        };
        let number = self.begin(requester, caller);
        for member in members {
            let message = RulesMessage::Barrier(number);
            caller.context_mut().send(member, message);
        }
        self.check(caller);
    }

    /// A peer asks when the tasks of this runtime have ended.
    pub(crate) fn requested_by(&mut self, peer: RuntimeId, number: u64, caller: &mut Caller<H>) {
        self.begin(Requester::Peer(peer, number), caller);
        self.check(caller);
    }

    /// A member answers.
    pub(crate) fn answered(&mut self, by: RuntimeId, number: u64, caller: &mut Caller<H>) {
        for barrier in self.open.iter_mut().filter(|own| own.number == number) {
            if let Requester::Program { unanswered, .. } = &mut barrier.requester {
                unanswered.remove(&by);
            }
        }
        self.check(caller);
    }

    /// A task of this runtime has ended.
    pub(crate) fn task_ended(&mut self, task: TaskId, caller: &mut Caller<H>) {
        for barrier in &mut self.open {
            barrier.unended.remove(&task);
        }
        self.check(caller);
    }

    /// A member died: it answers no more, and asks for nothing.
    pub(crate) fn member_died(&mut self, dead: RuntimeId, caller: &mut Caller<H>) {
        for barrier in &mut self.open {
            if let Requester::Program { unanswered, .. } = &mut barrier.requester {
                unanswered.remove(&dead);
            }
        }
        self.registered.remove(&dead);
        self.forget_requester(dead);
        self.check(caller);
    }

    /// A peer waits for no barrier of this runtime: it died, or will ask again.
    pub(crate) fn forget_requester(&mut self, peer: RuntimeId) {
        self.open.retain(|barrier| !barrier.is_of(peer));
    }

    /// `LINK-2`: ask a peer again for the barriers that it has not answered.
    pub(crate) fn ask_again(&self, peer: RuntimeId, caller: &mut Caller<H>) {
        for barrier in &self.open {
            if let Requester::Program { unanswered, .. } = &barrier.requester
                && unanswered.contains(&peer)
            {
                let message = RulesMessage::Barrier(barrier.number);
                caller.context_mut().send(peer, message);
            }
        }
    }

    /// Notify the requesters of the barriers that have passed.
    fn check(&mut self, caller: &mut Caller<H>) {
        let passed: Vec<_> = self
            .open
            .extract_if(.., |barrier| barrier.has_passed())
            .collect();
        for barrier in passed {
            match barrier.requester {
                Requester::Program { handle, .. } => {
                    let outcome = Outcome::Value(Payload::default()).into();
                    caller.context_mut().complete(handle, outcome);
                }
                Requester::Peer(peer, number) => {
                    let message = RulesMessage::BarrierPassed(number);
                    caller.context_mut().send(peer, message);
                }
            }
        }
        caller.announce_ends(!self.open.is_empty());
    }

    /// Head: a runtime has registered a function for the next barrier.
    pub(crate) fn register(&mut self, runtime: RuntimeId) {
        self.registered.insert(runtime);
    }

    /// Head: the runtimes that have registered functions for this barrier; each is named once.
    pub(crate) fn take_registered(&mut self) -> BTreeSet<RuntimeId> {
        std::mem::take(&mut self.registered)
    }

    /// This runtime stops: the handles of its programs complete with this outcome.
    pub(crate) fn stop(&mut self, outcome: &Arc<Outcome>, caller: &mut Caller<H>) {
        for barrier in std::mem::take(&mut self.open) {
            if let Requester::Program { handle, .. } = barrier.requester {
                caller.context_mut().complete(handle, Arc::clone(outcome));
            }
        }
        caller.announce_ends(false);
    }

    pub(crate) fn snapshot(&self) -> Vec<BarrierRow> {
        let rows = self.open.iter().map(|barrier| BarrierRow {
            number: barrier.number,
            unended: barrier.unended.len(),
            unanswered: barrier.unanswered(),
        });
        rows.collect()
    }

    pub(crate) fn validate(&self) {
        for barrier in &self.open {
            assert!(
                !barrier.has_passed(),
                "BARRIER-1: barrier {} has passed, and its requester does not know",
                barrier.number
            );
        }
    }
}
