//! How messages and handles change the reference counts of [`crate::references::table`].

use crate::call::Outcome;
use crate::callee::call::Progress;
use crate::caller::route::Place;
use crate::event::Action;
use crate::id::{BufferId, ObjectId, RuntimeId, TesseraId};
use crate::machine::{Internal, Machine};
use crate::payload::{Payload, Reference};
use crate::references::table::Registration;
use crate::wire::RulesMessage;

impl<H: Clone> Machine<H> {
    /// The runtimes that hold an object of which this one counts the holders, itself among them.
    pub fn holders_of(&self, object: ObjectId) -> Vec<RuntimeId> {
        let own = self.references.holdings.get(&object);
        let own = own.filter(|holding| holding.authority == self.config.me);
        let others = self.references.holders.get(&object);
        let others = others.into_iter().flat_map(|holders| &holders.living);
        let mut holders: Vec<_> = own
            .map(|_| self.config.me)
            .into_iter()
            .chain(others.copied())
            .collect();
        holders.sort_unstable();
        holders
    }

    /// The buffers in values that are kept here, each with the name of what made the value.
    pub fn stored_values(&self) -> Vec<(BufferId, String)> {
        let named = |payload: &Payload, name: &str| {
            let buffers = payload.references.iter();
            let buffers = buffers.filter_map(|reference| match reference.object {
                ObjectId::Buffer(buffer) => Some((buffer, name.to_owned())),
                _ => None,
            });
            buffers.collect::<Vec<_>>()
        };
        let owned = self.tasks.values().filter_map(|owned| {
            let Outcome::Value(value) = owned.outcome.as_deref()? else {
                return None;
            };
            Some(named(value, "put"))
        });
        let inbound = self.inbound.values().filter_map(|inbound| {
            let Progress::Ended(outcome) = &inbound.progress else {
                return None;
            };
            let Outcome::Value(value) = &**outcome else {
                return None;
            };
            let name = match self.hosted.get(&inbound.tessera) {
                Some(hosted) => format!("result of {}", hosted.class),
                None => "result".to_owned(),
            };
            Some(named(value, &name))
        });
        owned.chain(inbound).flatten().collect()
    }

    /// One more use of an object here.
    pub(crate) fn hold(&mut self, reference: Reference, actions: &mut Vec<Action<H>>) {
        let Reference { object, authority } = reference;
        if let ObjectId::Task(task) = object
            && let Some(owned) = self.tasks.get_mut(&task)
        {
            owned.handles += 1;
            return;
        }
        if let Some(holding) = self.references.holdings.get_mut(&object) {
            holding.local += 1;
            return;
        }
        let me = self.config.me;
        let (authority, registration) = match object {
            ObjectId::Tessera(tessera) if tessera.owner == me => {
                self.own_authority(tessera, authority)
            }
            _ if authority == me => (me, Registration::Counted),
            _ if self.members.cause(authority).is_none() => (authority, Registration::Asked),
            // The tessera may have been built again; its owner knows.
            ObjectId::Tessera(tessera) if self.members.cause(tessera.owner).is_none() => {
                (authority, Registration::Astray)
            }
            _ => (me, Registration::Counted),
        };
        self.references.hold(object, authority, registration);
        match (object, registration) {
            (_, Registration::Asked) => self.request_registration(object, authority, actions),
            (ObjectId::Tessera(tessera), Registration::Astray) => {
                self.find(tessera, authority, actions);
            }
            (ObjectId::Tessera(tessera), Registration::Unplaced) => {
                self.rebuild_if_host_lost(tessera, actions);
            }
            _ => {}
        }
    }

    /// Who counts the holders of a tessera of this runtime's own, whatever others believe.
    fn own_authority(&self, tessera: TesseraId, believed: RuntimeId) -> (RuntimeId, Registration) {
        let me = self.config.me;
        let at = match self
            .routes
            .get(&tessera)
            .map(|route| (&route.place, route.restarts_left))
        {
            Some((Place::At(host), _)) => *host,
            Some((Place::Asked, _) | (Place::Astray(_), 1..)) => {
                return (me, Registration::Unplaced);
            }
            Some((Place::Lost(_) | Place::Astray(_), _)) => me,
            None if self.members.cause(believed).is_some() => me,
            None => believed,
        };
        (
            at,
            if at == me {
                Registration::Counted
            } else {
                Registration::Asked
            },
        )
    }

    /// Have this runtime counted as a holder.
    pub(crate) fn request_registration(
        &mut self,
        object: ObjectId,
        authority: RuntimeId,
        actions: &mut Vec<Action<H>>,
    ) {
        self.send_releases(authority, actions);
        self.send(authority, RulesMessage::RegisterHolder(object), actions);
    }

    /// One use less.
    pub(crate) fn drop_hold(&mut self, object: ObjectId, actions: &mut Vec<Action<H>>) {
        if let ObjectId::Task(task) = object
            && let Some(owned) = self.tasks.get_mut(&task)
        {
            owned.handles = owned.handles.saturating_sub(1);
            return self.forget_task_if_unused(task, actions);
        }
        if self.references.drop_local(object) {
            self.object_unused(object, actions);
        }
    }

    /// One use less of each, before this event is done with. Not at once: what they refer to may be a long chain.
    pub(crate) fn drop_references(&mut self, references: impl IntoIterator<Item = Reference>) {
        let objects = references.into_iter().map(|reference| reference.object);
        self.internal
            .extend(objects.map(Internal::ReferenceDropped));
    }

    /// A message with references came: the value that they are in is kept here from now on.
    pub(crate) fn receive_references(
        &mut self,
        from: RuntimeId,
        references: &[Reference],
        actions: &mut Vec<Action<H>>,
    ) {
        let me = self.config.me;
        for &reference in references {
            let object = reference.object;
            if self.receive_from_authority(from, reference, actions) {
                continue;
            }
            self.hold(reference, actions);
            if from == me {
                if self.references.unpin(object, me) {
                    self.object_unused(object, actions);
                }
            } else if !self.references.register_later(object, from) {
                self.send(from, RulesMessage::Unpin(object), actions);
            }
        }
    }

    /// A reference that is new here came from the authority itself, whose pin stays until it has counted this
    /// runtime: that is as good as being counted, and one message does for both.
    fn receive_from_authority(
        &mut self,
        from: RuntimeId,
        reference: Reference,
        actions: &mut Vec<Action<H>>,
    ) -> bool {
        let Reference { object, authority } = reference;
        let moves = matches!(object, ObjectId::Tessera(_));
        if moves
            || from != authority
            || from == self.config.me
            || self.members.cause(from).is_some()
            || self.references.holdings.contains_key(&object)
        {
            return false;
        }
        self.references
            .hold(object, authority, Registration::Counted);
        self.send_releases(authority, actions);
        self.send(
            authority,
            RulesMessage::RegisterHolderAndUnpin(object),
            actions,
        );
        true
    }

    /// What was saved up for a runtime that is about to hear of an object: among it may be that the same object
    /// was let go of.
    fn send_releases(&mut self, to: RuntimeId, actions: &mut Vec<Action<H>>) {
        if let Some(objects) = self.releases.remove(&to) {
            self.send(to, RulesMessage::Release(objects), actions);
        }
    }

    /// If nobody else uses a buffer of this runtime's store any more, the store is told.
    pub(crate) fn buffer_released(&mut self, object: ObjectId, actions: &mut Vec<Action<H>>) {
        if let ObjectId::Buffer(buffer) = object
            && buffer.owner == self.config.me
            && !self.references.is_shared(object)
        {
            actions.push(Action::BufferReleased(buffer));
        }
    }

    /// The authority counts this runtime now, or there is none any more.
    pub(crate) fn holder_registered(&mut self, object: ObjectId, actions: &mut Vec<Action<H>>) {
        let Some(senders) = self.references.counted(object) else {
            return;
        };
        for sender in senders {
            self.send(sender, RulesMessage::Unpin(object), actions);
        }
        self.object_unused(object, actions);
        self.check_draining(actions);
    }

    /// Nothing here uses an object any more.
    pub(crate) fn object_unused(&mut self, object: ObjectId, actions: &mut Vec<Action<H>>) {
        let me = self.config.me;
        if let ObjectId::Tessera(tessera) = object
            && self
                .routes
                .get(&tessera)
                .is_some_and(|route| !route.queue.is_empty())
        {
            // Calls on their way to it: looked at again when they are sent.
            return;
        }
        let Some(holding) = self.references.holdings.get(&object) else {
            return;
        };
        if !holding.is_unused() || holding.registration != Registration::Counted {
            return;
        }
        let authority = holding.authority;
        self.references.holdings.remove(&object);
        if authority != me {
            self.release(authority, object);
        }
        match object {
            ObjectId::Tessera(tessera) => {
                self.forget_route_if_idle(tessera);
                if authority == me {
                    self.free_if_unused(tessera, actions);
                }
            }
            ObjectId::Task(task) => {
                if let Some(references) = self.borrowed.remove(&task) {
                    self.drop_references(references);
                }
                self.forget_task_if_unused(task, actions);
            }
            // Its memory goes with the last value in which it lies.
            ObjectId::Buffer(_) => {}
        }
    }

    /// The runtime that counted holders of these objects died: a tessera may be built again elsewhere, and
    /// whoever waits to hear that this runtime is counted waits for that; of the rest nobody counts anything.
    pub(crate) fn authority_died(&mut self, dead: RuntimeId, actions: &mut Vec<Action<H>>) {
        let me = self.config.me;
        for object in self.references.counted_by(dead) {
            match object {
                // Its route has seen to it.
                ObjectId::Tessera(tessera)
                    if tessera.owner == me && self.routes.contains_key(&tessera) => {}
                ObjectId::Tessera(tessera)
                    if tessera.owner != me && self.members.cause(tessera.owner).is_none() =>
                {
                    self.references.moves(object, dead);
                    self.find(tessera, dead, actions);
                }
                _ => self.authority_lost(object, actions),
            }
        }
    }

    /// What this runtime holds of an object is its own business from now on.
    pub(crate) fn authority_lost(&mut self, object: ObjectId, actions: &mut Vec<Action<H>>) {
        let me = self.config.me;
        let Some(holding) = self.references.holdings.get_mut(&object) else {
            return;
        };
        holding.authority = me;
        if holding.registration == Registration::Counted {
            self.object_unused(object, actions);
        } else {
            self.holder_registered(object, actions);
        }
    }

    /// Tell somebody, with the next batch, that an object is not needed here any more.
    pub(crate) fn release(&mut self, to: RuntimeId, object: ObjectId) {
        if self.members.cause(to).is_none() {
            self.releases.entry(to).or_default().push(object);
        }
    }

    /// Somebody does not need an object any more.
    pub(crate) fn released_by(
        &mut self,
        holder: RuntimeId,
        object: ObjectId,
        actions: &mut Vec<Action<H>>,
    ) {
        if let ObjectId::Task(task) = object
            && task.owner == holder
        {
            // From the owner to the runner: the result may go.
            return self.result_released(task, actions);
        }
        if !self.references.remove_holder(object, holder) {
            return;
        }
        match object {
            ObjectId::Tessera(tessera) => self.free_if_unused(tessera, actions),
            ObjectId::Task(task) => self.forget_task_if_unused(task, actions),
            ObjectId::Buffer(_) => self.buffer_released(object, actions),
        }
    }
}
