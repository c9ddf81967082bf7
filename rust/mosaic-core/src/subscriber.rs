//! Subscribers to the outcome of a task, as data.

use std::sync::Arc;

use bytes::Bytes;

use crate::call::{Failure, FailureKind, Outcome, Slot};
use crate::id::{RuntimeId, TaskId};

/// Who is notified of the outcome of a task.
#[derive(Debug)]
pub(crate) enum Subscriber<H> {
    /// A handle of a program of this runtime.
    Handle(H),
    /// An argument of a call that waits in this runtime.
    Argument(Argument),
    /// Another runtime.
    Peer {
        /// The runtime.
        to: RuntimeId,
        /// Whether it asked for the value, or only for the end.
        value: bool,
    },
    /// The subscribers that expect the call of the task: if the call has not come when its owner answers, it has come
    /// and gone.
    Expectation,
}

impl<H> Subscriber<H> {
    /// The outcome for this subscriber after the death of the runtime that had the task's outcome. For a value that was
    /// put, the failure names the object as programs know it.
    pub(crate) fn loss(&self, task: TaskId, kind: FailureKind, cause: &str) -> Arc<Outcome> {
        let failure = match self {
            Self::Argument(argument) if argument.kept => Failure::new(
                FailureKind::ObjectLost,
                format!(
                    "the stored value ware-{}-{:x} is lost: {cause}",
                    task.owner.0, task.sequence
                ),
            ),
            _ => Failure::new(kind, format!("the result of {task:?} is lost: {cause}")),
        };
        Outcome::Failed(failure).into()
    }

    /// Whether this is a subscription of that peer.
    pub(crate) fn is_of(&self, peer: RuntimeId) -> bool {
        matches!(self, Self::Peer { to, .. } if *to == peer)
    }
}

/// A subscriber, and whether it wants the value or only the end.
pub(crate) type Subscription<H> = (bool, Subscriber<H>);

/// An argument of a call that waits in this runtime.
#[derive(Debug)]
pub(crate) struct Argument {
    /// The call.
    pub(crate) call: TaskId,
    /// Where the value goes.
    pub(crate) slot: Slot,
    /// Which part of the value is meant.
    pub(crate) part: Bytes,
    /// It is a value that a program put.
    pub(crate) kept: bool,
}
