//! Relocation of a tessera whose host died. Its owner rebuilds it or declares it lost; other holders ask the owner.
//!
//! Each holder registers with the new host. Until all have registered, the owner holds the tessera once for each host
//! that died (`REF-4` in [`crate::references::table`]).

use rustc_hash::FxHashMap;

use crate::call::{Failure, FailureKind};
use crate::caller::Caller;
use crate::caller::route::{Place, Route};
use crate::context::Internal;
use crate::event::{Action, Report};
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::recount::Registration;
use crate::wire::RulesMessage;

impl<H> Caller<H> {
    /// The host of a tessera that this runtime holds or calls died: ask its owner for the next one.
    pub(crate) fn host_died(&mut self, tessera: TesseraId, dead: RuntimeId) {
        let cause = self
            .callee
            .context()
            .cause(dead)
            .unwrap_or_default()
            .to_owned();
        let route = self
            .routes
            .entry(tessera)
            .or_insert_with(|| Route::known(tessera, None));
        match &route.place {
            Place::At(host) if *host == dead => route.place = Place::Astray(cause),
            Place::At(host) => {
                let host = *host;
                return self.callee.references_mut().register_with(tessera, host);
            }
            _ => {}
        }
        self.request_location(tessera);
    }

    /// A tessera of this runtime's own is held again, and its route says which runtime counts its holders.
    pub(crate) fn own_tessera_held(&mut self, tessera: TesseraId) {
        let Some(believed) = self.callee.references().unresolved_authority(tessera) else {
            return;
        };
        let (authority, registration) = self.own_authority(tessera, believed);
        self.callee
            .references_mut()
            .resolve(tessera, authority, registration);
        if registration == Registration::Unplaced {
            self.rebuild_if_host_lost(tessera);
        }
    }

    /// Which runtime counts the holders of a tessera of this runtime's own, whatever others believe.
    fn own_authority(&self, tessera: TesseraId, believed: RuntimeId) -> (RuntimeId, Registration) {
        let me = self.callee.context().me();
        let route = self.routes.get(&tessera);
        let authority = match route.map(|route| (&route.place, route.restarts_left)) {
            Some((Place::At(host), _)) => *host,
            Some((Place::Asked, _) | (Place::Astray(_), 1..)) => {
                return (me, Registration::Unplaced);
            }
            Some((Place::Lost(_) | Place::Astray(_), _)) => me,
            None if self.callee.context().is_dead(believed) => me,
            None => believed,
        };
        if authority == me {
            (me, Registration::Counted)
        } else {
            (authority, Registration::Asked)
        }
    }

    /// Ask the owner where a tessera is whose host died.
    pub(crate) fn request_location(&mut self, tessera: TesseraId) {
        let me = self.callee.context().me();
        let Some(route) = self.routes.get_mut(&tessera) else {
            return;
        };
        if !matches!(route.place, Place::Astray(_)) {
            return;
        }
        if tessera.owner == me && self.rebuild(tessera) {
            return;
        }
        let Some(route) = self.routes.get_mut(&tessera) else {
            return;
        };
        let Place::Astray(cause) = std::mem::replace(&mut route.place, Place::Asked) else {
            return;
        };
        if tessera.owner == me || self.callee.context().cause(tessera.owner).is_some() {
            return self.lose(tessera, Failure::new(FailureKind::Disconnected, cause));
        }
        self.callee
            .context_mut()
            .send(tessera.owner, RulesMessage::Locate(tessera));
    }

    /// A holder or a would-be host asks where a tessera of this runtime is.
    pub(crate) fn locate(&mut self, tessera: TesseraId, asker: RuntimeId) {
        self.rebuild_if_host_lost(tessera);
        let is_sent = self.construction_is_sent(tessera);
        let place = match self.routes.get_mut(&tessera) {
            Some(route) => match &route.place {
                Place::At(host) if is_sent => Ok(*host),
                Place::Asked | Place::At(_) => return route.askers.push(asker),
                Place::Lost(failure) => Err(failure.message.clone()),
                Place::Astray(cause) => Err(cause.clone()),
            },
            None => Err("it does not exist any more".into()),
        };
        self.callee
            .context_mut()
            .send(asker, RulesMessage::Located { tessera, place });
    }

    /// A peer does not wait to hear where tesserae of this runtime are: it will ask again.
    pub(crate) fn forget_asker(&mut self, peer: RuntimeId) {
        let asked = self
            .routes
            .iter()
            .filter(|(_, route)| route.askers.contains(&peer));
        let asked: Vec<_> = asked.map(|(tessera, _)| *tessera).collect();
        for tessera in asked {
            if let Some(route) = self.routes.get_mut(&tessera) {
                route.askers.retain(|asker| *asker != peer);
            }
            self.forget_route_if_idle(tessera);
        }
    }

    /// Whether a message that is sent to the host now arrives there after the construction.
    pub(crate) fn construction_is_sent(&self, tessera: TesseraId) -> bool {
        let construction = self
            .routes
            .get(&tessera)
            .and_then(|route| route.construction);
        construction
            .and_then(|task| self.tasks.get(&task))
            .is_none_or(|owned| owned.host.is_some() || owned.outcome.is_some())
    }

    /// The owner says where a tessera is.
    pub(crate) fn located(&mut self, tessera: TesseraId, place: Result<RuntimeId, String>) {
        let me = self.callee.context().me();
        match &place {
            Err(reason) => self.callee.early_calls_fail(tessera, reason),
            // The construction would have come before this.
            Ok(host) if *host == me => {
                self.callee
                    .early_calls_fail(tessera, "it does not exist any more");
            }
            Ok(_) => {}
        }
        let Some(route) = self.routes.get_mut(&tessera) else {
            return;
        };
        if !matches!(route.place, Place::Asked) || tessera.owner == me {
            return;
        }
        match place {
            Ok(host) => match self.callee.context().cause(host).map(str::to_owned) {
                None => {
                    route.place = Place::At(host);
                    self.callee.references_mut().register_with(tessera, host);
                }
                Some(cause) => {
                    route.place = Place::Astray(cause);
                    return self.request_location(tessera);
                }
            },
            Err(reason) => self.lose(tessera, Failure::new(FailureKind::Disconnected, reason)),
        }
        self.pump(tessera);
    }

    /// The host of a tessera died, with calls that may be repeated: build it again, or say that it is lost.
    pub(crate) fn route_lost(
        &mut self,
        tessera: TesseraId,
        dead: RuntimeId,
        cause: &str,
        repeatable: &[TaskId],
    ) {
        let me = self.callee.context().me();
        let Some(route) = self.routes.get_mut(&tessera) else {
            return;
        };
        let lost = tessera.is_fixture() || self.callee.context().cause(tessera.owner).is_some();
        if lost || tessera.owner == me && route.restarts_left == 0 {
            return self.lose(tessera, Failure::new(FailureKind::Disconnected, cause));
        }
        route.place = Place::Astray(cause.to_owned());
        // Back into the queue, in their order.
        for task in repeatable.iter().rev() {
            self.requeue(tessera, *task);
        }
        if tessera.owner == me {
            if let Some(route) = self.routes.get_mut(&tessera) {
                route.lost_with.push(dead);
            }
            let object = ObjectId::Tessera(tessera);
            let references = self.callee.references_mut();
            let held = references.holds(object);
            references.hold_as(object, me, Registration::Unplaced);
            references.unplaced(tessera);
            if held
                || self
                    .routes
                    .get(&tessera)
                    .is_some_and(|route| !route.queue.is_empty())
            {
                self.rebuild_if_host_lost(tessera);
            }
        }
    }

    /// Every other holder of a tessera has registered with the host after the dead one, or has asked for it.
    pub(crate) fn death_of_host_settled(&mut self, dead: RuntimeId) {
        let lost = self
            .routes
            .iter()
            .filter(|(_, route)| route.lost_with.contains(&dead));
        let mut lost: Vec<_> = lost.map(|(tessera, _)| *tessera).collect();
        lost.sort_unstable();
        for tessera in lost {
            let Some(route) = self.routes.get_mut(&tessera) else {
                continue;
            };
            if let Place::Astray(cause) = &route.place {
                // Nobody has.
                let failure = Failure::new(FailureKind::Disconnected, cause.clone());
                self.lose(tessera, failure);
            } else {
                route.lost_with.retain(|own| *own != dead);
                let object = ObjectId::Tessera(tessera);
                self.callee
                    .context_mut()
                    .later(Internal::ReferenceDropped(object));
            }
        }
    }

    /// A tessera of this runtime is wanted: build it again if its host died while nothing used it.
    pub(crate) fn rebuild_if_host_lost(&mut self, tessera: TesseraId) {
        let astray = |route: &Route| matches!(route.place, Place::Astray(_));
        if tessera.owner == self.callee.context().me()
            && self.routes.get(&tessera).is_some_and(astray)
        {
            self.request_location(tessera);
        }
    }

    /// Build a tessera of this runtime again, if that may be done.
    fn rebuild(&mut self, tessera: TesseraId) -> bool {
        let Some(route) = self
            .routes
            .get_mut(&tessera)
            .filter(|route| route.restarts_left > 0)
        else {
            return false;
        };
        let Place::Astray(cause) = &route.place else {
            return false;
        };
        let Some(construction) = route.construction else {
            return false;
        };
        let Some(owned) = self.tasks.get(&construction) else {
            return false;
        };
        let Some(call) = &owned.call else {
            return false;
        };
        let report = Report::Restarted {
            what: call.method.to_string(),
            cause: cause.clone(),
        };
        self.callee.context_mut().act(Action::Report(report));
        route.restarts_left -= 1;
        route.place = Place::Asked;
        let is_queued = owned.host.is_none() && owned.outcome.is_none();
        if !is_queued {
            self.requeue(tessera, construction);
        }
        self.ask_for_place(tessera);
        true
    }

    /// The calls at a runtime that may be repeated elsewhere, by their tesserae.
    pub(crate) fn repeatable_at(&self, host: RuntimeId) -> FxHashMap<TesseraId, Vec<TaskId>> {
        let mut found = FxHashMap::<_, Vec<_>>::default();
        for (task, owned) in &self.tasks {
            let sent = owned.host == Some(host) && owned.outcome.is_none() && !owned.builds;
            if sent && owned.resends > 0 && owned.call.is_some() {
                found.entry(owned.tessera).or_default().push(*task);
            }
        }
        for tasks in found.values_mut() {
            tasks.sort_unstable();
        }
        found
    }

    fn requeue(&mut self, tessera: TesseraId, task: TaskId) {
        let (Some(owned), Some(route)) = (self.tasks.get_mut(&task), self.routes.get_mut(&tessera))
        else {
            return;
        };
        if owned.outcome.is_none() && owned.host.is_some() {
            route.sent_calls -= 1;
            route.sent_bytes -= owned.size;
        }
        // A construction had ended once; what counts from now on is whether it does again.
        owned.outcome = None;
        owned.resends = owned.resends.saturating_sub(1);
        owned.host = None;
        route.queue.push_front(task);
        route.blocked_on = None;
    }
}
