//! Values that programs put: each is the result of a task that has ended.
//!
//! A value that a worker puts outlives the worker, because the head owns it. The worker chooses the value's id among
//! those of the head and sends the value there; the head owns it from then on, and the worker is one holder among others
//! (`PUT-1`). A reference may reach a third runtime, and a fetch from that one the head, before the value does. The head
//! answers such a fetch when the value arrives, or when the worker reports that there is none, or dies (`PUT-2`).

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::call::{Failure, FailureKind, Outcome};
use crate::caller::task::OwnedTask;
use crate::event::Action;
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::machine::Machine;
use crate::payload::{Loss, Payload};
use crate::references::table::Registration;
use crate::wire::RulesMessage;

/// Values on their way to the head.
#[derive(Debug)]
pub(crate) struct RemotePuts<H> {
    /// Here: who waits to hear that the head has them, by value.
    sent: FxHashMap<TaskId, H>,
    /// On the head: those that somebody dropped before they came.
    dropped: FxHashSet<TaskId>,
}

impl<H> Default for RemotePuts<H> {
    fn default() -> Self {
        Self {
            sent: FxHashMap::default(),
            dropped: FxHashSet::default(),
        }
    }
}

impl<H> RemotePuts<H> {
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
    pub(crate) fn remote_put_requested(
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
        self.remote_puts.sent.insert(task, handle);
        self.send(keeper, RulesMessage::RemotePut { task, value }, actions);
        self.drop_references(references);
    }

    /// The head has a value that was sent there, or it cannot be sent.
    pub(crate) fn kept(
        &mut self,
        task: TaskId,
        outcome: Arc<Outcome>,
        actions: &mut Vec<Action<H>>,
    ) {
        if let Some(handle) = self.remote_puts.sent.remove(&task) {
            actions.push(Action::Complete { handle, outcome });
        }
    }

    /// Head: a value to keep has come.
    pub(crate) fn put_received(
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
        self.send(from, RulesMessage::Completed { task, outcome }, actions);
        if self.remote_puts.dropped.remove(&task) {
            self.value_dropped(task, actions);
        }
        let Some(outcome) = self
            .tasks
            .get(&task)
            .and_then(|owned| owned.outcome.clone())
        else {
            return;
        };
        for (value, subscriber) in self.expected.remove(&task).unwrap_or_default() {
            self.deliver_own(task, value, subscriber, &outcome, actions);
        }
    }

    /// Somebody drops a value of this runtime's that is not here: it may still come.
    pub(crate) fn drop_before_put(&mut self, task: TaskId) {
        if self.maker_if_alive(task).is_some() {
            self.remote_puts.dropped.insert(task);
        }
    }

    /// The runtime from which a value that this one is to keep may still come.
    pub(crate) fn maker_if_alive(&self, task: TaskId) -> Option<RuntimeId> {
        task.maker()
            .filter(|maker| task.owner == self.config.me && self.members.living.contains_key(maker))
    }

    /// This runtime ends: whoever waits to hear that a value is kept is told.
    pub(crate) fn remote_puts_end(&mut self, outcome: &Arc<Outcome>, actions: &mut Vec<Action<H>>) {
        for (_, handle) in self.remote_puts.sent.drain() {
            let outcome = Arc::clone(outcome);
            actions.push(Action::Complete { handle, outcome });
        }
    }
}

impl<H: Clone> Machine<H> {
    /// A value is kept here from now on.
    pub(crate) fn value_put(&mut self, task: TaskId, value: Payload, actions: &mut Vec<Action<H>>) {
        for reference in &value.references {
            self.hold(*reference, actions);
        }
        self.insert_value(task, value, 1);
    }

    /// Remember a value, what it refers to being held already.
    pub(crate) fn insert_value(&mut self, task: TaskId, value: Payload, handles: u32) {
        let references = value.references.clone();
        let mut owned = OwnedTask::new(None, TesseraId::functions(self.config.me));
        owned.outcome = Some(Outcome::Value(value).into());
        owned.keep(references);
        owned.handles = handles;
        self.tasks.insert(task, Box::new(owned));
    }

    /// A value, or the result of a task, is not wanted any more, whoever still refers to it.
    pub(crate) fn value_dropped(&mut self, task: TaskId, actions: &mut Vec<Action<H>>) {
        if task.owner != self.config.me {
            return self.send(task.owner, RulesMessage::Discard(task), actions);
        }
        let Some(owned) = self.tasks.get_mut(&task) else {
            return self.drop_before_put(task);
        };
        if owned.outcome.is_none() {
            return;
        }
        let failure = Failure::new(
            FailureKind::ObjectLost,
            format!("the value of {task:?} was dropped"),
        );
        owned.outcome = Some(Outcome::Failed(failure).into());
        let references = owned.take_references();
        let host = owned.host.take();
        self.drop_references(references);
        if let Some(host) = host {
            self.release(host, ObjectId::Task(task));
        }
    }
}
