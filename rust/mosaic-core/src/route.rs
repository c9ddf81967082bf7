//! Where tesserae live, as their callers know it, and the calls on their way to them.
//!
//! Calls to one tessera leave in the order in which they were made (`ROUTE-1`). At most a window's worth is sent
//! and not ended at a time; the rest waits here, in the caller (`ROUTE-2`).

use std::collections::VecDeque;

use crate::call::{Call, CallKind, Failure, FailureKind, Outcome};
use crate::event::{Action, Report};
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::machine::Machine;
use crate::refs::Registration;
use crate::wire::Message;

/// Where a tessera lives.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// Somebody was asked to say.
    Asked,
    /// There.
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
    /// Who wants to know where it is, once that is decided.
    askers: Vec<RuntimeId>,
}

impl Route {
    /// To a tessera that somebody else built, or to a runtime's functions.
    pub(crate) fn known(tessera: TesseraId, host: Option<RuntimeId>) -> Self {
        let place = match host {
            _ if tessera.is_functions() => Place::At(tessera.owner),
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
            askers: Vec::new(),
        }
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.sent_calls == 0 && self.restarts_left == 0 && self.askers.is_empty()
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
        self.routes.get(&tessera).is_some_and(|route| matches!(route.place, Place::Asked))
    }

    pub(crate) fn begin_route(&mut self, call: &Call, restarts: u32) {
        let mut route = Route::known(call.tessera, None);
        route.place = Place::Asked;
        route.unlimited = call.construction.concurrent;
        route.construction = Some(call.task);
        route.restarts_left = restarts;
        self.routes.insert(call.tessera, route);
        let object = ObjectId::Tessera(call.tessera);
        self.references.hold(object, self.config.me, Registration::Unplaced);
    }

    /// Have the head choose a worker.
    pub(crate) fn ask_for_place(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        self.send(RuntimeId::HEAD, Message::Place(tessera), actions);
    }

    /// Head: choose a worker for a tessera of whichever runtime.
    pub(crate) fn place(&mut self, tessera: TesseraId, asker: RuntimeId, actions: &mut Vec<Action<H>>) {
        if self.config.foreign_strategy && !self.members.living.is_empty() {
            self.unplaced.push((tessera, asker));
            actions.push(Action::ChooseWorker(tessera));
        } else if let Some(worker) = self.placement.choose() {
            self.placement.placed(tessera, worker);
            self.send(asker, Message::Placed { tessera, place: Ok(worker) }, actions);
        } else if let Some(reason) = self.placement.exhausted.clone() {
            self.send(asker, Message::Placed { tessera, place: Err(reason) }, actions);
        } else {
            self.unplaced.push((tessera, asker));
        }
    }

    /// Head: the program's strategy has chosen.
    pub(crate) fn worker_chosen(
        &mut self,
        tessera: TesseraId,
        place: Result<RuntimeId, String>,
        actions: &mut Vec<Action<H>>,
    ) {
        let Some(index) = self.unplaced.iter().position(|(waiting, _)| *waiting == tessera) else { return };
        let (_, asker) = self.unplaced.swap_remove(index);
        if let Ok(worker) = place {
            self.placement.placed(tessera, worker);
        }
        self.send(asker, Message::Placed { tessera, place }, actions);
    }

    /// Head: try again for those who wait, a worker has joined.
    pub(crate) fn place_waiting(&mut self, actions: &mut Vec<Action<H>>) {
        for (tessera, asker) in std::mem::take(&mut self.unplaced) {
            self.place(tessera, asker, actions);
        }
    }

    /// Head: no worker will join.
    pub(crate) fn workers_exhausted(&mut self, reason: &str, actions: &mut Vec<Action<H>>) {
        self.placement.exhausted = Some(reason.to_owned());
        if self.placement.choose().is_some() {
            return;
        }
        for (tessera, asker) in std::mem::take(&mut self.unplaced) {
            self.send(asker, Message::Placed { tessera, place: Err(reason.to_owned()) }, actions);
        }
    }

    /// It is decided where a tessera of this runtime goes.
    pub(crate) fn placed(&mut self, tessera: TesseraId, place: Result<RuntimeId, String>, actions: &mut Vec<Action<H>>) {
        let Some(route) = self.routes.get_mut(&tessera) else { return };
        if !matches!(route.place, Place::Asked) {
            return;
        }
        let place = match place {
            Ok(host) => match self.members.cause(host) {
                Some(cause) => Err(cause.to_owned()),
                None => Ok(host),
            },
            Err(reason) => Err(reason),
        };
        let answer = place.clone();
        actions.push(Action::TesseraPlaced(tessera));
        match place {
            Ok(host) => {
                route.place = Place::At(host);
                // The host counts the runtime that a construction comes from.
                if let Some(holding) = self.references.holdings.get_mut(&ObjectId::Tessera(tessera)) {
                    holding.authority = host;
                    holding.registration = Registration::Counted;
                }
            }
            Err(reason) => {
                route.restarts_left = 0;
                route.place = Place::Lost(Failure::new(FailureKind::Disconnected, reason));
                self.tessera_is_lost(tessera);
            }
        }
        if let Some(route) = self.routes.get_mut(&tessera) {
            for asker in std::mem::take(&mut route.askers) {
                self.send(asker, Message::Located { tessera, place: answer.clone() }, actions);
            }
        }
        self.pump(tessera, actions);
    }

    /// Nobody counts holders of a lost tessera: the hold here is this runtime's own business.
    pub(crate) fn tessera_is_lost(&mut self, tessera: TesseraId) {
        let me = self.config.me;
        if let Some(holding) = self.references.holdings.get_mut(&ObjectId::Tessera(tessera)) {
            holding.authority = me;
            holding.registration = Registration::Counted;
        }
    }

    /// Ask the owner where a tessera is whose host died.
    pub(crate) fn ask_where(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        let me = self.config.me;
        let Some(route) = self.routes.get_mut(&tessera) else { return };
        let Place::Astray(cause) = &route.place else { return };
        if tessera.owner == me || self.members.cause(tessera.owner).is_some() {
            route.place = Place::Lost(Failure::new(FailureKind::Disconnected, cause.clone()));
            self.tessera_is_lost(tessera);
            self.to_pump.push_back(tessera);
            return;
        }
        route.place = Place::Asked;
        self.send(tessera.owner, Message::Locate(tessera), actions);
    }

    /// A holder or a would-be host asks where a tessera of this runtime is.
    pub(crate) fn locate(&mut self, tessera: TesseraId, asker: RuntimeId, actions: &mut Vec<Action<H>>) {
        let place = match self.routes.get_mut(&tessera).map(|route| (route.place.clone(), route)) {
            Some((Place::At(host), _)) => Ok(host),
            Some((Place::Asked, route)) => {
                route.askers.push(asker);
                return;
            }
            Some((Place::Lost(failure), _)) => Err(failure.message),
            Some((Place::Astray(cause), _)) => Err(cause),
            None => Err("it does not exist any more".into()),
        };
        self.send(asker, Message::Located { tessera, place }, actions);
    }

    /// The owner says where a tessera is.
    pub(crate) fn located(&mut self, tessera: TesseraId, place: Result<RuntimeId, String>, actions: &mut Vec<Action<H>>) {
        if let Err(reason) = &place {
            self.early_calls_fail(tessera, reason, actions);
        }
        let Some(route) = self.routes.get_mut(&tessera) else { return };
        if !matches!(route.place, Place::Asked) || tessera.owner == self.config.me {
            return;
        }
        match place {
            Ok(host) if self.members.cause(host).is_none() => {
                route.place = Place::At(host);
                let object = ObjectId::Tessera(tessera);
                if let Some(holding) = self.references.holdings.get_mut(&object) {
                    holding.authority = host;
                    holding.registration = Registration::Asked;
                    self.send(host, Message::Hold(object), actions);
                }
            }
            Ok(host) => {
                let cause = self.members.cause(host).unwrap_or_default().to_owned();
                route.place = Place::Astray(cause);
            }
            Err(reason) => {
                route.place = Place::Lost(Failure::new(FailureKind::Disconnected, reason));
                self.tessera_is_lost(tessera);
            }
        }
        self.pump(tessera, actions);
    }

    /// Everything that was to be sent to a tessera is sent.
    pub(crate) fn route_is_empty(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        let Some(route) = self.routes.get(&tessera) else { return };
        if !route.queue.is_empty() {
            return;
        }
        let object = ObjectId::Tessera(tessera);
        match self.references.holdings.get(&object) {
            Some(holding) if holding.is_unused() => self.object_unused(object, actions),
            Some(_) => {}
            None => self.forget_route_if_idle(tessera),
        }
    }

    pub(crate) fn forget_route_if_idle(&mut self, tessera: TesseraId) {
        let unused = !self.references.holdings.contains_key(&ObjectId::Tessera(tessera));
        if unused && self.routes.get(&tessera).is_some_and(Route::is_idle) {
            self.routes.remove(&tessera);
        }
    }

    /// The host has freed a tessera: it will not be built again.
    pub(crate) fn tessera_freed(&mut self, tessera: TesseraId) {
        if self.is_head() {
            self.placement.freed(tessera);
        }
        if let Some(route) = self.routes.get_mut(&tessera) {
            route.restarts_left = 0;
            let call = route.construction.and_then(|task| self.tasks.get_mut(&task)).and_then(|owned| owned.call.take());
            drop(call);
            self.forget_route_if_idle(tessera);
        }
    }

    /// The host of a tessera died: build it again, or say that it is lost.
    pub(crate) fn route_lost(&mut self, tessera: TesseraId, cause: &str, actions: &mut Vec<Action<H>>) {
        let me = self.config.me;
        let Some(route) = self.routes.get_mut(&tessera) else { return };
        let construction = route.construction.filter(|task| self.tasks.get(task).is_some_and(|owned| owned.call.is_some()));
        if let Some(task) = construction.filter(|_| route.restarts_left > 0) {
            route.restarts_left -= 1;
            route.place = Place::Asked;
            if let Some(holding) = self.references.holdings.get_mut(&ObjectId::Tessera(tessera)) {
                holding.registration = Registration::Unplaced;
                holding.authority = me;
            }
            self.rebuild(tessera, task, cause, actions);
        } else if tessera.owner == me || tessera.is_functions() || self.members.cause(tessera.owner).is_some() {
            route.restarts_left = 0;
            route.place = Place::Lost(Failure::new(FailureKind::Disconnected, cause));
            self.tessera_is_lost(tessera);
        } else {
            route.place = Place::Astray(cause.to_owned());
        }
    }

    /// Put the construction and the calls that may be repeated back into the queue, in their order.
    fn rebuild(&mut self, tessera: TesseraId, construction: TaskId, cause: &str, actions: &mut Vec<Action<H>>) {
        let mut again: Vec<_> = self
            .tasks
            .iter()
            .filter(|(_, owned)| owned.tessera == tessera && owned.host.is_some() && owned.outcome.is_none())
            .filter(|(_, owned)| owned.resends > 0 && owned.call.is_some() && owned.kind != CallKind::Construct)
            .map(|(task, _)| *task)
            .collect();
        again.sort_unstable();
        let what = self.tasks.get(&construction).map(|owned| owned.method.to_string()).unwrap_or_default();
        actions.push(Action::Report(Report::Restarted { what, cause: cause.to_owned() }));
        for task in again.iter().rev() {
            self.requeue(tessera, *task);
        }
        self.requeue(tessera, construction);
        self.ask_for_place(tessera, actions);
    }

    fn requeue(&mut self, tessera: TesseraId, task: TaskId) {
        let (Some(owned), Some(route)) = (self.tasks.get_mut(&task), self.routes.get_mut(&tessera)) else { return };
        if owned.outcome.is_none() {
            route.sent_calls -= 1;
            route.sent_bytes -= owned.size;
        } else {
            // The construction had ended once; what counts from now on is whether it does again.
            owned.outcome = None;
        }
        owned.resends = owned.resends.saturating_sub(1);
        owned.host = None;
        route.queue.push_front(task);
    }
}

/// How calls fail that were sent to a runtime which died.
pub(crate) fn disconnected(cause: &str) -> Outcome {
    Outcome::Failed(Failure::new(FailureKind::Disconnected, cause))
}
