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

pub(crate) mod driver;
pub(crate) mod inner;
pub(crate) mod start;
mod store;
pub(crate) mod timers;
pub(crate) mod wait;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mosaic_core::call::{Call, CallKind, Construction, Outcome};
use mosaic_core::event::{Event, Member, Role, Submission, Want};
use mosaic_core::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use mosaic_core::payload::{Payload, Reference, ThinVec};
use mosaic_core::placement::Strategy;

use crate::engine::inner::Shared;
pub use crate::engine::start::EngineConfig;
pub use crate::error::EngineError;
use crate::node::Node;
use crate::node::process::Process;
use crate::notice::{Notice, Notices};
use crate::sync::completion::{Callee, LARGE, TaskCell};
use crate::sync::primitives::lock;
use crate::sync::threads;
use crate::telemetry::Recorder;

/// A submission that comes back, and why.
pub type Refused = (Submission<Arc<TaskCell>>, EngineError);

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

impl Engine {
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

    /// The processes of the monitor and of this machine's node agent, if they are known and live.
    pub fn launchers(&self) -> (Option<u32>, Option<u32>) {
        let shared = &self.shared;
        if let Some(node) = &shared.node {
            let (monitor, agent) = node.processes();
            return (Some(monitor), agent);
        }
        let parent = shared.parent_process.as_ref();
        let parent = parent.or(shared.head_process.as_ref());
        (shared.monitor_process, parent.map(Process::number))
    }

    /// Why no worker will be started any more, if so and if this is the head.
    pub fn gave_up(&self) -> Option<String> {
        self.shared.node.as_ref().and_then(Node::gave_up)
    }

    /// Tasks of this runtime that have not ended.
    pub fn pending(&self) -> usize {
        self.shared.pending.load(Ordering::Relaxed)
    }

    /// Time limits of calls that are remembered, for people who look for a leak.
    pub fn time_limits(&self) -> usize {
        self.shared.timers()
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
            role: shared.role,
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

    /// The number of whoever takes part under that name.
    pub fn named(&self, uid: &str) -> Option<RuntimeId> {
        let shared = &self.shared;
        if uid == shared.uid {
            return Some(shared.me);
        }
        lock(&shared.names).get(uid).copied()
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
            submission.handle.limit();
            shared.start_timer(submission.call.task, timeout);
        }
        if shared.recorder.on() {
            shared.recorder.created(&submission);
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
        let outcome = Arc::new(outcome);
        let event = Event::CallFinished { task, outcome };
        if last {
            self.shared.post_now(event);
        } else {
            self.shared.post(event);
        }
    }

    /// The executor finished a call by whose end another may start, which it is given before this returns unless
    /// somebody else is at it. That may take its time: the end is told by the I/O thread then.
    pub fn finish_between(&self, task: TaskId, outcome: Outcome) {
        let outcome = Arc::new(outcome);
        self.shared
            .post_between(Event::CallFinished { task, outcome });
    }

    /// The result of a call that ran here, as it was encoded; `None` once its owner has let go of it.
    pub fn result_here(&self, task: TaskId) -> Option<Payload> {
        lock(&self.shared.state).machine.result_here(task)
    }

    /// Have the value of an ended task come here, unless it is on its way.
    pub fn want_value(&self, cell: &Arc<TaskCell>) {
        if cell.must_ask_for_value() {
            self.want(cell, Want::Value);
        }
    }

    /// Ask for the end or the value of a task that was passed to this runtime.
    pub fn want(&self, cell: &Arc<TaskCell>, want: Want) {
        self.shared.post_now(Event::OutcomeRequested {
            task: cell.id,
            want,
            handle: Arc::clone(cell),
        });
    }

    /// Keep a value on this machine, as the result of a task: at the head, which outlives the others. There it has
    /// ended at once, elsewhere when the head has the value.
    pub fn put(&self, name: Arc<str>, value: Payload) -> Arc<TaskCell> {
        if self.shared.me != RuntimeId::HEAD {
            return self.give_to_keep(name, value);
        }
        let id = self.next_task();
        let functions = TesseraId::functions(self.shared.me);
        let cell = TaskCell::borrowed(id, Callee::new(functions, "".into(), name));
        // Whoever wants the value asks the rules, which know whether somebody has dropped it.
        cell.resolve(
            Outcome::Stored {
                host: self.shared.me,
                size: value.size() as u64,
            }
            .into(),
        );
        self.shared.post(Event::ValuePut { task: id, value });
        cell
    }

    fn give_to_keep(&self, name: Arc<str>, value: Payload) -> Arc<TaskCell> {
        let task = TaskId::kept(RuntimeId::HEAD, self.shared.me, self.next_sequence());
        let functions = TesseraId::functions(RuntimeId::HEAD);
        let cell = TaskCell::new(task, Callee::new(functions, "".into(), name));
        if !value.references.is_empty() || value.size() as u64 >= LARGE {
            cell.holds_much();
        }
        let handle = Arc::clone(&cell);
        self.shared.pending.fetch_add(1, Ordering::AcqRel);
        self.shared.post_now(Event::RemotePutRequested {
            task,
            value,
            handle,
        });
        cell
    }

    /// Drop a value that was put, or the result of a task of this runtime.
    pub fn discard(&self, task: TaskId) {
        self.shared.post(Event::ValueDropped(task));
    }

    /// The runtime that hosts a tessera, as far as this one knows.
    pub fn host_of(&self, tessera: TesseraId) -> Option<RuntimeId> {
        if tessera.is_fixture() {
            return Some(tessera.owner);
        }
        let look = || lock(&self.shared.state).machine.host_of(tessera);
        // What decides it may still be in the inbox.
        look().or_else(|| {
            self.shared.process_inbox();
            look()
        })
    }

    /// The runtime that runs a task, as far as this one knows.
    pub fn runner_of(&self, task: TaskId, tessera: TesseraId) -> Option<RuntimeId> {
        let state = lock(&self.shared.state);
        state
            .machine
            .runner_of(task)
            .or_else(|| state.machine.host_of(tessera))
    }

    /// Whether a call that came to this runtime has ended, as far as it remembers.
    pub fn has_ended_here(&self, task: TaskId) -> bool {
        self.shared.process_inbox();
        lock(&self.shared.state).machine.has_ended_here(task)
    }

    /// The runtimes that are counted as holders of a tessera that this one hosts.
    pub fn holders_of(&self, tessera: TesseraId) -> Vec<RuntimeId> {
        self.shared.process_inbox();
        lock(&self.shared.state)
            .machine
            .holders_of(ObjectId::Tessera(tessera))
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
        TaskCell::borrowed(task, Callee::new(tessera, class.into(), method.into()))
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
        let callee = Callee::new(functions, "".into(), "barrier".into());
        let cell = TaskCell::new(self.next_task(), callee);
        self.shared.pending.fetch_add(1, Ordering::AcqRel);
        self.shared.post(Event::BarrierRequested(Arc::clone(&cell)));
        Ok(cell)
    }

    /// Whether something that the workers have printed may not have been handled by the program yet.
    pub fn output_is_due(&self) -> bool {
        // In the order in which it moves: what has left the pipes is among the notices.
        let node = self.shared.node.as_ref();
        node.is_some_and(Node::output_is_due) || !self.shared.notices.are_handled()
    }

    /// Have [`Notice::Drained`] told, after all that the workers have printed by now.
    pub fn drain_output(&self, token: u64) {
        match &self.shared.node {
            Some(node) => node.drain_output(&self.shared, token),
            None => self.shared.tell(Notice::Drained(token)),
        }
    }

    /// A cell that is resolved when a call of this runtime has reached its host, or has ended before.
    pub fn arrival(&self, task: TaskId) -> Arc<TaskCell> {
        let callee = Callee::told("arrival", self.shared.me);
        let cell = TaskCell::new(self.next_task(), callee);
        // How the call fails is told by its own task.
        cell.read();
        self.shared.pending.fetch_add(1, Ordering::AcqRel);
        let handle = Arc::clone(&cell);
        self.shared.post(Event::DeliveryRequested { task, handle });
        cell
    }

    /// A cell that is resolved when this machine's warehouse takes part; whoever needs it first has it started.
    pub fn warehouse(&self) -> Result<Arc<TaskCell>, EngineError> {
        if self.stopped() {
            return Err(EngineError::Stopped);
        }
        let functions = TesseraId::functions(RuntimeId::HEAD);
        let callee = Callee::new(functions, "".into(), "warehouse".into());
        let cell = TaskCell::new(self.next_task(), callee);
        if self.shared.role == Role::Warehouse {
            cell.resolve(Outcome::Value(Payload::default()).into());
        } else {
            self.shared.pending.fetch_add(1, Ordering::AcqRel);
            self.shared
                .post_now(Event::WarehouseRequested(Arc::clone(&cell)));
        }
        Ok(cell)
    }

    /// Something is to be done here at the head's next barrier.
    pub fn register_barrier_task(&self) {
        self.shared.post_now(Event::BarrierTaskRegistered);
    }

    /// The runtimes that have something to do at this barrier; each is named once (head).
    pub fn take_barrier_tasks(&self) -> Vec<RuntimeId> {
        lock(&self.shared.state)
            .machine
            .take_barrier_tasks()
            .into_iter()
            .collect()
    }

    /// Record a profile of the network in this file from now on, in every process of it; `None` ends the recording.
    /// Waits for the file of this process to be opened, or written and closed. `traced` says whether the functions are
    /// recorded too that methods call.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn profile(&self, path: Option<&str>, traced: bool) -> io::Result<()> {
        self.shared.profile(path, traced, true)
    }

    /// What records this process.
    pub fn recorder(&self) -> &Arc<Recorder> {
        &self.shared.recorder
    }

    /// The program's own strategy has chosen.
    pub fn chosen(&self, tessera: TesseraId, place: Result<RuntimeId, String>) {
        self.shared.post(Event::WorkerChosen { tessera, place });
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
        if let Some(node) = &shared.node {
            node.left();
        }
        // Whoever still holds a task or a proxy holds no descriptor with it.
        drop(lock(&shared.io).take());
        shared.recorder.stop();
        shared.home_signal.close();
        shared.store.close();
        shared.inlets.clear();
        shared.lines.clear();
        lock(&shared.processes).clear();
        shared.directory.leave();
        if shared.me == RuntimeId::HEAD {
            shared.directory.remove();
        }
        drop(lock(&shared.descriptors).take());
    }
}

/// A call to be submitted, with everything that is usually so.
pub fn call(
    task: TaskId,
    tessera: TesseraId,
    kind: CallKind,
    method: Arc<str>,
    arguments: Payload,
) -> Box<Call> {
    Box::new(Call {
        task,
        tessera,
        kind,
        method,
        coroutine: false,
        retries: 0,
        construction: Construction::default(),
        dependencies: ThinVec::new(),
        arguments,
    })
}
