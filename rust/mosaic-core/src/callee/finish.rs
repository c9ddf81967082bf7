//! How calls end at their host: run, retried or cancelled; and how long the host keeps their results.
//!
//! The records of the calls are in [`crate::callee::call`].

use std::collections::hash_map::Entry;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::call::{CallKind, Failure, FailureKind, Outcome, OutcomePart, ReadyCall};
use crate::callee::Callee;
use crate::callee::call::{InboundCall, Progress};
use crate::context::Internal;
use crate::event::{Action, Report};
use crate::id::{RuntimeId, TaskId};
use crate::payload::Payload;
use crate::subscriber::Subscriber;
use crate::wire::RulesMessage;

impl<H> Callee<H> {
    pub(crate) fn call_finished(&mut self, task: TaskId, outcome: Arc<Outcome>) {
        let Some(inbound) = self.inbound.get_mut(&task) else {
            return;
        };
        let Progress::Running { builds, skipped } = inbound.progress else {
            return;
        };
        let tessera = inbound.tessera;
        if let Outcome::Failed(failure) = &*outcome
            && failure.kind == FailureKind::Raised
            && !inbound.cancelled
            && let Some(again) = inbound
                .cold_state_mut()
                .and_then(|cold_state| cold_state.again.as_mut())
                .filter(|again| again.attempt < again.call.retries)
        {
            again.attempt += 1;
            let ready = (**again).clone();
            self.report_retry(&ready, failure);
            self.results.context_mut().act(Action::Run(ready));
            return;
        }
        if let Some(hosted) = self.hosted.get_mut(&tessera) {
            hosted.ended(skipped);
        }
        if builds {
            self.construction_ended(tessera, &outcome);
        }
        self.end_call(task, outcome);
        self.dispatch(tessera);
    }

    fn report_retry(&mut self, ready: &ReadyCall, failure: &Failure) {
        let class = self
            .hosted
            .get(&ready.call.tessera)
            .map_or("", |hosted| &hosted.class);
        let what = match ready.call.kind {
            CallKind::Construct | CallKind::Function => ready.call.method.to_string(),
            _ => format!("{class}.{}", ready.call.method),
        };
        let (attempt, of, message) = (ready.attempt, ready.call.retries, failure.message.clone());
        self.results
            .context_mut()
            .act(Action::Report(Report::Retried {
                what,
                attempt,
                of,
                message,
            }));
    }

    /// A call that came here has ended, whether it ran or not.
    pub(super) fn end_call(&mut self, task: TaskId, outcome: Arc<Outcome>) {
        let Some(inbound) = self.inbound.get_mut(&task) else {
            return;
        };
        if matches!(inbound.progress, Progress::Ended(_)) {
            return;
        }
        let outcome = if inbound.cancelled {
            Outcome::cancelled()
        } else {
            outcome
        };
        let waited = matches!(inbound.progress, Progress::Waiting(_));
        inbound.progress = Progress::Ended(Arc::clone(&outcome));
        let (caller, silent, tessera) = (
            inbound.caller,
            inbound.cancelled || inbound.released,
            inbound.tessera,
        );
        let done_with = inbound.cold_state_mut().map(|cold_state| {
            cold_state.again = None;
            cold_state.values = Vec::new();
            (
                std::mem::take(&mut cold_state.references),
                std::mem::take(&mut cold_state.subscribers),
                cold_state.uses.take(),
            )
        });
        inbound.keep(outcome.references());
        for reference in outcome.references() {
            self.results.references_mut().hold(*reference);
        }
        if !silent {
            let outcome = self.results.outcome_to_send(&outcome, caller, false);
            self.results.context_mut().send(
                caller,
                RulesMessage::Completed {
                    task,
                    part: OutcomePart::WHOLE,
                    outcome,
                },
            );
        }
        if let Some((arguments, subscribers, uses)) = done_with {
            for (value, subscriber) in subscribers {
                self.results.deliver(task, value, subscriber, &outcome);
            }
            self.results.references_mut().drop_references(arguments);
            if let Some(used) = uses {
                if let Some(result) = self.inbound.get_mut(&used) {
                    let cold_state = result.cold_state();
                    cold_state.users = cold_state.users.saturating_sub(1);
                }
                self.drop_result_if_released(used);
            }
        }
        if waited {
            self.leave_queue(task, caller, tessera);
            self.results
                .context_mut()
                .later(Internal::TesseraReady(tessera));
        }
        if silent {
            self.drop_result_if_released(task);
        }
    }

    /// The value of a call that ended here, as long as its owner has not released it.
    pub(crate) fn result_here(&self, task: TaskId) -> Option<Payload> {
        match &self.inbound.get(&task)?.progress {
            Progress::Ended(outcome) => match &**outcome {
                Outcome::Value(value) => Some(value.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    /// The owner has released the result of a call that it sent here.
    pub(crate) fn result_released(&mut self, task: TaskId) {
        if let Some(inbound) = self.inbound.get_mut(&task) {
            inbound.released = true;
            self.drop_result_if_released(task);
        }
    }

    fn drop_result_if_released(&mut self, task: TaskId) {
        let Entry::Occupied(entry) = self.inbound.entry(task) else {
            return;
        };
        let inbound = entry.get();
        let used = || {
            inbound
                .cold_state
                .as_ref()
                .is_some_and(|cold_state| cold_state.users > 0)
        };
        if !inbound.released || !matches!(inbound.progress, Progress::Ended(_)) || used() {
            return;
        }
        let inbound = entry.remove();
        self.results.context_mut().act(Action::DropResult(task));
        if let Some(cold_state) = inbound.cold_state {
            self.results
                .references_mut()
                .drop_references(cold_state.references);
        }
    }

    /// The owner cancels a call.
    pub(crate) fn cancel_received(&mut self, task: TaskId) {
        let Some(inbound) = self.inbound.get(&task) else {
            return;
        };
        match &inbound.progress {
            Progress::Ended(_) => {}
            Progress::Waiting(_) => self.end_unstarted(task, Outcome::cancelled()),
            Progress::Running { .. } => self.results.context_mut().act(Action::Revoke(task)),
        }
    }

    /// A call that was cancelled runs already: its caller gets a failure now, and its outcome will be dropped.
    pub(crate) fn call_is_running(&mut self, task: TaskId) {
        let Some(inbound) = self.inbound.get_mut(&task) else {
            return;
        };
        if inbound.cancelled || !matches!(inbound.progress, Progress::Running { .. }) {
            return;
        }
        inbound.cancelled = true;
        let (caller, released) = (inbound.caller, inbound.released);
        let subscribers = inbound
            .cold_state_mut()
            .map(|cold_state| std::mem::take(&mut cold_state.subscribers));
        let failure = Failure::new(
            FailureKind::Cancelled,
            "the call was cancelled while it ran",
        );
        let outcome = Arc::new(Outcome::Failed(failure));
        if !released {
            let outcome = Arc::clone(&outcome);
            self.results.context_mut().send(
                caller,
                RulesMessage::Completed {
                    task,
                    part: OutcomePart::WHOLE,
                    outcome,
                },
            );
        }
        for (value, subscriber) in subscribers.into_iter().flatten() {
            self.results.deliver(task, value, subscriber, &outcome);
        }
    }

    /// A call ends before its turn; its tessera, if it was to be built by it, never will be.
    fn end_unstarted(&mut self, task: TaskId, outcome: Arc<Outcome>) {
        if let Some(inbound) = self.inbound.get(&task)
            && inbound.builds()
        {
            self.construction_ended(inbound.tessera, &outcome);
        }
        self.end_call(task, outcome);
    }

    /// `LINK-1`: calls of a peer whose connection was lost are not started any more, and the outcomes of those that run are
    /// dropped. The results of those that have ended stay until the peer's recount does not name them.
    pub(crate) fn calls_abandoned(&mut self, peer: RuntimeId, cause: &str) {
        for task in self.calls_of(peer) {
            let Some(inbound) = self.inbound.get_mut(&task) else {
                continue;
            };
            if matches!(inbound.progress, Progress::Ended(_)) {
                continue;
            }
            inbound.released = true;
            if matches!(inbound.progress, Progress::Waiting(_)) {
                let failure = Failure::new(FailureKind::ConnectionLost, cause);
                self.end_unstarted(task, Outcome::Failed(failure).into());
            } else {
                self.results.context_mut().act(Action::Prevent(task));
            }
        }
    }

    /// Calls from a dead runtime are not started any more; what they would have left is dropped.
    pub(crate) fn caller_died(&mut self, dead: RuntimeId, cause: &str) {
        for task in self.calls_of(dead) {
            let Some(inbound) = self.inbound.get_mut(&task) else {
                continue;
            };
            inbound.released = true;
            match &inbound.progress {
                Progress::Waiting(_) => {
                    let failure = Failure::new(FailureKind::Disconnected, cause);
                    self.end_unstarted(task, Outcome::Failed(failure).into());
                }
                Progress::Running { .. } => {}
                Progress::Ended(_) => self.drop_result_if_released(task),
            }
        }
        let orphans: Vec<_> = self
            .early
            .keys()
            .filter(|tessera| tessera.owner == dead)
            .copied()
            .collect();
        for tessera in orphans {
            self.early_calls_fail(tessera, cause);
        }
    }

    /// `LINK-3`: the results of a peer's calls that its recount does not name are not needed any more.
    pub(crate) fn results_recounted(&mut self, peer: RuntimeId, held: &FxHashSet<TaskId>) {
        for task in self.calls_of(peer) {
            if !held.contains(&task) {
                self.result_released(task);
            }
        }
    }

    /// This runtime stops: the handles that wait for the ends of calls here complete with this outcome.
    pub(crate) fn stop(&mut self, outcome: &Arc<Outcome>) {
        self.results.stop(outcome);
        let waiting = self
            .inbound
            .values_mut()
            .filter_map(InboundCall::cold_state_mut)
            .flat_map(|cold_state| std::mem::take(&mut cold_state.subscribers));
        let waiting: Vec<_> = waiting.map(|(_, subscriber)| subscriber).collect();
        for subscriber in waiting {
            if let Subscriber::Handle(handle) = subscriber {
                self.results
                    .context_mut()
                    .complete(handle, Arc::clone(outcome));
            }
        }
    }
}
