//! Outcomes of tasks: who is notified of them, and how they are fetched from other runtimes.
//!
//! A subscriber to an outcome is a handle of a program, an argument of a call that waits here, or a peer. Each is
//! notified exactly once (`OUT-1`). Any number of subscribers to one outcome cause one fetch. The references inside a
//! fetched value of another runtime's task are held as long as the task is held here (`BORROW-1`).

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::call::{Failure, FailureKind, Outcome};
use crate::context::{Context, Internal, below};
use crate::id::{ObjectId, RuntimeId, TaskId};
use crate::payload::{Loss, Payload, Reference, ThinVec};
use crate::references::References;
use crate::snapshot::{FetchRow, ResultsSnapshot};
use crate::subscriber::{Subscriber, Subscription};
use crate::values::Values;
use crate::wire::RulesMessage;

/// A fetch that is not answered.
#[derive(Debug)]
struct Fetch<H> {
    from: RuntimeId,
    subscribers: Vec<Subscriber<H>>,
}

/// The fetches of this runtime, above the values.
#[derive(Debug)]
pub(crate) struct Results<H> {
    fetches: FxHashMap<(TaskId, bool), Fetch<H>>,
    /// Subscribers to calls that have not come: they came by another way than the subscriptions.
    expected: FxHashMap<TaskId, Vec<Subscription<H>>>,
    /// References inside fetched values of other runtimes' tasks, held as long as the program holds the task.
    borrowed: FxHashMap<TaskId, ThinVec<Reference>>,
    values: Values<H>,
}

below! { Results through values:
    references, references_mut: References<H>;
    context, context_mut: Context<H>;
}

impl<H> Results<H> {
    pub(crate) fn new(values: Values<H>) -> Self {
        Self {
            fetches: FxHashMap::default(),
            expected: FxHashMap::default(),
            borrowed: FxHashMap::default(),
            values,
        }
    }

    #[inline]
    pub(crate) fn values(&self) -> &Values<H> {
        &self.values
    }

    #[inline]
    pub(crate) fn values_mut(&mut self) -> &mut Values<H> {
        &mut self.values
    }

    /// Have the outcome of a task brought from a runtime that knows it. If that is this one, the caller is asked.
    pub(crate) fn want(
        &mut self,
        task: TaskId,
        from: RuntimeId,
        value: bool,
        subscriber: Subscriber<H>,
    ) {
        if from == self.context().me() {
            return self.context_mut().later(Internal::OutcomeWanted {
                task,
                value,
                subscriber,
            });
        }
        if let Some(cause) = self.context().cause(from) {
            let lost = subscriber.loss(task, FailureKind::Disconnected, cause);
            return self.deliver(task, value, subscriber, &lost);
        }
        if let Some(fetch) = self.fetches.get_mut(&(task, value)) {
            fetch.subscribers.push(subscriber);
            return;
        }
        let subscribers = vec![subscriber];
        self.fetches
            .insert((task, value), Fetch { from, subscribers });
        self.context_mut()
            .send(from, RulesMessage::Fetch { task, value });
    }

    /// An outcome is wanted of a task whose record neither the callee nor the caller has: it is a value, or the call is
    /// on its way here, or the task is forgotten.
    pub(crate) fn want_unknown(&mut self, task: TaskId, value: bool, subscriber: Subscriber<H>) {
        let me = self.context().me();
        if task.owner == me {
            if let Some(outcome) = self.values.outcome(task).cloned() {
                return self.deliver(task, value, subscriber, &outcome);
            }
            if let Some(maker) = self.values.maker_if_alive(task) {
                return self.expect(task, maker, value, subscriber);
            }
            let failure = Failure::new(
                FailureKind::ObjectLost,
                format!("{task:?} is not known any more"),
            );
            let lost = Outcome::Failed(failure).into();
            return self.deliver(task, value, subscriber, &lost);
        }
        if task.maker() == Some(me) {
            // The head asks whether a value that it is to own is still on its way: it came before this.
            return self.deliver(task, value, subscriber, &released(task));
        }
        if let Some(cause) = self.context().cause(task.owner) {
            let lost = subscriber.loss(task, FailureKind::Disconnected, cause);
            return self.deliver(task, value, subscriber, &lost);
        }
        // The call is still on its way here, or its result was released before. The owner's answer comes behind the call.
        self.expect(task, task.owner, value, subscriber);
    }

    /// The wanted outcome is on its way here, or gone: the runtime that it comes from answers behind it.
    fn expect(&mut self, task: TaskId, from: RuntimeId, value: bool, subscriber: Subscriber<H>) {
        let expected = self.expected.entry(task).or_default();
        expected.push((value, subscriber));
        if expected.len() == 1 {
            self.want(task, from, false, Subscriber::Expectation);
        }
    }

    /// The call of a task has come: the subscribers that expected it.
    #[inline]
    pub(crate) fn take_expected(&mut self, task: TaskId) -> Vec<Subscription<H>> {
        if self.expected.is_empty() {
            return Vec::new();
        }
        self.expected.remove(&task).unwrap_or_default()
    }

    /// Notify a subscriber of the outcome of a task.
    pub(crate) fn deliver(
        &mut self,
        task: TaskId,
        value: bool,
        subscriber: Subscriber<H>,
        outcome: &Arc<Outcome>,
    ) {
        match subscriber {
            Subscriber::Handle(handle) => {
                self.context_mut().complete(handle, Arc::clone(outcome));
            }
            Subscriber::Argument(argument) => {
                for reference in outcome.references() {
                    self.references_mut().hold(*reference);
                }
                let outcome = Arc::clone(outcome);
                self.context_mut()
                    .later(Internal::ArgumentArrived(argument, outcome));
            }
            Subscriber::Expectation => {
                let lost = if matches!(**outcome, Outcome::Failed(_)) {
                    Arc::clone(outcome)
                } else {
                    released(task)
                };
                for (value, subscriber) in self.take_expected(task) {
                    self.deliver(task, value, subscriber, &lost);
                }
            }
            Subscriber::Peer {
                to,
                value: asked_for,
            } => {
                let outcome = self.outcome_to_send(outcome, to, asked_for || value);
                let fetched = RulesMessage::Fetched {
                    task,
                    value: asked_for,
                    outcome,
                };
                self.context_mut().send(to, fetched);
            }
        }
    }

    /// An outcome as a message to `to` carries it: large values stay here unless they were asked for. The
    /// references in it are pinned until the receiver is counted.
    pub(crate) fn outcome_to_send(
        &mut self,
        outcome: &Arc<Outcome>,
        to: RuntimeId,
        asked_for: bool,
    ) -> Arc<Outcome> {
        let config = self.context().config();
        match &**outcome {
            Outcome::Value(value)
                if !asked_for
                    && (value.moving() > config.inline_limit
                        || value.size() as u64 > config.lend_limit) =>
            {
                let size = value.size() as u64;
                let host = config.me;
                Outcome::Stored { host, size }.into()
            }
            _ => {
                for reference in outcome.references() {
                    self.references_mut().pin(reference.object, to);
                }
                Arc::clone(outcome)
            }
        }
    }

    /// The outcome of a task as its owner takes it where part of the value was lost on its way: for want of a descriptor
    /// the value is left where it is, until it is asked for.
    pub(crate) fn refuse_lost_parts(
        &mut self,
        from: RuntimeId,
        outcome: Arc<Outcome>,
        references: ThinVec<Reference>,
    ) -> (Arc<Outcome>, ThinVec<Reference>) {
        let end = match &*outcome {
            Outcome::Value(value) => match value.loss() {
                None => None,
                Some(Loss::Descriptors { .. }) => Some(Outcome::Stored {
                    host: from,
                    size: value.size() as u64,
                }),
                Some(loss) => Some(Outcome::Failed(loss.failure())),
            },
            _ => None,
        };
        let Some(end) = end else {
            return (outcome, references);
        };
        self.references_mut().drop_references(references);
        (end.into(), ThinVec::new())
    }

    /// A fetch is answered. Returns the references that the record of a task of this runtime's own is to hold from now on.
    pub(crate) fn outcome_fetched(
        &mut self,
        from: RuntimeId,
        task: TaskId,
        value: bool,
        outcome: &Arc<Outcome>,
    ) -> ThinVec<Reference> {
        let references = ThinVec::from(outcome.references());
        self.references_mut().receive_references(from, &references);
        let failed = match &**outcome {
            Outcome::Value(value) => value.loss(),
            _ => None,
        };
        let failed = failed.map(|loss| Arc::new(Outcome::Failed(loss.failure())));
        let outcome = failed.as_ref().unwrap_or(outcome);
        let Some(fetch) = self.fetches.remove(&(task, value)) else {
            self.references_mut().drop_references(references);
            return ThinVec::new();
        };
        let elsewhere = match &**outcome {
            Outcome::Stored { host, .. } if value && *host != from => Some(*host),
            _ => None,
        };
        let mut for_program = false;
        for subscriber in fetch.subscribers {
            // Among the subscribers that expect the call may be handles too.
            for_program |= matches!(subscriber, Subscriber::Handle(_) | Subscriber::Expectation);
            match elsewhere {
                Some(host) => self.want(task, host, value, subscriber),
                None => self.deliver(task, value, subscriber, outcome),
            }
        }
        // As long as the program has a handle on the task, the references inside its value are held.
        if for_program && elsewhere.is_none() {
            if task.owner == self.context().me() {
                return references;
            }
            if self.references().holds(ObjectId::Task(task)) {
                self.borrowed.entry(task).or_default().extend(references);
                return ThinVec::new();
            }
        }
        self.references_mut().drop_references(references);
        ThinVec::new()
    }

    /// Head: a value has come that this runtime is to own, and perhaps fetches of it before.
    pub(crate) fn put_received(&mut self, from: RuntimeId, task: TaskId, value: Payload) {
        let Some(outcome) = self.values.put_received(from, task, value) else {
            return;
        };
        for (value, subscriber) in self.take_expected(task) {
            self.deliver(task, value, subscriber, &outcome);
        }
    }

    /// The program holds a task of another runtime no longer.
    pub(crate) fn forget_borrowed(&mut self, task: TaskId) {
        if !self.borrowed.is_empty()
            && !self.references().holds(ObjectId::Task(task))
            && let Some(references) = self.borrowed.remove(&task)
        {
            self.references_mut().drop_references(references);
        }
    }

    /// A runtime died: what was to be fetched from it, or expected from it, will not come.
    pub(crate) fn host_died(&mut self, dead: RuntimeId, cause: &str) {
        let me = self.context().me();
        for (task, value) in self.fetches_from(dead) {
            let Some(fetch) = self.fetches.remove(&(task, value)) else {
                continue;
            };
            // A value that a worker put has no record here before it comes.
            let kind = if task.owner == me && task.maker().is_none() {
                FailureKind::ObjectLost
            } else {
                FailureKind::Disconnected
            };
            for subscriber in fetch.subscribers {
                let lost = subscriber.loss(task, kind, cause);
                self.deliver(task, value, subscriber, &lost);
            }
        }
        let orphans = self.expected.keys().filter(|task| task.owner == dead);
        let mut orphans: Vec<_> = orphans.copied().collect();
        orphans.sort_unstable();
        for task in orphans {
            for (value, subscriber) in self.take_expected(task) {
                let lost = subscriber.loss(task, FailureKind::Disconnected, cause);
                self.deliver(task, value, subscriber, &lost);
            }
        }
    }

    /// The fetches that a runtime has not answered, in the order of their tasks.
    fn fetches_from(&self, runtime: RuntimeId) -> Vec<(TaskId, bool)> {
        let fetches = self.fetches.iter();
        let fetches = fetches.filter(|(_, fetch)| fetch.from == runtime);
        let mut fetches: Vec<_> = fetches.map(|(key, _)| *key).collect();
        fetches.sort_unstable();
        fetches
    }

    /// `LINK-2`: ask a peer again for the outcomes that it has not sent.
    pub(crate) fn fetch_again(&mut self, peer: RuntimeId) {
        for (task, value) in self.fetches_from(peer) {
            self.context_mut()
                .send(peer, RulesMessage::Fetch { task, value });
        }
    }

    /// The subscriptions of a peer end: it died, or will ask again.
    pub(crate) fn forget_subscriber(&mut self, peer: RuntimeId) {
        for subscribers in self.expected.values_mut() {
            subscribers.retain(|(_, subscriber)| !subscriber.is_of(peer));
        }
        self.expected
            .retain(|_, subscribers| !subscribers.is_empty());
    }

    /// This runtime stops: every handle that waits for an outcome completes with this one.
    pub(crate) fn stop(&mut self, outcome: &Arc<Outcome>) {
        let fetched = std::mem::take(&mut self.fetches);
        let fetched = fetched.into_values().flat_map(|fetch| fetch.subscribers);
        let expected = std::mem::take(&mut self.expected).into_values().flatten();
        let expected = expected.map(|(_, subscriber)| subscriber);
        for subscriber in fetched.chain(expected) {
            if let Subscriber::Handle(handle) = subscriber {
                self.context_mut().complete(handle, Arc::clone(outcome));
            }
        }
    }

    pub(crate) fn snapshot(&self) -> ResultsSnapshot {
        let fetches = self.fetches.iter().map(|((task, value), fetch)| FetchRow {
            task: *task,
            value: *value,
            from: fetch.from,
            subscribers: fetch.subscribers.len(),
        });
        let mut snapshot = ResultsSnapshot {
            fetches: fetches.collect(),
            expected: self.expected.keys().copied().collect(),
            borrowed: self.borrowed.keys().copied().collect(),
        };
        snapshot
            .fetches
            .sort_unstable_by_key(|row| (row.task, row.value));
        snapshot.expected.sort_unstable();
        snapshot.borrowed.sort_unstable();
        snapshot
    }

    pub(crate) fn validate(&self, is_busy: impl Fn(ObjectId) -> bool) {
        self.values.validate(is_busy);
        for task in self.borrowed.keys() {
            assert!(
                self.references().holds(ObjectId::Task(*task)),
                "BORROW-1: references of {task:?} are held, and the task is not"
            );
        }
    }
}

/// The outcome of a task whose result was released.
fn released(task: TaskId) -> Arc<Outcome> {
    let message = format!("the result of {task:?} was let go of");
    Outcome::Failed(Failure::new(FailureKind::ObjectLost, message)).into()
}
