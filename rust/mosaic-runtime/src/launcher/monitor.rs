//! The monitor: starts this machine's agent and admits heads, one at a time.
//!
//! It is one I/O thread of `mrun`'s process, which never runs user code. It replaces an agent that dies, and reports
//! to the head that had it how it died.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{Notify, broadcast, mpsc, watch};

use super::admission::accept;
use super::agent::{DIRECTORY, Heads, KEY};
use super::protocol::{NodeAddress, ToChild, write};
use super::{AGENT_SOCKET, MONITOR_SOCKET, NODE_UID, guard};
use crate::engine::EngineError;
use crate::node::directory::Directory;
use crate::node::exit_status::describe;
use crate::node::process::child_ended;
use crate::sync::signal::Signal as Wake;
use crate::sync::{AsyncMutex, Mutex, Rank, threads};

/// How long an agent may take to end its processes at the stop.
const AGENT_END: Duration = Duration::from_secs(2);
/// Agents that may die before they are ready, one after another, until no other is started.
const FAILED_STARTS: u32 = 3;
/// From the start of one to that of the next at least, so that one which dies again and again does not take a core.
const PAUSE: Duration = Duration::from_millis(100);

/// How the monitor is started.
#[derive(Debug)]
pub struct MonitorConfig {
    /// The command that starts an agent; without one this process is the agent too.
    pub agent: Option<Vec<OsString>>,
    /// The key file, by which programs find the directory.
    pub key: PathBuf,
    /// Called with a message when an agent dies.
    pub report: fn(&str),
}

/// The monitor of this process.
pub struct Monitor {
    common: Arc<Common>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// What the threads of a monitor share.
pub(super) struct Common {
    config: MonitorConfig,
    pub(super) place: Directory,
    pub(super) node: watch::Sender<NodeState>,
    pub(super) deaths: broadcast::Sender<String>,
    orders: Mutex<Orders>,
    stopping: Notify,
    /// The process of the admitted head.
    pub(super) head: Mutex<Option<u32>>,
    pub(super) turn: Arc<AsyncMutex<()>>,
    changed: Wake,
}

/// What agents are ordered to do. One lock guards both fields, so that an agent learns of a command whichever starts
/// first.
#[derive(Debug, Default)]
struct Orders {
    /// The command that is to end with this process.
    guarded: Option<u32>,
    /// The orders to the running agent.
    to: Option<mpsc::Sender<ToChild>>,
}

impl Orders {
    /// A command has started, or has ended.
    fn guard(&mut self, command: Option<u32>) {
        self.guarded = command;
        self.give(command.map_or(ToChild::Unguard, ToChild::Guard));
    }

    /// An agent has started.
    fn begin(&mut self, to: mpsc::Sender<ToChild>) {
        self.to = Some(to);
        if let Some(command) = self.guarded {
            self.give(ToChild::Guard(command));
        }
    }

    /// The agent has ended.
    fn end(&mut self) {
        self.to = None;
    }

    fn give(&self, order: ToChild) {
        if let Some(to) = &self.to {
            // An agent that does not read its orders is about to be killed.
            let _ = to.try_send(order);
        }
    }
}

/// The state of this machine's agent.
#[derive(Debug, Clone)]
pub(super) enum NodeState {
    Starting,
    Ready(NodeAddress),
    Failed(String),
    Stopping,
}

impl Monitor {
    /// Start the I/O thread and the agent. The sockets are in that directory, which the monitor removes at its stop.
    pub fn start(place: Directory, config: MonitorConfig) -> Result<Self, EngineError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let path = place.path().join(MONITOR_SOCKET);
        let socket = std::os::unix::net::UnixListener::bind(&path).map_err(|error| {
            EngineError::System(format!(
                "cannot listen at {}: {error} (XDG_RUNTIME_DIR or TMPDIR say where)",
                path.display()
            ))
        })?;
        socket.set_nonblocking(true)?;
        let common = Arc::new(Common::new(place, config)?);
        let for_thread = Arc::clone(&common);
        let thread = threads::spawn("mosaic-monitor", move || {
            runtime.block_on(async {
                tokio::spawn(accept(Arc::clone(&for_thread), socket));
                Arc::clone(&for_thread).keep_agent().await;
            });
            for_thread.changed.raise();
        })?;
        Ok(Self {
            common,
            thread: Mutex::new(Rank::MonitorThread, Some(thread)),
        })
    }

    /// Where the sockets and the secret are.
    pub fn directory(&self) -> &Path {
        self.common.place.path()
    }

    /// The process of the agent, if it is ready.
    pub fn agent(&self) -> Option<u32> {
        match &*self.common.node.borrow() {
            NodeState::Ready(address) => Some(address.pid),
            _ => None,
        }
    }

    /// Block until the agent is ready.
    pub fn wait_ready(&self, deadline: Option<Instant>) -> Result<(), EngineError> {
        let changed = &self.common.changed;
        loop {
            changed.clear();
            match &*self.common.node.borrow() {
                NodeState::Ready(_) => return Ok(()),
                NodeState::Failed(reason) => return Err(EngineError::NoWorkers(reason.clone())),
                NodeState::Stopping => return Err(EngineError::Stopped),
                NodeState::Starting => {}
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if !changed.wait(left)? {
                return Err(EngineError::TimedOut);
            }
        }
    }

    /// Have a command killed when this process has ended, however it ends; `None` when the command has ended.
    pub fn guard(&self, command: Option<u32>) {
        self.common.orders.lock().guard(command);
    }

    /// End the agent and its processes, and remove the key file and the directory. Blocks until all have ended.
    pub fn stop(&self) {
        let Some(thread) = self.thread.lock().take() else {
            return;
        };
        self.common.stopping.notify_one();
        let _ = thread.join();
        guard::remove_key(&self.common.config.key, self.common.place.path());
        self.common.place.leave();
        self.common.place.remove();
    }
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor")
            .field("directory", &self.directory())
            .finish_non_exhaustive()
    }
}

impl Common {
    pub(super) fn new(place: Directory, config: MonitorConfig) -> io::Result<Self> {
        Ok(Self {
            config,
            place,
            node: watch::Sender::new(NodeState::Starting),
            deaths: broadcast::Sender::new(16),
            orders: Mutex::with_default(Rank::AgentOrders),
            stopping: Notify::new(),
            head: Mutex::new(Rank::AdmittedHead, None),
            turn: Arc::default(),
            changed: Wake::new()?,
        })
    }

    fn set(&self, state: NodeState) {
        self.node.send_replace(state);
        self.changed.raise();
    }

    pub(super) fn ready(&self, pid: u32) {
        self.set(NodeState::Ready(NodeAddress {
            uid: NODE_UID.into(),
            pid,
            socket: AGENT_SOCKET.into(),
        }));
    }

    /// Start an agent, and another when it dies, until the stop.
    async fn keep_agent(self: Arc<Self>) {
        if self.config.agent.is_none() {
            return self.run_agent_here().await;
        }
        let mut failed = 0;
        loop {
            let (mut was_ready, began) = (false, Instant::now());
            let how = match self.start_agent() {
                Ok(child) => self.supervise(child, &mut was_ready).await,
                Err(error) => Some(format!("cannot be started: {error}")),
            };
            let Some(how) = how else { return };
            failed = if was_ready { 0 } else { failed + 1 };
            (self.config.report)(&format!("{NODE_UID} {how}"));
            let _ = self.deaths.send(how.clone());
            if failed >= FAILED_STARTS {
                self.set(NodeState::Failed(format!(
                    "{NODE_UID} does not start: it {how}"
                )));
                return self.stopping.notified().await;
            }
            self.set(NodeState::Starting);
            tokio::select! {
                () = tokio::time::sleep_until((began + PAUSE).into()) => {},
                () = self.stopping.notified() => return,
            }
        }
    }

    /// Run the agent in this process.
    async fn run_agent_here(&self) {
        let heads = Directory::join(self.place.path()).and_then(Heads::listen);
        match heads {
            Ok(heads) => {
                self.ready(std::process::id());
                self.stopping.notified().await;
                self.set(NodeState::Stopping);
                heads.close().await;
            }
            Err(error) => {
                self.set(NodeState::Failed(format!(
                    "{NODE_UID} cannot listen: {error}"
                )));
                self.stopping.notified().await;
            }
        }
    }

    fn start_agent(&self) -> io::Result<Child> {
        let [program, arguments @ ..] = self.config.agent.as_deref().unwrap_or_default() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        // A process group of its own keeps Ctrl-C away: it ends by an order, or when this process has ended.
        Command::new(program)
            .args(arguments)
            .env(DIRECTORY, self.place.path())
            .env(KEY, &self.config.key)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
    }

    /// Supervise an agent until it ends. Returns how it ended, or `None` if it was ordered to.
    async fn supervise(&self, mut child: Child, was_ready: &mut bool) -> Option<String> {
        let pid = child.id();
        let (orders, waiting) = mpsc::channel(16);
        self.orders.lock().begin(orders);
        let pipes = (child.stdin.take(), child.stdout.take());
        if let (Some(to), Some(from)) = pipes
            && let (Ok(to), Ok(mut from)) = (
                pipe::Sender::from_owned_fd(to.into()),
                pipe::Receiver::from_owned_fd(from.into()),
            )
        {
            tokio::spawn(give_orders(to, waiting));
            let mut byte = [0];
            tokio::select! {
                read = from.read_exact(&mut byte) => if read.is_ok() {
                    *was_ready = true;
                    self.ready(pid);
                },
                () = self.stopping.notified() => self.stopping.notify_one(),
            }
        }
        let process = Pid::from_raw(pid.cast_signed())?;
        let ended = child_ended(process);
        tokio::pin!(ended);
        let ordered = tokio::select! {
            () = &mut ended => {
                // No head is sent to this agent any more.
                self.set(NodeState::Starting);
                false
            },
            () = self.stopping.notified() => {
                self.set(NodeState::Stopping);
                self.orders.lock().give(ToChild::Stop);
                if tokio::time::timeout(AGENT_END, ended).await.is_err() {
                    // Its workers end by themselves when their agent has died.
                    let _ = kill_process(process, Signal::KILL);
                }
                true
            },
        };
        let status = tokio::task::spawn_blocking(move || child.wait()).await;
        self.orders.lock().end();
        let how = describe(status.unwrap_or_else(|error| Err(io::Error::other(error))));
        (!ordered).then_some(how)
    }
}

/// Write orders to an agent. The channel stays open until the agent has ended: to the agent, an end of its orders means
/// that this process has died.
async fn give_orders(mut to: pipe::Sender, mut waiting: mpsc::Receiver<ToChild>) {
    while let Some(order) = waiting.recv().await {
        if write(&mut to, &order).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_knows_the_command_whichever_came_first() {
        let mut orders = Orders::default();
        orders.guard(Some(7));
        for command in [Some(7), Some(8), None] {
            let (to, mut waiting) = mpsc::channel(2);
            orders.begin(to);
            orders.guard(command);
            orders.end();
            let mut known = None;
            while let Some(order) = waiting.blocking_recv() {
                known = match order {
                    ToChild::Guard(command) => Some(command),
                    ToChild::Unguard => None,
                    ToChild::Stop => panic!("no stop was ordered"),
                };
            }
            assert_eq!(known, command);
        }
        let (to, mut waiting) = mpsc::channel(2);
        orders.begin(to);
        orders.end();
        assert!(waiting.blocking_recv().is_none(), "there is no command");
        orders.guard(Some(9));
        let (to, mut waiting) = mpsc::channel(2);
        orders.begin(to);
        let order = waiting.blocking_recv();
        assert!(matches!(order, Some(ToChild::Guard(9))), "{order:?}");
    }
}
