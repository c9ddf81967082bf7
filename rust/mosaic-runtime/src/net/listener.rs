//! Listens, dials and serves connections on the I/O thread.
//!
//! A connection is made when the first frame needs it and authenticated before anything else
//! ([`crate::net::handshake`]). One task serves it from then to its end.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mosaic_core::event::Member;
use mosaic_core::id::{NodeId, RuntimeId};
use mosaic_core::wire::RulesMessage;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::engine::inner::EngineInner;
use crate::error::because;
use crate::net::handshake::{self, AuthError, Secret};
use crate::net::reader::ReadHalf;
use crate::net::writer::WriteHalf;
use crate::node::descriptors::{self, SHORTAGE};

/// Connections of an engine that may be in the handshake at a time; more wait in the listener's backlog.
const HALF_OPEN: usize = 64;
/// How long to wait before a connection that could not be made is tried again; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Accept connections until the engine ends.
pub(crate) async fn listen(inner: Arc<EngineInner>, socket: std::os::unix::net::UnixListener) {
    let Ok(listener) = UnixListener::from_std(socket) else {
        return;
    };
    let secret = inner.directory.secret().clone();
    accept_each(listener, secret, HALF_OPEN, move |stream, peer| {
        let inner = Arc::clone(&inner);
        async move {
            match peer {
                Ok(from) if inner.is_head_connection(from) || from > inner.me => {
                    serve(inner, stream, from).await;
                }
                Ok(from) => {
                    drop(stream);
                    inner.connection_requested(from);
                }
                Err(error) => inner.refused(&error),
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
            // Out of descriptors, most likely: connections wait in the backlog.
            Err(_) => tokio::time::sleep(SHORTAGE).await,
        }
    }
}

/// Have a connection to a peer: make it, or have the peer make it (`CONN-1`), and try again until there is one or the
/// peer is dead (`CONN-3`).
pub(crate) async fn dial(inner: Arc<EngineInner>, to: RuntimeId, attempt: u64) {
    let mut pause = FIRST_PAUSE;
    while inner.awaits(to, attempt) {
        if let Ok(stream) = open(&inner, to).await
            && inner.me > to
        {
            serve(Arc::clone(&inner), stream, to).await;
        }
        if !inner.awaits(to, attempt) {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn open(inner: &EngineInner, to: RuntimeId) -> Result<UnixStream, AuthError> {
    let given_up = Instant::now() + handshake::HANDSHAKE_LIMIT;
    let mut stream = loop {
        match UnixStream::connect(inner.directory.socket(to)).await {
            Err(error) if descriptors::are_short(&error) && Instant::now() < given_up => {
                if !descriptors::spend_reserve() {
                    tokio::time::sleep(SHORTAGE).await;
                }
            }
            connected => break connected?,
        }
    };
    handshake::connect(&mut stream, inner.directory.secret(), inner.me).await?;
    Ok(stream)
}

/// A worker's connection to its head: connect, join, serve it, and end when the head does.
pub(crate) async fn join(inner: Arc<EngineInner>) {
    if inner.head_process.is_some() {
        // The connection may outlive the head in a process that it forked.
        let inner = Arc::clone(&inner);
        tokio::spawn(async move {
            if let Some(head) = &inner.head_process {
                head.end().await;
                inner.head_lost();
            }
        });
    }
    if inner.parent_process.is_some() {
        // It may have started this process through another one, so that it is not what the kernel calls its parent.
        // Where its end cannot be seen, the head sees to the end of this process, as it does in any case.
        let inner = Arc::clone(&inner);
        tokio::spawn(async move {
            if let Some(parent) = &inner.parent_process {
                parent.end().await;
                inner.parent_lost();
            }
        });
    }
    let stream = match reach_head(&inner).await {
        Ok(stream) => stream,
        Err(error) => {
            inner.refused(&error);
            let reason = format!("the connection to the head cannot be made: {error}");
            return inner.head_disconnected(&reason).await;
        }
    };
    let me = Member {
        runtime: inner.me,
        node: NodeId::FIRST,
        uid: inner.uid.clone(),
        pid: std::process::id(),
        role: inner.role,
    };
    inner.send_first(RuntimeId::HEAD, &RulesMessage::Join(me).into());
    let error = serve(Arc::clone(&inner), stream, RuntimeId::HEAD).await;
    let reason = format!(
        "the connection to the head ended{}",
        because(error.as_ref())
    );
    inner.head_disconnected(&reason).await;
}

/// Connect to the head. One that lives and does not answer may be busy, stopped by a signal, or short of descriptors:
/// it is tried again for as long as it lives.
async fn reach_head(inner: &EngineInner) -> Result<UnixStream, AuthError> {
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match open(inner, RuntimeId::HEAD).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let head_lives = inner
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
async fn serve(inner: Arc<EngineInner>, stream: UnixStream, from: RuntimeId) -> Option<io::Error> {
    let socket = match stream.into_std() {
        Ok(socket) => Arc::new(socket),
        Err(error) => return Some(error),
    };
    if inner.is_head_connection(from) {
        return serve_socket(&inner, &socket, from).await;
    }
    let connection = inner.connections.begin(from, &socket).await;
    let error = serve_socket(&inner, &socket, from).await;
    inner
        .connection_ended(from, &connection, error.as_ref())
        .await;
    inner.connections.end(from, &connection);
    error
}

async fn serve_socket(
    inner: &Arc<EngineInner>,
    socket: &Arc<std::os::unix::net::UnixStream>,
    from: RuntimeId,
) -> Option<io::Error> {
    let write_half = WriteHalf::new(Arc::clone(socket));
    let read_half = ReadHalf::new(Arc::clone(socket), from);
    inner.connected(from, &write_half);
    let writing = async {
        while write_half.writable().await.is_ok() {
            inner.writable(from);
        }
    };
    let error = match inner.read_halves.add(&read_half, inner) {
        Ok(()) => tokio::select! {
            error = read_half.over() => error,
            () = writing => None,
        },
        Err(error) => Some(error),
    };
    inner.read_halves.remove(&read_half);
    // A thread that still polls it, or a forked process that holds it, sees the end as well. What that thread has read
    // is handled before the state machine processes the end, and it reads no more.
    let _ = socket.shutdown(Shutdown::Both);
    read_half.close();
    inner.disconnected(from, &write_half, error.as_ref());
    error
}
