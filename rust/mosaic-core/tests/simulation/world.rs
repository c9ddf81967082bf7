//! The network: machines, links that keep their order each and no order among them, links that are lost, crashes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mosaic_core::call::{CallKind, Outcome};
use mosaic_core::event::{Action, Event, Member, Role};
use mosaic_core::id::{NodeId, ObjectId, RuntimeId, TaskId};
use mosaic_core::machine::{Config, Machine};
use mosaic_core::payload::Payload;
use mosaic_core::placement::LeastLoaded;
use mosaic_core::wire::RulesMessage;

use crate::digest::Digest;
use crate::doubt::Doubts;
use crate::executor::Lanes;
use crate::program::Program;
use crate::rng::Rng;
use crate::truth::{Truth, mentioned};

/// Values beyond this length stay with their host.
pub(crate) const INLINE: usize = 16;

/// One runtime.
pub(crate) struct Node {
    pub(crate) machine: Machine<u64>,
    pub(crate) alive: bool,
    pub(crate) program: Program,
    pub(crate) lanes: Lanes,
    unflushed: bool,
}

/// What a link carries.
enum Parcel {
    Message(RulesMessage),
    /// The connection was lost here; what comes behind it comes by the next one.
    End,
}

impl Parcel {
    fn message(&self) -> Option<&RulesMessage> {
        match self {
            Self::Message(message) => Some(message),
            Self::End => None,
        }
    }
}

/// All of it.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) nodes: BTreeMap<RuntimeId, Node>,
    links: BTreeMap<(RuntimeId, RuntimeId), VecDeque<Parcel>>,
    /// Runtimes that have lost the connection to a peer and have not seen it: what they send goes nowhere.
    cut_off: BTreeSet<(RuntimeId, RuntimeId)>,
    /// Pairs of which the first has sent to the second, or heard from it, by the connection that they have.
    in_touch: BTreeSet<(RuntimeId, RuntimeId)>,
    pub(crate) truth: Truth,
    /// Of all events and actions so far.
    pub(crate) digest: Digest,
    /// Deaths that the head has not seen.
    unseen: Vec<RuntimeId>,
    pub(crate) doubts: Doubts,
    next_handle: u64,
    next_runtime: u32,
    pub(crate) stops: bool,
    log: Option<VecDeque<String>>,
}

impl World {
    pub(crate) fn new(seed: u64, log: bool) -> Self {
        let mut world = Self {
            rng: Rng::new(seed),
            nodes: BTreeMap::new(),
            links: BTreeMap::new(),
            cut_off: BTreeSet::new(),
            in_touch: BTreeSet::new(),
            truth: Truth::default(),
            digest: Digest::default(),
            unseen: Vec::new(),
            doubts: Doubts::new(seed),
            next_handle: 0,
            next_runtime: 0,
            stops: false,
            log: log.then(VecDeque::new),
        };
        world.add_node();
        if world.rng.chance(50)
            && let Some(head) = world.nodes.get_mut(&RuntimeId::HEAD)
        {
            head.machine.set_strategy(Box::new(LeastLoaded::default()));
        }
        for _ in 0..2 + world.rng.below(3) {
            world.join();
        }
        world
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push_back(line());
        }
    }

    #[allow(clippy::print_stderr)] // for the people who replay a seed
    pub(crate) fn print_log(&self, last: usize) {
        for line in self
            .log
            .iter()
            .flat_map(|log| log.iter().skip(log.len().saturating_sub(last)))
        {
            eprintln!("{line}");
        }
    }

    fn add_node(&mut self) -> RuntimeId {
        let me = RuntimeId(self.next_runtime);
        self.next_runtime += 1;
        let window_calls = 1 + self.rng.below(4);
        let config = Config {
            window_calls,
            window_bytes: 200,
            inline_limit: INLINE,
            ..Config::new(me)
        };
        let node = Node {
            machine: Machine::new(config),
            alive: true,
            program: Program::default(),
            lanes: Lanes::default(),
            unflushed: false,
        };
        self.nodes.insert(me, node);
        me
    }

    fn join(&mut self) {
        let runtime = self.add_node();
        let member = Member {
            runtime,
            node: NodeId::FIRST,
            uid: format!("worker:{}", runtime.0),
            pid: runtime.0,
            role: Role::Worker,
        };
        if self.rng.chance(50) {
            self.links
                .entry((runtime, RuntimeId::HEAD))
                .or_default()
                .push_back(Parcel::Message(RulesMessage::Join(member)));
        } else {
            self.happens(RuntimeId::HEAD, Event::RuntimeJoined(member));
        }
    }

    fn crash(&mut self, dead: RuntimeId) {
        self.note(|| format!("{dead:?} crashes"));
        if let Some(node) = self.nodes.get_mut(&dead) {
            node.alive = false;
            node.program = Program::default();
            node.lanes = Lanes::default();
        }
        for ((from, to), messages) in &mut self.links {
            if *to == dead {
                messages.clear();
            } else if *from == dead {
                messages.truncate(self.rng.below(messages.len() + 1));
            }
        }
        self.truth.crashed(dead);
        self.doubts.crashed(dead);
        self.unseen.push(dead);
    }

    /// A connection between two workers is lost, and both live. Of what is on its way a part still arrives. Each sees the
    /// end behind that part; who has seen it uses the next connection, which the one with the higher number makes.
    fn cut(&mut self) {
        let workers = self.workers();
        let (Some(one), Some(other)) = (self.rng.pick(&workers), self.rng.pick(&workers)) else {
            return;
        };
        let (low, high) = (one.min(other), one.max(other));
        if low == high || self.cut_off.contains(&(high, low)) {
            // It has not made another.
            return;
        }
        let unheard = !self.in_touch.contains(&(low, high)) && self.rng.chance(50);
        self.note(|| format!("the connection of {low:?} and {high:?} is lost"));
        if self.cut_off.contains(&(low, high)) || unheard {
            // To the other it was never there.
            let messages = self.links.entry((high, low)).or_default();
            let next = messages
                .iter()
                .rposition(|parcel| matches!(parcel, Parcel::End));
            messages.truncate(next.map_or(0, |end| end + 1));
        } else {
            self.lose((high, low));
        }
        self.lose((low, high));
    }

    /// What goes by one direction of a connection is lost, but for the first part; the receiver will see that.
    fn lose(&mut self, link: (RuntimeId, RuntimeId)) {
        let (from, to) = link;
        let messages = self.links.entry(link).or_default();
        messages.truncate(self.rng.below(messages.len() + 1));
        messages.push_back(Parcel::End);
        self.cut_off.insert((to, from));
    }

    pub(crate) fn handle(&mut self) -> u64 {
        self.next_handle += 1;
        self.next_handle
    }

    pub(crate) fn living(&self) -> Vec<RuntimeId> {
        self.nodes
            .iter()
            .filter(|(_, node)| node.alive)
            .map(|(runtime, _)| *runtime)
            .collect()
    }

    pub(crate) fn workers(&self) -> Vec<RuntimeId> {
        self.living()
            .into_iter()
            .filter(|runtime| *runtime != RuntimeId::HEAD)
            .collect()
    }

    /// Feed one event to a machine and carry out its actions.
    pub(crate) fn happens(&mut self, at: RuntimeId, event: Event<u64>) {
        self.note(|| format!("{at:?} <- {event:?}"));
        let mut actions = Vec::new();
        let flush = self.rng.chance(50);
        let waited = self.waiting_before(at);
        let Some(node) = self.nodes.get_mut(&at) else {
            return;
        };
        self.digest.event(at, &event);
        node.machine.handle(event, &mut actions);
        node.machine.validate();
        node.unflushed = !flush;
        if flush {
            node.machine.flush(&mut actions);
            node.machine.validate();
        }
        self.settle_doubts(at, waited);
        self.carry_out(at, actions);
    }

    fn flush(&mut self, at: RuntimeId) {
        let mut actions = Vec::new();
        let Some(node) = self.nodes.get_mut(&at) else {
            return;
        };
        node.unflushed = false;
        node.machine.flush(&mut actions);
        node.machine.validate();
        self.carry_out(at, actions);
    }

    fn carry_out(&mut self, at: RuntimeId, actions: Vec<Action<u64>>) {
        // What was decided together is on its way together: a look at the whole comes after the sends.
        let (mut dropped, mut revoked) = (Vec::new(), Vec::new());
        for action in actions {
            self.digest.action(at, &action);
            self.note(|| format!("    {at:?} -> {action:?}"));
            match action {
                Action::Send { to, message } => {
                    self.truth.sent(at, to, &message);
                    self.in_touch.insert((at, to));
                    if self.nodes.get(&to).is_some_and(|node| node.alive)
                        && !self.cut_off.contains(&(at, to))
                    {
                        let messages = self.links.entry((at, to)).or_default();
                        messages.push_back(Parcel::Message(message));
                    } else if self.cut_off.contains(&(at, to)) {
                        self.truth.abandon(at, to);
                    }
                }
                Action::Run(ready) => {
                    let Some(node) = self.nodes.get_mut(&at) else {
                        continue;
                    };
                    node.lanes.handed_over(ready);
                }
                Action::Revoke(task) => revoked.push((task, true)),
                Action::Prevent(task) => revoked.push((task, false)),
                Action::DropTessera(tessera) => dropped.push(tessera),
                Action::BufferReleased(buffer) => {
                    self.truth.lent.remove(&buffer);
                    for (runtime, node) in self.nodes.iter().filter(|(_, node)| node.alive) {
                        assert!(
                            *runtime == at || !node.program.looks_at(buffer),
                            "REF-5: {buffer:?} is given up while {runtime:?} looks at it"
                        );
                    }
                }
                Action::DropResult(task) => {
                    if self
                        .truth
                        .values
                        .get(&task)
                        .is_some_and(|value| !value.inline && value.at == at)
                    {
                        self.truth.values.remove(&task);
                    }
                }
                Action::Complete { handle, outcome } => self.settled(at, handle, &outcome),
                Action::ChooseWorker(_) => panic!("no foreign strategy is plugged in"),
                Action::MemberJoined(_)
                | Action::TesseraPlaced(_)
                | Action::MemberDied { .. }
                | Action::StartWarehouse(_)
                | Action::Report(_) => {}
            }
        }
        for tessera in dropped {
            let roots = self.roots();
            // A stop that has run drops the object whoever refers to it.
            let stop = self
                .truth
                .calls
                .values()
                .any(|call| call.kind == CallKind::Stop && call.tessera == tessera);
            self.truth.tessera_dropped(tessera, at, stop, &roots);
        }
        for (task, told) in revoked {
            self.revoke(at, task, told);
        }
    }

    /// The executor says at once whether a call that was handed over will run. One that runs is told, or left alone.
    fn revoke(&mut self, at: RuntimeId, task: TaskId, told: bool) {
        let refused = self
            .nodes
            .get_mut(&at)
            .and_then(|node| node.lanes.take_out(task));
        match refused {
            Some(ready) => self.refuse(at, &ready),
            None if told => {
                if let Some(node) = self.nodes.get_mut(&at) {
                    node.lanes.revoke(task);
                }
                self.happens(at, Event::CallIsRunning(task));
            }
            None => {}
        }
    }

    fn settled(&mut self, at: RuntimeId, handle: u64, outcome: &Outcome) {
        let Some(task) = self.truth.settled(handle, at) else {
            return;
        };
        if task.owner == at
            && let Some(call) = self.truth.calls.get_mut(&task)
        {
            call.settled = true;
            if matches!(outcome, Outcome::Failed(_)) {
                self.truth.failed(task, outcome.references());
            }
        }
        if let Some(node) = self.nodes.get_mut(&at) {
            node.program.told(task, outcome);
        }
    }

    /// What programs hold and messages mention.
    fn roots(&self) -> BTreeSet<ObjectId> {
        let mut roots = BTreeSet::new();
        for node in self.nodes.values().filter(|node| node.alive) {
            node.program.held(&mut roots);
        }
        let alive = |runtime: &RuntimeId| self.nodes.get(runtime).is_some_and(|node| node.alive);
        for ((from, _), messages) in &self.links {
            if alive(from) {
                for message in messages.iter().filter_map(Parcel::message) {
                    mentioned(message, &mut roots);
                }
            }
        }
        roots
    }

    /// Deliver one message of a random link. False if there is none.
    fn deliver(&mut self) -> bool {
        let full: Vec<_> = self
            .links
            .iter()
            .filter(|(_, messages)| !messages.is_empty())
            .map(|(link, _)| *link)
            .collect();
        let Some((from, to)) = self.rng.pick(&full) else {
            return false;
        };
        let parcel = self.links.get_mut(&(from, to));
        match parcel.and_then(VecDeque::pop_front) {
            Some(Parcel::Message(message)) => {
                self.in_touch.insert((to, from));
                self.happens(to, Event::MessageReceived { from, message });
            }
            Some(Parcel::End) => {
                self.cut_off.remove(&(to, from));
                self.in_touch.remove(&(to, from));
                if self.cut_off.contains(&(from, to)) {
                    self.truth.abandon(from, to);
                }
                let cause = format!("the connection between {from:?} and {to:?} was lost");
                self.happens(to, Event::LinkLost { peer: from, cause });
            }
            None => return false,
        }
        true
    }

    /// The head sees one of the deaths. False if there is none.
    fn see_death(&mut self) -> bool {
        if self.unseen.is_empty() {
            return false;
        }
        let runtime = self.unseen.swap_remove(self.rng.below(self.unseen.len()));
        self.happens(
            RuntimeId::HEAD,
            Event::RuntimeDied {
                runtime,
                cause: format!("{runtime:?} was killed"),
            },
        );
        true
    }

    fn flush_somebody(&mut self) -> bool {
        let lazy: Vec<_> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.alive && node.unflushed)
            .map(|(at, _)| *at)
            .collect();
        let Some(at) = self.rng.pick(&lazy) else {
            return false;
        };
        self.flush(at);
        true
    }

    /// One random step of a run with programs and, if there are such, crashes and lost connections.
    pub(crate) fn step(&mut self, faults: bool, cuts: bool) {
        self.doubt();
        let living = self.living();
        let Some(at) = self.rng.pick(&living) else {
            return;
        };
        match self.rng.below(103) {
            100.. if cuts => self.cut(),
            100.. | 0..45 => drop(self.deliver()),
            45..67 => drop(self.execute(at)),
            67..95 => self.program(at),
            95..97 => drop(self.flush_somebody()),
            97 => drop(self.see_death()),
            98 if faults && at != RuntimeId::HEAD && self.workers().len() > 1 => self.crash(at),
            _ if faults && self.next_runtime < 12 && self.rng.chance(30) => self.join(),
            _ => {}
        }
    }

    /// Let everything that is under way come to its end, in a random order.
    pub(crate) fn settle_down(&mut self) {
        for step in 0.. {
            assert!(step < 200_000, "the network does not come to rest");
            self.reach_sometimes();
            let living = self.living();
            let busy: Vec<_> = living
                .into_iter()
                .filter(|at| self.nodes[at].lanes.is_busy())
                .collect();
            let moved = match self.rng.below(4) {
                0 => self.rng.pick(&busy).is_some_and(|at| self.execute(at)),
                1 => self.rng.chance(20) && self.see_death(),
                2 => self.flush_somebody(),
                _ => self.deliver(),
            };
            let idle = !moved
                && busy.is_empty()
                && self.unseen.is_empty()
                && self.doubts.are_none()
                && self.links.values().all(VecDeque::is_empty)
                && !self.nodes.values().any(|node| node.alive && node.unflushed);
            if idle {
                return;
            }
        }
    }

    /// The whole life of a network.
    pub(crate) fn run(&mut self) {
        let (faults, cuts) = (self.rng.chance(70), self.rng.chance(60));
        let steps = 60 + self.rng.below(500);
        for _ in 0..steps {
            self.step(faults, cuts);
        }
        if self.rng.chance(10) {
            let living = self.living();
            let Some(at) = self.rng.pick(&living) else {
                return;
            };
            self.happens(at, Event::RuntimeStopped("the runtime was stopped".into()));
            let left: Vec<_> = self
                .truth
                .unsettled
                .values()
                .filter(|(whose, _)| *whose == at)
                .collect();
            assert!(
                left.is_empty(),
                "{at:?} has stopped and did not settle {left:?}"
            );
            self.stops = true;
            return;
        }
        self.settle_down();
        if self.workers().is_empty() {
            self.happens(
                RuntimeId::HEAD,
                Event::WorkersExhausted("no worker is left".into()),
            );
            self.settle_down();
        }
        assert!(
            self.truth.unsettled.is_empty(),
            "a wait does not end: {:?}",
            self.truth
                .unsettled
                .iter()
                .map(|(handle, (at, task))| (handle, at, task))
                .collect::<Vec<_>>()
        );
        self.release_everything();
        for (runtime, node) in self.nodes.iter().filter(|(_, node)| node.alive) {
            assert!(
                node.machine.snapshot().is_blank(),
                "{runtime:?} remembers something: {:?}",
                node.machine.snapshot()
            );
        }
        assert!(
            self.truth.lent.is_empty(),
            "REF-5: buffers are kept for nobody: {:?}",
            self.truth.lent
        );
        assert!(
            self.truth.living.is_empty(),
            "objects are left: {:?}",
            self.truth.living
        );
    }

    fn release_everything(&mut self) {
        loop {
            self.settle_down();
            let living = self.living();
            let mut any = false;
            for at in living {
                let objects = self
                    .nodes
                    .get_mut(&at)
                    .map(|node| node.program.let_go(at))
                    .unwrap_or_default();
                any |= !objects.is_empty();
                for object in objects {
                    self.happens(at, Event::Released(object));
                    if self.rng.chance(30) {
                        self.deliver();
                    }
                }
            }
            if !any {
                return;
            }
        }
    }

    pub(crate) fn put_value(&mut self, at: RuntimeId, task: TaskId, value: Payload) {
        self.truth
            .value_came_about(task, task.owner, &value.references, true);
        if task.owner == at {
            return self.happens(at, Event::ValuePut { task, value });
        }
        let handle = self.handle();
        self.truth.expect(handle, at, Some(task));
        self.happens(
            at,
            Event::RemotePutRequested {
                task,
                value,
                handle,
            },
        );
    }
}
