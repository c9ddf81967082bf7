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

use mosaic_core::wire::{FrameWriter, Message, WireError};
use tokio::io::Interest;
use tokio::sync::Notify;

use crate::net;
use crate::passing::{self, MOST_FILES};
use crate::store::Store;
use crate::store::lending::{Lending, Passed};

/// The most slices a single write is given.
const SLICES: usize = 64;

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
}

impl Stream {
    pub(crate) fn new(socket: Arc<UnixStream>) -> Arc<Self> {
        Arc::new(Self {
            socket,
            room_wanted: Notify::new(),
        })
    }

    /// Returns once somebody was refused for want of room and there is room again.
    pub(crate) async fn room(&self) -> io::Result<()> {
        self.room_wanted.notified().await;
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
    let count = files.iter().take_while(|(at, _)| due(*at)).count();
    // More files than one write takes: a byte goes with those that fit, before anything speaks of the others.
    let first = slices.iter().find(|slice| !slice.is_empty());
    let one = first.map(|slice| IoSlice::new(&slice[..1]));
    let (now, slices) = match &one {
        Some(one) if count > MOST_FILES => (MOST_FILES, std::slice::from_ref(one)),
        _ => (count, slices),
    };
    let passed: Vec<_> = files
        .iter()
        .take(now)
        .map(|(_, file)| file.as_fd())
        .collect();
    let written = passing::send(stream.socket.as_fd(), slices, &passed)?;
    files.drain(..now);
    Ok(written)
}
