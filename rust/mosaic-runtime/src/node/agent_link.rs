//! A head's connections to the monitor and the node agent that `mrun` started.
//!
//! The monitor sends the addresses of the nodes and, when an agent dies, how it died. The agent sends output and ends
//! of workers over one connection. Output is flow-controlled by credit: the agent sends as many bytes as the head has
//! granted, so the connection is always read and no death is stuck behind output.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mosaic_core::id::RuntimeId;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc, watch};

use super::attach::{Attached, MonitorAddress};
use super::processes::Start;
use crate::engine::inner::EngineInner;
use crate::launcher::guard;
use crate::launcher::protocol::{FromAgent, FromMonitor, NodeAddress, ToAgent, cost, read, write};
use crate::node::directory::Directory;
use crate::notice::Notice;
use crate::sync::{Mutex, Rank};

/// Commands to the agent that may wait to be written: one a worker and a few.
const COMMANDS: usize = 4096;
/// How long the monitor may take to say how an agent died.
const LAST_WORD: Duration = Duration::from_millis(50);

/// The agent, as its head holds it.
#[derive(Debug)]
pub(crate) struct Agent {
    commands: mpsc::Sender<ToAgent>,
    common: Arc<Common>,
}

#[derive(Debug)]
struct Common {
    node: NodeAddress,
    monitor_address: MonitorAddress,
    place: Directory,
    /// Why the agent is lost, once it is.
    lost: OnceLock<String>,
    /// What the monitor said of the agent's death.
    verdict: Mutex<Option<String>>,
    verdict_came: Notify,
    detached: watch::Sender<bool>,
    /// The drains of the workers' output that the program waits for.
    draining: Mutex<BTreeSet<u64>>,
}

impl Common {
    fn drained(&self, inner: &EngineInner, token: u64) {
        if self.draining.lock().remove(&token) {
            inner.notify(Notice::Drained(token));
        }
    }
}

impl Agent {
    /// Serve the connections. Called on the I/O thread.
    pub(crate) fn serve(attached: Attached, inner: &Arc<EngineInner>) -> Self {
        let (commands, waiting) = mpsc::channel(COMMANDS);
        let common = Arc::new(Common {
            node: attached.node,
            monitor_address: attached.monitor_address,
            place: attached.place,
            lost: OnceLock::new(),
            verdict: Mutex::with_default(Rank::AgentVerdict),
            verdict_came: Notify::new(),
            detached: watch::Sender::new(false),
            draining: Mutex::with_default(Rank::AgentDrains),
        });
        let streams = (
            UnixStream::from_std(attached.agent),
            UnixStream::from_std(attached.monitor),
        );
        if let (Ok(agent), Ok(monitor)) = streams {
            let (from_agent, to_agent) = agent.into_split();
            tokio::spawn(write_commands(to_agent, waiting));
            tokio::spawn(read_agent(
                Arc::clone(inner),
                Arc::clone(&common),
                from_agent,
                commands.clone(),
            ));
            tokio::spawn(read_monitor(
                Arc::clone(inner),
                Arc::clone(&common),
                monitor,
            ));
        } else {
            let _ = common.lost.set("its connection cannot be served".into());
        }
        Self { commands, common }
    }

    /// Start a process; news of it come to the node.
    pub(crate) fn start(&self, start: Start) -> Result<(), String> {
        if let Some(reason) = self.common.lost.get() {
            return Err(reason.clone());
        }
        self.commands
            .try_send(ToAgent::Start(start))
            .map_err(|error| format!("{} does not listen: {error}", self.common.node.uid))
    }

    /// Kill a process.
    pub(crate) fn kill(&self, runtime: RuntimeId) {
        let _ = self.commands.try_send(ToAgent::Kill(runtime.0));
    }

    /// Report [`Notice::Drained`] when all output that the workers have printed by now has been reported.
    pub(crate) fn drain_output(&self, inner: &EngineInner, token: u64) {
        self.common.draining.lock().insert(token);
        let asked = self.commands.try_send(ToAgent::Drain(token));
        if asked.is_err() || self.common.lost.get().is_some() {
            self.common.drained(inner, token);
        }
    }

    /// Let processes that workers leave behind end by themselves.
    pub(crate) fn be_patient(&self) {
        let _ = self.commands.try_send(ToAgent::BePatient);
    }

    /// Leave the agent to the next head. Returns when nothing of this one's is left there, or the agent is gone.
    pub(crate) async fn detach(&self) {
        let mut detached = self.common.detached.subscribe();
        if self.commands.send(ToAgent::Detach).await.is_ok() {
            let _ = detached.wait_for(|gone| *gone).await;
        }
        self.common.place.leave();
    }
}

async fn write_commands(mut to: OwnedWriteHalf, mut waiting: mpsc::Receiver<ToAgent>) {
    while let Some(command) = waiting.recv().await {
        // An error means that the agent is gone, which the reader sees too.
        if write(&mut to, &command).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
}

async fn read_agent(
    inner: Arc<EngineInner>,
    common: Arc<Common>,
    from: OwnedReadHalf,
    commands: mpsc::Sender<ToAgent>,
) {
    let mut from = BufReader::new(from);
    let (received, taken) = watch::channel(0);
    tokio::spawn(grant_credit(Arc::clone(&inner), taken, commands));
    let error = loop {
        match read(&mut from).await {
            Ok(Some(message)) => {
                if handle(&inner, &common, message, &received) {
                    return;
                }
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    let reason = how_it_ended(&common, error).await;
    agent_lost(&inner, &common, &reason);
}

/// Handle a message of the agent. Returns whether it was the last.
fn handle(
    inner: &Arc<EngineInner>,
    common: &Common,
    message: FromAgent,
    received: &watch::Sender<u64>,
) -> bool {
    let Some(node) = &inner.node else {
        return true;
    };
    match message {
        FromAgent::Attached => {}
        FromAgent::NotStarted { runtime, reason } => {
            node.not_started(inner, RuntimeId(runtime), reason);
        }
        FromAgent::Printed { runtime, line } => {
            let cost = cost(&line);
            inner.printed(RuntimeId(runtime), line);
            received.send_modify(|bytes| *bytes += u64::from(cost));
        }
        FromAgent::Drained(token) => common.drained(inner, token),
        FromAgent::Ended { runtime, end } => {
            let inner = Arc::clone(inner);
            tokio::spawn(async move {
                if let Some(node) = &inner.node {
                    node.ended(&inner, RuntimeId(runtime), end).await;
                }
            });
        }
        FromAgent::Detached => {
            common.detached.send_replace(true);
            return true;
        }
    }
    false
}

/// Grant the agent credit for as much output as the program has read.
async fn grant_credit(
    inner: Arc<EngineInner>,
    mut taken: watch::Receiver<u64>,
    commands: mpsc::Sender<ToAgent>,
) {
    let mut given = 0;
    while taken.changed().await.is_ok() {
        let all = *taken.borrow_and_update();
        inner.notices.wait_for_capacity().await;
        let more = (all - given) as u32;
        if commands.send(ToAgent::Credit(more)).await.is_err() {
            return;
        }
        given = all;
    }
}

async fn how_it_ended(common: &Common, error: Option<io::Error>) -> String {
    let NodeAddress { uid, pid, .. } = &common.node;
    // The monitor is its parent, and knows as soon as it has reaped it.
    if common.verdict.lock().is_none() {
        let _ = tokio::time::timeout(LAST_WORD, common.verdict_came.notified()).await;
    }
    let verdict = common.verdict.lock().clone();
    match (verdict, error) {
        (Some(how), _) => how,
        (None, Some(error)) => format!("the connection to {uid} (process {pid}) broke: {error}"),
        (None, None) => format!("{uid} (process {pid}) is gone"),
    }
}

fn agent_lost(inner: &Arc<EngineInner>, common: &Common, reason: &str) {
    if common.lost.set(reason.to_owned()).is_ok()
        && let Some(node) = &inner.node
    {
        node.lost(inner, reason);
    }
    let draining = std::mem::take(&mut *common.draining.lock());
    for token in draining {
        inner.notify(Notice::Drained(token));
    }
    common.detached.send_replace(true);
}

/// Read the monitor's messages until it has ended; everything that `mrun` has started ends with it.
async fn read_monitor(inner: Arc<EngineInner>, common: Arc<Common>, mut from: UnixStream) {
    loop {
        match read(&mut from).await {
            Ok(Some(FromMonitor::NodeDied { uid, how })) if uid == common.node.uid => {
                *common.verdict.lock() = Some(format!("{uid} {how}"));
                common.verdict_came.notify_one();
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break,
        }
    }
    let monitor_address = &common.monitor_address;
    let reason = format!("mrun (process {}) is gone", monitor_address.monitor);
    *common.verdict.lock() = Some(reason.clone());
    common.verdict_came.notify_one();
    agent_lost(&inner, &common, &reason);
    // The last process removes the files: the agent does the same if it lives.
    guard::remove_key(&monitor_address.key, &monitor_address.directory);
    common.place.remove();
    if monitor_address.commanded {
        guard::end_myself();
    }
}
