//! Who is notified of the outcome of a task that this runtime owns, or of one whose call came here.

use std::sync::Arc;

use crate::call::{Failure, FailureKind, Outcome};
use crate::caller::Caller;
use crate::id::{ObjectId, RuntimeId, TaskId};
use crate::subscriber::Subscriber;
use crate::values::dropped;
use crate::wire::RulesMessage;

impl<H> Caller<H> {
    /// Have the outcome of a task brought to a subscriber from the runtime that knows it.
    pub(crate) fn want(
        &mut self,
        task: TaskId,
        from: RuntimeId,
        value: bool,
        subscriber: Subscriber<H>,
    ) {
        if from == self.callee.context().me() {
            self.want_here(task, value, subscriber);
        } else {
            self.callee
                .results_mut()
                .want(task, from, value, subscriber);
        }
    }

    /// Bring the outcome of a task to a subscriber: from the call that came here, from the record of an own task, or from
    /// where else it may be.
    pub(crate) fn want_here(&mut self, task: TaskId, value: bool, subscriber: Subscriber<H>) {
        let Some(subscriber) = self.callee.subscribe(task, value, subscriber) else {
            return;
        };
        let Some(owned) = self.tasks.get_mut(&task) else {
            return self
                .callee
                .results_mut()
                .want_unknown(task, value, subscriber);
        };
        match owned.outcome.clone() {
            Some(outcome) => self.deliver_own(task, value, subscriber, &outcome),
            None => owned.cold_state().subscribers.push((value, subscriber)),
        }
    }

    /// Notify a subscriber of the outcome of an own task: with the value from where it lies, if that is wanted.
    pub(super) fn deliver_own(
        &mut self,
        task: TaskId,
        value: bool,
        subscriber: Subscriber<H>,
        outcome: &Arc<Outcome>,
    ) {
        match (&**outcome, &subscriber) {
            // A peer fetches from there itself.
            (Outcome::Stored { host, .. }, Subscriber::Handle(_) | Subscriber::Argument(_))
                if value =>
            {
                let host = *host;
                if host == self.callee.context().me() && !self.callee.has_call(task) {
                    let failure = Failure::new(
                        FailureKind::ObjectLost,
                        format!("the value of {task:?} is lost"),
                    );
                    let lost = Outcome::Failed(failure).into();
                    return self
                        .callee
                        .results_mut()
                        .deliver(task, value, subscriber, &lost);
                }
                self.want(task, host, true, subscriber);
            }
            _ => self
                .callee
                .results_mut()
                .deliver(task, value, subscriber, outcome),
        }
    }

    /// A fetch is answered.
    pub(crate) fn outcome_fetched(
        &mut self,
        from: RuntimeId,
        task: TaskId,
        value: bool,
        outcome: &Arc<Outcome>,
    ) {
        let results = self.callee.results_mut();
        let references = results.outcome_fetched(from, task, value, outcome);
        if references.is_empty() {
            return;
        }
        match self.tasks.get_mut(&task) {
            Some(owned) => owned.keep(references),
            None => self.callee.references_mut().drop_references(references),
        }
    }

    /// A program drops the value of a task, or one that was put, although there may be references to it.
    pub(crate) fn value_dropped(&mut self, task: TaskId) {
        if task.owner != self.callee.context().me() {
            let message = RulesMessage::Discard(task);
            return self.callee.context_mut().send(task.owner, message);
        }
        let Some(owned) = self.tasks.get_mut(&task) else {
            return self.callee.values_mut().discard(task);
        };
        if owned.outcome.is_none() {
            return;
        }
        owned.outcome = Some(dropped(task));
        let references = owned.take_references();
        let host = owned.host.take();
        self.callee.references_mut().drop_references(references);
        if let Some(host) = host {
            self.callee
                .context_mut()
                .release(host, ObjectId::Task(task));
        }
    }
}
