//! Delivery probes: whether a call has reached its host. Only a call whose delivery a program asks for is probed.
//!
//! The probe follows the call on the same connection, which keeps order, so the host's answer implies that the call
//! arrived before it. Each handle completes exactly once (`DELIVERY-1`): with the delivery, or with the failure of a
//! call that never arrived.

use std::sync::Arc;

use crate::call::{FailureKind, Outcome};
use crate::caller::Caller;
use crate::id::{RuntimeId, TaskId};
use crate::payload::Payload;
use crate::wire::RulesMessage;

fn there() -> Arc<Outcome> {
    Outcome::Value(Payload::default()).into()
}

/// The answer to a delivery request for a call that has ended with this outcome, and was sent or not.
pub(crate) fn delivery_outcome(outcome: &Arc<Outcome>, sent: bool) -> Arc<Outcome> {
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

impl<H> Caller<H> {
    /// A program asks of a call of this runtime's.
    pub(crate) fn delivery_requested(&mut self, task: TaskId, handle: H) {
        let Some(owned) = self.tasks.get_mut(&task) else {
            let outcome = there();
            return self.callee.context_mut().complete(handle, outcome);
        };
        if let Some(outcome) = &owned.outcome {
            let outcome = delivery_outcome(outcome, owned.host.is_some());
            return self.callee.context_mut().complete(handle, outcome);
        }
        owned.cold_state().arrivals.push(handle);
        self.probe(task);
    }

    /// Send a probe after a call, if it was sent and its delivery was requested.
    pub(crate) fn probe(&mut self, task: TaskId) {
        let Some(owned) = self.tasks.get_mut(&task) else {
            return;
        };
        let host = owned.host;
        if let Some(host) = host
            && owned
                .cold_state_mut()
                .is_some_and(|cold_state| !cold_state.arrivals.is_empty())
        {
            self.callee
                .context_mut()
                .send(host, RulesMessage::DeliveryProbe(task));
        }
    }

    /// A host has the call, and has answered the probe that came behind it.
    pub(crate) fn delivered(&mut self, from: RuntimeId, task: TaskId) {
        // Sent again meanwhile, it counts where it is now.
        let owned = self.tasks.get_mut(&task);
        let Some(owned) = owned.filter(|owned| owned.host == Some(from)) else {
            return;
        };
        let arrivals = owned
            .cold_state_mut()
            .map(|cold_state| std::mem::take(&mut cold_state.arrivals));
        for handle in arrivals.into_iter().flatten() {
            let outcome = there();
            self.callee.context_mut().complete(handle, outcome);
        }
    }
}
