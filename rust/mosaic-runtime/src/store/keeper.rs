//! The thread that gives idle memory back: started with the first memory that is kept warm, asleep while it is used.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::Inner;
use crate::shared::lock;
use crate::threads;

#[derive(Debug, Default)]
pub(crate) struct Keeper {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    thread: Option<JoinHandle<()>>,
    /// When memory of the store was used last; none if all is given back.
    used: Option<Instant>,
    /// Somebody needs what is idle now.
    squeezed: bool,
    stopped: bool,
}

impl Keeper {
    /// Memory of the store was used just now.
    pub(crate) fn used(&self, store: &Arc<Inner>) {
        let mut state = lock(&self.state);
        if state.stopped {
            return;
        }
        let sleeping = state.used.is_none();
        state.used = Some(Instant::now());
        if state.thread.is_none() {
            let store = Arc::downgrade(store);
            let run = move || {
                while let Some(store) = store.upgrade() {
                    if !store.keeper.work(&store) {
                        return;
                    }
                }
            };
            state.thread = threads::spawn("mosaic-store", run).ok();
        } else if sleeping {
            self.changed.notify_one();
        }
    }

    /// Give idle memory back now.
    pub(crate) fn squeeze(&self) {
        lock(&self.state).squeezed = true;
        self.changed.notify_one();
    }

    /// Wait for something to do, and do it. False at the end.
    fn work(&self, store: &Inner) -> bool {
        let mut state = lock(&self.state);
        loop {
            if state.stopped {
                return false;
            }
            if state.squeezed {
                break;
            }
            let Some(used) = state.used else {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let due = used + store.settings.idle;
            let now = Instant::now();
            if due <= now {
                break;
            }
            state = self
                .changed
                .wait_timeout(state, due - now)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.squeezed = false;
        state.used = None;
        drop(state);
        store.give_back();
        true
    }

    /// End the thread.
    pub(crate) fn stop(&self) {
        let mut state = lock(&self.state);
        state.stopped = true;
        let thread = state.thread.take();
        drop(state);
        self.changed.notify_one();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}
