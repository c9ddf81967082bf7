//! How messages and handles change the reference counts of [`crate::references::table`].

use crate::context::Internal;
use crate::event::Action;
use crate::id::{ObjectId, RuntimeId};
use crate::payload::Reference;
use crate::recount::Registration;
use crate::references::References;
use crate::wire::RulesMessage;

impl<H> References<H> {
    /// One use more of an object.
    pub(crate) fn hold(&mut self, reference: Reference) {
        let Reference { object, authority } = reference;
        if let Some(holding) = self.table.holdings.get_mut(&object) {
            holding.local += 1;
            return;
        }
        let me = self.context.me();
        let (authority, registration) = match object {
            ObjectId::Tessera(tessera) if tessera.owner == me => {
                (authority, Registration::Unresolved)
            }
            _ if authority == me => (me, Registration::Counted),
            _ if !self.context.is_dead(authority) => (authority, Registration::Asked),
            // The tessera may have been built again; its owner knows.
            ObjectId::Tessera(tessera) if !self.context.is_dead(tessera.owner) => {
                (authority, Registration::Astray)
            }
            _ => (me, Registration::Counted),
        };
        self.table.hold(object, authority, registration);
        match (object, registration) {
            (_, Registration::Asked) => self.request_registration(object, authority),
            (ObjectId::Tessera(tessera), Registration::Astray) => {
                let host = authority;
                self.context.later(Internal::HostDied { tessera, host });
            }
            (ObjectId::Tessera(tessera), Registration::Unresolved) => {
                self.context.later(Internal::OwnTesseraHeld(tessera));
            }
            _ => {}
        }
    }

    /// One use more of an object whose authority counts this runtime without being asked, or will.
    pub(crate) fn hold_as(
        &mut self,
        object: ObjectId,
        authority: RuntimeId,
        registration: Registration,
    ) {
        self.table.hold(object, authority, registration);
    }

    /// One use less of an object.
    pub(crate) fn drop_hold(&mut self, object: ObjectId) {
        if self.table.drop_local(object) {
            self.object_unused(object);
        }
    }

    /// One use less of each, before the event is done with. Not at once: the objects may be a long chain.
    pub(crate) fn drop_references(&mut self, references: impl IntoIterator<Item = Reference>) {
        for reference in references {
            self.context
                .later(Internal::ReferenceDropped(reference.object));
        }
    }

    /// A message that contains the reference goes to `to`.
    pub(crate) fn pin(&mut self, object: ObjectId, to: RuntimeId) {
        self.table.pin(object, to, self.context.me());
    }

    /// Have this runtime counted as a holder.
    pub(super) fn request_registration(&mut self, object: ObjectId, authority: RuntimeId) {
        self.context.send_releases(authority);
        self.context
            .send(authority, RulesMessage::RegisterHolder(object));
    }

    /// A message with references came: the value that they are in is kept here from now on.
    pub(crate) fn receive_references(&mut self, from: RuntimeId, references: &[Reference]) {
        let me = self.context.me();
        for &reference in references {
            let object = reference.object;
            if self.receive_from_authority(from, reference) {
                continue;
            }
            self.hold(reference);
            if from == me {
                self.unpin(object, me);
            } else if !self.table.register_later(object, from) {
                self.context.send(from, RulesMessage::Unpin(object));
            }
        }
    }

    /// A reference that is new here came from the authority itself, whose pin stays until it has counted this
    /// runtime: that is as good as being counted, and one message does for both.
    fn receive_from_authority(&mut self, from: RuntimeId, reference: Reference) -> bool {
        let Reference { object, authority } = reference;
        let moves = matches!(object, ObjectId::Tessera(_));
        if moves
            || from != authority
            || from == self.context.me()
            || self.context.is_dead(from)
            || self.holds(object)
        {
            return false;
        }
        self.table.hold(object, authority, Registration::Counted);
        self.context.send_releases(authority);
        self.context
            .send(authority, RulesMessage::RegisterHolderAndUnpin(object));
        true
    }

    /// Count a runtime as a holder.
    pub(crate) fn add_holder(&mut self, object: ObjectId, holder: RuntimeId) {
        self.table.add_holder(object, holder);
    }

    /// A runtime asks to be counted.
    pub(crate) fn registration_requested(&mut self, from: RuntimeId, object: ObjectId) {
        self.table.add_holder(object, from);
        self.context
            .send(from, RulesMessage::HolderRegistered(object));
    }

    /// The receiver of a message is registered.
    pub(crate) fn unpin(&mut self, object: ObjectId, by: RuntimeId) {
        if self.table.unpin(object, by) {
            self.object_unused(object);
        }
    }

    /// The receiver of a message is registered, and may have released a buffer since.
    pub(crate) fn unpin_received(&mut self, object: ObjectId, by: RuntimeId) {
        self.unpin(object, by);
        self.buffer_released(object);
    }

    /// Notify the store of a buffer that no other runtime uses any more.
    fn buffer_released(&mut self, object: ObjectId) {
        if let ObjectId::Buffer(buffer) = object
            && buffer.owner == self.context.me()
            && !self.table.is_shared(object)
        {
            self.context.act(Action::BufferReleased(buffer));
        }
    }

    /// The authority counts this runtime now, or there is none any more.
    pub(crate) fn holder_registered(&mut self, object: ObjectId) {
        let Some(senders) = self.table.counted(object) else {
            return;
        };
        for sender in senders {
            self.context.send(sender, RulesMessage::Unpin(object));
        }
        self.object_unused(object);
        self.check_draining();
    }

    /// If nothing here uses an object any more, it goes. A tessera goes only when the caller has no calls for it
    /// ([`References::forget`]).
    pub(crate) fn object_unused(&mut self, object: ObjectId) {
        if !self.may_forget(object) {
            return;
        }
        match object {
            ObjectId::Tessera(_) => self.context.later(Internal::ObjectUnused(object)),
            ObjectId::Task(_) => {
                self.forget(object);
                self.context.later(Internal::ObjectUnused(object));
            }
            // Its memory goes with the last value in which it lies.
            ObjectId::Buffer(_) => self.forget(object),
        }
    }

    fn may_forget(&self, object: ObjectId) -> bool {
        self.table.holdings.get(&object).is_some_and(|holding| {
            holding.is_unused() && holding.registration == Registration::Counted
        })
    }

    /// Forget an object that nothing here uses, and release it at its authority.
    pub(crate) fn forget(&mut self, object: ObjectId) {
        if !self.may_forget(object) {
            return;
        }
        if let Some(holding) = self.table.holdings.remove(&object)
            && holding.authority != self.context.me()
        {
            self.context.release(holding.authority, object);
        }
    }

    /// A runtime does not need an object any more.
    pub(crate) fn released_by(&mut self, holder: RuntimeId, object: ObjectId) {
        if self.table.remove_holder(object, holder) {
            self.nobody_counted(object);
        }
    }

    /// No other runtime is counted for an object any more.
    fn nobody_counted(&mut self, object: ObjectId) {
        match object {
            ObjectId::Tessera(_) | ObjectId::Task(_) => {
                self.context.later(Internal::ObjectUnused(object));
            }
            ObjectId::Buffer(_) => self.buffer_released(object),
        }
    }

    /// A runtime died: messages to it are on their way no longer.
    pub(crate) fn holder_died(&mut self, dead: RuntimeId) {
        for object in self.table.died(dead) {
            self.object_unused(object);
            self.buffer_released(object);
        }
    }

    /// `REF-3`: this runtime reports to the head when it has registered everything that came from the dead.
    pub(crate) fn drain(&mut self, dead: RuntimeId) {
        self.draining.push(dead);
        self.check_draining();
    }

    fn check_draining(&mut self) {
        if self.draining.is_empty() {
            return;
        }
        let table = &self.table;
        let drained: Vec<_> = self
            .draining
            .extract_if(.., |dead| !table.awaits_registration_from(*dead))
            .collect();
        for dead in drained {
            self.context
                .send(RuntimeId::HEAD, RulesMessage::Drained(dead));
        }
    }

    /// `REF-3`: nothing more of the dead runtime's can arrive anywhere: what only it held may go.
    pub(crate) fn death_settled(&mut self, dead: RuntimeId) {
        for object in self.table.death_settled(dead) {
            self.nobody_counted(object);
        }
    }

    /// A peer has said, after the loss of the connection, which objects it holds and which references of this runtime's
    /// it has received and not registered yet.
    pub(crate) fn recounted(
        &mut self,
        from: RuntimeId,
        held: &std::collections::BTreeSet<ObjectId>,
        awaited: &std::collections::HashMap<ObjectId, u32>,
    ) {
        for object in held {
            self.table.add_holder(*object, from);
        }
        for object in self.table.recounted_by(from, awaited) {
            self.object_unused(object);
            self.buffer_released(object);
        }
        for object in self.table.held_by(from) {
            if !held.contains(&object) {
                self.released_by(from, object);
            }
        }
    }
}
