//! Values that the head keeps for other runtimes: what a worker stores outlives the worker.
//!
//! The maker names the value in the head's name and sends it there; from then on the head owns it, and the maker is one
//! holder among others (`KEEP-1`). A reference may reach a third runtime, and that one the head, sooner than the value:
//! what is asked for in between waits for the value, or for the maker's word or death that there is none (`KEEP-2`).

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::call::Outcome;
use crate::event::Action;
use crate::id::{ObjectId, RuntimeId, TaskId};
use crate::machine::Machine;
use crate::payload::{Loss, Payload};
use crate::refs::Registration;
use crate::wire::Message;

/// Values on their way to the head.
#[derive(Debug)]
pub(crate) struct Keeping<H> {
    /// Here: who waits to hear that the head has them, by value.
    sent: FxHashMap<TaskId, H>,
    /// On the head: those that somebody dropped before they came.
    dropped: FxHashSet<TaskId>,
}

impl<H> Default for Keeping<H> {
    fn default() -> Self {
        Self {
            sent: FxHashMap::default(),
            dropped: FxHashSet::default(),
        }
    }
}

impl<H> Keeping<H> {
    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.dropped.is_empty()
    }

    /// What the dead had not sent will not come.
    pub(crate) fn died(&mut self, dead: RuntimeId) {
        self.dropped.retain(|task| task.maker() != Some(dead));
    }
}

impl<H: Clone> Machine<H> {
    /// A program of this runtime has a value to keep.
    pub(crate) fn value_kept(
        &mut self,
        task: TaskId,
        value: Payload,
        handle: H,
        actions: &mut Vec<Action<H>>,
    ) {
        let keeper = task.owner;
        // The value brings the head to count this runtime.
        self.references
            .hold(ObjectId::Task(task), keeper, Registration::Counted);
        let references = value.references.clone();
        for reference in &references {
            self.hold(*reference, actions);
            self.references
                .pin(reference.object, keeper, self.config.me);
        }
        self.keeping.sent.insert(task, handle);
        self.send(keeper, Message::Keep { task, value }, actions);
        self.drop_references(references);
    }

    /// The head has a value that was sent there, or it cannot be sent.
    pub(crate) fn kept(
        &mut self,
        task: TaskId,
        outcome: Arc<Outcome>,
        actions: &mut Vec<Action<H>>,
    ) {
        if let Some(handle) = self.keeping.sent.remove(&task) {
            actions.push(Action::Settle { handle, outcome });
        }
    }

    /// Head: a value to keep has come.
    pub(crate) fn keep_received(
        &mut self,
        from: RuntimeId,
        task: TaskId,
        value: Payload,
        actions: &mut Vec<Action<H>>,
    ) {
        if task.owner != self.config.me || task.maker() != Some(from) {
            return;
        }
        self.receive_references(from, &value.references, actions);
        let (size, lost) = (value.size() as u64, value.loss().map(Loss::failure));
        self.insert_value(task, value, 0);
        self.references.add_holder(ObjectId::Task(task), from);
        let host = self.config.me;
        let outcome = match lost {
            None => Outcome::Stored { host, size }.into(),
            Some(failure) => {
                // Whoever asks for it hears why it is not here; its maker is the first.
                let lost = Arc::new(Outcome::Failed(failure));
                if let Some(owned) = self.tasks.get_mut(&task) {
                    owned.outcome = Some(Arc::clone(&lost));
                    let references = owned.take_references();
                    self.drop_references(references);
                }
                lost
            }
        };
        self.send(from, Message::Settled { task, outcome }, actions);
        if self.keeping.dropped.remove(&task) {
            self.value_dropped(task, actions);
        }
        let Some(outcome) = self
            .tasks
            .get(&task)
            .and_then(|owned| owned.outcome.clone())
        else {
            return;
        };
        for (value, wanter) in self.expected.remove(&task).unwrap_or_default() {
            self.deliver_own(task, value, wanter, &outcome, actions);
        }
    }

    /// Somebody drops a value of this runtime's that is not here: it may still come.
    pub(crate) fn dropped_early(&mut self, task: TaskId) {
        if self.living_maker(task).is_some() {
            self.keeping.dropped.insert(task);
        }
    }

    /// The runtime from which a value that this one is to keep may still come.
    pub(crate) fn living_maker(&self, task: TaskId) -> Option<RuntimeId> {
        task.maker()
            .filter(|maker| task.owner == self.config.me && self.members.living.contains_key(maker))
    }

    /// This runtime ends: whoever waits to hear that a value is kept is told.
    pub(crate) fn keepers_end(&mut self, outcome: &Arc<Outcome>, actions: &mut Vec<Action<H>>) {
        for (_, handle) in self.keeping.sent.drain() {
            let outcome = Arc::clone(outcome);
            actions.push(Action::Settle { handle, outcome });
        }
    }
}
