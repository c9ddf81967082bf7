//! What becomes of tasks and routes when a runtime dies, when the connection to it is lost, and when this runtime stops.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::call::{Failure, FailureKind, Outcome};
use crate::caller::Caller;
use crate::caller::route::Place;
use crate::context::Internal;
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::recount::Recount;
use crate::wire::RulesMessage;

impl<H> Caller<H> {
    /// A runtime died: the tesserae that it hosted are lost or built again, and the calls that it had fail.
    pub(crate) fn host_of_calls_died(&mut self, dead: RuntimeId, cause: &str) {
        let routes = self.routes.iter();
        let routes = routes.filter(|(tessera, route)| match route.place {
            Place::At(host) => host == dead,
            // Its owner was asked, and cannot answer any more.
            Place::Asked => tessera.owner == dead,
            _ => false,
        });
        let mut routes: Vec<_> = routes.map(|(tessera, _)| *tessera).collect();
        routes.sort_unstable();
        let repeatable = self.repeatable_at(dead);
        for tessera in &routes {
            let again = repeatable.get(tessera).map_or(&[][..], Vec::as_slice);
            self.route_lost(*tessera, dead, cause, again);
        }
        for task in self.unended_at(dead) {
            self.end_task(task, Outcome::Failed(Failure::disconnected(cause)).into());
        }
        for tessera in routes {
            self.callee
                .context_mut()
                .later(Internal::RouteReady(tessera));
        }
        let (routes, callee) = (&self.routes, &mut self.callee);
        callee
            .references_mut()
            .authority_died(dead, |tessera| routes.contains_key(&tessera));
    }

    /// The tasks that were sent to a runtime and have not ended, in their order.
    fn unended_at(&self, host: RuntimeId) -> Vec<TaskId> {
        let sent = self.tasks.iter();
        let sent = sent.filter(|(_, owned)| owned.host == Some(host) && owned.outcome.is_none());
        let mut sent: Vec<_> = sent.map(|(task, _)| *task).collect();
        sent.sort_unstable();
        sent
    }

    /// `LINK-1`: calls that were sent to a peer by a lost connection and have not ended fail.
    pub(crate) fn calls_lost(&mut self, peer: RuntimeId, cause: &str) {
        let message = format!("{cause}; whether the call had begun there is not known");
        let failure = Failure::new(FailureKind::ConnectionLost, message);
        let sent = self.unended_at(peer).into_iter().map(|task| {
            let owned = self.tasks.get(&task);
            let builds = owned.and_then(|owned| owned.builds.then_some(owned.tessera));
            (task, builds)
        });
        let sent: Vec<_> = sent.collect();
        for (task, builds) in sent {
            self.end_task(task, Outcome::Failed(failure.clone()).into());
            if let Some(tessera) = builds {
                // Whether it was built is not known. Its host frees it when the recount does not name it; if the
                // construction never arrived, only this runtime can tell the head.
                self.lose(tessera, failure.clone());
                self.callee
                    .context_mut()
                    .send(RuntimeId::HEAD, RulesMessage::Freed(tessera));
            }
        }
    }

    /// `LINK-2`: ask a peer again where its tesserae are.
    pub(crate) fn locate_again(&mut self, peer: RuntimeId) {
        let asked = self.routes.iter();
        let asked = asked.filter(|(_, route)| matches!(route.place, Place::Asked));
        let asked: BTreeSet<_> = asked
            .map(|(tessera, _)| *tessera)
            .chain(self.callee.awaited_tesserae())
            .filter(|tessera| tessera.owner == peer)
            .collect();
        for tessera in asked {
            self.callee
                .context_mut()
                .send(peer, RulesMessage::Locate(tessera));
        }
    }

    /// `LINK-3`: the references that this runtime holds of a peer's objects, and the results that it may still fetch.
    pub(crate) fn recount(&self, peer: RuntimeId, asks: bool) -> Recount {
        let mut held = self.callee.references().counted_by(peer);
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
        let me = self.callee.context().me();
        let restartable = self.routes.iter().filter(|(tessera, route)| {
            tessera.owner == me
                && route.restarts_left > 0
                && matches!(route.place, Place::At(host) if host == peer)
        });
        let mut restartable: Vec<TesseraId> = restartable.map(|(tessera, _)| *tessera).collect();
        restartable.sort_unstable();
        Recount {
            held,
            restartable,
            awaited: self.callee.references().awaited_from(peer),
            more: false,
            asks,
        }
    }

    /// This runtime stops: the handles of all tasks that have not ended complete with this outcome.
    pub(crate) fn stop(&mut self, outcome: &Arc<Outcome>) {
        let mut unended: Vec<_> = self.unended().into_iter().collect();
        unended.sort_unstable();
        for task in unended {
            self.end_task(task, Arc::clone(outcome));
        }
        self.callee.stop(outcome);
        self.callee.values_mut().stop(outcome);
    }
}
