//! Which calls of an executor have begun, and which must not.
//!
//! Whoever begins a call and whoever revokes it take the same lock: a call is either prevented or has begun,
//! never both (`LANE-1`). For that, a call's end is told here after it was told to the engine, which does not
//! revoke what has ended. Before that, it is noted here that there is a result: a call that is revoked from then
//! on keeps it (`LANE-2`).

use std::sync::PoisonError;

use mosaic_core::id::TaskId;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::executor::Revoked;
use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering};

/// The calls of one executor.
#[derive(Debug, Default)]
pub(crate) struct Begun {
    calls: Mutex<Calls>,
    /// Whether any call was revoked that may be remembered.
    revoked: AtomicBool,
}

#[derive(Debug, Default)]
struct Calls {
    /// Calls that must not begin.
    revoked: FxHashSet<TaskId>,
    /// Calls that have begun and not ended: one of the lane's own, and coroutines. Whether each has its result.
    running: FxHashMap<TaskId, bool>,
}

impl Begun {
    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call is not wanted any more.
    pub(crate) fn revoke(&self, task: TaskId) -> Revoked {
        let mut calls = self.lock();
        match calls.running.get(&task) {
            Some(false) => Revoked::Running,
            Some(true) => Revoked::Ended,
            None => {
                calls.revoked.insert(task);
                self.revoked.store(true, Ordering::Release);
                Revoked::Prevented
            }
        }
    }

    /// The engine has forgotten a call. One that was revoked just after its end never begins again.
    pub(crate) fn forget(&self, task: TaskId) {
        // Most programs revoke nothing: they pay no lock for it.
        if self.revoked.load(Ordering::Acquire) {
            self.lock().revoked.remove(&task);
        }
    }

    /// A call is about to begin. Returns whether it may.
    pub(crate) fn begin(&self, task: TaskId) -> bool {
        let mut calls = self.lock();
        if calls.revoked.remove(&task) {
            return false;
        }
        calls.running.insert(task, false);
        true
    }

    /// A call has its result, which the engine is about to be told.
    pub(crate) fn has_result(&self, task: TaskId) {
        if let Some(ended) = self.lock().running.get_mut(&task) {
            *ended = true;
        }
    }

    /// A call has ended.
    pub(crate) fn end(&self, task: TaskId) {
        self.lock().running.remove(&task);
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
        let begun = Begun::default();
        assert_eq!(begun.revoke(TASK), Revoked::Prevented);
        assert!(!begun.begin(TASK));
        assert!(begun.begin(TASK), "it was told once");
        assert_eq!(begun.revoke(TASK), Revoked::Running);
    }

    #[test]
    fn lane_2_what_has_its_result_when_it_is_revoked_keeps_it() {
        let begun = Begun::default();
        assert!(begun.begin(TASK));
        begun.has_result(TASK);
        assert_eq!(begun.revoke(TASK), Revoked::Ended);
        begun.end(TASK);
        // The engine has been told, and has not looked: what it asks for now comes too late to matter.
        assert_eq!(begun.revoke(TASK), Revoked::Prevented);
        begun.forget(TASK);
        assert!(begun.lock().revoked.is_empty(), "nothing is remembered");
    }
}

#[cfg(all(test, mosaic_loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;
    use mosaic_core::id::RuntimeId;

    #[derive(Default)]
    struct World {
        begun: Begun,
        /// Under the engine's lock: whether the end of the call was told.
        ended: Mutex<bool>,
        /// Whether the method has returned.
        returned: Mutex<bool>,
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
            let lane = thread::spawn({
                let world = Arc::clone(&world);
                move || {
                    let ran = world.begun.begin(task);
                    if ran {
                        *world.returned.lock().unwrap() = true;
                        world.begun.has_result(task);
                        *world.ended.lock().unwrap() = true;
                        world.begun.end(task);
                    }
                    ran
                }
            });
            let revoked = {
                let ended = world.ended.lock().unwrap();
                (!*ended).then(|| world.begun.revoke(task))
            };
            if revoked == Some(Revoked::Ended) {
                assert!(*world.returned.lock().unwrap());
            }
            let ran = lane.join().unwrap();
            assert_eq!(ran, revoked != Some(Revoked::Prevented));
            let calls = world.begun.lock();
            assert!(
                calls.running.is_empty() && calls.revoked.is_empty(),
                "nothing is remembered"
            );
        });
    }
}
