//! The state machine of one runtime: takes events, answers with actions.
//!
//! The machine routes each event and message to the owner that decides, and the internal events by which owners answer
//! those above them (`QUEUE-1` in [`crate::context`]). It has the order of the steps that follow from a death
//! ([`Machine::runtime_died`]) and from the loss of a connection ([`Machine::link_lost`]), for these concern every owner.
//! `docs/design/owners.md` has the order of the owners and the reasons.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::barrier::Barriers;
use crate::call::{Failure, FailureKind, Outcome};
use crate::callee::Callee;
use crate::caller::Caller;
use crate::context::{Context, Internal};
use crate::event::{Action, Event, Want};
use crate::id::{BufferId, ObjectId, RuntimeId, TaskId, TesseraId};
use crate::link::Links;
use crate::member::{Member, Role};
use crate::membership::{Announcements, Status};
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

    // ---- joins, deaths, lost connections --------------------------------------------------------------

    fn send_all(&mut self, messages: Announcements) {
        for (to, message) in messages {
            self.context_mut().send(to, message);
        }
    }

    /// Head: a runtime takes part from now on.
    fn runtime_joined(&mut self, member: Member) {
        let membership = self.context_mut().membership_mut();
        if !membership.joined(&member) {
            return;
        }
        let messages = membership.announce(&member);
        self.send_all(messages);
        let (runtime, node, role) = (member.runtime, member.node, member.role);
        if role == Role::Worker {
            self.placement.joined(runtime);
        }
        self.context_mut().act(Action::MemberJoined(member));
        if role == Role::Warehouse {
            self.warehouse.joined(node, self.caller.context_mut());
        }
        self.place_waiting();
    }

    /// Others: the head says that a runtime takes part.
    fn member_joined(&mut self, member: Member) {
        let context = self.context_mut();
        if member.runtime == context.me() || !context.membership_mut().joined(&member) {
            return;
        }
        let (node, role) = (member.node, member.role);
        context.act(Action::MemberJoined(member));
        if role == Role::Warehouse {
            self.warehouse.joined(node, self.caller.context_mut());
        }
    }

    /// Head: choose a runtime of that role for a tessera.
    fn place(&mut self, tessera: TesseraId, role: Role, asker: RuntimeId) {
        let context = self.caller.context_mut();
        if role == Role::Warehouse {
            self.warehouse
                .place(tessera, asker, &mut self.placement, context);
        } else {
            self.placement.place(tessera, asker, context);
        }
    }

    /// Head: try again for the tesserae that wait for a runtime.
    fn place_waiting(&mut self) {
        for (tessera, asker, role) in self.placement.take_waiting() {
            self.place(tessera, role, asker);
        }
    }

    /// A runtime is gone. Everything that depended on it is settled here and now, in this order.
    fn runtime_died(&mut self, dead: RuntimeId, cause: &str) {
        if self.context().is_dead(dead) {
            return;
        }
        let context = self.context_mut();
        // 1. Nothing is sent to it any more, and the engine closes what it has of it.
        if let Some(member) = context.membership_mut().died(dead, cause) {
            let cause = cause.to_owned();
            context.act(Action::MemberDied { member, cause });
        }
        context.drop_releases(dead);
        context.drop_waiting(dead);
        // 2. It gets no tesserae, and what was to come from it will not.
        self.placement.died(dead, self.caller.context_mut());
        self.links.forget(dead);
        self.caller.values_mut().maker_died(dead);
        // 3. The members learn of it before anything that follows from it.
        if self.context().is_head() {
            let membership = self.context_mut().membership_mut();
            let messages = membership.announce_death(dead, cause);
            self.send_all(messages);
        }
        // 4. Tesserae there are lost or rebuilt, calls there fail, other runtimes count the references that it counted.
        self.caller.host_of_calls_died(dead, cause);
        // 5. Outcomes that were to be fetched from it are lost, and it wants none.
        self.caller.results_mut().host_died(dead, cause);
        self.caller.forget_subscriber(dead);
        // 6. Its calls here are not started, and their results go.
        self.caller.callee_mut().caller_died(dead, cause);
        // 7. Messages to it pin nothing. It stays a holder until its death is settled.
        self.references().holder_died(dead);
        // 8. Barriers do not wait for it.
        self.barriers.member_died(dead, &mut self.caller);
        // 9. When all references that came from it are registered, the head hears of it (`REF-3`).
        self.references().drain(dead);
        let membership = self.context_mut().membership_mut();
        membership.stop_waiting_for(dead);
        self.announce_settled();
    }

    fn announce_settled(&mut self) {
        let messages = self.context_mut().membership_mut().announce_settled();
        self.send_all(messages);
    }

    /// The connection to a peer was lost, and both live (see [`crate::link`]). The steps follow in this order.
    fn link_lost(&mut self, peer: RuntimeId, cause: &str) {
        if peer == self.context().me() || self.context().is_dead(peer) {
            return;
        }
        // 1. What was in flight is lost or in doubt; what the peer asked for, it will ask for again.
        self.context_mut().drop_waiting(peer);
        self.links.forget(peer);
        self.references().link_lost(peer);
        self.barriers.forget_requester(peer);
        self.caller.forget_subscriber(peer);
        self.caller.forget_asker(peer);
        // 2. The peer's calls do not start any more. Before the next step, for a program that learns of a loss may do at
        //    once what they wait for.
        self.caller.callee_mut().calls_abandoned(peer, cause);
        // 3. Calls in flight to the peer fail.
        self.caller.calls_lost(peer, cause);
        // 4. Requests are sent again.
        self.caller.results_mut().fetch_again(peer);
        self.caller.locate_again(peer);
        self.references().register_again(peer);
        self.barriers.ask_again(peer, &mut self.caller);
        // 5. Both count anew.
        Links::send_recount(peer, true, &mut self.caller);
    }

    /// This runtime stops: every handle completes.
    fn runtime_stopped(&mut self, cause: &str) {
        let outcome = Arc::new(Outcome::Failed(Failure::disconnected(cause)));
        self.caller.stop(&outcome);
        self.warehouse.fail(cause, self.caller.context_mut());
        self.barriers.stop(&outcome, &mut self.caller);
    }

    /// Panics where an invariant does not hold. It holds whenever no internal event is left.
    pub fn validate(&self) {
        self.caller.validate();
        self.barriers.validate();
        self.placement.validate();
    }
}
