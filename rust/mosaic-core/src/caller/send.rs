//! When calls leave their routes: in order, with their dependencies resolved, within the window.
//!
//! The tables and their invariants are in [`crate::caller::route`] and [`crate::caller::task`].

use crate::call::{Call, Dependency, Failure, FailureKind, Outcome, Source};
use crate::caller::Caller;
use crate::caller::route::Place;
use crate::context::Internal;
use crate::id::{RuntimeId, TesseraId};
use crate::wire::RulesMessage;

/// How a dependency stands at the moment of sending.
enum Resolved {
    Source(Source),
    NotYet,
    Failed(Box<Failure>),
}

impl<H> Caller<H> {
    /// Send what the route of a tessera lets through.
    pub(crate) fn pump(&mut self, tessera: TesseraId) {
        loop {
            let Some(route) = self.routes.get_mut(&tessera) else {
                return;
            };
            let Some(&task) = route.queue.front() else {
                break;
            };
            let Some(owned) = self
                .tasks
                .get_mut(&task)
                .filter(|owned| owned.outcome.is_none())
            else {
                route.queue.pop_front();
                continue;
            };
            let host = match &route.place {
                Place::At(host) => {
                    let host = *host;
                    if let Some(cause) = self.callee.context().cause(host).map(str::to_owned) {
                        // Dead before anything was sent there.
                        self.route_lost(tessera, host, &cause, &[]);
                        continue;
                    }
                    host
                }
                Place::Lost(failure) => {
                    let failure = failure.clone();
                    route.queue.pop_front();
                    self.fail_task(task, failure);
                    continue;
                }
                Place::Astray(_) => return self.request_location(tessera),
                Place::Asked => return,
            };
            if route.blocked_on.is_some() {
                return;
            }
            if !route.unlimited
                && route.sent_calls > 0
                && (route.sent_calls >= self.callee.context().config().window_calls
                    || route.sent_bytes + owned.size > self.callee.context().config().window_bytes)
            {
                return;
            }
            let Some(mut call) = owned.call.take() else {
                return;
            };
            if !call.dependencies.is_empty() {
                let resolved = self.resolve_dependencies(&mut call);
                if resolved != Ok(true) {
                    if let Some(owned) = self.tasks.get_mut(&task) {
                        owned.call = Some(call);
                    }
                    let Err(failure) = resolved else { return };
                    self.fail_task(task, failure);
                    continue;
                }
            }
            self.send_call(call, host);
        }
        self.route_is_empty(tessera);
    }

    fn resolve(&self, dependency: &Dependency) -> Resolved {
        let task = dependency.task;
        if task.owner != self.callee.context().me() {
            return Resolved::Source(Source::At(task.owner));
        }
        let (outcome, host) = if let Some(owned) = self.tasks.get(&task) {
            (owned.outcome.as_deref(), owned.host)
        } else if let Some(outcome) = self.callee.values().outcome(task) {
            (Some(&**outcome), None)
        } else {
            return Resolved::Failed(Failure::new(
                FailureKind::ObjectLost,
                format!("{task:?} is not known any more"),
            ));
        };
        match outcome {
            Some(Outcome::Failed(failure)) => Resolved::Failed(failure.clone()),
            Some(Outcome::Value(value))
                if value.segments.is_empty() && value.references.is_empty() =>
            {
                Resolved::Source(Source::Here(value.format, value.body.clone()))
            }
            Some(Outcome::Value(_)) => {
                Resolved::Source(Source::At(host.unwrap_or(self.callee.context().me())))
            }
            Some(Outcome::Stored { host, .. }) => Resolved::Source(Source::At(*host)),
            None => host.map_or(Resolved::NotYet, |host| Resolved::Source(Source::At(host))),
        }
    }

    /// Fill in where the dependencies of a call come from. `Ok(false)` if that is not known yet of one, which
    /// then looks at this route again; the failure if one of them has failed.
    fn resolve_dependencies(&mut self, call: &mut Call) -> Result<bool, Box<Failure>> {
        let mut resolved = Vec::with_capacity(call.dependencies.len());
        for dependency in &call.dependencies {
            match self.resolve(dependency) {
                Resolved::Source(source) => resolved.push(source),
                Resolved::NotYet => {
                    if let Some(owned) = self.tasks.get_mut(&dependency.task) {
                        owned.cold_state().unblocks.push(call.tessera);
                    }
                    if let Some(route) = self.routes.get_mut(&call.tessera) {
                        route.blocked_on = Some(dependency.task);
                    }
                    return Ok(false);
                }
                Resolved::Failed(failure) => {
                    return Err(failure.through(dependency.slot.describe("", &call.method)));
                }
            }
        }
        for (dependency, source) in call.dependencies.iter_mut().zip(resolved) {
            dependency.source = source;
        }
        Ok(true)
    }

    fn send_call(&mut self, call: Box<Call>, host: RuntimeId) {
        let (task, tessera) = (call.task, call.tessera);
        let (Some(owned), Some(route)) = (self.tasks.get_mut(&task), self.routes.get_mut(&tessera))
        else {
            return;
        };
        route.queue.pop_front();
        route.sent_calls += 1;
        route.sent_bytes += owned.size;
        owned.host = Some(host);
        let builds = owned.builds;
        let kept = owned.resends > 0 || route.restarts_left > 0 && builds;
        if kept {
            owned.call = Some(call.clone());
        }
        let unblocks = owned.take_unblocks();
        let references = call.arguments.references.clone();
        for reference in &references {
            self.callee.references_mut().pin(reference.object, host);
        }
        self.callee
            .context_mut()
            .send(host, RulesMessage::Call(call));
        self.probe(task);
        if !kept {
            self.callee.references_mut().drop_references(references);
        }
        if builds {
            self.answer_askers(tessera, &Ok(host));
        }
        self.unblock(unblocks);
    }

    /// What these routes waited for has happened.
    pub(crate) fn unblock(&mut self, routes: Vec<TesseraId>) {
        for tessera in routes {
            if let Some(route) = self.routes.get_mut(&tessera) {
                route.blocked_on = None;
            }
            self.callee
                .context_mut()
                .later(Internal::RouteReady(tessera));
        }
    }
}
