//! Tesserae that live in this runtime, and the order of their calls.
//!
//! - `TESS-1`: calls of one caller start in the order in which they were sent, each at most once.
//! - `TESS-2`: a coroutine call of a tessera that is not concurrent runs alone. Plain calls are dispatched many at a time,
//!   because the executor runs them one after another. A call that may be retried runs alone, so that its retry precedes
//!   later calls.
//! - `TESS-3`: each caller has its own queue, and a call that waits for arguments blocks only the queue of its caller.
//!   Otherwise two callers could deadlock: the awaited argument may be the result of a call on the same tessera that
//!   another caller sent later.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::call::{Call, CallKind, Failure, FailureKind, Outcome};
use crate::callee::call::Progress;
use crate::event::Action;
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::machine::Machine;
use crate::payload::{Payload, Reference};
use crate::wire::RulesMessage;

/// Plain calls of one tessera that may be dispatched and not ended at a time.
const MAX_DISPATCHED: usize = 4096;

#[derive(Debug)]
pub(crate) enum State {
    Building,
    Listening,
    Failed(Box<Failure>),
    Stopped,
}

/// The calls of one caller that have not started.
#[derive(Debug, Default)]
struct CallerQueue {
    calls: VecDeque<TaskId>,
    /// Whether it is among the runnable.
    listed: bool,
}

/// A tessera that lives here.
#[derive(Debug)]
pub(crate) struct HostedTessera {
    pub(crate) state: State,
    pub(crate) class: Arc<str>,
    concurrent: bool,
    restartable: bool,
    /// The call that builds it.
    construction: TaskId,
    queues: BTreeMap<RuntimeId, CallerQueue>,
    /// The callers whose first call may have all its arguments.
    runnable: VecDeque<RuntimeId>,
    /// Calls that bypass the queues and cannot start yet.
    skipping: Vec<TaskId>,
    /// Calls from the queues that were dispatched and have not ended.
    running: usize,
    /// Calls that bypassed the queues and run.
    skipped: usize,
    /// Whether the call that runs excludes all others.
    alone: bool,
}

impl HostedTessera {
    pub(crate) fn new(construction: &Call) -> Self {
        Self {
            state: State::Building,
            class: Arc::clone(&construction.method),
            concurrent: construction.construction.concurrent,
            restartable: construction.construction.restartable,
            construction: construction.task,
            queues: BTreeMap::new(),
            runnable: VecDeque::new(),
            skipping: Vec::new(),
            running: 0,
            skipped: 0,
            alone: false,
        }
    }

    /// Whether a call that has all its arguments starts here and now, nobody being before it; then it has.
    pub(crate) fn starts_at_once(&mut self, call: &Call) -> bool {
        let alone = call.coroutine || call.retries > 0;
        if !matches!(self.state, State::Listening)
            || !self.queues.is_empty()
            || call.kind == CallKind::Stop
            || call.kind.skips_queue()
            || (!self.concurrent && self.is_full(alone))
        {
            return false;
        }
        self.alone = alone && !self.concurrent;
        self.started(call);
        true
    }

    /// Whether a call of a tessera that is not concurrent has to wait; one that has to be alone for all others.
    fn is_full(&self, alone: bool) -> bool {
        self.running >= MAX_DISPATCHED || self.running > 0 && (self.alone || alone)
    }

    /// The one for the functions of a key, which nobody builds: it is here with its first call and goes with the last.
    pub(crate) fn keyed(first: TaskId) -> Self {
        Self {
            state: State::Listening,
            class: Arc::from(""),
            concurrent: false,
            restartable: false,
            construction: first,
            queues: BTreeMap::new(),
            runnable: VecDeque::new(),
            skipping: Vec::new(),
            running: 0,
            skipped: 0,
            alone: false,
        }
    }

    /// A call was handed over.
    pub(crate) fn started(&mut self, call: &Call) {
        if call.kind.skips_queue() {
            self.skipped += 1;
        } else {
            self.running += 1;
        }
    }

    /// A call that was handed over has ended.
    pub(crate) fn ended(&mut self, skipped: bool) {
        if skipped {
            self.skipped -= 1;
        } else {
            self.running -= 1;
            self.alone &= self.running > 0;
        }
    }

    fn is_busy(&self) -> bool {
        self.running + self.skipped > 0
    }
}

impl<H: Clone> Machine<H> {
    /// The call, if it has not started.
    fn waiting(&self, task: TaskId) -> Option<&Call> {
        match &self.inbound.get(&task)?.progress {
            Progress::Waiting(call) => Some(call),
            _ => None,
        }
    }

    fn is_ready(&self, task: TaskId) -> bool {
        self.inbound
            .get(&task)
            .is_some_and(|inbound| inbound.missing == 0)
    }

    /// A call takes its place.
    pub(crate) fn enqueue(&mut self, task: TaskId, tessera: TesseraId) {
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
    pub(crate) fn advance(
        &mut self,
        task: TaskId,
        tessera: TesseraId,
        actions: &mut Vec<Action<H>>,
    ) {
        let Some(hosted) = self.hosted.get(&tessera) else {
            if self.is_unordered(tessera) && self.is_ready(task) {
                self.hand_over(task, tessera, actions);
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
                return self.hand_over(task, tessera, actions);
            }
            if listening
                && concurrent
                && kind != CallKind::Stop
                && !self.comes_after_a_stop(task, caller, tessera)
            {
                self.hand_over(task, tessera, actions);
            }
            self.offer(caller, tessera);
        }
        self.dispatch(tessera, actions);
    }

    /// Whether its caller has asked before it that the tessera stop.
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
    pub(crate) fn leave_queue(&mut self, task: TaskId, caller: RuntimeId, tessera: TesseraId) {
        if let Some(hosted) = self.hosted.get_mut(&tessera) {
            hosted.skipping.retain(|waiting| *waiting != task);
        }
        self.offer(caller, tessera);
    }

    /// Hand over what may run now.
    pub(crate) fn dispatch(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
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
                        self.hand_over(construction, tessera, actions);
                    }
                    return;
                }
                State::Failed(failure) => {
                    let failure = failure.clone();
                    self.refuse_waiting(tessera, &failure, actions);
                    break;
                }
                State::Stopped => {
                    let message = format!("{} was stopped before this call", hosted.class);
                    self.refuse_waiting(
                        tessera,
                        &Failure::new(FailureKind::Stopped, message),
                        actions,
                    );
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
                self.stop_tessera(tessera, actions);
                self.end_call(task, Outcome::Value(Payload::default()).into(), actions);
                continue;
            }
            hosted.alone = alone && !hosted.concurrent;
            self.hand_over(task, tessera, actions);
            self.offer(caller, tessera);
        }
        self.free_if_unused(tessera, actions);
    }

    /// Nothing that waits for this tessera will run.
    fn refuse_waiting(
        &mut self,
        tessera: TesseraId,
        failure: &Failure,
        actions: &mut Vec<Action<H>>,
    ) {
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
                self.end_call(task, outcome.into(), actions);
            }
        }
    }

    /// The construction has ended: the tessera listens, or never will.
    pub(crate) fn construction_ended(
        &mut self,
        tessera: TesseraId,
        outcome: &Outcome,
        actions: &mut Vec<Action<H>>,
    ) {
        let Some(hosted) = self.hosted.get_mut(&tessera) else {
            return;
        };
        if !matches!(hosted.state, State::Building) {
            return;
        }
        // Calls that come later fail as the construction did.
        if let Outcome::Failed(failure) = outcome {
            for reference in kept_for(tessera, failure) {
                self.hold(reference, actions);
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
                self.advance(task, tessera, actions);
            }
        }
        for caller in callers {
            self.offer(caller, tessera);
        }
    }

    fn stop_tessera(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        let Some(hosted) = self.hosted.get_mut(&tessera) else {
            return;
        };
        hosted.state = State::Stopped;
        actions.push(Action::DropTessera(tessera));
        self.say_freed(tessera, actions);
    }

    fn say_freed(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        let restartable = self
            .hosted
            .get(&tessera)
            .is_some_and(|hosted| hosted.restartable);
        self.send(RuntimeId::HEAD, RulesMessage::Freed(tessera), actions);
        if restartable && tessera.owner != RuntimeId::HEAD {
            self.send(tessera.owner, RulesMessage::Freed(tessera), actions);
        }
    }

    /// Free a tessera that nobody refers to and nothing is left to do for.
    pub(crate) fn free_if_unused(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        let object = ObjectId::Tessera(tessera);
        let Some(hosted) = self.hosted.get(&tessera) else {
            return;
        };
        if hosted.is_busy()
            || !hosted.queues.is_empty()
            || !hosted.skipping.is_empty()
            || matches!(hosted.state, State::Building)
            || self.references.has_holders(object)
            || self.references.holdings.contains_key(&object)
            // A call of this runtime's own, on its way from here to here.
            || self.routes.get(&tessera).is_some_and(|route| route.sent_calls > 0)
        {
            return;
        }
        if tessera.is_keyed() {
            self.hosted.remove(&tessera);
            return;
        }
        if matches!(hosted.state, State::Listening) {
            actions.push(Action::DropTessera(tessera));
        }
        if !matches!(hosted.state, State::Stopped) {
            self.say_freed(tessera, actions);
        }
        if let Some(hosted) = self.hosted.remove(&tessera)
            && let State::Failed(failure) = hosted.state
        {
            self.drop_references(kept_for(tessera, &failure));
        }
    }

    /// Whether a tessera lives here, or is about to.
    pub(crate) fn is_hosted_and_not_stopped(&self, tessera: TesseraId) -> bool {
        let hosted = self.hosted.get(&tessera);
        hosted.is_some_and(|hosted| !matches!(hosted.state, State::Stopped))
    }

    pub(crate) fn validate_tesserae(&self) {
        for (tessera, hosted) in &self.hosted {
            let running = self
                .inbound
                .values()
                .filter(|inbound| {
                    inbound.tessera == *tessera
                        && matches!(inbound.progress, Progress::Running { .. })
                })
                .count();
            assert_eq!(
                running,
                hosted.running + hosted.skipped,
                "TESS-2: {tessera:?} counts its running calls right"
            );
            assert!(
                !hosted.alone || hosted.running <= 1,
                "TESS-2: {tessera:?} runs {} calls, one of which has to be alone",
                hosted.running
            );
            for (caller, queue) in &hosted.queues {
                let ready = queue
                    .calls
                    .front()
                    .is_some_and(|task| self.is_ready(*task) && self.waiting(*task).is_some());
                assert!(
                    queue.listed || !ready,
                    "TESS-3: {tessera:?} forgot whose turn it is: {caller:?}"
                );
                assert_eq!(
                    queue.listed,
                    hosted.runnable.contains(caller),
                    "TESS-3: {caller:?} is not where it is said to be"
                );
            }
        }
        for (task, inbound) in &self.inbound {
            let Progress::Waiting(call) = &inbound.progress else {
                continue;
            };
            let early = || {
                self.early
                    .get(&inbound.tessera)
                    .is_some_and(|early| early.contains(task))
            };
            let queued = self.is_unordered(inbound.tessera)
                || self
                    .hosted
                    .get(&inbound.tessera)
                    .map_or_else(early, |hosted| {
                        call.kind == CallKind::Construct
                            || hosted.skipping.contains(task)
                            || hosted
                                .queues
                                .get(&inbound.caller)
                                .is_some_and(|queue| queue.calls.contains(task))
                    });
            assert!(queued, "TESS-1: {task:?} waits in no queue");
        }
    }
}

/// What a failed construction refers to, which is kept with the tessera; itself excepted, which would never go then.
pub(crate) fn kept_for(tessera: TesseraId, failure: &Failure) -> Vec<Reference> {
    let references = failure.detail.references.iter().copied();
    references
        .filter(|reference| reference.object != ObjectId::Tessera(tessera))
        .collect()
}
