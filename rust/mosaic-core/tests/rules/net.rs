//! A few machines whose messages are delivered when the test says so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use mosaic_core::call::{
    Call, CallKind, Construction, Dependency, Failure, FailureKind, Outcome, ReadyCall, Slot,
    Source,
};
use mosaic_core::event::{Action, Event, Member, Role, Submission, Want};
use mosaic_core::id::{BufferId, NodeId, ObjectId, RuntimeId, TaskId, TesseraId};
use mosaic_core::machine::{Config, Machine};
use mosaic_core::payload::{Payload, Reference, ThinVec};
use mosaic_core::wire::RulesMessage;

pub(crate) const HEAD: RuntimeId = RuntimeId(0);
pub(crate) const ONE: RuntimeId = RuntimeId(1);
pub(crate) const TWO: RuntimeId = RuntimeId(2);
pub(crate) const THREE: RuntimeId = RuntimeId(3);

pub(crate) struct Net {
    machines: BTreeMap<RuntimeId, Machine<u64>>,
    links: VecDeque<(RuntimeId, RuntimeId, RulesMessage)>,
    slow: BTreeSet<(RuntimeId, RuntimeId)>,
    /// Calls that the executors were given and have not finished.
    pub(crate) running: Vec<(RuntimeId, ReadyCall)>,
    pub(crate) settled: BTreeMap<u64, Outcome>,
    pub(crate) revoked: Vec<TaskId>,
    pub(crate) prevented: Vec<TaskId>,
    pub(crate) returned: Vec<BufferId>,
    pub(crate) dropped: Vec<(RuntimeId, TesseraId)>,
    /// Tesserae that the program's strategy is to place.
    pub(crate) unplaced: Vec<TesseraId>,
    /// The machines whose warehouse was to be started.
    pub(crate) warehouses: Vec<NodeId>,
    next: u64,
}

pub(crate) fn value(text: &'static str) -> Outcome {
    Outcome::Value(payload(text))
}

pub(crate) fn payload(text: &'static str) -> Payload {
    Payload {
        format: 1,
        body: Bytes::from_static(text.as_bytes()),
        ..Payload::default()
    }
}

pub(crate) fn raised() -> Outcome {
    Outcome::Failed(Failure::new(FailureKind::Raised, "it raised"))
}

pub(crate) fn kind(outcome: &Outcome) -> Option<FailureKind> {
    match outcome {
        Outcome::Failed(failure) => Some(failure.kind),
        _ => None,
    }
}

/// A dependency on a task, as an argument.
pub(crate) fn on(task: TaskId) -> Dependency {
    let source = Source::Unresolved {
        authority: task.owner,
    };
    Dependency {
        slot: Slot::Positional(0),
        task,
        part: Bytes::new(),
        kept: false,
        source,
    }
}

impl Net {
    /// The head and that many workers, all of whom know each other.
    pub(crate) fn new(workers: u32) -> Self {
        Self::with(workers, |_| {})
    }

    pub(crate) fn with(workers: u32, adjust: impl Fn(&mut Config)) -> Self {
        let mut net = Self {
            machines: BTreeMap::new(),
            links: VecDeque::new(),
            slow: BTreeSet::new(),
            running: Vec::new(),
            settled: BTreeMap::new(),
            revoked: Vec::new(),
            prevented: Vec::new(),
            returned: Vec::new(),
            dropped: Vec::new(),
            unplaced: Vec::new(),
            warehouses: Vec::new(),
            next: 0,
        };
        for number in 0..=workers {
            let mut config = Config::new(RuntimeId(number));
            adjust(&mut config);
            net.machines.insert(RuntimeId(number), Machine::new(config));
        }
        for number in 1..=workers {
            net.feed(HEAD, Event::RuntimeJoined(member(number)));
        }
        net.deliver();
        net
    }

    pub(crate) fn join(&mut self, number: u32) {
        self.join_as(number, Role::Worker);
    }

    pub(crate) fn join_as(&mut self, number: u32, role: Role) {
        self.join_on(number, role, NodeId::FIRST);
    }

    pub(crate) fn join_on(&mut self, number: u32, role: Role, node: NodeId) {
        let config = Config {
            node,
            ..Config::new(RuntimeId(number))
        };
        self.machines
            .insert(RuntimeId(number), Machine::new(config));
        let member = Member {
            role,
            node,
            ..member(number)
        };
        self.feed(HEAD, Event::RuntimeJoined(member));
    }

    pub(crate) fn machine_mut(&mut self, at: RuntimeId) -> &mut Machine<u64> {
        self.machines.get_mut(&at).expect("it takes part")
    }

    /// A program needs the warehouse; returns what is settled when it is there.
    pub(crate) fn want_warehouse(&mut self, at: RuntimeId) -> u64 {
        let handle = self.number();
        self.feed(at, Event::WarehouseRequested(handle));
        self.deliver();
        handle
    }

    /// Construct a tessera at the warehouse; the construction is not run.
    pub(crate) fn begin_in_warehouse(&mut self, at: RuntimeId) -> (TesseraId, TaskId) {
        self.begin(at, HEAD, |submission| {
            submission.place = None;
            submission.call.construction.home = Role::Warehouse;
        })
    }

    /// Construct a tessera where the strategy says; the construction is not run.
    pub(crate) fn begin_anywhere(&mut self, at: RuntimeId) -> (TesseraId, TaskId) {
        self.begin(at, HEAD, |submission| submission.place = None)
    }

    pub(crate) fn machine(&self, at: RuntimeId) -> &Machine<u64> {
        &self.machines[&at]
    }

    pub(crate) fn feed(&mut self, at: RuntimeId, event: Event<u64>) {
        let Some(machine) = self.machines.get_mut(&at) else {
            return;
        };
        let mut actions = Vec::new();
        machine.handle(event, &mut actions);
        machine.flush(&mut actions);
        machine.validate();
        let settles = |action: &_| matches!(action, Action::Complete { .. });
        let prevents = |action: &_| matches!(action, Action::Prevent(_));
        if let Some(first) = actions.iter().position(settles) {
            let late = actions[first..].iter().any(prevents);
            assert!(
                !late,
                "LINK-1: somebody hears of it before nothing can begin"
            );
        }
        for action in actions {
            match action {
                Action::Send { to, message } => self.links.push_back((at, to, message)),
                Action::Run(ready) => self.running.push((at, ready)),
                Action::Complete { handle, outcome } => {
                    assert!(
                        self.settled
                            .insert(handle, Arc::unwrap_or_clone(outcome))
                            .is_none(),
                        "OUT-1: {handle} is told twice"
                    );
                }
                Action::Revoke(task) => self.revoked.push(task),
                Action::Prevent(task) => self.prevented.push(task),
                Action::BufferReleased(buffer) => self.returned.push(buffer),
                Action::DropTessera(tessera) => self.dropped.push((at, tessera)),
                Action::ChooseWorker(tessera) => self.unplaced.push(tessera),
                Action::StartWarehouse(node) => self.warehouses.push(node),
                _ => {}
            }
        }
    }

    /// Messages on that link wait until [`Self::fast`].
    pub(crate) fn slow(&mut self, from: RuntimeId, to: RuntimeId) {
        self.slow.insert((from, to));
    }

    pub(crate) fn fast(&mut self, from: RuntimeId, to: RuntimeId) {
        self.slow.remove(&(from, to));
        self.deliver();
    }

    /// Deliver all messages, in the order in which they were sent, and what they lead to.
    pub(crate) fn deliver(&mut self) {
        while let Some(place) = self
            .links
            .iter()
            .position(|(from, to, _)| !self.slow.contains(&(*from, *to)))
        {
            let Some((from, to, message)) = self.links.remove(place) else {
                return;
            };
            self.feed(to, Event::MessageReceived { from, message });
        }
    }

    /// What is on that link is lost.
    pub(crate) fn lose(&mut self, from: RuntimeId, to: RuntimeId) {
        self.links.retain(|link| (link.0, link.1) != (from, to));
    }

    /// The connection between two is lost with what is on it, and both live.
    pub(crate) fn cut(&mut self, one: RuntimeId, other: RuntimeId) {
        for (at, peer) in [(one, other), (other, one)] {
            self.lose(at, peer);
        }
        for (at, peer) in [(one, other), (other, one)] {
            let cause = format!("the connection between {one:?} and {other:?} was lost");
            self.feed(at, Event::LinkLost { peer, cause });
        }
        self.deliver();
    }

    /// A runtime dies, and the head sees it.
    pub(crate) fn kill(&mut self, dead: RuntimeId) {
        self.machines.remove(&dead);
        self.links
            .retain(|(from, to, _)| *from != dead && *to != dead);
        self.running.retain(|(at, _)| *at != dead);
        self.feed(
            HEAD,
            Event::RuntimeDied {
                runtime: dead,
                cause: format!("{dead:?} was killed"),
            },
        );
        self.deliver();
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn submission(
        &mut self,
        at: RuntimeId,
        tessera: TesseraId,
        kind: CallKind,
    ) -> Submission<u64> {
        let task = TaskId {
            owner: at,
            sequence: self.number(),
        };
        let call = Call {
            task,
            tessera,
            kind,
            method: "step".into(),
            coroutine: false,
            retries: 0,
            origin: None,
            construction: Construction::default(),
            dependencies: ThinVec::new(),
            arguments: payload("arguments"),
        };
        Submission {
            handle: task.sequence,
            call: Box::new(call),
            host: None,
            place: None,
            restarts: 0,
            resends: 0,
        }
    }

    pub(crate) fn submit(&mut self, submission: Submission<u64>) -> TaskId {
        let task = submission.call.task;
        self.feed(task.owner, Event::CallSubmitted(submission));
        task
    }

    /// Construct a tessera there, as `adjust` says; the construction is not run.
    pub(crate) fn begin(
        &mut self,
        at: RuntimeId,
        place: RuntimeId,
        adjust: impl Fn(&mut Submission<u64>),
    ) -> (TesseraId, TaskId) {
        let tessera = TesseraId {
            owner: at,
            sequence: self.number(),
        };
        let mut submission = self.submission(at, tessera, CallKind::Construct);
        submission.place = Some(place);
        adjust(&mut submission);
        submission.call.construction.restartable = submission.restarts > 0;
        let task = self.submit(submission);
        self.deliver();
        (tessera, task)
    }

    /// A tessera that listens.
    pub(crate) fn construct(&mut self, at: RuntimeId, place: RuntimeId) -> TesseraId {
        let (tessera, task) = self.begin(at, place, |_| {});
        self.finish(task, value(""));
        self.release(at, ObjectId::Task(task));
        tessera
    }

    /// Call a method.
    pub(crate) fn call(&mut self, at: RuntimeId, tessera: TesseraId) -> TaskId {
        self.call_with(at, tessera, |_| {})
    }

    pub(crate) fn call_with(
        &mut self,
        at: RuntimeId,
        tessera: TesseraId,
        adjust: impl Fn(&mut Submission<u64>),
    ) -> TaskId {
        let mut submission = self.submission(at, tessera, CallKind::Method);
        adjust(&mut submission);
        self.submit(submission)
    }

    /// The tasks that the executor there was given and has not finished, in the order of the hand-over.
    pub(crate) fn runs(&self, at: RuntimeId) -> Vec<TaskId> {
        self.running
            .iter()
            .filter(|(host, _)| *host == at)
            .map(|(_, ready)| ready.call.task)
            .collect()
    }

    /// A call that runs has finished.
    pub(crate) fn finish(&mut self, task: TaskId, outcome: Outcome) {
        let place = self
            .running
            .iter()
            .position(|(_, ready)| ready.call.task == task);
        let place = place.unwrap_or_else(|| panic!("{task:?} does not run"));
        let (at, _) = self.running.remove(place);
        let outcome = outcome.into();
        self.feed(at, Event::CallFinished { task, outcome });
        self.deliver();
    }

    pub(crate) fn want(&mut self, at: RuntimeId, task: TaskId, want: Want) -> u64 {
        let handle = self.number();
        self.feed(at, Event::OutcomeRequested { task, want, handle });
        self.deliver();
        handle
    }

    /// How the call ended, as its caller was told.
    pub(crate) fn end(&self, task: TaskId) -> Option<&Outcome> {
        self.settled.get(&task.sequence)
    }

    pub(crate) fn failure(&self, task: TaskId) -> Option<FailureKind> {
        self.end(task).and_then(kind)
    }

    /// Pass references to a runtime as arguments of a function call; its program keeps handles on them.
    pub(crate) fn pass(&mut self, from: RuntimeId, to: RuntimeId, references: &[Reference]) {
        let mut submission = self.submission(from, TesseraId::functions(to), CallKind::Function);
        submission.call.arguments.references = references.into();
        let task = self.submit(submission);
        self.deliver();
        for reference in references {
            self.feed(to, Event::Retained(*reference));
        }
        self.finish(task, value(""));
        self.release(from, ObjectId::Task(task));
    }

    pub(crate) fn release(&mut self, at: RuntimeId, object: ObjectId) {
        self.feed(at, Event::Released(object));
        self.deliver();
    }

    /// Nothing is remembered anywhere.
    pub(crate) fn assert_blank(&self) {
        for (runtime, machine) in &self.machines {
            assert!(
                machine.snapshot().is_blank(),
                "{runtime:?} remembers {:?}",
                machine.snapshot()
            );
        }
    }
}

fn member(number: u32) -> Member {
    Member {
        runtime: RuntimeId(number),
        node: NodeId::FIRST,
        uid: format!("worker:{number}"),
        pid: number,
        role: Role::Worker,
    }
}

pub(crate) fn tessera_at(tessera: TesseraId, authority: RuntimeId) -> Reference {
    Reference {
        object: ObjectId::Tessera(tessera),
        authority,
    }
}

pub(crate) fn task_of(task: TaskId) -> Reference {
    Reference {
        object: ObjectId::Task(task),
        authority: task.owner,
    }
}

/// `3.runtime()`
pub(crate) trait RuntimeNumber {
    fn runtime(self) -> RuntimeId;
}

impl RuntimeNumber for u32 {
    fn runtime(self) -> RuntimeId {
        RuntimeId(self)
    }
}
