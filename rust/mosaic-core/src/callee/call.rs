//! Records of calls that have arrived, up to their dispatch to the executor. [`crate::callee::finish`] has their ends.

use std::sync::Arc;

use bytes::Bytes;

use crate::call::{
    Call, CallKind, Dependency, Failure, FailureKind, Outcome, ReadyCall, Slot, Source,
};
use crate::callee::tessera::HostedTessera;
use crate::caller::send::describe;
use crate::event::Action;
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::machine::Machine;
use crate::payload::{Payload, Reference, ThinVec};
use crate::results::{Argument, Subscriber};
use crate::wire::RulesMessage;

/// Where a call that came here stands.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Waits for its turn and its arguments.
    Waiting(Box<Call>),
    /// Handed over.
    Running {
        /// It builds its tessera.
        builds: bool,
        /// It skipped the queues of its tessera.
        skipped: bool,
    },
    /// Has ended; the owner has not let go of the result.
    Ended(Arc<Outcome>),
}

/// A call that came here. Thousands wait or have ended: what few of them have is in [`ColdState`].
#[derive(Debug)]
pub(crate) struct InboundCall<H> {
    pub(crate) caller: RuntimeId,
    /// Arguments that are still to come.
    pub(crate) missing: u32,
    pub(crate) tessera: TesseraId,
    pub(crate) progress: Progress,
    pub(crate) cold_state: Option<Box<ColdState<H>>>,
    /// Nobody wants to know how it ends.
    pub(crate) cancelled: bool,
    /// The owner has let go of the result.
    pub(crate) released: bool,
}

/// What only some calls have.
#[derive(Debug)]
pub(crate) struct ColdState<H> {
    pub(crate) values: Vec<(Slot, Bytes, Payload)>,
    /// References inside arguments; after the end, inside the result.
    pub(crate) references: ThinVec<Reference>,
    pub(crate) subscribers: Vec<(bool, Subscriber<H>)>,
    /// Calls of methods of the result that have not ended.
    pub(crate) users: usize,
    /// The result that this call needs alive.
    pub(crate) uses: Option<TaskId>,
    /// For a call that may be repeated: what to hand over again.
    pub(crate) again: Option<Box<ReadyCall>>,
}

impl<H> Default for ColdState<H> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            references: ThinVec::new(),
            subscribers: Vec::new(),
            users: 0,
            uses: None,
            again: None,
        }
    }
}

impl<H> InboundCall<H> {
    fn new(caller: RuntimeId, call: Box<Call>) -> Self {
        Self {
            caller,
            missing: 0,
            tessera: call.tessera,
            progress: Progress::Waiting(call),
            cold_state: None,
            cancelled: false,
            released: false,
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

    pub(crate) fn keep(&mut self, references: &[Reference]) {
        if !references.is_empty() {
            self.cold_state().references.extend_from_slice(references);
        }
    }

    /// Whether it is a construction that has not started.
    pub(crate) fn builds(&self) -> bool {
        matches!(&self.progress, Progress::Waiting(call) if call.kind == CallKind::Construct)
    }

    /// The call as the executor gets it, if it waits: it runs from now on.
    fn start(&mut self) -> Option<ReadyCall> {
        let Progress::Waiting(call) = &self.progress else {
            return None;
        };
        let (builds, skipped) = (call.kind == CallKind::Construct, call.kind.skips_queue());
        let running = Progress::Running { builds, skipped };
        let Progress::Waiting(call) = std::mem::replace(&mut self.progress, running) else {
            return None;
        };
        let values = self
            .cold_state_mut()
            .map(|cold_state| std::mem::take(&mut cold_state.values));
        let ready = ReadyCall {
            call,
            caller: self.caller,
            values: values.unwrap_or_default(),
            attempt: 0,
        };
        if ready.call.retries > 0 {
            self.cold_state().again = Some(Box::new(ready.clone()));
        }
        Some(ready)
    }
}

/// How a call ends that nobody wants any more.
pub(crate) fn cancelled() -> Arc<Outcome> {
    Outcome::Failed(Failure::new(
        FailureKind::Cancelled,
        "the call was cancelled",
    ))
    .into()
}

impl<H: Clone> Machine<H> {
    pub(crate) fn call_received(
        &mut self,
        from: RuntimeId,
        mut call: Box<Call>,
        actions: &mut Vec<Action<H>>,
    ) {
        let (task, tessera, kind) = (call.task, call.tessera, call.kind);
        if self.inbound.contains_key(&task) {
            return;
        }
        self.receive_references(from, &call.arguments.references, actions);
        let mut dependencies = std::mem::take(&mut call.dependencies);
        let uses = match kind {
            CallKind::ResultMethod(result) => Some(result),
            _ => None,
        };
        if let Some(result) = uses {
            let source = Source::At(self.config.me);
            dependencies.push(Dependency {
                slot: Slot::Order,
                task: result,
                part: Bytes::new(),
                kept: false,
                source,
            });
            if let Some(used) = self.inbound.get_mut(&result) {
                used.cold_state().users += 1;
            }
        }
        let uses = uses.filter(|result| self.inbound.contains_key(result));
        if kind == CallKind::Construct {
            self.hosted.insert(tessera, HostedTessera::new(&call));
            if from != self.config.me {
                self.references.add_holder(ObjectId::Tessera(tessera), from);
            }
        }
        let at_once = dependencies.is_empty()
            && match self.hosted.get_mut(&tessera) {
                Some(hosted) => hosted.starts_at_once(&call),
                None => self.is_unordered(tessera),
            };
        let mut inbound = InboundCall::new(from, call);
        inbound.missing = dependencies.len() as u32;
        if let Progress::Waiting(call) = &inbound.progress
            && !call.arguments.references.is_empty()
        {
            let references = call.arguments.references.clone();
            inbound.cold_state().references = references;
        }
        if let Some(subscribers) = self.expected.remove(&task) {
            inbound.cold_state().subscribers = subscribers;
        }
        if uses.is_some() {
            inbound.cold_state().uses = uses;
        }
        if at_once {
            actions.extend(inbound.start().map(Action::Run));
            self.inbound.insert(task, inbound);
            return;
        }
        self.inbound.insert(task, inbound);
        if tessera.is_keyed() {
            self.hosted
                .entry(tessera)
                .or_insert_with(|| HostedTessera::keyed(task));
        }
        if self.hosted.contains_key(&tessera) {
            self.enqueue(task, tessera);
        } else if !self.is_unordered(tessera) {
            self.call_came_early(tessera, task, actions);
        }
        if kind == CallKind::Construct {
            for early in self.early.remove(&tessera).into_iter().flatten() {
                self.enqueue(early, tessera);
            }
        }
        for dependency in dependencies {
            self.ask_for_argument(task, dependency, actions);
        }
        self.advance(task, tessera, actions);
    }

    /// Have the value, or the end, of a task that a call here waits for brought here.
    fn ask_for_argument(
        &mut self,
        call: TaskId,
        dependency: Dependency,
        actions: &mut Vec<Action<H>>,
    ) {
        let Dependency {
            slot,
            task,
            part,
            kept,
            source,
        } = dependency;
        match source {
            Source::Here(format, body) => {
                let value = Outcome::Value(Payload {
                    format,
                    body,
                    ..Payload::default()
                });
                self.argument_received(call, slot, part, value.into(), actions);
            }
            Source::At(place) | Source::Unresolved { authority: place } => {
                let value = slot != Slot::Order;
                let argument = Argument {
                    call,
                    slot,
                    part,
                    kept,
                };
                self.want(task, place, value, Subscriber::Argument(argument), actions);
            }
        }
    }

    /// Whether a call that came here has ended; not if it never came, or if its result is forgotten.
    pub fn has_ended_here(&self, task: TaskId) -> bool {
        self.inbound
            .get(&task)
            .is_some_and(|inbound| matches!(inbound.progress, Progress::Ended(_)))
    }

    /// Whether calls on that tessera have no order: this runtime's functions.
    pub(crate) fn is_unordered(&self, tessera: TesseraId) -> bool {
        tessera == TesseraId::functions(self.config.me)
    }

    /// A call of a tessera that is not built yet, from somebody who heard of it before this runtime did; or of
    /// one that is gone: its owner knows.
    fn call_came_early(&mut self, tessera: TesseraId, task: TaskId, actions: &mut Vec<Action<H>>) {
        let early = self.early.entry(tessera).or_default();
        early.push_back(task);
        if early.len() > 1 {
            return;
        }
        match self.members.cause(tessera.owner).map(str::to_owned) {
            Some(cause) => self.early_calls_fail(tessera, &cause, actions),
            None => self.send(tessera.owner, RulesMessage::Locate(tessera), actions),
        }
    }

    pub(crate) fn early_calls_fail(
        &mut self,
        tessera: TesseraId,
        reason: &str,
        actions: &mut Vec<Action<H>>,
    ) {
        for task in self.early.remove(&tessera).into_iter().flatten() {
            let failure = Failure::new(
                FailureKind::Stopped,
                format!("the tessera was stopped or freed: {reason}"),
            );
            self.end_call(task, Outcome::Failed(failure).into(), actions);
        }
    }

    /// A value that a call waited for is here, or will never be. What it refers to is held for the call.
    pub(crate) fn argument_received(
        &mut self,
        task: TaskId,
        slot: Slot,
        part: Bytes,
        outcome: Arc<Outcome>,
        actions: &mut Vec<Action<H>>,
    ) {
        let class = self
            .inbound
            .get(&task)
            .and_then(|inbound| self.hosted.get(&inbound.tessera))
            .map(|hosted| &hosted.class);
        let class = class.map_or_else(|| Arc::from(""), Arc::clone);
        let inbound = self.inbound.get_mut(&task);
        let Some((inbound, method)) = inbound.and_then(|inbound| match &inbound.progress {
            Progress::Waiting(call) => {
                Some(Arc::clone(&call.method)).map(|method| (inbound, method))
            }
            _ => None,
        }) else {
            self.drop_references(outcome.references().iter().copied());
            return;
        };
        match Arc::unwrap_or_clone(outcome) {
            Outcome::Value(value) => {
                inbound.missing -= 1;
                inbound.keep(&value.references);
                if slot != Slot::Order {
                    inbound.cold_state().values.push((slot, part, value));
                }
            }
            Outcome::Stored { .. } => inbound.missing -= 1,
            Outcome::Failed(failure) => {
                let failure = failure.through(describe(&slot, &class, &method));
                let references = failure.detail.references.clone();
                if inbound.builds() {
                    let tessera = inbound.tessera;
                    self.construction_ended(tessera, &Outcome::Failed(failure.clone()), actions);
                }
                self.end_call(task, Outcome::Failed(failure).into(), actions);
                // By now they are held for the end of this call.
                self.drop_references(references);
            }
        }
    }

    pub(crate) fn hand_over(
        &mut self,
        task: TaskId,
        tessera: TesseraId,
        actions: &mut Vec<Action<H>>,
    ) {
        let Some(inbound) = self.inbound.get_mut(&task) else {
            return;
        };
        let Some(ready) = inbound.start() else {
            return;
        };
        if let Some(hosted) = self.hosted.get_mut(&tessera) {
            hosted.started(&ready.call);
        }
        actions.push(Action::Run(ready));
    }
}
