//! Tasks that this runtime owns: from the submission to the last handle.
//!
//! A task is *held* in its tessera's route, then *sent*, then *ended*; it ends exactly once (`TASK-1`). It is
//! remembered as long as somebody may ask for it; then its runner is told that the result may go.

use std::sync::Arc;

use crate::call::{Call, CallKind, Dependency, Failure, FailureKind, Outcome, Slot, Source};
use crate::event::{Action, Submission};
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::machine::Machine;
use crate::outcome::Wanter;
use crate::payload::{Payload, Reference};
use crate::route::{Place, Route};
use crate::wire::Message;

/// A task that this runtime owns.
#[derive(Debug)]
pub(crate) struct Owned<H> {
    /// Settled when it ends.
    pub(crate) handle: Option<H>,
    pub(crate) tessera: TesseraId,
    pub(crate) kind: CallKind,
    pub(crate) method: Arc<str>,
    /// The call: until it is sent, and after that as long as it may have to be sent again.
    pub(crate) call: Option<Box<Call>>,
    pub(crate) resends: u32,
    /// Length of its arguments in bytes.
    pub(crate) size: usize,
    /// The runtime that it was sent to.
    pub(crate) host: Option<RuntimeId>,
    pub(crate) outcome: Option<Outcome>,
    /// Handles, dependent calls, and messages kept here that refer to it.
    pub(crate) handles: usize,
    pub(crate) wanters: Vec<(bool, Wanter<H>)>,
    /// Tasks kept for it until it ends.
    pub(crate) dependencies: Vec<TaskId>,
    /// References inside values that were brought here for its handles.
    pub(crate) references: Vec<Reference>,
    /// Routes whose next call waits for this one to be sent.
    pub(crate) unblocks: Vec<TesseraId>,
}

/// How a dependency stands at the moment of sending.
enum Resolved {
    Source(Source),
    NotYet,
    Failed(Box<Failure>),
}

/// "argument 0", "argument 'x'", for the message that a dependency failed.
pub(crate) fn describe(slot: &Slot, class: &str, method: &str) -> String {
    let callee = if class.is_empty() {
        method.to_owned()
    } else {
        format!("{class}.{method}")
    };
    match slot {
        Slot::Positional(index) => format!("needed as argument {index} of {callee}"),
        Slot::Keyword(name) => format!("needed as argument '{name}' of {callee}"),
        Slot::Order => format!("{callee} waited for its end"),
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
        let (task, tessera, kind) = (call.task, call.tessera, call.kind);
        for reference in &call.arguments.references {
            self.hold(*reference, actions);
        }
        let dependencies: Vec<_> = call
            .dependencies
            .iter()
            .map(|dependency| dependency.task)
            .collect();
        for &dependency in &dependencies {
            self.hold(
                Reference {
                    object: ObjectId::Task(dependency),
                    authority: dependency.owner,
                },
                actions,
            );
        }
        let owned = Owned {
            handle: Some(handle),
            tessera,
            kind,
            method: Arc::clone(&call.method),
            resends,
            size: call.arguments.size(),
            call: None,
            host: None,
            outcome: None,
            handles: 1,
            wanters: Vec::new(),
            dependencies,
            references: Vec::new(),
            unblocks: Vec::new(),
        };
        self.tasks.insert(task, owned);
        if kind == CallKind::Construct {
            self.begin_route(&call, restarts);
        } else {
            self.routes
                .entry(tessera)
                .or_insert_with(|| Route::known(tessera, host));
        }
        if let Some(owned) = self.tasks.get_mut(&task) {
            owned.call = Some(Box::new(call));
        }
        if let Some(route) = self.routes.get_mut(&tessera) {
            route.queue.push_back(task);
        }
        if kind == CallKind::Construct {
            match place {
                Some(worker) => self.placed(tessera, Ok(worker), false, actions),
                None => self.ask_for_place(tessera, actions),
            }
        } else {
            self.pump(tessera, actions);
        }
    }

    /// A value kept here looks like a task that has ended.
    pub(crate) fn value_put(&mut self, task: TaskId, value: Payload, actions: &mut Vec<Action<H>>) {
        for reference in &value.references {
            self.hold(*reference, actions);
        }
        self.insert_value(task, value, 1);
    }

    /// Remember a value, what it refers to being held already.
    pub(crate) fn insert_value(&mut self, task: TaskId, value: Payload, handles: usize) {
        let references = value.references.clone();
        let owned = Owned {
            handle: None,
            tessera: TesseraId::functions(self.config.me),
            kind: CallKind::Function,
            method: "put".into(),
            call: None,
            resends: 0,
            size: 0,
            host: None,
            outcome: Some(Outcome::Value(value)),
            handles,
            wanters: Vec::new(),
            dependencies: Vec::new(),
            references,
            unblocks: Vec::new(),
        };
        self.tasks.insert(task, owned);
    }

    pub(crate) fn value_dropped(&mut self, task: TaskId, actions: &mut Vec<Action<H>>) {
        if task.owner != self.config.me {
            return self.send(task.owner, Message::Discard(task), actions);
        }
        let Some(owned) = self.tasks.get_mut(&task) else {
            return self.dropped_early(task);
        };
        if owned.outcome.is_none() {
            return;
        }
        let failure = Failure::new(
            FailureKind::ObjectLost,
            format!("the value of {} was dropped", owned.method),
        );
        owned.outcome = Some(Outcome::Failed(failure));
        let references = std::mem::take(&mut owned.references);
        let host = owned.host.take();
        self.drop_references(references);
        if let Some(host) = host {
            self.release(host, ObjectId::Task(task));
        }
    }

    /// Send what the route of a tessera lets through.
    pub(crate) fn pump(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        loop {
            let Some(route) = self.routes.get_mut(&tessera) else {
                return;
            };
            let Some(&task) = route.queue.front() else {
                break;
            };
            let Some(owned) = self
                .tasks
                .get(&task)
                .filter(|owned| owned.outcome.is_none())
            else {
                route.queue.pop_front();
                continue;
            };
            let host = match &route.place {
                Place::At(host) => {
                    let host = *host;
                    if let Some(cause) = self.members.cause(host).map(str::to_owned) {
                        self.route_lost(tessera, host, &cause, actions);
                        continue;
                    }
                    host
                }
                Place::Lost(failure) => {
                    let failure = failure.clone();
                    route.queue.pop_front();
                    self.end_task(task, Outcome::Failed(failure), actions);
                    continue;
                }
                Place::Astray(_) => return self.ask_where(tessera, actions),
                Place::Asked => return,
            };
            if route.blocked_on.is_some() {
                return;
            }
            if !route.unlimited
                && route.sent_calls > 0
                && (route.sent_calls >= self.config.window_calls
                    || route.sent_bytes + owned.size > self.config.window_bytes)
            {
                return;
            }
            if !self.resolve_dependencies(task, actions) {
                if self
                    .tasks
                    .get(&task)
                    .is_some_and(|owned| owned.outcome.is_none())
                {
                    return;
                }
                continue;
            }
            self.send_call(task, tessera, host, actions);
        }
        self.route_is_empty(tessera, actions);
    }

    fn resolve(&self, dependency: &Dependency) -> Resolved {
        let task = dependency.task;
        if task.owner != self.config.me {
            return Resolved::Source(Source::At(task.owner));
        }
        let Some(owned) = self.tasks.get(&task) else {
            return Resolved::Failed(Failure::new(
                FailureKind::ObjectLost,
                format!("{task:?} is not known any more"),
            ));
        };
        match &owned.outcome {
            Some(Outcome::Failed(failure)) => Resolved::Failed(failure.clone()),
            Some(Outcome::Value(value))
                if value.segments.is_empty() && value.references.is_empty() =>
            {
                Resolved::Source(Source::Here(value.format, value.body.clone()))
            }
            Some(Outcome::Value(_)) => {
                Resolved::Source(Source::At(owned.host.unwrap_or(self.config.me)))
            }
            Some(Outcome::Stored { host, .. }) => Resolved::Source(Source::At(*host)),
            None => owned
                .host
                .map_or(Resolved::NotYet, |host| Resolved::Source(Source::At(host))),
        }
    }

    /// Fill in where the dependencies of a call come from. False if the call cannot be sent now, or has
    /// ended because one of them failed.
    fn resolve_dependencies(&mut self, task: TaskId, actions: &mut Vec<Action<H>>) -> bool {
        let Some(mut call) = self
            .tasks
            .get_mut(&task)
            .and_then(|owned| owned.call.take())
        else {
            return false;
        };
        let mut resolved = Vec::with_capacity(call.dependencies.len());
        for dependency in &call.dependencies {
            match self.resolve(dependency) {
                Resolved::Source(source) => resolved.push(source),
                Resolved::NotYet => {
                    let tessera = call.tessera;
                    if let Some(owned) = self.tasks.get_mut(&dependency.task) {
                        owned.unblocks.push(tessera);
                    }
                    if let Some(route) = self.routes.get_mut(&tessera) {
                        route.blocked_on = Some(dependency.task);
                    }
                    if let Some(owned) = self.tasks.get_mut(&task) {
                        owned.call = Some(call);
                    }
                    return false;
                }
                Resolved::Failed(failure) => {
                    let failure = failure.through(describe(&dependency.slot, "", &call.method));
                    if let Some(owned) = self.tasks.get_mut(&task) {
                        owned.call = Some(call);
                    }
                    self.end_task(task, Outcome::Failed(failure), actions);
                    return false;
                }
            }
        }
        for (dependency, source) in call.dependencies.iter_mut().zip(resolved) {
            dependency.source = source;
        }
        if let Some(owned) = self.tasks.get_mut(&task) {
            owned.call = Some(call);
        }
        true
    }

    fn send_call(
        &mut self,
        task: TaskId,
        tessera: TesseraId,
        host: RuntimeId,
        actions: &mut Vec<Action<H>>,
    ) {
        let (Some(owned), Some(route)) = (self.tasks.get_mut(&task), self.routes.get_mut(&tessera))
        else {
            return;
        };
        route.queue.pop_front();
        route.sent_calls += 1;
        route.sent_bytes += owned.size;
        owned.host = Some(host);
        let builds = owned.kind == CallKind::Construct;
        let kept = owned.resends > 0 || route.restarts_left > 0 && builds;
        let Some(call) = owned.call.take() else {
            return;
        };
        if kept {
            owned.call = Some(call.clone());
        }
        let unblocks = std::mem::take(&mut owned.unblocks);
        let references = call.arguments.references.clone();
        for reference in &references {
            self.references.pin(reference.object, host, self.config.me);
        }
        self.send(host, Message::Call(call), actions);
        if !kept {
            self.drop_references(references);
        }
        if builds {
            self.answer_askers(tessera, &Ok(host), actions);
        }
        self.unblock(unblocks);
    }

    /// What these routes waited for has happened.
    fn unblock(&mut self, routes: Vec<TesseraId>) {
        for tessera in routes {
            if let Some(route) = self.routes.get_mut(&tessera) {
                route.blocked_on = None;
            }
            self.to_pump.push_back(tessera);
        }
    }

    pub(crate) fn task_settled(
        &mut self,
        from: RuntimeId,
        task: TaskId,
        outcome: Outcome,
        actions: &mut Vec<Action<H>>,
    ) {
        let references = match &outcome {
            Outcome::Value(value) => value.references.clone(),
            _ => Vec::new(),
        };
        self.receive_references(from, &references, actions);
        match self.tasks.get_mut(&task) {
            Some(owned) if owned.outcome.is_none() => {
                owned.references.extend(references);
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
            self.send(host, Message::Cancel(task), actions);
        } else {
            let failure = Failure::new(FailureKind::Cancelled, "the call was cancelled");
            self.end_task(task, Outcome::Failed(failure), actions);
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
            self.send(host, Message::Cancel(task), actions);
        }
        self.end_task(task, Outcome::Failed(failure), actions);
    }

    /// `TASK-1`: the only way for a task to end.
    pub(crate) fn end_task(
        &mut self,
        task: TaskId,
        outcome: Outcome,
        actions: &mut Vec<Action<H>>,
    ) {
        let Some(owned) = self.tasks.get_mut(&task) else {
            return;
        };
        if owned.outcome.is_some() {
            return;
        }
        if let Some(handle) = owned.handle.take() {
            actions.push(Action::Settle {
                handle,
                outcome: outcome.clone(),
            });
        }
        let (tessera, sent, builds) = (
            owned.tessera,
            owned.host.is_some(),
            owned.kind == CallKind::Construct,
        );
        let wanters = std::mem::take(&mut owned.wanters);
        let unblocks = std::mem::take(&mut owned.unblocks);
        owned.outcome = Some(outcome.clone());
        if sent && let Some(route) = self.routes.get_mut(&tessera) {
            route.sent_calls -= 1;
            route.sent_bytes -= owned.size;
        }
        for (value, wanter) in wanters {
            self.deliver_own(task, value, wanter, &outcome, actions);
        }
        if !self.may_build_again(task) || !sent {
            self.drop_call(task, actions);
        }
        if builds
            && !sent
            && let Outcome::Failed(failure) = outcome
        {
            self.never_built(tessera, failure, actions);
        }
        self.fences.ended(task);
        self.check_fences(actions);
        self.unblock(unblocks);
        self.forget_task_if_unused(task, actions);
        if let Some(route) = self.routes.get_mut(&tessera) {
            // Whatever it waited for, the call that did may be this one.
            route.blocked_on = None;
            self.to_pump.push_back(tessera);
        }
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
            self.send(RuntimeId::HEAD, Message::Freed(tessera), actions);
        }
        self.lose(tessera, failure, actions);
    }

    /// Whether a task is the construction of a tessera that will be built again if its host dies.
    fn may_build_again(&self, task: TaskId) -> bool {
        let Some(owned) = self.tasks.get(&task) else {
            return false;
        };
        owned.kind == CallKind::Construct
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
        let dependencies = std::mem::take(&mut owned.dependencies);
        if let Some(call) = call {
            self.drop_references(call.arguments.references);
        }
        for dependency in dependencies {
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
            || !owned.wanters.is_empty()
            || self.references.holdings.contains_key(&object)
            || self.references.has_holders(object)
            || self.may_build_again(task)
        {
            return;
        }
        self.drop_call(task, actions);
        let Some(owned) = self.tasks.remove(&task) else {
            return;
        };
        if let Some(host) = owned.host {
            self.release(host, object);
        }
        self.drop_references(owned.references);
    }

    pub(crate) fn validate_tasks(&self) {
        for (task, owned) in &self.tasks {
            let ended = owned.outcome.is_some();
            let again = owned.kind == CallKind::Construct;
            assert!(
                ended || owned.handle.is_some() || again,
                "TASK-1: {task:?} has not ended and nobody would be told"
            );
            assert!(
                !ended || owned.wanters.is_empty(),
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
