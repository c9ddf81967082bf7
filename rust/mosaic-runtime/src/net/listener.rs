//! Connections: made when first needed, authenticated before anything else, read in batches.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mosaic_core::event::Member;
use mosaic_core::id::RuntimeId;
use mosaic_core::wire::Message;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::engine::inner::Shared;
use crate::error::because;
use crate::net::handshake::{self, AuthError, Secret};
use crate::net::reader::Inlet;
use crate::net::writer::Stream;
use crate::node::descriptors::{self, SHORTAGE};

/// Connections of an engine that may be in the handshake at a time; more wait in the listener's backlog.
const HALF_OPEN: usize = 64;
/// How long to wait before a connection that could not be made is tried again; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
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
                    let peer = handshake::accept(&mut stream, &secret).await;
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
    let given_up = Instant::now() + handshake::HANDSHAKE_LIMIT;
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
    handshake::connect(&mut stream, shared.directory.secret(), shared.me).await?;
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
