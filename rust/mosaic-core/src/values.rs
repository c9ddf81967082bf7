//! Values that programs put: each is the outcome of a task that no call has.
//!
//! A value stays as long as this runtime or another one refers to it (`PUT-3`). A program's first handle is counted as any
//! other reference.
//!
//! A value that a worker puts outlives the worker, because the head owns it. The worker chooses the value's id among
//! those of the head and sends the value there; the head owns it from then on, and the worker is one holder among others
//! (`PUT-1`). A reference may reach a third runtime, and a fetch from that one the head, before the value does. The head
//! answers such a fetch when the value arrives, or when the worker reports that there is none, or dies (`PUT-2`).

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::call::{Failure, FailureKind, Outcome, OutcomePart};
use crate::context::{Context, below};
use crate::id::{ObjectId, RuntimeId, TaskId};
use crate::payload::{Loss, Payload, Reference, ThinVec};
use crate::recount::Registration;
use crate::references::References;
use crate::snapshot::ValuesSnapshot;
use crate::wire::RulesMessage;

/// A value that was put.
#[derive(Debug)]
struct StoredValue {
    /// The value; a failure once the program has dropped it, or if it was lost on its way.
    outcome: Arc<Outcome>,
    /// The references inside it, each of which this value holds.
    references: ThinVec<Reference>,
}

/// The values, above the references.
#[derive(Debug)]
pub(crate) struct Values<H> {
    stored: FxHashMap<TaskId, StoredValue>,
    /// Values on their way to the head, with the handles that complete when the head has them.
    sent: FxHashMap<TaskId, H>,
    /// On the head: values that were dropped before they came.
    dropped: FxHashSet<TaskId>,
    references: References<H>,
}

below! { Values through references:
    context, context_mut: Context<H>;
}

impl<H> Values<H> {
    pub(crate) fn new(references: References<H>) -> Self {
        Self {
            stored: FxHashMap::default(),
            sent: FxHashMap::default(),
            dropped: FxHashSet::default(),
            references,
        }
    }

    #[inline]
    pub(crate) fn references(&self) -> &References<H> {
        &self.references
    }

    #[inline]
    pub(crate) fn references_mut(&mut self) -> &mut References<H> {
        &mut self.references
    }

    /// The value of that id, or the failure of one that was dropped.
    #[inline]
    pub(crate) fn outcome(&self, task: TaskId) -> Option<&Arc<Outcome>> {
        self.stored.get(&task).map(|stored| &stored.outcome)
    }

    /// The values that are here.
    pub(crate) fn payloads(&self) -> impl Iterator<Item = &Payload> {
        self.stored
            .values()
            .filter_map(|stored| match &*stored.outcome {
                Outcome::Value(value) => Some(value),
                _ => None,
            })
    }

    /// A program of this runtime puts a value, to which it has one handle.
    pub(crate) fn put(&mut self, task: TaskId, value: Payload) {
        for reference in &value.references {
            self.references.hold(*reference);
        }
        self.insert(task, value);
        let me = self.context().me();
        self.references
            .hold_as(ObjectId::Task(task), me, Registration::Counted);
    }

    /// Remember a value whose references are held.
    fn insert(&mut self, task: TaskId, value: Payload) {
        let references = value.references.clone();
        let outcome = Outcome::Value(value).into();
        let stored = StoredValue {
            outcome,
            references,
        };
        self.stored.insert(task, stored);
    }

    /// A program of this runtime puts a value that the head is to own.
    pub(crate) fn put_at_head(&mut self, task: TaskId, value: Payload, handle: H) {
        let owner = task.owner;
        // The value brings the head to count this runtime.
        self.references
            .hold_as(ObjectId::Task(task), owner, Registration::Counted);
        let references = value.references.clone();
        for reference in &references {
            self.references.hold(*reference);
            self.references.pin(reference.object, owner);
        }
        self.sent.insert(task, handle);
        self.context_mut()
            .send(owner, RulesMessage::RemotePut { task, value });
        self.references.drop_references(references);
    }

    /// The head has a value that was sent there, or it cannot be sent.
    pub(crate) fn put_confirmed(&mut self, task: TaskId, outcome: Arc<Outcome>) {
        if let Some(handle) = self.sent.remove(&task) {
            self.context_mut().complete(handle, outcome);
        }
    }

    /// Head: a worker sends a value that this runtime is to own. Returns its outcome for the fetches that came before.
    pub(crate) fn put_received(
        &mut self,
        from: RuntimeId,
        task: TaskId,
        value: Payload,
    ) -> Option<Arc<Outcome>> {
        let me = self.context().me();
        if task.owner != me || task.maker() != Some(from) {
            return None;
        }
        self.references.receive_references(from, &value.references);
        let (size, lost) = (value.size() as u64, value.loss().map(Loss::failure));
        self.insert(task, value);
        self.references.add_holder(ObjectId::Task(task), from);
        let answer = match lost {
            None => Outcome::Stored { host: me, size }.into(),
            Some(failure) => {
                let lost = Arc::new(Outcome::Failed(failure));
                self.replace(task, Arc::clone(&lost));
                lost
            }
        };
        let completed = RulesMessage::Completed {
            task,
            part: OutcomePart::WHOLE,
            outcome: answer,
        };
        self.context_mut().send(from, completed);
        if self.dropped.remove(&task) {
            self.discard(task);
        }
        self.outcome(task).cloned()
    }

    /// A value is not here any more; later fetches get this failure.
    fn replace(&mut self, task: TaskId, failure: Arc<Outcome>) {
        if let Some(stored) = self.stored.get_mut(&task) {
            stored.outcome = failure;
            let references = std::mem::take(&mut stored.references);
            self.references.drop_references(references);
        }
    }

    /// A program drops a value of this runtime's, although there may be references to it. It may still be on its way.
    pub(crate) fn discard(&mut self, task: TaskId) {
        if self.stored.contains_key(&task) {
            self.replace(task, dropped(task));
        } else if self.maker_if_alive(task).is_some() {
            self.dropped.insert(task);
        }
    }

    /// The worker from which a value that this runtime is to own may still come.
    pub(crate) fn maker_if_alive(&self, task: TaskId) -> Option<RuntimeId> {
        let context = self.context();
        let maker = task.maker().filter(|_| task.owner == context.me())?;
        context.membership().is_member(maker).then_some(maker)
    }

    /// `PUT-3`: forget a value to which nothing refers.
    pub(crate) fn forget_if_unused(&mut self, task: TaskId) {
        let object = ObjectId::Task(task);
        if self.references.holds(object) || self.references.has_holders(object) {
            return;
        }
        if let Some(stored) = self.stored.remove(&task) {
            self.references.drop_references(stored.references);
        }
    }

    /// `PUT-2`: the values that a dead worker had not sent will not come.
    pub(crate) fn maker_died(&mut self, dead: RuntimeId) {
        self.dropped.retain(|task| task.maker() != Some(dead));
    }

    /// This runtime stops: the handles that wait for the head complete with this outcome.
    pub(crate) fn stop(&mut self, outcome: &Arc<Outcome>) {
        for (_, handle) in std::mem::take(&mut self.sent) {
            self.context_mut().complete(handle, Arc::clone(outcome));
        }
    }

    pub(crate) fn snapshot(&self) -> ValuesSnapshot {
        let mut snapshot = ValuesSnapshot {
            stored: self.stored.keys().copied().collect(),
            sent: self.sent.keys().copied().collect(),
            dropped: self.dropped.iter().copied().collect(),
        };
        snapshot.stored.sort_unstable();
        snapshot.sent.sort_unstable();
        snapshot.dropped.sort_unstable();
        snapshot
    }

    pub(crate) fn validate(&self, is_busy: impl Fn(ObjectId) -> bool) {
        self.references.validate(is_busy);
        for task in self.stored.keys() {
            let object = ObjectId::Task(*task);
            assert!(
                self.references.holds(object) || self.references.has_holders(object),
                "PUT-3: nothing refers to the value {task:?}"
            );
        }
    }
}

/// The outcome of a value, or of a task, that a program dropped.
pub(crate) fn dropped(task: TaskId) -> Arc<Outcome> {
    let message = format!("the value of {task:?} was dropped");
    Outcome::Failed(Failure::new(FailureKind::ObjectLost, message)).into()
}
