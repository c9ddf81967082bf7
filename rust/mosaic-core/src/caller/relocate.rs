//! Relocation of a tessera whose host died. Its owner rebuilds it or declares it lost; other holders ask the owner.
//!
//! Each holder registers with the new host. Until all have registered, the owner holds the tessera once for each host
//! that died (`REF-4` in [`crate::references::table`]).

use rustc_hash::FxHashMap;

use crate::call::{Failure, FailureKind};
use crate::caller::route::{Place, Route};
use crate::event::{Action, Report};
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::machine::{Internal, Machine};
use crate::references::table::Registration;
use crate::wire::RulesMessage;

impl<H: Clone> Machine<H> {
    /// The host of a tessera that this runtime holds or calls died: ask its owner for the next one.
    pub(crate) fn find(
        &mut self,
        tessera: TesseraId,
        dead: RuntimeId,
        actions: &mut Vec<Action<H>>,
    ) {
        let cause = self.members.cause(dead).unwrap_or_default().to_owned();
        let route = self
            .routes
            .entry(tessera)
            .or_insert_with(|| Route::known(tessera, None));
        match &route.place {
            Place::At(host) if *host == dead => route.place = Place::Astray(cause),
            Place::At(host) => {
                let host = *host;
                return self.register_with(tessera, host, actions);
            }
            _ => {}
        }
        self.request_location(tessera, actions);
    }

    /// The tessera lives there: be counted there.
    fn register_with(&mut self, tessera: TesseraId, host: RuntimeId, actions: &mut Vec<Action<H>>) {
        let object = ObjectId::Tessera(tessera);
        let Some(holding) = self.references.holdings.get_mut(&object) else {
            return;
        };
        if holding.authority == host {
            return;
        }
        holding.authority = host;
        if host == self.config.me {
            return self.holder_registered(object, actions);
        }
        holding.registration = Registration::Asked;
        self.request_registration(object, host, actions);
    }

    /// Ask the owner where a tessera is whose host died.
    pub(crate) fn request_location(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        let me = self.config.me;
        let Some(route) = self.routes.get_mut(&tessera) else {
            return;
        };
        if !matches!(route.place, Place::Astray(_)) {
            return;
        }
        if tessera.owner == me && self.rebuild(tessera, actions) {
            return;
        }
        let Some(route) = self.routes.get_mut(&tessera) else {
            return;
        };
        let Place::Astray(cause) = std::mem::replace(&mut route.place, Place::Asked) else {
            return;
        };
        if tessera.owner == me || self.members.cause(tessera.owner).is_some() {
            return self.lose(
                tessera,
                Failure::new(FailureKind::Disconnected, cause),
                actions,
            );
        }
        self.send(tessera.owner, RulesMessage::Locate(tessera), actions);
    }

    /// A holder or a would-be host asks where a tessera of this runtime is.
    pub(crate) fn locate(
        &mut self,
        tessera: TesseraId,
        asker: RuntimeId,
        actions: &mut Vec<Action<H>>,
    ) {
        self.rebuild_if_host_lost(tessera, actions);
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
        self.send(asker, RulesMessage::Located { tessera, place }, actions);
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

    /// Whether whatever is sent to the host now comes there after the construction.
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
    pub(crate) fn located(
        &mut self,
        tessera: TesseraId,
        place: Result<RuntimeId, String>,
        actions: &mut Vec<Action<H>>,
    ) {
        let me = self.config.me;
        match &place {
            Err(reason) => self.early_calls_fail(tessera, reason, actions),
            // The construction would have come before this.
            Ok(host) if *host == me => {
                self.early_calls_fail(tessera, "it does not exist any more", actions);
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
            Ok(host) => match self.members.cause(host).map(str::to_owned) {
                None => {
                    route.place = Place::At(host);
                    self.register_with(tessera, host, actions);
                }
                Some(cause) => {
                    route.place = Place::Astray(cause);
                    return self.request_location(tessera, actions);
                }
            },
            Err(reason) => self.lose(
                tessera,
                Failure::new(FailureKind::Disconnected, reason),
                actions,
            ),
        }
        self.pump(tessera, actions);
    }

    /// The host of a tessera died, with calls that may be repeated: build it again, or say that it is lost.
    pub(crate) fn route_lost(
        &mut self,
        tessera: TesseraId,
        dead: RuntimeId,
        cause: &str,
        repeatable: &[TaskId],
        actions: &mut Vec<Action<H>>,
    ) {
        let me = self.config.me;
        let Some(route) = self.routes.get_mut(&tessera) else {
            return;
        };
        let lost = tessera.is_fixture() || self.members.cause(tessera.owner).is_some();
        if lost || tessera.owner == me && route.restarts_left == 0 {
            return self.lose(
                tessera,
                Failure::new(FailureKind::Disconnected, cause),
                actions,
            );
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
            let held = self.references.holdings.contains_key(&object);
            self.references.hold(object, me, Registration::Unplaced);
            self.holder_registered(object, actions);
            if let Some(holding) = self.references.holdings.get_mut(&object) {
                holding.authority = me;
                holding.registration = Registration::Unplaced;
            }
            if held
                || self
                    .routes
                    .get(&tessera)
                    .is_some_and(|route| !route.queue.is_empty())
            {
                self.rebuild_if_host_lost(tessera, actions);
            }
        }
    }

    /// Whoever else held a tessera when that host died has registered with its next host, or has asked for it.
    pub(crate) fn death_of_host_settled(&mut self, dead: RuntimeId, actions: &mut Vec<Action<H>>) {
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
                self.lose(tessera, failure, actions);
            } else {
                route.lost_with.retain(|own| *own != dead);
                let object = ObjectId::Tessera(tessera);
                self.internal.push_back(Internal::ReferenceDropped(object));
            }
        }
    }

    /// Somebody wants a tessera of this runtime of which nobody was known to want it.
    pub(crate) fn rebuild_if_host_lost(
        &mut self,
        tessera: TesseraId,
        actions: &mut Vec<Action<H>>,
    ) {
        let astray = |route: &Route| matches!(route.place, Place::Astray(_));
        if tessera.owner == self.config.me && self.routes.get(&tessera).is_some_and(astray) {
            self.request_location(tessera, actions);
        }
    }

    /// Build a tessera of this runtime again, if that may be done.
    fn rebuild(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) -> bool {
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
        actions.push(Action::Report(report));
        route.restarts_left -= 1;
        route.place = Place::Asked;
        let is_queued = owned.host.is_none() && owned.outcome.is_none();
        if !is_queued {
            self.requeue(tessera, construction);
        }
        self.ask_for_place(tessera, actions);
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
