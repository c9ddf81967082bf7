//! Routes: where each tessera lives as far as this caller knows, and the calls that wait to be sent to it.
//!
//! Calls to one tessera are sent in the order of their submission (`ROUTE-1`). At most one window of calls and bytes is
//! in flight to a tessera; the rest waits here, at the caller (`ROUTE-2`).

use std::collections::VecDeque;

use crate::call::{Call, Failure, FailureKind};
use crate::caller::Caller;
use crate::context::Internal;
use crate::event::Action;
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::member::Role;
use crate::recount::Registration;
use crate::wire::RulesMessage;

/// Where a tessera lives.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// The head or the owner was asked.
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
pub(super) struct Route {
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
    /// The hosts that died: this runtime holds the tessera once for each until the other holders have
    /// registered with the next host.
    pub(crate) lost_with: Vec<RuntimeId>,
    /// The task that the next call depends on, which is not sent yet.
    pub(crate) blocked_on: Option<TaskId>,
}

impl Route {
    /// To a tessera that another runtime built, or to a runtime's functions.
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

impl<H> Caller<H> {
    /// The runtime that hosts a tessera, as far as this one knows.
    pub(crate) fn host_of(&self, tessera: TesseraId) -> Option<RuntimeId> {
        if self.callee.is_host_of(tessera) {
            return Some(self.callee.context().me());
        }
        match self.routes.get(&tessera)?.place {
            Place::At(host) => Some(host),
            _ => None,
        }
    }

    /// The runtime that runs a task of this one's, once it was sent there.
    pub(crate) fn runner_of(&self, task: TaskId) -> Option<RuntimeId> {
        self.tasks.get(&task)?.host
    }

    /// Whether it is still to be decided where a tessera goes.
    pub(crate) fn is_unplaced(&self, tessera: TesseraId) -> bool {
        self.routes
            .get(&tessera)
            .is_some_and(|route| matches!(route.place, Place::Asked))
    }

    pub(super) fn begin_route(&mut self, call: &Call, restarts: u32) -> &mut Route {
        let object = ObjectId::Tessera(call.tessera);
        let me = self.callee.context().me();
        self.callee
            .references_mut()
            .hold_as(object, me, Registration::Unplaced);
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
    pub(crate) fn ask_for_place(&mut self, tessera: TesseraId) {
        let home = self.routes.get(&tessera).map(|route| route.home);
        let message = RulesMessage::Place(tessera, home.unwrap_or_default());
        self.callee.context_mut().send(RuntimeId::HEAD, message);
    }

    /// It is decided where a tessera of this runtime goes: by the head, or by the program.
    pub(crate) fn placed(
        &mut self,
        tessera: TesseraId,
        place: Result<RuntimeId, String>,
        by_head: bool,
    ) {
        let Some(route) = self
            .routes
            .get_mut(&tessera)
            .filter(|route| matches!(route.place, Place::Asked))
        else {
            // It is not wanted any more.
            return self
                .callee
                .context_mut()
                .send(RuntimeId::HEAD, RulesMessage::Freed(tessera));
        };
        match place {
            Ok(host) if self.callee.context().cause(host).is_none() => {
                route.place = Place::At(host);
                self.callee
                    .context_mut()
                    .act(Action::TesseraPlaced(tessera));
                // The host counts the runtime that a construction comes from.
                self.callee.references_mut().placed(tessera, host);
                self.pump(tessera);
            }
            // It died meanwhile, and the head knows.
            Ok(_) if by_head => self.ask_for_place(tessera),
            Ok(host) => {
                let cause = self
                    .callee
                    .context()
                    .cause(host)
                    .unwrap_or_default()
                    .to_owned();
                self.lose(tessera, Failure::new(FailureKind::Disconnected, cause));
            }
            Err(reason) => self.lose(tessera, Failure::new(FailureKind::Disconnected, reason)),
        }
    }

    /// A tessera is lost for good: the calls and askers that wait for it get the failure, and no runtime counts its holders.
    pub(crate) fn lose(&mut self, tessera: TesseraId, failure: Box<Failure>) {
        if !self.routes.contains_key(&tessera) {
            return;
        }
        for reference in failure.references_beside(tessera) {
            self.callee.references_mut().hold(reference);
        }
        let Some(route) = self.routes.get_mut(&tessera) else {
            return;
        };
        let reason = failure.message.clone();
        let before = std::mem::replace(&mut route.place, Place::Lost(failure));
        if tessera.owner == self.callee.context().me() {
            if matches!(before, Place::Asked) {
                self.callee
                    .context_mut()
                    .act(Action::TesseraPlaced(tessera));
            }
            self.answer_askers(tessera, &Err(reason));
            self.let_go_of_construction(tessera);
        }
        self.drop_lost(tessera, before);
        self.callee
            .context_mut()
            .later(Internal::RouteReady(tessera));
        self.callee
            .references_mut()
            .authority_lost(ObjectId::Tessera(tessera));
    }

    /// A tessera of this runtime will not be built again.
    fn let_go_of_construction(&mut self, tessera: TesseraId) {
        let Some(route) = self.routes.get_mut(&tessera) else {
            return;
        };
        route.restarts_left = 0;
        for _ in std::mem::take(&mut route.lost_with) {
            let object = ObjectId::Tessera(tessera);
            self.callee
                .context_mut()
                .later(Internal::ReferenceDropped(object));
        }
        let Some(task) = route.construction else {
            return;
        };
        if self
            .tasks
            .get(&task)
            .is_some_and(|owned| owned.outcome.is_some())
        {
            self.drop_call(task);
            self.forget_task_if_unused(task);
        }
    }

    pub(crate) fn answer_askers(&mut self, tessera: TesseraId, place: &Result<RuntimeId, String>) {
        let askers = self
            .routes
            .get_mut(&tessera)
            .map(|route| std::mem::take(&mut route.askers));
        for asker in askers.into_iter().flatten() {
            self.callee.context_mut().send(
                asker,
                RulesMessage::Located {
                    tessera,
                    place: place.clone(),
                },
            );
        }
    }

    /// Everything that was to be sent to a tessera is sent.
    pub(crate) fn route_is_empty(&mut self, tessera: TesseraId) {
        let Some(route) = self.routes.get(&tessera) else {
            return;
        };
        if !route.queue.is_empty() {
            return;
        }
        let object = ObjectId::Tessera(tessera);
        match self.callee.references().usage(object) {
            Some(true) => {}
            Some(false) => self.callee.references_mut().object_unused(object),
            None => {
                self.forget_route_if_idle(tessera);
                self.callee.free_if_unused(tessera);
            }
        }
    }

    /// Nothing here uses a tessera any more, or no other runtime does. Calls on their way to it keep it: it is looked at
    /// again when they are sent.
    pub(crate) fn tessera_unused(&mut self, tessera: TesseraId) {
        if self.has_queued_calls(tessera) {
            return;
        }
        self.callee
            .references_mut()
            .forget(ObjectId::Tessera(tessera));
        self.forget_route_if_idle(tessera);
        self.callee.free_if_unused(tessera);
    }

    /// Whether calls to a tessera wait here.
    pub(super) fn has_queued_calls(&self, tessera: TesseraId) -> bool {
        let route = self.routes.get(&tessera);
        route.is_some_and(|route| !route.queue.is_empty())
    }

    pub(crate) fn forget_route_if_idle(&mut self, tessera: TesseraId) {
        if self.routes.get(&tessera).is_some_and(Route::is_idle)
            && !self.callee.references().holds(ObjectId::Tessera(tessera))
            && let Some(route) = self.routes.remove(&tessera)
        {
            self.drop_lost(tessera, route.place);
        }
    }

    /// What the failure refers to for which a tessera is lost is not needed any more.
    fn drop_lost(&mut self, tessera: TesseraId, place: Place) {
        if let Place::Lost(failure) = place {
            let references = failure.references_beside(tessera);
            self.callee.references_mut().drop_references(references);
        }
    }

    /// The host has freed a tessera: it will not be built again.
    pub(crate) fn tessera_freed(&mut self, tessera: TesseraId, by: RuntimeId) {
        let is_there = |route: &Route| matches!(route.place, Place::At(host) if host == by);
        if tessera.owner == self.callee.context().me()
            && self.routes.get(&tessera).is_some_and(is_there)
        {
            self.let_go_of_construction(tessera);
            self.forget_route_if_idle(tessera);
        }
    }
}
