//! The child processes of one machine: start, supervision, end.
//!
//! Runs on one I/O thread: the head's, or that of a node agent. It decides nothing: [`ProcessEvents`] receives output
//! and ends, and is the head itself or a connection to it.
//!
//! The kernel reports the end of a process (pidfd). Its remaining output is forwarded before its end, and its process
//! group is killed before it is reaped, while its number cannot be another's.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mosaic_core::id::RuntimeId;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::exit_status::{AtStart, reap};
use crate::node::cgroup::{Group, KillCounts, own_peak};
use crate::node::descriptors;
use crate::node::descriptors::SHORTAGE;
use crate::node::process::child_ended;
use crate::node::stdio::{FlushBarrier, OutputStream};
use crate::sync::{Mutex, Rank};

/// How long a dead process's output may take to run dry; longer means that a process which it left behind holds it
/// open.
pub(crate) const RUN_DRY: Duration = Duration::from_millis(50);
/// The same at the stop, where no caller waits for the end: a helper of the worker may be tidying up after it.
pub(crate) const RUN_DRY_AT_STOP: Duration = Duration::from_millis(500);

/// What all processes of a runtime have in common.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Program {
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// The environment: added to that of this process, or all of it.
    pub(crate) environment: Vec<(Bytes, Bytes)>,
    /// Whether it is all.
    pub(crate) whole: bool,
    /// Where they start; `None` for where this process is.
    pub(crate) working_directory: Option<Bytes>,
}

/// One process to be started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Start {
    /// Its number in the runtime.
    pub(crate) runtime: u32,
    /// Its name.
    pub(crate) uid: String,
    /// Environment of its own.
    pub(crate) environment: Vec<(String, Bytes)>,
}

/// How a process ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// "was killed by signal 9", "exited with code 3".
    pub(crate) how: String,
    /// What it said last on standard error.
    pub(crate) last_words: String,
    /// How long its output took to run dry, in milliseconds.
    pub(crate) dried_ms: u64,
}

/// A line that a process printed, without its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Line {
    /// On standard error rather than standard output.
    pub(crate) error: bool,
    /// Where the worker says that it belongs, if it does.
    pub(crate) origin: Option<u32>,
    /// What.
    pub(crate) text: Bytes,
}

/// Receives what happens to the processes.
pub(crate) trait ProcessEvents: Send + Sync + 'static {
    /// Wait until there is capacity for a line.
    fn wait_for_capacity(&self, line: &Line) -> impl Future<Output = ()> + Send;
    /// A line was printed, for which there was capacity or which cannot wait for it.
    fn printed(
        &self,
        runtime: RuntimeId,
        line: Line,
        had_room: bool,
    ) -> impl Future<Output = ()> + Send;
    /// A process has ended and been reaped.
    fn ended(&self, runtime: RuntimeId, end: Ended) -> impl Future<Output = ()> + Send;
}

/// The child processes of this one.
#[derive(Debug)]
pub(crate) struct Processes<A> {
    events: A,
    children: Mutex<BTreeMap<RuntimeId, Arc<Watched>>>,
    /// Those that wait for descriptors.
    unstarted: Mutex<BTreeSet<RuntimeId>>,
    all_gone: Notify,
    patient: AtomicBool,
    kills: Mutex<KillCounts>,
    /// Flushes their output.
    pub(crate) flush_barrier: FlushBarrier,
}

#[derive(Debug)]
struct Watched {
    pid: Pid,
    last_words: Mutex<Vec<u8>>,
    at_start: AtStart,
}

impl<A: ProcessEvents> Processes<A> {
    pub(crate) fn new(events: A) -> Arc<Self> {
        Arc::new(Self {
            events,
            children: Mutex::with_default(Rank::Children),
            unstarted: Mutex::with_default(Rank::UnstartedChildren),
            all_gone: Notify::new(),
            patient: AtomicBool::new(false),
            kills: Mutex::new(Rank::KillCounts, KillCounts::now()),
            flush_barrier: FlushBarrier::new(),
        })
    }

    /// Start one, once there are descriptors for it. The reason comes back if it cannot be.
    pub(crate) fn start(self: &Arc<Self>, program: &Program, start: &Start) -> Result<(), String> {
        let cannot = |error: io::Error| {
            let name = program.command.first().cloned().unwrap_or_default();
            format!("cannot start {} with {name:?}: {error}", start.uid)
        };
        match spawn(program, start) {
            Ok(child) => self.watch(child, start),
            Err(error) if descriptors::are_short(&error) => {
                self.unstarted.lock().insert(RuntimeId(start.runtime));
                let (program, start) = (program.clone(), start.clone());
                tokio::spawn(start_later(Arc::clone(self), program, start));
            }
            Err(error) => return Err(cannot(error)),
        }
        Ok(())
    }

    fn watch(self: &Arc<Self>, mut child: Child, start: &Start) {
        let Some(pid) = Pid::from_raw(child.id().cast_signed()) else {
            return;
        };
        let watched = Arc::new(Watched {
            pid,
            last_words: Mutex::with_default(Rank::LastWords),
            at_start: AtStart {
                group: Group::of(child.id()),
                inherited: own_peak().unwrap_or(0),
            },
        });
        let runtime = RuntimeId(start.runtime);
        self.children.lock().insert(runtime, Arc::clone(&watched));
        let (finish, finishing) = watch::channel(false);
        let listen = |from: OwnedFd, error| {
            let (processes, watched) = (Arc::clone(self), Arc::clone(&watched));
            let finish = finishing.clone();
            tokio::spawn(async move {
                let stream = OutputStream {
                    events: &processes.events,
                    flush_barrier: &processes.flush_barrier,
                    runtime,
                    error,
                    last_words: &watched.last_words,
                    finish,
                };
                stream.forward(from).await;
            })
        };
        let out = child.stdout.take().map(|out| listen(out.into(), false));
        let err = child.stderr.take().map(|err| listen(err.into(), true));
        let outputs = [out, err];
        tokio::spawn(see_through(
            Arc::clone(self),
            runtime,
            watched,
            outputs,
            finish,
        ));
    }

    /// Kill one, if it still runs.
    pub(crate) fn kill(&self, runtime: RuntimeId) {
        self.unstarted.lock().remove(&runtime);
        // A child is reaped after it is taken out: while the lock is held its number is its own.
        let children = self.children.lock();
        if let Some(watched) = children.get(&runtime) {
            let _ = kill_process(watched.pid, Signal::KILL);
        }
    }

    /// Kill all.
    pub(crate) fn kill_all(&self) {
        self.unstarted.lock().clear();
        let children = self.children.lock();
        for watched in children.values() {
            let _ = kill_process(watched.pid, Signal::KILL);
        }
    }

    /// Give what the processes left running time to end by itself from now on.
    pub(crate) fn be_patient(&self) {
        self.patient.store(true, Ordering::Relaxed);
    }

    /// Wait until all have ended.
    pub(crate) async fn all_gone(&self) {
        while !self.children.lock().is_empty() {
            self.all_gone.notified().await;
        }
    }

    fn patience(&self) -> Duration {
        if self.patient.load(Ordering::Relaxed) {
            RUN_DRY_AT_STOP
        } else {
            RUN_DRY
        }
    }
}

/// Try again to start a process, until it is not wanted any more: no event says when there are descriptors again.
async fn start_later<A: ProcessEvents>(
    processes: Arc<Processes<A>>,
    program: Program,
    start: Start,
) {
    let runtime = RuntimeId(start.runtime);
    let how = loop {
        tokio::time::sleep(SHORTAGE).await;
        if !processes.unstarted.lock().contains(&runtime) {
            break "was not started".to_owned();
        }
        match spawn(&program, &start) {
            Ok(child) => {
                processes.unstarted.lock().remove(&runtime);
                return processes.watch(child, &start);
            }
            Err(error) if descriptors::are_short(&error) => {}
            Err(error) => break format!("cannot be started: {error}"),
        }
    };
    processes.unstarted.lock().remove(&runtime);
    let end = Ended {
        how,
        last_words: String::new(),
        dried_ms: 0,
    };
    processes.events.ended(runtime, end).await;
    processes.all_gone.notify_one();
}

fn spawn(program: &Program, start: &Start) -> io::Result<Child> {
    let [name, arguments @ ..] = &program.command[..] else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "no command to start workers with",
        ));
    };
    let mut command = Command::new(name);
    if program.whole {
        command.env_clear();
    }
    if let Some(directory) = &program.working_directory {
        command.current_dir(OsStr::from_bytes(directory));
    }
    let shared = program
        .environment
        .iter()
        .map(|(name, value)| (OsStr::from_bytes(name), OsStr::from_bytes(value)));
    let own = start
        .environment
        .iter()
        .map(|(name, value)| (OsStr::new(name), OsStr::from_bytes(value)));
    // A process group of their own: Ctrl-C at the terminal reaches the driver, which stops the workers; and what a
    // worker leaves running can be found by it.
    command
        .args(arguments)
        .envs(shared)
        .envs(own)
        .env(super::PARENT, std::process::id().to_string())
        .envs(descriptors::given().map(|given| (descriptors::VARIABLE, given.to_string())))
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// See a process through to its end.
async fn see_through<A: ProcessEvents>(
    processes: Arc<Processes<A>>,
    runtime: RuntimeId,
    watched: Arc<Watched>,
    outputs: [Option<JoinHandle<()>>; 2],
    finish: watch::Sender<bool>,
) {
    let pid = watched.pid;
    child_ended(pid).await;
    let since = Instant::now();
    run_dry(outputs, processes.patience(), &finish).await;
    let dried_ms = since.elapsed().as_millis() as u64;
    // What the methods started and left running. Before the worker is reaped.
    let _ = kill_process_group(pid, Signal::KILL);
    let last_words = String::from_utf8_lossy(&watched.last_words.lock())
        .trim()
        .to_owned();
    let how = reap(pid, &watched.at_start, &processes.kills, &last_words);
    processes.children.lock().remove(&runtime);
    let end = Ended {
        how,
        last_words,
        dried_ms,
    };
    processes.events.ended(runtime, end).await;
    processes.all_gone.notify_one();
}

/// Wait until all has been read that an ended process printed, for so long to the end of its pipes.
async fn run_dry(
    outputs: [Option<JoinHandle<()>>; 2],
    patience: Duration,
    finish: &watch::Sender<bool>,
) {
    let all = async {
        for output in outputs.into_iter().flatten() {
            let _ = output.await;
        }
    };
    tokio::pin!(all);
    if tokio::time::timeout(patience, &mut all).await.is_err() {
        finish.send_replace(true);
        all.await;
    }
}

/// A name or a value of an environment, as it travels.
pub(crate) fn as_bytes(text: OsString) -> Bytes {
    use std::os::unix::ffi::OsStringExt;
    text.into_vec().into()
}
