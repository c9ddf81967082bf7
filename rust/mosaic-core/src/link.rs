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

use std::collections::{BTreeSet, HashMap};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::barrier::Requester;
use crate::call::{Failure, FailureKind, Outcome};
use crate::caller::route::Place;
use crate::event::Action;
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::machine::Machine;
use crate::references::table::Registration;
use crate::wire::RulesMessage;

/// Entries of one message.
const ENTRIES: usize = 16 << 10;

/// What one runtime has of another's, as it tells it after the loss of a connection.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Recount {
    /// Objects for which the receiver counts the sender; and tasks of the sender's own that ran at the receiver and
    /// whose results it may still ask for.
    pub held: Vec<ObjectId>,
    /// Tesserae of the sender's own at the receiver that it would build again.
    pub restartable: Vec<TesseraId>,
    /// References that came from the receiver, in so many messages, and for which the sender is not counted yet.
    pub awaited: Vec<(ObjectId, u32)>,
    /// The rest follows.
    pub more: bool,
    /// The receiver is asked for its own.
    pub asks: bool,
}

/// The recounts of which a part has come, by sender.
pub(crate) type Recounts = FxHashMap<RuntimeId, Recount>;

impl Recount {
    /// In pieces that fit into a header.
    fn pieces(mut self) -> Vec<Self> {
        let asks = self.asks;
        let mut pieces = Vec::new();
        loop {
            let mut room = ENTRIES;
            let piece = Self {
                held: take(&mut self.held, &mut room),
                restartable: take(&mut self.restartable, &mut room),
                awaited: take(&mut self.awaited, &mut room),
                more: true,
                asks,
            };
            pieces.push(piece);
            if self.held.is_empty() && self.restartable.is_empty() && self.awaited.is_empty() {
                break;
            }
        }
        if let Some(last) = pieces.last_mut() {
            last.more = false;
        }
        pieces
    }

    fn add(&mut self, piece: Self) {
        self.held.extend(piece.held);
        self.restartable.extend(piece.restartable);
        self.awaited.extend(piece.awaited);
    }
}

/// Take as much from the end as there is room for.
fn take<T>(from: &mut Vec<T>, room: &mut usize) -> Vec<T> {
    let taken = from.split_off(from.len().saturating_sub(*room));
    *room -= taken.len();
    taken
}

impl<H: Clone> Machine<H> {
    /// The connection to a peer that lives was lost, for that reason.
    pub(crate) fn link_lost(&mut self, peer: RuntimeId, cause: &str, actions: &mut Vec<Action<H>>) {
        if peer == self.config.me || self.members.cause(peer).is_some() {
            return;
        }
        self.recounts.remove(&peer);
        self.references.link_lost(peer);
        self.barriers
            .raised
            .retain(|barrier| !matches!(barrier.asker, Requester::Peer(asker, _) if asker == peer));
        self.forget_subscriber(peer);
        self.forget_asker(peer);
        // First: who hears of a loss below may do at once what the peer's calls wait for.
        self.calls_abandoned(peer, cause, actions);
        self.calls_lost(peer, cause, actions);
        self.ask_again(peer, actions);
        self.recount(peer, true, actions);
    }

    /// `LINK-1`: calls of this runtime that were sent to the peer and have not ended.
    fn calls_lost(&mut self, peer: RuntimeId, cause: &str, actions: &mut Vec<Action<H>>) {
        let sent = self
            .tasks
            .iter()
            .filter(|(_, owned)| owned.host == Some(peer) && owned.outcome.is_none());
        let mut sent: Vec<_> = sent
            .map(|(task, owned)| (*task, owned.builds.then_some(owned.tessera)))
            .collect();
        sent.sort_unstable();
        let message = format!("{cause}; whether the call had begun there is not known");
        let failure = Failure::new(FailureKind::ConnectionLost, message);
        for (task, builds) in sent {
            self.end_task(task, Outcome::Failed(failure.clone()).into(), actions);
            if let Some(tessera) = builds {
                // Whatever came of its construction, nobody here knows of it. Its host lets go of it when it hears
                // that it is not held; if it never heard of it, nobody else would tell the head.
                self.lose(tessera, failure.clone(), actions);
                self.send(RuntimeId::HEAD, RulesMessage::Freed(tessera), actions);
            }
        }
    }

    /// `LINK-2`
    fn ask_again(&mut self, peer: RuntimeId, actions: &mut Vec<Action<H>>) {
        let mut fetches: Vec<_> = self.fetches_from(peer);
        fetches.sort_unstable();
        for (task, value) in fetches {
            self.send(peer, RulesMessage::Fetch { task, value }, actions);
        }
        let asked = self
            .routes
            .iter()
            .filter(|(_, route)| matches!(route.place, Place::Asked))
            .map(|(tessera, _)| *tessera);
        let asked: BTreeSet<_> = asked
            .chain(self.early.keys().copied())
            .filter(|tessera| tessera.owner == peer)
            .collect();
        for tessera in asked {
            self.send(peer, RulesMessage::Locate(tessera), actions);
        }
        for object in self.references.counted_by(peer) {
            let holding = self.references.holdings.get(&object);
            if holding.is_some_and(|holding| holding.registration == Registration::Asked) {
                self.send(peer, RulesMessage::RegisterHolder(object), actions);
            }
        }
        let unanswered: Vec<_> = self
            .barriers
            .raised
            .iter()
            .filter_map(|barrier| match &barrier.asker {
                Requester::Program { unanswered, .. } if unanswered.contains(&peer) => {
                    Some(barrier.number)
                }
                _ => None,
            })
            .collect();
        for number in unanswered {
            self.send(peer, RulesMessage::Barrier(number), actions);
        }
    }

    /// `LINK-3`: tell the peer what this runtime has of its.
    fn recount(&mut self, peer: RuntimeId, asks: bool, actions: &mut Vec<Action<H>>) {
        // What was let go of and not said yet is told by its absence.
        self.releases.remove(&peer);
        let mut held = self.references.counted_by(peer);
        held.retain(|object| match object {
            // It counts this runtime from the construction on.
            ObjectId::Tessera(tessera) => self.construction_is_sent(*tessera),
            ObjectId::Task(_) | ObjectId::Buffer(_) => true,
        });
        let results = self.tasks.iter().filter(|(_, owned)| {
            owned.host == Some(peer)
                && !matches!(owned.outcome.as_deref(), Some(Outcome::Failed(_)))
        });
        held.extend(results.map(|(task, _)| ObjectId::Task(*task)));
        held.sort_unstable();
        let me = self.config.me;
        let restartable = self.routes.iter().filter(|(tessera, route)| {
            tessera.owner == me
                && route.restarts_left > 0
                && matches!(route.place, Place::At(host) if host == peer)
        });
        let mut restartable: Vec<_> = restartable.map(|(tessera, _)| *tessera).collect();
        restartable.sort_unstable();
        let recount = Recount {
            held,
            restartable,
            awaited: self.references.awaited_from(peer),
            more: false,
            asks,
        };
        for piece in recount.pieces() {
            self.send(peer, RulesMessage::Recount(Box::new(piece)), actions);
        }
    }

    /// A peer has told what it has of this runtime's.
    pub(crate) fn recounted(
        &mut self,
        from: RuntimeId,
        piece: Recount,
        actions: &mut Vec<Action<H>>,
    ) {
        let (more, asks) = (piece.more, piece.asks);
        self.recounts.entry(from).or_default().add(piece);
        if more {
            return;
        }
        let Some(recount) = self.recounts.remove(&from) else {
            return;
        };
        let held: FxHashSet<_> = recount.held.iter().copied().collect();
        let is_result =
            |object: ObjectId| matches!(object, ObjectId::Task(task) if task.owner == from);
        for object in recount.held.iter().filter(|object| !is_result(**object)) {
            self.references.add_holder(*object, from);
        }
        let awaited: HashMap<_, _> = recount.awaited.into_iter().collect();
        for object in self.references.recounted_by(from, &awaited) {
            self.object_unused(object, actions);
            self.buffer_released(object, actions);
        }
        for object in self.references.held_by(from) {
            if !held.contains(&object) {
                self.released_by(from, object, actions);
            }
        }
        let mut unwanted: Vec<TaskId> = self
            .inbound
            .iter()
            .filter(|(task, inbound)| {
                inbound.caller == from && !held.contains(&ObjectId::Task(**task))
            })
            .map(|(task, _)| *task)
            .collect();
        unwanted.sort_unstable();
        for task in unwanted {
            self.result_released(task, actions);
        }
        for tessera in recount.restartable {
            if !self.is_hosted_and_not_stopped(tessera) {
                self.send(from, RulesMessage::Freed(tessera), actions);
            }
        }
        if asks {
            self.recount(from, false, actions);
        }
    }
}
