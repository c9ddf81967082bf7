//! Executors that run nothing: plain calls one after another, coroutine calls in between.

use std::collections::{BTreeSet, VecDeque};

use mosaic_core::call::{CallKind, Failure, FailureKind, Outcome, ReadyCall};
use mosaic_core::event::Event;
use mosaic_core::id::{ObjectId, RuntimeId, TaskId};
use mosaic_core::payload::Payload;

use crate::world::{INLINE, World};

/// The calls handed over to one runtime's executor.
#[derive(Default)]
pub(crate) struct Lanes {
    main: VecDeque<ReadyCall>,
    main_runs: bool,
    coroutines: VecDeque<ReadyCall>,
    running: Vec<ReadyCall>,
    revoked: BTreeSet<TaskId>,
}

impl Lanes {
    pub(crate) fn handed_over(&mut self, ready: ReadyCall) {
        if ready.call.coroutine || ready.call.kind == CallKind::GetAttributeNow {
            self.coroutines.push_back(ready);
        } else {
            self.main.push_back(ready);
        }
    }

    /// Take out a call that has not started.
    pub(crate) fn take_out(&mut self, task: TaskId) -> Option<ReadyCall> {
        let skip = usize::from(self.main_runs);
        let place = self
            .main
            .iter()
            .skip(skip)
            .position(|ready| ready.call.task == task);
        if let Some(place) = place {
            return self.main.remove(skip + place);
        }
        if let Some(place) = self
            .coroutines
            .iter()
            .position(|ready| ready.call.task == task)
        {
            return self.coroutines.remove(place);
        }
        None
    }

    /// Remember of a call that runs that it is not wanted.
    pub(crate) fn revoke(&mut self, task: TaskId) {
        self.revoked.insert(task);
    }

    pub(crate) fn is_busy(&self) -> bool {
        !self.main.is_empty() || !self.coroutines.is_empty() || !self.running.is_empty()
    }
}

impl World {
    /// One step of an executor. False if it has nothing to do.
    pub(crate) fn execute(&mut self, at: RuntimeId) -> bool {
        let Some(node) = self.nodes.get_mut(&at) else {
            return false;
        };
        let lanes = &mut node.lanes;
        match self.rng.below(4) {
            0 if lanes.main_runs => {
                lanes.main_runs = false;
                let Some(ready) = lanes.main.pop_front() else {
                    return false;
                };
                self.end(at, &ready, false);
            }
            0 | 1 => {
                if lanes.main_runs {
                    return false;
                }
                let Some(ready) = lanes.main.front().cloned() else {
                    return false;
                };
                lanes.main_runs = true;
                self.start(at, &ready);
            }
            2 => {
                let Some(ready) = lanes.coroutines.pop_front() else {
                    return false;
                };
                lanes.running.push(ready.clone());
                self.start(at, &ready);
            }
            _ => {
                if lanes.running.is_empty() {
                    return false;
                }
                let ready = lanes
                    .running
                    .swap_remove(self.rng.below(lanes.running.len()));
                let cancelled = lanes.revoked.contains(&ready.call.task);
                self.end(at, &ready, cancelled);
            }
        }
        true
    }

    pub(crate) fn refuse(&mut self, at: RuntimeId, ready: &ReadyCall) {
        let outcome = Outcome::Failed(Failure::new(
            FailureKind::Cancelled,
            "cancelled before it ran",
        ));
        self.happens(
            at,
            Event::CallFinished {
                task: ready.call.task,
                outcome: outcome.into(),
            },
        );
    }

    fn start(&mut self, at: RuntimeId, ready: &ReadyCall) {
        self.note(|| format!("{at:?} starts {:?}", ready.call.task));
        self.truth.starts(at, ready);
        // The arguments are decoded.
        let inside = ready
            .values
            .iter()
            .flat_map(|(_, _, value)| &value.references);
        for reference in ready.call.arguments.references.iter().chain(inside) {
            self.receive(at, *reference);
        }
    }

    fn end(&mut self, at: RuntimeId, ready: &ReadyCall, cancelled: bool) {
        let task = ready.call.task;
        if let Some(node) = self.nodes.get_mut(&at) {
            node.lanes.revoked.remove(&task);
        }
        let raises =
            &*ready.call.method == "fails" || &*ready.call.method == "flaky" && self.rng.chance(60);
        let outcome = if cancelled && self.rng.chance(80) {
            Outcome::Failed(Failure::new(
                FailureKind::Cancelled,
                "cancelled while it ran",
            ))
        } else if raises {
            let mut failure = Failure::new(FailureKind::Raised, "it raised");
            // Of an `__init__`: not to the tessera, which the failure would keep.
            let of = match ready.call.kind {
                CallKind::Construct => ObjectId::Tessera(ready.call.tessera),
                _ => ObjectId::Task(task),
            };
            failure.detail = self.payload(at, Some(of));
            Outcome::Failed(failure)
        } else if ready.call.kind == CallKind::Construct {
            Outcome::Value(Payload::default())
        } else {
            Outcome::Value(self.payload(at, Some(ObjectId::Task(task))))
        };
        self.truth.ends(at, ready, &outcome);
        if let Outcome::Value(value) = &outcome {
            self.truth
                .value_came_about(task, at, &value.references, value.size() <= INLINE);
        }
        let outcome = outcome.into();
        self.happens(at, Event::CallFinished { task, outcome });
    }
}
