//! The engine of one runtime: feeds the rules, carries out what they decide.
//!
//! One I/O thread runs a single-threaded tokio runtime; it never takes a lock of the program's (for Python:
//! the GIL) and never blocks. The rules and the connections' sending sides live behind one lock. Whoever
//! has an event puts it into the inbox and sees to it that somebody processes it: the caller itself
//! when nothing is in flight (`post_now`: one thread less on the way), the I/O thread otherwise, woken
//! once a batch.
//!
//! Lock order: state, then (inbox | cell | mailbox | notices), each of these innermost. Nothing of the
//! program's runs under any of them (`ENG-1`).

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

use mosaic_core::call::{
    Call, CallKind, Construction, Dependency, Failure, FailureKind, Outcome, ReadyCall,
};
use mosaic_core::event::{Action, Event, Member, Submission, Want};
use mosaic_core::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use mosaic_core::machine::{Config as Rules, Machine};
use mosaic_core::payload::{Payload, Reference};
use mosaic_core::placement::Strategy;
use mosaic_core::wire::Message;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use crate::cell::{Stage, TaskCell, Waiter};
use crate::directory::Directory;
use crate::executor::{Executor, Revoked};
use crate::net;
use crate::node::Node;
use crate::notice::{Notice, Notices};
use crate::peer::Peer;
use crate::roles::WorkerSeat;
use crate::signal::Signal;
use crate::threads;

/// Signals that are kept for the next thread that blocks.
const IDLE_SIGNALS: usize = 4;
/// Events that may wait for the next batch before the I/O thread is woken for them.
const LAZY_EVENTS: usize = 256;

/// Why the engine refused something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// It has stopped.
    #[error("the runtime has stopped")]
    Stopped,
    /// It belongs to the process that this one was forked from.
    #[error(
        "this process was forked from one with a runtime, which does not go along: start one of its own here"
    )]
    Forked,
    /// Too many tasks have not ended.
    #[error("{0} tasks have not ended yet: await some of them, or raise `max_pending`")]
    Backpressure(usize),
    /// The time passed.
    #[error("timed out")]
    TimedOut,
    /// A Unix signal came in; try again after its handlers ran.
    #[error("interrupted by a signal")]
    Interrupted,
    /// Workers cannot be started.
    #[error("{0}")]
    NoWorkers(String),
    /// The system refused something.
    #[error("{0}")]
    System(String),
}

impl From<std::io::Error> for EngineError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::Interrupted {
            Self::Interrupted
        } else {
            Self::System(error.to_string())
        }
    }
}

/// A submission that comes back, and why.
pub type Refused = (Box<Submission<Arc<TaskCell>>>, EngineError);

/// What an engine is started with.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Most tasks of this runtime that may be unended at a time.
    pub max_pending: usize,
    /// Whether the program brings its own placement strategy (head only).
    pub foreign_strategy: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            max_pending: 4_000_000,
            foreign_strategy: false,
        }
    }
}

/// One runtime's engine. Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("uid", &self.shared.uid)
            .finish_non_exhaustive()
    }
}

pub(crate) struct Shared {
    pub(crate) me: RuntimeId,
    pub(crate) uid: String,
    pub(crate) directory: Directory,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) notices: Arc<Notices>,
    pub(crate) node: Option<Node>,
    max_pending: usize,
    state: Mutex<State>,
    inbox: Mutex<Vec<Event<Arc<TaskCell>>>>,
    /// Lines for the head's log.
    notes: Mutex<Vec<Message>>,
    signalled: AtomicBool,
    inbox_filled: Notify,
    pending: AtomicUsize,
    sequence: AtomicU64,
    stopped: AtomicBool,
    /// Threads that wait for workers to join, for room, or for the end.
    watchers: Mutex<Vec<Arc<Signal>>>,
    idle_signals: Mutex<Vec<Arc<Signal>>>,
    timers: Mutex<Timers>,
    timers_changed: Notify,
    /// The I/O thread's runtime, as long as it runs.
    io: Mutex<Option<tokio::runtime::Handle>>,
    myself: Weak<Shared>,
    io_thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    /// For a worker process: the process of the head, with which it ends.
    pub(crate) head_process: Option<u32>,
    pub(crate) ended: Notify,
}

#[derive(Default)]
struct Timers {
    heap: std::collections::BinaryHeap<std::cmp::Reverse<(Instant, TaskId)>>,
}

pub(crate) struct State {
    machine: Machine<Arc<TaskCell>>,
    actions: Vec<Action<Arc<TaskCell>>>,
    ready: Vec<ReadyCall>,
    peers: FxHashMap<RuntimeId, Peer>,
    dirty: Vec<RuntimeId>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// Start the I/O thread and listen.
    pub(crate) fn start(
        me: RuntimeId,
        uid: String,
        directory: Directory,
        config: &EngineConfig,
        executor: Arc<dyn Executor>,
        node: Option<Node>,
    ) -> Result<Self, EngineError> {
        Self::start_with(me, uid, directory, config, executor, node, None)
    }

    /// The same for a worker.
    pub(crate) fn start_worker(
        seat: WorkerSeat,
        directory: Directory,
        config: &EngineConfig,
        executor: Arc<dyn Executor>,
    ) -> Result<Self, EngineError> {
        Self::start_with(
            seat.runtime,
            seat.uid,
            directory,
            config,
            executor,
            None,
            seat.head,
        )
    }

    fn start_with(
        me: RuntimeId,
        uid: String,
        directory: Directory,
        config: &EngineConfig,
        executor: Arc<dyn Executor>,
        node: Option<Node>,
        head_process: Option<u32>,
    ) -> Result<Self, EngineError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        // One is there from the start: a program's first wait opens no descriptor.
        let signal = Arc::new(Signal::new()?);
        let rules = Rules {
            foreign_strategy: config.foreign_strategy,
            ..Rules::new(me)
        };
        let shared = Arc::new_cyclic(|myself| Shared {
            me,
            uid,
            directory,
            executor,
            notices: Arc::default(),
            node,
            max_pending: config.max_pending,
            state: Mutex::new(State {
                machine: Machine::new(rules),
                actions: Vec::new(),
                ready: Vec::new(),
                peers: FxHashMap::default(),
                dirty: Vec::new(),
            }),
            inbox: Mutex::default(),
            notes: Mutex::default(),
            signalled: AtomicBool::new(false),
            inbox_filled: Notify::new(),
            pending: AtomicUsize::new(0),
            sequence: AtomicU64::new(1),
            stopped: AtomicBool::new(false),
            watchers: Mutex::default(),
            idle_signals: Mutex::new(vec![signal]),
            timers: Mutex::default(),
            timers_changed: Notify::new(),
            io: Mutex::new(Some(runtime.handle().clone())),
            myself: Weak::clone(myself),
            io_thread: Mutex::default(),
            head_process,
            ended: Notify::new(),
        });
        threads::notice_forks();
        let socket = std::os::unix::net::UnixListener::bind(shared.directory.socket(me))?;
        socket.set_nonblocking(true)?;
        let engine = Self { shared };
        let for_thread = engine.clone();
        let thread = threads::spawn("mosaic-io", move || for_thread.io_loop(runtime, socket))?;
        *lock(&engine.shared.io_thread) = Some(thread);
        Ok(engine)
    }

    fn io_loop(self, runtime: tokio::runtime::Runtime, socket: std::os::unix::net::UnixListener) {
        let shared = self.shared;
        runtime.block_on(async {
            tokio::spawn(net::listen(Arc::clone(&shared), socket));
            tokio::spawn(Shared::run_timers(Arc::clone(&shared)));
            if let Some(node) = &shared.node {
                node.start(&shared);
            } else {
                tokio::spawn(net::join(Arc::clone(&shared)));
            }
            let ended = shared.ended.notified();
            tokio::pin!(ended);
            loop {
                tokio::select! {
                    () = &mut ended => break,
                    () = shared.inbox_filled.notified() => shared.process_inbox(),
                }
            }
        });
        // Tasks hold the shared state: they go before it does.
        drop(runtime);
        shared.notices.close();
    }

    /// This runtime's number.
    pub fn runtime(&self) -> RuntimeId {
        self.shared.me
    }

    /// This runtime's name.
    pub fn uid(&self) -> &str {
        &self.shared.uid
    }

    /// Where its sockets are.
    pub fn directory(&self) -> PathBuf {
        self.shared.directory.path().to_path_buf()
    }

    /// Tasks of this runtime that have not ended.
    pub fn pending(&self) -> usize {
        self.shared.pending.load(Ordering::Relaxed)
    }

    /// Whether it has stopped.
    pub fn stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Acquire)
    }

    /// What to tell the program.
    pub fn notices(&self) -> &Arc<Notices> {
        &self.shared.notices
    }

    /// Who takes part, this runtime too.
    pub fn members(&self) -> Vec<Member> {
        let shared = &self.shared;
        let me = Member {
            runtime: shared.me,
            uid: shared.uid.clone(),
            pid: std::process::id(),
            worker: shared.me != RuntimeId::HEAD,
        };
        let others = lock(&shared.state)
            .machine
            .members()
            .cloned()
            .collect::<Vec<_>>();
        std::iter::once(me)
            .chain(
                others
                    .into_iter()
                    .filter(|member| member.runtime != shared.me),
            )
            .collect()
    }

    /// A number for a new task or tessera of this runtime.
    pub fn next_sequence(&self) -> u64 {
        self.shared.sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// A name for a new task.
    pub fn next_task(&self) -> TaskId {
        TaskId {
            owner: self.shared.me,
            sequence: self.next_sequence(),
        }
    }

    /// Use this strategy to place tesserae (head).
    pub fn set_strategy(&self, strategy: Box<dyn Strategy + Send>) {
        lock(&self.shared.state).machine.set_strategy(strategy);
    }

    /// Make a call whose tessera is placed when this returns (on the head, unless a strategy of the program's
    /// or the first worker is waited for).
    pub fn submit_placed(&self, submission: Submission<Arc<TaskCell>>) -> Result<(), Refused> {
        self.submit(submission, None)?;
        self.shared.process_inbox();
        Ok(())
    }

    /// Block until it is decided where a tessera of this runtime goes; `None` if nowhere.
    pub fn wait_placed(
        &self,
        tessera: TesseraId,
        deadline: Option<Instant>,
    ) -> Result<Option<RuntimeId>, EngineError> {
        self.shared.process_inbox();
        self.watch(deadline, || {
            let state = lock(&self.shared.state);
            let host = state.machine.host_of(tessera);
            (host.is_some() || !state.machine.is_unplaced(tessera) || self.stopped())
                .then_some(host)
        })
    }

    /// Make a call. The cell is resolved when it ends.
    ///
    /// # Errors
    /// [`EngineError::Backpressure`] beyond `max_pending`, [`EngineError::Stopped`] after the stop; the submission comes back.
    pub fn submit(
        &self,
        submission: Submission<Arc<TaskCell>>,
        timeout: Option<Duration>,
    ) -> Result<(), Refused> {
        let shared = &self.shared;
        let submission = Box::new(submission);
        if threads::forked() {
            return Err((submission, EngineError::Forked));
        }
        if shared.stopped.load(Ordering::Acquire) {
            return Err((submission, EngineError::Stopped));
        }
        let before = shared.pending.fetch_add(1, Ordering::AcqRel);
        if before >= shared.max_pending {
            shared.pending.fetch_sub(1, Ordering::AcqRel);
            return Err((submission, EngineError::Backpressure(before)));
        }
        if let Some(timeout) = timeout {
            shared.start_timer(submission.call.task, timeout);
        }
        let event = Event::CallSubmitted(submission);
        if before == 0 {
            shared.post_now(event);
        } else {
            shared.post(event);
        }
        Ok(())
    }

    /// The executor finished a call. `last` says that it has nothing more to do at the moment.
    pub fn finish(&self, task: TaskId, outcome: Outcome, last: bool) {
        let event = Event::CallFinished { task, outcome };
        if last {
            self.shared.post_now(event);
        } else {
            self.shared.post(event);
        }
    }

    /// Have the value of an ended task come here, unless it is on its way.
    pub fn want_value(&self, cell: &Arc<TaskCell>) {
        if cell.must_ask_for_value() {
            self.want(cell, Want::Value);
        }
    }

    /// Ask for the end or the value of a task that was passed to this runtime.
    pub fn want(&self, cell: &Arc<TaskCell>, want: Want) {
        self.shared.post_now(Event::OutcomeWanted {
            task: cell.id,
            want,
            handle: Arc::clone(cell),
        });
    }

    /// Keep a value here, as the result of a task that has ended.
    pub fn put(&self, name: Arc<str>, value: Payload) -> Arc<TaskCell> {
        let id = self.next_task();
        let cell = TaskCell::new(id, TesseraId::functions(self.shared.me), name, "".into());
        cell.resolve(Outcome::Value(value.clone()));
        self.shared.post(Event::ValuePut { task: id, value });
        cell
    }

    /// Drop a value that was put, or the result of a task of this runtime.
    pub fn discard(&self, task: TaskId) {
        self.shared.post(Event::ValueDropped(task));
    }

    /// The runtime that hosts a tessera, as far as this one knows.
    pub fn host_of(&self, tessera: TesseraId) -> Option<RuntimeId> {
        if tessera.is_functions() {
            return Some(tessera.owner);
        }
        lock(&self.shared.state).machine.host_of(tessera)
    }

    /// The runtime that runs a task, as far as this one knows.
    pub fn runner_of(&self, task: TaskId, tessera: TesseraId) -> Option<RuntimeId> {
        let state = lock(&self.shared.state);
        state
            .machine
            .runner_of(task)
            .or_else(|| state.machine.host_of(tessera))
    }

    /// The runtimes that are counted as holders of a tessera that this one hosts.
    pub fn holders_of(&self, tessera: TesseraId) -> Vec<RuntimeId> {
        self.shared.process_inbox();
        lock(&self.shared.state).machine.holders_of(tessera)
    }

    /// A cell for a task that was passed to this process.
    #[expect(
        clippy::unused_self,
        reason = "cells are asked of the engine that resolves them"
    )]
    pub fn borrowed_cell(
        &self,
        task: TaskId,
        tessera: TesseraId,
        class: &str,
        method: &str,
    ) -> Arc<TaskCell> {
        TaskCell::borrowed(task, tessera, method.into(), class.into())
    }

    /// A program's handle is gone without a look at how the task ended.
    pub fn abandon(&self, cell: &TaskCell) {
        if cell.abandon() {
            self.shared.tell_unread(cell);
        }
    }

    /// Cancel one of this runtime's own tasks.
    pub fn cancel(&self, task: TaskId) {
        self.shared.post(Event::CancelRequested(task));
    }

    /// A local handle to an object came into being.
    pub fn retain(&self, reference: Reference) {
        self.shared.post_lazily(Event::Retained(reference));
    }

    /// A local handle went. `urgent` when something large or alive may be freed by it.
    pub fn release(&self, object: ObjectId, urgent: bool) {
        if urgent {
            self.shared.post(Event::Released(object));
        } else {
            self.shared.post_lazily(Event::Released(object));
        }
    }

    /// A cell that is resolved when every task submitted so far, on the whole network, has ended.
    pub fn fence(&self) -> Result<Arc<TaskCell>, EngineError> {
        if self.stopped() {
            return Err(EngineError::Stopped);
        }
        let functions = TesseraId::functions(self.shared.me);
        let cell = TaskCell::new(self.next_task(), functions, "barrier".into(), "".into());
        self.shared.pending.fetch_add(1, Ordering::AcqRel);
        self.shared.post(Event::FenceRequested(Arc::clone(&cell)));
        Ok(cell)
    }

    /// The program's own strategy has chosen.
    pub fn chosen(&self, tessera: TesseraId, place: Result<RuntimeId, String>) {
        self.shared.post(Event::WorkerChosen { tessera, place });
    }

    /// Block until the cell reaches the stage.
    pub fn wait(
        &self,
        cell: &Arc<TaskCell>,
        stage: Stage,
        deadline: Option<Instant>,
    ) -> Result<(), EngineError> {
        if cell.reached(stage) {
            return Ok(());
        }
        if threads::forked() {
            return Err(EngineError::Forked);
        }
        let signal = self.shared.borrow_signal()?;
        if cell
            .subscribe(stage, Waiter::Thread(Arc::clone(&signal)))
            .is_err()
        {
            self.shared.return_signal(signal);
            return Ok(());
        }
        let result = self
            .shared
            .wait_until(&signal, deadline, || cell.reached(stage).then_some(()));
        cell.unsubscribe_thread(&signal);
        self.shared.return_signal(signal);
        result
    }

    /// A signal for a blocking wait of the caller's own making; to be given back with [`Engine::return_signal`].
    pub fn borrow_signal(&self) -> Result<Arc<Signal>, EngineError> {
        Ok(self.shared.borrow_signal()?)
    }

    /// Block until `done`, asked whenever the signal is raised.
    pub fn wait_for<R>(
        &self,
        signal: &Signal,
        deadline: Option<Instant>,
        done: impl FnMut() -> Option<R>,
    ) -> Result<R, EngineError> {
        self.shared.wait_until(signal, deadline, done)
    }

    /// Give back a signal.
    pub fn return_signal(&self, signal: Arc<Signal>) {
        self.shared.return_signal(signal);
    }

    /// Block until `done` gives an answer; asked again whenever membership or the number of pending tasks changes.
    pub fn watch<R>(
        &self,
        deadline: Option<Instant>,
        done: impl FnMut() -> Option<R>,
    ) -> Result<R, EngineError> {
        let signal = self.shared.borrow_signal()?;
        lock(&self.shared.watchers).push(Arc::clone(&signal));
        let result = self.shared.wait_until(&signal, deadline, done);
        lock(&self.shared.watchers).retain(|own| !Arc::ptr_eq(own, &signal));
        self.shared.return_signal(signal);
        result
    }

    /// Block until that many workers take part.
    pub fn wait_ready(&self, workers: usize, deadline: Option<Instant>) -> Result<(), EngineError> {
        self.watch(deadline, || {
            if let Some(reason) = self.shared.node.as_ref().and_then(Node::gave_up) {
                return Some(Err(EngineError::NoWorkers(reason)));
            }
            if self.stopped() {
                return Some(Err(EngineError::Stopped));
            }
            (self.members().iter().filter(|member| member.worker).count() >= workers)
                .then_some(Ok(()))
        })?
    }

    /// Block until there is room for another task.
    pub fn wait_for_room(&self, deadline: Option<Instant>) -> Result<(), EngineError> {
        self.watch(deadline, || {
            (self.stopped() || self.pending() < self.shared.max_pending).then_some(())
        })
    }

    /// Start one worker more (head).
    pub fn add_worker(&self) {
        let shared = Arc::clone(&self.shared);
        self.shared.spawn(async move {
            if let Some(node) = &shared.node {
                node.add_worker(&shared);
            }
        });
    }

    /// End it: workers first, then whatever waits, then the I/O thread. Blocks until all is gone; the second
    /// of two callers waits for the first.
    ///
    /// Running methods get `grace` to end, instead of what the head was started with.
    pub fn stop(&self, grace: Option<Duration>) {
        let shared = &self.shared;
        if threads::forked() {
            return;
        }
        let mut thread = lock(&shared.io_thread);
        let Some(running) = thread.take() else { return };
        let for_task = Arc::clone(shared);
        shared.spawn(async move {
            if let Some(node) = &for_task.node {
                node.stop(&for_task, grace).await;
            }
            for_task.end("the runtime was stopped");
        });
        let _ = running.join();
        // Whoever still holds a task or a proxy holds no descriptor with it.
        drop(lock(&shared.io).take());
        lock(&shared.idle_signals).clear();
        shared.directory.leave();
        if shared.me == RuntimeId::HEAD {
            shared.directory.remove();
        }
    }
}

impl Shared {
    /// Have the event processed by this thread, if nobody else is at it.
    fn post_now(&self, event: Event<Arc<TaskCell>>) {
        if threads::forked() {
            return;
        }
        match self.state.try_lock() {
            Ok(mut state) => {
                state.take_inbox(self);
                state.handle(event, self);
                state.finish_batch(self);
            }
            Err(TryLockError::Poisoned(_) | TryLockError::WouldBlock) => self.post(event),
        }
    }

    /// Have the event processed by the I/O thread.
    pub(crate) fn post(&self, event: Event<Arc<TaskCell>>) {
        if threads::forked() {
            return;
        }
        if self.stopped.load(Ordering::Acquire) {
            return self.refuse(event);
        }
        lock(&self.inbox).push(event);
        if !self.signalled.swap(true, Ordering::AcqRel) {
            self.inbox_filled.notify_one();
        }
    }

    /// Have the event processed with the next batch, whenever that is.
    fn post_lazily(&self, event: Event<Arc<TaskCell>>) {
        if threads::forked() {
            return;
        }
        if self.stopped.load(Ordering::Acquire) {
            return;
        }
        let mut inbox = lock(&self.inbox);
        inbox.push(event);
        let many = inbox.len() >= LAZY_EVENTS;
        drop(inbox);
        if many && !self.signalled.swap(true, Ordering::AcqRel) {
            self.inbox_filled.notify_one();
        }
    }

    /// After the stop: whoever waits for this is told.
    fn refuse(&self, event: Event<Arc<TaskCell>>) {
        let cell = match event {
            Event::CallSubmitted(submission) => submission.handle,
            Event::OutcomeWanted { handle, .. } | Event::FenceRequested(handle) => handle,
            _ => return,
        };
        self.settle(
            &cell,
            Outcome::Failed(Failure::new(
                FailureKind::Disconnected,
                "the runtime has stopped",
            )),
        );
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(io) = &*lock(&self.io) {
            io.spawn(task);
        }
    }

    fn process_inbox(&self) {
        self.signalled.store(false, Ordering::Release);
        let mut state = lock(&self.state);
        state.take_inbox(self);
        state.finish_batch(self);
    }

    /// Process a batch of events on the I/O thread.
    pub(crate) fn process(&self, events: &mut Vec<Event<Arc<TaskCell>>>) {
        let mut state = lock(&self.state);
        state.take_inbox(self);
        for event in events.drain(..) {
            state.handle(event, self);
        }
        state.finish_batch(self);
    }

    /// Process one event on the I/O thread.
    pub(crate) fn process_one(&self, event: Event<Arc<TaskCell>>) {
        let mut state = lock(&self.state);
        state.take_inbox(self);
        state.handle(event, self);
        state.finish_batch(self);
    }

    fn settle(&self, cell: &TaskCell, outcome: Outcome) {
        // Who is woken by the end of one task finds room for the next.
        let make_room = || {
            if !cell.borrowed && self.pending.fetch_sub(1, Ordering::AcqRel) == self.max_pending {
                self.wake_watchers();
            }
        };
        if cell.resolve_and(outcome, make_room) && !cell.borrowed && cell.is_unread_failure() {
            self.tell_unread(cell);
        }
    }

    /// A task failed and nobody can look at it any more: people are told instead.
    fn tell_unread(&self, cell: &TaskCell) {
        if self.stopped.load(Ordering::Acquire) {
            return;
        }
        let what = if cell.class.is_empty() {
            cell.method.to_string()
        } else {
            format!("{}.{}", cell.class, cell.method)
        };
        let message = cell.look(|outcome| match outcome {
            Some(Outcome::Failed(failure)) => failure.message.clone(),
            _ => String::new(),
        });
        self.log(
            "error",
            format!("{what} failed and nobody looked at it: {message}"),
        );
    }

    /// Have a line put into the program's log, on the head.
    fn log(&self, level: &str, text: String) {
        let (level, uid) = (level.to_owned(), self.uid.clone());
        if self.node.is_some() {
            self.notices.push(Notice::Log { uid, level, text });
        } else {
            // Past the rules and not under their lock: the next batch takes it along.
            lock(&self.notes).push(Message::Note { level, text });
            if !self.signalled.swap(true, Ordering::AcqRel) {
                self.inbox_filled.notify_one();
            }
        }
    }

    /// A worker has something for the log.
    pub(crate) fn note_from(&self, from: RuntimeId, level: String, text: String) {
        if let Some(member) = self.member(from) {
            self.tell(Notice::Log {
                uid: member.uid,
                level,
                text,
            });
        }
    }

    /// Put a notice where the program of the head reads it; nobody reads them elsewhere.
    pub(crate) fn tell(&self, notice: Notice) {
        if self.node.is_some() {
            self.notices.push(notice);
        }
    }

    pub(crate) fn wake_watchers(&self) {
        for watcher in lock(&self.watchers).iter() {
            watcher.raise();
        }
    }

    /// A connection to send through is there.
    pub(crate) fn connected(&self, to: RuntimeId, stream: &Arc<crate::peer::Stream>) {
        let mut state = lock(&self.state);
        let peer = state.peers.entry(to).or_default();
        peer.connected(stream);
        peer.flush();
    }

    /// A connection has room again.
    pub(crate) fn room(&self, to: RuntimeId) {
        let mut state = lock(&self.state);
        if let Some(peer) = state.peers.get_mut(&to) {
            peer.unblock();
            peer.flush();
        }
    }

    /// Send a message past the rules: for the engine's own business with a peer.
    pub(crate) fn send(&self, to: RuntimeId, message: &Message) {
        let mut state = lock(&self.state);
        state.send(to, message, self);
        state.finish_batch(self);
    }

    /// Queue a message for a peer that is about to be connected.
    pub(crate) fn send_first(&self, to: RuntimeId, message: &Message) {
        let pushed = lock(&self.state).peers.entry(to).or_default().push(message);
        if let Err(error) = pushed {
            self.executor.warn(&error.to_string());
        }
    }

    /// A peer could not prove itself, or would not believe us.
    pub(crate) fn refused(&self, error: &crate::auth::AuthError) {
        self.executor
            .warn(&format!("a connection was refused: {error}"));
    }

    /// A connection closed.
    pub(crate) fn disconnected(
        &self,
        from: RuntimeId,
        stream: &Arc<crate::peer::Stream>,
        error: Option<std::io::Error>,
    ) {
        if let Some(peer) = lock(&self.state).peers.get_mut(&from) {
            peer.disconnected(stream);
        }
        if let Some(error) = error.filter(|error| error.kind() == std::io::ErrorKind::InvalidData) {
            self.executor.warn(&format!(
                "{from:?} sent what cannot be read ({error}); the connection was closed"
            ));
        }
        let Some(node) = &self.node else { return };
        if !node.connection_closed(from)
            && let Some(member) = self.member(from)
        {
            let cause = format!("{} closed its connection", member.uid);
            self.process_one(Event::RuntimeDied {
                runtime: from,
                cause,
            });
        }
    }

    /// A worker's head is gone: so is the worker, at once and with everything that could be left over.
    pub(crate) fn head_lost(&self) {
        if self.stopped.load(Ordering::Acquire) {
            return;
        }
        let Some(_) = self.head_process else {
            return self.end("the head is gone");
        };
        let siblings = self.members_of_this_machine();
        self.directory.remove();
        for pid in siblings {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }

    /// The other workers, which would outlive the head only if they are stopped by a signal.
    fn members_of_this_machine(&self) -> Vec<rustix::process::Pid> {
        let state = lock(&self.state);
        let others = state
            .machine
            .members()
            .filter(|member| member.worker && member.runtime != self.me);
        others
            .filter_map(|member| rustix::process::Pid::from_raw(member.pid.cast_signed()))
            .collect()
    }

    pub(crate) fn member(&self, runtime: RuntimeId) -> Option<Member> {
        lock(&self.state)
            .machine
            .members()
            .find(|member| member.runtime == runtime)
            .cloned()
    }

    /// Everything that waits ends, and so does the I/O thread.
    pub(crate) fn end(&self, cause: &str) {
        {
            let mut state = lock(&self.state);
            state.take_inbox(self);
            self.stopped.store(true, Ordering::Release);
            state.handle(Event::RuntimeStopped(cause.into()), self);
            state.finish_batch(self);
            state.peers.clear();
        }
        for event in std::mem::take(&mut *lock(&self.inbox)) {
            self.refuse(event);
        }
        self.executor.stop();
        self.wake_watchers();
        self.ended.notify_one();
    }

    fn borrow_signal(&self) -> std::io::Result<Arc<Signal>> {
        match lock(&self.idle_signals).pop() {
            Some(signal) => Ok(signal),
            None => Ok(Arc::new(Signal::new()?)),
        }
    }

    fn return_signal(&self, signal: Arc<Signal>) {
        // Somebody may still raise it: the next who waits on it looks whether it was for them.
        signal.clear();
        let mut idle = lock(&self.idle_signals);
        if idle.len() < IDLE_SIGNALS && !self.stopped.load(Ordering::Acquire) {
            idle.push(signal);
        }
    }

    fn wait_until<R>(
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
            if left == Some(Duration::ZERO) || !signal.wait(left)? {
                return done().ok_or(EngineError::TimedOut);
            }
            signal.clear();
        }
    }

    fn start_timer(&self, task: TaskId, after: Duration) {
        let Some(at) = Instant::now().checked_add(after) else {
            return;
        };
        let mut timers = lock(&self.timers);
        let first = timers
            .heap
            .peek()
            .is_none_or(|std::cmp::Reverse((first, _))| at < *first);
        timers.heap.push(std::cmp::Reverse((at, task)));
        drop(timers);
        if first {
            self.timers_changed.notify_one();
        }
    }

    async fn run_timers(self: Arc<Self>) {
        loop {
            let next = lock(&self.timers)
                .heap
                .peek()
                .map(|std::cmp::Reverse((at, _))| *at);
            let Some(next) = next else {
                self.timers_changed.notified().await;
                continue;
            };
            tokio::select! {
                () = self.timers_changed.notified() => continue,
                () = tokio::time::sleep_until(next.into()) => {}
            }
            let mut passed = Vec::new();
            {
                let mut timers = lock(&self.timers);
                let now = Instant::now();
                while timers
                    .heap
                    .peek()
                    .is_some_and(|std::cmp::Reverse((at, _))| *at <= now)
                {
                    passed.extend(
                        timers
                            .heap
                            .pop()
                            .map(|std::cmp::Reverse((_, task))| Event::CallTimedOut(task)),
                    );
                }
            }
            self.process(&mut passed);
        }
    }
}

impl State {
    fn take_inbox(&mut self, shared: &Shared) {
        let events = std::mem::take(&mut *lock(&shared.inbox));
        for event in events {
            self.handle(event, shared);
        }
    }

    fn handle(&mut self, event: Event<Arc<TaskCell>>, shared: &Shared) {
        self.machine.handle(event, &mut self.actions);
        self.carry_out(shared);
    }

    fn finish_batch(&mut self, shared: &Shared) {
        self.machine.flush(&mut self.actions);
        self.carry_out(shared);
        for note in std::mem::take(&mut *lock(&shared.notes)) {
            self.send(RuntimeId::HEAD, &note, shared);
        }
        self.hand_over(shared);
        for to in self.dirty.drain(..) {
            if let Some(peer) = self.peers.get_mut(&to) {
                peer.dirty = false;
                peer.flush();
            }
        }
    }

    fn hand_over(&mut self, shared: &Shared) {
        if !self.ready.is_empty() {
            shared.executor.run(&mut self.ready);
        }
    }

    fn send(&mut self, to: RuntimeId, message: &Message, shared: &Shared) {
        let peer = self.peers.entry(to).or_insert_with(|| {
            if let Some(shared) = shared.myself.upgrade() {
                let dialling = net::dial(Arc::clone(&shared), to);
                shared.spawn(dialling);
            }
            Peer::default()
        });
        if let Err(error) = peer.push(message) {
            return self.unsendable(message, to, &error.to_string(), shared);
        }
        if !peer.dirty {
            peer.dirty = true;
            self.dirty.push(to);
        }
    }

    /// A message that no frame can hold: who waits for its answer is told.
    fn unsendable(&mut self, message: &Message, to: RuntimeId, reason: &str, shared: &Shared) {
        let refused = || {
            Outcome::Failed(Failure::new(
                FailureKind::Rejected,
                format!("it cannot be sent: {reason}"),
            ))
        };
        match message {
            Message::Call(call) => {
                let message = Message::Settled {
                    task: call.task,
                    outcome: refused(),
                };
                lock(&shared.inbox).push(Event::MessageReceived { from: to, message });
                shared.inbox_filled.notify_one();
            }
            Message::Settled { task, .. } => {
                self.send(
                    to,
                    &Message::Settled {
                        task: *task,
                        outcome: refused(),
                    },
                    shared,
                );
            }
            Message::Fetched { task, value, .. } => {
                self.send(
                    to,
                    &Message::Fetched {
                        task: *task,
                        value: *value,
                        outcome: refused(),
                    },
                    shared,
                );
            }
            other => shared
                .executor
                .warn(&format!("a message was lost, {reason}: {other:?}")),
        }
    }

    fn carry_out(&mut self, shared: &Shared) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::Send { to, message } => self.send(to, &message, shared),
                Action::Run(call) => self.ready.push(call),
                Action::Settle { handle, outcome } => shared.settle(&handle, outcome),
                Action::Revoke(task) => {
                    self.hand_over(shared);
                    let event = match shared.executor.revoke(task) {
                        Revoked::Running => Event::CallRunsOn(task),
                        Revoked::Prevented => {
                            let failure = Failure::new(
                                FailureKind::Cancelled,
                                "the call was cancelled before it ran",
                            );
                            Event::CallFinished {
                                task,
                                outcome: Outcome::Failed(failure),
                            }
                        }
                    };
                    lock(&shared.inbox).push(event);
                    shared.inbox_filled.notify_one();
                }
                Action::TesseraPlaced(_) => shared.wake_watchers(),
                Action::DropTessera(tessera) => {
                    self.hand_over(shared);
                    shared.executor.drop_tessera(tessera);
                }
                Action::DropResult(task) => shared.executor.drop_result(task),
                Action::ChooseWorker(tessera) => shared.tell(Notice::Choose(tessera)),
                Action::Report(report) => {
                    let (level, text) = crate::notice::describe(&report);
                    shared.log(level, text);
                }
                Action::MemberJoined(member) => {
                    if let Some(node) = &shared.node {
                        node.joined();
                    }
                    shared.tell(Notice::Joined(member.uid));
                    shared.wake_watchers();
                }
                Action::MemberDied { member, cause } => {
                    self.peers.remove(&member.runtime);
                    if !shared.node.as_ref().is_some_and(Node::stopping) {
                        shared.tell(Notice::Died {
                            uid: member.uid,
                            cause,
                        });
                    }
                    shared.wake_watchers();
                }
            }
        }
        self.actions = actions;
    }
}

/// A call to be submitted, with everything that is usually so.
pub fn call(
    task: TaskId,
    tessera: TesseraId,
    kind: CallKind,
    method: Arc<str>,
    arguments: Payload,
) -> Call {
    Call {
        task,
        tessera,
        kind,
        method,
        coroutine: false,
        retries: 0,
        construction: Construction::default(),
        dependencies: Vec::<Dependency>::new(),
        arguments,
    }
}
