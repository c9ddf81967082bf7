//! Outcomes of tasks: stored where the task ran, subscribed to, fetched once.
//!
//! A subscriber to an outcome is a handle of a program, an argument of a call that waits here, or a peer. Each is
//! notified exactly once (`OUT-1`). Any number of subscribers to one outcome cause one fetch.

use std::sync::Arc;

use bytes::Bytes;

use crate::call::{Failure, FailureKind, Outcome, Slot};
use crate::callee::call::{InboundCall, Progress, cancelled};
use crate::event::{Action, Want};
use crate::id::{ObjectId, RuntimeId, TaskId};
use crate::machine::{Internal, Machine};
use crate::payload::{Loss, Reference, ThinVec};
use crate::wire::RulesMessage;

/// Somebody who wants the end of a task.
#[derive(Debug)]
pub(crate) enum Subscriber<H> {
    Handle(H),
    Argument(Argument),
    Peer {
        to: RuntimeId,
        value: bool,
    },
    /// Those who expect the call of that task: if it has not come when its owner answers, it has come and gone.
    Expectation,
}

impl<H> Subscriber<H> {
    /// What it gets when the runtime that had the task's end has died. Of a value that was put, the object is
    /// what is missed, by the name that programs know it by.
    fn loss(&self, task: TaskId, kind: FailureKind, cause: &str) -> Arc<Outcome> {
        let failure = match self {
            Self::Argument(argument) if argument.kept => Failure::new(
                FailureKind::ObjectLost,
                format!(
                    "the stored value ware-{}-{:x} is lost: {cause}",
                    task.owner.0, task.sequence
                ),
            ),
            _ => Failure::new(kind, format!("the result of {task:?} is lost: {cause}")),
        };
        Outcome::Failed(failure).into()
    }
}

/// An argument of a call that waits here.
#[derive(Debug)]
pub(crate) struct Argument {
    pub(crate) call: TaskId,
    pub(crate) slot: Slot,
    pub(crate) part: Bytes,
    /// It is an object that was put somewhere.
    pub(crate) kept: bool,
}

/// A fetch under way.
#[derive(Debug)]
pub(crate) struct Fetch<H> {
    from: RuntimeId,
    subscribers: Vec<Subscriber<H>>,
}

impl<H: Clone> Machine<H> {
    /// A program asks.
    pub(crate) fn outcome_requested(
        &mut self,
        task: TaskId,
        want: Want,
        handle: H,
        actions: &mut Vec<Action<H>>,
    ) {
        let from = if task.owner == self.config.me {
            self.config.me
        } else {
            task.owner
        };
        self.want(
            task,
            from,
            want == Want::Value,
            Subscriber::Handle(handle),
            actions,
        );
    }

    /// Have the end of a task, with its value or without, brought from a runtime that knows it.
    pub(crate) fn want(
        &mut self,
        task: TaskId,
        from: RuntimeId,
        value: bool,
        subscriber: Subscriber<H>,
        actions: &mut Vec<Action<H>>,
    ) {
        let me = self.config.me;
        if from == me {
            return self.want_here(task, value, subscriber, actions);
        }
        if let Some(cause) = self.members.cause(from) {
            let lost = subscriber.loss(task, FailureKind::Disconnected, cause);
            return self.deliver(task, value, subscriber, &lost, actions);
        }
        if let Some(fetch) = self.fetches.get_mut(&(task, value)) {
            fetch.subscribers.push(subscriber);
            return;
        }
        self.fetches.insert(
            (task, value),
            Fetch {
                from,
                subscribers: vec![subscriber],
            },
        );
        self.send(from, RulesMessage::Fetch { task, value }, actions);
    }

    fn want_here(
        &mut self,
        task: TaskId,
        value: bool,
        subscriber: Subscriber<H>,
        actions: &mut Vec<Action<H>>,
    ) {
        if let Some(inbound) = self.inbound.get_mut(&task) {
            let outcome = match &inbound.progress {
                _ if inbound.cancelled => cancelled(),
                Progress::Ended(outcome) => Arc::clone(outcome),
                _ => return inbound.cold_state().subscribers.push((value, subscriber)),
            };
            return self.deliver(task, value, subscriber, &outcome, actions);
        }
        if task.owner == self.config.me {
            let Some(owned) = self.tasks.get_mut(&task) else {
                if let Some(maker) = self.maker_if_alive(task) {
                    return self.expect(task, maker, value, subscriber, actions);
                }
                let failure = Failure::new(
                    FailureKind::ObjectLost,
                    format!("{task:?} is not known any more"),
                );
                let lost = Outcome::Failed(failure).into();
                return self.deliver(task, value, subscriber, &lost, actions);
            };
            match owned.outcome.clone() {
                Some(outcome) => self.deliver_own(task, value, subscriber, &outcome, actions),
                None => owned.cold_state().subscribers.push((value, subscriber)),
            }
            return;
        }
        if task.maker() == Some(self.config.me) {
            // The head asks whether a value that it was given to keep is still on its way: it came before this.
            return self.deliver(task, value, subscriber, &let_go_of(task), actions);
        }
        if let Some(cause) = self.members.cause(task.owner) {
            let lost = subscriber.loss(task, FailureKind::Disconnected, cause);
            return self.deliver(task, value, subscriber, &lost, actions);
        }
        // The call is still on its way here; or its result was let go of before this was asked. The owner's
        // answer comes behind the call.
        self.expect(task, task.owner, value, subscriber, actions);
    }

    /// What is wanted is on its way here, or gone: the runtime that it comes from answers behind it.
    fn expect(
        &mut self,
        task: TaskId,
        from: RuntimeId,
        value: bool,
        subscriber: Subscriber<H>,
        actions: &mut Vec<Action<H>>,
    ) {
        let expected = self.expected.entry(task).or_default();
        expected.push((value, subscriber));
        if expected.len() == 1 {
            self.want(task, from, false, Subscriber::Expectation, actions);
        }
    }

    /// Hand the end of an own task to somebody who wants it: from where its value lies, if that is wanted.
    pub(crate) fn deliver_own(
        &mut self,
        task: TaskId,
        value: bool,
        subscriber: Subscriber<H>,
        outcome: &Arc<Outcome>,
        actions: &mut Vec<Action<H>>,
    ) {
        match (&**outcome, &subscriber) {
            // A peer fetches from there itself.
            (Outcome::Stored { host, .. }, Subscriber::Handle(_) | Subscriber::Argument(_))
                if value =>
            {
                let host = *host;
                if host == self.config.me && !self.inbound.contains_key(&task) {
                    let failure = Failure::new(
                        FailureKind::ObjectLost,
                        format!("the value of {task:?} is lost"),
                    );
                    let lost = Outcome::Failed(failure).into();
                    return self.deliver(task, value, subscriber, &lost, actions);
                }
                self.want(task, host, true, subscriber, actions);
            }
            _ => self.deliver(task, value, subscriber, outcome, actions),
        }
    }

    /// Hand the end of a task to somebody who wants it.
    pub(crate) fn deliver(
        &mut self,
        task: TaskId,
        value: bool,
        subscriber: Subscriber<H>,
        outcome: &Arc<Outcome>,
        actions: &mut Vec<Action<H>>,
    ) {
        match subscriber {
            Subscriber::Handle(handle) => {
                let outcome = Arc::clone(outcome);
                actions.push(Action::Complete { handle, outcome });
            }
            Subscriber::Argument(argument) => {
                for reference in outcome.references() {
                    self.hold(*reference, actions);
                }
                let outcome = Arc::clone(outcome);
                self.internal
                    .push_back(Internal::ArgumentArrived(argument, outcome));
            }
            Subscriber::Expectation => {
                let lost = if matches!(**outcome, Outcome::Failed(_)) {
                    Arc::clone(outcome)
                } else {
                    let_go_of(task)
                };
                for (value, subscriber) in self.expected.remove(&task).unwrap_or_default() {
                    self.deliver(task, value, subscriber, &lost, actions);
                }
            }
            Subscriber::Peer {
                to,
                value: asked_for,
            } => {
                let outcome = self.outcome_to_send(outcome, to, asked_for || value);
                self.send(
                    to,
                    RulesMessage::Fetched {
                        task,
                        value: asked_for,
                        outcome,
                    },
                    actions,
                );
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
        let me = self.config.me;
        match &**outcome {
            Outcome::Value(value)
                if !asked_for
                    && (value.moving() > self.config.inline_limit
                        || value.size() as u64 > self.config.lend_limit) =>
            {
                let size = value.size() as u64;
                Outcome::Stored { host: me, size }.into()
            }
            _ => {
                for reference in outcome.references() {
                    self.references.pin(reference.object, to, me);
                }
                Arc::clone(outcome)
            }
        }
    }

    /// The end of a task as its owner believes it where part of the value that came with it is lost on its way: for want
    /// of a descriptor the value is left where it is, until somebody asks for it.
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
        self.drop_references(references);
        (end.into(), ThinVec::new())
    }

    /// The answer to a fetch.
    pub(crate) fn outcome_fetched(
        &mut self,
        from: RuntimeId,
        task: TaskId,
        value: bool,
        outcome: &Arc<Outcome>,
        actions: &mut Vec<Action<H>>,
    ) {
        let references = ThinVec::from(outcome.references());
        self.receive_references(from, &references, actions);
        let failed = match &**outcome {
            Outcome::Value(value) => value.loss(),
            _ => None,
        };
        let failed = failed.map(|loss| Arc::new(Outcome::Failed(loss.failure())));
        let outcome = failed.as_ref().unwrap_or(outcome);
        let Some(fetch) = self.fetches.remove(&(task, value)) else {
            return self.drop_references(references);
        };
        let elsewhere = match &**outcome {
            Outcome::Stored { host, .. } if value && *host != from => Some(*host),
            _ => None,
        };
        let mut for_program = false;
        for subscriber in fetch.subscribers {
            // Among those who expect the call may be handles too.
            for_program |= matches!(subscriber, Subscriber::Handle(_) | Subscriber::Expectation);
            match elsewhere {
                Some(host) => self.want(task, host, value, subscriber, actions),
                None => self.deliver(task, value, subscriber, outcome, actions),
            }
        }
        if !for_program || elsewhere.is_some() {
            return self.drop_references(references);
        }
        // As long as the program has a handle on the task, what its value refers to stays.
        if let Some(owned) = self.tasks.get_mut(&task) {
            owned.keep(references);
        } else if self.references.holdings.contains_key(&ObjectId::Task(task)) {
            self.borrowed.entry(task).or_default().extend(references);
        } else {
            self.drop_references(references);
        }
    }

    /// A runtime died: what was to be fetched from it will not come, and what was expected from it neither.
    pub(crate) fn fetches_fail(
        &mut self,
        dead: RuntimeId,
        cause: &str,
        actions: &mut Vec<Action<H>>,
    ) {
        let mut lost: Vec<_> = self
            .fetches
            .iter()
            .filter(|(_, fetch)| fetch.from == dead)
            .map(|(key, _)| *key)
            .collect();
        lost.sort_unstable();
        for (task, value) in lost {
            let Some(fetch) = self.fetches.remove(&(task, value)) else {
                continue;
            };
            let kind = if self.tasks.contains_key(&task) {
                FailureKind::ObjectLost
            } else {
                FailureKind::Disconnected
            };
            for subscriber in fetch.subscribers {
                let lost = subscriber.loss(task, kind, cause);
                self.deliver(task, value, subscriber, &lost, actions);
            }
        }
        let mut orphans: Vec<_> = self
            .expected
            .keys()
            .filter(|task| task.owner == dead)
            .copied()
            .collect();
        orphans.sort_unstable();
        for task in orphans {
            for (value, subscriber) in self.expected.remove(&task).unwrap_or_default() {
                let lost = subscriber.loss(task, FailureKind::Disconnected, cause);
                self.deliver(task, value, subscriber, &lost, actions);
            }
        }
        self.forget_subscriber(dead);
    }

    /// What is being fetched from a runtime.
    pub(crate) fn fetches_from(&self, runtime: RuntimeId) -> Vec<(TaskId, bool)> {
        let fetches = self.fetches.iter();
        let fetches = fetches.filter(|(_, fetch)| fetch.from == runtime);
        fetches.map(|(key, _)| *key).collect()
    }

    /// A peer wants nothing of what it has asked for: it died, or will ask again.
    pub(crate) fn forget_subscriber(&mut self, peer: RuntimeId) {
        let is_its = |subscriber: &Subscriber<H>| matches!(subscriber, Subscriber::Peer { to, .. } if *to == peer);
        for subscribers in self.expected.values_mut() {
            subscribers.retain(|(_, subscriber)| !is_its(subscriber));
        }
        self.expected
            .retain(|_, subscribers| !subscribers.is_empty());
        for cold_state in self
            .inbound
            .values_mut()
            .filter_map(InboundCall::cold_state_mut)
        {
            cold_state
                .subscribers
                .retain(|(_, subscriber)| !is_its(subscriber));
        }
        for cold_state in self
            .tasks
            .values_mut()
            .filter_map(|owned| owned.cold_state_mut())
        {
            cold_state
                .subscribers
                .retain(|(_, subscriber)| !is_its(subscriber));
        }
    }

    /// This runtime ends: every handle that still waits for the end of a task is settled.
    pub(crate) fn subscribers_end(&mut self, outcome: &Arc<Outcome>, actions: &mut Vec<Action<H>>) {
        let fetched = self
            .fetches
            .drain()
            .flat_map(|(_, fetch)| fetch.subscribers);
        let expected = self
            .expected
            .drain()
            .flat_map(|(_, subscribers)| subscribers)
            .map(|(_, subscriber)| subscriber);
        let running = self
            .inbound
            .values_mut()
            .filter_map(InboundCall::cold_state_mut)
            .flat_map(|cold_state| cold_state.subscribers.drain(..))
            .map(|(_, subscriber)| subscriber);
        for subscriber in fetched.chain(expected).chain(running) {
            if let Subscriber::Handle(handle) = subscriber {
                let outcome = Arc::clone(outcome);
                actions.push(Action::Complete { handle, outcome });
            }
        }
    }
}

/// How a result ends that nobody was known to want any more.
fn let_go_of(task: TaskId) -> Arc<Outcome> {
    let message = format!("the result of {task:?} was let go of");
    Outcome::Failed(Failure::new(FailureKind::ObjectLost, message)).into()
}
