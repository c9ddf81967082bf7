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
/// Environment of an agent: the file that tells programs of it.
pub(crate) const KEY: &str = "MOSAIC_AGENT_KEY";

/// News that may wait to be written; output has its own limit.
const NEWS: usize = 1024;

/// What an agent has to know.
#[derive(Debug)]
pub struct AgentConfig {
    /// The directory of the sockets and the secret.
    pub directory: PathBuf,
    /// The file that tells programs of it; removed if the monitor is killed.
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
        // Nobody reads it if the monitor is gone already, as the orders tell too.
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

/// A descriptor of our own for one that everybody has; those that we start do not get it.
fn own(descriptor: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(descriptor, 3)?)
}

/// How the monitor's orders ended.
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

/// Takes heads in, one after another.
pub(crate) struct Heads {
    place: Directory,
    turn: AsyncMutex<()>,
    closing: watch::Sender<bool>,
    /// Pipes to many processes.
    descriptors: Mutex<Option<Descriptors>>,
}

impl Heads {
    /// Listen in that directory. Called on an I/O thread.
    pub(crate) fn listen(place: Directory) -> io::Result<Arc<Self>> {
        let socket = place.path().join(AGENT_SOCKET);
        // One may be left of an agent that was killed.
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

    /// End the processes of the head that is there, and take no other. Returns when all are gone.
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

/// A head's turn, from its coming to the end of its last process.
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
    let (news, waiting) = mpsc::channel(NEWS);
    let room = Arc::new(Room::new());
    tokio::spawn(write_news(to, waiting));
    let processes = Processes::new(Head {
        news: news.clone(),
        room: Arc::clone(&room),
    });
    let _ = news.send(FromAgent::Attached).await;
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
                    let _ = news.send(FromAgent::NotStarted { runtime, reason }).await;
                }
            }
            Ok(Some(ToAgent::Kill(runtime))) => processes.kill(RuntimeId(runtime)),
            Ok(Some(ToAgent::Drain(token))) => {
                let news = news.clone();
                // What was printed is among the news by then.
                processes.flush_barrier.begin(move || {
                    if let Ok(runtime) = Handle::try_current() {
                        runtime.spawn(tell(news, FromAgent::Drained(token)));
                    }
                });
            }
            Ok(Some(ToAgent::BePatient)) => processes.be_patient(),
            Ok(Some(ToAgent::Room(cost))) => room.give_back(cost),
            Ok(Some(ToAgent::Detach)) => break true,
            Ok(Some(ToAgent::Attach { .. }) | None) | Err(_) => break false,
        }
    };
    if !left {
        // Nobody reads any more.
        room.space.close();
    }
    processes.kill_all();
    processes.all_gone().await;
    if left {
        let _ = news.send(FromAgent::Detached).await;
    } else {
        directory::remove_of_dead(Path::new(std::ffi::OsStr::from_bytes(&directory)));
    }
    drop(turn);
}

async fn tell(to: mpsc::Sender<FromAgent>, news: FromAgent) {
    let _ = to.send(news).await;
}

async fn write_news(to: OwnedWriteHalf, mut waiting: mpsc::Receiver<FromAgent>) {
    let mut to = BufWriter::new(to);
    while let Some(mut news) = waiting.recv().await {
        loop {
            if write(&mut to, &news).await.is_err() {
                return;
            }
            match waiting.try_recv() {
                Ok(next) => news = next,
                Err(_) => break,
            }
        }
        if to.flush().await.is_err() {
            return;
        }
    }
}

/// A connection to a head, as the processes tell their news to it.
struct Head {
    news: mpsc::Sender<FromAgent>,
    room: Arc<Room>,
}

/// What output may be on its way to a head.
struct Room {
    space: Semaphore,
    /// What was sent beyond it.
    owed: Mutex<u32>,
}

impl Room {
    fn new() -> Self {
        Self {
            space: Semaphore::new(WINDOW as usize),
            owed: Mutex::new(Rank::OutputDebt, 0),
        }
    }

    async fn take(&self, cost: u32) {
        if let Ok(taken) = self.space.acquire_many(cost).await {
            // The head gives it back.
            taken.forget();
        }
    }

    fn owe(&self, cost: u32) {
        *self.owed.lock() += cost;
    }

    fn give_back(&self, cost: u32) {
        let mut owed = self.owed.lock();
        let paid = cost.min(*owed);
        *owed -= paid;
        drop(owed);
        self.space.add_permits((cost - paid) as usize);
    }
}

impl ProcessEvents for Head {
    async fn wait_for_capacity(&self, line: &Line) {
        self.room.take(cost(line)).await;
    }

    async fn printed(&self, runtime: RuntimeId, line: Line, had_room: bool) {
        if self.room.space.is_closed() {
            return;
        }
        if !had_room {
            self.room.owe(cost(&line));
        }
        let runtime = runtime.0;
        let _ = self.news.send(FromAgent::Printed { runtime, line }).await;
    }

    async fn ended(&self, runtime: RuntimeId, end: Ended) {
        let runtime = runtime.0;
        let _ = self.news.send(FromAgent::Ended { runtime, end }).await;
    }
}
