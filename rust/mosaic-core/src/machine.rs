//! The state machine of one runtime: takes events, answers with actions.
//!
//! This module owns the tables and routes events to the rules:
//!
//! | module | rules |
//! | --- | --- |
//! | [`crate::caller`] | tasks that this runtime owns, and the calls on their way to tesserae |
//! | [`crate::callee`] | tesserae that live here, and the calls that have arrived for them |
//! | [`crate::results`] | outcomes: stored, subscribed to, fetched |
//! | [`crate::values`] | values that programs put |
//! | [`crate::references`] | reference counts |
//! | [`crate::membership`] | which runtimes take part, and what follows from a death |
//! | [`crate::link`] | what follows from the loss of a connection between two runtimes that live |
//! | [`crate::placement`] | which worker gets a new tessera |
//! | [`crate::barrier`] | when all tasks submitted before a moment have ended |
//! | [`crate::warehouse`] | when the warehouse starts, and which calls wait for it |
//!
//! A message to this runtime itself is handled like any other, without leaving the machine.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::barrier::{Barriers, Requester};
use crate::call::{Failure, FailureKind, Outcome};
use crate::callee::call::InboundCall;
use crate::callee::tessera::HostedTessera;
use crate::caller::route::Route;
use crate::caller::task::OwnedTask;
use crate::event::{Action, Event, Member, Role};
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::link::Recounts;
use crate::membership::Membership;
use crate::payload::{Payload, Reference, ThinVec};
use crate::placement::{Placement, Strategy};
use crate::references::table::References;
use crate::results::{Argument, Fetch, Subscriber};
use crate::values::RemotePuts;
use crate::warehouse::Warehouse;
use crate::wire::RulesMessage;

/// Objects that one message names as not needed any more.
const RELEASED_AT_ONCE: usize = 16 << 10;

/// What a machine is made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// This runtime; the head if it is number 0.
    pub me: RuntimeId,
    /// Calls to one tessera that may be sent and not ended at a time.
    pub window_calls: usize,
    /// Bytes of arguments to one tessera that may be sent and not ended at a time, beyond the first call.
    pub window_bytes: usize,
    /// Results of at most this many bytes travel with the news that the task has ended.
    pub inline_limit: usize,
    /// The same for what lies in a store and does not move: until it is asked for, it can go to disk.
    pub lend_limit: u64,
    /// Whether the program brings its own placement strategy (head only).
    pub foreign_strategy: bool,
}

impl Config {
    /// The usual limits.
    pub const fn new(me: RuntimeId) -> Self {
        Self {
            me,
            window_calls: 16 << 10,
            window_bytes: 64 << 20,
            inline_limit: 64 << 10,
            lend_limit: 4 << 20,
            foreign_strategy: false,
        }
    }
}

/// Work inside one machine that waits until an event is done with.
#[derive(Debug)]
pub(crate) enum Internal {
    /// This runtime sent itself a message.
    Message(RulesMessage),
    /// The outcome for an argument of a call that waits here has arrived.
    ArgumentArrived(Argument, Arc<Outcome>),
    /// The queues of a tessera hosted here have changed.
    TesseraReady(TesseraId),
    /// A route may let calls through.
    RouteReady(TesseraId),
    /// A value that contained a reference is gone.
    ReferenceDropped(ObjectId),
}

/// One runtime's rules and everything that they remember. `H` is whatever the caller wants back when a
/// task ends.
pub struct Machine<H> {
    pub(crate) config: Config,
    pub(crate) tasks: FxHashMap<TaskId, Box<OwnedTask<H>>>,
    pub(crate) routes: FxHashMap<TesseraId, Route>,
    pub(crate) hosted: FxHashMap<TesseraId, HostedTessera>,
    pub(crate) inbound: FxHashMap<TaskId, InboundCall<H>>,
    /// Calls that came before the construction of their tessera did, by another way.
    pub(crate) early: FxHashMap<TesseraId, VecDeque<TaskId>>,
    /// Fetches that came before the call that they ask for did, by another way.
    pub(crate) expected: FxHashMap<TaskId, Vec<(bool, Subscriber<H>)>>,
    pub(crate) fetches: FxHashMap<(TaskId, bool), Fetch<H>>,
    /// References inside values of tasks that were passed to this runtime.
    pub(crate) borrowed: FxHashMap<TaskId, ThinVec<Reference>>,
    pub(crate) references: References,
    pub(crate) members: Membership,
    pub(crate) placement: Placement,
    pub(crate) barriers: Barriers<H>,
    /// On the head: who waits for a runtime of which role, and for which tessera.
    pub(crate) unplaced: Vec<(TesseraId, RuntimeId, Role)>,
    pub(crate) remote_puts: RemotePuts<H>,
    pub(crate) warehouse: Warehouse<H>,
    pub(crate) releases: FxHashMap<RuntimeId, Vec<ObjectId>>,
    pub(crate) recounts: Recounts,
    /// Work of this event that waits, in the order in which it arose (`QUEUE-1`): a queue rather than a recursion, which
    /// a long chain of tasks would take too deep.
    pub(crate) internal: VecDeque<Internal>,
}

impl<H> std::fmt::Debug for Machine<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine")
            .field("me", &self.config.me)
            .field("tasks", &self.tasks.len())
            .finish_non_exhaustive()
    }
}

impl<H: Clone> Machine<H> {
    /// A machine that knows nobody but itself.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            tasks: FxHashMap::default(),
            routes: FxHashMap::default(),
            hosted: FxHashMap::default(),
            inbound: FxHashMap::default(),
            early: FxHashMap::default(),
            expected: FxHashMap::default(),
            fetches: FxHashMap::default(),
            borrowed: FxHashMap::default(),
            references: References::default(),
            members: Membership::default(),
            placement: Placement::default(),
            barriers: Barriers::default(),
            unplaced: Vec::new(),
            remote_puts: RemotePuts::default(),
            warehouse: Warehouse::default(),
            releases: FxHashMap::default(),
            recounts: Recounts::default(),
            internal: VecDeque::new(),
        }
    }

    /// Whether this is the head.
    pub(crate) fn is_head(&self) -> bool {
        self.config.me == RuntimeId::HEAD
    }

    /// Use this strategy from now on (head only).
    pub fn set_strategy(&mut self, strategy: Box<dyn Strategy + Send>) {
        self.placement.set_strategy(strategy);
    }

    /// The others who take part, as far as this runtime knows.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.living.values()
    }

    /// Whether a runtime is known to have died.
    pub fn is_dead(&self, runtime: RuntimeId) -> bool {
        self.members.cause(runtime).is_some()
    }

    /// Tasks of this runtime that it still remembers, ended or not.
    pub fn remembered(&self) -> usize {
        self.tasks.len()
    }

    /// The runtimes that have something to do at this barrier; each is named once (head only).
    pub fn take_barrier_tasks(&mut self) -> BTreeSet<RuntimeId> {
        std::mem::take(&mut self.barriers.barrier_tasks)
    }

    /// Tesserae that live here.
    pub fn hosted(&self) -> usize {
        self.hosted.len()
    }

    /// Whether nothing at all is remembered of tasks, tesserae and references.
    pub fn is_blank(&self) -> bool {
        self.tasks.is_empty()
            && self.routes.is_empty()
            && self.hosted.is_empty()
            && self.inbound.is_empty()
            && self.early.is_empty()
            && self.expected.is_empty()
            && self.fetches.is_empty()
            && self.borrowed.is_empty()
            && self.remote_puts.is_empty()
            && self.recounts.is_empty()
            && self.references.holdings.is_empty()
            && self.references.holders.is_empty()
    }

    /// How much is remembered of what, for people who look for a leak.
    pub fn describe(&self) -> String {
        format!(
            "tasks {:?}, routes {:?}, hosted {:?}, inbound {:?}, early {:?}, expected {:?}, fetches {:?}, borrowed {:?}, \
             holdings {:?}, holders {:?}",
            self.tasks.keys(),
            self.routes,
            self.hosted,
            self.inbound.keys(),
            self.early,
            self.expected.keys(),
            self.fetches.keys(),
            self.borrowed,
            self.references.holdings,
            self.references.holders,
        )
    }

    /// Something happened: append what to do about it.
    pub fn handle(&mut self, event: Event<H>, actions: &mut Vec<Action<H>>) {
        match event {
            Event::CallSubmitted(submission) => self.call_submitted(submission, actions),
            Event::CallFinished { task, outcome } => self.call_finished(task, outcome, actions),
            Event::MessageReceived { from, message } => {
                self.message_received(from, message, actions);
            }
            Event::CallIsRunning(task) => self.call_is_running(task, actions),
            Event::DeliveryRequested { task, handle } => {
                self.delivery_requested(task, handle, actions);
            }
            Event::CancelRequested(task) => self.cancel_requested(task, actions),
            Event::CallTimedOut(task) => {
                let failure = Failure::new(FailureKind::TimedOut, "the call's time limit passed");
                self.call_given_up(task, failure, actions);
            }
            Event::OutcomeRequested { task, want, handle } => {
                self.outcome_requested(task, want, handle, actions);
            }
            Event::ValuePut { task, value } => self.value_put(task, value, actions),
            Event::RemotePutRequested {
                task,
                value,
                handle,
            } => self.remote_put_requested(task, value, handle, actions),
            Event::ValueDropped(task) => self.value_dropped(task, actions),
            Event::Retained(reference) => self.hold(reference, actions),
            Event::Released(object) => self.drop_hold(object, actions),
            Event::BarrierRequested(handle) => self.barrier_requested(handle, actions),
            Event::WarehouseRequested(handle) => self.warehouse_requested(handle, actions),
            Event::WarehouseFailed(reason) => self.warehouse_failed(&reason, actions),
            Event::BarrierTaskRegistered => {
                self.send(RuntimeId::HEAD, RulesMessage::BarrierTask, actions);
            }
            Event::RuntimeJoined(member) => self.runtime_joined(member, actions),
            Event::RuntimeDied { runtime, cause } => self.runtime_died(runtime, &cause, actions),
            Event::LinkLost { peer, cause } => self.link_lost(peer, &cause, actions),
            Event::RuntimeStopped(cause) => self.runtime_stopped(&cause, actions),
            Event::WorkerChosen { tessera, place } => self.worker_chosen(tessera, place, actions),
            Event::WorkersExhausted(reason) => self.workers_exhausted(&reason, actions),
        }
        self.serve_self(actions);
    }

    /// The end of a batch of events: send what was saved up.
    pub fn flush(&mut self, actions: &mut Vec<Action<H>>) {
        while !self.releases.is_empty() {
            for (to, objects) in std::mem::take(&mut self.releases) {
                // A million let go of at once do not fit into one header.
                for some in objects.chunks(RELEASED_AT_ONCE) {
                    self.send(to, RulesMessage::Release(some.to_vec()), actions);
                }
            }
            self.serve_self(actions);
        }
    }

    /// `QUEUE-1`: work is taken in the order in which it arose, until none is left. So a message of a runtime to itself is
    /// handled before anything that was decided after it was sent, as a message by a connection is.
    fn serve_self(&mut self, actions: &mut Vec<Action<H>>) {
        while let Some(event) = self.internal.pop_front() {
            match event {
                Internal::Message(message) => {
                    self.message_received(self.config.me, message, actions);
                }
                Internal::ArgumentArrived(argument, outcome) => {
                    let Argument {
                        call, slot, part, ..
                    } = argument;
                    self.argument_received(call, slot, part, outcome, actions);
                    if let Some(tessera) = self.inbound.get(&call).map(|inbound| inbound.tessera) {
                        self.advance(call, tessera, actions);
                    }
                }
                Internal::TesseraReady(tessera) => self.dispatch(tessera, actions),
                Internal::RouteReady(tessera) => self.pump(tessera, actions),
                Internal::ReferenceDropped(object) => self.drop_hold(object, actions),
            }
        }
    }

    /// Send a message, to oneself too; to the dead nothing is sent.
    pub(crate) fn send(
        &mut self,
        to: RuntimeId,
        message: RulesMessage,
        actions: &mut Vec<Action<H>>,
    ) {
        if to == self.config.me {
            self.internal.push_back(Internal::Message(message));
        } else if self.members.cause(to).is_none() {
            actions.push(Action::Send { to, message });
        }
    }

    fn message_received(
        &mut self,
        from: RuntimeId,
        message: RulesMessage,
        actions: &mut Vec<Action<H>>,
    ) {
        if from != self.config.me && self.members.cause(from).is_some() {
            // Its death was announced: what it said is settled.
            return;
        }
        match message {
            RulesMessage::Call(call) => self.call_received(from, call, actions),
            RulesMessage::Completed { task, outcome } => {
                self.task_completed(from, task, outcome, actions);
            }
            RulesMessage::Cancel(task) => self.cancel_received(task, actions),
            RulesMessage::DeliveryProbe(task) => {
                self.send(from, RulesMessage::Delivered(task), actions)
            }
            RulesMessage::Delivered(task) => self.arrived(from, task, actions),
            RulesMessage::Fetch { task, value } => {
                self.want(
                    task,
                    self.config.me,
                    value,
                    Subscriber::Peer { to: from, value },
                    actions,
                );
            }
            RulesMessage::Fetched {
                task,
                value,
                outcome,
            } => self.outcome_fetched(from, task, value, &outcome, actions),
            RulesMessage::RegisterHolder(object) => {
                self.references.add_holder(object, from);
                self.send(from, RulesMessage::HolderRegistered(object), actions);
            }
            RulesMessage::RegisterHolderAndUnpin(object) => {
                self.references.add_holder(object, from);
                if self.references.unpin(object, from) {
                    self.object_unused(object, actions);
                }
            }
            RulesMessage::HolderRegistered(object) => self.holder_registered(object, actions),
            RulesMessage::Unpin(object) => {
                if self.references.unpin(object, from) {
                    self.object_unused(object, actions);
                }
                self.buffer_released(object, actions);
            }
            RulesMessage::Release(objects) => {
                for object in objects {
                    self.released_by(from, object, actions);
                }
            }
            RulesMessage::Freed(tessera) => self.tessera_freed(tessera, from, actions),
            RulesMessage::Place(tessera, role) => self.place(tessera, role, from, actions),
            RulesMessage::Placed { tessera, place } => self.placed(tessera, place, true, actions),
            RulesMessage::Locate(tessera) => self.locate(tessera, from, actions),
            RulesMessage::Located { tessera, place } => self.located(tessera, place, actions),
            RulesMessage::Join(member) => self.runtime_joined(member, actions),
            RulesMessage::MemberJoined(member) => self.member_joined(&member, actions),
            RulesMessage::MemberDied { runtime, cause } => {
                self.runtime_died(runtime, &cause, actions)
            }
            RulesMessage::Drained(dead) => self.drained(from, dead, actions),
            RulesMessage::DeathSettled(dead) => self.death_settled(dead, actions),
            RulesMessage::Discard(task) => self.value_dropped(task, actions),
            RulesMessage::Barrier(number) => {
                let unended = self.unended();
                self.barriers.raise(unended, Requester::Peer(from, number));
                self.check_barriers(actions);
            }
            RulesMessage::BarrierPassed(number) => {
                self.barriers.answered(from, Some(number));
                self.check_barriers(actions);
            }
            RulesMessage::RemotePut { task, value } => {
                self.put_received(from, task, value, actions)
            }
            RulesMessage::Recount(recount) => self.recounted(from, *recount, actions),
            RulesMessage::WarehouseRequested => self.start_warehouse(actions),
            RulesMessage::WarehouseFailed(reason) => self.settle_warehouse(Err(&reason), actions),
            RulesMessage::BarrierTask => {
                self.barriers.barrier_tasks.insert(from);
            }
        }
    }

    fn unended(&self) -> FxHashSet<TaskId> {
        self.tasks
            .iter()
            .filter(|(_, owned)| owned.outcome.is_none())
            .map(|(task, _)| *task)
            .collect()
    }

    fn barrier_requested(&mut self, handle: H, actions: &mut Vec<Action<H>>) {
        let members: Vec<_> = self
            .members
            .living
            .keys()
            .copied()
            .filter(|runtime| *runtime != self.config.me)
            .collect();
        let unended = self.unended();
        let asker = Requester::Program {
            handle,
            unanswered: members.iter().copied().collect(),
        };
        let number = self.barriers.raise(unended, asker);
        for member in members {
            self.send(member, RulesMessage::Barrier(number), actions);
        }
        self.check_barriers(actions);
    }

    pub(crate) fn check_barriers(&mut self, actions: &mut Vec<Action<H>>) {
        if self.barriers.raised.is_empty() {
            return;
        }
        for barrier in self.barriers.take_passed() {
            match barrier.asker {
                Requester::Program { handle, .. } => {
                    actions.push(Action::Complete {
                        handle,
                        outcome: Outcome::Value(Payload::default()).into(),
                    });
                }
                Requester::Peer(peer, number) => {
                    self.send(peer, RulesMessage::BarrierPassed(number), actions);
                }
            }
        }
    }

    /// Panics where an invariant does not hold. For tests, after every step.
    pub fn validate(&self) {
        let is_busy = |object| match object {
            ObjectId::Tessera(tessera) => self
                .routes
                .get(&tessera)
                .is_some_and(|route| !route.queue.is_empty()),
            ObjectId::Task(_) | ObjectId::Buffer(_) => false,
        };
        self.references.validate(self.config.me, is_busy);
        self.members.validate();
        self.placement.validate();
        self.validate_tasks();
        self.validate_tesserae();
        assert!(
            self.internal.is_empty(),
            "QUEUE-1: work of this event is left"
        );
    }
}
