//! The engine of one runtime: feeds events to the state machine of `mosaic-core` and carries out its actions.
//!
//! | module | what it owns |
//! | --- | --- |
//! | this one | [`Engine`], the public handle: calls, values, membership, stop |
//! | [`inner`] | `EngineInner`, which all threads share: inbox, counters, the ways to post an event |
//! | [`driver`] | `Driver`, which the engine's lock guards: the state machine and the send queues |
//! | [`start`] | [`EngineConfig`], the start and the loop of the I/O thread |
//! | [`wait`] | blocking waits, their pool of signals, inline polling of the sockets |
//! | `store` | the store as programs use it: copy in, allocate, view, account |
//! | [`timers`] | time limits of calls |
//!
//! One I/O thread runs a single-threaded tokio runtime. It never takes a lock of the program (for Python: the GIL)
//! and never blocks. The state machine and the send queues are behind one lock. A thread that has an event puts it
//! into the inbox; the I/O thread, woken once a batch, processes it. If no task is pending, the submitting thread
//! processes its event itself (`post_now`), which saves a thread switch.
//!
//! - `ENG-1`: no code of the program runs while a thread holds a lock of the table in [`crate::sync`].

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
use mosaic_core::id::{NodeId, ObjectId, RuntimeId, TaskId, TesseraId};
use mosaic_core::payload::{Payload, Reference, ThinVec};
use mosaic_core::placement::Strategy;

use crate::engine::inner::EngineInner;
pub use crate::engine::start::EngineConfig;
pub use crate::error::EngineError;
use crate::node::Node;
use crate::node::process::Process;
use crate::notice::{Notice, Notices};
use crate::sync::completion::{Callee, Completion, LARGE};
use crate::sync::threads;
use crate::telemetry::Recorder;

/// A submission that comes back, and why.
pub type Refused = (Submission<Arc<Completion>>, EngineError);

/// One runtime's engine. Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<EngineInner>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("uid", &self.inner.uid)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// This runtime's number.
    pub fn runtime(&self) -> RuntimeId {
        self.inner.me
    }

    /// This runtime's name.
    pub fn uid(&self) -> &str {
        &self.inner.uid
    }

    /// Where its sockets are.
    pub fn directory(&self) -> PathBuf {
        self.inner.directory.path().to_path_buf()
    }

    /// The processes of the monitor and of this machine's node agent, if they are known and live.
    pub fn launchers(&self) -> (Option<u32>, Option<u32>) {
        let inner = &self.inner;
        if let Some(node) = &inner.node {
            let (monitor, agent) = node.processes();
            return (Some(monitor), agent);
        }
        let parent = inner.parent_process.as_ref();
        let parent = parent.or(inner.head_process.as_ref());
        (inner.monitor_process, parent.map(Process::number))
    }

    /// Why no worker will be started any more, if so and if this is the head.
    pub fn gave_up(&self) -> Option<String> {
        self.inner.node.as_ref().and_then(Node::gave_up)
    }

    /// Tasks of this runtime that have not ended.
    pub fn pending(&self) -> usize {
        self.inner.pending.load(Ordering::Relaxed)
    }

    /// Time limits of calls that are remembered, for people who look for a leak.
    pub fn time_limits(&self) -> usize {
        self.inner.timers()
    }

    /// Whether it has stopped.
    pub fn stopped(&self) -> bool {
        self.inner.stopped.load(Ordering::Acquire)
    }

    /// The notices to the program.
    pub fn notices(&self) -> &Arc<Notices> {
        &self.inner.notices
    }

    /// Who takes part, this runtime too.
    pub fn members(&self) -> Vec<Member> {
        let inner = &self.inner;
        let me = Member {
            node: NodeId::FIRST,
            runtime: inner.me,
            uid: inner.uid.clone(),
            pid: std::process::id(),
            role: inner.role,
        };
        let others = inner
            .driver
            .lock()
            .machine
            .members()
            .cloned()
            .collect::<Vec<_>>();
        std::iter::once(me)
            .chain(
                others
                    .into_iter()
                    .filter(|member| member.runtime != inner.me),
            )
            .collect()
    }

    /// The number of the member with that name.
    pub fn named(&self, uid: &str) -> Option<RuntimeId> {
        let inner = &self.inner;
        if uid == inner.uid {
            return Some(inner.me);
        }
        inner.names.lock().get(uid).copied()
    }

    /// A number for a new task or tessera of this runtime.
    pub fn next_sequence(&self) -> u64 {
        self.inner.sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// A name for a new task.
    pub fn next_task(&self) -> TaskId {
        TaskId {
            owner: self.inner.me,
            sequence: self.next_sequence(),
        }
    }

    /// Use this strategy to place tesserae (head).
    pub fn set_strategy(&self, strategy: Box<dyn Strategy + Send>) {
        self.inner.driver.lock().machine.set_strategy(strategy);
    }

    /// Make a call. Its handle is completed when it ends.
    ///
    /// # Errors
    /// [`EngineError::Backpressure`] beyond `max_pending`, [`EngineError::Stopped`] after the stop; the submission comes back.
    pub fn submit(
        &self,
        submission: Submission<Arc<Completion>>,
        timeout: Option<Duration>,
    ) -> Result<(), Refused> {
        let inner = &self.inner;
        if threads::forked() {
            return Err((submission, EngineError::Forked));
        }
        if inner.stopped.load(Ordering::Acquire) {
            return Err((submission, EngineError::Stopped));
        }
        let before = inner.pending.fetch_add(1, Ordering::AcqRel);
        if before >= inner.max_pending {
            inner.pending.fetch_sub(1, Ordering::AcqRel);
            return Err((submission, EngineError::Backpressure(before)));
        }
        let limited = timeout.map(|timeout| {
            submission.handle.limit();
            (timeout, Arc::clone(&submission.handle))
        });
        if inner.recorder.on() {
            inner.recorder.created(&submission);
        }
        let event = Event::CallSubmitted(submission);
        if before == 0 {
            inner.post_now(event);
        } else {
            inner.post(event);
        }
        if let Some((timeout, completion)) = limited {
            // `TIME-2`: not before. If the limit passed first, the state machine would not know the task yet.
            inner.start_timer(completion.id, timeout);
            if completion.ended() {
                inner.end_timer(completion.id);
            }
        }
        Ok(())
    }

    /// The executor finished a call. `last` says that it has nothing more to do at the moment.
    pub fn finish(&self, task: TaskId, outcome: Outcome, last: bool) {
        let outcome = Arc::new(outcome);
        let event = Event::CallFinished { task, outcome };
        if last {
            self.inner.post_now(event);
        } else {
            self.inner.post(event);
        }
    }

    /// The executor finished a call by whose end another may start. That one is dispatched before this returns, unless
    /// another thread holds the driver. It may run for long, so the I/O thread sends the result of the first.
    pub fn finish_between(&self, task: TaskId, outcome: Outcome) {
        let outcome = Arc::new(outcome);
        self.inner
            .post_between(Event::CallFinished { task, outcome });
    }

    /// The result of a call that ran here, as it was encoded; `None` once its owner has let go of it.
    pub fn result_here(&self, task: TaskId) -> Option<Payload> {
        self.inner.driver.lock().machine.result_here(task)
    }

    /// Have the value of an ended task come here, unless it is on its way.
    pub fn request_value(&self, completion: &Arc<Completion>) {
        if completion.must_ask_for_value() {
            self.request_outcome(completion, Want::Value);
        }
    }

    /// Ask for the end or the value of a task that was passed to this runtime.
    pub fn request_outcome(&self, completion: &Arc<Completion>, want: Want) {
        self.inner.post_now(Event::OutcomeRequested {
            task: completion.id,
            want,
            handle: Arc::clone(completion),
        });
    }

    /// Keep a value on this machine, as the result of a task: at the head, which outlives the others. There it has
    /// ended at once, elsewhere when the head has the value.
    pub fn put(&self, name: Arc<str>, value: Payload) -> Arc<Completion> {
        if self.inner.me != RuntimeId::HEAD {
            return self.put_remote(name, value);
        }
        let id = self.next_task();
        let functions = TesseraId::functions(self.inner.me);
        let completion = Completion::borrowed(id, Callee::new(functions, "".into(), name));
        // A reader asks the state machine for the value, which knows whether it has been dropped.
        completion.complete(
            Outcome::Stored {
                host: self.inner.me,
                size: value.size() as u64,
            }
            .into(),
        );
        self.inner.post(Event::ValuePut { task: id, value });
        completion
    }

    fn put_remote(&self, name: Arc<str>, value: Payload) -> Arc<Completion> {
        let task = TaskId::kept(RuntimeId::HEAD, self.inner.me, self.next_sequence());
        let functions = TesseraId::functions(RuntimeId::HEAD);
        let completion = Completion::new(task, Callee::new(functions, "".into(), name));
        if !value.references.is_empty() || value.size() as u64 >= LARGE {
            completion.mark_large();
        }
        let handle = Arc::clone(&completion);
        self.inner.pending.fetch_add(1, Ordering::AcqRel);
        self.inner.post_now(Event::RemotePutRequested {
            task,
            value,
            handle,
        });
        completion
    }

    /// Drop a value that was put, or the result of a task of this runtime.
    pub fn discard(&self, task: TaskId) {
        self.inner.post(Event::ValueDropped(task));
    }

    /// The runtime that hosts a tessera, as far as this one knows.
    pub fn host_of(&self, tessera: TesseraId) -> Option<RuntimeId> {
        if tessera.is_fixture() {
            return Some(tessera.owner);
        }
        let look = || self.inner.driver.lock().machine.host_of(tessera);
        // What decides it may still be in the inbox.
        look().or_else(|| {
            self.inner.process_inbox();
            look()
        })
    }

    /// The runtime that runs a task, as far as this one knows.
    pub fn runner_of(&self, task: TaskId, tessera: TesseraId) -> Option<RuntimeId> {
        let driver = self.inner.driver.lock();
        driver
            .machine
            .runner_of(task)
            .or_else(|| driver.machine.host_of(tessera))
    }

    /// Whether a call that came to this runtime has ended, as far as it remembers.
    pub fn has_ended_here(&self, task: TaskId) -> bool {
        self.inner.process_inbox();
        self.inner.driver.lock().machine.has_ended_here(task)
    }

    /// The runtimes that are counted as holders of a tessera that this one hosts.
    pub fn holders_of(&self, tessera: TesseraId) -> Vec<RuntimeId> {
        self.inner.process_inbox();
        self.inner
            .driver
            .lock()
            .machine
            .holders_of(ObjectId::Tessera(tessera))
    }

    /// A completion for a task that was passed to this process.
    #[expect(
        clippy::unused_self,
        reason = "cells are asked of the engine that resolves them"
    )]
    pub fn borrowed_completion(
        &self,
        task: TaskId,
        tessera: TesseraId,
        class: &str,
        method: &str,
    ) -> Arc<Completion> {
        Completion::borrowed(task, Callee::new(tessera, class.into(), method.into()))
    }

    /// A program's handle is gone without a look at how the task ended.
    pub fn abandon(&self, completion: &Completion) {
        if completion.abandon() {
            self.inner.report_unobserved(completion);
        }
    }

    /// Cancel one of this runtime's own tasks.
    pub fn cancel(&self, task: TaskId) {
        self.inner.post(Event::CancelRequested(task));
    }

    /// A local handle to an object came into being.
    pub fn retain(&self, reference: Reference) {
        self.inner.post_lazily(Event::Retained(reference));
    }

    /// A local handle went. `urgent` when something large or alive may be freed by it.
    pub fn release(&self, object: ObjectId, urgent: bool) {
        if urgent {
            self.inner.post(Event::Released(object));
        } else {
            self.inner.post_lazily(Event::Released(object));
        }
    }

    /// A completion for the moment when every task submitted so far, on the whole network, has ended.
    pub fn barrier(&self) -> Result<Arc<Completion>, EngineError> {
        if self.stopped() {
            return Err(EngineError::Stopped);
        }
        let functions = TesseraId::functions(self.inner.me);
        let callee = Callee::new(functions, "".into(), "barrier".into());
        let completion = Completion::new(self.next_task(), callee);
        self.inner.pending.fetch_add(1, Ordering::AcqRel);
        self.inner
            .post(Event::BarrierRequested(Arc::clone(&completion)));
        Ok(completion)
    }

    /// Whether something that the workers have printed may not have been handled by the program yet.
    pub fn output_is_due(&self) -> bool {
        // In the order in which it moves: what has left the pipes is among the notices.
        let node = self.inner.node.as_ref();
        node.is_some_and(Node::output_is_due) || !self.inner.notices.are_handled()
    }

    /// Report [`Notice::Drained`] after all output that the workers have printed by now.
    pub fn drain_output(&self, token: u64) {
        match &self.inner.node {
            Some(node) => node.drain_output(&self.inner, token),
            None => self.inner.notify(Notice::Drained(token)),
        }
    }

    /// A completion for the moment when a call of this runtime has reached its host, or has ended before.
    pub fn delivery(&self, task: TaskId) -> Arc<Completion> {
        let callee = Callee::internal("arrival", self.inner.me);
        let completion = Completion::new(self.next_task(), callee);
        // The failure of the call is reported by its own task.
        completion.mark_observed();
        self.inner.pending.fetch_add(1, Ordering::AcqRel);
        let handle = Arc::clone(&completion);
        self.inner.post(Event::DeliveryRequested { task, handle });
        completion
    }

    /// A completion for the moment when this machine's warehouse takes part; the first request starts it.
    pub fn warehouse(&self) -> Result<Arc<Completion>, EngineError> {
        if self.stopped() {
            return Err(EngineError::Stopped);
        }
        let functions = TesseraId::functions(RuntimeId::HEAD);
        let callee = Callee::new(functions, "".into(), "warehouse".into());
        let completion = Completion::new(self.next_task(), callee);
        if self.inner.role == Role::Warehouse {
            completion.complete(Outcome::Value(Payload::default()).into());
        } else {
            self.inner.pending.fetch_add(1, Ordering::AcqRel);
            self.inner
                .post_now(Event::WarehouseRequested(Arc::clone(&completion)));
        }
        Ok(completion)
    }

    /// Something is to be done here at the head's next barrier.
    pub fn register_barrier_task(&self) {
        self.inner.post_now(Event::BarrierTaskRegistered);
    }

    /// The runtimes that have something to do at this barrier; each is named once (head).
    pub fn take_barrier_tasks(&self) -> Vec<RuntimeId> {
        self.inner
            .driver
            .lock()
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
        self.inner.profile(path, traced, true)
    }

    /// What records this process.
    pub fn recorder(&self) -> &Arc<Recorder> {
        &self.inner.recorder
    }

    /// The program's own strategy has chosen.
    pub fn chosen(&self, tessera: TesseraId, place: Result<RuntimeId, String>) {
        self.inner.post(Event::WorkerChosen { tessera, place });
    }

    /// End it: workers first, then whatever waits, then the I/O thread. Blocks until all is gone; the second
    /// of two callers waits for the first.
    ///
    /// Running methods get `grace` to end, instead of what the head was started with.
    pub fn stop(&self, grace: Option<Duration>) {
        let inner = &self.inner;
        if threads::forked() {
            return;
        }
        let mut thread = inner.io_thread.lock();
        let Some(running) = thread.take() else { return };
        let for_task = Arc::clone(inner);
        inner.spawn(async move {
            if let Some(node) = &for_task.node {
                node.stop(&for_task, grace).await;
            }
            for_task.end("the runtime was stopped");
        });
        let _ = running.join();
        if let Some(node) = &inner.node {
            node.left();
        }
        // A program that still holds a task or a proxy holds no descriptor with it.
        let io = inner.io.lock().take();
        drop(io);
        inner.recorder.stop();
        inner.signal_pool.close();
        inner.store.close();
        inner.read_halves.clear();
        inner.connections.clear();
        inner.processes.lock().clear();
        inner.directory.leave();
        if inner.me == RuntimeId::HEAD {
            inner.directory.remove();
        }
        let descriptors = inner.descriptors.lock().take();
        drop(descriptors);
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
        origin: None,
        construction: Construction::default(),
        dependencies: ThinVec::new(),
        arguments,
    })
}
