//! One connection's sending side, as the engine holds it.
//!
//! Frames wait in a [`FrameWriter`]; whoever holds the engine's lock writes what the socket takes without
//! blocking. What is left is the writer task's: it waits until the socket has room. Frames to one peer
//! always leave through the connection that was there first, so that they keep their order.

use std::io::{self, IoSlice};
use std::sync::Arc;

use mosaic_core::wire::{FrameWriter, Message, WireError};
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::Notify;

/// The most slices a single write is given.
const SLICES: usize = 64;

/// Where the frames to one runtime go.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    writer: FrameWriter,
    stream: Option<Arc<Stream>>,
    blocked: bool,
    /// Listed among those to flush at the end of the batch.
    pub(crate) dirty: bool,
}

/// The sending half of an authenticated connection.
#[derive(Debug)]
pub(crate) struct Stream {
    half: OwnedWriteHalf,
    room_wanted: Notify,
}

impl Stream {
    pub(crate) fn new(half: OwnedWriteHalf) -> Arc<Self> {
        Arc::new(Self {
            half,
            room_wanted: Notify::new(),
        })
    }

    /// Returns once somebody was refused for want of room and there is room again.
    pub(crate) async fn room(&self) -> io::Result<()> {
        self.room_wanted.notified().await;
        self.half.writable().await
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
    pub(crate) fn push(&mut self, message: &Message) -> Result<(), WireError> {
        self.writer.push(message)
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
            match stream.half.try_write_vectored(&slices[..count]) {
                Ok(written) => self.writer.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    stream.room_wanted.notify_one();
                }
                Err(_) => return,
            }
        }
    }
}
