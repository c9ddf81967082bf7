//! What an observer of the whole network knows, and the promises it checks by that.

use std::collections::{BTreeMap, BTreeSet};

use mosaic_core::call::{Call, CallKind, FailureKind, Outcome, ReadyCall};
use mosaic_core::event::Submission;
use mosaic_core::id::{BufferId, ObjectId, RuntimeId, TaskId, TesseraId};
use mosaic_core::payload::Reference;
use mosaic_core::wire::RulesMessage;

/// A call, as its caller made it.
pub(crate) struct CallTruth {
    pub(crate) tessera: TesseraId,
    pub(crate) kind: CallKind,
    resends: u32,
    needs: Vec<ObjectId>,
    pub(crate) settled: bool,
    /// Where it was sent.
    host: Option<RuntimeId>,
    /// Its host has seen that the connection was lost by which it was sent: its end goes nowhere.
    abandoned: bool,
    /// Where it has ended, be its caller told or not.
    pub(crate) ended: Option<RuntimeId>,
}

/// A value that came about.
pub(crate) struct ValueTruth {
    pub(crate) at: RuntimeId,
    pub(crate) inline: bool,
    /// There is no value: the references are those of the exception.
    failed: bool,
    references: Vec<ObjectId>,
}

/// Everything that was observed.
#[derive(Default)]
pub(crate) struct Truth {
    /// When each object came into being: values refer to what is older only, since cycles of references are
    /// never freed.
    pub(crate) births: BTreeMap<ObjectId, usize>,
    /// Handles that wait for their settlement: whose, and for which task.
    pub(crate) unsettled: BTreeMap<u64, (RuntimeId, Option<TaskId>)>,
    pub(crate) calls: BTreeMap<TaskId, CallTruth>,
    pub(crate) values: BTreeMap<TaskId, ValueTruth>,
    /// Values that have come to whom they were given to keep: they are safe from the death of their makers.
    pub(crate) kept: BTreeSet<TaskId>,
    pub(crate) concurrent: BTreeSet<TesseraId>,
    stopped: BTreeSet<TesseraId>,
    /// Tesserae that their owners have given up: whether they were built is lost with a connection.
    pub(crate) given_up: BTreeSet<TesseraId>,
    /// Where each tessera was sent to be built: if one of those hosts died, and then its owner before the holders
    /// had found the next, it is lost to them.
    constructed: BTreeSet<(TesseraId, RuntimeId)>,
    dead: BTreeSet<RuntimeId>,
    /// Buffers that their owners keep because others may look at them.
    pub(crate) lent: BTreeSet<BufferId>,
    /// Living objects: where.
    pub(crate) living: BTreeSet<(TesseraId, RuntimeId)>,
    /// Calls started, by attempt.
    started: BTreeMap<(TaskId, u32), u32>,
    last: BTreeMap<(TesseraId, RuntimeId, RuntimeId), u64>,
    /// Calls that run now.
    running: BTreeMap<(TesseraId, RuntimeId), Vec<TaskId>>,
}

impl Truth {
    pub(crate) fn submitted(&mut self, at: RuntimeId, submission: &Submission<u64>) {
        let call = &submission.call;
        self.expect(submission.handle, at, Some(call.task));
        let mut needs = Vec::new();
        if call.kind != CallKind::Construct {
            needs.push(ObjectId::Tessera(call.tessera));
        }
        needs.extend(
            call.arguments
                .references
                .iter()
                .map(|reference| reference.object),
        );
        needs.extend(
            call.dependencies
                .iter()
                .map(|dependency| ObjectId::Task(dependency.task)),
        );
        let truth = CallTruth {
            tessera: call.tessera,
            kind: call.kind,
            resends: submission.resends + submission.restarts,
            needs,
            settled: false,
            host: None,
            abandoned: false,
            ended: None,
        };
        self.calls.insert(call.task, truth);
        if call.construction.concurrent {
            self.concurrent.insert(call.tessera);
        }
    }

    fn call_sent(&mut self, call: &Call, to: RuntimeId) {
        if call.kind == CallKind::Construct {
            self.constructed.insert((call.tessera, to));
        }
        if let Some(truth) = self.calls.get_mut(&call.task) {
            truth.host = Some(to);
        }
    }

    /// A machine has sent a message, or keeps it for a runtime that cannot be reached.
    pub(crate) fn sent(&mut self, at: RuntimeId, to: RuntimeId, message: &RulesMessage) {
        match message {
            RulesMessage::Call(call) => self.call_sent(call, to),
            RulesMessage::Completed { task, .. } => {
                if task.owner == at {
                    self.kept.insert(*task);
                }
                self.has_ended(*task, at);
            }
            RulesMessage::Freed(tessera) if tessera.owner == at => {
                self.given_up.insert(*tessera);
            }
            _ => {}
        }
        let own = buffers_in(message).filter(|buffer| buffer.owner == at);
        self.lent.extend(own);
    }

    /// What that runtime had sent to that host, and is not settled, is lost to it.
    pub(crate) fn abandon(&mut self, caller: RuntimeId, host: RuntimeId) {
        for (task, call) in &mut self.calls {
            if task.owner == caller && call.host == Some(host) && !call.settled {
                call.abandoned = true;
            }
        }
    }

    pub(crate) fn expect(&mut self, handle: u64, at: RuntimeId, task: Option<TaskId>) {
        assert!(self.unsettled.insert(handle, (at, task)).is_none());
    }

    /// OUT-1, TASK-1: nobody is told twice.
    pub(crate) fn settled(&mut self, handle: u64, at: RuntimeId) -> Option<TaskId> {
        let expected = self.unsettled.remove(&handle);
        let (whose, task) =
            expected.unwrap_or_else(|| panic!("OUT-1: handle {handle} is settled twice"));
        assert_eq!(whose, at);
        task
    }

    pub(crate) fn value_came_about(
        &mut self,
        task: TaskId,
        at: RuntimeId,
        references: &[Reference],
        inline: bool,
    ) {
        if self
            .calls
            .get(&task)
            .is_some_and(|call| call.settled || call.abandoned)
        {
            // It was given up before.
            return;
        }
        let references = references
            .iter()
            .map(|reference| reference.object)
            .collect();
        self.values.insert(
            task,
            ValueTruth {
                at,
                inline,
                failed: false,
                references,
            },
        );
    }

    /// A task ended so at its owner: there is no value, but what the exception refers to is held as that of one would be.
    pub(crate) fn failed(&mut self, task: TaskId, references: &[Reference]) {
        let references: Vec<_> = references
            .iter()
            .map(|reference| reference.object)
            .collect();
        let held = ValueTruth {
            at: task.owner,
            inline: true,
            failed: true,
            references,
        };
        self.values.insert(task, held);
    }

    /// Where the value of a task is, if it has one.
    pub(crate) fn place_of(&self, task: TaskId) -> Option<RuntimeId> {
        let value = self.values.get(&task)?;
        (!value.failed).then_some(value.at)
    }

    /// TESS-1, TESS-2, as the executor sees them.
    pub(crate) fn starts(&mut self, at: RuntimeId, ready: &ReadyCall) {
        let (call, caller) = (&ready.call, ready.caller);
        let task = call.task;
        let times = self.started.entry((task, ready.attempt)).or_default();
        *times += 1;
        let resends = self.calls[&task].resends;
        assert!(
            *times <= 1 + resends,
            "TESS-1: {task:?} started {times} times"
        );
        let tessera = call.tessera;
        if tessera.is_functions() {
            return;
        }
        if call.kind != CallKind::Construct {
            assert!(
                self.living.contains(&(tessera, at)),
                "{task:?} runs on {tessera:?}, which is not there"
            );
        }
        if self.concurrent.contains(&tessera) || call.kind == CallKind::GetAttributeNow {
            return;
        }
        let last = self.last.entry((tessera, at, caller)).or_default();
        assert!(
            *last < task.sequence || *last == task.sequence && ready.attempt > 0,
            "TESS-1: {task:?} of {tessera:?} starts after call {last} of the same caller"
        );
        *last = task.sequence;
        let running = self.running.entry((tessera, at)).or_default();
        assert!(
            running.is_empty(),
            "TESS-2: {task:?} starts while {running:?} runs on {tessera:?}"
        );
        running.push(task);
    }

    pub(crate) fn ends(&mut self, at: RuntimeId, ready: &ReadyCall, outcome: &Outcome) {
        let call = &ready.call;
        if let Some(running) = self.running.get_mut(&(call.tessera, at)) {
            running.retain(|task| *task != call.task);
        }
        let again =
            matches!(outcome, Outcome::Failed(failure) if failure.kind == FailureKind::Raised);
        if !again || ready.attempt >= call.retries {
            self.has_ended(call.task, at);
        }
        if call.kind == CallKind::Construct && matches!(outcome, Outcome::Value(_)) {
            self.living.insert((call.tessera, at));
        }
    }

    pub(crate) fn has_ended(&mut self, task: TaskId, at: RuntimeId) {
        if let Some(call) = self.calls.get_mut(&task) {
            call.ended = Some(at);
        }
    }

    pub(crate) fn crashed(&mut self, dead: RuntimeId) {
        self.dead.insert(dead);
        self.living.retain(|(_, at)| *at != dead);
        self.lent.retain(|buffer| buffer.owner != dead);
        self.unsettled.retain(|_, (whose, _)| *whose != dead);
        self.values
            .retain(|task, value| task.owner != dead && (value.inline || value.at != dead));
        let kept = &self.kept;
        self.values
            .retain(|task, _| task.maker() != Some(dead) || kept.contains(task));
        for (task, call) in &mut self.calls {
            call.settled |= task.owner == dead;
            call.ended = call.ended.filter(|at| *at != dead);
        }
    }

    /// The object of a tessera is dropped: nobody who lives may be able to reach it. `roots` are the programs'
    /// handles and the messages on their way.
    pub(crate) fn tessera_dropped(
        &mut self,
        tessera: TesseraId,
        at: RuntimeId,
        stop: bool,
        roots: &BTreeSet<ObjectId>,
    ) {
        assert!(
            self.living.remove(&(tessera, at)),
            "{tessera:?} is dropped at {at:?}, where it is not"
        );
        if stop {
            self.stopped.insert(tessera);
        }
        let moved = self
            .constructed
            .iter()
            .any(|(sent, to)| *sent == tessera && self.dead.contains(to));
        if stop || self.given_up.contains(&tessera) || moved && self.dead.contains(&tessera.owner) {
            return;
        }
        let reached = self.reachable(roots);
        assert!(
            !reached.contains(&ObjectId::Tessera(tessera)) || self.stopped.contains(&tessera),
            "REF-1: {tessera:?} is dropped at {at:?}, and somebody can reach it"
        );
    }

    /// REF-5: what somebody looks at is there.
    pub(crate) fn looked_at(&self, buffer: BufferId, at: RuntimeId) {
        assert!(
            buffer.owner == at || self.lent.contains(&buffer) || self.dead.contains(&buffer.owner),
            "REF-5: {at:?} looks at {buffer:?}, which may be gone"
        );
    }

    /// From the handles and messages, through unended calls and values.
    pub(crate) fn reachable(&self, roots: &BTreeSet<ObjectId>) -> BTreeSet<ObjectId> {
        let mut reached = roots.clone();
        for call in self
            .calls
            .values()
            .filter(|call| !call.settled && !call.abandoned && call.ended.is_none())
        {
            reached.extend(&call.needs);
        }
        let mut open: Vec<_> = reached.iter().copied().collect();
        while let Some(object) = open.pop() {
            let ObjectId::Task(task) = object else {
                continue;
            };
            for inner in self
                .values
                .get(&task)
                .into_iter()
                .flat_map(|value| &value.references)
            {
                if reached.insert(*inner) {
                    open.push(*inner);
                }
            }
        }
        reached
    }
}

/// The buffers in the value that a message carries.
fn buffers_in(message: &RulesMessage) -> impl Iterator<Item = BufferId> {
    let payload = match message {
        RulesMessage::Call(call) => Some(&call.arguments),
        RulesMessage::RemotePut { value, .. } => Some(value),
        RulesMessage::Completed { outcome, .. } | RulesMessage::Fetched { outcome, .. } => {
            match &**outcome {
                Outcome::Value(value) => Some(value),
                Outcome::Failed(failure) => Some(&failure.detail),
                Outcome::Stored { .. } => None,
            }
        }
        _ => None,
    };
    let references = payload.into_iter().flat_map(|payload| &payload.references);
    references.filter_map(|reference| match reference.object {
        ObjectId::Buffer(buffer) => Some(buffer),
        _ => None,
    })
}

/// What a message on its way refers to.
pub(crate) fn mentioned(message: &RulesMessage, into: &mut BTreeSet<ObjectId>) {
    let inside = |outcome: &Outcome, into: &mut BTreeSet<ObjectId>| {
        let references = outcome.references().iter();
        into.extend(references.map(|reference| reference.object));
    };
    match message {
        RulesMessage::RemotePut { value, .. } => {
            into.extend(value.references.iter().map(|reference| reference.object));
        }
        RulesMessage::Completed { outcome, .. } | RulesMessage::Fetched { outcome, .. } => {
            inside(outcome, into);
        }
        _ => {}
    }
}
