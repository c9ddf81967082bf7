//! Membership: the runtimes that take part, and those that have died.
//!
//! The head decides: it sees processes die and informs every member. A runtime number is never reused (`MEM-1`).
//! [`death`] has the joins, and everything that follows from a death.

pub(crate) mod death;

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::event::Member;
use crate::id::RuntimeId;

/// The members, as this runtime knows them.
#[derive(Debug, Default)]
pub(crate) struct Membership {
    pub(crate) living: BTreeMap<RuntimeId, Member>,
    pub(crate) dead: FxHashMap<RuntimeId, String>,
    /// On the head: for each death, who has not yet registered everything that came from the dead.
    pub(crate) settling: FxHashMap<RuntimeId, FxHashSet<RuntimeId>>,
    /// Deaths after which this runtime still waits for registrations of its own.
    pub(crate) draining: Vec<RuntimeId>,
}

impl Membership {
    /// Returns whether that is news.
    pub(crate) fn joined(&mut self, member: &Member) -> bool {
        !self.dead.contains_key(&member.runtime)
            && self.living.insert(member.runtime, member.clone()).is_none()
    }

    /// Returns the member, if it was known.
    pub(crate) fn died(&mut self, runtime: RuntimeId, cause: &str) -> Option<Member> {
        self.dead.insert(runtime, cause.to_owned());
        self.living.remove(&runtime)
    }

    /// How a runtime died, if it did.
    pub(crate) fn cause(&self, runtime: RuntimeId) -> Option<&str> {
        self.dead.get(&runtime).map(String::as_str)
    }

    pub(crate) fn validate(&self) {
        for runtime in self.living.keys() {
            assert!(
                !self.dead.contains_key(runtime),
                "MEM-1: {runtime:?} is alive and dead"
            );
        }
    }
}
