//! Tesserae that this runtime hosts: their queues, and the calls that came for them.
//!
//! Calls of one caller start in the order in which they were sent, each at most once (`TESS-1`). Of a tessera that
//! is not concurrent, a coroutine call runs alone; plain calls are handed over many at a time, since the
//! executor runs them one after another (`TESS-2`). A call that may be repeated runs alone too, so that its
//! repetition comes before what was called after it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::call::{Call, CallKind, Failure, FailureKind, Outcome, ReadyCall, Slot, Source};
use crate::event::{Action, Report};
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::machine::Machine;
use crate::outcome::Wanter;
use crate::payload::{Payload, Reference};
use crate::task::describe;
use crate::wire::Message;

/// Plain calls of one tessera that may be handed over and not ended at a time.
const HANDED_OVER: usize = 4096;

#[derive(Debug)]
pub(crate) enum State {
    Building,
    Listening,
    Failed(Box<Failure>),
    Stopped,
}

/// A tessera that lives here.
#[derive(Debug)]
pub(crate) struct Hosted {
    pub(crate) state: State,
    pub(crate) class: Arc<str>,
    concurrent: bool,
    restartable: bool,
    pub(crate) queue: VecDeque<TaskId>,
    /// Calls handed over and not ended.
    running: usize,
    /// Whether the one that runs has to be alone.
    alone: bool,
}

/// Where a call that came here stands.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Waits for its turn and its arguments.
    Waiting(Box<Call>),
    /// Handed over.
    Running,
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
    missing: usize,
    values: Vec<(Slot, bytes::Bytes, Payload)>,
    /// References inside arguments; after the end, inside the result.
    pub(crate) references: Vec<Reference>,
    pub(crate) wanters: Vec<(bool, Wanter<H>)>,
    /// Nobody wants to know how it ends.
    pub(crate) cancelled: bool,
    /// The owner has let go of the result.
    pub(crate) released: bool,
    /// Calls of methods of the result that have not ended.
    pub(crate) users: usize,
    /// The result that this call needs alive.
    uses: Option<TaskId>,
    /// For a call that may be repeated: what to hand over again.
    again: Option<Box<ReadyCall>>,
}

impl<H: Clone> Machine<H> {
    pub(crate) fn call_received(&mut self, from: RuntimeId, mut call: Call, actions: &mut Vec<Action<H>>) {
        let (task, tessera, kind) = (call.task, call.tessera, call.kind);
        if self.inbound.contains_key(&task) {
            return;
        }
        self.receive_references(from, &call.arguments.references, actions);
        if kind == CallKind::Construct {
            let hosted = Hosted {
                state: State::Building,
                class: Arc::clone(&call.method),
                concurrent: call.construction.concurrent,
                restartable: call.construction.restartable,
                queue: VecDeque::new(),
                running: 0,
                alone: false,
            };
            self.hosted.insert(tessera, hosted);
            if from != self.config.me {
                // This runtime's own hold stands for itself.
                self.references.add_holder(ObjectId::Tessera(tessera), from);
            }
        }
        let mut dependencies = std::mem::take(&mut call.dependencies);
        let uses = match kind {
            CallKind::ResultMethod(result) => Some(result),
            _ => None,
        };
        if let Some(result) = uses {
            let slot = Slot::Order;
            let source = Source::At(self.config.me);
            dependencies.push(crate::call::Dependency { slot, task: result, part: bytes::Bytes::new(), source });
            if let Some(used) = self.inbound.get_mut(&result) {
                used.users += 1;
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
        if !self.is_unordered(tessera) {
            match self.hosted.get_mut(&tessera) {
                Some(hosted) => hosted.queue.push_back(task),
                None => self.came_early(tessera, task, actions),
            }
            if kind == CallKind::Construct
                && let Some(early) = self.early.remove(&tessera)
                && let Some(hosted) = self.hosted.get_mut(&tessera)
            {
                hosted.queue.extend(early);
            }
        }
        for dependency in dependencies {
            let crate::call::Dependency { slot, task: needed, part, source } = dependency;
            match source {
                Source::Here(format, body) => {
                    let value = Payload { format, body, ..Payload::default() };
                    self.argument_came(task, slot, part, Outcome::Value(value), actions);
                }
                Source::At(place) | Source::Unresolved { authority: place } => {
                    let value = slot != Slot::Order;
                    self.want(needed, place, value, Wanter::Argument { call: task, slot, part }, actions);
                }
            }
        }
        self.advance(task, tessera, actions);
    }

    /// Whether calls on that tessera have no order: this runtime's functions.
    fn is_unordered(&self, tessera: TesseraId) -> bool {
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

    pub(crate) fn early_calls_fail(&mut self, tessera: TesseraId, reason: &str, actions: &mut Vec<Action<H>>) {
        for task in self.early.remove(&tessera).into_iter().flatten() {
            let failure = Failure::new(FailureKind::Stopped, format!("the tessera was stopped or freed: {reason}"));
            self.end_call(task, Outcome::Failed(failure), actions);
        }
    }

    /// A value that a call waited for is here, or will never be.
    pub(crate) fn argument_came(
        &mut self,
        task: TaskId,
        slot: Slot,
        part: bytes::Bytes,
        outcome: Outcome,
        actions: &mut Vec<Action<H>>,
    ) {
        let class = self.class_of(task);
        let Some(inbound) = self.inbound.get_mut(&task) else { return };
        let Progress::Waiting(call) = &inbound.progress else { return };
        match outcome {
            Outcome::Value(value) => {
                let references = value.references.clone();
                inbound.missing -= 1;
                inbound.references.extend(&references);
                if slot != Slot::Order {
                    inbound.values.push((slot, part, value));
                }
                for reference in references {
                    self.hold(reference, actions);
                }
            }
            Outcome::Stored { .. } => inbound.missing -= 1,
            Outcome::Failed(failure) => {
                let failure = failure.through(describe(&slot, &class, &call.method));
                self.end_call(task, Outcome::Failed(failure), actions);
            }
        }
    }

    fn class_of(&self, task: TaskId) -> Arc<str> {
        let tessera = self.inbound.get(&task).map(|inbound| inbound.tessera);
        tessera.and_then(|tessera| self.hosted.get(&tessera)).map_or_else(|| "".into(), |hosted| Arc::clone(&hosted.class))
    }

    /// Something about a call or its tessera has changed: hand over what can run.
    pub(crate) fn advance(&mut self, task: TaskId, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        let concurrent = match self.hosted.get(&tessera) {
            Some(hosted) => hosted.concurrent && matches!(hosted.state, State::Listening),
            None => self.is_unordered(tessera),
        };
        let skips = match self.inbound.get(&task).map(|inbound| &inbound.progress) {
            Some(Progress::Waiting(call)) => call.kind.skips_queue() && self.is_listening(tessera),
            _ => false,
        };
        if !(concurrent || skips) {
            return self.dispatch(tessera, actions);
        }
        if self.inbound.get(&task).is_some_and(|inbound| inbound.missing == 0) {
            let is_stop = self.inbound.get(&task).is_some_and(
                |inbound| matches!(&inbound.progress, Progress::Waiting(call) if call.kind == CallKind::Stop),
            );
            if is_stop {
                return self.dispatch(tessera, actions);
            }
            if let Some(hosted) = self.hosted.get_mut(&tessera) {
                // Behind the calls that wait for arguments it would be found by nobody.
                if let Some(place) = hosted.queue.iter().rposition(|waiting| *waiting == task) {
                    hosted.queue.remove(place);
                }
            }
            self.hand_over(task, tessera, actions);
        }
    }

    fn is_listening(&self, tessera: TesseraId) -> bool {
        self.hosted.get(&tessera).is_some_and(|hosted| matches!(hosted.state, State::Listening))
    }

    /// Hand over from the head of a tessera's queue what may run now.
    pub(crate) fn dispatch(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        loop {
            let Some(hosted) = self.hosted.get_mut(&tessera) else { return };
            let Some(&task) = hosted.queue.front() else { break };
            let Some((inbound, call)) = self.inbound.get(&task).and_then(|inbound| match &inbound.progress {
                Progress::Waiting(call) => Some((inbound, call)),
                _ => None,
            }) else {
                hosted.queue.pop_front();
                continue;
            };
            match &hosted.state {
                State::Failed(failure) => {
                    let failure = failure.clone();
                    hosted.queue.pop_front();
                    self.end_call(task, Outcome::Failed(failure), actions);
                    continue;
                }
                State::Stopped => {
                    let message = format!("{} was stopped before this call", hosted.class);
                    hosted.queue.pop_front();
                    self.end_call(task, Outcome::Failed(Failure::new(FailureKind::Stopped, message)), actions);
                    continue;
                }
                State::Building if call.kind != CallKind::Construct => return,
                State::Building | State::Listening => {}
            }
            if hosted.concurrent && matches!(hosted.state, State::Listening) && call.kind != CallKind::Stop {
                // Each goes as soon as it can, whatever is before it.
                self.dispatch_concurrent(tessera, actions);
                return;
            }
            let alone = call.coroutine || call.retries > 0 || matches!(call.kind, CallKind::Construct | CallKind::Stop);
            if inbound.missing > 0 || (hosted.running > 0 && (hosted.alone || alone)) || hosted.running >= HANDED_OVER {
                return;
            }
            let stop = call.kind == CallKind::Stop;
            hosted.queue.pop_front();
            if stop {
                self.stop_tessera(tessera, actions);
                self.end_call(task, Outcome::Value(Payload::default()), actions);
                continue;
            }
            if let Some(hosted) = self.hosted.get_mut(&tessera) {
                hosted.alone = alone;
            }
            self.hand_over(task, tessera, actions);
        }
        self.free_if_unused(tessera, actions);
    }

    fn dispatch_concurrent(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        let Some(hosted) = self.hosted.get_mut(&tessera) else { return };
        let waiting = std::mem::take(&mut hosted.queue);
        let mut kept = VecDeque::new();
        for task in waiting {
            let ready = self.inbound.get(&task).is_some_and(|inbound| inbound.missing == 0);
            let stop = self.inbound.get(&task).is_some_and(
                |inbound| matches!(&inbound.progress, Progress::Waiting(call) if call.kind == CallKind::Stop),
            );
            if ready && !stop && kept.is_empty() {
                self.hand_over(task, tessera, actions);
            } else if ready && !stop && !kept.iter().any(|earlier| self.is_stop(*earlier)) {
                self.hand_over(task, tessera, actions);
            } else {
                kept.push_back(task);
            }
        }
        if let Some(hosted) = self.hosted.get_mut(&tessera) {
            hosted.queue = kept;
            let stop_is_next = hosted.queue.front().copied().filter(|_| hosted.running == 0);
            if stop_is_next.is_some_and(|task| self.is_stop(task)) {
                self.dispatch(tessera, actions);
            }
        }
    }

    fn is_stop(&self, task: TaskId) -> bool {
        self.inbound
            .get(&task)
            .is_some_and(|inbound| matches!(&inbound.progress, Progress::Waiting(call) if call.kind == CallKind::Stop))
    }

    fn hand_over(&mut self, task: TaskId, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        let Some(inbound) = self.inbound.get_mut(&task) else { return };
        if !matches!(inbound.progress, Progress::Waiting(_)) {
            return;
        }
        let Progress::Waiting(call) = std::mem::replace(&mut inbound.progress, Progress::Running) else { return };
        if let Some(hosted) = self.hosted.get_mut(&tessera) {
            hosted.running += 1;
        }
        let ready =
            ReadyCall { call: *call, caller: inbound.caller, values: std::mem::take(&mut inbound.values), attempt: 0 };
        if ready.call.retries > 0 {
            inbound.again = Some(Box::new(ready.clone()));
        }
        actions.push(Action::Run(ready));
    }

    pub(crate) fn call_finished(&mut self, task: TaskId, outcome: Outcome, actions: &mut Vec<Action<H>>) {
        let Some(inbound) = self.inbound.get_mut(&task) else { return };
        if !matches!(inbound.progress, Progress::Running) {
            return;
        }
        let tessera = inbound.tessera;
        if let Outcome::Failed(failure) = &outcome
            && failure.kind == FailureKind::Raised
            && !inbound.cancelled
            && let Some(again) = inbound.again.as_mut().filter(|again| again.attempt < again.call.retries)
        {
            again.attempt += 1;
            let ready = (**again).clone();
            let class = self.hosted.get(&tessera).map_or("", |hosted| &hosted.class);
            let what = match ready.call.kind {
                CallKind::Construct | CallKind::Function => ready.call.method.to_string(),
                _ => format!("{class}.{}", ready.call.method),
            };
            let report = Report::Retried {
                what,
                attempt: ready.attempt,
                of: ready.call.retries,
                message: failure.message.clone(),
            };
            actions.push(Action::Report(report));
            actions.push(Action::Run(ready));
            return;
        }
        let mut construct_ended = false;
        if let Some(hosted) = self.hosted.get_mut(&tessera) {
            hosted.running -= 1;
            if hosted.running == 0 {
                hosted.alone = false;
            }
            if matches!(hosted.state, State::Building) {
                construct_ended = true;
                hosted.state = match &outcome {
                    Outcome::Failed(failure) => State::Failed(failure.clone()),
                    _ => State::Listening,
                };
            }
        }
        self.end_call(task, outcome, actions);
        if construct_ended {
            self.advance_all_that_skip(tessera, actions);
        }
        self.dispatch(tessera, actions);
    }

    /// The tessera listens: calls that skip its queue need not wait for their turn any more.
    fn advance_all_that_skip(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        let waiting: Vec<_> = self.hosted.get(&tessera).into_iter().flat_map(|hosted| hosted.queue.iter().copied()).collect();
        for task in waiting {
            let skips = self.inbound.get(&task).is_some_and(
                |inbound| matches!(&inbound.progress, Progress::Waiting(call) if call.kind.skips_queue()),
            );
            if skips {
                self.advance(task, tessera, actions);
            }
        }
    }

    /// A call that came here has ended, whether it ran or not.
    pub(crate) fn end_call(&mut self, task: TaskId, outcome: Outcome, actions: &mut Vec<Action<H>>) {
        let Some(inbound) = self.inbound.get_mut(&task) else { return };
        if matches!(inbound.progress, Progress::Ended(_)) {
            return;
        }
        let outcome = if inbound.cancelled {
            Outcome::Failed(Failure::new(FailureKind::Cancelled, "the call was cancelled"))
        } else {
            outcome
        };
        inbound.progress = Progress::Ended(outcome.clone());
        inbound.again = None;
        inbound.values = Vec::new();
        let arguments = std::mem::take(&mut inbound.references);
        let wanters = std::mem::take(&mut inbound.wanters);
        let uses = inbound.uses.take();
        if let Outcome::Value(value) = &outcome {
            inbound.references.clone_from(&value.references);
        }
        let (caller, silent) = (inbound.caller, inbound.cancelled || inbound.released);
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
        self.drop_references(&arguments, actions);
        if let Some(used) = uses {
            if let Some(result) = self.inbound.get_mut(&used) {
                result.users = result.users.saturating_sub(1);
            }
            self.drop_result_if_released(used, actions);
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
        let Some(inbound) = self.inbound.get(&task) else { return };
        if !inbound.released || inbound.users > 0 || !matches!(inbound.progress, Progress::Ended(_)) {
            return;
        }
        if let Some(inbound) = self.inbound.remove(&task) {
            actions.push(Action::DropResult(task));
            self.drop_references(&inbound.references, actions);
        }
    }

    /// The owner does not want a call any more.
    pub(crate) fn cancel_received(&mut self, task: TaskId, actions: &mut Vec<Action<H>>) {
        let Some(inbound) = self.inbound.get_mut(&task) else { return };
        let tessera = inbound.tessera;
        match &inbound.progress {
            Progress::Ended(_) => {}
            Progress::Waiting(call) => {
                let construct = call.kind == CallKind::Construct;
                let failure = Failure::new(FailureKind::Cancelled, "the call was cancelled");
                if construct && let Some(hosted) = self.hosted.get_mut(&tessera) {
                    hosted.state = State::Failed(failure.clone());
                }
                self.end_call(task, Outcome::Failed(failure), actions);
                self.dispatch(tessera, actions);
            }
            Progress::Running => actions.push(Action::Revoke(task)),
        }
    }

    /// A call that was cancelled runs already: its caller is told, and its end will be dropped.
    pub(crate) fn call_runs_on(&mut self, task: TaskId, actions: &mut Vec<Action<H>>) {
        let Some(inbound) = self.inbound.get_mut(&task) else { return };
        if inbound.cancelled || !matches!(inbound.progress, Progress::Running) {
            return;
        }
        inbound.cancelled = true;
        let (caller, released) = (inbound.caller, inbound.released);
        let wanters = std::mem::take(&mut inbound.wanters);
        let outcome = Outcome::Failed(Failure::new(FailureKind::Cancelled, "the call was cancelled while it ran"));
        if !released {
            self.send(caller, Message::Settled { task, outcome: outcome.clone() }, actions);
        }
        for (value, wanter) in wanters {
            self.deliver(task, value, wanter, &outcome, actions);
        }
    }

    fn stop_tessera(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        let Some(hosted) = self.hosted.get_mut(&tessera) else { return };
        hosted.state = State::Stopped;
        actions.push(Action::DropTessera(tessera));
        self.say_freed(tessera, actions);
    }

    fn say_freed(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        let restartable = self.hosted.get(&tessera).is_some_and(|hosted| hosted.restartable);
        self.send(RuntimeId::HEAD, Message::Freed(tessera), actions);
        if restartable && tessera.owner != RuntimeId::HEAD {
            self.send(tessera.owner, Message::Freed(tessera), actions);
        }
    }

    /// Free a tessera that nobody refers to and nothing is left to do for.
    pub(crate) fn free_if_unused(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        let object = ObjectId::Tessera(tessera);
        let Some(hosted) = self.hosted.get(&tessera) else { return };
        if !hosted.queue.is_empty()
            || hosted.running > 0
            || self.references.has_holders(object)
            || self.references.holdings.contains_key(&object)
        {
            return;
        }
        let built = matches!(hosted.state, State::Listening);
        let stopped = matches!(hosted.state, State::Stopped);
        if built {
            actions.push(Action::DropTessera(tessera));
        }
        if !stopped {
            self.say_freed(tessera, actions);
        }
        self.hosted.remove(&tessera);
    }

    /// Calls from a dead runtime are not started any more; what they would have left is dropped.
    pub(crate) fn caller_died(&mut self, dead: RuntimeId, cause: &str, actions: &mut Vec<Action<H>>) {
        let mut theirs: Vec<_> =
            self.inbound.iter().filter(|(_, inbound)| inbound.caller == dead).map(|(task, _)| *task).collect();
        theirs.sort_unstable();
        for task in theirs {
            let Some(inbound) = self.inbound.get_mut(&task) else { continue };
            inbound.released = true;
            let tessera = inbound.tessera;
            match &inbound.progress {
                Progress::Waiting(call) => {
                    let construct = call.kind == CallKind::Construct;
                    let failure = Failure::new(FailureKind::Disconnected, cause);
                    if construct && let Some(hosted) = self.hosted.get_mut(&tessera) {
                        hosted.state = State::Failed(failure.clone());
                    }
                    self.end_call(task, Outcome::Failed(failure), actions);
                    self.dispatch(tessera, actions);
                }
                Progress::Running => {}
                Progress::Ended(_) => self.drop_result_if_released(task, actions),
            }
        }
        let orphans: Vec<_> = self.early.keys().filter(|tessera| tessera.owner == dead).copied().collect();
        for tessera in orphans {
            self.early_calls_fail(tessera, cause, actions);
        }
    }

    pub(crate) fn validate_tesserae(&self) {
        for (tessera, hosted) in &self.hosted {
            let running = self
                .inbound
                .values()
                .filter(|inbound| inbound.tessera == *tessera && matches!(inbound.progress, Progress::Running))
                .count();
            assert_eq!(running, hosted.running, "TESS-2: {tessera:?} counts its running calls right");
            assert!(!hosted.alone || running <= 1, "TESS-2: {tessera:?} runs {running} calls, one of which has to be alone");
        }
        for (task, inbound) in &self.inbound {
            if let Progress::Waiting(_) = inbound.progress {
                let queued = self.is_unordered(inbound.tessera)
                    || self.hosted.get(&inbound.tessera).is_some_and(|hosted| hosted.queue.contains(task))
                    || self.early.get(&inbound.tessera).is_some_and(|early| early.contains(task));
                assert!(queued, "TESS-1: {task:?} waits in no queue");
            }
        }
    }
}
