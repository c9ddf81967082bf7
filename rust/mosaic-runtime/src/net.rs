//! Connections: made when first needed, authenticated before anything else, read in batches.

use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mosaic_core::event::Member;
use mosaic_core::id::RuntimeId;
use mosaic_core::wire::Message;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::auth::{self, AuthError, Secret};
use crate::descriptors;
use crate::inlet::Inlet;
use crate::peer::Stream;
use crate::shared::Shared;

/// Connections of an engine that may be in the handshake at a time; more wait in the listener's backlog.
const HALF_OPEN: usize = 64;
/// How long to wait before another try where there are no descriptors left: nothing tells when there are some again.
pub(crate) const SHORTAGE: Duration = Duration::from_millis(50);
/// How long to wait before a connection that could not be made is tried again; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long the kernel may take from closing the sockets of a process that ends to saying that it has ended.
pub(crate) const CLOSING: Duration = Duration::from_millis(500);

/// Accept connections until the engine ends.
pub(crate) async fn listen(shared: Arc<Shared>, socket: std::os::unix::net::UnixListener) {
    let Ok(listener) = UnixListener::from_std(socket) else {
        return;
    };
    let secret = shared.directory.secret().clone();
    accept_each(listener, secret, HALF_OPEN, move |stream, peer| {
        let shared = Arc::clone(&shared);
        async move {
            match peer {
                Ok(from) if shared.is_life_line(from) || from > shared.me => {
                    serve(shared, stream, from).await;
                }
                Ok(from) => {
                    drop(stream);
                    shared.knocked(from);
                }
                Err(error) => shared.refused(&error),
            }
        }
    })
    .await;
}

/// Accept connections for ever, `half_open` at a time in the handshake, and have each served by a task of its own once
/// it has passed or failed.
pub(crate) async fn accept_each<F, S>(
    listener: UnixListener,
    secret: Secret,
    half_open: usize,
    served: F,
) where
    F: Fn(UnixStream, Result<RuntimeId, AuthError>) -> S + Clone + Send + 'static,
    S: Future<Output = ()> + Send,
{
    let half_open = Arc::new(Semaphore::new(half_open));
    while let Ok(permit) = Arc::clone(&half_open).acquire_owned().await {
        match listener.accept().await {
            Ok((mut stream, _)) => {
                let (secret, served) = (secret.clone(), served.clone());
                tokio::spawn(async move {
                    let peer = auth::accept(&mut stream, &secret).await;
                    drop(permit);
                    served(stream, peer).await;
                });
            }
            Err(error) if descriptors::are_short(&error) && descriptors::spend_reserve() => {}
            // Out of descriptors, most likely: whoever wants in keeps waiting in the backlog.
            Err(_) => tokio::time::sleep(SHORTAGE).await,
        }
    }
}

/// Have a connection to a peer: make it, or have the peer make it (`LINE-1`), and try again until there is one or the
/// peer is dead (`LINE-3`).
pub(crate) async fn dial(shared: Arc<Shared>, to: RuntimeId, attempt: u64) {
    let mut pause = FIRST_PAUSE;
    while shared.awaits(to, attempt) {
        if let Ok(stream) = open(&shared, to).await
            && shared.me > to
        {
            serve(Arc::clone(&shared), stream, to).await;
        }
        if !shared.awaits(to, attempt) {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn open(shared: &Shared, to: RuntimeId) -> Result<UnixStream, AuthError> {
    let given_up = Instant::now() + auth::HANDSHAKE_LIMIT;
    let mut stream = loop {
        match UnixStream::connect(shared.directory.socket(to)).await {
            Err(error) if descriptors::are_short(&error) && Instant::now() < given_up => {
                if !descriptors::spend_reserve() {
                    tokio::time::sleep(SHORTAGE).await;
                }
            }
            connected => break connected?,
        }
    };
    auth::connect(&mut stream, shared.directory.secret(), shared.me).await?;
    Ok(stream)
}

/// A worker's life line: connect to the head, say who this is, and end when the head does.
pub(crate) async fn join(shared: Arc<Shared>) {
    if shared.head_process.is_some() {
        // The connection may outlive the head in a process that it forked.
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            if let Some(head) = &shared.head_process {
                head.end().await;
                shared.head_lost();
            }
        });
    }
    if shared.parent_process.is_some() {
        // It may have started this process through another one, so that it is not what the kernel calls its parent.
        // Where its end cannot be seen, the head sees to the end of this process, as it does in any case.
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            if let Some(parent) = &shared.parent_process {
                parent.end().await;
                shared.parent_lost();
            }
        });
    }
    let stream = match reach_head(&shared).await {
        Ok(stream) => stream,
        Err(error) => {
            shared.refused(&error);
            let reason = format!("the connection to the head cannot be made: {error}");
            return shared.head_disconnected(&reason).await;
        }
    };
    let me = Member {
        runtime: shared.me,
        uid: shared.uid.clone(),
        pid: std::process::id(),
        role: shared.role,
    };
    shared.send_first(RuntimeId::HEAD, &Message::Join(me));
    let error = serve(Arc::clone(&shared), stream, RuntimeId::HEAD).await;
    let reason = format!(
        "the connection to the head ended{}",
        because(error.as_ref())
    );
    shared.head_disconnected(&reason).await;
}

/// The rest of a sentence that tells of a connection's end.
pub(crate) fn because(error: Option<&io::Error>) -> String {
    error.map_or_else(String::new, |error| format!(": {error}"))
}

/// Connect to the head. One that lives and does not answer may be busy, stopped by a signal, or short of descriptors:
/// it is tried again for as long as it lives.
async fn reach_head(shared: &Shared) -> Result<UnixStream, AuthError> {
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match open(shared, RuntimeId::HEAD).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let head_lives = shared
            .head_process
            .as_ref()
            .is_some_and(|head| !head.has_ended());
        if !head_lives || !may_pass(&error) {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether a connection that could not be made for this reason may be made later.
fn may_pass(error: &AuthError) -> bool {
    match error {
        // The directory is gone, or was never this process's to use.
        AuthError::Io(error) => !matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
        ),
        AuthError::TimedOut => true,
        _ => false,
    }
}

/// Returns when that process has ended, or at once where that cannot be watched.
async fn process_ended(pid: Pid) -> io::Result<()> {
    let watched = watch_handle(process_handle(pid)?)?;
    watched.readable().await?.retain_ready();
    Ok(())
}

/// Returns when a child of this process has ended; it is not reaped. One that cannot be watched is waited for by a
/// thread.
pub(crate) async fn child_ended(pid: Pid) {
    if process_ended(pid).await.is_err() {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let wait = move || retry_on_intr(|| waitid(WaitId::Pid(pid), ended));
        let _ = spawn_blocking(wait).await;
    }
}

/// Returns when that process is gone, or never where that cannot be watched.
pub(crate) async fn gone(pid: Pid) {
    match process_ended(pid).await {
        Ok(()) => {}
        // It was gone before it could be watched.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
        // There are no descriptors left, or such a thing is not known here.
        Err(_) => std::future::pending().await,
    }
}

/// Returns when the process at the other end of a connection is gone, which a process that it forked may keep open.
pub(crate) async fn peer_gone(peer: Option<i32>) {
    match peer.and_then(Pid::from_raw) {
        Some(pid) => gone(pid).await,
        None => std::future::pending().await,
    }
}

/// Have tokio watch a process: what it returns becomes readable when that has ended.
pub(crate) fn watch_handle(process: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor stays open, and what it stands for the same, until `AsyncFd` closes it.
    let watched = unsafe { AsyncFd::register(process) }?;
    Ok(watched)
}

/// Block until the first of several processes has ended.
pub(crate) fn wait_for_end_of_one(processes: &[&OwnedFd]) -> io::Result<()> {
    let mut watched: Vec<_> = processes
        .iter()
        .map(|process| PollFd::new(*process, PollFlags::IN))
        .collect();
    loop {
        match poll(&mut watched, None) {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result.map(|_| ())?),
        }
    }
}

/// A descriptor that stands for a process.
#[cfg(target_os = "linux")]
pub(crate) fn process_handle(pid: Pid) -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_open(
        pid,
        rustix::process::PidfdFlags::NONBLOCK,
    )?)
}

/// See above.
#[cfg(not(target_os = "linux"))]
pub(crate) fn process_handle(_: Pid) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Serve an authenticated connection until it closes. Returns what was wrong with it, if anything was.
async fn serve(shared: Arc<Shared>, stream: UnixStream, from: RuntimeId) -> Option<io::Error> {
    let socket = match stream.into_std() {
        Ok(socket) => Arc::new(socket),
        Err(error) => return Some(error),
    };
    if shared.is_life_line(from) {
        return serve_socket(&shared, &socket, from).await;
    }
    let line = shared.lines.begin(from, &socket).await;
    let error = serve_socket(&shared, &socket, from).await;
    shared.line_ended(from, &line, error.as_ref()).await;
    shared.lines.end(from, &line);
    error
}

async fn serve_socket(
    shared: &Arc<Shared>,
    socket: &Arc<std::os::unix::net::UnixStream>,
    from: RuntimeId,
) -> Option<io::Error> {
    let stream = Stream::new(Arc::clone(socket));
    let inlet = Inlet::new(Arc::clone(socket), from);
    shared.connected(from, &stream);
    let writing = async {
        while stream.room().await.is_ok() {
            shared.room(from);
        }
    };
    let error = match shared.inlets.add(&inlet, shared) {
        Ok(()) => tokio::select! {
            error = inlet.over() => error,
            () = writing => None,
        },
        Err(error) => Some(error),
    };
    shared.inlets.remove(&inlet);
    // Whoever still polls it, or holds it in a forked process, sees the end as well. What it has read is handled before
    // the rules hear of the end, and it reads no more.
    let _ = socket.shutdown(Shutdown::Both);
    inlet.close();
    shared.disconnected(from, &stream, error.as_ref());
    error
}

/// Have tokio watch a socket for one thing.
pub(crate) fn watch(
    socket: Arc<std::os::unix::net::UnixStream>,
    interest: Interest,
) -> io::Result<AsyncFd<Arc<std::os::unix::net::UnixStream>>> {
    // SAFETY: the descriptor stays open, and what it stands for the same, as long as the `Arc` in there lives.
    Ok(unsafe { AsyncFd::register_with_interest(socket, interest) }?)
}
