//! The caller's side of calls: tasks, and the routes by which calls leave.
//!
//! | module | what it decides |
//! | --- | --- |
//! | [`task`] | the tasks that this runtime owns, from the submission to the last handle |
//! | [`completion`] | how tasks end, and when they are forgotten |
//! | [`route`] | where a tessera lives, and the calls that wait to leave for it |
//! | [`send`] | when a waiting call leaves |
//! | [`subscriber`] | who is notified of the outcome of an own task |
//! | [`delivery`] | whether a call has reached its host |
//! | [`relocate`] | what becomes of a tessera whose host died |
//! | [`loss`] | what becomes of tasks when a runtime dies, or the connection to it is lost |

mod completion;
mod delivery;
mod loss;
mod relocate;
mod route;
mod send;
mod subscriber;
mod task;

use rustc_hash::{FxHashMap, FxHashSet};

use self::route::{Place, Route};
use self::task::OwnedTask;
use crate::call::Outcome;
use crate::callee::Callee;
use crate::context::{Context, below};
use crate::id::{BufferId, ObjectId, RuntimeId, TaskId, TesseraId};
use crate::payload::Payload;
use crate::references::References;
use crate::results::Results;
use crate::snapshot::{CallerSnapshot, RoutePlace, RouteRow, TaskRow};
use crate::values::Values;

/// The tasks and routes of this runtime, above the callee.
#[derive(Debug)]
pub(crate) struct Caller<H> {
    tasks: FxHashMap<TaskId, Box<OwnedTask<H>>>,
    routes: FxHashMap<TesseraId, Route>,
    /// Whether a barrier waits for ends of tasks.
    announces_ends: bool,
    callee: Callee<H>,
}

below! { Caller through callee:
    results, results_mut: Results<H>;
    values, values_mut: Values<H>;
    references, references_mut: References<H>;
    context, context_mut: Context<H>;
}

impl<H> Caller<H> {
    pub(crate) fn new(callee: Callee<H>) -> Self {
        Self {
            tasks: FxHashMap::default(),
            routes: FxHashMap::default(),
            announces_ends: false,
            callee,
        }
    }

    #[inline]
    pub(crate) fn callee(&self) -> &Callee<H> {
        &self.callee
    }

    #[inline]
    pub(crate) fn callee_mut(&mut self) -> &mut Callee<H> {
        &mut self.callee
    }

    /// The tasks that have not ended.
    pub(crate) fn unended(&self) -> FxHashSet<TaskId> {
        let unended = self.tasks.iter();
        let unended = unended.filter(|(_, owned)| owned.outcome.is_none());
        unended.map(|(task, _)| *task).collect()
    }

    /// Whether ends of tasks are to be announced as [`crate::context::Internal::TaskEnded`] from now on.
    pub(crate) fn announce_ends(&mut self, announce: bool) {
        self.announces_ends = announce;
    }

    /// The buffers in values that are kept here, each with the name of what made the value.
    pub(crate) fn stored_buffers(&self) -> Vec<(BufferId, String)> {
        let owned = self
            .tasks
            .values()
            .filter_map(|owned| match owned.outcome.as_deref()? {
                Outcome::Value(value) => Some(value),
                _ => None,
            });
        let put = owned.chain(self.callee.values().payloads());
        let put = put.map(|value| (value, "put".to_owned()));
        let named = put.chain(self.callee.stored_results());
        let buffers = |payload: &Payload| -> Vec<BufferId> {
            let references = payload.references.iter();
            let buffers = references.filter_map(|reference| match reference.object {
                ObjectId::Buffer(buffer) => Some(buffer),
                _ => None,
            });
            buffers.collect()
        };
        let rows = named.flat_map(|(value, name)| {
            let buffers = buffers(value).into_iter();
            buffers.map(move |buffer| (buffer, name.clone()))
        });
        rows.collect()
    }

    /// The subscriptions of a peer end: it died, or will ask again.
    pub(crate) fn forget_subscriber(&mut self, peer: RuntimeId) {
        for owned in self.tasks.values_mut() {
            if let Some(cold_state) = owned.cold_state_mut() {
                cold_state
                    .subscribers
                    .retain(|(_, subscriber)| !subscriber.is_of(peer));
            }
        }
        self.callee.forget_subscriber(peer);
    }

    pub(crate) fn snapshot(&self) -> CallerSnapshot {
        let tasks = self.tasks.iter().map(|(task, owned)| TaskRow {
            task: *task,
            tessera: owned.tessera,
            host: owned.host,
            ended: owned.outcome.is_some(),
            handles: owned.handles,
            subscribers: owned.subscribers(),
        });
        let routes = self.routes.iter().map(|(tessera, route)| RouteRow {
            tessera: *tessera,
            place: match route.place {
                Place::Asked => RoutePlace::Asked,
                Place::At(host) => RoutePlace::At(host),
                Place::Astray(_) => RoutePlace::Astray,
                Place::Lost(_) => RoutePlace::Lost,
            },
            queued: route.queue.len(),
            in_flight: route.sent_calls,
            blocked_on: route.blocked_on,
        });
        let mut snapshot = CallerSnapshot {
            tasks: tasks.collect(),
            routes: routes.collect(),
        };
        snapshot.tasks.sort_unstable_by_key(|row| row.task);
        snapshot.routes.sort_unstable_by_key(|row| row.tessera);
        snapshot
    }

    pub(crate) fn validate(&self) {
        self.callee.validate(|object| match object {
            ObjectId::Tessera(tessera) => self.has_queued_calls(tessera),
            ObjectId::Task(_) | ObjectId::Buffer(_) => false,
        });
        for (task, owned) in &self.tasks {
            let ended = owned.outcome.is_some();
            assert!(
                ended || owned.handle.is_some() || owned.builds,
                "TASK-1: {task:?} has not ended and would complete no handle"
            );
            assert!(
                !ended || !owned.subscribers() > 0,
                "TASK-1: {task:?} has ended and a subscriber still waits for it"
            );
            assert!(
                ended
                    || owned.host.is_some()
                    || self
                        .routes
                        .get(&owned.tessera)
                        .is_some_and(|route| route.queue.contains(task)),
                "TASK-1: {task:?} is neither on its way nor queued"
            );
        }
    }
}
