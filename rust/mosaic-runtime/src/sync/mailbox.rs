//! Completions on their way to a foreign event loop: one wake-up a batch.
//!
//! Any thread pushes; the loop's own thread drains. The producer raises the signal only if it has not been raised
//! since the last drain. The drain clears the signal, then the flag, **then** takes the queue, so that an entry
//! pushed at any moment is either taken by this drain or raises the signal again (`MAIL-1`). The queue's lock is held
//! for a push or a swap and never while anything else runs.

use crate::sync::primitives::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, Rank};

/// What wakes the consumer.
pub trait Wake {
    /// Make the consumer run its drain, now or later.
    fn raise(&self);
    /// Forget earlier wake-ups.
    fn clear(&self);
}

impl Wake for crate::sync::signal::Signal {
    fn raise(&self) {
        Self::raise(self);
    }
    fn clear(&self) {
        Self::clear(self);
    }
}

/// A queue of completions with one consumer.
#[derive(Debug)]
pub struct Mailbox<T, W = crate::sync::signal::Signal> {
    queue: Mutex<Vec<T>>,
    signalled: AtomicBool,
    wakes: AtomicU64,
    wake: W,
}

impl<T, W: Wake> Mailbox<T, W> {
    /// An empty mailbox that wakes its consumer through `wake`.
    pub fn new(wake: W) -> Self {
        Self {
            queue: Mutex::new(Rank::Mailbox, Vec::new()),
            signalled: AtomicBool::new(false),
            wakes: AtomicU64::new(0),
            wake,
        }
    }

    /// Add an entry; wake the consumer unless it is about to look anyway.
    pub fn push(&self, entry: T) {
        self.queue.lock().push(entry);
        if !self.signalled.swap(true, Ordering::AcqRel) {
            self.wakes.fetch_add(1, Ordering::Relaxed);
            self.wake.raise();
        }
    }

    /// Move everything that is there to the end of `batch`.
    pub fn drain(&self, batch: &mut Vec<T>) {
        self.wake.clear();
        // A swap where a store would do: with swaps alone, loom can follow who saw what (a few nanoseconds a batch).
        self.signalled.swap(false, Ordering::AcqRel);
        let mut queue = self.queue.lock();
        if batch.is_empty() {
            std::mem::swap(&mut *queue, batch);
        } else {
            batch.append(&mut queue);
        }
    }

    /// On the consumer's thread, which drains again before it sleeps: move what is there to the end of `batch`,
    /// and no push needs to wake it meanwhile.
    pub fn take(&self, batch: &mut Vec<T>) {
        self.signalled.store(true, Ordering::Release);
        let mut queue = self.queue.lock();
        batch.append(&mut queue);
    }

    /// Have the consumer drain again although nothing was pushed: it left part of a batch for later.
    pub fn rouse(&self) {
        if !self.signalled.swap(true, Ordering::AcqRel) {
            self.wakes.fetch_add(1, Ordering::Relaxed);
            self.wake.raise();
        }
    }

    /// What wakes the consumer.
    pub fn wake(&self) -> &W {
        &self.wake
    }

    /// How often the consumer was woken.
    pub fn wakes(&self) -> u64 {
        self.wakes.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(mosaic_loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Counter(AtomicUsize);
    impl Wake for Counter {
        fn raise(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn clear(&self) {}
    }

    #[test]
    fn a_batch_costs_one_wake_up() {
        let mailbox = Mailbox::new(Counter::default());
        for entry in 0..1000 {
            mailbox.push(entry);
        }
        assert_eq!(mailbox.wake().0.load(Ordering::Relaxed), 1);
        let mut batch = Vec::new();
        mailbox.drain(&mut batch);
        assert_eq!(batch, (0..1000).collect::<Vec<_>>());
        mailbox.push(1);
        assert_eq!(mailbox.wakes(), 2);
    }

    /// `MAIL-1`, with the real signal: a consumer that sleeps whenever the signal is down misses nothing.
    #[test]
    fn no_wake_up_is_lost_between_empty_and_disarm() {
        let mailbox = Arc::new(Mailbox::new(
            crate::sync::signal::Signal::new().expect("an eventfd"),
        ));
        let producers: Vec<_> = (0..4)
            .map(|_| {
                let mailbox = Arc::clone(&mailbox);
                std::thread::spawn(move || (0..20_000).for_each(|entry| mailbox.push(entry)))
            })
            .collect();
        let mut batch: Vec<i32> = Vec::new();
        while batch.len() < 80_000 {
            assert!(
                mailbox
                    .wake()
                    .wait(Some(std::time::Duration::from_secs(20)))
                    .expect("a poll"),
                "a wake-up was lost"
            );
            mailbox.drain(&mut batch);
        }
        for producer in producers {
            producer.join().expect("a producer");
        }
        assert_eq!(batch.len(), 80_000);
    }
}

#[cfg(all(test, mosaic_loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// A signal as the kernel keeps it: up or down, the same for everyone at any moment.
    struct Flag(Mutex<bool>);
    impl Default for Flag {
        fn default() -> Self {
            Self(Mutex::new(Rank::Signal, false))
        }
    }
    impl Flag {
        fn is_up(&self) -> bool {
            *self.0.lock()
        }
    }
    impl Wake for Flag {
        fn raise(&self) {
            *self.0.lock() = true;
        }
        fn clear(&self) {
            *self.0.lock() = false;
        }
    }

    /// Drain until the signal is down; what is left then would never be looked at.
    fn consume(mailbox: &Mailbox<u8, Flag>, taken: &mut Vec<u8>) {
        while mailbox.wake.is_up() {
            let mut batch = Vec::new();
            mailbox.drain(&mut batch);
            taken.append(&mut batch);
        }
    }

    /// `MAIL-1`, in every order of events: a consumer that sleeps whenever the signal is down misses nothing,
    /// and what one producer pushed comes in its order.
    #[test]
    fn loom_no_wake_up_is_lost_between_empty_and_disarm() {
        loom::model(|| {
            let mailbox = Arc::new(Mailbox::new(Flag::default()));
            let producers = [vec![1, 2], vec![3]].map(|entries: Vec<u8>| {
                let mailbox = Arc::clone(&mailbox);
                thread::spawn(move || entries.into_iter().for_each(|entry| mailbox.push(entry)))
            });
            let mut taken = Vec::new();
            consume(&mailbox, &mut taken);
            for producer in producers {
                producer.join().unwrap();
            }
            consume(&mailbox, &mut taken);
            assert!(mailbox.wakes() <= 3);
            let first = taken.iter().position(|&entry| entry == 1);
            assert!(first < taken.iter().position(|&entry| entry == 2));
            taken.sort_unstable();
            assert_eq!(
                taken,
                [1, 2, 3],
                "an entry waits and nobody was woken for it"
            );
        });
    }

    /// `MAIL-1`: what comes while the consumer takes without a drain is there for the drain that ends that.
    #[test]
    fn loom_a_consumer_that_takes_in_between_misses_nothing() {
        loom::model(|| {
            let mailbox = Arc::new(Mailbox::new(Flag::default()));
            let producer = thread::spawn({
                let mailbox = Arc::clone(&mailbox);
                move || mailbox.push(1)
            });
            let mut taken = Vec::new();
            mailbox.take(&mut taken);
            let mut batch = Vec::new();
            mailbox.drain(&mut batch);
            taken.append(&mut batch);
            producer.join().unwrap();
            consume(&mailbox, &mut taken);
            assert_eq!(taken, [1], "an entry waits and nobody was woken for it");
        });
    }

    /// `MAIL-1`: the consumer that left work for later is woken again, whichever producer raises the signal.
    #[test]
    fn loom_a_roused_consumer_comes_back() {
        loom::model(|| {
            let mailbox = Arc::new(Mailbox::new(Flag::default()));
            let producer = thread::spawn({
                let mailbox = Arc::clone(&mailbox);
                move || mailbox.push(1)
            });
            let mut taken = Vec::new();
            mailbox.drain(&mut taken);
            mailbox.rouse();
            producer.join().unwrap();
            assert!(mailbox.wake.is_up(), "nobody comes back");
            consume(&mailbox, &mut taken);
            assert_eq!(taken, [1]);
        });
    }
}
