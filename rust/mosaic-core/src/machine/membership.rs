//! Joins, deaths and lost connections: they concern every owner, so the machine has the order of their steps.

use std::sync::Arc;

use crate::call::{Failure, Outcome};
use crate::event::Action;
use crate::id::{RuntimeId, TesseraId};
use crate::link::Links;
use crate::machine::Machine;
use crate::member::{Member, Role};
use crate::membership::Announcements;

impl<H> Machine<H> {
    fn send_all(&mut self, messages: Announcements) {
        for (to, message) in messages {
            self.context_mut().send(to, message);
        }
    }

    /// Head: a runtime takes part from now on.
    pub(super) fn runtime_joined(&mut self, member: Member) {
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
    pub(super) fn member_joined(&mut self, member: Member) {
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
    pub(super) fn place(&mut self, tessera: TesseraId, role: Role, asker: RuntimeId) {
        let context = self.caller.context_mut();
        if role == Role::Warehouse {
            self.warehouse
                .place(tessera, asker, &mut self.placement, context);
        } else {
            self.placement.place(tessera, asker, context);
        }
    }

    /// Head: try again for the tesserae that wait for a runtime.
    pub(super) fn place_waiting(&mut self) {
        for (tessera, asker, role) in self.placement.take_waiting() {
            self.place(tessera, role, asker);
        }
    }

    /// A runtime is gone. Everything that depended on it is settled here and now, in this order.
    pub(super) fn runtime_died(&mut self, dead: RuntimeId, cause: &str) {
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

    pub(super) fn announce_settled(&mut self) {
        let messages = self.context_mut().membership_mut().announce_settled();
        self.send_all(messages);
    }

    /// The connection to a peer was lost, and both live (see [`crate::link`]). The steps follow in this order.
    pub(super) fn link_lost(&mut self, peer: RuntimeId, cause: &str) {
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
    pub(super) fn runtime_stopped(&mut self, cause: &str) {
        let outcome = Arc::new(Outcome::Failed(Failure::disconnected(cause)));
        self.caller.stop(&outcome);
        self.warehouse.fail(cause, self.caller.context_mut());
        self.barriers.stop(&outcome, &mut self.caller);
    }
}
