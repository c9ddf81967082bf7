//! The callee's side of calls: tesserae that live here, and the calls that have arrived for them.
//!
//! | module | what it decides |
//! | --- | --- |
//! | [`tessera`] | records of tesserae, and the queues of their calls |
//! | [`call`] | records of calls |
//! | [`delivery`] | calls that arrive, and the values that they wait for |
//! | [`dispatch`] | which call of a tessera runs next, and when a tessera is freed |
//! | [`finish`] | how calls end: run, retried, cancelled; and how long their results stay |

mod call;
mod delivery;
mod dispatch;
mod finish;
mod tessera;

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use self::call::{InboundCall, Progress};
use self::tessera::HostedTessera;
use crate::call::{CallKind, Outcome};
use crate::context::{Context, below};
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::payload::Payload;
use crate::references::References;
use crate::results::Results;
use crate::snapshot::{CallState, CalleeSnapshot, InboundRow, TesseraRow, TesseraState};
use crate::values::Values;

/// The tesserae and calls of this runtime, above the results.
#[derive(Debug)]
pub(crate) struct Callee<H> {
    hosted: FxHashMap<TesseraId, HostedTessera>,
    inbound: FxHashMap<TaskId, InboundCall<H>>,
    /// Calls that came before the construction of their tessera did, by another way.
    early: FxHashMap<TesseraId, VecDeque<TaskId>>,
    results: Results<H>,
}

below! { Callee through results:
    values, values_mut: Values<H>;
    references, references_mut: References<H>;
    context, context_mut: Context<H>;
}

impl<H> Callee<H> {
    pub(crate) fn new(results: Results<H>) -> Self {
        Self {
            hosted: FxHashMap::default(),
            inbound: FxHashMap::default(),
            early: FxHashMap::default(),
            results,
        }
    }

    #[inline]
    pub(crate) fn results(&self) -> &Results<H> {
        &self.results
    }

    #[inline]
    pub(crate) fn results_mut(&mut self) -> &mut Results<H> {
        &mut self.results
    }

    /// Whether a tessera lives here, or is being built.
    pub(crate) fn is_host_of(&self, tessera: TesseraId) -> bool {
        self.hosted.contains_key(&tessera)
    }

    /// Whether a call came here whose result was not released.
    #[inline]
    pub(crate) fn has_call(&self, task: TaskId) -> bool {
        self.inbound.contains_key(&task)
    }

    /// The calls of a caller, in the order of their tasks.
    fn calls_of(&self, caller: RuntimeId) -> Vec<TaskId> {
        let calls = self
            .inbound
            .iter()
            .filter(|(_, inbound)| inbound.caller == caller);
        let mut calls: Vec<_> = calls.map(|(task, _)| *task).collect();
        calls.sort_unstable();
        calls
    }

    /// The tesserae with calls that came before the construction did.
    pub(crate) fn awaited_tesserae(&self) -> impl Iterator<Item = TesseraId> {
        self.early.keys().copied()
    }

    /// The buffers in results that are kept here, each with the name of the class that made it.
    pub(crate) fn stored_results(&self) -> impl Iterator<Item = (&Payload, String)> {
        self.inbound.values().filter_map(|inbound| {
            let Progress::Ended(outcome) = &inbound.progress else {
                return None;
            };
            let Outcome::Value(value) = &**outcome else {
                return None;
            };
            let name = match self.hosted.get(&inbound.tessera) {
                Some(hosted) => format!("result of {}", hosted.class),
                None => "result".to_owned(),
            };
            Some((value, name))
        })
    }

    /// The subscriptions of a peer end: it died, or will ask again.
    pub(crate) fn forget_subscriber(&mut self, peer: RuntimeId) {
        for inbound in self.inbound.values_mut() {
            if let Some(cold_state) = inbound.cold_state_mut() {
                cold_state
                    .subscribers
                    .retain(|(_, subscriber)| !subscriber.is_of(peer));
            }
        }
        self.results.forget_subscriber(peer);
    }

    pub(crate) fn snapshot(&self) -> CalleeSnapshot {
        let tesserae = self.hosted.iter().map(|(tessera, hosted)| TesseraRow {
            tessera: *tessera,
            state: match hosted.state {
                tessera::State::Building => TesseraState::Building,
                tessera::State::Listening => TesseraState::Listening,
                tessera::State::Failed(_) => TesseraState::Failed,
                tessera::State::Stopped => TesseraState::Stopped,
            },
            queued: hosted.queued(),
            running: hosted.running + hosted.skipped,
        });
        let calls = self.inbound.iter().map(|(task, inbound)| InboundRow {
            task: *task,
            caller: inbound.caller,
            tessera: inbound.tessera,
            state: match inbound.progress {
                Progress::Waiting(_) => CallState::Waiting,
                Progress::Running { .. } => CallState::Running,
                Progress::Ended(_) => CallState::Ended,
            },
            missing: inbound.missing,
        });
        let mut snapshot = CalleeSnapshot {
            tesserae: tesserae.collect(),
            calls: calls.collect(),
            early: self.early.keys().copied().collect(),
        };
        snapshot.tesserae.sort_unstable_by_key(|row| row.tessera);
        snapshot.calls.sort_unstable_by_key(|row| row.task);
        snapshot.early.sort_unstable();
        snapshot
    }

    pub(crate) fn validate(&self, is_busy: impl Fn(ObjectId) -> bool) {
        self.results.validate(is_busy);
        for (tessera, hosted) in &self.hosted {
            let running = self
                .inbound
                .values()
                .filter(|inbound| {
                    inbound.tessera == *tessera
                        && matches!(inbound.progress, Progress::Running { .. })
                })
                .count();
            assert_eq!(
                running,
                hosted.running + hosted.skipped,
                "TESS-2: {tessera:?} counts its running calls right"
            );
            assert!(
                !hosted.alone || hosted.running <= 1,
                "TESS-2: {tessera:?} runs {} calls, one of which has to be alone",
                hosted.running
            );
            for (caller, queue) in &hosted.queues {
                let ready = queue
                    .calls
                    .front()
                    .is_some_and(|task| self.is_ready(*task) && self.waiting(*task).is_some());
                assert!(
                    queue.listed || !ready,
                    "TESS-3: {tessera:?} forgot whose turn it is: {caller:?}"
                );
                assert_eq!(
                    queue.listed,
                    hosted.runnable.contains(caller),
                    "TESS-3: {caller:?} is not where it is said to be"
                );
            }
        }
        for (task, inbound) in &self.inbound {
            let Progress::Waiting(call) = &inbound.progress else {
                continue;
            };
            let early = || {
                self.early
                    .get(&inbound.tessera)
                    .is_some_and(|early| early.contains(task))
            };
            let queued = self.is_unordered(inbound.tessera)
                || self
                    .hosted
                    .get(&inbound.tessera)
                    .map_or_else(early, |hosted| {
                        call.kind == CallKind::Construct
                            || hosted.skipping.contains(task)
                            || hosted
                                .queues
                                .get(&inbound.caller)
                                .is_some_and(|queue| queue.calls.contains(task))
                    });
            assert!(queued, "TESS-1: {task:?} waits in no queue");
        }
    }
}
