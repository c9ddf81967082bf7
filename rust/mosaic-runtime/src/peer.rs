//! One connection's sending side, as the engine holds it.
//!
//! Frames wait in a [`FrameWriter`]; whoever holds the engine's lock writes what the socket takes without
//! blocking. Files go with the first write that reaches their frame. What is left is the writer task's: it waits until the socket has room. Frames to one peer
//! always leave through the connection that was there first, so that they keep their order.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mosaic_core::wire::{FrameWriter, Message, WireError};
use tokio::io::Interest;
use tokio::sync::Notify;

use crate::net;
use crate::passing::{self, MOST_FILES};
use crate::store::Store;
use crate::store::lending::{Lending, Passed};

/// The most slices a single write is given.
const SLICES: usize = 64;
/// How long to wait before another try where the system was short of something.
const SHORTAGE: Duration = Duration::from_millis(2);

/// Whether a write was refused for want of something that comes back: memory, or files in flight, of which a user may
/// have as many as a process may have open.
fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ETOOMANYREFS | libc::ENOBUFS | libc::ENOMEM | libc::EMFILE | libc::ENFILE)
    )
}

/// Where the frames to one runtime go.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    writer: FrameWriter,
    /// Bytes written so far.
    written: u64,
    /// Files that go along, each with the place in the stream where its frame begins.
    files: VecDeque<(u64, Passed)>,
    stream: Option<Arc<Stream>>,
    blocked: bool,
    /// Listed among those to flush at the end of the batch.
    pub(crate) dirty: bool,
}

/// The sending half of an authenticated connection.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Arc<UnixStream>,
    room_wanted: Notify,
    /// It was not the socket that had no room, but the system.
    short: AtomicBool,
}

impl Stream {
    pub(crate) fn new(socket: Arc<UnixStream>) -> Arc<Self> {
        Arc::new(Self {
            socket,
            room_wanted: Notify::new(),
            short: AtomicBool::new(false),
        })
    }

    /// Returns once somebody was refused for want of room and there is room again.
    pub(crate) async fn room(&self) -> io::Result<()> {
        self.room_wanted.notified().await;
        if self.short.swap(false, Ordering::AcqRel) {
            // Nothing tells when the system has room again: others' files in flight count too.
            tokio::time::sleep(SHORTAGE).await;
            return Ok(());
        }
        // Only now: whoever is registered for room is woken whenever the peer reads.
        let socket = net::watch(Arc::clone(&self.socket), Interest::WRITABLE)?;
        socket.writable().await?.retain_ready();
        Ok(())
    }
}

impl Peer {
    /// Take this connection for sending, unless there is one already.
    pub(crate) fn connected(&mut self, stream: &Arc<Stream>) {
        if self.stream.is_none() {
            self.stream = Some(Arc::clone(stream));
        }
    }

    /// This connection is of no more use: the socket closes with the last who holds it.
    pub(crate) fn disconnected(&mut self, stream: &Arc<Stream>) {
        if self
            .stream
            .as_ref()
            .is_some_and(|own| Arc::ptr_eq(own, stream))
        {
            self.stream = None;
        }
    }

    /// Queue a frame.
    pub(crate) fn push(&mut self, message: &Message, store: &Store) -> Result<(), WireError> {
        let start = self.written + self.writer.len() as u64;
        let mut lending = Lending::new(store);
        self.writer.push(message, &mut lending)?;
        let files = lending.files.into_iter().map(|file| (start, file));
        self.files.extend(files);
        Ok(())
    }

    /// The socket has room again.
    pub(crate) fn unblock(&mut self) {
        self.blocked = false;
    }

    /// Write what the socket takes now. An error means that the connection is broken: its reader will see
    /// that too and settle what follows from it.
    pub(crate) fn flush(&mut self) {
        let Some(stream) = &self.stream else { return };
        while !self.blocked && !self.writer.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.writer.slices(&mut slices);
            let slices = &slices[..count];
            let result = if self.files.is_empty() {
                passing::write(stream.socket.as_fd(), slices)
            } else {
                write_with_files(stream, slices, self.written, &mut self.files)
            };
            match result {
                Ok(written) => {
                    self.written += written as u64;
                    self.writer.advance(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    stream.room_wanted.notify_one();
                }
                Err(error) if is_shortage(&error) => {
                    self.blocked = true;
                    stream.short.store(true, Ordering::Release);
                    stream.room_wanted.notify_one();
                }
                Err(_) => return,
            }
        }
    }
}

/// Write, with the files of the frames that begin within what is written.
fn write_with_files(
    stream: &Stream,
    slices: &[IoSlice<'_>],
    start: u64,
    files: &mut VecDeque<(u64, Passed)>,
) -> io::Result<usize> {
    let length: usize = slices.iter().map(|slice| slice.len()).sum();
    let due = |at: u64| at < start + length as u64;
    let due = files.iter().take_while(|(at, _)| due(*at)).count();
    let now = due.min(MOST_FILES);
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
    let written = passing::send(stream.socket.as_fd(), slices, &passed)?;
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
