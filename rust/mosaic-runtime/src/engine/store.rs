//! The engine's store, as programs use it. Retries when other processes of the node can give idle memory back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mosaic_core::id::ObjectId;
use mosaic_core::payload::Stored;
use rustc_hash::FxHashMap;

use crate::engine::{Engine, EngineError};
use crate::store::{StoreError, StoreReport, View};

/// How long other processes may take to give memory back that nothing uses.
const GIVING_BACK: Duration = Duration::from_secs(1);

impl Engine {
    /// Copy bytes into the store.
    ///
    /// # Errors
    /// [`EngineError::Store`] where there is no room, neither in memory nor on disk.
    pub fn copy_in(&self, bytes: &[u8]) -> Result<Arc<dyn Stored>, EngineError> {
        let inner = &self.inner;
        self.with_room(|| inner.store.copy_in(bytes, || inner.memory_pressure()))
    }

    /// Memory of the store to write to: passed on, it is not copied.
    ///
    /// # Errors
    /// [`EngineError::Store`] where there is no room in memory.
    pub fn allocate(&self, length: usize) -> Result<Arc<View>, EngineError> {
        let inner = &self.inner;
        self.with_room(|| inner.store.allocate(length, || inner.memory_pressure()))
    }

    /// Try to get memory of the store. Where only other processes have idle memory, ask them to give it back and wait for
    /// that: it takes them a moment, whatever their programs do.
    fn with_room<T>(&self, attempt: impl Fn() -> Result<T, StoreError>) -> Result<T, EngineError> {
        let store = &self.inner.store;
        let full = match attempt() {
            Err(full @ StoreError::Full(_)) if store.others_have_idle_memory() => full,
            result => return Ok(result?),
        };
        let deadline = Instant::now() + GIVING_BACK;
        match self.wait_for_store(Some(deadline), || match attempt() {
            Err(StoreError::Full(_)) if store.others_have_idle_memory() => None,
            result => Some(result),
        }) {
            Ok(result) => Ok(result?),
            Err(EngineError::TimedOut) => Err(full.into()),
            Err(other) => Err(other),
        }
    }

    /// A copy-on-write view of a buffer: writes stay private to it. Where the view has a reference, the caller retains
    /// that and releases it when the view goes.
    ///
    /// # Errors
    /// [`EngineError::Store`] where the system refuses, or what comes from disk is damaged.
    pub fn view(&self, stored: &Arc<dyn Stored>) -> Result<Arc<View>, EngineError> {
        let inner = &self.inner;
        Ok(inner.store.view(stored, || inner.memory_pressure())?)
    }

    /// What this process has in the store, and who holds it.
    pub fn store_report(&self) -> StoreReport {
        self.inner.process_inbox();
        let mut report = self.inner.store.report();
        let driver = self.inner.driver.lock();
        let names: FxHashMap<_, _> = driver.machine.stored_values().into_iter().collect();
        for buffer in &mut report.buffers {
            let object = ObjectId::Buffer(buffer.buffer);
            buffer.holders = driver.machine.holders_of(object);
            buffer.what = names.get(&buffer.buffer).cloned().unwrap_or_default();
        }
        report
    }

    /// Living values of this process count as that many bytes more, or fewer, of the node's memory.
    pub fn account(&self, bytes: i64) -> Result<(), EngineError> {
        let inner = &self.inner;
        Ok(inner.store.account(bytes, || inner.memory_pressure())?)
    }

    /// Block until something in the node's stores was freed, or the time passes; `attempt` is made before each
    /// wait, until it gives an answer.
    pub fn wait_for_store<R>(
        &self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> Result<R, EngineError> {
        let store = &self.inner.store;
        let result = self.watch(deadline, || {
            store.set_memory_wanted(true);
            if self.stopped() {
                return Some(Err(EngineError::Stopped));
            }
            attempt().map(Ok)
        });
        store.set_memory_wanted(false);
        result?
    }
}
