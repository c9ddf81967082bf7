//! The state of each call that an executor has accepted: queued, revoked, running, or finished and not yet reported.
//!
//! - `LANE-1`: begin and revoke take the same lock, so a call is either prevented or has begun, never both, whatever
//!   the engine has forgotten of it by then.
//! - `LANE-2`: a call that has its result when it is revoked keeps it: its end may be reported already, with the engine
//!   still to process the report.

use mosaic_core::id::TaskId;
use rustc_hash::FxHashMap;

use crate::executor::CancelOutcome;
use crate::sync::{Mutex, Rank};

/// The calls of one executor, from their acceptance until their end was reported.
#[derive(Debug)]
pub(crate) struct CallStates {
    calls: Mutex<FxHashMap<TaskId, Stage>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    /// It waits, and must not begin.
    Revoked,
    Running,
    HasResult,
}

impl Default for CallStates {
    fn default() -> Self {
        Self {
            calls: Mutex::with_default(Rank::CallStates),
        }
    }
}

impl CallStates {
    /// Calls come, each of which is to begin, or to be dropped there.
    pub(crate) fn accept(&self, tasks: impl Iterator<Item = TaskId>) {
        self.calls
            .lock()
            .extend(tasks.map(|task| (task, Stage::Waiting)));
    }

    /// A call is not wanted any more.
    pub(crate) fn revoke(&self, task: TaskId) -> CancelOutcome {
        let mut calls = self.calls.lock();
        match calls.get_mut(&task) {
            Some(stage @ (Stage::Waiting | Stage::Revoked)) => {
                *stage = Stage::Revoked;
                CancelOutcome::Prevented
            }
            Some(Stage::Running) => CancelOutcome::Running,
            Some(Stage::HasResult) | None => CancelOutcome::Ended,
        }
    }

    /// A call is about to begin. Returns whether it may.
    pub(crate) fn begin(&self, task: TaskId) -> bool {
        let mut calls = self.calls.lock();
        if let Some(stage @ Stage::Waiting) = calls.get_mut(&task) {
            *stage = Stage::Running;
            true
        } else {
            calls.remove(&task);
            false
        }
    }

    /// A call has its result, which is about to be reported to the engine.
    pub(crate) fn has_result(&self, task: TaskId) {
        let mut calls = self.calls.lock();
        if let Some(stage) = calls.get_mut(&task) {
            *stage = Stage::HasResult;
        }
    }

    /// A call has ended, and its end was reported. By then it may have been accepted again, to be run once more.
    pub(crate) fn end(&self, task: TaskId) {
        let mut calls = self.calls.lock();
        if let Some(Stage::Running | Stage::HasResult) = calls.get(&task) {
            calls.remove(&task);
        }
    }
}

#[cfg(all(test, not(mosaic_loom)))]
mod tests {
    use super::*;
    use mosaic_core::id::RuntimeId;

    const TASK: TaskId = TaskId {
        owner: RuntimeId::HEAD,
        sequence: 1,
    };

    #[test]
    fn lane_1_what_is_revoked_first_never_begins() {
        let call_states = CallStates::default();
        call_states.accept([TASK].into_iter());
        assert_eq!(call_states.revoke(TASK), CancelOutcome::Prevented);
        assert_eq!(
            call_states.revoke(TASK),
            CancelOutcome::Prevented,
            "told twice"
        );
        assert!(!call_states.begin(TASK));
        assert!(call_states.calls.lock().is_empty(), "nothing is remembered");
        call_states.accept([TASK].into_iter());
        assert!(call_states.begin(TASK));
        assert_eq!(call_states.revoke(TASK), CancelOutcome::Running);
    }

    #[test]
    fn lane_1_a_call_that_is_run_again_may_come_before_its_end_is_noted() {
        let call_states = CallStates::default();
        call_states.accept([TASK].into_iter());
        assert!(call_states.begin(TASK));
        call_states.accept([TASK].into_iter());
        call_states.end(TASK);
        assert!(call_states.begin(TASK));
        call_states.end(TASK);
        assert!(call_states.calls.lock().is_empty(), "nothing is remembered");
    }

    #[test]
    fn lane_2_what_has_its_result_when_it_is_revoked_keeps_it() {
        let call_states = CallStates::default();
        call_states.accept([TASK].into_iter());
        assert!(call_states.begin(TASK));
        call_states.has_result(TASK);
        assert_eq!(call_states.revoke(TASK), CancelOutcome::Ended);
        call_states.end(TASK);
        // Its end was reported, and the engine has not processed the report.
        assert_eq!(call_states.revoke(TASK), CancelOutcome::Ended);
        assert!(call_states.calls.lock().is_empty(), "nothing is remembered");
    }
}

#[cfg(all(test, mosaic_loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;
    use mosaic_core::id::RuntimeId;

    struct World {
        call_states: CallStates,
        /// Under the engine's lock: whether the end of the call was reported.
        ended: Mutex<bool>,
        /// Whether the method has returned.
        returned: Mutex<bool>,
    }

    impl Default for World {
        fn default() -> Self {
            Self {
                call_states: CallStates::default(),
                ended: Mutex::new(Rank::Driver, false),
                returned: Mutex::new(Rank::Program, false),
            }
        }
    }

    /// `LANE-1`, `LANE-2`: what ran was not prevented, what was not prevented runs, and what has a result when it
    /// is revoked is not said to run, in every order of events.
    #[test]
    fn loom_a_call_is_prevented_or_begins_and_never_both() {
        loom::model(|| {
            let task = TaskId {
                owner: RuntimeId::HEAD,
                sequence: 1,
            };
            let world = Arc::new(World::default());
            world.call_states.accept([task].into_iter());
            let lane = thread::spawn({
                let world = Arc::clone(&world);
                move || {
                    let ran = world.call_states.begin(task);
                    if ran {
                        *world.returned.lock() = true;
                        world.call_states.has_result(task);
                        *world.ended.lock() = true;
                        world.call_states.end(task);
                    }
                    ran
                }
            });
            let revoked = {
                let ended = world.ended.lock();
                (!*ended).then(|| world.call_states.revoke(task))
            };
            if revoked == Some(CancelOutcome::Ended) {
                assert!(*world.returned.lock());
            }
            let ran = lane.join().unwrap();
            assert_eq!(ran, revoked != Some(CancelOutcome::Prevented));
            assert!(
                world.call_states.calls.lock().is_empty(),
                "nothing is remembered"
            );
        });
    }
}
