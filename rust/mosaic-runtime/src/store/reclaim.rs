//! Gives idle memory back: a thread that starts when memory is left resident, and ends when all is given back.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use super::inner::Inner;
use crate::sync::threads;
use crate::sync::{Condvar, Mutex, Rank};

#[derive(Debug)]
pub(crate) struct Reclaimer {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    thread: Option<JoinHandle<()>>,
    /// The thread is at work, or waits to be.
    running: bool,
    /// When memory of the store was used last; none if all is given back.
    used: Option<Instant>,
    /// Another process needs the idle memory now.
    requested: bool,
    stopped: bool,
}

impl Default for Reclaimer {
    fn default() -> Self {
        Self {
            state: Mutex::with_default(Rank::Reclaimer),
            changed: Condvar::new(),
        }
    }
}

impl Reclaimer {
    /// Memory of the store was used just now.
    pub(crate) fn used(&self, store: &Arc<Inner>) {
        let mut state = self.state.lock();
        state.used = Some(Instant::now());
        self.wake(&mut state, store);
    }

    /// Give idle memory back now.
    pub(crate) fn reclaim(&self, store: &Arc<Inner>) {
        let mut state = self.state.lock();
        state.requested = true;
        self.wake(&mut state, store);
    }

    fn wake(&self, state: &mut State, store: &Arc<Inner>) {
        if state.stopped || threads::forked() {
            return;
        }
        if state.running {
            if state.requested {
                self.changed.notify_one();
            }
            return;
        }
        let for_thread = Arc::clone(store);
        let run = move || while for_thread.reclaimer.work(&for_thread) {};
        let thread = threads::spawn("mosaic-store", run).ok();
        state.running = thread.is_some();
        // The one before has ended, or is about to.
        state.thread = thread;
    }

    /// Wait until something is to be given back, and do it. False when there is nothing more to wait for.
    fn work(&self, store: &Inner) -> bool {
        let mut state = self.state.lock();
        loop {
            let due = state.used.map(|used| used + store.settings.idle);
            let now = Instant::now();
            match due {
                _ if state.stopped => {
                    state.running = false;
                    return false;
                }
                _ if state.requested => break,
                None => {
                    state.running = false;
                    return false;
                }
                Some(due) if due <= now => break,
                Some(due) => {
                    state = self.changed.wait_for(state, due - now);
                }
            }
        }
        state.requested = false;
        state.used = None;
        drop(state);
        store.give_back();
        true
    }

    /// End the thread.
    pub(crate) fn stop(&self) {
        let mut state = self.state.lock();
        state.stopped = true;
        let thread = state.thread.take();
        drop(state);
        self.changed.notify_one();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}
