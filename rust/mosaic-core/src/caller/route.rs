//! Routes: where each tessera lives as far as this caller knows, and the calls that wait to be sent to it.
//!
//! Calls to one tessera are sent in the order of their submission (`ROUTE-1`). At most one window of calls and bytes is
//! in flight to a tessera; the rest waits here, at the caller (`ROUTE-2`).

use std::collections::VecDeque;

use crate::call::{Call, Failure, FailureKind, Outcome};
use crate::callee::tessera::kept_for;
use crate::event::{Action, Role};
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::machine::{Internal, Machine};
use crate::references::table::Registration;
use crate::wire::RulesMessage;

/// Where a tessera lives.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// Somebody was asked to say.
    Asked,
    /// The host.
    At(RuntimeId),
    /// Its host died so; its owner may have built it again elsewhere.
    Astray(String),
    /// Nowhere, for good.
    Lost(Box<Failure>),
}

/// The way to one tessera.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) place: Place,
    /// Calls that are not sent.
    pub(crate) queue: VecDeque<TaskId>,
    pub(crate) sent_calls: usize,
    pub(crate) sent_bytes: usize,
    /// Calls of a concurrent tessera may wait for each other: no window.
    pub(crate) unlimited: bool,
    /// The task of the construction, where this runtime made it.
    pub(crate) construction: Option<TaskId>,
    pub(crate) restarts_left: u32,
    /// The kind of runtime that it is built on, where this runtime builds it.
    home: Role,
    /// Who wants to know where it is, once its construction is on its way.
    pub(crate) askers: Vec<RuntimeId>,
    /// The hosts that died: this runtime holds the tessera once for each until whoever else held it has
    /// registered with the next host.
    pub(crate) lost_with: Vec<RuntimeId>,
    /// The task that the next call depends on, which is not sent yet.
    pub(crate) blocked_on: Option<TaskId>,
}

impl Route {
    /// To a tessera that somebody else built, or to a runtime's functions.
    pub(crate) fn known(tessera: TesseraId, host: Option<RuntimeId>) -> Self {
        let place = match host {
            _ if tessera.is_fixture() => Place::At(tessera.owner),
            Some(host) => Place::At(host),
            None => Place::Astray("it is not known where it lives".into()),
        };
        Self {
            place,
            queue: VecDeque::new(),
            sent_calls: 0,
            sent_bytes: 0,
            unlimited: tessera.is_functions(),
            construction: None,
            restarts_left: 0,
            home: Role::Worker,
            askers: Vec::new(),
            lost_with: Vec::new(),
            blocked_on: None,
        }
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.sent_calls == 0
            && self.restarts_left == 0
            && self.askers.is_empty()
    }
}

impl<H: Clone> Machine<H> {
    /// The runtime that hosts a tessera, as far as this one knows.
    pub fn host_of(&self, tessera: TesseraId) -> Option<RuntimeId> {
        if self.hosted.contains_key(&tessera) {
            return Some(self.config.me);
        }
        match self.routes.get(&tessera)?.place {
            Place::At(host) => Some(host),
            _ => None,
        }
    }

    /// The runtime that runs a task of this one's, once it was sent there.
    pub fn runner_of(&self, task: TaskId) -> Option<RuntimeId> {
        self.tasks.get(&task)?.host
    }

    /// Whether it is still to be decided where a tessera goes.
    pub fn is_unplaced(&self, tessera: TesseraId) -> bool {
        self.routes
            .get(&tessera)
            .is_some_and(|route| matches!(route.place, Place::Asked))
    }

    pub(crate) fn begin_route(&mut self, call: &Call, restarts: u32) -> &mut Route {
        let object = ObjectId::Tessera(call.tessera);
        self.references
            .hold(object, self.config.me, Registration::Unplaced);
        let mut route = Route::known(call.tessera, None);
        route.place = Place::Asked;
        route.unlimited = call.construction.concurrent;
        route.construction = Some(call.task);
        route.restarts_left = restarts;
        route.home = call.construction.home;
        self.routes
            .entry(call.tessera)
            .insert_entry(route)
            .into_mut()
    }

    /// Have the head choose a runtime.
    pub(crate) fn ask_for_place(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        let home = self.routes.get(&tessera).map(|route| route.home);
        let message = RulesMessage::Place(tessera, home.unwrap_or_default());
        self.send(RuntimeId::HEAD, message, actions);
    }

    /// It is decided where a tessera of this runtime goes: by the head, or by the program.
    pub(crate) fn placed(
        &mut self,
        tessera: TesseraId,
        place: Result<RuntimeId, String>,
        by_head: bool,
        actions: &mut Vec<Action<H>>,
    ) {
        let Some(route) = self
            .routes
            .get_mut(&tessera)
            .filter(|route| matches!(route.place, Place::Asked))
        else {
            // It is not wanted any more.
            return self.send(RuntimeId::HEAD, RulesMessage::Freed(tessera), actions);
        };
        match place {
            Ok(host) if self.members.cause(host).is_none() => {
                route.place = Place::At(host);
                actions.push(Action::TesseraPlaced(tessera));
                // The host counts the runtime that a construction comes from.
                if let Some(holding) = self
                    .references
                    .holdings
                    .get_mut(&ObjectId::Tessera(tessera))
                {
                    holding.authority = host;
                    holding.registration = Registration::Counted;
                }
                self.pump(tessera, actions);
            }
            // It died meanwhile, and the head knows.
            Ok(_) if by_head => self.ask_for_place(tessera, actions),
            Ok(host) => {
                let cause = self.members.cause(host).unwrap_or_default().to_owned();
                self.lose(
                    tessera,
                    Failure::new(FailureKind::Disconnected, cause),
                    actions,
                );
            }
            Err(reason) => self.lose(
                tessera,
                Failure::new(FailureKind::Disconnected, reason),
                actions,
            ),
        }
    }

    /// There is no such tessera any more: everybody who waits for it is told, and nobody counts its holders.
    pub(crate) fn lose(
        &mut self,
        tessera: TesseraId,
        failure: Box<Failure>,
        actions: &mut Vec<Action<H>>,
    ) {
        if !self.routes.contains_key(&tessera) {
            return;
        }
        for reference in kept_for(tessera, &failure) {
            self.hold(reference, actions);
        }
        let Some(route) = self.routes.get_mut(&tessera) else {
            return;
        };
        let reason = failure.message.clone();
        let before = std::mem::replace(&mut route.place, Place::Lost(failure));
        if tessera.owner == self.config.me {
            if matches!(before, Place::Asked) {
                actions.push(Action::TesseraPlaced(tessera));
            }
            self.answer_askers(tessera, &Err(reason), actions);
            self.let_go_of_construction(tessera, actions);
        }
        self.drop_lost(tessera, before);
        self.internal.push_back(Internal::RouteReady(tessera));
        self.authority_lost(ObjectId::Tessera(tessera), actions);
    }

    /// A tessera of this runtime will not be built again.
    fn let_go_of_construction(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        let Some(route) = self.routes.get_mut(&tessera) else {
            return;
        };
        route.restarts_left = 0;
        for _ in std::mem::take(&mut route.lost_with) {
            let object = ObjectId::Tessera(tessera);
            self.internal.push_back(Internal::ReferenceDropped(object));
        }
        let Some(task) = route.construction else {
            return;
        };
        if self
            .tasks
            .get(&task)
            .is_some_and(|owned| owned.outcome.is_some())
        {
            self.drop_call(task, actions);
            self.forget_task_if_unused(task, actions);
        }
    }

    pub(crate) fn answer_askers(
        &mut self,
        tessera: TesseraId,
        place: &Result<RuntimeId, String>,
        actions: &mut Vec<Action<H>>,
    ) {
        let askers = self
            .routes
            .get_mut(&tessera)
            .map(|route| std::mem::take(&mut route.askers));
        for asker in askers.into_iter().flatten() {
            self.send(
                asker,
                RulesMessage::Located {
                    tessera,
                    place: place.clone(),
                },
                actions,
            );
        }
    }

    /// Everything that was to be sent to a tessera is sent.
    pub(crate) fn route_is_empty(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        let Some(route) = self.routes.get(&tessera) else {
            return;
        };
        if !route.queue.is_empty() {
            return;
        }
        let object = ObjectId::Tessera(tessera);
        match self.references.holdings.get(&object) {
            Some(holding) if holding.is_unused() => self.object_unused(object, actions),
            Some(_) => {}
            None => {
                self.forget_route_if_idle(tessera);
                self.free_if_unused(tessera, actions);
            }
        }
    }

    pub(crate) fn forget_route_if_idle(&mut self, tessera: TesseraId) {
        let unused = !self
            .references
            .holdings
            .contains_key(&ObjectId::Tessera(tessera));
        if unused
            && self.routes.get(&tessera).is_some_and(Route::is_idle)
            && let Some(route) = self.routes.remove(&tessera)
        {
            self.drop_lost(tessera, route.place);
        }
    }

    /// What the failure refers to for which a tessera is lost is not needed any more.
    fn drop_lost(&mut self, tessera: TesseraId, place: Place) {
        if let Place::Lost(failure) = place {
            self.drop_references(kept_for(tessera, &failure));
        }
    }

    /// The host has freed a tessera: it will not be built again.
    pub(crate) fn tessera_freed(
        &mut self,
        tessera: TesseraId,
        by: RuntimeId,
        actions: &mut Vec<Action<H>>,
    ) {
        if self.is_head() {
            self.placement.freed(tessera);
        }
        let is_there = |route: &Route| matches!(route.place, Place::At(host) if host == by);
        if tessera.owner == self.config.me && self.routes.get(&tessera).is_some_and(is_there) {
            self.let_go_of_construction(tessera, actions);
            self.forget_route_if_idle(tessera);
        }
    }
}

/// How calls fail that were sent to a runtime which died.
pub(crate) fn disconnected(cause: &str) -> Outcome {
    Outcome::Failed(Failure::new(FailureKind::Disconnected, cause))
}
