//! Whether a call has reached its host, for programs that ask. Calls of which nobody asks pay nothing for it.
//!
//! A probe follows the call on the same way, which keeps its order: the host's answer says that the call came
//! before. Who asks is told exactly once (`ARRIVE-1`): that it is there, or how it ended without getting there.

use std::sync::Arc;

use crate::call::{FailureKind, Outcome};
use crate::event::Action;
use crate::id::{RuntimeId, TaskId};
use crate::machine::Machine;
use crate::payload::Payload;
use crate::wire::Message;

fn there() -> Arc<Outcome> {
    Outcome::Value(Payload::default()).into()
}

/// What somebody is told who asks of a call that has ended so, having been sent somewhere or not.
pub(crate) fn by_its_end(outcome: &Arc<Outcome>, sent: bool) -> Arc<Outcome> {
    match &**outcome {
        // Nobody knows how far it came, or it found nothing there.
        Outcome::Failed(failure)
            if !sent
                || matches!(
                    failure.kind,
                    FailureKind::Disconnected
                        | FailureKind::ConnectionLost
                        | FailureKind::TimedOut
                        | FailureKind::Stopped
                ) =>
        {
            Arc::clone(outcome)
        }
        _ => there(),
    }
}

impl<H: Clone> Machine<H> {
    /// A program asks of a call of this runtime's.
    pub(crate) fn arrival_wanted(&mut self, task: TaskId, handle: H, actions: &mut Vec<Action<H>>) {
        let Some(owned) = self.tasks.get_mut(&task) else {
            let outcome = there();
            return actions.push(Action::Settle { handle, outcome });
        };
        if let Some(outcome) = &owned.outcome {
            let outcome = by_its_end(outcome, owned.host.is_some());
            return actions.push(Action::Settle { handle, outcome });
        }
        owned.aside().arrivals.push(handle);
        self.probe(task, actions);
    }

    /// Send a probe after a call, if it was sent and somebody asks.
    pub(crate) fn probe(&mut self, task: TaskId, actions: &mut Vec<Action<H>>) {
        let Some(owned) = self.tasks.get_mut(&task) else {
            return;
        };
        let host = owned.host;
        if let Some(host) = host
            && owned
                .aside_mut()
                .is_some_and(|aside| !aside.arrivals.is_empty())
        {
            self.send(host, Message::Probe(task), actions);
        }
    }

    /// A host has the call, and has answered the probe that came behind it.
    pub(crate) fn arrived(&mut self, from: RuntimeId, task: TaskId, actions: &mut Vec<Action<H>>) {
        // Sent again meanwhile, it counts where it is now.
        let owned = self.tasks.get_mut(&task);
        let Some(owned) = owned.filter(|owned| owned.host == Some(from)) else {
            return;
        };
        let arrivals = owned
            .aside_mut()
            .map(|aside| std::mem::take(&mut aside.arrivals));
        for handle in arrivals.into_iter().flatten() {
            let outcome = there();
            actions.push(Action::Settle { handle, outcome });
        }
    }
}
