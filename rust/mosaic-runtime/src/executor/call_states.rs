//! The state of each call that an executor has accepted: queued, revoked, running, or finished and not yet reported.
//!
//! The thread that holds the engine's driver accepts and revokes calls; the threads of the executor run them. Both
//! change the state of a call by compare-and-swap, without a lock. The table by task belongs to the driver.
//!
//! - `LANE-1`: a call is either prevented or has begun, never both, whatever the engine has forgotten of it by then.
//! - `LANE-2`: a call that has its result when it is revoked keeps it: its end may be reported already, with the engine
//!   still to process the report.
//!
//! A call that is run again is accepted anew, with a state of its own; what is left of its first run does not change it.

use mosaic_core::call::{Outcome, ReadyCall};
use mosaic_core::id::TaskId;
use rustc_hash::FxHashMap;

use crate::sync::primitives::{Arc, AtomicU8, Ordering};

/// It waits to begin.
const QUEUED: u8 = 0;
/// It waits, and must not begin.
const REVOKED: u8 = 1;
const RUNNING: u8 = 2;
/// It has its result, which is about to be reported.
const HAS_RESULT: u8 = 3;

/// States that are allocated together: a call costs a small part of an allocation, whatever waits and for how long.
const CHUNK: usize = 64;

/// What a revocation finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CancelOutcome {
    /// It had not begun and never will.
    Prevented,
    /// It runs; its end will be reported.
    Running,
    /// It has run, and its result is about to be reported.
    Ended,
}

/// The state of one accepted call. The executor has one handle of it, the table another.
#[derive(Debug, Clone)]
struct Shared {
    chunk: Arc<[AtomicU8; CHUNK]>,
    index: u8,
}

impl std::ops::Deref for Shared {
    type Target = AtomicU8;

    fn deref(&self) -> &AtomicU8 {
        &self.chunk[usize::from(self.index)]
    }
}

/// The state of one accepted call, as the executor holds it.
#[derive(Debug)]
pub struct CallState(Shared);

impl CallState {
    /// The call is about to begin. Returns whether it may.
    #[must_use]
    pub fn begin(&self) -> bool {
        self.0
            .compare_exchange(QUEUED, RUNNING, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// The running call has ended so, which is about to be reported. With a result, a revocation comes too late from now
    /// on; a failure may still become a cancellation.
    pub fn end(self, outcome: &Outcome) {
        if matches!(outcome, Outcome::Value(_)) {
            self.0.store(HAS_RESULT, Ordering::Release);
        }
    }
}

/// A call that an executor is to run, unless it is revoked before.
#[derive(Debug)]
pub struct AcceptedCall {
    /// The call, with the values of its dependencies.
    pub ready: ReadyCall,
    /// Whether it may begin, and how far it is.
    pub state: CallState,
}

/// The states of the calls of one executor, from their acceptance until their ends are processed.
#[derive(Debug)]
pub(crate) struct CallStates {
    calls: FxHashMap<TaskId, Shared>,
    /// The next one that no call has had; beyond the end of its chunk, a new chunk is allocated.
    next: Shared,
}

impl Default for CallStates {
    fn default() -> Self {
        Self {
            calls: FxHashMap::default(),
            next: Self::chunk(),
        }
    }
}

impl CallStates {
    fn chunk() -> Shared {
        Shared {
            chunk: Arc::new(std::array::from_fn(|_| AtomicU8::new(QUEUED))),
            index: 0,
        }
    }

    /// A call is dispatched, to begin or to be dropped by the executor.
    pub(crate) fn accept(&mut self, task: TaskId) -> CallState {
        if usize::from(self.next.index) == CHUNK {
            self.next = Self::chunk();
        }
        let state = self.next.clone();
        self.next.index += 1;
        self.calls.insert(task, state.clone());
        CallState(state)
    }

    /// A call is not wanted any more.
    pub(crate) fn revoke(&self, task: TaskId) -> CancelOutcome {
        let Some(state) = self.calls.get(&task) else {
            return CancelOutcome::Ended;
        };
        match state.compare_exchange(QUEUED, REVOKED, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) | Err(REVOKED) => CancelOutcome::Prevented,
            Err(RUNNING) => CancelOutcome::Running,
            Err(_) => CancelOutcome::Ended,
        }
    }

    /// The end of a call is processed.
    pub(crate) fn forget(&mut self, task: TaskId) {
        self.calls.remove(&task);
    }
}

#[cfg(all(test, not(mosaic_loom)))]
mod tests {
    use super::*;
    use mosaic_core::id::RuntimeId;
    use mosaic_core::payload::Payload;

    const TASK: TaskId = TaskId {
        owner: RuntimeId::HEAD,
        sequence: 1,
    };

    fn value() -> Outcome {
        Outcome::Value(Payload::default())
    }

    #[test]
    fn lane_1_a_call_that_is_revoked_first_never_begins() {
        let mut call_states = CallStates::default();
        let queued = call_states.accept(TASK);
        assert_eq!(call_states.revoke(TASK), CancelOutcome::Prevented);
        assert_eq!(call_states.revoke(TASK), CancelOutcome::Prevented, "again");
        assert!(!queued.begin());
        call_states.forget(TASK);
        assert!(call_states.calls.is_empty(), "nothing is remembered");
        let queued = call_states.accept(TASK);
        assert!(queued.begin());
        assert_eq!(call_states.revoke(TASK), CancelOutcome::Running);
    }

    #[test]
    fn lane_1_a_call_that_is_run_again_is_not_changed_by_its_first_run() {
        let mut call_states = CallStates::default();
        let first = call_states.accept(TASK);
        assert!(first.begin());
        // The executor has reported a failure, and not dropped the state yet.
        call_states.forget(TASK);
        let second = call_states.accept(TASK);
        assert_eq!(call_states.revoke(TASK), CancelOutcome::Prevented);
        first.end(&value());
        assert_eq!(call_states.revoke(TASK), CancelOutcome::Prevented);
        assert!(!second.begin());
        call_states.forget(TASK);
        assert!(call_states.calls.is_empty(), "nothing is remembered");
    }

    #[test]
    fn lane_1_a_revoked_call_that_is_accepted_again_begins_once() {
        let mut call_states = CallStates::default();
        let first = call_states.accept(TASK);
        assert_eq!(call_states.revoke(TASK), CancelOutcome::Prevented);
        call_states.forget(TASK);
        let second = call_states.accept(TASK);
        assert!(!first.begin(), "it is still in the lane");
        assert!(second.begin());
    }

    #[test]
    fn lane_2_a_call_that_has_its_result_when_it_is_revoked_keeps_it() {
        let mut call_states = CallStates::default();
        let state = call_states.accept(TASK);
        assert!(state.begin());
        state.end(&value());
        assert_eq!(call_states.revoke(TASK), CancelOutcome::Ended);
        call_states.forget(TASK);
        assert_eq!(call_states.revoke(TASK), CancelOutcome::Ended);
        assert!(call_states.calls.is_empty(), "nothing is remembered");
    }

    #[test]
    fn states_of_many_calls_are_apart() {
        let mut call_states = CallStates::default();
        let task = |sequence| TaskId { sequence, ..TASK };
        let count = 3 * CHUNK as u64 + 1;
        let states: Vec<_> = (0..count)
            .map(|sequence| call_states.accept(task(sequence)))
            .collect();
        for sequence in (0..count).step_by(2) {
            assert_eq!(call_states.revoke(task(sequence)), CancelOutcome::Prevented);
        }
        for (sequence, state) in states.iter().enumerate() {
            assert_eq!(state.begin(), sequence % 2 == 1);
        }
    }
}

#[cfg(all(test, mosaic_loom))]
mod loom_tests {
    use super::*;
    use crate::sync::{Mutex, Rank};
    use loom::thread;
    use mosaic_core::id::RuntimeId;
    use mosaic_core::payload::Payload;

    fn value() -> Outcome {
        Outcome::Value(Payload::default())
    }

    /// What the driver's lock guards.
    #[derive(Default)]
    struct Driver {
        call_states: CallStates,
        /// Whether the end of the call was reported and processed.
        ended: bool,
    }

    /// `LANE-1`, `LANE-2`: what ran was not prevented, what was not prevented runs, and what has a result when it
    /// is revoked is not said to run, in every order of events.
    #[test]
    fn loom_lane_1_a_call_is_prevented_or_begins_and_never_both() {
        loom::model(|| {
            let task = TaskId {
                owner: RuntimeId::HEAD,
                sequence: 1,
            };
            let driver = Arc::new(Mutex::new(Rank::Driver, Driver::default()));
            let returned = Arc::new(Mutex::new(Rank::Program, false));
            let state = driver.lock().call_states.accept(task);
            let lane = thread::spawn({
                let (driver, returned) = (Arc::clone(&driver), Arc::clone(&returned));
                move || {
                    let ran = state.begin();
                    if ran {
                        *returned.lock() = true;
                        state.end(&value());
                        let mut driver = driver.lock();
                        driver.call_states.forget(task);
                        driver.ended = true;
                    }
                    ran
                }
            });
            let revoked = {
                let mut driver = driver.lock();
                let outcome = (!driver.ended).then(|| driver.call_states.revoke(task));
                if outcome == Some(CancelOutcome::Prevented) {
                    driver.call_states.forget(task);
                }
                outcome
            };
            if revoked == Some(CancelOutcome::Ended) {
                assert!(*returned.lock());
            }
            let ran = lane.join().unwrap();
            assert_eq!(ran, revoked != Some(CancelOutcome::Prevented));
            let driver = driver.lock();
            assert!(driver.call_states.calls.is_empty(), "nothing is remembered");
        });
    }
}
