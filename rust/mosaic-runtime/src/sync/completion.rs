//! Completions: the end and the value of a task, as its holders in this process see them, and their waiters.
//!
//! The thread that carries out the state machine's actions completes a task; any thread reads it.
//!
//! - `COMPLETION-1`: the lock of a completion is held for a few instructions; waiters are woken and values are dropped
//!   after its release.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use mosaic_core::call::{FailureKind, Outcome};
use mosaic_core::id::{RuntimeId, TaskId, TesseraId};

use mosaic_core::payload::{Payload, ThinVec};

use crate::sync::mailbox::Mailbox;
use crate::sync::signal::Signal;
use crate::sync::{Mutex, Rank};

/// A waiter for a completion.
#[derive(Debug)]
pub enum Waiter {
    /// An event loop: the token goes into its mailbox.
    Loop(Arc<Mailbox<u64>>, u64),
    /// A blocked thread.
    Thread(Arc<Signal>),
    /// One of many tasks that are awaited together.
    Group(Arc<Group>),
    /// The program's notice thread: the token becomes a notice.
    Notice(Arc<dyn Notify>, u64),
}

/// Takes the tokens of [`Waiter::Notice`].
pub trait Notify: Send + Sync + std::fmt::Debug {
    /// The task with this token has ended.
    fn notify(&self, token: u64);
}

impl Waiter {
    /// `failed` matters to groups only.
    fn wake(self, failed: bool) {
        match self {
            Self::Loop(mailbox, token) => mailbox.push(token),
            Self::Thread(signal) => signal.raise(),
            Self::Group(group) => group.one_ended(failed),
            Self::Notice(notify, token) => notify.notify(token),
        }
    }
}

/// Many tasks waited for at the cost of one: fires when all have ended, or when one has failed.
#[derive(Debug)]
pub struct Group {
    remaining: AtomicUsize,
    waiter: Mutex<Option<Waiter>>,
}

impl Group {
    /// A group of `size` tasks. It must be given to exactly that many [`Completion::subscribe`] calls.
    pub fn new(size: usize, waiter: Waiter) -> Arc<Self> {
        Arc::new(Self {
            remaining: AtomicUsize::new(size),
            waiter: Mutex::new(Rank::GroupWaiter, Some(waiter)),
        })
    }

    /// Whether all have ended.
    pub fn is_over(&self) -> bool {
        self.remaining.load(Ordering::Acquire) == 0
    }

    fn one_ended(&self, failed: bool) {
        if self.remaining.fetch_sub(1, Ordering::AcqRel) == 1 || failed {
            let waiter = self.waiter.lock().take();
            if let Some(waiter) = waiter {
                waiter.wake(failed);
            }
        }
    }
}

/// What is awaited of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// That it has ended.
    End,
    /// That its value is here, or that there will be none.
    Value,
}

const PENDING: u8 = 0;
const ENDED: u8 = 1;
const VALUE_ASKED: u8 = 2;
const COMPLETE: u8 = 3;

/// What is called: the same for all calls of a method.
#[derive(Debug)]
pub struct Callee {
    /// The tessera.
    pub tessera: TesseraId,
    /// Its class, for display.
    pub class: Arc<str>,
    /// The method.
    pub method: Arc<str>,
    /// Whether it runs on a worker; a completion of the engine itself does not.
    pub runs: bool,
}

impl Callee {
    /// A method of a tessera.
    pub fn new(tessera: TesseraId, class: Arc<str>, method: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            tessera,
            class,
            method,
            runs: true,
        })
    }

    /// A completion of the engine itself, without a call.
    pub(crate) fn internal(what: &str, engine: RuntimeId) -> Arc<Self> {
        Arc::new(Self {
            tessera: TesseraId::functions(engine),
            class: "".into(),
            method: what.into(),
            runs: false,
        })
    }
}

/// Values from this encoded length on are let go of at once.
pub(crate) const LARGE: u64 = 16 << 10;

/// One task, as its holders in this process see it.
#[derive(Debug)]
pub struct Completion {
    /// The task.
    pub id: TaskId,
    /// What was called.
    pub callee: Arc<Callee>,
    /// Made for a task that was passed to this process, rather than by the call itself.
    pub borrowed: bool,
    abandoned: AtomicBool,
    reported: AtomicBool,
    observed: AtomicBool,
    /// Its value is known to be large before it has ended.
    large: AtomicBool,
    /// Its value stays, and is decoded anew for each reader.
    keeps_value: AtomicBool,
    /// It has a time limit.
    limited: AtomicBool,
    stage: AtomicU8,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    outcome: Option<Arc<Outcome>>,
    /// A reader has taken the value, which had this format.
    taken: Option<u8>,
    /// And this encoded length.
    taken_length: u64,
    waiters: ThinVec<(Stage, Waiter)>,
}

impl Completion {
    /// A task that has not ended.
    pub fn new(id: TaskId, callee: Arc<Callee>) -> Arc<Self> {
        Arc::new(Self::make(id, callee, false))
    }

    /// A task that was passed to this process.
    pub fn borrowed(id: TaskId, callee: Arc<Callee>) -> Arc<Self> {
        Arc::new(Self::make(id, callee, true))
    }

    fn make(id: TaskId, callee: Arc<Callee>, borrowed: bool) -> Self {
        Self {
            id,
            callee,
            borrowed,
            abandoned: AtomicBool::new(false),
            reported: AtomicBool::new(false),
            observed: AtomicBool::new(false),
            large: AtomicBool::new(false),
            keeps_value: AtomicBool::new(false),
            limited: AtomicBool::new(false),
            stage: AtomicU8::new(PENDING),
            inner: Mutex::with_default(Rank::Completion),
        }
    }

    /// Whether the task has ended.
    pub fn ended(&self) -> bool {
        self.stage.load(Ordering::Acquire) != PENDING
    }

    /// Whether what `stage` asks for is here.
    pub fn reached(&self, stage: Stage) -> bool {
        match stage {
            Stage::End => self.ended(),
            Stage::Value => self.stage.load(Ordering::Acquire) == COMPLETE,
        }
    }

    /// Look at the outcome, if there is one yet. Do not call back into the crate from `look`.
    pub fn look<R>(&self, look: impl FnOnce(Option<&Outcome>) -> R) -> R {
        look(self.inner.lock().outcome.as_deref())
    }

    /// How the task failed, if it did.
    pub fn failure_kind(&self) -> Option<FailureKind> {
        self.look(|outcome| match outcome {
            Some(Outcome::Failed(failure)) => Some(failure.kind),
            _ => None,
        })
    }

    /// The task has ended, or its value has come. Returns whether this was the end.
    pub fn complete(&self, outcome: Arc<Outcome>) -> bool {
        self.complete_and(outcome, || {})
    }

    /// Complete it; at the end of the task, `ended` is called before any waiter is woken.
    pub fn complete_and(&self, outcome: Arc<Outcome>, ended: impl FnOnce()) -> bool {
        let failed = matches!(*outcome, Outcome::Failed(_));
        let complete = !matches!(*outcome, Outcome::Stored { .. });
        let mut inner = self.inner.lock();
        let before = self.stage.load(Ordering::Acquire);
        if before == COMPLETE || (before != PENDING && !complete) {
            return false;
        }
        let earlier = inner.outcome.replace(outcome);
        self.stage
            .store(if complete { COMPLETE } else { ENDED }, Ordering::Release);
        let mut waiters = std::mem::take(&mut inner.waiters);
        if !complete {
            inner.waiters = waiters
                .extract_if(.., |(stage, _)| *stage == Stage::Value)
                .collect();
        }
        drop(inner);
        drop(earlier);
        if before == PENDING {
            ended();
        }
        for (_, waiter) in waiters {
            waiter.wake(failed);
        }
        before == PENDING
    }

    /// Wake `waiter` when the stage is reached. Gives it back if that is so already.
    pub fn subscribe(&self, stage: Stage, waiter: Waiter) -> Result<(), Waiter> {
        let mut inner = self.inner.lock();
        if self.reached(stage) {
            return Err(waiter);
        }
        if inner.waiters.is_empty() {
            // ThinVec have more than one: 128 bytes less for each of thousands.
            inner.waiters.reserve_exact(1);
        }
        inner.waiters.push((stage, waiter));
        Ok(())
    }

    /// Wake a group waiter at once if the stage is reached already, else when it is.
    pub fn subscribe_group(&self, stage: Stage, group: &Arc<Group>) {
        if let Err(waiter) = self.subscribe(stage, Waiter::Group(Arc::clone(group))) {
            waiter.wake(self.failure_kind().is_some());
        }
    }

    /// Forget the waiters of a thread that gave up.
    pub fn unsubscribe_thread(&self, signal: &Arc<Signal>) {
        self.inner.lock().waiters.retain(
            |(_, waiter)| !matches!(waiter, Waiter::Thread(own) if Arc::ptr_eq(own, signal)),
        );
    }

    /// Forget the waiter of an event loop that gave up.
    pub fn unsubscribe_loop(&self, mailbox: &Arc<Mailbox<u64>>, token: u64) {
        self.forget_waiters(|waiter| {
            matches!(waiter, Waiter::Loop(own, number) if *number == token && Arc::ptr_eq(own, mailbox))
        });
    }

    /// Forget a waiter that the notice thread would hear of.
    pub fn unsubscribe_notice(&self, token: u64) {
        self.forget_waiters(|waiter| matches!(waiter, Waiter::Notice(_, own) if *own == token));
    }

    /// Forget this task's part in a group whose waiter gave up, or has heard enough.
    pub fn unsubscribe_group(&self, group: &Arc<Group>) {
        self.forget_waiters(
            |waiter| matches!(waiter, Waiter::Group(own) if Arc::ptr_eq(own, group)),
        );
    }

    fn forget_waiters(&self, is_meant: impl Fn(&Waiter) -> bool) {
        let mut inner = self.inner.lock();
        let forgotten: Vec<_> = inner
            .waiters
            .extract_if(.., |(_, waiter)| is_meant(waiter))
            .collect();
        if inner.waiters.is_empty() {
            inner.waiters = ThinVec::new();
        }
        drop(inner);
        drop(forgotten);
    }

    /// How many wait for it, for people who look for a leak.
    pub fn waiters(&self) -> usize {
        self.inner.lock().waiters.len()
    }

    /// The value. It stays here until [`Self::forget_value`].
    pub fn value(&self) -> Option<Payload> {
        let inner = self.inner.lock();
        match inner.outcome.as_deref()? {
            Outcome::Value(value) if inner.taken.is_none() => Some(value.clone()),
            _ => None,
        }
    }

    /// The value was decoded and will not be again: its memory goes, unless the rules need it too.
    pub fn forget_value(&self) {
        if self.keeps_value.load(Ordering::Acquire) {
            return;
        }
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        let Some(outcome) = inner.outcome.as_mut() else {
            return;
        };
        let Outcome::Value(value) = &**outcome else {
            return;
        };
        inner.taken = Some(value.format);
        inner.taken_length = value.size() as u64;
        let forgotten = match Arc::get_mut(outcome) {
            Some(Outcome::Value(value)) => Some(std::mem::take(value)),
            _ => None,
        };
        // A buffer that goes with its last value takes the store's locks.
        drop(guard);
        drop(forgotten);
    }

    /// Have the value stay here as long as this does: it is decoded anew for each who asks.
    pub fn keep_value(&self) {
        self.keeps_value.store(true, Ordering::Release);
    }

    /// It has a time limit, which its end cancels.
    pub(crate) fn limit(&self) {
        self.limited.store(true, Ordering::Release);
    }

    /// Whether it has a time limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.limited.load(Ordering::Acquire)
    }

    /// Encoded length of the value in bytes, once known.
    pub fn size(&self) -> Option<u64> {
        let inner = self.inner.lock();
        let taken = inner.taken.map(|_| inner.taken_length);
        taken.or_else(|| match inner.outcome.as_deref()? {
            Outcome::Value(payload) => Some(payload.size() as u64),
            Outcome::Stored { size, .. } => Some(*size),
            Outcome::Failed(_) => None,
        })
    }

    /// Whether its end should be released at once when no handle here needs it: its value is large, or more
    /// than `plain` bytes.
    pub fn is_precious(&self, plain: u8) -> bool {
        if self.large.load(Ordering::Acquire) {
            return true;
        }
        let inner = self.inner.lock();
        // The program may have taken the value; the rules still keep what it lies in.
        if let Some(format) = inner.taken {
            return format != plain || inner.taken_length >= LARGE;
        }
        match inner.outcome.as_deref() {
            Some(Outcome::Value(payload)) => payload.format != plain,
            Some(Outcome::Stored { .. }) => true,
            Some(Outcome::Failed(_)) => false,
            // Of what was passed here it is not known.
            None => self.borrowed,
        }
    }

    /// Its value is large, or alive, whatever becomes of the task.
    pub(crate) fn mark_large(&self) {
        self.large.store(true, Ordering::Release);
    }

    /// Its failure is observed in another way: by a call that depends on it.
    pub fn mark_observed(&self) {
        self.observed.store(true, Ordering::Release);
    }

    /// The program dropped its handle without a look at how it ended. Returns whether its failure is to be logged now.
    pub fn abandon(&self) -> bool {
        self.abandoned.store(true, Ordering::Release);
        self.is_unobserved_failure()
    }

    /// Whether it failed, no handle can observe that any more, and it was not reported: true only once.
    pub fn is_unobserved_failure(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
            && !self.observed.load(Ordering::Acquire)
            && self
                .failure_kind()
                .is_some_and(|kind| kind != FailureKind::Cancelled)
            && !self.reported.swap(true, Ordering::AcqRel)
    }

    /// Whether the value has to be asked for; true only once, for the first who does.
    pub fn must_ask_for_value(&self) -> bool {
        self.stage
            .compare_exchange(ENDED, VALUE_ASKED, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

#[cfg(all(test, not(mosaic_loom)))]
mod tests {
    use std::any::Any;
    use std::sync::OnceLock;

    use mosaic_core::id::{BufferId, NodeId, ObjectId};
    use mosaic_core::payload::{Reference, Segment, Stored};

    use super::*;
    use crate::sync::order::assert_none_held;

    fn completion() -> Arc<Completion> {
        let owner = RuntimeId::HEAD;
        let id = TaskId { owner, sequence: 1 };
        Completion::new(id, Callee::internal("test", owner))
    }

    /// A waiter that looks at the completion which wakes it.
    #[derive(Debug, Default)]
    struct Looks {
        completion: OnceLock<Arc<Completion>>,
        woken: AtomicUsize,
    }

    impl Notify for Looks {
        fn notify(&self, _: u64) {
            assert_none_held("a waiter is woken");
            let completion = self.completion.get().expect("a completion");
            assert_eq!(completion.waiters(), 0);
            self.woken.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A buffer whose drop takes locks, as those of a store do.
    #[derive(Debug)]
    struct Large(Arc<AtomicUsize>);

    impl Stored for Large {
        fn reference(&self) -> Reference {
            let owner = RuntimeId::HEAD;
            Reference {
                object: ObjectId::Buffer(BufferId { owner, sequence: 1 }),
                authority: owner,
            }
        }
        fn node(&self) -> NodeId {
            NodeId::FIRST
        }
        fn length(&self) -> u64 {
            1 << 20
        }
        fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
            self
        }
    }

    impl Drop for Large {
        fn drop(&mut self) {
            assert_none_held("a buffer is dropped");
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn completion_1_waiters_are_woken_after_the_lock_is_released() {
        let (completion, looks) = (completion(), Arc::new(Looks::default()));
        looks
            .completion
            .set(Arc::clone(&completion))
            .expect("the first");
        let notify: Arc<dyn Notify> = Arc::<Looks>::clone(&looks);
        let direct = Waiter::Notice(Arc::clone(&notify), 1);
        completion.subscribe(Stage::End, direct).expect("pending");
        let group = Group::new(1, Waiter::Notice(notify, 2));
        completion.subscribe_group(Stage::Value, &group);
        assert_eq!(completion.waiters(), 2);
        completion.complete(Outcome::Value(Payload::default()).into());
        assert_eq!(looks.woken.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn completion_1_a_value_is_dropped_after_the_lock_is_released() {
        let (completion, dropped) = (completion(), Arc::default());
        let value = || Payload {
            segments: [Segment::Stored(Arc::new(Large(Arc::clone(&dropped))))]
                .into_iter()
                .collect(),
            ..Payload::default()
        };
        completion.complete(Outcome::Value(value()).into());
        completion.forget_value();
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
        assert!(completion.value().is_none());
    }
}
