//! `EngineInner`: the state that the threads of one engine share. It owns the inbox, the counters and the driver's
//! lock. The lock order is that of [`crate::sync`].

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use mosaic_core::call::{Failure, FailureKind, Outcome};
use mosaic_core::event::{Event, Member, Role};
use mosaic_core::id::RuntimeId;
use mosaic_core::wire::{EngineMessage, Message};
use rustc_hash::FxHashMap;
use rustix::process;
use tokio::sync::Notify;

use crate::engine::driver::Driver;
use crate::engine::timers::Timers;
use crate::engine::wait::SignalPool;
use crate::executor::Executor;
use crate::net::connections::Connections;
use crate::net::reader::ReadHalves;
use crate::net::writer::WriteHalf;
use crate::node::Node;
use crate::node::descriptors::Descriptors;
use crate::node::directory::Directory;
use crate::node::process::{Process, wait_for_end_of_one};
use crate::notice::{Notice, Notices};
use crate::store::{MemoryPressure, Store};
use crate::sync::Mutex;
use crate::sync::completion::Completion;
use crate::sync::signal::Signal;
use crate::sync::threads;
use crate::telemetry::Recorder;

/// Events that may wait for the next batch before the I/O thread is woken for them.
const LAZY_EVENTS: usize = 256;

/// One engine, as all its threads share it.
pub(crate) struct EngineInner {
    pub(crate) me: RuntimeId,
    pub(crate) uid: String,
    pub(crate) role: Role,
    pub(crate) directory: Directory,
    pub(crate) read_halves: ReadHalves,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) notices: Arc<Notices>,
    pub(crate) node: Option<Node>,
    pub(crate) store: Store,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) max_pending: usize,
    pub(crate) driver: Mutex<Driver>,
    /// As long as it runs.
    pub(crate) descriptors: Mutex<Option<Descriptors>>,
    pub(crate) inbox: Mutex<Vec<Event<Arc<Completion>>>>,
    /// Who takes part, by name: to be looked up without a wait for the driver.
    pub(crate) names: Mutex<FxHashMap<String, RuntimeId>>,
    /// Messages that the state machine does not handle: log records for the head, and memory pressure between stores.
    pub(crate) engine_messages: Mutex<Vec<(Option<RuntimeId>, EngineMessage)>>,
    pub(crate) signalled: AtomicBool,
    pub(crate) inbox_filled: Notify,
    pub(crate) pending: AtomicUsize,
    pub(crate) sequence: AtomicU64,
    pub(crate) stopped: AtomicBool,
    /// Threads that wait for workers to join, for room, or for the end.
    pub(crate) watchers: Mutex<Vec<Arc<Signal>>>,
    pub(crate) signal_pool: SignalPool,
    pub(crate) timers: Mutex<Timers>,
    pub(crate) timers_changed: Notify,
    /// The I/O thread's runtime, as long as it runs.
    pub(crate) io: Mutex<Option<tokio::runtime::Handle>>,
    pub(crate) myself: Weak<EngineInner>,
    pub(crate) io_thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    /// For a worker process: the process of the head, with which it ends.
    pub(crate) head_process: Option<Process>,
    /// The process that started it, if that is not the head's but a node agent's: with it, it ends too.
    pub(crate) parent_process: Option<Process>,
    /// The processes of the others who take part, in a process that may have to end them.
    pub(crate) processes: Mutex<FxHashMap<RuntimeId, Arc<Process>>>,
    /// Connections to others than the head.
    pub(crate) connections: Connections,
    /// For a worker process: that of the monitor.
    pub(crate) monitor_process: Option<u32>,
    pub(crate) ended: Notify,
}

impl EngineInner {
    /// Process the event on this thread, unless another thread holds the driver.
    pub(crate) fn post_now(&self, event: Event<Arc<Completion>>) {
        if threads::forked() {
            return;
        }
        let Some(mut driver) = self.driver.try_lock() else {
            return self.post(event);
        };
        if self.stopped.load(Ordering::Acquire) {
            drop(driver);
            return self.refuse(event);
        }
        driver.take_inbox(self);
        driver.handle(event, self);
        driver.finish_batch(self);
    }

    /// Process an event that may start a call here: if it does, leave the sending to the I/O thread.
    pub(crate) fn post_between(&self, event: Event<Arc<Completion>>) {
        if threads::forked() {
            return;
        }
        let Some(mut driver) = self.driver.try_lock() else {
            return self.post(event);
        };
        if self.stopped.load(Ordering::Acquire) {
            drop(driver);
            return self.refuse(event);
        }
        driver.take_inbox(self);
        driver.handle(event, self);
        if driver.ready.is_empty() {
            return driver.finish_batch(self);
        }
        driver.dispatch(self);
        drop(driver);
        if !self.signalled.swap(true, Ordering::AcqRel) {
            self.inbox_filled.notify_one();
        }
    }

    /// Queue the event for the I/O thread.
    pub(crate) fn post(&self, event: Event<Arc<Completion>>) {
        if threads::forked() {
            return;
        }
        if self.stopped.load(Ordering::Acquire) {
            return self.refuse(event);
        }
        self.inbox.lock().push(event);
        if self.stopped.load(Ordering::Acquire) {
            // The stop may have emptied the inbox before this push: then this thread has to.
            return self.refuse_inbox();
        }
        if !self.signalled.swap(true, Ordering::AcqRel) {
            self.inbox_filled.notify_one();
        }
    }

    fn refuse_inbox(&self) {
        let events = std::mem::take(&mut *self.inbox.lock());
        for event in events {
            self.refuse(event);
        }
    }

    /// Queue the event for the next batch, whenever that is.
    pub(crate) fn post_lazily(&self, event: Event<Arc<Completion>>) {
        if threads::forked() {
            return;
        }
        if self.stopped.load(Ordering::Acquire) {
            return;
        }
        let mut inbox = self.inbox.lock();
        inbox.push(event);
        let many = inbox.len() >= LAZY_EVENTS;
        drop(inbox);
        if many && !self.signalled.swap(true, Ordering::AcqRel) {
            self.inbox_filled.notify_one();
        }
    }

    /// After the stop: fail the task that waits for this event.
    pub(crate) fn refuse(&self, event: Event<Arc<Completion>>) {
        let completion = match event {
            Event::CallSubmitted(submission) => submission.handle,
            Event::OutcomeRequested { handle, .. }
            | Event::DeliveryRequested { handle, .. }
            | Event::RemotePutRequested { handle, .. }
            | Event::BarrierRequested(handle)
            | Event::WarehouseRequested(handle) => handle,
            _ => return,
        };
        let failure = Failure::new(FailureKind::Disconnected, "the runtime has stopped");
        self.complete(&completion, Outcome::Failed(failure).into());
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let io = self.io.lock().clone();
        if let Some(io) = io {
            io.spawn(task);
        }
    }

    pub(crate) fn process_inbox(&self) {
        self.signalled.store(false, Ordering::Release);
        let mut driver = self.driver.lock();
        driver.take_inbox(self);
        driver.finish_batch(self);
    }

    /// Process a batch of events on the I/O thread.
    pub(crate) fn process(&self, events: &mut Vec<Event<Arc<Completion>>>) {
        let mut driver = self.driver.lock();
        driver.take_inbox(self);
        for event in events.drain(..) {
            driver.handle(event, self);
        }
        driver.finish_batch(self);
    }

    /// Process one event on the I/O thread.
    pub(crate) fn process_one(&self, event: Event<Arc<Completion>>) {
        let mut driver = self.driver.lock();
        driver.take_inbox(self);
        driver.handle(event, self);
        driver.finish_batch(self);
    }

    pub(crate) fn complete(&self, completion: &Completion, outcome: Arc<Outcome>) {
        // A waiter that this end wakes finds capacity for the next task.
        let make_room = || {
            if !completion.borrowed
                && self.pending.fetch_sub(1, Ordering::AcqRel) == self.max_pending
            {
                self.wake_watchers();
            }
            if completion.is_limited() {
                self.end_timer(completion.id);
            }
        };
        if completion.complete_and(outcome, make_room)
            && !completion.borrowed
            && completion.is_unobserved_failure()
        {
            self.report_unobserved(completion);
        }
    }

    /// A task failed and no handle can observe it any more: log the failure.
    pub(crate) fn report_unobserved(&self, completion: &Completion) {
        if self.stopped.load(Ordering::Acquire) || self.node.as_ref().is_some_and(Node::stopping) {
            return;
        }
        let callee = &completion.callee;
        let what = if callee.class.is_empty() {
            callee.method.to_string()
        } else {
            format!("{}.{}", callee.class, callee.method)
        };
        let message = completion.look(|outcome| match outcome {
            Some(Outcome::Failed(failure)) => failure.message.clone(),
            _ => String::new(),
        });
        self.log(
            "error",
            format!("{what} failed and nobody looked at it: {message}"),
        );
    }

    /// Add a record to the program's log, on the head.
    pub(crate) fn log(&self, level: &str, text: String) {
        let (level, uid) = (level.to_owned(), self.uid.clone());
        if self.node.is_some() {
            self.notices.push(Notice::Log { uid, level, text });
        } else {
            // Not under the driver's lock: the next batch sends it.
            self.queue_message(
                Some(RuntimeId::HEAD),
                EngineMessage::LogRecord { level, text },
            );
        }
    }

    /// Act on a message for the engine. Returns whether more may come by this connection.
    pub(crate) fn engine_message_received(&self, from: RuntimeId, message: EngineMessage) -> bool {
        match message {
            EngineMessage::Shutdown { .. } => {
                self.end("the runtime was stopped");
                return false;
            }
            EngineMessage::LogRecord { level, text } => self.log_from(from, level, text),
            EngineMessage::Profile { path, traced } => {
                if let Err(error) = self.profile(path.as_deref(), traced, false) {
                    self.executor.warn(&format!(
                        "{} is not profiled: {}: {error}",
                        self.uid,
                        path.unwrap_or_default()
                    ));
                }
            }
            EngineMessage::ReclaimMemory => self.store.reclaim(),
            EngineMessage::MemoryAvailable => self.wake_watchers(),
            EngineMessage::Ping => self.queue_message(Some(from), EngineMessage::Pong),
            // Its arrival alone shows that the peer's engine runs.
            EngineMessage::Pong => {}
        }
        true
    }

    /// Queue a message that the state machine does not handle for the next batch; `None` sends it to every member.
    fn queue_message(&self, to: Option<RuntimeId>, message: EngineMessage) {
        self.engine_messages.lock().push((to, message));
        if !self.signalled.swap(true, Ordering::AcqRel) {
            self.inbox_filled.notify_one();
        }
    }

    /// The hooks by which the store reports memory pressure.
    pub(crate) fn memory_pressure(&self) -> Arc<dyn MemoryPressure> {
        Arc::new(EngineHooks(Weak::clone(&self.myself)))
    }

    /// Record a profile in this file from now on, or end it: here and, if the `program` asks for it, in everybody else's
    /// process. The program also waits for its own file.
    pub(crate) fn profile(
        &self,
        path: Option<&str>,
        traced: bool,
        program: bool,
    ) -> io::Result<()> {
        self.recorder.record(path.map(Path::new), traced, program)?;
        if program {
            let path = path.map(str::to_owned);
            let message = Message::Engine(EngineMessage::Profile { path, traced });
            // At once: calls that the program makes from now on come behind it.
            let mut driver = self.driver.lock();
            let members: Vec<_> = driver
                .machine
                .members()
                .map(|member| member.runtime)
                .collect();
            for to in members.into_iter().filter(|member| *member != self.me) {
                driver.send(to, &message, self);
            }
            driver.finish_batch(self);
        }
        Ok(())
    }

    /// What a runtime that joins has to know of the profile.
    pub(crate) fn profiled(&self) -> Option<EngineMessage> {
        let path = self.recorder.path()?.to_str()?.to_owned();
        Some(EngineMessage::Profile {
            path: Some(path),
            traced: self.recorder.traced(),
        })
    }

    /// A worker has a record for the log.
    pub(crate) fn log_from(&self, from: RuntimeId, level: String, text: String) {
        if let Some(member) = self.member(from) {
            self.notify(Notice::Log {
                uid: member.uid,
                level,
                text,
            });
        }
    }

    /// Queue a notice for the program, on the head; elsewhere notices have no reader.
    pub(crate) fn notify(&self, notice: Notice) {
        if self.node.is_some() {
            self.notices.push(notice);
        }
    }

    pub(crate) fn wake_watchers(&self) {
        // One that gives up meanwhile is raised for nothing: the next waiter of its signal checks its own condition.
        let watchers = self.watchers.lock().clone();
        for watcher in watchers {
            watcher.raise();
        }
    }

    /// A connection to a peer is ready to send.
    pub(crate) fn connected(&self, to: RuntimeId, write_half: &Arc<WriteHalf>) {
        let mut driver = self.driver.lock();
        if driver.machine.is_dead(to) {
            return;
        }
        let queue = driver.send_queues.entry(to).or_default();
        let loss = queue.connected(write_half);
        queue.flush();
        drop(driver);
        // One log record for both ends. Not before: a runtime that stops closes its connections shortly before it exits.
        if let Some(loss) = loss.filter(|_| self.me > to) {
            self.log("warning", loss);
        }
    }

    /// A connection is writable again.
    pub(crate) fn writable(&self, to: RuntimeId) {
        let mut driver = self.driver.lock();
        if let Some(queue) = driver.send_queues.get_mut(&to) {
            queue.unblock();
            queue.flush();
        }
    }

    /// Send a message that does not come from the state machine.
    pub(crate) fn send(&self, to: RuntimeId, message: EngineMessage) {
        let mut driver = self.driver.lock();
        driver.send(to, &Message::Engine(message), self);
        driver.finish_batch(self);
    }

    /// Queue a message for a peer that is about to be connected.
    pub(crate) fn send_first(&self, to: RuntimeId, message: &Message) {
        let pushed = self
            .driver
            .lock()
            .send_queues
            .entry(to)
            .or_default()
            .push(message, &self.store);
        if let Err(error) = pushed {
            self.executor.warn(&error.to_string());
        }
    }

    /// A peer could not prove itself, or would not believe us.
    pub(crate) fn refused(&self, error: &crate::net::handshake::AuthError) {
        // The end of a worker while it connects is not worth a warning.
        if self.stopped.load(Ordering::Acquire) || self.node.as_ref().is_some_and(Node::stopping) {
            return;
        }
        self.executor
            .warn(&format!("a connection was refused: {error}"));
    }

    /// A connection closed.
    pub(crate) fn disconnected(
        self: &Arc<Self>,
        from: RuntimeId,
        write_half: &Arc<WriteHalf>,
        error: Option<&io::Error>,
    ) {
        let mut driver = self.driver.lock();
        if let Some(queue) = driver.send_queues.get_mut(&from) {
            queue.disconnected(write_half);
        }
        drop(driver);
        if let Some(error) = error.filter(|error| error.kind() == io::ErrorKind::InvalidData) {
            self.executor.warn(&format!(
                "{from:?} sent what cannot be read ({error}); the connection was closed"
            ));
        }
        let Some(node) = &self.node else { return };
        if !node.connection_closed(self, from, error)
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
        self.recorder.write_out();
        self.directory.remove();
        // Those that a signal has stopped do not see by themselves that they have to end.
        self.kill_members();
        // With what its methods started.
        let _ = process::kill_process_group(process::getpid(), process::Signal::KILL);
        // Started by hand, it may be in the group of another program.
        let _ = process::kill_process(process::getpid(), process::Signal::KILL);
    }

    /// A worker has no connection to its head, for that reason. A head that has died takes the worker with it and
    /// leaves the rest to tidy up; while it lives, this process alone ends, and the head starts another.
    pub(crate) async fn head_disconnected(&self, reason: &str) {
        let Some(head) = &self.head_process else {
            return self.head_lost();
        };
        if !head.lives_on().await {
            return self.head_lost();
        }
        if self.stopped.load(Ordering::Acquire) {
            return;
        }
        self.recorder.write_out();
        self.directory.leave();
        crate::node::exit_status::leave_for(reason);
    }

    /// The node agent that started this worker is gone: so is the worker. The head, if it lives, has no use for the
    /// directory any more.
    pub(crate) fn parent_lost(&self) {
        if self.stopped.load(Ordering::Acquire) {
            return;
        }
        self.recorder.write_out();
        self.directory.remove();
        let _ = process::kill_process_group(process::getpid(), process::Signal::KILL);
        let _ = process::kill_process(process::getpid(), process::Signal::KILL);
    }

    /// This worker has received the order to stop, and its I/O thread is about to end; a method may go on. If the head or
    /// the agent that started the worker dies before it has ended this process, the process ends nevertheless.
    pub(crate) fn end_with_head(&self) {
        let supervisors = || self.head_process.iter().chain(&self.parent_process);
        let handles: Vec<_> = supervisors()
            .filter_map(|process| process.handle()?.try_clone().ok())
            .collect();
        let gone = supervisors().any(Process::has_ended);
        if handles.is_empty() && !gone {
            return;
        }
        let directory = self.directory.path().to_path_buf();
        let recorder = Arc::clone(&self.recorder);
        let watch = move || {
            let handles: Vec<_> = handles.iter().collect();
            if gone || wait_for_end_of_one(&handles).is_ok() {
                recorder.write_out();
                crate::node::directory::remove(&directory);
                let _ = process::kill_process_group(process::getpid(), process::Signal::KILL);
                let _ = process::kill_process(process::getpid(), process::Signal::KILL);
            }
        };
        // The thread ends with the process. Without one, the head alone sees to the end, as it usually does.
        let _ = threads::spawn("mosaic-end", watch);
    }

    /// Kill the workers and the warehouse, but for this process: those that this one has seen join and whose numbers are
    /// still theirs.
    pub(crate) fn kill_members(&self) {
        let members: Vec<_> = self.processes.lock().values().cloned().collect();
        for member in members {
            member.kill_group();
        }
    }

    /// A runtime takes part: keep hold of its process where this one may have to end it, its head or its agent having
    /// died.
    pub(crate) fn member_joined(&self, member: &Member) {
        let may_end_it = match &self.node {
            Some(node) => node.has_agent(),
            None => self.head_process.is_some(),
        };
        if may_end_it
            && member.role != Role::Head
            && let Some(process) = Process::open(member.pid)
        {
            self.processes
                .lock()
                .insert(member.runtime, Arc::new(process));
        }
    }

    pub(crate) fn member(&self, runtime: RuntimeId) -> Option<Member> {
        self.driver
            .lock()
            .machine
            .members()
            .find(|member| member.runtime == runtime)
            .cloned()
    }

    /// Everything that waits ends, and so does the I/O thread.
    pub(crate) fn end(&self, cause: &str) {
        {
            let mut driver = self.driver.lock();
            driver.take_inbox(self);
            driver.handle(Event::RuntimeStopped(cause.into()), self);
            driver.finish_batch(self);
            driver.send_queues.clear();
            // Every task is complete: a waiter sees how it ended rather than that the runtime stopped.
            self.stopped.store(true, Ordering::Release);
        }
        self.refuse_inbox();
        self.executor.stop();
        self.wake_watchers();
        self.ended.notify_one();
    }
}

/// The engine, as its store sees it. Called under any lock of the store, and under the driver's.
struct EngineHooks(Weak<EngineInner>);

impl MemoryPressure for EngineHooks {
    fn reclaim(&self) {
        if let Some(inner) = self.0.upgrade() {
            inner.queue_message(None, EngineMessage::ReclaimMemory);
        }
    }

    fn memory_available(&self) {
        if let Some(inner) = self.0.upgrade() {
            inner.wake_watchers();
            if inner.store.memory_is_wanted() {
                inner.queue_message(None, EngineMessage::MemoryAvailable);
            }
        }
    }
}
