//! Tasks that this runtime owns: from the submission to the release of the last handle.
//!
//! A task waits in the route of its tessera, is sent, and ends exactly once (`TASK-1`). Its record stays while a handle
//! may ask for the outcome; afterwards the host drops the result. [`crate::caller::send`] sends the calls.

use std::sync::Arc;

use crate::call::{Call, CallKind, Failure, FailureKind, Outcome};
use crate::caller::Caller;
use crate::caller::route::Route;
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
    pub(super) cold_state: Option<Box<ColdState<H>>>,
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
    pub(super) dependencies: Vec<TaskId>,
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
    pub(super) fn count_part(&mut self) -> u32 {
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
}
