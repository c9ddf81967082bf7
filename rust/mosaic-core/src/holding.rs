//! What becomes of references as messages come and go and handles are made and dropped: the rules over the
//! tables of [`crate::refs`].

use crate::event::Action;
use crate::id::{ObjectId, RuntimeId};
use crate::machine::Machine;
use crate::payload::Reference;
use crate::refs::Registration;
use crate::wire::Message;

impl<H: Clone> Machine<H> {
    /// One more use of an object here.
    pub(crate) fn hold(&mut self, reference: Reference, actions: &mut Vec<Action<H>>) {
        let Reference { object, authority } = reference;
        let me = self.config.me;
        if let ObjectId::Task(task) = object
            && let Some(owned) = self.tasks.get_mut(&task)
        {
            owned.handles += 1;
            return;
        }
        let registration = if authority == me || self.members.cause(authority).is_some() {
            Registration::Counted
        } else {
            Registration::Asked
        };
        if self.references.hold(object, authority, registration) {
            self.send(authority, Message::Hold(object), actions);
        }
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

    pub(crate) fn drop_references(&mut self, references: &[Reference], actions: &mut Vec<Action<H>>) {
        for reference in references {
            self.drop_hold(reference.object, actions);
        }
    }

    /// A message with references came: the value that they are in is kept here from now on.
    pub(crate) fn receive_references(&mut self, from: RuntimeId, references: &[Reference], actions: &mut Vec<Action<H>>) {
        let me = self.config.me;
        for &reference in references {
            self.hold(reference, actions);
            let object = reference.object;
            let holding = self.references.holdings.get_mut(&object);
            if from == me {
                if self.references.unpin(object, me) {
                    self.object_unused(object, actions);
                }
            } else if let Some(holding) = holding.filter(|holding| holding.registration == Registration::Asked) {
                holding.unpin.push(from);
            } else {
                self.send(from, Message::Unpin(object), actions);
            }
        }
    }

    /// The authority counts this runtime now.
    pub(crate) fn hold_acknowledged(&mut self, object: ObjectId, actions: &mut Vec<Action<H>>) {
        let Some(holding) = self.references.holdings.get_mut(&object) else { return };
        if holding.registration != Registration::Asked {
            return;
        }
        holding.registration = Registration::Counted;
        let unused = holding.is_unused();
        for sender in std::mem::take(&mut holding.unpin) {
            self.send(sender, Message::Unpin(object), actions);
        }
        if unused {
            self.object_unused(object, actions);
        }
        self.check_draining(actions);
    }

    /// Nothing here uses an object any more.
    pub(crate) fn object_unused(&mut self, object: ObjectId, actions: &mut Vec<Action<H>>) {
        let me = self.config.me;
        if let ObjectId::Tessera(tessera) = object
            && self.routes.get(&tessera).is_some_and(|route| !route.queue.is_empty())
        {
            // Calls on their way to it: looked at again when they are sent.
            return;
        }
        let Some(holding) = self.references.holdings.get(&object) else { return };
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
                    self.drop_references(&references, actions);
                }
                self.forget_task_if_unused(task, actions);
            }
        }
    }

    /// Tell somebody, with the next batch, that an object is not needed here any more.
    pub(crate) fn release(&mut self, to: RuntimeId, object: ObjectId) {
        if self.members.cause(to).is_none() {
            self.releases.entry(to).or_default().push(object);
        }
    }

    /// Somebody does not need an object any more.
    pub(crate) fn released_by(&mut self, holder: RuntimeId, object: ObjectId, actions: &mut Vec<Action<H>>) {
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
        }
    }
}
