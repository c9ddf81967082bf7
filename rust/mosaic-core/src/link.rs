//! Loss of the connection between two runtimes that both live.
//!
//! Messages that were in flight may or may not have arrived. Each end handles the event `LinkLost` after every message
//! that it received by the lost connection and before any message of the next connection; it sends by the next connection
//! from then on. Neither end is the head: a worker that loses its head exits.
//!
//! - `LINK-1`: a call in flight fails, and is not sent again. The host never starts the peer's calls that had not
//!   started; those that run go on, and their outcomes are dropped. So no call runs twice, and a caller whose call
//!   failed does not know whether it had started.
//! - `LINK-2`: idempotent requests are sent again: fetches, locations of tesserae, registrations, barriers. So every
//!   wait ends.
//! - `LINK-3`: each end sends a [`Recount`]: the references that it holds of the other's objects and the results that it
//!   may still fetch. It replaces the counts of the receiver. Until it arrives, objects in lost messages stay; so none is
//!   released early, and none stays for good.
//!
//! A `Discard` of another runtime's value that was in flight is lost: that value stays until nothing refers to it.
//! [`crate::machine`] has the order of the steps; this module owns the exchange of recounts.

use std::collections::{BTreeSet, HashMap};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::caller::Caller;
use crate::id::{ObjectId, RuntimeId, TaskId};
use crate::recount::Recount;
use crate::wire::RulesMessage;

/// The exchange of recounts with peers whose connection was lost.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// The recounts of which a part has come, by sender.
    partial: FxHashMap<RuntimeId, Recount>,
}

impl Links {
    /// Forget the parts that have come from a peer: it died, or begins again.
    pub(crate) fn forget(&mut self, peer: RuntimeId) {
        self.partial.remove(&peer);
    }

    /// `LINK-3`: tell a peer what this runtime has of its objects. Releases that were not sent are implied.
    pub(crate) fn send_recount<H>(peer: RuntimeId, asks: bool, caller: &mut Caller<H>) {
        caller.context_mut().drop_releases(peer);
        for piece in caller.recount(peer, asks).pieces() {
            let message = RulesMessage::Recount(Box::new(piece));
            caller.context_mut().send(peer, message);
        }
    }

    /// `LINK-3`: a peer says what it has of this runtime's objects.
    pub(crate) fn recounted<H>(&mut self, from: RuntimeId, piece: Recount, caller: &mut Caller<H>) {
        let (more, asks) = (piece.more, piece.asks);
        self.partial.entry(from).or_default().add(piece);
        if more {
            return;
        }
        let Some(recount) = self.partial.remove(&from) else {
            return;
        };
        // Of its own tasks a peer names the results that it may still fetch.
        let (mut results, mut held) = (FxHashSet::<TaskId>::default(), BTreeSet::new());
        for object in recount.held {
            match object {
                ObjectId::Task(task) if task.owner == from => drop(results.insert(task)),
                _ => drop(held.insert(object)),
            }
        }
        let awaited: HashMap<_, _> = recount.awaited.into_iter().collect();
        caller.references_mut().recounted(from, &held, &awaited);
        caller.callee_mut().results_recounted(from, &results);
        for tessera in recount.restartable {
            if !caller.callee().is_hosted_and_not_stopped(tessera) {
                let message = RulesMessage::Freed(tessera);
                caller.context_mut().send(from, message);
            }
        }
        if asks {
            Self::send_recount(from, false, caller);
        }
    }

    /// The peers whose recount has come in part.
    pub(crate) fn snapshot(&self) -> Vec<RuntimeId> {
        let mut partial: Vec<_> = self.partial.keys().copied().collect();
        partial.sort_unstable();
        partial
    }
}
