//! Tables of distributed reference counts for tesserae, tasks and buffers.
//!
//! Every object has one *authority*, which knows its holders: the host of a tessera, the owner of a task or a buffer. A
//! runtime is one holder, with any number of handles; it counts its handles itself. A reference inside a message
//! is a *pin*: its sender stays a holder until the authority has registered the receiver and the receiver has said so.
//!
//! - `REF-1`: an object that is in use has a holder at every moment.
//! - `REF-2`: no count goes below zero.
//! - `REF-3`: objects that only a dead runtime held are released once every member has registered what it had received
//!   from that runtime.
//! - `REF-4`: when the host of a tessera dies, its holders register with the next host; until they have, its owner
//!   holds it.
//! - `REF-5`: the owner of a buffer keeps the bytes until no other runtime can read them.
//! - `REF-6`: when no internal event is left, the authority of everything that is held is known.

use std::collections::HashMap;

use rustc_hash::FxHashMap;

use crate::id::{ObjectId, RuntimeId};
use crate::recount::Registration;

/// What this runtime holds of an object.
#[derive(Debug)]
pub(super) struct LocalReference {
    pub(super) authority: RuntimeId,
    pub(super) registration: Registration,
    /// Handles of programs, messages and values kept here that contain a reference.
    pub(super) local: usize,
    /// Messages on their way, by receiver.
    pub(super) pins: Vec<(RuntimeId, usize)>,
    /// Receivers of messages that were on their way when the connection to them was lost, until they say what has come.
    doubtful: Vec<RuntimeId>,
    /// Senders who wait to hear that this runtime is counted, once for each message.
    pub(super) unpin: Vec<RuntimeId>,
    /// Hosts that counted this runtime, and died before another one did.
    moved_from: Vec<RuntimeId>,
}

impl LocalReference {
    fn new(authority: RuntimeId, registration: Registration) -> Self {
        Self {
            authority,
            registration,
            local: 0,
            pins: Vec::new(),
            doubtful: Vec::new(),
            unpin: Vec::new(),
            moved_from: Vec::new(),
        }
    }

    pub(super) fn is_unused(&self) -> bool {
        self.local == 0 && !self.is_on_its_way()
    }

    /// Whether a message with the reference is on its way, or may be.
    fn is_on_its_way(&self) -> bool {
        !self.pins.is_empty() || !self.doubtful.is_empty()
    }
}

/// Those that an authority counts.
#[derive(Debug, Default)]
pub(super) struct Holders {
    pub(super) living: Vec<RuntimeId>,
    /// Dead ones whose messages may still register a further holder.
    pub(super) ghosts: Vec<RuntimeId>,
}

/// Both sides' tables.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) holdings: FxHashMap<ObjectId, LocalReference>,
    pub(super) holders: FxHashMap<ObjectId, Holders>,
    /// For each runtime, how often it is named in `unpin` and `moved_from`: what has to be registered before
    /// its death is over.
    awaited: FxHashMap<RuntimeId, usize>,
}

impl Table {
    /// One use more.
    pub(super) fn hold(
        &mut self,
        object: ObjectId,
        authority: RuntimeId,
        registration: Registration,
    ) {
        let holding = self
            .holdings
            .entry(object)
            .or_insert_with(|| LocalReference::new(authority, registration));
        holding.local += 1;
        if registration == Registration::Astray && holding.moved_from.is_empty() {
            holding.moved_from.push(authority);
            *self.awaited.entry(authority).or_default() += 1;
        }
    }

    /// `sender` is to get an `Unpin` when this runtime is counted. False if it is already.
    pub(super) fn register_later(&mut self, object: ObjectId, sender: RuntimeId) -> bool {
        let holding = self.holdings.get_mut(&object);
        match holding.filter(|holding| {
            matches!(
                holding.registration,
                Registration::Unresolved | Registration::Asked | Registration::Astray
            )
        }) {
            Some(holding) => {
                holding.unpin.push(sender);
                *self.awaited.entry(sender).or_default() += 1;
                true
            }
            None => false,
        }
    }

    /// This runtime is counted, or need not be. Returns the senders that waited for that, if it was not so before.
    pub(super) fn counted(&mut self, object: ObjectId) -> Option<Vec<RuntimeId>> {
        let holding = self.holdings.get_mut(&object)?;
        if holding.registration == Registration::Counted {
            return None;
        }
        holding.registration = Registration::Counted;
        Some(self.take_senders(object))
    }

    /// The senders that wait for the registration of this runtime; they wait no longer.
    pub(super) fn take_senders(&mut self, object: ObjectId) -> Vec<RuntimeId> {
        let Some(holding) = self.holdings.get_mut(&object) else {
            return Vec::new();
        };
        let senders = std::mem::take(&mut holding.unpin);
        for runtime in std::mem::take(&mut holding.moved_from)
            .iter()
            .chain(&senders)
        {
            if let Some(count) = self.awaited.get_mut(runtime) {
                *count -= 1;
                if *count == 0 {
                    self.awaited.remove(runtime);
                }
            }
        }
        senders
    }

    /// The host that counted this runtime died; its owner is asked for another.
    pub(super) fn moves(&mut self, object: ObjectId, dead: RuntimeId) {
        let Some(holding) = self.holdings.get_mut(&object) else {
            return;
        };
        holding.registration = Registration::Astray;
        holding.moved_from.push(dead);
        *self.awaited.entry(dead).or_default() += 1;
    }

    /// The objects that a runtime counts this one for.
    pub(super) fn counted_by(&self, authority: RuntimeId) -> Vec<ObjectId> {
        let held = self
            .holdings
            .iter()
            .filter(|(_, holding)| holding.authority == authority);
        let mut objects: Vec<_> = held.map(|(object, _)| *object).collect();
        objects.sort_unstable();
        objects
    }

    /// One use less. Returns whether that was the last.
    pub(super) fn drop_local(&mut self, object: ObjectId) -> bool {
        let Some(holding) = self.holdings.get_mut(&object) else {
            return false;
        };
        holding.local = holding.local.saturating_sub(1);
        holding.is_unused()
    }

    /// A message that contains the reference goes to `to`. A task of this runtime's own (`me`) may have no entry until then.
    pub(super) fn pin(&mut self, object: ObjectId, to: RuntimeId, me: RuntimeId) {
        let holding = self
            .holdings
            .entry(object)
            .or_insert_with(|| LocalReference::new(me, Registration::Counted));
        match holding.pins.iter_mut().find(|(peer, _)| *peer == to) {
            Some((_, count)) => *count += 1,
            None => holding.pins.push((to, 1)),
        }
    }

    /// The receiver of a message is counted. Returns whether nothing here uses the object any more.
    pub(super) fn unpin(&mut self, object: ObjectId, by: RuntimeId) -> bool {
        let Some(holding) = self.holdings.get_mut(&object) else {
            return false;
        };
        let Some(place) = holding.pins.iter().position(|(peer, _)| *peer == by) else {
            return false;
        };
        holding.pins[place].1 -= 1;
        if holding.pins[place].1 == 0 {
            holding.pins.swap_remove(place);
        }
        holding.is_unused()
    }

    /// Count a holder.
    pub(super) fn add_holder(&mut self, object: ObjectId, holder: RuntimeId) {
        let holders = self.holders.entry(object).or_default();
        if !holders.living.contains(&holder) {
            holders.living.push(holder);
        }
    }

    /// A holder releases an object. Returns whether no other is counted.
    pub(super) fn remove_holder(&mut self, object: ObjectId, holder: RuntimeId) -> bool {
        let Some(holders) = self.holders.get_mut(&object) else {
            return true;
        };
        holders.living.retain(|own| *own != holder);
        self.forget_if_empty(object)
    }

    /// Whether another runtime may use an object of which this one counts the holders.
    pub(super) fn is_shared(&self, object: ObjectId) -> bool {
        let holding = self.holdings.get(&object);
        self.has_holders(object) || holding.is_some_and(LocalReference::is_on_its_way)
    }

    /// Whether any holder is counted; a dead one, as long as its messages may still arrive.
    #[inline]
    pub(super) fn has_holders(&self, object: ObjectId) -> bool {
        self.holders.contains_key(&object)
    }

    fn forget_if_empty(&mut self, object: ObjectId) -> bool {
        match self.holders.get(&object) {
            Some(holders) if !holders.living.is_empty() || !holders.ghosts.is_empty() => false,
            _ => {
                self.holders.remove(&object);
                true
            }
        }
    }

    /// A runtime died: its holds become ghosts, pins of messages to it vanish. Returns the objects that had
    /// such pins.
    pub(super) fn died(&mut self, dead: RuntimeId) -> Vec<ObjectId> {
        for holders in self.holders.values_mut() {
            if let Some(place) = holders.living.iter().position(|own| *own == dead) {
                holders.living.swap_remove(place);
                holders.ghosts.push(dead);
            }
        }
        let mut unpinned = Vec::new();
        for (object, holding) in &mut self.holdings {
            let before = holding.pins.len() + holding.doubtful.len();
            holding.pins.retain(|(peer, _)| *peer != dead);
            holding.doubtful.retain(|peer| *peer != dead);
            if holding.pins.len() + holding.doubtful.len() < before {
                unpinned.push(*object);
            }
        }
        unpinned
    }

    /// The connection to a runtime was lost: which of the messages to it have come, only it can say.
    pub(super) fn link_lost(&mut self, peer: RuntimeId) {
        for holding in self.holdings.values_mut() {
            if let Some(place) = holding.pins.iter().position(|(to, _)| *to == peer) {
                holding.pins.swap_remove(place);
                if !holding.doubtful.contains(&peer) {
                    holding.doubtful.push(peer);
                }
            }
        }
    }

    /// A runtime has said what came of the messages to it that were in doubt: what it awaits stays pinned, as often as
    /// it says. Returns the objects that were in doubt.
    pub(super) fn recounted_by(
        &mut self,
        peer: RuntimeId,
        awaited: &HashMap<ObjectId, u32>,
    ) -> Vec<ObjectId> {
        let mut settled = Vec::new();
        for (object, holding) in &mut self.holdings {
            let Some(place) = holding.doubtful.iter().position(|own| *own == peer) else {
                continue;
            };
            holding.doubtful.swap_remove(place);
            settled.push(*object);
            let Some(count) = awaited.get(object).map(|count| *count as usize) else {
                continue;
            };
            match holding.pins.iter_mut().find(|(to, _)| *to == peer) {
                Some((_, pins)) => *pins += count,
                None => holding.pins.push((peer, count)),
            }
        }
        settled.sort_unstable();
        settled
    }

    /// What came from a runtime, in how many messages, and is not registered yet.
    pub(super) fn awaited_from(&self, sender: RuntimeId) -> Vec<(ObjectId, u32)> {
        let mut awaited: Vec<_> = self
            .holdings
            .iter()
            .map(|(object, holding)| {
                let times = holding.unpin.iter().filter(|own| **own == sender).count();
                (*object, times as u32)
            })
            .filter(|(_, times)| *times > 0)
            .collect();
        awaited.sort_unstable();
        awaited
    }

    /// The objects that a runtime is counted for here.
    pub(super) fn held_by(&self, holder: RuntimeId) -> Vec<ObjectId> {
        let held = self
            .holders
            .iter()
            .filter(|(_, holders)| holders.living.contains(&holder));
        let mut objects: Vec<_> = held.map(|(object, _)| *object).collect();
        objects.sort_unstable();
        objects
    }

    /// Whether something received from the dead runtime, or counted by it, is still to be registered.
    pub(super) fn awaits_registration_from(&self, dead: RuntimeId) -> bool {
        self.awaited.contains_key(&dead)
    }

    /// Nothing more of the dead runtime's can arrive. Returns what nobody is counted for any more.
    pub(super) fn death_settled(&mut self, dead: RuntimeId) -> Vec<ObjectId> {
        let mut haunted = Vec::new();
        for (object, holders) in &mut self.holders {
            if let Some(place) = holders.ghosts.iter().position(|own| *own == dead) {
                holders.ghosts.swap_remove(place);
                haunted.push(*object);
            }
        }
        haunted.retain(|object| self.forget_if_empty(*object));
        haunted
    }

    /// `is_busy` tells whether calls to a tessera wait here, which keep it even if nothing else does.
    pub(super) fn validate(&self, me: RuntimeId, is_busy: impl Fn(ObjectId) -> bool) {
        let mut awaited: FxHashMap<RuntimeId, usize> = FxHashMap::default();
        for (object, holding) in &self.holdings {
            assert!(
                !holding.is_unused()
                    || holding.registration != Registration::Counted
                    || is_busy(*object),
                "REF-1: {object:?} is unused here and still counted with {:?}",
                holding.authority
            );
            assert!(
                holding.pins.iter().all(|(_, count)| *count > 0),
                "REF-2: {object:?} has an empty pin"
            );
            assert!(
                holding.registration != Registration::Unresolved,
                "REF-6: nobody has said which runtime counts the holders of {object:?}"
            );
            assert!(
                matches!(
                    holding.registration,
                    Registration::Asked | Registration::Astray
                ) || holding.unpin.is_empty(),
                "REF-1: senders of {object:?} wait for a registration that nobody asked for"
            );
            assert!(
                holding.authority != me
                    || matches!(
                        holding.registration,
                        Registration::Counted | Registration::Unplaced
                    ),
                "REF-1: {object:?} is to be counted by this runtime itself"
            );
            for runtime in holding.unpin.iter().chain(&holding.moved_from) {
                *awaited.entry(*runtime).or_default() += 1;
            }
        }
        assert_eq!(
            awaited, self.awaited,
            "REF-3: registrations are counted right"
        );
        for (object, holders) in &self.holders {
            assert!(
                !holders.living.is_empty() || !holders.ghosts.is_empty(),
                "REF-2: {object:?} has an empty set of holders"
            );
        }
    }
}
