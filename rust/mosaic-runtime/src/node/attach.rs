//! How a head joins what `mrun` has started: the monitor names the agent, and the agent accepts the head.
//!
//! Runs on the program's thread, before there is an I/O thread.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use mosaic_core::id::RuntimeId;
use tokio::net::UnixStream;

use super::Launch;
use crate::engine::EngineError;
use crate::launcher::MONITOR_SOCKET;
use crate::launcher::protocol::{FromAgent, FromMonitor, Join, NodeAddress, ToAgent, read, write};
use crate::net::handshake::{self, AuthError};
use crate::node::directory::Directory;

/// How long joining may take; the processes of the head before may have to be seen out first.
const JOIN_LIMIT: Duration = Duration::from_secs(30);

/// What a head has to know to join what `mrun` has started.
#[derive(Debug, Clone)]
pub struct MonitorAddress {
    /// The directory with the sockets and the secret.
    pub directory: PathBuf,
    /// The monitor's process.
    pub monitor: u32,
    /// The file that says where all this is; to be removed if no other process is left to do so.
    pub key: PathBuf,
    /// Whether this process belongs to the command that `mrun` runs, and ends with it.
    pub commanded: bool,
}

/// A head's two connections, not yet served.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(super) monitor_address: MonitorAddress,
    pub(super) place: Directory,
    pub(super) node: NodeAddress,
    pub(super) monitor: std::os::unix::net::UnixStream,
    pub(super) agent: std::os::unix::net::UnixStream,
}

impl Attached {
    /// The processes of the monitor and of the agent.
    pub(crate) fn processes(&self) -> (u32, u32) {
        (self.monitor_address.monitor, self.node.pid)
    }
}

/// Connect to the monitor and take its node for the head with that directory.
pub(crate) fn attach(
    monitor_address: MonitorAddress,
    launch: &Launch,
    directory: &Directory,
) -> Result<Attached, EngineError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let late = |_| {
        let seconds = JOIN_LIMIT.as_secs();
        EngineError::System(format!("mrun did not answer within {seconds} s"))
    };
    let place = Directory::join(&monitor_address.directory)?;
    let (node, monitor, agent) = runtime
        .block_on(async { tokio::time::timeout(JOIN_LIMIT, join(&place, launch, directory)).await })
        .map_err(late)??;
    Ok(Attached {
        monitor_address,
        place,
        node,
        monitor: monitor.into_std()?,
        agent: agent.into_std()?,
    })
}

type Joined = (NodeAddress, UnixStream, UnixStream);

async fn join(
    place: &Directory,
    launch: &Launch,
    directory: &Directory,
) -> Result<Joined, EngineError> {
    let mut without = None;
    loop {
        let (node, monitor) = ask_monitor(place, without).await?;
        match ask_agent(place, &node, launch, directory).await {
            Ok(agent) => return Ok((node, monitor, agent)),
            // It has just died, and the monitor may not know yet: another takes its place. One that lives and does not
            // answer will not be replaced.
            Err(failure) if failure.gone && without.is_none() => without = Some(node.pid),
            Err(failure) => return Err(failure.error),
        }
    }
}

async fn ask_monitor(
    place: &Directory,
    without: Option<u32>,
) -> Result<(NodeAddress, UnixStream), EngineError> {
    let mut monitor = connect(place, MONITOR_SOCKET).await?;
    let pid = std::process::id();
    write(&mut monitor, &Join { pid, without }).await?;
    let node = match read(&mut monitor).await? {
        Some(FromMonitor::Welcome(nodes)) => nodes.into_iter().next(),
        Some(FromMonitor::Refused(reason)) => return Err(EngineError::System(reason)),
        _ => None,
    };
    let gone = || EngineError::System("mrun ended while this program joined it".into());
    Ok((node.ok_or_else(gone)?, monitor))
}

async fn ask_agent(
    place: &Directory,
    node: &NodeAddress,
    launch: &Launch,
    directory: &Directory,
) -> Result<UnixStream, Failure> {
    let mut agent = connect(place, &node.socket).await?;
    let message = ToAgent::Attach {
        program: launch.program(true),
        directory: bytes::Bytes::copy_from_slice(directory.path().as_os_str().as_bytes()),
    };
    write(&mut agent, &message).await?;
    if let Some(FromAgent::Attached) = read(&mut agent).await? {
        return Ok(agent);
    }
    let reason = format!("{} ended while this program joined it", node.uid);
    Err(Failure {
        error: EngineError::System(reason),
        gone: true,
    })
}

/// Why the monitor or the agent could not be talked to.
struct Failure {
    error: EngineError,
    /// Whether no process is at the other end, any more or yet.
    gone: bool,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self {
            gone: nobody_there(&error),
            error: error.into(),
        }
    }
}

impl From<Failure> for EngineError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

fn nobody_there(error: &io::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionRefused, ConnectionReset, NotConnected, NotFound, UnexpectedEof,
    };
    // Not found: the next agent has just removed the socket of the one before.
    matches!(
        error.kind(),
        BrokenPipe | ConnectionRefused | ConnectionReset | NotConnected | NotFound | UnexpectedEof
    )
}

async fn connect(place: &Directory, socket: &str) -> Result<UnixStream, Failure> {
    let path = place.path().join(socket);
    let refused = |error: &dyn std::fmt::Display, gone| {
        let reason = format!("cannot join mrun at {}: {error}", path.display());
        let error = EngineError::System(reason);
        Failure { error, gone }
    };
    let mut stream = UnixStream::connect(&path)
        .await
        .map_err(|error| refused(&error, nobody_there(&error)))?;
    handshake::connect(&mut stream, place.secret(), RuntimeId::HEAD)
        .await
        .map_err(|error| {
            let gone = matches!(&error, AuthError::Io(error) if nobody_there(error));
            refused(&error, gone)
        })?;
    Ok(stream)
}
