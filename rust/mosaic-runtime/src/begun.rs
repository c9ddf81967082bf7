//! Which calls of an executor have begun, and which must not.
//!
//! Whoever begins a call and whoever revokes it take the same lock: a call is either prevented or has begun,
//! never both (`LANE-1`). For that, a call's end is told here after it was told to the engine, which does not
//! revoke what has ended.

use std::sync::PoisonError;

use mosaic_core::id::TaskId;
use rustc_hash::FxHashSet;

use crate::executor::Revoked;
use crate::sync::{Mutex, MutexGuard};

/// The calls of one executor.
#[derive(Debug, Default)]
pub(crate) struct Begun {
    calls: Mutex<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    /// Calls that must not begin.
    revoked: FxHashSet<TaskId>,
    /// Calls that have begun and not ended: one of the lane's own, and coroutines.
    running: FxHashSet<TaskId>,
}

impl Begun {
    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call is not wanted any more.
    pub(crate) fn revoke(&self, task: TaskId) -> Revoked {
        let mut calls = self.lock();
        if calls.running.contains(&task) {
            return Revoked::Running;
        }
        calls.revoked.insert(task);
        Revoked::Prevented
    }

    /// A call is about to begin. Returns whether it may.
    pub(crate) fn begin(&self, task: TaskId) -> bool {
        let mut calls = self.lock();
        if calls.revoked.remove(&task) {
            return false;
        }
        calls.running.insert(task);
        true
    }

    /// A call has ended.
    pub(crate) fn end(&self, task: TaskId) {
        self.lock().running.remove(&task);
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
    }

    /// `LANE-1`: what ran was not prevented, and what was not prevented runs, in every order of events.
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
