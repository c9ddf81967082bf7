//! The locks and atomics below [`crate::sync`]: `parking_lot`'s and the standard library's, or loom's in their place.
//!
//! No other module of the runtime or of the bindings names a lock of a library (`clippy.toml`,
//! `tests/unit/test_lock_names.py`). Under `make loom` (`cfg(mosaic_loom)`) the same names are loom's.

#![allow(clippy::disallowed_types, reason = "the one module that names locks")]

#[cfg(not(mosaic_loom))]
pub(crate) use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence},
};

#[cfg(mosaic_loom)]
pub(crate) use loom::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence},
};

// The launcher's tasks await their turn.
pub(crate) use tokio::sync::Mutex as AsyncMutex;

pub(super) use raw::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Locks of `parking_lot`: a byte each, and a panic of their holder leaves them usable.
#[cfg(not(mosaic_loom))]
pub(super) mod raw {
    use std::time::Duration;

    pub(crate) use parking_lot::{
        Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
    };

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock()
    }

    pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
        mutex.try_lock()
    }

    pub(crate) fn get_mut<T>(mutex: &mut Mutex<T>) -> &mut T {
        mutex.get_mut()
    }

    pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
        lock.read()
    }

    pub(crate) fn try_write<T>(lock: &RwLock<T>) -> Option<RwLockWriteGuard<'_, T>> {
        lock.try_write()
    }

    pub(crate) fn wait<'a, T>(
        condition: &Condvar,
        mut guard: MutexGuard<'a, T>,
    ) -> MutexGuard<'a, T> {
        condition.wait(&mut guard);
        guard
    }

    pub(crate) fn wait_for<'a, T>(
        condition: &Condvar,
        mut guard: MutexGuard<'a, T>,
        limit: Duration,
    ) -> MutexGuard<'a, T> {
        condition.wait_for(&mut guard, limit);
        guard
    }
}

/// Locks of loom. Poisoning ends a model with the panic that caused it.
#[cfg(mosaic_loom)]
pub(super) mod raw {
    use std::sync::PoisonError;
    use std::time::Duration;

    pub(crate) use loom::sync::{
        Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
    };

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
        mutex.try_lock().ok()
    }

    pub(crate) fn get_mut<T>(mutex: &mut Mutex<T>) -> &mut T {
        mutex.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
        lock.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn try_write<T>(lock: &RwLock<T>) -> Option<RwLockWriteGuard<'_, T>> {
        lock.try_write().ok()
    }

    pub(crate) fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        condition
            .wait(guard)
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait_for<'a, T>(
        condition: &Condvar,
        guard: MutexGuard<'a, T>,
        limit: Duration,
    ) -> MutexGuard<'a, T> {
        let waited = condition.wait_timeout(guard, limit);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
