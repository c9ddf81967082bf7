//! Blocking waits of the program's threads.
//!
//! A waiting thread borrows a signal from the pool, registers it with a completion or as a watcher, and sleeps. While
//! it sleeps it polls the sockets as well, unless another thread does ([`crate::net::reader`]), and so receives its
//! answer without a switch to the I/O thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mosaic_core::event::Role;
use mosaic_core::id::{RuntimeId, TesseraId};

use crate::engine::inner::EngineInner;
use crate::engine::{Engine, EngineError};
use crate::executor::lane::{Job, Lane};
use crate::node::Node;
use crate::sync::completion::{Completion, Stage, Waiter};
use crate::sync::signal::Signal;
use crate::sync::threads;

impl Engine {
    /// Block until it is decided where a tessera of this runtime goes; `None` if nowhere.
    pub fn wait_placed(
        &self,
        tessera: TesseraId,
        deadline: Option<Instant>,
    ) -> Result<Option<RuntimeId>, EngineError> {
        self.inner.process_inbox();
        self.watch(deadline, || {
            let driver = self.inner.driver.lock();
            let host = driver.machine.host_of(tessera);
            (host.is_some() || !driver.machine.is_unplaced(tessera) || self.stopped())
                .then_some(host)
        })
    }

    /// Block until the completion reaches the stage.
    pub fn wait(
        &self,
        completion: &Arc<Completion>,
        stage: Stage,
        deadline: Option<Instant>,
    ) -> Result<(), EngineError> {
        if completion.reached(stage) {
            return Ok(());
        }
        if threads::forked() {
            return Err(EngineError::Forked);
        }
        let signal = self.inner.borrow_signal()?;
        if completion
            .subscribe(stage, Waiter::Thread(Arc::clone(&signal)))
            .is_err()
        {
            self.inner.return_signal(&signal);
            return Ok(());
        }
        let result = self.inner.wait_until(&signal, deadline, || {
            completion.reached(stage).then_some(())
        });
        completion.unsubscribe_thread(&signal);
        self.inner.return_signal(&signal);
        result
    }

    /// A signal for a blocking wait of the caller's own making; to be given back with [`Engine::return_signal`].
    pub fn borrow_signal(&self) -> Result<Arc<Signal>, EngineError> {
        Ok(self.inner.borrow_signal()?)
    }

    /// Block until `done`, asked whenever the signal is raised.
    pub fn wait_for<R>(
        &self,
        signal: &Signal,
        deadline: Option<Instant>,
        done: impl FnMut() -> Option<R>,
    ) -> Result<R, EngineError> {
        self.inner.wait_until(signal, deadline, done)
    }

    /// Give back a signal.
    pub fn return_signal(&self, signal: &Arc<Signal>) {
        self.inner.return_signal(signal);
    }

    /// Block until `done` gives an answer; asked again whenever membership or the number of pending tasks changes.
    pub fn watch<R>(
        &self,
        deadline: Option<Instant>,
        done: impl FnMut() -> Option<R>,
    ) -> Result<R, EngineError> {
        let signal = self.inner.borrow_signal()?;
        self.inner.watchers.lock().push(Arc::clone(&signal));
        let result = self.inner.wait_until(&signal, deadline, done);
        self.inner
            .watchers
            .lock()
            .retain(|own| !Arc::ptr_eq(own, &signal));
        self.inner.return_signal(&signal);
        result
    }

    /// Block until there is something for a lane, and take it all. Returns whether the lane goes on.
    pub fn take_jobs(&self, lane: &Lane, batch: &mut VecDeque<Job>) -> bool {
        loop {
            if let Some(goes_on) = lane.take_or_sleep(batch) {
                return goes_on;
            }
            // An interruption by a signal is as good as any other reason to look again.
            let _ = self.inner.sleep(lane.signal(), None, || lane.wake());
            lane.wake();
        }
    }

    /// Block until that many workers take part.
    pub fn wait_ready(&self, workers: usize, deadline: Option<Instant>) -> Result<(), EngineError> {
        self.watch(deadline, || {
            if let Some(reason) = self.inner.node.as_ref().and_then(Node::gave_up) {
                return Some(Err(EngineError::NoWorkers(reason)));
            }
            if self.stopped() {
                return Some(Err(EngineError::Stopped));
            }
            let living = self.members();
            let living = living.iter().filter(|member| member.role == Role::Worker);
            (living.count() >= workers).then_some(Ok(()))
        })?
    }

    /// Block until there is capacity for another task.
    pub fn wait_for_capacity(&self, deadline: Option<Instant>) -> Result<(), EngineError> {
        self.watch(deadline, || {
            (self.stopped() || self.pending() < self.inner.max_pending).then_some(())
        })
    }
}

/// The signal that is there from the start, so that a program which blocks on one thread at a time opens no
/// descriptor for it.
#[derive(Debug)]
pub(crate) struct SignalPool {
    signal: Arc<Signal>,
    borrowed: AtomicBool,
}

impl SignalPool {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            signal: Arc::new(Signal::new()?),
            borrowed: AtomicBool::new(false),
        })
    }

    fn borrow(&self) -> Option<Arc<Signal>> {
        (!self.borrowed.swap(true, Ordering::AcqRel)).then(|| Arc::clone(&self.signal))
    }

    /// A late waker may still raise it: the next waiter checks its own condition.
    fn give_back(&self, signal: &Arc<Signal>) {
        if Arc::ptr_eq(signal, &self.signal) {
            signal.clear();
            self.borrowed.store(false, Ordering::Release);
        }
    }

    pub(crate) fn close(&self) {
        self.signal.close();
    }
}

impl EngineInner {
    pub(crate) fn borrow_signal(&self) -> std::io::Result<Arc<Signal>> {
        match self.signal_pool.borrow() {
            Some(signal) => Ok(signal),
            None => Ok(Arc::new(Signal::new()?)),
        }
    }

    pub(crate) fn return_signal(&self, signal: &Arc<Signal>) {
        self.signal_pool.give_back(signal);
    }

    pub(crate) fn wait_until<R>(
        &self,
        signal: &Signal,
        deadline: Option<Instant>,
        mut done: impl FnMut() -> Option<R>,
    ) -> Result<R, EngineError> {
        loop {
            if let Some(answer) = done() {
                return Ok(answer);
            }
            if self.stopped.load(Ordering::Acquire) {
                return done().ok_or(EngineError::Stopped);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) || !self.sleep(signal, left, || {})? {
                return done().ok_or(EngineError::TimedOut);
            }
            signal.clear();
        }
    }

    /// Block until the signal is raised or, as the inline poller, until messages were read and processed.
    /// `woken` is called before they are processed. False if the time passed first.
    pub(crate) fn sleep(
        &self,
        signal: &Signal,
        timeout: Option<Duration>,
        woken: impl FnOnce(),
    ) -> std::io::Result<bool> {
        let Some(inline_poller) = self.read_halves.poll_inline() else {
            return signal.wait(timeout);
        };
        let read_halves = inline_poller.live();
        let sockets: Vec<_> = read_halves
            .iter()
            .map(|read_half| read_half.socket())
            .collect();
        let mut ready = Vec::new();
        let slept = signal.wait_with(&sockets, &mut ready, timeout)?;
        if !ready.is_empty() {
            woken();
            for place in ready {
                read_halves[place].read(self);
            }
        }
        Ok(slept)
    }
}
