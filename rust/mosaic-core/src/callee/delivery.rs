//! Calls that arrive, and the values that they wait for.

use std::sync::Arc;

use bytes::Bytes;

use crate::call::{Call, CallKind, Dependency, Failure, FailureKind, Outcome, Slot, Source};
use crate::callee::Callee;
use crate::callee::call::{InboundCall, Progress};
use crate::callee::tessera::HostedTessera;
use crate::event::Action;
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::payload::Payload;
use crate::subscriber::{Argument, Subscriber};
use crate::wire::RulesMessage;

impl<H> Callee<H> {
    pub(crate) fn call_received(&mut self, from: RuntimeId, mut call: Box<Call>) {
        let (task, tessera, kind) = (call.task, call.tessera, call.kind);
        if self.inbound.contains_key(&task) {
            return;
        }
        self.results
            .references_mut()
            .receive_references(from, &call.arguments.references);
        let mut dependencies = std::mem::take(&mut call.dependencies);
        let uses = match kind {
            CallKind::ResultMethod(result) => Some(result),
            _ => None,
        };
        if let Some(result) = uses {
            let source = Source::At(self.results.context().me());
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
            if from != self.results.context().me() {
                self.results
                    .references_mut()
                    .add_holder(ObjectId::Tessera(tessera), from);
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
        let expecting = self.results.take_expected(task);
        if !expecting.is_empty() {
            inbound.cold_state().subscribers = expecting;
        }
        if uses.is_some() {
            inbound.cold_state().uses = uses;
        }
        if at_once {
            if let Some(ready) = inbound.start() {
                self.results.context_mut().act(Action::Run(ready));
            }
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
            self.call_came_early(tessera, task);
        }
        if kind == CallKind::Construct {
            for early in self.early.remove(&tessera).into_iter().flatten() {
                self.enqueue(early, tessera);
            }
        }
        for dependency in dependencies {
            self.ask_for_argument(task, dependency);
        }
        self.advance(task, tessera);
    }

    /// Have the value, or the end, of a task that a call here waits for brought here.
    fn ask_for_argument(&mut self, call: TaskId, dependency: Dependency) {
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
                self.argument_received(call, slot, part, value.into());
            }
            Source::At(place) | Source::Unresolved { authority: place } => {
                let value = slot != Slot::Order;
                let argument = Argument {
                    call,
                    slot,
                    part,
                    kept,
                };
                self.want(task, place, value, Subscriber::Argument(argument));
            }
        }
    }

    /// Whether a call that came here has ended; not if it never came, or if its result is forgotten.
    pub(crate) fn has_ended_here(&self, task: TaskId) -> bool {
        self.inbound
            .get(&task)
            .is_some_and(|inbound| matches!(inbound.progress, Progress::Ended(_)))
    }

    /// Whether calls on that tessera have no order: this runtime's functions.
    pub(super) fn is_unordered(&self, tessera: TesseraId) -> bool {
        tessera == TesseraId::functions(self.results.context().me())
    }

    /// A call of a tessera that is not built here yet, from a runtime that heard of it before this one did; or of one that
    /// is gone. Its owner knows.
    fn call_came_early(&mut self, tessera: TesseraId, task: TaskId) {
        let early = self.early.entry(tessera).or_default();
        early.push_back(task);
        if early.len() > 1 {
            return;
        }
        match self
            .results
            .context()
            .cause(tessera.owner)
            .map(str::to_owned)
        {
            Some(cause) => self.early_calls_fail(tessera, &cause),
            None => self
                .results
                .context_mut()
                .send(tessera.owner, RulesMessage::Locate(tessera)),
        }
    }

    pub(crate) fn early_calls_fail(&mut self, tessera: TesseraId, reason: &str) {
        for task in self.early.remove(&tessera).into_iter().flatten() {
            let failure = Failure::new(
                FailureKind::Stopped,
                format!("the tessera was stopped or freed: {reason}"),
            );
            self.end_call(task, Outcome::Failed(failure).into());
        }
    }

    /// The outcome for an argument has arrived: the call that waits for it may start.
    pub(crate) fn argument_arrived(&mut self, argument: Argument, outcome: Arc<Outcome>) {
        let Argument {
            call, slot, part, ..
        } = argument;
        self.argument_received(call, slot, part, outcome);
        if let Some(tessera) = self.inbound.get(&call).map(|inbound| inbound.tessera) {
            self.advance(call, tessera);
        }
    }

    /// Have the outcome of a task brought here for a call that waits for it.
    fn want(&mut self, task: TaskId, from: RuntimeId, value: bool, subscriber: Subscriber<H>) {
        let me = self.results.context().me();
        if from != me {
            return self.results.want(task, from, value, subscriber);
        }
        let Some(subscriber) = self.subscribe(task, value, subscriber) else {
            return;
        };
        if task.owner == me {
            // The caller has the record of the task.
            self.results.want(task, me, value, subscriber);
        } else {
            self.results.want_unknown(task, value, subscriber);
        }
    }

    /// Subscribe to the outcome of a call that has come here. Gives the subscriber back if there is no such call.
    pub(crate) fn subscribe(
        &mut self,
        task: TaskId,
        value: bool,
        subscriber: Subscriber<H>,
    ) -> Option<Subscriber<H>> {
        let Some(inbound) = self.inbound.get_mut(&task) else {
            return Some(subscriber);
        };
        let outcome = match &inbound.progress {
            _ if inbound.cancelled => Outcome::cancelled(),
            Progress::Ended(outcome) => Arc::clone(outcome),
            _ => {
                inbound.cold_state().subscribers.push((value, subscriber));
                return None;
            }
        };
        self.results.deliver(task, value, subscriber, &outcome);
        None
    }

    /// A value that a call waited for is here, or will never be. The references in it are held for the call.
    fn argument_received(&mut self, task: TaskId, slot: Slot, part: Bytes, outcome: Arc<Outcome>) {
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
            self.results
                .references_mut()
                .drop_references(outcome.references().iter().copied());
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
                let failure = failure.through(slot.describe(&class, &method));
                let references = failure.detail.references.clone();
                if inbound.builds() {
                    let tessera = inbound.tessera;
                    self.construction_ended(tessera, &Outcome::Failed(failure.clone()));
                }
                self.end_call(task, Outcome::Failed(failure).into());
                // By now they are held for the end of this call.
                self.results.references_mut().drop_references(references);
            }
        }
    }

    /// Dispatch a call to the executor, if it waits.
    pub(super) fn start(&mut self, task: TaskId, tessera: TesseraId) {
        let Some(inbound) = self.inbound.get_mut(&task) else {
            return;
        };
        let Some(ready) = inbound.start() else {
            return;
        };
        if let Some(hosted) = self.hosted.get_mut(&tessera) {
            hosted.started(&ready.call);
        }
        self.results.context_mut().act(Action::Run(ready));
    }
}
