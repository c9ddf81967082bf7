//! Joins and deaths of runtimes: which members are informed, and what follows at once from a death.

use std::sync::Arc;

use crate::barrier::Requester;
use crate::caller::route::{Place, disconnected};
use crate::event::{Action, Member, Role};
use crate::id::{ObjectId, RuntimeId, TaskId};
use crate::machine::{Internal, Machine};
use crate::wire::RulesMessage;

impl<H: Clone> Machine<H> {
    /// Head: a runtime takes part from now on.
    pub(crate) fn runtime_joined(&mut self, member: Member, actions: &mut Vec<Action<H>>) {
        let newcomer = member.runtime;
        let others: Vec<_> = self.members.living.values().cloned().collect();
        if !self.members.joined(&member) {
            return;
        }
        let head = Member {
            runtime: self.config.me,
            uid: "head".into(),
            pid: 0,
            role: Role::Head,
        };
        self.send(newcomer, RulesMessage::MemberJoined(head), actions);
        for other in others {
            self.send(
                other.runtime,
                RulesMessage::MemberJoined(member.clone()),
                actions,
            );
            self.send(newcomer, RulesMessage::MemberJoined(other), actions);
        }
        let mut dead: Vec<_> = self.members.dead.iter().collect();
        dead.sort_unstable();
        let dead: Vec<_> = dead
            .into_iter()
            .map(|(runtime, cause)| (*runtime, cause.clone()))
            .collect();
        for (runtime, cause) in dead {
            self.send(
                newcomer,
                RulesMessage::MemberDied { runtime, cause },
                actions,
            );
            if !self.members.settling.contains_key(&runtime) {
                self.send(newcomer, RulesMessage::DeathSettled(runtime), actions);
            }
        }
        let role = member.role;
        if role == Role::Worker {
            self.placement.joined(newcomer);
        }
        actions.push(Action::MemberJoined(member));
        if role == Role::Warehouse {
            self.settle_warehouse(Ok(()), actions);
        }
        self.place_waiting(actions);
    }

    /// Others: the head says that a runtime takes part.
    pub(crate) fn member_joined(&mut self, member: &Member, actions: &mut Vec<Action<H>>) {
        if member.runtime != self.config.me && self.members.joined(member) {
            actions.push(Action::MemberJoined(member.clone()));
            if member.role == Role::Warehouse {
                self.settle_warehouse(Ok(()), actions);
            }
        }
    }

    /// A runtime is gone. Everything that depended on it is settled here and now.
    pub(crate) fn runtime_died(
        &mut self,
        dead: RuntimeId,
        cause: &str,
        actions: &mut Vec<Action<H>>,
    ) {
        if self.members.cause(dead).is_some() {
            return;
        }
        // Those who died before this runtime joined are no members: others may still speak of them.
        if let Some(member) = self.members.died(dead, cause) {
            actions.push(Action::MemberDied {
                member,
                cause: cause.to_owned(),
            });
        }
        self.placement.died(dead);
        self.releases.remove(&dead);
        self.recounts.remove(&dead);
        self.unplaced.retain(|(_, asker, _)| *asker != dead);
        self.remote_puts.died(dead);
        if self.is_head() {
            let others: Vec<_> = self.members.living.keys().copied().collect();
            self.members.settling.insert(
                dead,
                others.iter().copied().chain([self.config.me]).collect(),
            );
            for other in others {
                self.send(
                    other,
                    RulesMessage::MemberDied {
                        runtime: dead,
                        cause: cause.to_owned(),
                    },
                    actions,
                );
            }
        }
        let mut routes: Vec<_> = self
            .routes
            .iter()
            .filter(|(tessera, route)| match route.place {
                Place::At(host) => host == dead,
                // Its owner was asked, who cannot answer any more.
                Place::Asked => tessera.owner == dead,
                _ => false,
            })
            .map(|(tessera, _)| *tessera)
            .collect();
        routes.sort_unstable();
        let repeatable = self.repeatable_at(dead);
        for tessera in &routes {
            let again = repeatable.get(tessera).map_or(&[][..], Vec::as_slice);
            self.route_lost(*tessera, dead, cause, again, actions);
        }
        let mut sent: Vec<TaskId> = self
            .tasks
            .iter()
            .filter(|(_, owned)| owned.host == Some(dead) && owned.outcome.is_none())
            .map(|(task, _)| *task)
            .collect();
        sent.sort_unstable();
        for task in sent {
            self.end_task(task, disconnected(cause).into(), actions);
        }
        let routes = routes.into_iter().map(Internal::RouteReady);
        self.internal.extend(routes);
        self.authority_died(dead, actions);
        self.fetches_fail(dead, cause, actions);
        self.caller_died(dead, cause, actions);
        for object in self.references.died(dead) {
            self.object_unused(object, actions);
            self.buffer_released(object, actions);
        }
        self.barriers.answered(dead, None);
        self.check_barriers(actions);
        self.members.draining.push(dead);
        self.check_draining(actions);
        for settling in self.members.settling.values_mut() {
            settling.remove(&dead);
        }
        self.check_settling(actions);
    }

    /// Tell the head of those deaths after which nothing of ours is unregistered any more.
    pub(crate) fn check_draining(&mut self, actions: &mut Vec<Action<H>>) {
        if self.members.draining.is_empty() {
            return;
        }
        let references = &self.references;
        let drained: Vec<_> = self
            .members
            .draining
            .extract_if(.., |dead| !references.awaits_registration_from(*dead))
            .collect();
        for dead in drained {
            self.send(RuntimeId::HEAD, RulesMessage::Drained(dead), actions);
        }
    }

    /// Head: a member has registered everything that it had from the dead.
    pub(crate) fn drained(&mut self, by: RuntimeId, dead: RuntimeId, actions: &mut Vec<Action<H>>) {
        if let Some(waiting) = self.members.settling.get_mut(&dead) {
            waiting.remove(&by);
        }
        self.check_settling(actions);
    }

    fn check_settling(&mut self, actions: &mut Vec<Action<H>>) {
        let mut settled: Vec<_> = self
            .members
            .settling
            .iter()
            .filter(|(_, waiting)| waiting.is_empty())
            .map(|(dead, _)| *dead)
            .collect();
        settled.sort_unstable();
        for dead in settled {
            self.members.settling.remove(&dead);
            let everyone: Vec<_> = self
                .members
                .living
                .keys()
                .copied()
                .chain([self.config.me])
                .collect();
            for member in everyone {
                self.send(member, RulesMessage::DeathSettled(dead), actions);
            }
        }
    }

    /// Nothing more of the dead runtime's can arrive anywhere: what only it held may go.
    pub(crate) fn death_settled(&mut self, dead: RuntimeId, actions: &mut Vec<Action<H>>) {
        self.death_of_host_settled(dead, actions);
        for object in self.references.death_settled(dead) {
            match object {
                ObjectId::Tessera(tessera) => self.free_if_unused(tessera, actions),
                ObjectId::Task(task) => self.forget_task_if_unused(task, actions),
                ObjectId::Buffer(_) => self.buffer_released(object, actions),
            }
        }
    }

    /// This runtime ends: every handle is settled.
    pub(crate) fn runtime_stopped(&mut self, cause: &str, actions: &mut Vec<Action<H>>) {
        let outcome = Arc::new(disconnected(cause));
        let mut unended: Vec<_> = self
            .tasks
            .iter()
            .filter(|(_, owned)| owned.outcome.is_none())
            .map(|(task, _)| *task)
            .collect();
        unended.sort_unstable();
        for task in unended {
            self.end_task(task, Arc::clone(&outcome), actions);
        }
        self.subscribers_end(&outcome, actions);
        self.remote_puts_end(&outcome, actions);
        self.settle_warehouse(Err(cause), actions);
        for barrier in std::mem::take(&mut self.barriers.raised) {
            if let Requester::Program { handle, .. } = barrier.asker {
                actions.push(Action::Complete {
                    handle,
                    outcome: Arc::clone(&outcome),
                });
            }
        }
    }
}
