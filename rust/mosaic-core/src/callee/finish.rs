//! How calls end at their host: run, retried or cancelled; and how long the host keeps their results.
//!
//! The records of the calls are in [`crate::callee::call`].

use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::call::{CallKind, Failure, FailureKind, Outcome, ReadyCall};
use crate::callee::call::{Progress, cancelled};
use crate::event::{Action, Report};
use crate::id::{RuntimeId, TaskId};
use crate::machine::{Internal, Machine};
use crate::payload::Payload;
use crate::wire::RulesMessage;

impl<H: Clone> Machine<H> {
    pub(crate) fn call_finished(
        &mut self,
        task: TaskId,
        outcome: Arc<Outcome>,
        actions: &mut Vec<Action<H>>,
    ) {
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
        outcome: Arc<Outcome>,
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
            self.hold(*reference, actions);
        }
        if !silent {
            let outcome = self.outcome_to_send(&outcome, caller, false);
            self.send(caller, RulesMessage::Completed { task, outcome }, actions);
        }
        if let Some((arguments, subscribers, uses)) = done_with {
            for (value, subscriber) in subscribers {
                self.deliver(task, value, subscriber, &outcome, actions);
            }
            self.drop_references(arguments);
            if let Some(used) = uses {
                if let Some(result) = self.inbound.get_mut(&used) {
                    let cold_state = result.cold_state();
                    cold_state.users = cold_state.users.saturating_sub(1);
                }
                self.drop_result_if_released(used, actions);
            }
        }
        if waited {
            self.leave_queue(task, caller, tessera);
            self.internal.push_back(Internal::TesseraReady(tessera));
        }
        if silent {
            self.drop_result_if_released(task, actions);
        }
    }

    /// The value of a call that ended here, as long as its owner has not let go of it.
    pub fn result_here(&self, task: TaskId) -> Option<Payload> {
        match &self.inbound.get(&task)?.progress {
            Progress::Ended(outcome) => match &**outcome {
                Outcome::Value(value) => Some(value.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    /// The owner has let go of the result of a call that it sent here.
    pub(crate) fn result_released(&mut self, task: TaskId, actions: &mut Vec<Action<H>>) {
        if let Some(inbound) = self.inbound.get_mut(&task) {
            inbound.released = true;
            self.drop_result_if_released(task, actions);
        }
    }

    fn drop_result_if_released(&mut self, task: TaskId, actions: &mut Vec<Action<H>>) {
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
        actions.push(Action::DropResult(task));
        if let Some(cold_state) = inbound.cold_state {
            self.drop_references(cold_state.references);
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
    pub(crate) fn call_is_running(&mut self, task: TaskId, actions: &mut Vec<Action<H>>) {
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
            self.send(caller, RulesMessage::Completed { task, outcome }, actions);
        }
        for (value, subscriber) in subscribers.into_iter().flatten() {
            self.deliver(task, value, subscriber, &outcome, actions);
        }
    }

    /// A call ends before its turn; its tessera, if it was to be built by it, never will be.
    fn end_unstarted(&mut self, task: TaskId, outcome: Arc<Outcome>, actions: &mut Vec<Action<H>>) {
        if let Some(inbound) = self.inbound.get(&task)
            && inbound.builds()
        {
            self.construction_ended(inbound.tessera, &outcome, actions);
        }
        self.end_call(task, outcome, actions);
    }

    /// `LINK-1`: calls of a peer whose connection was lost are not started any more, and whoever runs them tells nobody how
    /// they end. The results of those that have ended stay until it says that it does not need them.
    pub(crate) fn calls_abandoned(
        &mut self,
        peer: RuntimeId,
        cause: &str,
        actions: &mut Vec<Action<H>>,
    ) {
        let theirs = self.inbound.iter().filter(|(_, inbound)| {
            inbound.caller == peer && !matches!(inbound.progress, Progress::Ended(_))
        });
        let mut theirs: Vec<_> = theirs.map(|(task, _)| *task).collect();
        theirs.sort_unstable();
        for task in theirs {
            let Some(inbound) = self.inbound.get_mut(&task) else {
                continue;
            };
            inbound.released = true;
            if matches!(inbound.progress, Progress::Waiting(_)) {
                let failure = Failure::new(FailureKind::ConnectionLost, cause);
                self.end_unstarted(task, Outcome::Failed(failure).into(), actions);
            } else {
                actions.push(Action::Prevent(task));
            }
        }
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
                    self.end_unstarted(task, Outcome::Failed(failure).into(), actions);
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
