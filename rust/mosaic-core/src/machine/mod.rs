//! The state machine of one runtime: takes events, answers with actions.
//!
//! | module | what it has |
//! | --- | --- |
//! | [`membership`] | the order of the steps after a join, a death, a lost connection, and a stop |
//!
//! The machine routes each event and message to the owner that decides, and the internal events by which owners answer
//! those above them (`QUEUE-1` in [`crate::context`]).
//! `docs/design/owners.md` has the order of the owners and the reasons.

mod membership;

use std::collections::BTreeSet;

use crate::barrier::Barriers;
use crate::call::{Failure, FailureKind};
use crate::callee::Callee;
use crate::caller::Caller;
use crate::context::{Context, Internal};
use crate::event::{Action, Event, Want};
use crate::id::{BufferId, ObjectId, RuntimeId, TaskId, TesseraId};
use crate::link::Links;
use crate::member::Member;
use crate::membership::Status;
use crate::payload::Payload;
use crate::placement::{Placement, Strategy};
use crate::references::References;
use crate::results::Results;
use crate::snapshot::Snapshot;
use crate::subscriber::Subscriber;
use crate::values::Values;
use crate::warehouse::Warehouse;
use crate::wire::RulesMessage;

pub use crate::context::Config;

/// The rules of one runtime, and everything that they remember. `H` is the handle that is given back when a task ends.
#[derive(Debug)]
pub struct Machine<H> {
    barriers: Barriers<H>,
    links: Links,
    placement: Placement,
    warehouse: Warehouse<H>,
    /// The topmost of the owners that own each other.
    caller: Caller<H>,
}

impl<H> Machine<H> {
    /// A machine that knows no other.
    pub fn new(config: Config) -> Self {
        let references = References::new(Context::new(config));
        let results = Results::new(Values::new(references));
        Self {
            barriers: Barriers::default(),
            links: Links::default(),
            placement: Placement::default(),
            warehouse: Warehouse::default(),
            caller: Caller::new(Callee::new(results)),
        }
    }

    fn context(&self) -> &Context<H> {
        self.caller.context()
    }

    fn context_mut(&mut self) -> &mut Context<H> {
        self.caller.context_mut()
    }

    fn references(&mut self) -> &mut References<H> {
        self.caller.references_mut()
    }

    // ---- what the engine asks -----------------------------------------------------------------------

    /// Use this strategy from now on (head only).
    pub fn set_strategy(&mut self, strategy: Box<dyn Strategy + Send>) {
        self.placement.set_strategy(strategy);
    }

    /// The others that take part, as far as this runtime knows.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.context().membership().living()
    }

    /// What is known of a runtime.
    pub fn status(&self, runtime: RuntimeId) -> Status<'_> {
        self.context().membership().status(runtime)
    }

    /// Whether a runtime is known to have died.
    pub fn is_dead(&self, runtime: RuntimeId) -> bool {
        self.context().is_dead(runtime)
    }

    /// The runtimes that have registered functions for this barrier; each is named once (head only).
    pub fn take_barrier_tasks(&mut self) -> BTreeSet<RuntimeId> {
        self.barriers.take_registered()
    }

    /// The runtime that hosts a tessera, as far as this one knows.
    pub fn host_of(&self, tessera: TesseraId) -> Option<RuntimeId> {
        self.caller.host_of(tessera)
    }

    /// The runtime that runs a task of this one's, once it was sent there.
    pub fn runner_of(&self, task: TaskId) -> Option<RuntimeId> {
        self.caller.runner_of(task)
    }

    /// Whether it is still to be decided where a tessera goes.
    pub fn is_unplaced(&self, tessera: TesseraId) -> bool {
        self.caller.is_unplaced(tessera)
    }

    /// Whether a call that came here has ended; not if it never came, or if its result is forgotten.
    pub fn has_ended_here(&self, task: TaskId) -> bool {
        self.caller.callee().has_ended_here(task)
    }

    /// The value of a call that ended here, as long as its owner has not released it.
    pub fn result_here(&self, task: TaskId) -> Option<Payload> {
        self.caller.callee().result_here(task)
    }

    /// The runtimes that hold an object of which this one counts the holders, itself among them.
    pub fn holders_of(&self, object: ObjectId) -> Vec<RuntimeId> {
        self.caller.references().holders_of(object)
    }

    /// The buffers in values that are kept here, each with the name of what made the value.
    pub fn stored_values(&self) -> Vec<(BufferId, String)> {
        self.caller.stored_buffers()
    }

    /// Everything that is remembered, as rows.
    pub fn snapshot(&self) -> Snapshot {
        let caller = &self.caller;
        Snapshot {
            caller: caller.snapshot(),
            callee: caller.callee().snapshot(),
            results: caller.results().snapshot(),
            values: caller.values().snapshot(),
            references: caller.references().snapshot(),
            membership: caller.context().membership().snapshot(),
            barriers: self.barriers.snapshot(),
            recounts: self.links.snapshot(),
            unplaced: self.placement.waiting(),
            waiting: caller.context().waiting(),
        }
    }

    // ---- events -------------------------------------------------------------------------------------

    /// Handle an event: append the actions that answer it.
    pub fn handle(&mut self, event: Event<H>, actions: &mut Vec<Action<H>>) {
        self.context_mut().exchange_actions(actions);
        self.route_event(event);
        self.handle_internal();
        self.context_mut().exchange_actions(actions);
    }

    /// The end of a batch of events: send the releases that were collected.
    pub fn flush(&mut self, actions: &mut Vec<Action<H>>) {
        self.context_mut().exchange_actions(actions);
        while self.context_mut().send_all_releases() {
            self.handle_internal();
        }
        self.context_mut().exchange_actions(actions);
    }

    fn route_event(&mut self, event: Event<H>) {
        let caller = &mut self.caller;
        match event {
            Event::CallSubmitted(submission) => caller.call_submitted(submission),
            Event::CallFinished { task, outcome } => {
                caller.callee_mut().call_finished(task, outcome);
            }
            Event::MessageReceived { from, message } => {
                // After the report of its death, its messages do not count.
                if !self.context().is_dead(from) {
                    self.route_message(from, message);
                }
            }
            Event::CallIsRunning(task) => caller.callee_mut().call_is_running(task),
            Event::DeliveryRequested { task, handle } => caller.delivery_requested(task, handle),
            Event::CancelRequested(task) => caller.cancel_requested(task),
            Event::CallTimedOut(task) => {
                let failure = Failure::new(FailureKind::TimedOut, "the call's time limit passed");
                caller.call_given_up(task, failure);
            }
            Event::OutcomeRequested { task, want, handle } => {
                let subscriber = Subscriber::Handle(handle);
                caller.want(task, task.owner, want == Want::Value, subscriber);
            }
            Event::ValuePut { task, value } => caller.values_mut().put(task, value),
            Event::RemotePutRequested {
                task,
                value,
                handle,
            } => caller.values_mut().put_at_head(task, value, handle),
            Event::ValueDropped(task) => caller.value_dropped(task),
            Event::Retained(reference) => caller.hold_handle(reference),
            Event::Released(object) => caller.drop_handle(object),
            Event::BarrierRequested(handle) => self.barriers.requested(handle, caller),
            Event::WarehouseRequested(handle) => {
                self.warehouse.requested(handle, caller.context_mut());
            }
            Event::WarehouseFailed { node, reason } => {
                let context = caller.context_mut();
                self.warehouse
                    .failed_to_start(node, &reason, &mut self.placement, context);
            }
            Event::BarrierTaskRegistered => {
                let context = caller.context_mut();
                context.send(RuntimeId::HEAD, RulesMessage::BarrierTask);
            }
            Event::RuntimeJoined(member) => self.runtime_joined(member),
            Event::RuntimeDied { runtime, cause } => self.runtime_died(runtime, &cause),
            Event::RuntimeUnreachable(runtime) => caller.context_mut().unreachable(runtime),
            Event::RuntimeReachable(runtime) => {
                caller.context_mut().reachable(runtime);
                self.place_waiting();
            }
            Event::LinkLost { peer, cause } => self.link_lost(peer, &cause),
            Event::RuntimeStopped(cause) => self.runtime_stopped(&cause),
            Event::WorkerChosen { tessera, place } => {
                let context = caller.context_mut();
                self.placement.worker_chosen(tessera, place, context);
            }
            Event::WorkersExhausted(reason) => {
                let context = caller.context_mut();
                self.placement.workers_exhausted(&reason, context);
            }
        }
    }

    fn route_message(&mut self, from: RuntimeId, message: RulesMessage) {
        let caller = &mut self.caller;
        match message {
            RulesMessage::Call(call) => caller.callee_mut().call_received(from, call),
            RulesMessage::Completed {
                task,
                part,
                outcome,
            } => caller.outcome_received(from, task, part, outcome),
            RulesMessage::Cancel(task) => caller.callee_mut().cancel_received(task),
            RulesMessage::DeliveryProbe(task) => {
                let context = caller.context_mut();
                context.send(from, RulesMessage::Delivered(task));
            }
            RulesMessage::Delivered(task) => caller.delivered(from, task),
            RulesMessage::Fetch { task, value } => {
                caller.want_here(task, value, Subscriber::Peer { to: from, value });
            }
            RulesMessage::Fetched {
                task,
                value,
                outcome,
            } => caller.outcome_fetched(from, task, value, &outcome),
            RulesMessage::Discard(task) => caller.value_dropped(task),
            RulesMessage::RemotePut { task, value } => {
                caller.results_mut().put_received(from, task, value);
            }
            RulesMessage::RegisterHolder(object) => {
                self.references().registration_requested(from, object);
            }
            RulesMessage::RegisterHolderAndUnpin(object) => {
                self.references().add_holder(object, from);
                self.references().unpin(object, from);
            }
            RulesMessage::HolderRegistered(object) => self.references().holder_registered(object),
            RulesMessage::Unpin(object) => self.references().unpin_received(object, from),
            RulesMessage::Release(objects) => {
                for object in objects {
                    match object {
                        // From the owner to the host: the result may go.
                        ObjectId::Task(task) if task.owner == from => {
                            caller.callee_mut().result_released(task);
                        }
                        _ => caller.references_mut().released_by(from, object),
                    }
                }
            }
            RulesMessage::Freed(tessera) => {
                self.placement.freed(tessera);
                caller.tessera_freed(tessera, from);
            }
            RulesMessage::Place(tessera, role) => self.place(tessera, role, from),
            RulesMessage::Placed { tessera, place } => caller.placed(tessera, place, true),
            RulesMessage::Locate(tessera) => caller.locate(tessera, from),
            RulesMessage::Located { tessera, place } => caller.located(tessera, place),
            RulesMessage::Join(member) => self.runtime_joined(member),
            RulesMessage::MemberJoined(member) => self.member_joined(member),
            RulesMessage::MemberDied { runtime, cause } => self.runtime_died(runtime, &cause),
            RulesMessage::Drained(dead) => {
                let membership = caller.context_mut().membership_mut();
                membership.drained(from, dead);
                self.announce_settled();
            }
            RulesMessage::DeathSettled(dead) => {
                caller.death_of_host_settled(dead);
                caller.references_mut().death_settled(dead);
            }
            RulesMessage::Barrier(number) => self.barriers.requested_by(from, number, caller),
            RulesMessage::BarrierPassed(number) => self.barriers.answered(from, number, caller),
            RulesMessage::BarrierTask => self.barriers.register(from),
            RulesMessage::Recount(recount) => self.links.recounted(from, *recount, caller),
            RulesMessage::WarehouseRequested => {
                self.warehouse.requested_by(from, caller.context_mut());
            }
            RulesMessage::WarehouseFailed(reason) => {
                self.warehouse.fail(&reason, caller.context_mut());
            }
        }
    }

    /// `QUEUE-1`: handle internal events until none is left.
    fn handle_internal(&mut self) {
        while let Some(event) = self.context_mut().next_internal() {
            let caller = &mut self.caller;
            match event {
                Internal::Message(message) => {
                    let me = caller.context().me();
                    self.route_message(me, message);
                }
                Internal::ArgumentArrived(argument, outcome) => {
                    caller.callee_mut().argument_arrived(argument, outcome);
                }
                Internal::OutcomeWanted {
                    task,
                    value,
                    subscriber,
                } => caller.want_here(task, value, subscriber),
                Internal::TesseraReady(tessera) => caller.callee_mut().dispatch(tessera),
                Internal::TesseraIdle(tessera) => caller.callee_mut().free(tessera),
                Internal::RouteReady(tessera) => caller.pump(tessera),
                Internal::ReferenceDropped(object) => caller.references_mut().drop_hold(object),
                Internal::ObjectUnused(ObjectId::Tessera(tessera)) => {
                    caller.tessera_unused(tessera);
                }
                Internal::ObjectUnused(ObjectId::Task(task)) => caller.task_unused(task),
                // An action notifies the store of a buffer.
                Internal::ObjectUnused(ObjectId::Buffer(_)) => {}
                Internal::OwnTesseraHeld(tessera) => caller.own_tessera_held(tessera),
                Internal::HostDied { tessera, host } => caller.host_died(tessera, host),
                Internal::TaskEnded(task) => self.barriers.task_ended(task, caller),
            }
        }
    }

    /// Panics where an invariant does not hold. It holds whenever no internal event is left.
    pub fn validate(&self) {
        self.caller.validate();
        self.barriers.validate();
        self.placement.validate();
    }
}
