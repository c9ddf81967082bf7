//! `Mutex`, `RwLock` and `Condvar`, each lock with its [`Rank`] in the lock order of [`crate::sync`].
//!
//! A release build has the locks of `parking_lot` and nothing else. A debug build records which ranks each thread holds
//! ([`crate::sync::order`]) and panics where a thread takes a lock out of order.

#![allow(clippy::disallowed_types, reason = "they are wrapped here")]

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use super::order::{Entry, Held, Rank};
use super::primitives::{self, raw};

/// A mutual exclusion lock.
pub struct Mutex<T> {
    entry: Entry,
    raw: primitives::Mutex<T>,
}

impl<T> Mutex<T> {
    /// An unlocked mutex of that rank.
    #[cfg(not(mosaic_loom))]
    pub const fn new(rank: Rank, value: T) -> Self {
        Self {
            entry: Entry::new(rank),
            raw: primitives::Mutex::new(value),
        }
    }

    /// An unlocked mutex of that rank. loom registers it, which no constant can do.
    #[cfg(mosaic_loom)]
    pub fn new(rank: Rank, value: T) -> Self {
        Self {
            entry: Entry::new(rank),
            raw: primitives::Mutex::new(value),
        }
    }

    /// An unlocked mutex of that rank, with the default value of its type.
    pub fn with_default(rank: Rank) -> Self
    where
        T: Default,
    {
        Self::new(rank, T::default())
    }

    /// Block until this thread holds the lock.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        // Before the wait: an inversion is reported even where it would end in a deadlock.
        let held = self.entry.enter();
        MutexGuard {
            raw: raw::lock(&self.raw),
            held,
        }
    }

    /// Take the lock, unless another thread holds it.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let raw = raw::try_lock(&self.raw)?;
        let held = self.entry.enter();
        Some(MutexGuard { raw, held })
    }

    /// The value, without locking: nobody else can reach it.
    pub fn get_mut(&mut self) -> &mut T {
        raw::get_mut(&mut self.raw)
    }
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

/// Access to the value of a [`Mutex`]; unlocks it when dropped.
#[clippy::has_significant_drop]
#[must_use = "the lock is released when the guard is dropped"]
pub struct MutexGuard<'a, T> {
    // Released first: the thread holds the lock as long as it is recorded to.
    raw: primitives::MutexGuard<'a, T>,
    held: Held,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.raw
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.raw
    }
}

/// A lock with many readers or one writer.
pub struct RwLock<T> {
    entry: Entry,
    raw: primitives::RwLock<T>,
}

impl<T> RwLock<T> {
    /// An unlocked lock of that rank.
    pub fn new(rank: Rank, value: T) -> Self {
        Self {
            entry: Entry::new(rank),
            raw: primitives::RwLock::new(value),
        }
    }

    /// Block until this thread is a reader.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        let held = self.entry.enter();
        RwLockReadGuard {
            raw: raw::read(&self.raw),
            _held: held,
        }
    }

    /// Become the writer, unless another thread reads or writes.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        let raw = raw::try_write(&self.raw)?;
        let held = self.entry.enter();
        Some(RwLockWriteGuard { raw, _held: held })
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

/// Read access to the value of a [`RwLock`].
#[clippy::has_significant_drop]
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwLockReadGuard<'a, T> {
    raw: primitives::RwLockReadGuard<'a, T>,
    _held: Held,
}

impl<T> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.raw
    }
}

/// Write access to the value of a [`RwLock`].
#[clippy::has_significant_drop]
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwLockWriteGuard<'a, T> {
    raw: primitives::RwLockWriteGuard<'a, T>,
    _held: Held,
}

impl<T> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.raw
    }
}

impl<T> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.raw
    }
}

/// A condition variable. A thread that waits for one holds no other lock.
#[derive(Debug, Default)]
pub struct Condvar(primitives::Condvar);

impl Condvar {
    /// A condition variable without waiters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wake one waiter.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wake all waiters.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }

    /// Release the lock, wait to be woken, and take the lock again. It may wake without a reason.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let MutexGuard { raw, held } = guard;
        held.assert_alone();
        MutexGuard {
            raw: raw::wait(&self.0, raw),
            held,
        }
    }

    /// The same, for a limited time.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait_for<'a, T>(&self, guard: MutexGuard<'a, T>, limit: Duration) -> MutexGuard<'a, T> {
        let MutexGuard { raw, held } = guard;
        held.assert_alone();
        MutexGuard {
            raw: raw::wait_for(&self.0, raw, limit),
            held,
        }
    }

    /// Wait as long as the condition holds.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        while condition(&mut guard) {
            guard = self.wait(guard);
        }
        guard
    }

    /// Wait as long as the condition holds, for a limited time. The second value says whether it still holds.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait_while_for<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        limit: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> (MutexGuard<'a, T>, bool) {
        let start = Instant::now();
        while condition(&mut guard) {
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return (guard, true);
            }
            guard = self.wait_for(guard, left);
        }
        (guard, false)
    }
}
