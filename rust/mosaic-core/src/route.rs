//! Where tesserae live, as their callers know it, and the calls on their way to them.
//!
//! Calls to one tessera leave in the order in which they were made (`ROUTE-1`). At most a window's worth is sent
//! and not ended at a time; the rest waits here, in the caller (`ROUTE-2`).

use std::collections::VecDeque;

use crate::call::{Call, CallKind, Failure, FailureKind, Outcome};
use crate::event::{Action, Report, Role};
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
    /// The kind of runtime that it is built on, where this runtime builds it.
    home: Role,
    /// Who wants to know where it is, once its construction is on its way.
    askers: Vec<RuntimeId>,
    /// The hosts that died: this runtime holds the tessera once for each until whoever else held it has
    /// registered with the next host.
    lost_with: Vec<RuntimeId>,
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

    /// The runtimes that are counted as holders of a tessera that this one hosts, itself included if it is one.
    pub fn holders_of(&self, tessera: TesseraId) -> Vec<RuntimeId> {
        let object = ObjectId::Tessera(tessera);
        let own = self
            .references
            .holdings
            .get(&object)
            .filter(|holding| holding.authority == self.config.me);
        let others = self
            .references
            .holders
            .get(&object)
            .into_iter()
            .flat_map(|holders| holders.living.iter().copied());
        own.map(|_| self.config.me)
            .into_iter()
            .chain(others)
            .collect()
    }

    /// Whether it is still to be decided where a tessera goes.
    pub fn is_unplaced(&self, tessera: TesseraId) -> bool {
        self.routes
            .get(&tessera)
            .is_some_and(|route| matches!(route.place, Place::Asked))
    }

    pub(crate) fn begin_route(&mut self, call: &Call, restarts: u32) {
        let mut route = Route::known(call.tessera, None);
        route.place = Place::Asked;
        route.unlimited = call.construction.concurrent;
        route.construction = Some(call.task);
        route.restarts_left = restarts;
        route.home = call.construction.home;
        self.routes.insert(call.tessera, route);
        let object = ObjectId::Tessera(call.tessera);
        self.references
            .hold(object, self.config.me, Registration::Unplaced);
    }

    /// Have the head choose a runtime.
    pub(crate) fn ask_for_place(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        let home = self.routes.get(&tessera).map(|route| route.home);
        let message = Message::Place(tessera, home.unwrap_or_default());
        self.send(RuntimeId::HEAD, message, actions);
    }

    /// Head: choose a worker for a tessera of whichever runtime, or give it to the warehouse.
    pub(crate) fn place(
        &mut self,
        tessera: TesseraId,
        role: Role,
        asker: RuntimeId,
        actions: &mut Vec<Action<H>>,
    ) {
        if role == Role::Warehouse {
            return self.place_in_warehouse(tessera, asker, actions);
        }
        if self.config.foreign_strategy && !self.members.living.is_empty() {
            self.unplaced.push((tessera, asker, role));
            actions.push(Action::ChooseWorker(tessera));
        } else if let Some(worker) = self.placement.choose() {
            self.placement.placed(tessera, worker);
            self.send(
                asker,
                Message::Placed {
                    tessera,
                    place: Ok(worker),
                },
                actions,
            );
        } else if let Some(reason) = self.placement.exhausted.clone() {
            self.send(
                asker,
                Message::Placed {
                    tessera,
                    place: Err(reason),
                },
                actions,
            );
        } else {
            self.unplaced.push((tessera, asker, role));
        }
    }

    /// Head: the program's strategy has chosen.
    pub(crate) fn worker_chosen(
        &mut self,
        tessera: TesseraId,
        place: Result<RuntimeId, String>,
        actions: &mut Vec<Action<H>>,
    ) {
        let Some(index) = self
            .unplaced
            .iter()
            .position(|(waiting, ..)| *waiting == tessera)
        else {
            return;
        };
        let (_, asker, _) = self.unplaced.swap_remove(index);
        if let Ok(worker) = place {
            self.placement.placed(tessera, worker);
        }
        self.send(asker, Message::Placed { tessera, place }, actions);
    }

    /// Head: try again for those who wait, a runtime has joined.
    pub(crate) fn place_waiting(&mut self, actions: &mut Vec<Action<H>>) {
        for (tessera, asker, role) in std::mem::take(&mut self.unplaced) {
            self.place(tessera, role, asker, actions);
        }
    }

    /// Head: those who wait for a runtime of that role wait in vain.
    pub(crate) fn refuse_unplaced(
        &mut self,
        role: Role,
        reason: &str,
        actions: &mut Vec<Action<H>>,
    ) {
        let refused: Vec<_> = self
            .unplaced
            .extract_if(.., |(_, _, wanted)| *wanted == role)
            .collect();
        for (tessera, asker, _) in refused {
            let place = Err(reason.to_owned());
            self.send(asker, Message::Placed { tessera, place }, actions);
        }
    }

    /// Head: no worker will join.
    pub(crate) fn workers_exhausted(&mut self, reason: &str, actions: &mut Vec<Action<H>>) {
        self.placement.exhausted = Some(reason.to_owned());
        if self.placement.choose().is_none() {
            self.refuse_unplaced(Role::Worker, reason, actions);
        }
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
            return self.send(RuntimeId::HEAD, Message::Freed(tessera), actions);
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
        let Some(route) = self.routes.get_mut(&tessera) else {
            return;
        };
        if tessera.owner == self.config.me {
            if matches!(route.place, Place::Asked) {
                actions.push(Action::TesseraPlaced(tessera));
            }
            let reason = failure.message.clone();
            route.place = Place::Lost(failure);
            self.answer_askers(tessera, &Err(reason), actions);
            self.let_go_of_construction(tessera, actions);
        } else {
            route.place = Place::Lost(failure);
        }
        self.to_pump.push_back(tessera);
        self.nobody_counts(ObjectId::Tessera(tessera), actions);
    }

    /// A tessera of this runtime will not be built again.
    fn let_go_of_construction(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        let Some(route) = self.routes.get_mut(&tessera) else {
            return;
        };
        route.restarts_left = 0;
        for _ in std::mem::take(&mut route.lost_with) {
            self.to_drop.push_back(ObjectId::Tessera(tessera));
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
                Message::Located {
                    tessera,
                    place: place.clone(),
                },
                actions,
            );
        }
    }

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
        self.ask_where(tessera, actions);
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
            return self.hold_acknowledged(object, actions);
        }
        holding.registration = Registration::Asked;
        self.ask_to_be_counted(object, host, actions);
    }

    /// Ask the owner where a tessera is whose host died.
    pub(crate) fn ask_where(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
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
        self.send(tessera.owner, Message::Locate(tessera), actions);
    }

    /// A holder or a would-be host asks where a tessera of this runtime is.
    pub(crate) fn locate(
        &mut self,
        tessera: TesseraId,
        asker: RuntimeId,
        actions: &mut Vec<Action<H>>,
    ) {
        self.rebuild_if_astray(tessera, actions);
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
        self.send(asker, Message::Located { tessera, place }, actions);
    }

    /// Whether whatever is sent to the host now comes there after the construction.
    fn construction_is_sent(&self, tessera: TesseraId) -> bool {
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
                    return self.ask_where(tessera, actions);
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
        if unused && self.routes.get(&tessera).is_some_and(Route::is_idle) {
            self.routes.remove(&tessera);
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

    /// The host of a tessera died: build it again, or say that it is lost.
    pub(crate) fn route_lost(
        &mut self,
        tessera: TesseraId,
        dead: RuntimeId,
        cause: &str,
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
        self.requeue_repeatable(tessera);
        if tessera.owner == me {
            if let Some(route) = self.routes.get_mut(&tessera) {
                route.lost_with.push(dead);
            }
            let object = ObjectId::Tessera(tessera);
            let held = self.references.holdings.contains_key(&object);
            self.references.hold(object, me, Registration::Unplaced);
            self.hold_acknowledged(object, actions);
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
                self.rebuild_if_astray(tessera, actions);
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
                self.to_drop.push_back(ObjectId::Tessera(tessera));
            }
        }
    }

    /// Somebody wants a tessera of this runtime of which nobody was known to want it.
    pub(crate) fn rebuild_if_astray(&mut self, tessera: TesseraId, actions: &mut Vec<Action<H>>) {
        let astray = |route: &Route| matches!(route.place, Place::Astray(_));
        if tessera.owner == self.config.me && self.routes.get(&tessera).is_some_and(astray) {
            self.ask_where(tessera, actions);
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
        let Some(owned) = self
            .tasks
            .get(&construction)
            .filter(|owned| owned.call.is_some())
        else {
            return false;
        };
        let report = Report::Restarted {
            what: owned.method.to_string(),
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

    /// Put the calls that may be repeated back into the queue, in their order.
    fn requeue_repeatable(&mut self, tessera: TesseraId) {
        let mut again: Vec<_> = self
            .tasks
            .iter()
            .filter(|(_, owned)| {
                owned.tessera == tessera && owned.host.is_some() && owned.outcome.is_none()
            })
            .filter(|(_, owned)| {
                owned.resends > 0 && owned.call.is_some() && owned.kind != CallKind::Construct
            })
            .map(|(task, _)| *task)
            .collect();
        again.sort_unstable();
        for task in again.iter().rev() {
            self.requeue(tessera, *task);
        }
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

/// How calls fail that were sent to a runtime which died.
pub(crate) fn disconnected(cause: &str) -> Outcome {
    Outcome::Failed(Failure::new(FailureKind::Disconnected, cause))
}
