//! Write halves of connections, and the queue of frames to each peer.
//!
//! Frames wait in a [`FrameWriter`]. The thread that holds the engine's lock writes as much as the socket takes
//! without blocking; file descriptors go with the first write that reaches their frame. The rest stays queued until
//! the connection's writer task finds the socket writable. There is one connection to a peer at a time, so frames
//! keep their order; frames that wait for a connection leave by the next one.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mosaic_core::wire::{FrameWriter, Message, WireError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::net::scm_rights::{self, MAX_FILES};
use crate::store::Store;
use crate::store::export::{Exporter, SharedFile};

/// The most slices a single write is given.
const SLICES: usize = 64;

/// The frames that wait for one peer, and the connection that they leave by.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    writer: FrameWriter,
    /// Bytes written so far.
    written: u64,
    /// Files that go along, each with the place in the stream where its frame begins.
    files: VecDeque<(u64, SharedFile)>,
    link: Link,
    /// Attempts to connect so far.
    attempts: u64,
    blocked: bool,
    /// How the last connection was lost. Cleared when there is another: then both ends are known to have gone on.
    loss: Option<String>,
    /// Listed among those to flush at the end of the batch.
    pub(crate) dirty: bool,
}

/// How the connection to a peer stands.
#[derive(Debug, Default)]
enum Link {
    /// There is none, and none is being made.
    #[default]
    None,
    /// It is being made, in the attempt of that number, or waited for.
    Awaited(u64),
    Up(Arc<WriteHalf>),
    /// It has ended, and its loss is not processed yet.
    Ending,
}

/// The write half of an authenticated connection.
#[derive(Debug)]
pub(crate) struct WriteHalf {
    socket: Arc<UnixStream>,
    writable_wanted: Notify,
    /// The kernel refused a write for want of something else than space in the socket buffer.
    crowded: AtomicBool,
}

/// How long to wait before something is written again that the kernel had no memory for.
const CROWDED: Duration = Duration::from_millis(5);

impl WriteHalf {
    pub(crate) fn new(socket: Arc<UnixStream>) -> Arc<Self> {
        Arc::new(Self {
            socket,
            writable_wanted: Notify::new(),
            crowded: AtomicBool::new(false),
        })
    }

    /// Returns when a write has been refused and the socket is writable again.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.writable_wanted.notified().await;
        if self.crowded.swap(false, Ordering::AcqRel) {
            tokio::time::sleep(CROWDED).await;
            return Ok(());
        }
        // Only now: a registered writer is woken whenever the peer reads.
        let socket = watch(Arc::clone(&self.socket), Interest::WRITABLE)?;
        socket.writable().await?.retain_ready();
        Ok(())
    }
}

impl SendQueue {
    /// Take this connection for sending, unless there is one already. Returns how the connection before was lost, if it
    /// was.
    pub(crate) fn connected(&mut self, write_half: &Arc<WriteHalf>) -> Option<String> {
        if matches!(self.link, Link::None | Link::Awaited(_)) {
            self.link = Link::Up(Arc::clone(write_half));
        }
        self.loss.take()
    }

    /// This connection is of no more use: the socket closes with the last who holds it.
    pub(crate) fn disconnected(&mut self, write_half: &Arc<WriteHalf>) {
        if matches!(&self.link, Link::Up(own) if Arc::ptr_eq(own, write_half)) {
            self.link = Link::Ending;
        }
    }

    /// The connection was lost with everything that was on its way, or waited to be.
    pub(crate) fn lost(&mut self, cause: String) {
        self.loss = Some(cause);
        self.writer = FrameWriter::default();
        self.written = 0;
        self.files.clear();
        self.blocked = false;
        self.link = Link::None;
    }

    /// Whether the connection has ended and its loss is not processed.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.link, Link::Ending)
    }

    /// Whether there is no connection and none is being made.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.link, Link::None)
    }

    /// Begin to connect, unless a connection exists or is being made: returns the number of the attempt.
    pub(crate) fn begin_attempt(&mut self) -> Option<u64> {
        if !self.is_idle() {
            return None;
        }
        self.attempts += 1;
        self.link = Link::Awaited(self.attempts);
        Some(self.attempts)
    }

    /// Whether that attempt to connect is to go on.
    pub(crate) fn awaits(&self, attempt: u64) -> bool {
        matches!(self.link, Link::Awaited(own) if own == attempt)
    }

    /// Queue a frame.
    pub(crate) fn push(&mut self, message: &Message, store: &Store) -> Result<(), WireError> {
        let start = self.written + self.writer.len() as u64;
        let mut exporter = Exporter::new(store);
        self.writer.push(message, &mut exporter)?;
        let files = exporter.files.into_iter().map(|file| (start, file));
        self.files.extend(files);
        Ok(())
    }

    /// The socket is writable again.
    pub(crate) fn unblock(&mut self) {
        self.blocked = false;
    }

    /// Write what the socket takes now. A broken connection is shut down: its reader sees that and processes the loss.
    pub(crate) fn flush(&mut self) {
        let Link::Up(write_half) = &self.link else {
            return;
        };
        while !self.blocked && !self.writer.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.writer.slices(&mut slices);
            let slices = &slices[..count];
            let result = if self.files.is_empty() {
                scm_rights::write(write_half.socket.as_fd(), slices)
            } else {
                write_with_files(write_half, slices, self.written, &mut self.files)
            };
            match result {
                Ok(written) => {
                    self.written += written as u64;
                    self.writer.advance(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    write_half.writable_wanted.notify_one();
                }
                Err(error) if is_transient(&error) => {
                    self.blocked = true;
                    write_half.crowded.store(true, Ordering::Release);
                    write_half.writable_wanted.notify_one();
                }
                Err(_) => {
                    let _ = write_half.socket.shutdown(Shutdown::Both);
                    return;
                }
            }
        }
    }
}

/// Whether a write has failed for want of something that comes again: memory, or room among the files that are on their
/// way between all processes of this user.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ETOOMANYREFS | libc::ENOBUFS | libc::ENOMEM | libc::EMFILE | libc::ENFILE)
    )
}

/// Write, with the files of the frames that begin within what is written.
fn write_with_files(
    write_half: &WriteHalf,
    slices: &[IoSlice<'_>],
    start: u64,
    files: &mut VecDeque<(u64, SharedFile)>,
) -> io::Result<usize> {
    let length: usize = slices.iter().map(|slice| slice.len()).sum();
    let due = |at: u64| at < start + length as u64;
    let due = files.iter().take_while(|(at, _)| due(*at)).count();
    let now = due.min(MAX_FILES);
    // Of more files than one write takes, those that fit go with what is before the frame of the next; or with a byte
    // of that frame, before it speaks of the others.
    let next = files.get(now).filter(|_| due > now);
    let room = next.map_or(length, |(at, _)| at.saturating_sub(start).max(1) as usize);
    let mut short = [IoSlice::new(&[]); SLICES];
    let slices = cut(slices, room, &mut short);
    let passed: Vec<_> = files
        .iter()
        .take(now)
        .map(|(_, file)| file.as_fd())
        .collect();
    let written = scm_rights::send(write_half.socket.as_fd(), slices, &passed)?;
    files.drain(..now);
    Ok(written)
}

/// The first `room` bytes of these slices, in `out`.
fn cut<'a, 'b>(
    slices: &'b [IoSlice<'a>],
    room: usize,
    out: &'b mut [IoSlice<'a>; SLICES],
) -> &'b [IoSlice<'a>]
where
    'b: 'a,
{
    let (mut left, mut count) = (room, 0);
    for (slice, place) in slices.iter().zip(out.iter_mut()) {
        if left == 0 {
            break;
        }
        let length = left.min(slice.len());
        *place = IoSlice::new(&slice[..length]);
        left -= length;
        count += 1;
    }
    &out[..count]
}

/// Have tokio watch a socket for one thing.
pub(crate) fn watch(
    socket: Arc<std::os::unix::net::UnixStream>,
    interest: Interest,
) -> io::Result<AsyncFd<Arc<std::os::unix::net::UnixStream>>> {
    // SAFETY: the descriptor stays open, and what it stands for the same, as long as the `Arc` in there lives.
    Ok(unsafe { AsyncFd::register_with_interest(socket, interest) }?)
}
