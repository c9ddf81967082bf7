//! The node agent: starts and supervises processes for one head at a time.
//!
//! The process has one I/O thread, its only thread, and runs no user code. A head has the agent until its last
//! process has been reaped, so that heads never share the machine. Orders of the monitor come through standard input;
//! its end means that the monitor was killed.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mosaic_core::id::RuntimeId;
use tokio::io::{AsyncRead, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::unix::{OwnedWriteHalf, pipe};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};

use super::protocol::{FromAgent, ToAgent, ToChild, WINDOW, cost, read, write};
use super::{AGENT_SOCKET, HALF_OPEN, guard};
use crate::engine::EngineError;
use crate::net::listener::accept_each;
use crate::node::descriptors::Descriptors;
use crate::node::directory::{self, Directory};
use crate::node::process::peer_gone;
use crate::node::processes::{Ended, Line, ProcessEvents, Processes};
use crate::sync::{AsyncMutex, Mutex, Rank, threads};

/// Environment of an agent: the directory of the sockets and the secret.
pub(crate) const DIRECTORY: &str = "MOSAIC_AGENT_DIRECTORY";
/// Environment of an agent: the key file, by which programs find it.
pub(crate) const KEY: &str = "MOSAIC_AGENT_KEY";

/// Events that may wait to be written; output has its own limit.
const EVENTS: usize = 1024;

/// What an agent has to know.
#[derive(Debug)]
pub struct AgentConfig {
    /// The directory of the sockets and the secret.
    pub directory: PathBuf,
    /// The key file, by which programs find the agent; removed if the monitor is killed.
    pub key: PathBuf,
}

impl AgentConfig {
    /// The one that the monitor put into the environment.
    pub fn from_environment() -> Result<Self, EngineError> {
        let read = |name: &str| {
            std::env::var_os(name).map(PathBuf::from).ok_or_else(|| {
                EngineError::System(format!(
                    "{name} is not set: node agents are started by mrun, not by hand"
                ))
            })
        };
        Ok(Self {
            directory: read(DIRECTORY)?,
            key: read(KEY)?,
        })
    }
}

/// Be this machine's agent until the monitor ends.
pub fn agent(config: &AgentConfig) -> Result<(), EngineError> {
    threads::unblock_signals();
    let place = Directory::join(&config.directory)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let orders = pipe::Receiver::from_owned_fd(own(rustix::stdio::stdin())?)?;
        let heads = Heads::listen(place)?;
        let mut ready = pipe::Sender::from_owned_fd(own(rustix::stdio::stdout())?)?;
        // Fails if the monitor has died already, which the end of its orders says too.
        let _ = ready.write_all(b"\n").await;
        match follow(orders).await {
            Orders::Stop => heads.close().await,
            Orders::Lost { guarded } => {
                guard::remove_key(&config.key, &config.directory);
                let ending = async {
                    if let Some(leader) = guarded {
                        guard::end_group(leader).await;
                    }
                };
                tokio::join!(heads.close(), ending);
                heads.place.remove();
            }
        }
        Ok(())
    })
}

/// A duplicate of a standard descriptor, which started processes do not inherit.
fn own(descriptor: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(descriptor, 3)?)
}

/// How the orders of the monitor ended.
enum Orders {
    Stop,
    Lost { guarded: Option<u32> },
}

async fn follow(orders: impl AsyncRead + Unpin) -> Orders {
    let mut orders = BufReader::new(orders);
    let mut guarded = None;
    loop {
        match read(&mut orders).await {
            Ok(Some(ToChild::Guard(leader))) => guarded = Some(leader),
            Ok(Some(ToChild::Unguard)) => guarded = None,
            Ok(Some(ToChild::Stop)) => return Orders::Stop,
            Ok(None) | Err(_) => return Orders::Lost { guarded },
        }
    }
}

/// Serves heads, one after another.
pub(crate) struct Heads {
    place: Directory,
    turn: AsyncMutex<()>,
    closing: watch::Sender<bool>,
    /// The raised limit of open files, for the pipes of many processes.
    descriptors: Mutex<Option<Descriptors>>,
}

impl Heads {
    /// Listen in that directory. Called on an I/O thread.
    pub(crate) fn listen(place: Directory) -> io::Result<Arc<Self>> {
        let socket = place.path().join(AGENT_SOCKET);
        // An agent that was killed may have left its socket.
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(socket)?;
        let heads = Arc::new(Self {
            place,
            turn: AsyncMutex::new(()),
            closing: watch::Sender::new(false),
            descriptors: Mutex::new(Rank::AgentDescriptors, Some(Descriptors::raise(false))),
        });
        tokio::spawn(accept(Arc::clone(&heads), listener));
        Ok(heads)
    }

    /// End the processes of the attached head and serve no other. Returns when all have ended.
    pub(crate) async fn close(&self) {
        self.closing.send_replace(true);
        drop(self.turn.lock().await);
        let descriptors = self.descriptors.lock().take();
        drop(descriptors);
    }
}

async fn accept(heads: Arc<Heads>, listener: UnixListener) {
    let secret = heads.place.secret().clone();
    accept_each(listener, secret, HALF_OPEN, move |stream, known| {
        let heads = Arc::clone(&heads);
        async move {
            if known.is_ok() {
                serve(&heads, stream).await;
            }
        }
    })
    .await;
}

/// Serve a head from its connection to the end of its last process.
async fn serve(heads: &Heads, stream: UnixStream) {
    let gone = peer_gone(stream.peer_cred().ok().and_then(|peer| peer.pid()));
    tokio::pin!(gone);
    let (from, to) = stream.into_split();
    let mut from = BufReader::new(from);
    let Ok(Some(ToAgent::Attach { program, directory })) = read(&mut from).await else {
        return;
    };
    let turn = heads.turn.lock().await;
    let mut closing = heads.closing.subscribe();
    let (events, waiting) = mpsc::channel(EVENTS);
    let credit = Arc::new(OutputCredit::new());
    tokio::spawn(write_events(to, waiting));
    let processes = Processes::new(Head {
        events: events.clone(),
        credit: Arc::clone(&credit),
    });
    let _ = events.send(FromAgent::Attached).await;
    let left = loop {
        let order = tokio::select! {
            order = read(&mut from) => order,
            _ = closing.wait_for(|closing| *closing) => break false,
            () = &mut gone => break false,
        };
        match order {
            Ok(Some(ToAgent::Start(start))) => {
                if let Err(reason) = processes.start(&program, &start) {
                    let runtime = start.runtime;
                    let _ = events.send(FromAgent::NotStarted { runtime, reason }).await;
                }
            }
            Ok(Some(ToAgent::Kill(runtime))) => processes.kill(RuntimeId(runtime)),
            Ok(Some(ToAgent::Drain(token))) => {
                let events = events.clone();
                // The lines that were printed before are in the channel by then.
                processes.flush_barrier.begin(move || {
                    if let Ok(runtime) = Handle::try_current() {
                        runtime.spawn(send(events, FromAgent::Drained(token)));
                    }
                });
            }
            Ok(Some(ToAgent::BePatient)) => processes.be_patient(),
            Ok(Some(ToAgent::Credit(cost))) => credit.grant(cost),
            Ok(Some(ToAgent::Detach)) => break true,
            Ok(Some(ToAgent::Attach { .. }) | None) | Err(_) => break false,
        }
    };
    if !left {
        // The head reads no more: waits for credit end.
        credit.space.close();
    }
    processes.kill_all();
    processes.all_gone().await;
    if left {
        let _ = events.send(FromAgent::Detached).await;
    } else {
        directory::remove_of_dead(Path::new(std::ffi::OsStr::from_bytes(&directory)));
    }
    drop(turn);
}

async fn send(to: mpsc::Sender<FromAgent>, event: FromAgent) {
    let _ = to.send(event).await;
}

async fn write_events(to: OwnedWriteHalf, mut waiting: mpsc::Receiver<FromAgent>) {
    let mut to = BufWriter::new(to);
    while let Some(mut events) = waiting.recv().await {
        loop {
            if write(&mut to, &events).await.is_err() {
                return;
            }
            match waiting.try_recv() {
                Ok(next) => events = next,
                Err(_) => break,
            }
        }
        if to.flush().await.is_err() {
            return;
        }
    }
}

/// The connection to a head, for the events of its processes.
struct Head {
    events: mpsc::Sender<FromAgent>,
    credit: Arc<OutputCredit>,
}

/// The credit for output in flight to a head.
struct OutputCredit {
    space: Semaphore,
    /// Bytes that were sent without credit.
    owed: Mutex<u32>,
}

impl OutputCredit {
    fn new() -> Self {
        Self {
            space: Semaphore::new(WINDOW as usize),
            owed: Mutex::new(Rank::OutputDebt, 0),
        }
    }

    async fn take(&self, cost: u32) {
        if let Ok(taken) = self.space.acquire_many(cost).await {
            // The head grants it again when it has read the line.
            taken.forget();
        }
    }

    fn overdraw(&self, cost: u32) {
        *self.owed.lock() += cost;
    }

    fn grant(&self, cost: u32) {
        let mut owed = self.owed.lock();
        let paid = cost.min(*owed);
        *owed -= paid;
        drop(owed);
        self.space.add_permits((cost - paid) as usize);
    }
}

impl ProcessEvents for Head {
    async fn wait_for_capacity(&self, line: &Line) {
        self.credit.take(cost(line)).await;
    }

    async fn printed(&self, runtime: RuntimeId, line: Line, had_room: bool) {
        if self.credit.space.is_closed() {
            return;
        }
        if !had_room {
            self.credit.overdraw(cost(&line));
        }
        let runtime = runtime.0;
        let _ = self.events.send(FromAgent::Printed { runtime, line }).await;
    }

    async fn ended(&self, runtime: RuntimeId, end: Ended) {
        let runtime = runtime.0;
        let _ = self.events.send(FromAgent::Ended { runtime, end }).await;
    }
}
