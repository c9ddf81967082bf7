//! Values that a program put here: each looks like a task that has ended.

use crate::call::{Failure, FailureKind, Outcome};
use crate::event::Action;
use crate::id::{ObjectId, TaskId, TesseraId};
use crate::machine::Machine;
use crate::payload::Payload;
use crate::task::Owned;
use crate::wire::Message;

impl<H: Clone> Machine<H> {
    /// A value is kept here from now on.
    pub(crate) fn value_put(&mut self, task: TaskId, value: Payload, actions: &mut Vec<Action<H>>) {
        for reference in &value.references {
            self.hold(*reference, actions);
        }
        self.insert_value(task, value, 1);
    }

    /// Remember a value, what it refers to being held already.
    pub(crate) fn insert_value(&mut self, task: TaskId, value: Payload, handles: u32) {
        let references = value.references.clone();
        let mut owned = Owned::new(None, TesseraId::functions(self.config.me));
        owned.outcome = Some(Outcome::Value(value).into());
        owned.keep(references);
        owned.handles = handles;
        self.tasks.insert(task, Box::new(owned));
    }

    /// A value, or the result of a task, is not wanted any more, whoever still refers to it.
    pub(crate) fn value_dropped(&mut self, task: TaskId, actions: &mut Vec<Action<H>>) {
        if task.owner != self.config.me {
            return self.send(task.owner, Message::Discard(task), actions);
        }
        let Some(owned) = self.tasks.get_mut(&task) else {
            return self.dropped_early(task);
        };
        if owned.outcome.is_none() {
            return;
        }
        let failure = Failure::new(
            FailureKind::ObjectLost,
            format!("the value of {task:?} was dropped"),
        );
        owned.outcome = Some(Outcome::Failed(failure).into());
        let references = owned.take_references();
        let host = owned.host.take();
        self.drop_references(references);
        if let Some(host) = host {
            self.release(host, ObjectId::Task(task));
        }
    }
}
