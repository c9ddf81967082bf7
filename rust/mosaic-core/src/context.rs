//! What every owner of rules may use: the configuration, the membership, and the outbox of the event at hand.
//!
//! The outbox collects the actions that answer an event, the messages and releases that wait to be sent, and one queue of
//! internal events, by which an owner answers those above it.
//!
//! - `QUEUE-1`: internal events are taken in the order in which they were made, until none is left. So a message of a
//!   runtime to itself is handled before anything that was decided after it was sent, as a message by a connection is.
//! - `UNKNOWN-1`: a message to a runtime that cannot be reached waits until the runtime can be reached, or is dropped
//!   when the runtime has died or the messages in flight to it were lost.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::call::Outcome;
use crate::event::Action;
use crate::id::{NodeId, ObjectId, RuntimeId, TaskId, TesseraId};
use crate::membership::{Membership, Status};
use crate::snapshot::WaitingRow;
use crate::subscriber::{Argument, Subscriber};
use crate::wire::RulesMessage;

/// Objects that one message releases at most: a million do not fit into one header.
const RELEASED_AT_ONCE: usize = 16 << 10;

/// What a machine is made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// This runtime; the head if it is number 0.
    pub me: RuntimeId,
    /// The machine that it runs on.
    pub node: NodeId,
    /// Calls to one tessera that may be sent and not ended at a time.
    pub window_calls: usize,
    /// Bytes of arguments to one tessera that may be sent and not ended at a time, beyond the first call.
    pub window_bytes: usize,
    /// Results of at most this many bytes travel in the message that completes the task.
    pub inline_limit: usize,
    /// The same for bytes that lie in a store and do not move: until they are asked for, the store can spill them.
    pub lend_limit: u64,
    /// Whether the program brings its own placement strategy (head only).
    pub foreign_strategy: bool,
}

impl Config {
    /// The usual limits.
    pub const fn new(me: RuntimeId) -> Self {
        Self {
            me,
            node: NodeId::FIRST,
            window_calls: 16 << 10,
            window_bytes: 64 << 20,
            inline_limit: 64 << 10,
            lend_limit: 4 << 20,
            foreign_strategy: false,
        }
    }
}

/// An event inside one machine: an owner's answer to the owners above it, or work that a recursion would take too deep.
#[derive(Debug)]
pub(crate) enum Internal<H> {
    /// This runtime sent itself a message.
    Message(RulesMessage),
    /// The outcome for an argument of a call that waits here has arrived (results to callee).
    ArgumentArrived(Argument, Arc<Outcome>),
    /// An outcome is wanted that this runtime has, or will have (callee and results to caller).
    OutcomeWanted {
        /// The task.
        task: TaskId,
        /// Whether the value is wanted.
        value: bool,
        /// Who wants it.
        subscriber: Subscriber<H>,
    },
    /// The queues of a tessera hosted here have changed (callee).
    TesseraReady(TesseraId),
    /// No call, holder or handle of a tessera hosted here is left (callee).
    TesseraIdle(TesseraId),
    /// A route may let calls through (caller).
    RouteReady(TesseraId),
    /// A value that contained a reference is gone (references).
    ReferenceDropped(ObjectId),
    /// Nothing here uses an object any more, or no other runtime does (references to all above).
    ObjectUnused(ObjectId),
    /// A tessera of this runtime's own is held again: the caller knows which runtime counts its holders.
    OwnTesseraHeld(TesseraId),
    /// The host of a tessera that is held here died (references to caller).
    HostDied {
        /// The tessera.
        tessera: TesseraId,
        /// The host.
        host: RuntimeId,
    },
    /// A task of this runtime has ended, and a barrier waits for some task (caller to barriers).
    TaskEnded(TaskId),
}

/// What every owner may use.
#[derive(Debug)]
pub(crate) struct Context<H> {
    config: Config,
    membership: Membership,
    actions: Vec<Action<H>>,
    internal: VecDeque<Internal<H>>,
    /// Objects that are not needed any more, by the runtime that gets them in a `Release` at the end of the batch.
    releases: FxHashMap<RuntimeId, Vec<ObjectId>>,
    /// Messages to runtimes that cannot be reached.
    waiting: FxHashMap<RuntimeId, Vec<RulesMessage>>,
}

impl<H> Context<H> {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            membership: Membership::default(),
            actions: Vec::new(),
            internal: VecDeque::new(),
            releases: FxHashMap::default(),
            waiting: FxHashMap::default(),
        }
    }

    #[inline]
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    #[inline]
    pub(crate) fn me(&self) -> RuntimeId {
        self.config.me
    }

    /// The machine of a runtime; the head's, if the runtime is no member.
    pub(crate) fn node_of(&self, runtime: RuntimeId) -> NodeId {
        if runtime == self.config.me {
            self.config.node
        } else {
            self.membership.node_of(runtime)
        }
    }

    #[inline]
    pub(crate) fn is_head(&self) -> bool {
        self.config.me == RuntimeId::HEAD
    }

    #[inline]
    pub(crate) fn membership(&self) -> &Membership {
        &self.membership
    }

    /// For the machine, which tells the membership of joins and deaths; owners only read it.
    #[inline]
    pub(crate) fn membership_mut(&mut self) -> &mut Membership {
        &mut self.membership
    }

    /// How a runtime died, if it did.
    #[inline]
    pub(crate) fn cause(&self, runtime: RuntimeId) -> Option<&str> {
        self.membership.cause(runtime)
    }

    #[inline]
    pub(crate) fn is_dead(&self, runtime: RuntimeId) -> bool {
        self.membership.cause(runtime).is_some()
    }

    /// Exchange the list of actions with the caller's: they are appended to it while an event is handled.
    #[inline]
    pub(crate) fn exchange_actions(&mut self, actions: &mut Vec<Action<H>>) {
        std::mem::swap(&mut self.actions, actions);
    }

    /// Send a message, to this runtime too. To the dead nothing is sent; for the unreachable it waits.
    #[inline]
    pub(crate) fn send(&mut self, to: RuntimeId, message: RulesMessage) {
        if to == self.config.me {
            return self.later(Internal::Message(message));
        }
        match self.membership.status(to) {
            Status::Alive => self.actions.push(Action::Send { to, message }),
            Status::Unknown => self.waiting.entry(to).or_default().push(message),
            Status::Dead(_) => {}
        }
    }

    /// Complete a handle of a program.
    #[inline]
    pub(crate) fn complete(&mut self, handle: H, outcome: Arc<Outcome>) {
        self.actions.push(Action::Complete { handle, outcome });
    }

    /// Have the engine do something.
    #[inline]
    pub(crate) fn act(&mut self, action: Action<H>) {
        self.actions.push(action);
    }

    /// Have an internal event handled behind those that wait (`QUEUE-1`).
    #[inline]
    pub(crate) fn later(&mut self, event: Internal<H>) {
        self.internal.push_back(event);
    }

    /// The next internal event.
    #[inline]
    pub(crate) fn next_internal(&mut self) -> Option<Internal<H>> {
        self.internal.pop_front()
    }

    /// Tell a runtime, at the end of the batch, that an object is not needed here any more.
    pub(crate) fn release(&mut self, to: RuntimeId, object: ObjectId) {
        if !self.is_dead(to) {
            self.releases.entry(to).or_default().push(object);
        }
    }

    /// Send the releases for a runtime that is about to hear of an object: the same object may be among them.
    pub(crate) fn send_releases(&mut self, to: RuntimeId) {
        if let Some(objects) = self.releases.remove(&to) {
            self.send(to, RulesMessage::Release(objects));
        }
    }

    /// Send all releases. False if there were none.
    pub(crate) fn send_all_releases(&mut self) -> bool {
        let releases = std::mem::take(&mut self.releases);
        let any = !releases.is_empty();
        for (to, objects) in releases {
            for some in objects.chunks(RELEASED_AT_ONCE) {
                self.send(to, RulesMessage::Release(some.to_vec()));
            }
        }
        any
    }

    /// Drop the releases for a runtime: it died, or gets a recount of every object that is still held.
    pub(crate) fn drop_releases(&mut self, to: RuntimeId) {
        self.releases.remove(&to);
    }

    /// A runtime cannot be reached; whether its process lives is not known.
    pub(crate) fn unreachable(&mut self, runtime: RuntimeId) {
        if runtime != self.config.me {
            self.membership.unreachable(runtime);
        }
    }

    /// `UNKNOWN-1`: a runtime can be reached again, and has lost nothing: it gets the messages that have waited.
    pub(crate) fn reachable(&mut self, runtime: RuntimeId) {
        self.membership.reachable(runtime);
        for message in self.waiting.remove(&runtime).unwrap_or_default() {
            self.send(runtime, message);
        }
    }

    /// `UNKNOWN-1`: the messages that wait for a runtime are lost with those that were in flight to it.
    pub(crate) fn drop_waiting(&mut self, runtime: RuntimeId) {
        self.membership.reachable(runtime);
        self.waiting.remove(&runtime);
    }

    /// The messages that wait for runtimes that cannot be reached.
    pub(crate) fn waiting(&self) -> Vec<WaitingRow> {
        let rows = self.waiting.iter().flat_map(|(to, messages)| {
            messages.iter().map(|message| WaitingRow {
                to: *to,
                message: message.clone(),
            })
        });
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by_key(|row| row.to);
        rows
    }

    pub(crate) fn validate(&self) {
        self.membership.validate();
        assert!(
            self.internal.is_empty(),
            "QUEUE-1: an internal event is left: {} of them",
            self.internal.len()
        );
        for runtime in self.waiting.keys() {
            assert!(
                matches!(self.membership.status(*runtime), Status::Unknown),
                "UNKNOWN-1: messages wait for {runtime:?}, which can be reached or is dead"
            );
        }
    }
}

/// Gives an owner access to the owners below the next one.
macro_rules! below {
    ($owner:ident through $next:ident: $($name:ident, $name_mut:ident: $type:ty;)*) => {
        impl<H> $owner<H> {
            $(
                #[allow(dead_code)] // one pair for each owner below, whether both are used or not
                #[inline]
                pub(crate) fn $name(&self) -> &$type {
                    self.$next.$name()
                }

                #[allow(dead_code)] // one pair for each owner below, whether both are used or not
                #[inline]
                pub(crate) fn $name_mut(&mut self) -> &mut $type {
                    self.$next.$name_mut()
                }
            )*
        }
    };
}
pub(crate) use below;
