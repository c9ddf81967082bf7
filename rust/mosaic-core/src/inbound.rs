//! Calls that came here: their arguments, their run, their result, until the owner lets go of it.

use std::sync::Arc;

use bytes::Bytes;

use crate::call::{
    Call, CallKind, Dependency, Failure, FailureKind, Outcome, ReadyCall, Slot, Source,
};
use crate::event::{Action, Report};
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::machine::Machine;
use crate::outcome::{Argument, Wanter};
use crate::payload::{Payload, Reference};
use crate::task::describe;
use crate::tessera::Hosted;
use crate::wire::Message;

/// Where a call that came here stands.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Waits for its turn and its arguments.
    Waiting(Box<Call>),
    /// Handed over.
    Running {
        /// It builds its tessera.
        builds: bool,
        /// It skipped the lines of its tessera.
        skipped: bool,
    },
    /// Has ended; the owner has not let go of the result.
    Ended(Outcome),
}

/// A call that came here.
#[derive(Debug)]
pub(crate) struct Inbound<H> {
    pub(crate) caller: RuntimeId,
    pub(crate) tessera: TesseraId,
    pub(crate) progress: Progress,
    /// Arguments that are still to come.
    pub(crate) missing: usize,
    values: Vec<(Slot, Bytes, Payload)>,
    /// References inside arguments; after the end, inside the result.
    references: Vec<Reference>,
    pub(crate) wanters: Vec<(bool, Wanter<H>)>,
    /// Nobody wants to know how it ends.
    pub(crate) cancelled: bool,
    /// The owner has let go of the result.
    released: bool,
    /// Calls of methods of the result that have not ended.
    users: usize,
    /// The result that this call needs alive.
    uses: Option<TaskId>,
    /// For a call that may be repeated: what to hand over again.
    again: Option<Box<ReadyCall>>,
}

/// How a call ends that nobody wants any more.
pub(crate) fn cancelled() -> Outcome {
    Outcome::Failed(Failure::new(
        FailureKind::Cancelled,
        "the call was cancelled",
    ))
}

impl<H: Clone> Machine<H> {
    pub(crate) fn call_received(
        &mut self,
        from: RuntimeId,
        mut call: Call,
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
                source,
            });
            if let Some(used) = self.inbound.get_mut(&result) {
                used.users += 1;
            }
        }
        let uses = uses.filter(|result| self.inbound.contains_key(result));
        if kind == CallKind::Construct {
            self.hosted.insert(tessera, Hosted::new(&call));
            if from != self.config.me {
                self.references.add_holder(ObjectId::Tessera(tessera), from);
            }
        }
        let inbound = Inbound {
            caller: from,
            tessera,
            missing: dependencies.len(),
            values: Vec::with_capacity(dependencies.len()),
            references: call.arguments.references.clone(),
            wanters: self.expected.remove(&task).unwrap_or_default(),
            cancelled: false,
            released: false,
            users: 0,
            uses,
            again: None,
            progress: Progress::Waiting(Box::new(call)),
        };
        self.inbound.insert(task, inbound);
        if tessera.is_keyed() {
            self.hosted
                .entry(tessera)
                .or_insert_with(|| Hosted::keyed(task));
        }
        if self.hosted.contains_key(&tessera) {
            self.line_up(task, tessera);
        } else if !self.is_unordered(tessera) {
            self.came_early(tessera, task, actions);
        }
        if kind == CallKind::Construct {
            for early in self.early.remove(&tessera).into_iter().flatten() {
                self.line_up(early, tessera);
            }
        }
        for Dependency {
            slot,
            task: needed,
            part,
            source,
        } in dependencies
        {
            match source {
                Source::Here(format, body) => {
                    let value = Outcome::Value(Payload {
                        format,
                        body,
                        ..Payload::default()
                    });
                    self.argument_came(task, slot, part, value, actions);
                }
                Source::At(place) | Source::Unresolved { authority: place } => {
                    let value = slot != Slot::Order;
                    self.want(
                        needed,
                        place,
                        value,
                        Wanter::Argument(Argument {
                            call: task,
                            slot,
                            part,
                        }),
                        actions,
                    );
                }
            }
        }
        self.advance(task, tessera, actions);
    }

    /// Whether calls on that tessera have no order: this runtime's functions.
    pub(crate) fn is_unordered(&self, tessera: TesseraId) -> bool {
        tessera == TesseraId::functions(self.config.me)
    }

    /// A call of a tessera that is not built yet, from somebody who heard of it before this runtime did; or of
    /// one that is gone: its owner knows.
    fn came_early(&mut self, tessera: TesseraId, task: TaskId, actions: &mut Vec<Action<H>>) {
        let early = self.early.entry(tessera).or_default();
        early.push_back(task);
        if early.len() > 1 {
            return;
        }
        match self.members.cause(tessera.owner).map(str::to_owned) {
            Some(cause) => self.early_calls_fail(tessera, &cause, actions),
            None => self.send(tessera.owner, Message::Locate(tessera), actions),
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
            self.end_call(task, Outcome::Failed(failure), actions);
        }
    }

    /// A value that a call waited for is here, or will never be. What it refers to is held for the call.
    pub(crate) fn argument_came(
        &mut self,
        task: TaskId,
        slot: Slot,
        part: Bytes,
        outcome: Outcome,
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
            if let Outcome::Value(value) = outcome {
                self.drop_references(value.references);
            }
            return;
        };
        match outcome {
            Outcome::Value(value) => {
                inbound.missing -= 1;
                inbound.references.extend(&value.references);
                if slot != Slot::Order {
                    inbound.values.push((slot, part, value));
                }
            }
            Outcome::Stored { .. } => inbound.missing -= 1,
            Outcome::Failed(failure) => {
                let failure = failure.through(describe(&slot, &class, &method));
                if inbound_builds(inbound) {
                    let tessera = inbound.tessera;
                    self.construction_ended(tessera, &Outcome::Failed(failure.clone()), actions);
                }
                self.end_call(task, Outcome::Failed(failure), actions);
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
        let Progress::Waiting(call) = &inbound.progress else {
            return;
        };
        let (builds, skipped) = (call.kind == CallKind::Construct, call.kind.skips_queue());
        let running = Progress::Running { builds, skipped };
        let Progress::Waiting(call) = std::mem::replace(&mut inbound.progress, running) else {
            return;
        };
        if let Some(hosted) = self.hosted.get_mut(&tessera) {
            hosted.started(&call);
        }
        let values = std::mem::take(&mut inbound.values);
        let ready = ReadyCall {
            call: *call,
            caller: inbound.caller,
            values,
            attempt: 0,
        };
        if ready.call.retries > 0 {
            inbound.again = Some(Box::new(ready.clone()));
        }
        actions.push(Action::Run(ready));
    }

    pub(crate) fn call_finished(
        &mut self,
        task: TaskId,
        outcome: Outcome,
        actions: &mut Vec<Action<H>>,
    ) {
        let Some(inbound) = self.inbound.get_mut(&task) else {
            return;
        };
        let Progress::Running { builds, skipped } = inbound.progress else {
            return;
        };
        let tessera = inbound.tessera;
        if let Outcome::Failed(failure) = &outcome
            && failure.kind == FailureKind::Raised
            && !inbound.cancelled
            && let Some(again) = inbound
                .again
                .as_mut()
                .filter(|again| again.attempt < again.call.retries)
        {
            again.attempt += 1;
            let ready = (**again).clone();
            self.report_retry(&ready, failure, actions);
            actions.push(Action::Run(ready));
            return;
        }
        if let Some(hosted) = self.hosted.get_mut(&tessera) {
            hosted.ended(skipped);
        }
        if builds {
            self.construction_ended(tessera, &outcome, actions);
        }
        self.end_call(task, outcome, actions);
        self.dispatch(tessera, actions);
    }

    fn report_retry(&self, ready: &ReadyCall, failure: &Failure, actions: &mut Vec<Action<H>>) {
        let class = self
            .hosted
            .get(&ready.call.tessera)
            .map_or("", |hosted| &hosted.class);
        let what = match ready.call.kind {
            CallKind::Construct | CallKind::Function => ready.call.method.to_string(),
            _ => format!("{class}.{}", ready.call.method),
        };
        let (attempt, of, message) = (ready.attempt, ready.call.retries, failure.message.clone());
        actions.push(Action::Report(Report::Retried {
            what,
            attempt,
            of,
            message,
        }));
    }

    /// A call that came here has ended, whether it ran or not.
    pub(crate) fn end_call(
        &mut self,
        task: TaskId,
        outcome: Outcome,
        actions: &mut Vec<Action<H>>,
    ) {
        let Some(inbound) = self.inbound.get_mut(&task) else {
            return;
        };
        if matches!(inbound.progress, Progress::Ended(_)) {
            return;
        }
        let outcome = if inbound.cancelled {
            cancelled()
        } else {
            outcome
        };
        let waited = matches!(inbound.progress, Progress::Waiting(_));
        inbound.progress = Progress::Ended(outcome.clone());
        inbound.again = None;
        inbound.values = Vec::new();
        let arguments = std::mem::take(&mut inbound.references);
        let wanters = std::mem::take(&mut inbound.wanters);
        let uses = inbound.uses.take();
        if let Outcome::Value(value) = &outcome {
            inbound.references.clone_from(&value.references);
        }
        let (caller, silent, tessera) = (
            inbound.caller,
            inbound.cancelled || inbound.released,
            inbound.tessera,
        );
        if let Outcome::Value(value) = &outcome {
            for reference in &value.references {
                self.hold(*reference, actions);
            }
        }
        if !silent {
            let outcome = self.for_travel(&outcome, caller, false);
            self.send(caller, Message::Settled { task, outcome }, actions);
        }
        for (value, wanter) in wanters {
            self.deliver(task, value, wanter, &outcome, actions);
        }
        self.drop_references(arguments);
        if let Some(used) = uses {
            if let Some(result) = self.inbound.get_mut(&used) {
                result.users = result.users.saturating_sub(1);
            }
            self.drop_result_if_released(used, actions);
        }
        if waited {
            self.left_the_line(task, caller, tessera);
            self.to_dispatch.push_back(tessera);
        }
        self.drop_result_if_released(task, actions);
    }

    /// The owner has let go of the result of a call that it sent here.
    pub(crate) fn result_released(&mut self, task: TaskId, actions: &mut Vec<Action<H>>) {
        if let Some(inbound) = self.inbound.get_mut(&task) {
            inbound.released = true;
            self.drop_result_if_released(task, actions);
        }
    }

    fn drop_result_if_released(&mut self, task: TaskId, actions: &mut Vec<Action<H>>) {
        let Some(inbound) = self.inbound.get(&task) else {
            return;
        };
        if !inbound.released || inbound.users > 0 || !matches!(inbound.progress, Progress::Ended(_))
        {
            return;
        }
        if let Some(inbound) = self.inbound.remove(&task) {
            actions.push(Action::DropResult(task));
            self.drop_references(inbound.references);
        }
    }

    /// The owner does not want a call any more.
    pub(crate) fn cancel_received(&mut self, task: TaskId, actions: &mut Vec<Action<H>>) {
        let Some(inbound) = self.inbound.get(&task) else {
            return;
        };
        match &inbound.progress {
            Progress::Ended(_) => {}
            Progress::Waiting(_) => self.end_unstarted(task, cancelled(), actions),
            Progress::Running { .. } => actions.push(Action::Revoke(task)),
        }
    }

    /// A call that was cancelled runs already: its caller is told, and its end will be dropped.
    pub(crate) fn call_runs_on(&mut self, task: TaskId, actions: &mut Vec<Action<H>>) {
        let Some(inbound) = self.inbound.get_mut(&task) else {
            return;
        };
        if inbound.cancelled || !matches!(inbound.progress, Progress::Running { .. }) {
            return;
        }
        inbound.cancelled = true;
        let (caller, released) = (inbound.caller, inbound.released);
        let wanters = std::mem::take(&mut inbound.wanters);
        let failure = Failure::new(
            FailureKind::Cancelled,
            "the call was cancelled while it ran",
        );
        let outcome = Outcome::Failed(failure);
        if !released {
            self.send(
                caller,
                Message::Settled {
                    task,
                    outcome: outcome.clone(),
                },
                actions,
            );
        }
        for (value, wanter) in wanters {
            self.deliver(task, value, wanter, &outcome, actions);
        }
    }

    /// A call ends before its turn; its tessera, if it was to be built by it, never will be.
    fn end_unstarted(&mut self, task: TaskId, outcome: Outcome, actions: &mut Vec<Action<H>>) {
        if let Some(inbound) = self.inbound.get(&task)
            && inbound_builds(inbound)
        {
            self.construction_ended(inbound.tessera, &outcome, actions);
        }
        self.end_call(task, outcome, actions);
    }

    /// Calls from a dead runtime are not started any more; what they would have left is dropped.
    pub(crate) fn caller_died(
        &mut self,
        dead: RuntimeId,
        cause: &str,
        actions: &mut Vec<Action<H>>,
    ) {
        let mut theirs: Vec<_> = self
            .inbound
            .iter()
            .filter(|(_, inbound)| inbound.caller == dead)
            .map(|(task, _)| *task)
            .collect();
        theirs.sort_unstable();
        for task in theirs {
            let Some(inbound) = self.inbound.get_mut(&task) else {
                continue;
            };
            inbound.released = true;
            match &inbound.progress {
                Progress::Waiting(_) => {
                    let failure = Failure::new(FailureKind::Disconnected, cause);
                    self.end_unstarted(task, Outcome::Failed(failure), actions);
                }
                Progress::Running { .. } => {}
                Progress::Ended(_) => self.drop_result_if_released(task, actions),
            }
        }
        let orphans: Vec<_> = self
            .early
            .keys()
            .filter(|tessera| tessera.owner == dead)
            .copied()
            .collect();
        for tessera in orphans {
            self.early_calls_fail(tessera, cause, actions);
        }
    }
}

fn inbound_builds<H>(inbound: &Inbound<H>) -> bool {
    matches!(&inbound.progress, Progress::Waiting(call) if call.kind == CallKind::Construct)
}
