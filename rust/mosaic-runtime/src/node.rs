//! A machine's agent: starts the workers, passes on what they print, sees them die, replaces them.
//!
//! The warehouse is started, watched and ended in the same way, but only when the rules ask for it, and nothing takes
//! its place before they ask again.
//!
//! Runs on the head's I/O thread. A worker's death is what the kernel says of its process (a pidfd), never a
//! closed socket alone: the message to everyone names the exit code or the signal. What the worker sent
//! before it died is read first.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mosaic_core::event::{Event, Role};
use mosaic_core::id::RuntimeId;
use mosaic_core::wire::Message;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::memory::{Group, KillCounts, Verdict, own_peak};
use crate::net::process_ended;
use crate::notice::Notice;
use crate::printed::{Rounds, Stream};
use crate::shared::{Shared, lock};
use crate::store::bytes;

/// Environment of a worker: where the runtime's directory is.
pub const DIRECTORY: &str = "MOSAIC_WORKER_DIRECTORY";
/// Environment of a worker: its number.
pub const RUNTIME: &str = "MOSAIC_WORKER_RUNTIME";
/// Environment of a worker: its name.
pub const UID: &str = "MOSAIC_WORKER_UID";
/// Environment of a worker: what it is there for, [`WAREHOUSE`] or anything else.
pub const ROLE: &str = "MOSAIC_WORKER_ROLE";
/// The role of the process that keeps the machine's living values.
pub const WAREHOUSE: &str = "warehouse";
/// Environment of a worker: the process id of the head, with which it ends.
pub const HEAD: &str = "MOSAIC_WORKER_HEAD";

/// Workers that may die before they have joined, one after another, until the node gives up.
const FAILED_STARTS: u32 = 3;
/// How long a dead process's connection and output may take to run dry; longer means that a process which
/// it left behind holds them open.
const RUN_DRY: Duration = Duration::from_millis(50);
/// The same at the stop, where nobody waits for the news: a helper of the worker may be tidying up after it.
const RUN_DRY_AT_STOP: Duration = Duration::from_millis(500);
/// How long a worker that closed its connection may take to end before it is killed.
const LINGER: Duration = Duration::from_secs(1);

/// How workers are started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment on top of this process's own.
    pub environment: Vec<(String, String)>,
    /// How many to start at once.
    pub workers: usize,
    /// How long running methods may go on after the stop.
    pub grace: Duration,
}

/// The agent.
pub(crate) struct Node {
    launch: Launch,
    children: Mutex<BTreeMap<RuntimeId, Arc<Worker>>>,
    next: AtomicU32,
    next_worker: AtomicU32,
    failed_starts: AtomicU32,
    gave_up: Mutex<Option<String>>,
    stopping: AtomicBool,
    all_gone: Notify,
    kills: Mutex<KillCounts>,
    /// Has the pipes of the workers read.
    pub(crate) rounds: Rounds,
}

#[derive(Debug)]
struct Worker {
    uid: String,
    role: Role,
    pid: Pid,
    connection_closed: Notify,
    last_words: Mutex<Vec<u8>>,
    /// Its control group at its start.
    group: Option<Group>,
    /// The largest size in bytes that the memory of this process had by then. The kernel counts it for the new process
    /// too, which was in that memory until it became another program.
    inherited: u64,
}

impl Node {
    pub(crate) fn new(launch: Launch) -> Self {
        Self {
            launch,
            children: Mutex::default(),
            next: AtomicU32::new(1),
            next_worker: AtomicU32::new(0),
            failed_starts: AtomicU32::new(0),
            gave_up: Mutex::default(),
            stopping: AtomicBool::new(false),
            all_gone: Notify::new(),
            kills: Mutex::new(KillCounts::now()),
            rounds: Rounds::new(),
        }
    }

    /// Why no worker will be started any more, if so.
    pub(crate) fn gave_up(&self) -> Option<String> {
        lock(&self.gave_up).clone()
    }

    /// Whether the workers are meant to end.
    pub(crate) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Start the workers.
    pub(crate) fn start(&self, shared: &Arc<Shared>) {
        for _ in 0..self.launch.workers {
            self.add_worker(shared);
        }
    }

    /// Start one worker more.
    pub(crate) fn add_worker(&self, shared: &Arc<Shared>) {
        let number = self.next_worker.fetch_add(1, Ordering::Relaxed);
        if let Err(reason) = self.start_one(shared, format!("worker:0:{number}"), Role::Worker) {
            self.give_up(shared, reason);
        }
    }

    /// Start the warehouse; the rules see to it that there is one at a time.
    pub(crate) fn start_warehouse(&self, shared: &Arc<Shared>) {
        if let Err(reason) = self.start_one(shared, "warehouse:0".into(), Role::Warehouse) {
            shared.process_one(Event::WarehouseFailed(reason));
        }
    }

    fn start_one(&self, shared: &Arc<Shared>, uid: String, role: Role) -> Result<(), String> {
        if self.stopping() {
            return Ok(());
        }
        let runtime = RuntimeId(self.next.fetch_add(1, Ordering::Relaxed));
        match self.spawn(shared, runtime, &uid, role) {
            Ok(mut child) => {
                let Some(pid) = Pid::from_raw(child.id().cast_signed()) else {
                    return Ok(());
                };
                let worker = Arc::new(Worker {
                    uid,
                    role,
                    pid,
                    connection_closed: Notify::new(),
                    last_words: Mutex::default(),
                    group: Group::of(child.id()),
                    inherited: own_peak().unwrap_or(0),
                });
                lock(&self.children).insert(runtime, Arc::clone(&worker));
                let outputs = (child.stdout.take(), child.stderr.take());
                let pass_on = |from: OwnedFd, error| {
                    let (shared, worker) = (Arc::clone(shared), Arc::clone(&worker));
                    let rounds = self.rounds.reader();
                    tokio::spawn(async move {
                        let stream = Stream {
                            shared: &shared,
                            uid: &worker.uid,
                            error,
                            last_words: error.then_some(&worker.last_words),
                        };
                        stream.pass_on(from, rounds).await;
                    })
                };
                let out = outputs.0.map(|out| pass_on(out.into(), false));
                let err = outputs.1.map(|err| pass_on(err.into(), true));
                tokio::spawn(watch(Arc::clone(shared), runtime, worker, [out, err]));
                Ok(())
            }
            Err(error) => {
                let program = self.launch.command.first().cloned().unwrap_or_default();
                Err(format!("cannot start {uid} with {program:?}: {error}"))
            }
        }
    }

    fn spawn(
        &self,
        shared: &Shared,
        runtime: RuntimeId,
        uid: &str,
        role: Role,
    ) -> io::Result<Child> {
        let [program, arguments @ ..] = &self.launch.command[..] else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no command to start workers with",
            ));
        };
        // A process group of their own: Ctrl-C at the terminal is the driver's, who tells the workers; and what a
        // worker leaves running can be found by it.
        Command::new(program)
            .args(arguments)
            .envs(
                self.launch
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .env(DIRECTORY, shared.directory.path())
            .env(RUNTIME, runtime.0.to_string())
            .env(UID, uid)
            .env(
                ROLE,
                if role == Role::Warehouse {
                    WAREHOUSE
                } else {
                    ""
                },
            )
            .env(HEAD, std::process::id().to_string())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    fn give_up(&self, shared: &Shared, reason: String) {
        *lock(&self.gave_up) = Some(reason.clone());
        shared.tell(Notice::Exhausted(reason.clone()));
        shared.process_one(Event::WorkersExhausted(reason));
        shared.wake_watchers();
    }

    /// A runtime takes part: if it is a worker, workers do start.
    pub(crate) fn joined(&self, role: Role) {
        if role == Role::Worker {
            self.failed_starts.store(0, Ordering::Relaxed);
        }
    }

    /// The connection to a worker closed. Returns whether the node watches that runtime's process.
    pub(crate) fn connection_closed(&self, runtime: RuntimeId) -> bool {
        let Some(worker) = lock(&self.children).get(&runtime).cloned() else {
            return false;
        };
        worker.connection_closed.notify_one();
        if self.stopping() {
            // What it still does has the time that the stop gives it.
            return true;
        }
        tokio::spawn(async move {
            // A process that hangs while it exits must not keep those waiting who called it.
            if let Ok(Err(_)) | Err(_) =
                tokio::time::timeout(LINGER, process_ended(worker.pid)).await
            {
                let _ = kill_process(worker.pid, Signal::KILL);
            }
        });
        true
    }

    /// Have the workers end, and wait until they have.
    pub(crate) async fn stop(&self, shared: &Arc<Shared>, grace: Option<Duration>) {
        self.stopping.store(true, Ordering::Release);
        let grace = grace.unwrap_or(self.launch.grace);
        let workers: Vec<_> = lock(&self.children)
            .iter()
            .map(|(runtime, worker)| (*runtime, Arc::clone(worker)))
            .collect();
        for (runtime, worker) in &workers {
            if shared.member(*runtime).is_some() {
                shared.send(
                    *runtime,
                    &Message::Shutdown {
                        grace_ms: grace.as_millis() as u64,
                    },
                );
            } else {
                let _ = kill_process(worker.pid, Signal::KILL);
            }
        }
        let all_gone = async {
            while !lock(&self.children).is_empty() {
                self.all_gone.notified().await;
            }
        };
        tokio::pin!(all_gone);
        if tokio::time::timeout(grace, &mut all_gone).await.is_err() {
            for worker in lock(&self.children).values() {
                let _ = kill_process(worker.pid, Signal::KILL);
            }
            all_gone.await;
        }
    }
}

/// See a worker's process through to its end and settle what follows.
async fn watch(
    shared: Arc<Shared>,
    runtime: RuntimeId,
    worker: Arc<Worker>,
    outputs: [Option<JoinHandle<()>>; 2],
) {
    let Some(node) = &shared.node else { return };
    let pid = worker.pid;
    if process_ended(pid).await.is_err() {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let _ = spawn_blocking(move || waitid(WaitId::Pid(pid), ended)).await;
    }
    let joined = shared.member(runtime).is_some();
    let patience = if node.stopping() {
        RUN_DRY_AT_STOP
    } else {
        RUN_DRY
    };
    run_dry(&worker, joined, outputs, patience).await;
    // What the methods started and left running. Before the worker is reaped: its number is nobody else's until then.
    let _ = kill_process_group(pid, Signal::KILL);
    let cause = format!("{} {}", worker.uid, reap(&worker, node));
    if joined {
        let cause = if node.stopping() {
            "the runtime was stopped".to_owned()
        } else {
            cause.clone()
        };
        shared.process_one(Event::RuntimeDied { runtime, cause });
    }
    lock(&node.children).remove(&runtime);
    node.all_gone.notify_one();
    if node.stopping() {
        return;
    }
    let failure = (!joined).then(|| {
        let words = String::from_utf8_lossy(&lock(&worker.last_words))
            .trim()
            .to_owned();
        format!("{cause} before it took part\n{words}")
    });
    match (worker.role, failure) {
        (Role::Warehouse, Some(failure)) => {
            let reason = format!("the warehouse does not start: {failure}");
            shared.process_one(Event::WarehouseFailed(reason));
        }
        (Role::Warehouse, None) => {}
        (_, Some(failure))
            if node.failed_starts.fetch_add(1, Ordering::Relaxed) + 1 >= FAILED_STARTS =>
        {
            node.give_up(&shared, format!("workers do not start: {failure}"));
        }
        _ => node.add_worker(&shared),
    }
}

/// Wait until all has been read that an ended process sent and printed.
async fn run_dry(
    worker: &Worker,
    joined: bool,
    outputs: [Option<JoinHandle<()>>; 2],
    patience: Duration,
) {
    let aborts: Vec<_> = outputs
        .iter()
        .flatten()
        .map(JoinHandle::abort_handle)
        .collect();
    let [out, err] = outputs;
    let all = async {
        if joined {
            worker.connection_closed.notified().await;
        }
        for output in [out, err].into_iter().flatten() {
            let _ = output.await;
        }
    };
    if tokio::time::timeout(patience, all).await.is_err() {
        for abort in aborts {
            abort.abort();
        }
    }
}

/// Reap a process that has ended, and say how it did.
fn reap(worker: &Worker, node: &Node) -> String {
    let pid = worker.pid.as_raw_nonzero().get();
    // Before it is reaped: it may be in another group than at its start.
    let group = Group::of_ended(pid.cast_unsigned()).or_else(|| worker.group.clone());
    let mut status = 0;
    // SAFETY: plain numbers, of which zeros are valid ones.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: a child of this process that nobody else waits for; both places live through the call.
    if unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) } < 0 {
        return describe(Err(io::Error::last_os_error()));
    }
    let status = ExitStatus::from_raw(status);
    if status.signal() != Some(libc::SIGKILL) {
        return describe(Ok(status));
    }
    let killed = "was killed by signal 9 (SIGKILL";
    match lock(&node.kills).explain(group.as_ref()) {
        Verdict::Unknown => describe(Ok(status)),
        Verdict::NotMemory => format!("{killed}: by somebody, not for want of memory)"),
        Verdict::Memory { limit, of_group } => {
            // In units of 1024 bytes; on the platforms that count kills.
            let peak = u64::try_from(usage.ru_maxrss).unwrap_or(0) << 10;
            let had = if peak > worker.inherited {
                format!("up to {}", bytes(peak))
            } else {
                format!("at most {}", bytes(limit.unwrap_or(peak).min(peak)))
            };
            let whose = if of_group {
                "its control group"
            } else {
                "the machine"
            };
            let limit = limit.map_or("unknown".into(), bytes);
            format!(
                "{killed}: by the system, for want of memory; it had {had}, the limit of {whose} is {limit})"
            )
        }
    }
}

fn describe(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => match (status.signal(), status.code()) {
            (Some(signal), _) => format!("was killed by signal {signal} ({})", signal_name(signal)),
            (None, Some(code)) => format!("exited with code {code}"),
            (None, None) => "ended".into(),
        },
        Err(error) => format!("ended, and its status cannot be read: {error}"),
    }
}

fn signal_name(number: i32) -> &'static str {
    match number {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL, an illegal instruction",
        libc::SIGABRT => "SIGABRT, an abort",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL: by somebody, or by the system for want of memory",
        libc::SIGSEGV => "SIGSEGV, a segmentation fault",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU, its CPU time limit",
        _ => "a signal",
    }
}
