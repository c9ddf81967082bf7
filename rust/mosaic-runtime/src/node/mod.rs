//! The node of a head: its workers and its warehouse, and the replacement of those that die.
//!
//! | module | what it owns |
//! | --- | --- |
//! | this one | `Node`: which workers there should be, which live, what follows from a death |
//! | [`launch`] | [`Launch`]: command and environment of workers |
//! | [`processes`] | child processes: start, supervision, kill, reap |
//! | [`local`] | the head as the observer of its own child processes |
//! | [`attach`] | how a head joins the monitor and the agent that `mrun` started |
//! | [`agent_link`] | the head's connections to that agent and monitor |
//! | [`stdio`] | standard output and error of workers: lines, origins, flushes |
//! | [`process`] | other processes by pidfd |
//! | [`exit_status`] | how a process ended, in words |
//! | [`cgroup`] | memory limits and the kernel's out-of-memory kills |
//! | [`descriptors`] | the limit of open files, and shortages of them |
//! | [`directory`] | the runtime's private directory |
//!
//! Runs on the head's I/O thread. A `Supervisor` holds the processes: this process itself ([`processes`]), or a node
//! agent under `mrun` ([`agent_link`]). Either way a worker is dead when the kernel says so of its process, never
//! because a socket closed; the cause names the exit code or the signal. The head reads everything that a worker sent
//! before it died first.
//!
//! The warehouse is started, supervised and ended in the same way, but only when the state machine asks for it, and
//! it is not replaced before the state machine asks again.

mod agent_link;
pub(crate) mod attach;
pub mod cgroup;
pub mod descriptors;
pub mod directory;
pub(crate) mod exit_status;
mod launch;
mod local;
pub(crate) mod process;
pub(crate) mod processes;
pub(crate) mod stdio;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use mosaic_core::event::{Event, Role};
use mosaic_core::id::{NodeId, RuntimeId};
use mosaic_core::wire::EngineMessage;
use tokio::sync::Notify;

use self::agent_link::Agent;
use self::attach::Attached;
pub use self::launch::{DIRECTORY, HEAD, Launch, MONITOR, PARENT, ROLE, RUNTIME, UID, WAREHOUSE};
use self::local::LocalProcesses;
use self::processes::{Ended, Processes, Program, RUN_DRY, RUN_DRY_AT_STOP, Start};
use crate::engine::inner::EngineInner;
use crate::error::because;
use crate::launcher::guard::ParentDeathSignal;
use crate::notice::Notice;
use crate::sync::{Mutex, Rank};

/// Workers that may die before they have joined, one after another, until the node gives up.
const FAILED_STARTS: u32 = 3;
/// How long a worker that closed its connection may take to end before it is killed.
const LINGER: Duration = Duration::from_secs(1);
/// How long an agent may take for what it does at once when it is well.
const UNRESPONSIVE: Duration = Duration::from_secs(1);

/// The node, as the head sees it.
#[derive(Debug)]
pub(crate) struct Node {
    launch: Launch,
    supervisor: Supervisor,
    /// The processes of the monitor and, while it lives, the agent: this one, if they are tasks of it.
    monitor: u32,
    agent: Mutex<Option<u32>>,
    workers: Mutex<BTreeMap<RuntimeId, Arc<Worker>>>,
    next: AtomicU32,
    next_worker: AtomicU32,
    failed_starts: AtomicU32,
    gave_up: Mutex<Option<String>>,
    stopping: AtomicBool,
    all_gone: Notify,
}

/// The parent of the processes, which supervises them.
#[derive(Debug)]
enum Supervisor {
    /// This process.
    Own(Arc<Processes<LocalProcesses>>, Program),
    /// A node agent; the connections to it and to the monitor wait for the I/O thread to serve them.
    Agent {
        attached: Mutex<Option<Attached>>,
        agent: OnceLock<Agent>,
        parent_death_signal: ParentDeathSignal,
    },
}

#[derive(Debug)]
struct Worker {
    uid: String,
    role: Role,
    connection_closed: Notify,
    ended: Notify,
    /// Why it was killed, if it was: its connection ended while its process lived.
    cut_off: OnceLock<String>,
}

impl Node {
    /// Supervised by this process, or by the agent that the head is attached to.
    pub(crate) fn new(
        launch: Launch,
        attached: Option<(Attached, ParentDeathSignal)>,
        head: Weak<EngineInner>,
    ) -> Self {
        let own = std::process::id();
        let (monitor, agent) = attached
            .as_ref()
            .map_or((own, own), |(attached, _)| attached.processes());
        let supervisor = match attached {
            Some((attached, parent_death_signal)) => Supervisor::Agent {
                attached: Mutex::new(Rank::AttachedAgent, Some(attached)),
                agent: OnceLock::new(),
                parent_death_signal,
            },
            None => Supervisor::Own(Processes::new(LocalProcesses(head)), launch.program(false)),
        };
        Self {
            launch,
            supervisor,
            monitor,
            agent: Mutex::new(Rank::AgentProcess, Some(agent)),
            workers: Mutex::with_default(Rank::NodeWorkers),
            next: AtomicU32::new(1),
            next_worker: AtomicU32::new(0),
            failed_starts: AtomicU32::new(0),
            gave_up: Mutex::with_default(Rank::NodeFailure),
            stopping: AtomicBool::new(false),
            all_gone: Notify::new(),
        }
    }

    /// Why no worker will be started any more, if so.
    pub(crate) fn gave_up(&self) -> Option<String> {
        self.gave_up.lock().clone()
    }

    /// Whether the workers are meant to end.
    pub(crate) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The processes of the monitor and of the agent, if it lives.
    pub(crate) fn processes(&self) -> (u32, Option<u32>) {
        (self.monitor, *self.agent.lock())
    }

    /// Whether output of the workers may not have been reported yet.
    pub(crate) fn output_is_due(&self) -> bool {
        match &self.supervisor {
            Supervisor::Own(processes, _) => processes.flush_barrier.is_pending(),
            // It has to be asked.
            Supervisor::Agent { .. } => true,
        }
    }

    /// Report [`Notice::Drained`] once all output that the workers have printed by now has been reported.
    pub(crate) fn drain_output(&self, inner: &Arc<EngineInner>, token: u64) {
        match &self.supervisor {
            Supervisor::Own(processes, _) => {
                let inner = Arc::clone(inner);
                processes
                    .flush_barrier
                    .begin(move || inner.notify(Notice::Drained(token)));
            }
            Supervisor::Agent { agent, .. } => match agent.get() {
                Some(agent) => agent.drain_output(inner, token),
                None => inner.notify(Notice::Drained(token)),
            },
        }
    }

    /// Start the workers.
    pub(crate) fn start(&self, inner: &Arc<EngineInner>) {
        if let Supervisor::Agent {
            attached, agent, ..
        } = &self.supervisor
        {
            let attached = attached.lock().take();
            if let Some(attached) = attached {
                let _ = agent.set(Agent::serve(attached, inner));
            }
        }
        for _ in 0..self.launch.workers {
            self.add_worker(inner);
        }
    }

    /// Start one worker more.
    pub(crate) fn add_worker(&self, inner: &Arc<EngineInner>) {
        let number = self.next_worker.fetch_add(1, Ordering::Relaxed);
        self.start_one(inner, format!("worker:0:{number}"), Role::Worker);
    }

    /// Start the warehouse; the rules see to it that there is one at a time.
    pub(crate) fn start_warehouse(&self, inner: &Arc<EngineInner>) {
        self.start_one(inner, "warehouse:0".into(), Role::Warehouse);
    }

    fn start_one(&self, inner: &Arc<EngineInner>, uid: String, role: Role) {
        if self.stopping() {
            return;
        }
        let runtime = RuntimeId(self.next.fetch_add(1, Ordering::Relaxed));
        let what = if role == Role::Warehouse {
            WAREHOUSE
        } else {
            ""
        };
        let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let directory = inner.directory.path().as_os_str().as_bytes();
        let start = Start {
            runtime: runtime.0,
            uid: uid.clone(),
            environment: vec![
                (DIRECTORY.into(), Bytes::copy_from_slice(directory)),
                (RUNTIME.into(), text(&runtime.0.to_string())),
                (UID.into(), text(&uid)),
                (ROLE.into(), text(what)),
                (HEAD.into(), text(&std::process::id().to_string())),
                (MONITOR.into(), text(&self.monitor.to_string())),
            ],
        };
        let worker = Worker {
            uid,
            role,
            connection_closed: Notify::new(),
            ended: Notify::new(),
            cut_off: OnceLock::new(),
        };
        self.workers.lock().insert(runtime, Arc::new(worker));
        match &self.supervisor {
            Supervisor::Own(processes, program) => {
                if let Err(reason) = processes.start(program, &start) {
                    self.not_started(inner, runtime, reason);
                }
            }
            Supervisor::Agent { agent, .. } => {
                if let Some(Err(reason)) = agent.get().map(|agent| agent.start(start)) {
                    self.not_started(inner, runtime, reason);
                }
            }
        }
    }

    /// A process could not be started at all.
    pub(crate) fn not_started(&self, inner: &EngineInner, runtime: RuntimeId, reason: String) {
        let Some(worker) = self.workers.lock().remove(&runtime) else {
            return;
        };
        self.all_gone.notify_one();
        if worker.role == Role::Warehouse {
            let node = NodeId::FIRST;
            inner.process_one(Event::WarehouseFailed { node, reason });
        } else {
            self.give_up(inner, reason);
        }
    }

    fn give_up(&self, inner: &EngineInner, reason: String) {
        *self.gave_up.lock() = Some(reason.clone());
        inner.notify(Notice::Exhausted(reason.clone()));
        inner.process_one(Event::WorkersExhausted(reason));
        inner.wake_watchers();
    }

    /// A runtime takes part: if it is a worker, workers do start.
    pub(crate) fn joined(&self, role: Role) {
        if role == Role::Worker {
            self.failed_starts.store(0, Ordering::Relaxed);
        }
    }

    /// Whether a node agent holds the processes.
    pub(crate) fn has_agent(&self) -> bool {
        matches!(self.supervisor, Supervisor::Agent { .. })
    }

    /// The connection to a worker closed. Its process is dying, or will be ended: without a connection it is of no use.
    /// Returns whether the node watches that runtime's process.
    pub(crate) fn connection_closed(
        &self,
        inner: &Arc<EngineInner>,
        runtime: RuntimeId,
        error: Option<&io::Error>,
    ) -> bool {
        let Some(worker) = self.workers.lock().get(&runtime).cloned() else {
            return false;
        };
        worker.connection_closed.notify_one();
        if self.stopping() {
            // What it still does has the time that the stop gives it.
            return true;
        }
        let inner = Arc::clone(inner);
        let reason = format!("its connection to the head ended{}", because(error));
        tokio::spawn(async move {
            // It ends by itself when it finds that the head lives. One that cannot, or hangs while it exits, must not
            // keep those waiting who called it.
            if tokio::time::timeout(LINGER, worker.ended.notified())
                .await
                .is_err()
                && let Some(node) = &inner.node
            {
                let _ = worker.cut_off.set(reason);
                node.kill(runtime);
            }
        });
        true
    }

    fn kill(&self, runtime: RuntimeId) {
        match &self.supervisor {
            Supervisor::Own(processes, _) => processes.kill(runtime),
            Supervisor::Agent { agent, .. } => {
                if let Some(agent) = agent.get() {
                    agent.kill(runtime);
                }
            }
        }
    }

    /// A process has ended and been reaped: report its death and replace it.
    pub(crate) async fn ended(&self, inner: &Arc<EngineInner>, runtime: RuntimeId, end: Ended) {
        let Some(worker) = self.workers.lock().get(&runtime).cloned() else {
            return;
        };
        worker.ended.notify_one();
        let joined = inner.member(runtime).is_some();
        let cause = match worker.cut_off.get() {
            Some(reason) => format!("{} was ended by the head: {reason}", worker.uid),
            None => format!("{} {}", worker.uid, end.how),
        };
        if joined {
            // What it sent is read first; a process that it left behind may hold its connection open.
            let patience = if self.stopping() {
                RUN_DRY_AT_STOP
            } else {
                RUN_DRY
            };
            let patience = patience.saturating_sub(Duration::from_millis(end.dried_ms));
            let _ = tokio::time::timeout(patience, worker.connection_closed.notified()).await;
            let cause = if self.stopping() {
                "the runtime was stopped".to_owned()
            } else {
                cause.clone()
            };
            inner.process_one(Event::RuntimeDied { runtime, cause });
        }
        self.workers.lock().remove(&runtime);
        self.all_gone.notify_one();
        if self.stopping() {
            return;
        }
        let failure = (!joined).then(|| format!("{cause} before it took part\n{}", end.last_words));
        match (worker.role, failure) {
            (Role::Warehouse, Some(failure)) => {
                let reason = format!("the warehouse does not start: {failure}");
                let node = NodeId::FIRST;
                inner.process_one(Event::WarehouseFailed { node, reason });
            }
            (Role::Warehouse, None) => {}
            (_, Some(failure))
                if self.failed_starts.fetch_add(1, Ordering::Relaxed) + 1 >= FAILED_STARTS =>
            {
                self.give_up(inner, format!("workers do not start: {failure}"));
            }
            _ => self.add_worker(inner),
        }
    }

    /// The agent is gone, and its workers with it: calls to them fail with this reason, and no worker will follow.
    pub(crate) fn lost(&self, inner: &EngineInner, reason: &str) {
        *self.agent.lock() = None;
        if !self.stopping() {
            // Before anybody finds that there is no worker left.
            *self.gave_up.lock() = Some(reason.to_owned());
        }
        // One that was stopped by a signal does not see by itself that it has to end.
        inner.kill_members();
        let workers = std::mem::take(&mut *self.workers.lock());
        for (runtime, worker) in workers {
            worker.ended.notify_one();
            if inner.member(runtime).is_some() {
                let cause = if self.stopping() {
                    "the runtime was stopped".to_owned()
                } else {
                    format!("{} ended, for {reason}", worker.uid)
                };
                inner.process_one(Event::RuntimeDied { runtime, cause });
            }
            if worker.role == Role::Warehouse && !self.stopping() {
                let reason = format!("the warehouse does not start: {reason}");
                let node = NodeId::FIRST;
                inner.process_one(Event::WarehouseFailed { node, reason });
            }
        }
        self.all_gone.notify_one();
        // No process will join, and none would be left to remove it should this one be killed now. What this process
        // still needs of it, it has open.
        inner.directory.remove();
        if !self.stopping() {
            self.give_up(inner, reason.to_owned());
        }
    }

    /// Have the workers end, and wait until they have.
    pub(crate) async fn stop(&self, inner: &Arc<EngineInner>, grace: Option<Duration>) {
        self.stopping.store(true, Ordering::Release);
        match &self.supervisor {
            Supervisor::Own(processes, _) => processes.be_patient(),
            Supervisor::Agent { agent, .. } => {
                if let Some(agent) = agent.get() {
                    agent.be_patient();
                }
            }
        }
        let grace = grace.unwrap_or(self.launch.grace);
        let workers: Vec<_> = self.workers.lock().keys().copied().collect();
        for runtime in workers {
            if inner.member(runtime).is_some() {
                inner.send(
                    runtime,
                    EngineMessage::Shutdown {
                        grace_ms: grace.as_millis() as u64,
                    },
                );
            } else {
                self.kill(runtime);
            }
        }
        let all_gone = async {
            while !self.workers.lock().is_empty() {
                self.all_gone.notified().await;
            }
        };
        tokio::pin!(all_gone);
        if tokio::time::timeout(grace, &mut all_gone).await.is_err() {
            let left: Vec<_> = self.workers.lock().keys().copied().collect();
            for runtime in left {
                self.kill(runtime);
            }
            match &self.supervisor {
                Supervisor::Own(..) => all_gone.await,
                Supervisor::Agent { .. } => {
                    if tokio::time::timeout(UNRESPONSIVE, &mut all_gone)
                        .await
                        .is_err()
                    {
                        // It has been stopped by a signal, perhaps: its workers end all the same.
                        return self.lost(inner, "the node agent does not answer");
                    }
                }
            }
        }
        if let Supervisor::Agent { agent, .. } = &self.supervisor
            && let Some(agent) = agent.get()
        {
            let _ = tokio::time::timeout(UNRESPONSIVE, agent.detach()).await;
        }
    }

    /// The head has stopped. Called on the thread that ends it.
    pub(crate) fn left(&self) {
        if let Supervisor::Agent {
            parent_death_signal,
            ..
        } = &self.supervisor
        {
            parent_death_signal.restore();
        }
    }
}
