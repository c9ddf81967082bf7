//! Tasks that this runtime owns: from the submission to the release of the last handle.
//!
//! A task waits in the route of its tessera, is sent, and ends exactly once (`TASK-1`). Its record stays while a handle
//! may ask for the outcome; afterwards the host is told to drop the result. [`crate::caller::send`] sends the calls.

use std::sync::Arc;

use crate::call::{Call, CallKind, Failure, FailureKind, Outcome};
use crate::caller::delivery::delivery_outcome;
use crate::caller::route::{Place, Route};
use crate::event::{Action, Submission};
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::machine::{Internal, Machine};
use crate::payload::{Reference, ThinVec};
use crate::results::Subscriber;
use crate::wire::RulesMessage;

/// A task that this runtime owns. A million may wait: what few of them have is in [`ColdState`].
#[derive(Debug)]
pub(crate) struct OwnedTask<H> {
    /// Settled when it ends.
    pub(crate) handle: Option<H>,
    pub(crate) tessera: TesseraId,
    /// The call: until it is sent, and after that as long as it may have to be sent again.
    pub(crate) call: Option<Box<Call>>,
    pub(crate) outcome: Option<Arc<Outcome>>,
    cold_state: Option<Box<ColdState<H>>>,
    /// Length of its arguments in bytes.
    pub(crate) size: usize,
    /// The runtime that it was sent to.
    pub(crate) host: Option<RuntimeId>,
    /// Handles, dependent calls, and messages kept here that refer to it.
    pub(crate) handles: u32,
    pub(crate) resends: u32,
    /// It builds its tessera.
    pub(crate) builds: bool,
}

/// What only some tasks have.
#[derive(Debug)]
pub(crate) struct ColdState<H> {
    pub(crate) subscribers: Vec<(bool, Subscriber<H>)>,
    /// Tasks kept for it until it ends.
    dependencies: Vec<TaskId>,
    /// References inside values that were brought here for its handles.
    pub(crate) references: ThinVec<Reference>,
    /// Routes whose next call waits for this one to be sent.
    pub(crate) unblocks: Vec<TesseraId>,
    /// Handles that are settled when the call has reached its host.
    pub(crate) arrivals: Vec<H>,
}

impl<H> Default for ColdState<H> {
    fn default() -> Self {
        Self {
            subscribers: Vec::new(),
            dependencies: Vec::new(),
            references: ThinVec::new(),
            unblocks: Vec::new(),
            arrivals: Vec::new(),
        }
    }
}

impl<H> OwnedTask<H> {
    /// A task that has neither been sent nor ended.
    pub(crate) fn new(handle: Option<H>, tessera: TesseraId) -> Self {
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
    pub(crate) fn cold_state(&mut self) -> &mut ColdState<H> {
        self.cold_state.get_or_insert_default()
    }

    /// The fields that few have, if this one ever had any.
    pub(crate) fn cold_state_mut(&mut self) -> Option<&mut ColdState<H>> {
        self.cold_state.as_deref_mut()
    }

    /// References that are kept here from now on for its handles.
    pub(crate) fn keep(&mut self, references: ThinVec<Reference>) {
        if !references.is_empty() {
            self.cold_state().references.extend(references);
        }
    }

    pub(crate) fn take_unblocks(&mut self) -> Vec<TesseraId> {
        self.cold_state_mut()
            .map(|cold_state| std::mem::take(&mut cold_state.unblocks))
            .unwrap_or_default()
    }

    /// The references that were kept for its handles.
    pub(crate) fn take_references(&mut self) -> ThinVec<Reference> {
        self.cold_state_mut()
            .map(|cold_state| std::mem::take(&mut cold_state.references))
            .unwrap_or_default()
    }

    fn is_wanted(&self) -> bool {
        self.cold_state
            .as_ref()
            .is_some_and(|cold_state| !cold_state.subscribers.is_empty())
    }
}

impl<H: Clone> Machine<H> {
    pub(crate) fn call_submitted(
        &mut self,
        submission: Submission<H>,
        actions: &mut Vec<Action<H>>,
    ) {
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
            self.hold(*reference, actions);
        }
        for dependency in &call.dependencies {
            self.hold(
                Reference {
                    object: ObjectId::Task(dependency.task),
                    authority: dependency.task.owner,
                },
                actions,
            );
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
            _ if !builds => self.pump(tessera, actions),
            Some(worker) => self.placed(tessera, Ok(worker), false, actions),
            None => self.ask_for_place(tessera, actions),
        }
    }

    pub(crate) fn task_completed(
        &mut self,
        from: RuntimeId,
        task: TaskId,
        outcome: Arc<Outcome>,
        actions: &mut Vec<Action<H>>,
    ) {
        let references = ThinVec::from(outcome.references());
        self.receive_references(from, &references, actions);
        let (outcome, references) = self.refuse_lost_parts(from, outcome, references);
        match self.tasks.get_mut(&task) {
            Some(owned) if owned.outcome.is_none() => {
                owned.keep(references);
                self.end_task(task, outcome, actions);
            }
            Some(_) => self.drop_references(references),
            // It was cancelled, or its time passed, meanwhile; or it is a value, and kept by now.
            None => {
                self.drop_references(references);
                self.kept(task, outcome, actions);
            }
        }
    }

    /// The program cancels a call. Where it was sent, its host decides whether it still can be.
    pub(crate) fn cancel_requested(&mut self, task: TaskId, actions: &mut Vec<Action<H>>) {
        let Some(owned) = self
            .tasks
            .get(&task)
            .filter(|owned| owned.outcome.is_none())
        else {
            return;
        };
        if let Some(host) = owned.host {
            self.send(host, RulesMessage::Cancel(task), actions);
        } else {
            let failure = Failure::new(FailureKind::Cancelled, "the call was cancelled");
            self.end_task(task, Outcome::Failed(failure).into(), actions);
        }
    }

    /// The program does not wait for a call any longer, whatever becomes of it.
    pub(crate) fn call_given_up(
        &mut self,
        task: TaskId,
        failure: Box<Failure>,
        actions: &mut Vec<Action<H>>,
    ) {
        let Some(owned) = self
            .tasks
            .get(&task)
            .filter(|owned| owned.outcome.is_none())
        else {
            return;
        };
        if let Some(host) = owned.host {
            self.send(host, RulesMessage::Cancel(task), actions);
        }
        self.end_task(task, Outcome::Failed(failure).into(), actions);
    }

    /// A task ends by a failure that is known here: what its exception refers to is held for the handles of this task.
    pub(crate) fn fail_task(
        &mut self,
        task: TaskId,
        failure: Box<Failure>,
        actions: &mut Vec<Action<H>>,
    ) {
        let references = failure.detail.references.clone();
        for reference in &references {
            self.hold(*reference, actions);
        }
        match self.tasks.get_mut(&task) {
            Some(owned) if owned.outcome.is_none() => {
                owned.keep(references);
                self.end_task(task, Outcome::Failed(failure).into(), actions);
            }
            _ => self.drop_references(references),
        }
    }

    /// `TASK-1`: the only way for a task to end.
    pub(crate) fn end_task(
        &mut self,
        task: TaskId,
        outcome: Arc<Outcome>,
        actions: &mut Vec<Action<H>>,
    ) {
        let Some(owned) = self.tasks.get_mut(&task) else {
            return;
        };
        if owned.outcome.is_some() {
            return;
        }
        if let Some(handle) = owned.handle.take() {
            let outcome = Arc::clone(&outcome);
            actions.push(Action::Complete { handle, outcome });
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
            // Whatever it waited for, the call that did may be this one.
            route.blocked_on = None;
            self.internal.push_back(Internal::RouteReady(tessera));
        }
        for handle in arrivals {
            let outcome = delivery_outcome(&outcome, sent);
            actions.push(Action::Complete { handle, outcome });
        }
        for (value, subscriber) in subscribers {
            self.deliver_own(task, value, subscriber, &outcome, actions);
        }
        if !is_done_with && (!sent || !self.may_build_again(task)) {
            self.drop_call(task, actions);
        }
        if builds
            && !sent
            && let Outcome::Failed(failure) = Arc::unwrap_or_clone(outcome)
        {
            self.never_built(tessera, failure, actions);
        }
        if !self.barriers.raised.is_empty() {
            self.barriers.ended(task);
            self.check_barriers(actions);
        }
        self.unblock(unblocks);
        self.forget_task_if_unused(task, actions);
    }

    /// A construction ended before it was sent.
    fn never_built(
        &mut self,
        tessera: TesseraId,
        failure: Box<Failure>,
        actions: &mut Vec<Action<H>>,
    ) {
        if self
            .routes
            .get(&tessera)
            .is_some_and(|route| matches!(route.place, Place::At(_)))
        {
            self.send(RuntimeId::HEAD, RulesMessage::Freed(tessera), actions);
        }
        self.lose(tessera, failure, actions);
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
    pub(crate) fn drop_call(&mut self, task: TaskId, actions: &mut Vec<Action<H>>) {
        let Some(owned) = self.tasks.get_mut(&task) else {
            return;
        };
        let call = owned.call.take();
        let dependencies = owned
            .cold_state_mut()
            .map(|cold_state| std::mem::take(&mut cold_state.dependencies));
        if let Some(call) = call {
            self.drop_references(call.arguments.references);
        }
        for dependency in dependencies.into_iter().flatten() {
            self.drop_hold(ObjectId::Task(dependency), actions);
        }
    }

    /// Forget an ended task that nobody can ask for any more.
    pub(crate) fn forget_task_if_unused(&mut self, task: TaskId, actions: &mut Vec<Action<H>>) {
        let object = ObjectId::Task(task);
        let Some(owned) = self.tasks.get(&task) else {
            return;
        };
        if owned.handles > 0
            || owned.outcome.is_none()
            || owned.is_wanted()
            || self.references.holdings.contains_key(&object)
            || self.references.has_holders(object)
            || (owned.builds && self.may_build_again(task))
        {
            return;
        }
        if owned.call.is_some() || owned.cold_state.is_some() {
            self.drop_call(task, actions);
        }
        let Some(mut owned) = self.tasks.remove(&task) else {
            return;
        };
        if let Some(host) = owned.host {
            self.release(host, object);
        }
        self.drop_references(owned.take_references());
    }

    pub(crate) fn validate_tasks(&self) {
        for (task, owned) in &self.tasks {
            let ended = owned.outcome.is_some();
            assert!(
                ended || owned.handle.is_some() || owned.builds,
                "TASK-1: {task:?} has not ended and nobody would be told"
            );
            assert!(
                !ended || !owned.is_wanted(),
                "TASK-1: {task:?} has ended and somebody still waits for it"
            );
            assert!(
                ended
                    || owned.host.is_some()
                    || self
                        .routes
                        .get(&owned.tessera)
                        .is_some_and(|route| route.queue.contains(task)),
                "TASK-1: {task:?} is neither on its way nor queued"
            );
        }
    }
}
