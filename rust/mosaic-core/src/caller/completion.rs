//! How tasks end, as [`crate::caller::task`] promises: by the last part of their outcome, by a failure that is known here,
//! and by the loss of all references. That file has the records.

use std::sync::Arc;

use crate::call::{Failure, FailureKind, Outcome, OutcomePart};
use crate::caller::Caller;
use crate::caller::delivery::delivery_outcome;
use crate::caller::route::Place;
use crate::context::Internal;
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::payload::ThinVec;
use crate::wire::RulesMessage;

impl<H> Caller<H> {
    /// The host sends a part of the outcome of a call. `PART-1`: the parts come in the order of their numbers, and the task
    /// ends with the last one. No subscriber takes single parts so far: the record counts them, and the references in them
    /// are dropped. An outcome of which a part is missing is a failure.
    pub(crate) fn outcome_received(
        &mut self,
        from: RuntimeId,
        task: TaskId,
        part: OutcomePart,
        outcome: Arc<Outcome>,
    ) {
        if part == OutcomePart::WHOLE {
            return self.task_completed(from, task, outcome);
        }
        let unended = self.tasks.get_mut(&task);
        let unended = unended.filter(|owned| owned.outcome.is_none());
        let received = unended.map(|owned| owned.cold_state().count_part());
        let is_next = received.is_none_or(|received| received == part.number);
        if part.last && is_next {
            return self.task_completed(from, task, outcome);
        }
        let references = self.callee.references_mut();
        references.receive_references(from, outcome.references());
        references.drop_references(outcome.references().iter().copied());
        if !is_next {
            let message = format!(
                "a part of the outcome before part {} is missing",
                part.number
            );
            let failure = Failure::new(FailureKind::Internal, message);
            self.end_task(task, Outcome::Failed(failure).into());
        }
    }

    /// The last part of an outcome has come.
    fn task_completed(&mut self, from: RuntimeId, task: TaskId, outcome: Arc<Outcome>) {
        let references = ThinVec::from(outcome.references());
        self.callee
            .references_mut()
            .receive_references(from, &references);
        let (outcome, references) = self
            .callee
            .results_mut()
            .refuse_lost_parts(from, outcome, references);
        match self.tasks.get_mut(&task) {
            Some(owned) if owned.outcome.is_none() => {
                owned.keep(references);
                self.end_task(task, outcome);
            }
            Some(_) => self.callee.references_mut().drop_references(references),
            // It was cancelled, or its time passed, meanwhile; or it is a value, and kept by now.
            None => {
                self.callee.references_mut().drop_references(references);
                self.callee.values_mut().put_confirmed(task, outcome);
            }
        }
    }

    /// A task ends by a failure that is known here: what its exception refers to is held for the handles of this task.
    pub(crate) fn fail_task(&mut self, task: TaskId, failure: Box<Failure>) {
        let references = failure.detail.references.clone();
        for reference in &references {
            self.callee.references_mut().hold(*reference);
        }
        match self.tasks.get_mut(&task) {
            Some(owned) if owned.outcome.is_none() => {
                owned.keep(references);
                self.end_task(task, Outcome::Failed(failure).into());
            }
            _ => self.callee.references_mut().drop_references(references),
        }
    }

    /// `TASK-1`: the only way for a task to end.
    pub(crate) fn end_task(&mut self, task: TaskId, outcome: Arc<Outcome>) {
        let Some(owned) = self.tasks.get_mut(&task) else {
            return;
        };
        if owned.outcome.is_some() {
            return;
        }
        if let Some(handle) = owned.handle.take() {
            let outcome = Arc::clone(&outcome);
            self.callee.context_mut().complete(handle, outcome);
        }
        let (tessera, size, sent, builds) = (
            owned.tessera,
            owned.size,
            owned.host.is_some(),
            owned.builds,
        );
        let is_done_with = owned.call.is_none() && owned.cold_state.is_none();
        let asked = owned.cold_state_mut().map(|cold_state| {
            (
                std::mem::take(&mut cold_state.subscribers),
                std::mem::take(&mut cold_state.arrivals),
            )
        });
        let (subscribers, arrivals) = asked.unwrap_or_default();
        let unblocks = owned.take_unblocks();
        owned.outcome = Some(Arc::clone(&outcome));
        if let Some(route) = self.routes.get_mut(&tessera) {
            if sent {
                route.sent_calls -= 1;
                route.sent_bytes -= size;
            }
            // The call at the front, which waited for a dependency, may be this one.
            route.blocked_on = None;
            self.callee
                .context_mut()
                .later(Internal::RouteReady(tessera));
        }
        for handle in arrivals {
            let outcome = delivery_outcome(&outcome, sent);
            self.callee.context_mut().complete(handle, outcome);
        }
        for (value, subscriber) in subscribers {
            self.deliver_own(task, value, subscriber, &outcome);
        }
        if !is_done_with && (!sent || !self.may_build_again(task)) {
            self.drop_call(task);
        }
        if builds
            && !sent
            && let Outcome::Failed(failure) = Arc::unwrap_or_clone(outcome)
        {
            self.never_built(tessera, failure);
        }
        if self.announces_ends {
            self.callee.context_mut().later(Internal::TaskEnded(task));
        }
        self.unblock(unblocks);
        self.forget_task_if_unused(task);
    }

    /// A construction ended before it was sent.
    fn never_built(&mut self, tessera: TesseraId, failure: Box<Failure>) {
        if self
            .routes
            .get(&tessera)
            .is_some_and(|route| matches!(route.place, Place::At(_)))
        {
            self.callee
                .context_mut()
                .send(RuntimeId::HEAD, RulesMessage::Freed(tessera));
        }
        self.lose(tessera, failure);
    }

    /// Whether a task is the construction of a tessera that will be built again if its host dies.
    fn may_build_again(&self, task: TaskId) -> bool {
        let Some(owned) = self.tasks.get(&task) else {
            return false;
        };
        owned.builds
            && owned.call.is_some()
            && self
                .routes
                .get(&owned.tessera)
                .is_some_and(|route| route.restarts_left > 0)
    }

    /// A call will not be sent again: what it refers to and depends on is not needed for it any more.
    pub(crate) fn drop_call(&mut self, task: TaskId) {
        let Some(owned) = self.tasks.get_mut(&task) else {
            return;
        };
        let call = owned.call.take();
        let dependencies = owned
            .cold_state_mut()
            .map(|cold_state| std::mem::take(&mut cold_state.dependencies));
        if let Some(call) = call {
            self.callee
                .references_mut()
                .drop_references(call.arguments.references);
        }
        for dependency in dependencies.into_iter().flatten() {
            self.drop_handle(ObjectId::Task(dependency));
        }
    }

    /// Forget an ended task that nobody can ask for any more.
    pub(crate) fn forget_task_if_unused(&mut self, task: TaskId) {
        let object = ObjectId::Task(task);
        let Some(owned) = self.tasks.get(&task) else {
            return;
        };
        if owned.handles > 0
            || owned.outcome.is_none()
            || owned.subscribers() > 0
            || self.callee.references().holds(object)
            || self.callee.references().has_holders(object)
            || (owned.builds && self.may_build_again(task))
        {
            return;
        }
        if owned.call.is_some() || owned.cold_state.is_some() {
            self.drop_call(task);
        }
        let Some(mut owned) = self.tasks.remove(&task) else {
            return;
        };
        if let Some(host) = owned.host {
            self.callee.context_mut().release(host, object);
        }
        self.callee
            .references_mut()
            .drop_references(owned.take_references());
    }
}
