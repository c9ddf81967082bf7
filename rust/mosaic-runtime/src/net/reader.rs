//! Read halves of connections: bytes become messages, in order, on one thread at a time.
//!
//! The I/O thread reads when a socket is readable. So does one *inline poller*: a thread of the program that is idle,
//! in a blocking wait or as an executor's main thread. It polls the sockets together with its own signal, so the
//! kernel wakes it directly: a blocking call over a Unix socket costs two wake-ups this way and four through the I/O
//! thread. Meanwhile the poller is masked ([`crate::net::poller`]) and the I/O thread sleeps. There is one inline
//! poller at a time.
//!
//! - `READER-1`: a thread holds the reader's lock from the read until the messages are processed, so that the
//!   messages of one peer keep their order.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::BufMut;
use mosaic_core::event::Event;
use mosaic_core::id::RuntimeId;
use mosaic_core::wire::{FrameReader, Limits, Message};
use tokio::sync::Notify;

use crate::engine::inner::EngineInner;
use crate::net::poller::Poller;
use crate::net::scm_rights;
use crate::store::export::ReceivedFiles;
use crate::sync::{Mutex, Rank};

/// More connections than this are left to the I/O thread: polling them all would cost more than it saves.
const MAX_POLLED: usize = 16;

/// The read half of an authenticated connection.
#[derive(Debug)]
pub(crate) struct ReadHalf {
    socket: Arc<UnixStream>,
    from: RuntimeId,
    /// Counts up within the process.
    number: u64,
    reader: Mutex<Reader>,
    ended: AtomicBool,
    error: Mutex<Option<io::Error>>,
    end: Notify,
}

/// Bytes and files that were received and are not a message yet.
#[derive(Debug)]
struct Reader {
    frames: FrameReader,
    files: ReceivedFiles,
}

impl ReadHalf {
    pub(crate) fn new(socket: Arc<UnixStream>, from: RuntimeId) -> Arc<Self> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let reader = Mutex::new(
            Rank::Reader,
            Reader {
                frames: FrameReader::new(Limits::default()),
                files: ReceivedFiles::default(),
            },
        );
        Arc::new(Self {
            socket,
            from,
            number: MADE.fetch_add(1, Ordering::Relaxed),
            reader,
            ended: AtomicBool::new(false),
            error: Mutex::with_default(Rank::ReadError),
            end: Notify::new(),
        })
    }

    /// Returns when the stream has ended; with what was wrong with it, if anything was.
    pub(crate) async fn over(&self) -> Option<io::Error> {
        self.end.notified().await;
        self.error.lock().take()
    }

    /// Read and process all available messages, without blocking.
    pub(crate) fn read(&self, inner: &EngineInner) {
        if self.ended() {
            return;
        }
        let error = match self.read_frames(inner) {
            Ok(true) => return,
            Ok(false) => None,
            Err(error) => Some(error),
        };
        *self.error.lock() = error;
        self.ended.store(true, Ordering::Release);
        self.end.notify_one();
    }

    /// Read nothing more. Returns when everything that was read is processed, by whichever thread.
    pub(crate) fn close(&self) {
        let reader = self.reader.lock();
        self.ended.store(true, Ordering::Release);
        drop(reader);
    }

    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Returns whether the stream goes on.
    fn read_frames(&self, inner: &EngineInner) -> io::Result<bool> {
        let mut reader = self.reader.lock();
        if self.ended() {
            return Ok(true);
        }
        let Reader { frames, files } = &mut *reader;
        let mut batch = Vec::new();
        loop {
            let target = frames.target();
            let room = target.spare_capacity_mut().len();
            let mut brought = false;
            let received =
                scm_rights::receive(self.socket(), target.spare_capacity_mut(), |file| {
                    files.push(file);
                    brought = true;
                });
            let count = match received {
                Ok(received) => {
                    if received.truncated {
                        brought = true;
                        files.truncated();
                    }
                    received.count
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if count == 0 {
                return Ok(false);
            }
            // SAFETY: the call above has filled that many bytes of the spare capacity.
            unsafe { target.advance_mut(count) };
            loop {
                match frames.next(&mut files.importer(&inner.store)) {
                    Ok(Some(Message::Rules(message))) => batch.push(Event::MessageReceived {
                        from: self.from,
                        message,
                    }),
                    Ok(Some(Message::Engine(message))) => {
                        if !inner.engine_message_received(self.from, message) {
                            return Ok(false);
                        }
                    }
                    Ok(None) => break,
                    Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
                }
            }
            if !batch.is_empty() {
                inner.process(&mut batch);
            }
            if frames.is_between() {
                files.frame_is_over();
            }
            // A read that brought files ends where they did, whatever more there is.
            if count < room && !brought {
                return Ok(true);
            }
        }
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn shared_socket(&self) -> Arc<UnixStream> {
        Arc::clone(&self.socket)
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

/// The read halves of all connections.
#[derive(Debug)]
pub(crate) struct ReadHalves {
    all: Mutex<All>,
    inline_polled: AtomicBool,
}

#[derive(Debug, Clone)]
struct All {
    /// By their number.
    read_halves: Arc<Vec<Arc<ReadHalf>>>,
    /// None once the engine has stopped.
    poller: Option<Arc<Poller>>,
}

impl ReadHalves {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            all: Mutex::new(
                Rank::ReadHalves,
                All {
                    read_halves: Arc::default(),
                    poller: Some(Poller::new()?),
                },
            ),
            inline_polled: AtomicBool::new(false),
        })
    }

    /// Read every connection that becomes readable; on the I/O thread.
    pub(crate) async fn watch(inner: Arc<EngineInner>) {
        let poller = inner.read_halves.all.lock().poller.clone();
        if let Some(poller) = poller {
            poller.watch(inner).await;
        }
    }

    pub(crate) fn add(
        &self,
        read_half: &Arc<ReadHalf>,
        inner: &Arc<EngineInner>,
    ) -> io::Result<()> {
        let mut all = self.all.lock();
        let Some(poller) = all.poller.clone() else {
            return Ok(());
        };
        let place = all
            .read_halves
            .partition_point(|own| own.number < read_half.number);
        Arc::make_mut(&mut all.read_halves).insert(place, Arc::clone(read_half));
        poller.add(read_half, inner)?;
        // The inline poller of this moment does not poll this one.
        poller.unmask();
        Ok(())
    }

    pub(crate) fn remove(&self, read_half: &ReadHalf) {
        let mut all = self.all.lock();
        if let Some(poller) = &all.poller {
            poller.remove(read_half);
        }
        Arc::make_mut(&mut all.read_halves).retain(|own| own.number != read_half.number);
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn find(&self, number: u64) -> Option<Arc<ReadHalf>> {
        let all = self.all.lock();
        let place = all
            .read_halves
            .binary_search_by_key(&number, |own| own.number)
            .ok()?;
        all.read_halves.get(place).cloned()
    }

    /// The engine has stopped: close the descriptors, even if the engine is still referenced.
    pub(crate) fn clear(&self) {
        let mut all = self.all.lock();
        all.read_halves = Arc::default();
        all.poller = None;
    }

    /// Become the inline poller, unless there is one already or there are too many connections to poll. The I/O thread is
    /// masked as long.
    pub(crate) fn poll_inline(&self) -> Option<InlinePoller<'_>> {
        if self.inline_polled.swap(true, Ordering::AcqRel) {
            return None;
        }
        let all = self.all.lock();
        let polled = all.read_halves.len() <= MAX_POLLED;
        if polled && let Some(poller) = &all.poller {
            poller.mask();
        }
        // Made in any case: its drop unmasks the I/O thread.
        let inline_poller = InlinePoller {
            read_halves: self,
            all: all.clone(),
        };
        polled.then_some(inline_poller)
    }
}

/// The right to read beside the I/O thread, which is masked until this is dropped.
#[derive(Debug)]
pub(crate) struct InlinePoller<'a> {
    read_halves: &'a ReadHalves,
    all: All,
}

impl InlinePoller<'_> {
    /// The connections to poll.
    pub(crate) fn live(&self) -> Vec<&ReadHalf> {
        let all = self.all.read_halves.iter().map(|read_half| &**read_half);
        all.filter(|read_half| !read_half.ended()).collect()
    }
}

impl Drop for InlinePoller<'_> {
    fn drop(&mut self) {
        if let Some(poller) = &self.all.poller {
            poller.unmask();
        }
        self.read_halves
            .inline_polled
            .store(false, Ordering::Release);
    }
}
