//! The lock order as the compiler knows it, and its check in debug builds.
//!
//! The table in the header of [`crate::sync`] is the lock order; [`Rank`] has its rows in the same order. In a debug
//! build each thread records the ranks that it holds, as bits of a number, so that guards may be dropped in any order.
//!
//! - `LOCK-1`: a thread takes a lock only while every lock that it holds has a lower rank. A debug build panics
//!   otherwise, before the thread waits.
//! - `LOCK-2`: a thread that waits for a condition variable, enters the program's code, or lets go of the GIL to take
//!   it again, holds no other lock. A debug build panics otherwise.
//!
//! A release build and a loom model record nothing: a lock is not larger and not slower by its rank.

pub(super) use check::{Entry, Held};

macro_rules! ranks {
    ($($name:ident,)*) => {
        /// The place of a lock in the lock order. The header of [`crate::sync`] says which lock has which.
        #[expect(missing_docs, reason = "the table in the header of the module says what each one guards")]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum Rank {
            $($name,)*
        }

        impl Rank {
            /// All, in their order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

ranks! {
    Test,
    Program,
    EngineThread,
    MonitorThread,
    Reader,
    Driver,
    RecorderFile,
    RecorderThread,
    RecorderBuffer,
    RecorderCommands,
    Host,
    LivingObjects,
    ConcurrentTesserae,
    LivingResults,
    WaitingCoroutines,
    SuspendedCoroutines,
    CoroutineContexts,
    EventLoop,
    EventLoops,
    LoopFutures,
    DecodedValue,
    DecodeWaits,
    NamePickles,
    CallOrigins,
    InterruptPipe,
    LauncherDirectory,
    Store,
    StoreImports,
    StoreExports,
    ViewExtent,
    BufferPlace,
    StoreTable,
    PoolSlabs,
    SlabSpace,
    SpillFile,
    LivingViews,
    CachedMappings,
    PageMap,
    Reclaimer,
    FreedCallback,
    Inbox,
    EngineMessages,
    Names,
    MemberProcesses,
    Watchers,
    Timers,
    IoRuntime,
    EngineDescriptors,
    ReadHalves,
    ReadError,
    Connections,
    AttachedAgent,
    AgentProcess,
    NodeWorkers,
    NodeFailure,
    AgentVerdict,
    AgentDrains,
    Children,
    UnstartedChildren,
    KillCounts,
    LastWords,
    OutputPipes,
    AgentOrders,
    AdmittedHead,
    AgentDescriptors,
    OutputDebt,
    DirectoryLock,
    DescriptorReserve,
    Lane,
    GroupWaiter,
    Completion,
    Notices,
    Mailbox,
    ReducePortions,
    Signal,
}

/// Panic in a debug build if this thread holds a lock; `what` it is about to do, in which none may be held (`LOCK-2`).
#[inline]
#[cfg_attr(debug_assertions, track_caller)]
pub fn assert_none_held(what: &str) {
    check::assert_none_held(what);
}

/// How many locks this thread has taken so far; `None` in a release build. Tests count with it the locks of a call.
pub fn locks_taken() -> Option<u64> {
    check::locks_taken()
}

#[cfg(all(debug_assertions, not(mosaic_loom)))]
mod check {
    use std::cell::Cell;
    use std::marker::PhantomData;

    use super::Rank;

    // One bit a rank.
    const _: () = assert!(Rank::ALL.len() <= 128);

    thread_local! {
        /// The ranks of the locks that this thread holds, or waits for.
        static HELD: Cell<u128> = const { Cell::new(0) };
        static TAKEN: Cell<u64> = const { Cell::new(0) };
    }

    fn named(held: u128) -> Vec<Rank> {
        let is_held = |rank: &&Rank| held & bit(**rank) != 0;
        Rank::ALL.iter().filter(is_held).copied().collect()
    }

    fn bit(rank: Rank) -> u128 {
        1 << rank as u8
    }

    /// What a lock knows of its place in the order.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Entry(Rank);

    impl Entry {
        pub(crate) const fn new(rank: Rank) -> Self {
            Self(rank)
        }

        /// Record that this thread takes the lock (`LOCK-1`).
        #[track_caller]
        pub(crate) fn enter(self) -> Held {
            let held = HELD.get();
            assert!(
                held < bit(self.0),
                "lock order: {:?} is taken while this thread holds {:?}; the header of sync/mod.rs has the order",
                self.0,
                named(held),
            );
            HELD.set(held | bit(self.0));
            TAKEN.set(TAKEN.get() + 1);
            Held(self.0, PhantomData)
        }
    }

    /// The record of one guard; ends with it, on the thread that took the lock.
    #[derive(Debug)]
    pub(crate) struct Held(Rank, PhantomData<*const ()>);

    impl Held {
        /// This thread is about to wait for a condition variable with this lock (`LOCK-2`).
        #[track_caller]
        pub(crate) fn assert_alone(&self) {
            let others = HELD.get() & !bit(self.0);
            assert!(
                others == 0,
                "lock order: a wait with {:?} while this thread holds {:?}",
                self.0,
                named(others),
            );
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            HELD.set(HELD.get() & !bit(self.0));
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "a release build counts nothing")]
    pub(super) fn locks_taken() -> Option<u64> {
        Some(TAKEN.get())
    }

    #[track_caller]
    pub(super) fn assert_none_held(what: &str) {
        let held = HELD.get();
        assert!(
            held == 0,
            "lock order: {what} while this thread holds {:?}",
            named(held)
        );
    }
}

#[cfg(not(all(debug_assertions, not(mosaic_loom))))]
mod check {
    use super::Rank;

    /// Nothing.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Entry;

    impl Entry {
        pub(crate) const fn new(_: Rank) -> Self {
            Self
        }

        #[inline]
        pub(crate) fn enter(self) -> Held {
            Held
        }
    }

    /// Nothing.
    #[derive(Debug)]
    pub(crate) struct Held;

    impl Held {
        #[inline]
        pub(crate) fn assert_alone(&self) {}
    }

    pub(super) fn locks_taken() -> Option<u64> {
        None
    }

    #[inline]
    pub(super) fn assert_none_held(_: &str) {}
}

#[cfg(all(test, debug_assertions, not(mosaic_loom)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;
    use std::time::Duration;

    use super::*;
    use crate::sync::{Condvar, Mutex, RwLock};

    /// The message of the panic that `act` ends with.
    fn panic_of(act: impl FnOnce()) -> String {
        let panic = catch_unwind(AssertUnwindSafe(act)).expect_err("a panic");
        *panic.downcast::<String>().expect("a message")
    }

    fn pair() -> (Mutex<u8>, Mutex<u8>) {
        (Mutex::new(Rank::Driver, 0), Mutex::new(Rank::Inbox, 0))
    }

    #[test]
    fn lock_1_an_inversion_panics_and_names_both_locks() {
        let (driver, inbox) = pair();
        let guard = inbox.lock();
        let message = panic_of(|| drop(driver.lock()));
        assert!(message.contains("Driver is taken"), "{message}");
        assert!(message.contains("holds [Inbox]"), "{message}");
        drop(guard);
        // The failed attempt has left no record.
        let outer = driver.lock();
        drop(inbox.lock());
        drop(outer);
        assert_none_held("a test ends");
    }

    #[test]
    fn lock_1_locks_of_one_rank_are_not_nested() {
        let (first, second) = (
            Mutex::new(Rank::BufferPlace, 0),
            Mutex::new(Rank::BufferPlace, 0),
        );
        let _guard = first.lock();
        panic_of(|| drop(second.lock()));
        // A second reader of one thread waits for a writer that waits for the first.
        let shared = RwLock::new(Rank::Signal, 0);
        let _reader = shared.read();
        panic_of(|| drop(shared.read()));
    }

    #[test]
    fn lock_1_try_lock_is_checked_only_where_it_succeeds() {
        let (driver, inbox) = pair();
        let _guard = inbox.lock();
        panic_of(|| drop(driver.try_lock()));
        let (taken, refused) = (Barrier::new(2), Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _driver = driver.lock();
                taken.wait();
                refused.wait();
            });
            taken.wait();
            assert!(driver.try_lock().is_none());
            refused.wait();
        });
    }

    #[test]
    fn lock_1_guards_may_be_dropped_in_any_order() {
        let (driver, inbox) = pair();
        let (outer, inner) = (driver.lock(), inbox.lock());
        drop(outer);
        panic_of(|| drop(driver.lock()));
        drop(inner);
        drop(driver.lock());
    }

    #[test]
    fn lock_2_a_thread_that_waits_holds_only_the_lock_of_its_condition() {
        let (driver, inbox) = pair();
        let changed = Condvar::new();
        let moment = Duration::from_millis(1);
        let (guard, timed_out) = changed.wait_while_for(inbox.lock(), moment, |_| true);
        assert!(timed_out);
        panic_of(|| drop(driver.lock()));
        drop(guard);
        let outer = driver.lock();
        let message = panic_of(|| drop(changed.wait_for(inbox.lock(), moment)));
        assert!(message.contains("a wait with Inbox"), "{message}");
        let message = panic_of(|| assert_none_held("the program's code runs"));
        assert!(message.contains("holds [Driver]"), "{message}");
        drop(outer);
        assert_none_held("a test ends");
    }

    /// The table of the header, which people read, and the ranks, which the check compares, are one order.
    #[test]
    fn the_table_of_the_lock_order_names_every_rank_in_its_place() {
        let rows: Vec<_> = include_str!("mod.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//! | `"))
            .filter_map(|row| row.split('`').next())
            .collect();
        let ranks: Vec<_> = Rank::ALL.iter().map(|rank| format!("{rank:?}")).collect();
        assert_eq!(rows, ranks);
    }
}
