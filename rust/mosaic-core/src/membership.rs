//! Membership: the runtimes that take part, those that have died, and those whose state is not known.
//!
//! The head decides: it sees processes die and informs every member.
//!
//! - `MEM-1`: a runtime number is never reused: no runtime is alive and dead.
//! - `MEM-2`: a closed connection settles nothing. A runtime that cannot be reached is [`Status::Unknown`] until it can be
//!   reached again or its death is reported; what it has and what it was sent stays as it is.
//! - `MEM-3`: the head reports a death settled when every member has registered the references that it had received from
//!   the dead runtime.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::id::{NodeId, RuntimeId};
use crate::member::{Member, Role};
use crate::snapshot::MembershipSnapshot;
use crate::wire::RulesMessage;

/// What is known of a runtime.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status<'a> {
    /// It takes part, or its death was never reported.
    Alive,
    /// It died, with this cause.
    Dead(&'a str),
    /// It cannot be reached; whether its process lives is not known.
    Unknown,
}

/// Messages and their receivers.
pub(crate) type Announcements = Vec<(RuntimeId, RulesMessage)>;

/// The members, as this runtime knows them.
#[derive(Debug, Default)]
pub(crate) struct Membership {
    living: BTreeMap<RuntimeId, Member>,
    dead: FxHashMap<RuntimeId, String>,
    unknown: FxHashSet<RuntimeId>,
    /// On the head: for each death, the members that have not yet registered everything that came from the dead.
    settling: FxHashMap<RuntimeId, FxHashSet<RuntimeId>>,
}

impl Membership {
    /// What is known of a runtime.
    #[inline]
    pub(crate) fn status(&self, runtime: RuntimeId) -> Status<'_> {
        if !self.dead.is_empty()
            && let Some(cause) = self.dead.get(&runtime)
        {
            return Status::Dead(cause);
        }
        if !self.unknown.is_empty() && self.unknown.contains(&runtime) {
            return Status::Unknown;
        }
        Status::Alive
    }

    /// How a runtime died, if it did.
    #[inline]
    pub(crate) fn cause(&self, runtime: RuntimeId) -> Option<&str> {
        match self.status(runtime) {
            Status::Dead(cause) => Some(cause),
            Status::Alive | Status::Unknown => None,
        }
    }

    /// The members that have not died, in the order of their numbers.
    pub(crate) fn living(&self) -> impl Iterator<Item = &Member> {
        self.living.values()
    }

    /// The numbers of the members that have not died.
    pub(crate) fn numbers(&self) -> Vec<RuntimeId> {
        self.living.keys().copied().collect()
    }

    /// Whether a runtime takes part and has not died.
    pub(crate) fn is_member(&self, runtime: RuntimeId) -> bool {
        self.living.contains_key(&runtime)
    }

    /// The machine on which a member runs; the head's for a runtime that is no member.
    pub(crate) fn node_of(&self, runtime: RuntimeId) -> NodeId {
        let member = self.living.get(&runtime);
        member.map_or(NodeId::FIRST, |member| member.node)
    }

    /// A runtime takes part. Returns false if that was known, or if it has died since.
    pub(crate) fn joined(&mut self, member: &Member) -> bool {
        !self.dead.contains_key(&member.runtime)
            && self.living.insert(member.runtime, member.clone()).is_none()
    }

    /// Head: the messages by which the newcomer learns of the others, and they of it.
    pub(crate) fn announce(&self, newcomer: &Member) -> Announcements {
        let to = newcomer.runtime;
        let head = Member {
            runtime: RuntimeId::HEAD,
            node: NodeId::FIRST,
            uid: "head".into(),
            pid: 0,
            role: Role::Head,
        };
        let mut messages = vec![(to, RulesMessage::MemberJoined(head))];
        for other in self.living.values().filter(|other| other.runtime != to) {
            messages.push((other.runtime, RulesMessage::MemberJoined(newcomer.clone())));
            messages.push((to, RulesMessage::MemberJoined(other.clone())));
        }
        let dead: BTreeSet<_> = self.dead.keys().copied().collect();
        for runtime in dead {
            let cause = self.dead[&runtime].clone();
            messages.push((to, RulesMessage::MemberDied { runtime, cause }));
            if !self.settling.contains_key(&runtime) {
                messages.push((to, RulesMessage::DeathSettled(runtime)));
            }
        }
        messages
    }

    /// A runtime died. Returns the member, if it was one: of runtimes that died before this one joined, messages may
    /// still speak.
    pub(crate) fn died(&mut self, runtime: RuntimeId, cause: &str) -> Option<Member> {
        self.unknown.remove(&runtime);
        self.dead.insert(runtime, cause.to_owned());
        self.living.remove(&runtime)
    }

    /// Head: the messages by which the members learn of a death. It is settled when all have answered (`MEM-3`).
    pub(crate) fn announce_death(&mut self, dead: RuntimeId, cause: &str) -> Announcements {
        let others = self.numbers();
        let waiting = others.iter().copied().chain([RuntimeId::HEAD]).collect();
        self.settling.insert(dead, waiting);
        let message = |runtime| RulesMessage::MemberDied {
            runtime,
            cause: cause.to_owned(),
        };
        others.into_iter().map(|to| (to, message(dead))).collect()
    }

    /// Head: a member has registered everything that it had received from a dead runtime.
    pub(crate) fn drained(&mut self, by: RuntimeId, dead: RuntimeId) {
        if let Some(waiting) = self.settling.get_mut(&dead) {
            waiting.remove(&by);
        }
    }

    /// Head: a runtime died and registers nothing any more.
    pub(crate) fn stop_waiting_for(&mut self, dead: RuntimeId) {
        for waiting in self.settling.values_mut() {
            waiting.remove(&dead);
        }
    }

    /// Head: the messages that report deaths settled, to every member and the head itself.
    pub(crate) fn announce_settled(&mut self) -> Announcements {
        let settled = self
            .settling
            .iter()
            .filter(|(_, waiting)| waiting.is_empty());
        let settled: BTreeSet<_> = settled.map(|(dead, _)| *dead).collect();
        let mut messages = Vec::new();
        for dead in settled {
            self.settling.remove(&dead);
            let everyone = self.living.keys().copied().chain([RuntimeId::HEAD]);
            messages.extend(everyone.map(|to| (to, RulesMessage::DeathSettled(dead))));
        }
        messages
    }

    /// A runtime cannot be reached (`MEM-2`).
    pub(crate) fn unreachable(&mut self, runtime: RuntimeId) {
        if !self.dead.contains_key(&runtime) {
            self.unknown.insert(runtime);
        }
    }

    /// A runtime can be reached again.
    pub(crate) fn reachable(&mut self, runtime: RuntimeId) {
        self.unknown.remove(&runtime);
    }

    pub(crate) fn snapshot(&self) -> MembershipSnapshot {
        let mut snapshot = MembershipSnapshot {
            living: self.living.values().cloned().collect(),
            dead: self.dead.keys().copied().collect(),
            unknown: self.unknown.iter().copied().collect(),
        };
        snapshot.dead.sort_unstable();
        snapshot.unknown.sort_unstable();
        snapshot
    }

    pub(crate) fn validate(&self) {
        for runtime in self.living.keys().chain(&self.unknown) {
            assert!(
                !self.dead.contains_key(runtime),
                "MEM-1: {runtime:?} is alive and dead"
            );
        }
    }
}
