//! Which call of a tessera runs next: the queues of callers, dispatch to the executor, and the end of a tessera.
//!
//! The records and their invariants are in [`crate::callee::tessera`].

use crate::call::{Call, CallKind, Failure, FailureKind, Outcome};
use crate::callee::Callee;
use crate::callee::call::Progress;
use crate::callee::tessera::{HostedTessera, State};
use crate::context::Internal;
use crate::event::Action;
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::payload::Payload;
use crate::wire::RulesMessage;

impl<H> Callee<H> {
    /// The call, if it has not started.
    pub(super) fn waiting(&self, task: TaskId) -> Option<&Call> {
        match &self.inbound.get(&task)?.progress {
            Progress::Waiting(call) => Some(call),
            _ => None,
        }
    }

    pub(super) fn is_ready(&self, task: TaskId) -> bool {
        self.inbound
            .get(&task)
            .is_some_and(|inbound| inbound.missing == 0)
    }

    /// A call takes its place.
    pub(super) fn enqueue(&mut self, task: TaskId, tessera: TesseraId) {
        let Some(caller) = self.inbound.get(&task).map(|inbound| inbound.caller) else {
            return;
        };
        let Some(kind) = self.waiting(task).map(|call| call.kind) else {
            return;
        };
        let Some(hosted) = self.hosted.get_mut(&tessera) else {
            return;
        };
        if kind.skips_queue() {
            hosted.skipping.push(task);
        } else if kind != CallKind::Construct {
            hosted
                .queues
                .entry(caller)
                .or_default()
                .calls
                .push_back(task);
            self.offer(caller, tessera);
        }
    }

    /// A call has all its arguments: see whether it, or others, can start.
    pub(super) fn advance(&mut self, task: TaskId, tessera: TesseraId) {
        let Some(hosted) = self.hosted.get(&tessera) else {
            if self.is_unordered(tessera) && self.is_ready(task) {
                self.start(task, tessera);
            }
            return;
        };
        let (listening, concurrent) = (matches!(hosted.state, State::Listening), hosted.concurrent);
        if let Some(call) = self.waiting(task)
            && self.is_ready(task)
            && let Some(caller) = self.inbound.get(&task).map(|inbound| inbound.caller)
        {
            let kind = call.kind;
            if listening && kind.skips_queue() {
                if let Some(hosted) = self.hosted.get_mut(&tessera) {
                    hosted.skipping.retain(|waiting| *waiting != task);
                }
                return self.start(task, tessera);
            }
            if listening
                && concurrent
                && kind != CallKind::Stop
                && !self.comes_after_a_stop(task, caller, tessera)
            {
                self.start(task, tessera);
            }
            self.offer(caller, tessera);
        }
        self.dispatch(tessera);
    }

    /// Whether its caller has sent a stop of the tessera before it.
    fn comes_after_a_stop(&self, task: TaskId, caller: RuntimeId, tessera: TesseraId) -> bool {
        let queue = self
            .hosted
            .get(&tessera)
            .and_then(|hosted| hosted.queues.get(&caller));
        let mut before = queue
            .into_iter()
            .flat_map(|queue| &queue.calls)
            .take_while(|waiting| **waiting != task);
        before.any(|waiting| {
            self.waiting(*waiting)
                .is_some_and(|call| call.kind == CallKind::Stop)
        })
    }

    /// Give a caller its turn if its next call can start.
    fn offer(&mut self, caller: RuntimeId, tessera: TesseraId) {
        let Some(hosted) = self.hosted.get_mut(&tessera) else {
            return;
        };
        let Some(queue) = hosted.queues.get_mut(&caller) else {
            return;
        };
        while let Some(inbound) = queue.calls.front().map(|first| self.inbound.get(first)) {
            match inbound {
                Some(inbound) if matches!(inbound.progress, Progress::Waiting(_)) => {
                    if inbound.missing == 0 && !queue.listed {
                        queue.listed = true;
                        hosted.runnable.push_back(caller);
                    }
                    return;
                }
                // It ended where it stood, or went past those before it.
                _ => drop(queue.calls.pop_front()),
            }
        }
        if !queue.listed {
            hosted.queues.remove(&caller);
        }
    }

    /// A call that waited has ended without a start: the one behind it may go.
    pub(super) fn leave_queue(&mut self, task: TaskId, caller: RuntimeId, tessera: TesseraId) {
        if let Some(hosted) = self.hosted.get_mut(&tessera) {
            hosted.skipping.retain(|waiting| *waiting != task);
        }
        self.offer(caller, tessera);
    }

    /// Dispatch the calls that may run now.
    pub(crate) fn dispatch(&mut self, tessera: TesseraId) {
        loop {
            let Some(hosted) = self.hosted.get_mut(&tessera) else {
                return;
            };
            match &hosted.state {
                State::Listening => {}
                State::Building => {
                    let construction = hosted.construction;
                    if self.is_ready(construction) && self.waiting(construction).is_some() {
                        if let Some(hosted) = self.hosted.get_mut(&tessera) {
                            hosted.alone = true;
                        }
                        self.start(construction, tessera);
                    }
                    return;
                }
                State::Failed(failure) => {
                    let failure = failure.clone();
                    self.refuse_waiting(tessera, &failure);
                    break;
                }
                State::Stopped => {
                    let message = format!("{} was stopped before this call", hosted.class);
                    self.refuse_waiting(tessera, &Failure::new(FailureKind::Stopped, message));
                    break;
                }
            }
            let Some(caller) = hosted.runnable.pop_front() else {
                break;
            };
            let Some(queue) = hosted.queues.get_mut(&caller) else {
                continue;
            };
            queue.listed = false;
            let Some(&task) = queue.calls.front() else {
                hosted.queues.remove(&caller);
                continue;
            };
            let Some(call) = self.waiting(task).filter(|_| self.is_ready(task)) else {
                self.offer(caller, tessera);
                continue;
            };
            let stop = call.kind == CallKind::Stop;
            let alone = stop || call.coroutine || call.retries > 0;
            let Some(hosted) = self.hosted.get_mut(&tessera) else {
                return;
            };
            let must_wait = if stop {
                hosted.is_busy()
            } else {
                hosted.is_full(alone) && !hosted.concurrent
            };
            let Some(queue) = hosted.queues.get_mut(&caller) else {
                continue;
            };
            if must_wait {
                queue.listed = true;
                hosted.runnable.push_front(caller);
                return;
            }
            queue.calls.pop_front();
            if stop {
                self.stop_tessera(tessera);
                self.end_call(task, Outcome::Value(Payload::default()).into());
                continue;
            }
            hosted.alone = alone && !hosted.concurrent;
            self.start(task, tessera);
            self.offer(caller, tessera);
        }
        self.free_if_unused(tessera);
    }

    /// Nothing that waits for this tessera will run.
    fn refuse_waiting(&mut self, tessera: TesseraId, failure: &Failure) {
        let Some(hosted) = self.hosted.get_mut(&tessera) else {
            return;
        };
        hosted.runnable.clear();
        let queues = std::mem::take(&mut hosted.queues)
            .into_values()
            .flat_map(|queue| queue.calls);
        let waiting: Vec<_> = std::mem::take(&mut hosted.skipping)
            .into_iter()
            .chain(queues)
            .collect();
        for task in waiting {
            if self.waiting(task).is_some() {
                let outcome = Outcome::Failed(Box::new(failure.clone()));
                self.end_call(task, outcome.into());
            }
        }
    }

    /// The construction has ended: the tessera listens, or never will.
    pub(super) fn construction_ended(&mut self, tessera: TesseraId, outcome: &Outcome) {
        let Some(hosted) = self.hosted.get_mut(&tessera) else {
            return;
        };
        if !matches!(hosted.state, State::Building) {
            return;
        }
        // Calls that come later fail as the construction did.
        if let Outcome::Failed(failure) = outcome {
            for reference in failure.references_beside(tessera) {
                self.results.references_mut().hold(reference);
            }
        }
        let Some(hosted) = self.hosted.get_mut(&tessera) else {
            return;
        };
        hosted.state = match outcome {
            Outcome::Failed(failure) => State::Failed(failure.clone()),
            _ => State::Listening,
        };
        let mut waiting = hosted.skipping.clone();
        if hosted.concurrent {
            waiting.extend(hosted.queues.values().flat_map(|queue| &queue.calls));
        }
        let callers: Vec<_> = hosted.queues.keys().copied().collect();
        if matches!(hosted.state, State::Listening) {
            for task in waiting {
                self.advance(task, tessera);
            }
        }
        for caller in callers {
            self.offer(caller, tessera);
        }
    }

    fn stop_tessera(&mut self, tessera: TesseraId) {
        let Some(hosted) = self.hosted.get_mut(&tessera) else {
            return;
        };
        hosted.state = State::Stopped;
        self.results.context_mut().act(Action::DropTessera(tessera));
        self.announce_freed(tessera);
    }

    fn announce_freed(&mut self, tessera: TesseraId) {
        let restartable = self
            .hosted
            .get(&tessera)
            .is_some_and(|hosted| hosted.restartable);
        self.results
            .context_mut()
            .send(RuntimeId::HEAD, RulesMessage::Freed(tessera));
        if restartable && tessera.owner != RuntimeId::HEAD {
            self.results
                .context_mut()
                .send(tessera.owner, RulesMessage::Freed(tessera));
        }
    }

    /// Free a tessera to which nothing refers and that has no calls, when the messages of this runtime to itself that
    /// were sent before have been handled: a call of its own may be among them (`QUEUE-1`).
    pub(crate) fn free_if_unused(&mut self, tessera: TesseraId) {
        if self.is_unused(tessera) {
            self.results
                .context_mut()
                .later(Internal::TesseraIdle(tessera));
        }
    }

    fn is_unused(&self, tessera: TesseraId) -> bool {
        let object = ObjectId::Tessera(tessera);
        self.hosted
            .get(&tessera)
            .is_some_and(HostedTessera::is_idle)
            && !self.results.references().has_holders(object)
            && !self.results.references().holds(object)
    }

    /// Free a tessera, if it is still unused.
    pub(crate) fn free(&mut self, tessera: TesseraId) {
        if !self.is_unused(tessera) {
            return;
        }
        let Some(hosted) = self.hosted.get(&tessera) else {
            return;
        };
        if !tessera.is_keyed() {
            let (listens, stopped) = (
                matches!(hosted.state, State::Listening),
                matches!(hosted.state, State::Stopped),
            );
            if listens {
                self.results.context_mut().act(Action::DropTessera(tessera));
            }
            if !stopped {
                self.announce_freed(tessera);
            }
        }
        if let Some(hosted) = self.hosted.remove(&tessera)
            && let State::Failed(failure) = hosted.state
        {
            let references = failure.references_beside(tessera);
            self.results.references_mut().drop_references(references);
        }
    }

    /// Whether a tessera lives here, or is about to.
    pub(crate) fn is_hosted_and_not_stopped(&self, tessera: TesseraId) -> bool {
        let hosted = self.hosted.get(&tessera);
        hosted.is_some_and(|hosted| !matches!(hosted.state, State::Stopped))
    }
}
