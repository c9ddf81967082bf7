//! Tasks that this runtime owns: from the submission to the release of the last handle.
//!
//! A task waits in the route of its tessera, is sent, and ends exactly once (`TASK-1`). Its record stays while a handle
//! may ask for the outcome; afterwards the host drops the result. [`crate::caller::send`] sends the calls.

use std::sync::Arc;

use crate::call::{Call, CallKind, Failure, FailureKind, Outcome, OutcomePart};
use crate::caller::Caller;
use crate::caller::delivery::delivery_outcome;
use crate::caller::route::{Place, Route};
use crate::context::Internal;
use crate::event::Submission;
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::payload::{Reference, ThinVec};
use crate::subscriber::Subscription;
use crate::wire::RulesMessage;

/// A task that this runtime owns. A million may wait: the rarely used fields are in [`ColdState`].
#[derive(Debug)]
pub(super) struct OwnedTask<H> {
    /// Completes when it ends.
    pub(super) handle: Option<H>,
    pub(super) tessera: TesseraId,
    /// The call: until it is sent, and after that as long as it may have to be sent again.
    pub(super) call: Option<Box<Call>>,
    pub(super) outcome: Option<Arc<Outcome>>,
    cold_state: Option<Box<ColdState<H>>>,
    /// Length of its arguments in bytes.
    pub(super) size: usize,
    /// The runtime that it was sent to.
    pub(super) host: Option<RuntimeId>,
    /// Handles of the program, and calls of this runtime that depend on it. All other uses are in the reference counts.
    pub(super) handles: u32,
    pub(super) resends: u32,
    /// It builds its tessera.
    pub(super) builds: bool,
}

/// The fields that only some tasks use.
#[derive(Debug)]
pub(super) struct ColdState<H> {
    pub(super) subscribers: Vec<Subscription<H>>,
    /// Tasks kept for it until it ends.
    dependencies: Vec<TaskId>,
    /// References inside values that were brought here for its handles.
    pub(super) references: ThinVec<Reference>,
    /// Routes whose next call waits for this one to be sent.
    pub(super) unblocks: Vec<TesseraId>,
    /// Handles that complete when the call has reached its host.
    pub(super) arrivals: Vec<H>,
    /// Parts of its outcome that have come; the last is not among them.
    parts: u32,
}

impl<H> ColdState<H> {
    /// One part more of its outcome has come. Returns how many had come before.
    fn count_part(&mut self) -> u32 {
        let before = self.parts;
        self.parts += 1;
        before
    }
}

impl<H> Default for ColdState<H> {
    fn default() -> Self {
        Self {
            subscribers: Vec::new(),
            dependencies: Vec::new(),
            references: ThinVec::new(),
            unblocks: Vec::new(),
            arrivals: Vec::new(),
            parts: 0,
        }
    }
}

impl<H> OwnedTask<H> {
    /// A task that has neither been sent nor ended.
    pub(super) fn new(handle: Option<H>, tessera: TesseraId) -> Self {
        Self {
            handle,
            tessera,
            call: None,
            outcome: None,
            cold_state: None,
            size: 0,
            host: None,
            handles: 1,
            resends: 0,
            builds: false,
        }
    }

    /// The fields that few have, made if there are none yet.
    pub(super) fn cold_state(&mut self) -> &mut ColdState<H> {
        self.cold_state.get_or_insert_default()
    }

    /// The fields that few have, if this one ever had any.
    pub(super) fn cold_state_mut(&mut self) -> Option<&mut ColdState<H>> {
        self.cold_state.as_deref_mut()
    }

    /// References that are kept here from now on for its handles.
    pub(super) fn keep(&mut self, references: ThinVec<Reference>) {
        if !references.is_empty() {
            self.cold_state().references.extend(references);
        }
    }

    pub(super) fn take_unblocks(&mut self) -> Vec<TesseraId> {
        self.cold_state_mut()
            .map(|cold_state| std::mem::take(&mut cold_state.unblocks))
            .unwrap_or_default()
    }

    /// The references that were kept for its handles.
    pub(super) fn take_references(&mut self) -> ThinVec<Reference> {
        self.cold_state_mut()
            .map(|cold_state| std::mem::take(&mut cold_state.references))
            .unwrap_or_default()
    }

    /// Subscribers that have not been notified.
    pub(super) fn subscribers(&self) -> usize {
        let cold_state = self.cold_state.as_ref();
        cold_state.map_or(0, |cold_state| cold_state.subscribers.len())
    }
}

impl<H> Caller<H> {
    pub(crate) fn call_submitted(&mut self, submission: Submission<H>) {
        let Submission {
            handle,
            call,
            host,
            place,
            restarts,
            resends,
        } = submission;
        let (task, tessera) = (call.task, call.tessera);
        for reference in &call.arguments.references {
            self.callee.references_mut().hold(*reference);
        }
        for dependency in &call.dependencies {
            self.hold_handle(Reference {
                object: ObjectId::Task(dependency.task),
                authority: dependency.task.owner,
            });
        }
        let builds = call.kind == CallKind::Construct;
        let route = if builds {
            self.begin_route(&call, restarts)
        } else {
            self.routes
                .entry(tessera)
                .or_insert_with(|| Route::known(tessera, host))
        };
        route.queue.push_back(task);
        let mut owned = OwnedTask::new(Some(handle), tessera);
        owned.resends = resends;
        owned.size = call.arguments.size();
        owned.builds = builds;
        if !call.dependencies.is_empty() {
            let tasks = call.dependencies.iter().map(|dependency| dependency.task);
            owned.cold_state().dependencies.extend(tasks);
        }
        owned.call = Some(call);
        self.tasks.insert(task, Box::new(owned));
        match place {
            _ if !builds => self.pump(tessera),
            Some(worker) => self.placed(tessera, Ok(worker), false),
            None => self.ask_for_place(tessera),
        }
    }

    /// A program has one handle more on a task, or on another object.
    pub(crate) fn hold_handle(&mut self, reference: Reference) {
        if let ObjectId::Task(task) = reference.object
            && let Some(owned) = self.tasks.get_mut(&task)
        {
            owned.handles += 1;
        } else {
            self.callee.references_mut().hold(reference);
        }
    }

    /// A program has one handle less. A handle that is older than the record of its task is among the references.
    pub(crate) fn drop_handle(&mut self, object: ObjectId) {
        if let ObjectId::Task(task) = object
            && let Some(owned) = self.tasks.get_mut(&task)
            && owned.handles > 0
        {
            owned.handles -= 1;
            self.forget_task_if_unused(task);
        } else {
            self.callee.references_mut().drop_hold(object);
        }
    }

    /// Nothing refers to a task any more but its handles, if it has any.
    pub(crate) fn task_unused(&mut self, task: TaskId) {
        if task.owner == self.callee.context().me() {
            self.callee.values_mut().forget_if_unused(task);
            self.forget_task_if_unused(task);
        } else {
            self.callee.results_mut().forget_borrowed(task);
        }
    }

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

    /// The program cancels a call. Where it was sent, its host decides whether it still can be.
    pub(crate) fn cancel_requested(&mut self, task: TaskId) {
        let Some(owned) = self
            .tasks
            .get(&task)
            .filter(|owned| owned.outcome.is_none())
        else {
            return;
        };
        if let Some(host) = owned.host {
            self.callee
                .context_mut()
                .send(host, RulesMessage::Cancel(task));
        } else {
            let failure = Failure::new(FailureKind::Cancelled, "the call was cancelled");
            self.end_task(task, Outcome::Failed(failure).into());
        }
    }

    /// The program gives up a call: it ends here now, and its host may cancel it.
    pub(crate) fn call_given_up(&mut self, task: TaskId, failure: Box<Failure>) {
        let Some(owned) = self
            .tasks
            .get(&task)
            .filter(|owned| owned.outcome.is_none())
        else {
            return;
        };
        if let Some(host) = owned.host {
            self.callee
                .context_mut()
                .send(host, RulesMessage::Cancel(task));
        }
        self.end_task(task, Outcome::Failed(failure).into());
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
