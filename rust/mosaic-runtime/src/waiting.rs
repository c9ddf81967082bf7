//! Blocking waits of the program's threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::EngineError;
use crate::shared::Shared;
use crate::signal::Signal;

/// The signal that is there from the start, so that a program which blocks on one thread at a time opens no
/// descriptor for it.
#[derive(Debug)]
pub(crate) struct HomeSignal {
    signal: Arc<Signal>,
    borrowed: AtomicBool,
}

impl HomeSignal {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            signal: Arc::new(Signal::new()?),
            borrowed: AtomicBool::new(false),
        })
    }

    fn borrow(&self) -> Option<Arc<Signal>> {
        (!self.borrowed.swap(true, Ordering::AcqRel)).then(|| Arc::clone(&self.signal))
    }

    /// Somebody may still raise it: the next who waits on it looks whether it was for them.
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

impl Shared {
    pub(crate) fn borrow_signal(&self) -> std::io::Result<Arc<Signal>> {
        match self.home_signal.borrow() {
            Some(signal) => Ok(signal),
            None => Ok(Arc::new(Signal::new()?)),
        }
    }

    pub(crate) fn return_signal(&self, signal: &Arc<Signal>) {
        self.home_signal.give_back(signal);
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

    /// Block until the signal is raised or, if this thread may help, something has come and was read.
    /// `woken` is called before what came is processed. False if the time passed first.
    pub(crate) fn sleep(
        &self,
        signal: &Signal,
        timeout: Option<Duration>,
        woken: impl FnOnce(),
    ) -> std::io::Result<bool> {
        let Some(helper) = self.inlets.help() else {
            return signal.wait(timeout);
        };
        let inlets = helper.living();
        let sockets: Vec<_> = inlets.iter().map(|inlet| inlet.socket()).collect();
        let mut ready = Vec::new();
        let slept = signal.wait_with(&sockets, &mut ready, timeout)?;
        if !ready.is_empty() {
            woken();
            for place in ready {
                inlets[place].read(self);
            }
        }
        Ok(slept)
    }
}
