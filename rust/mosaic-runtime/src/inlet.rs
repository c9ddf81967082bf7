//! A connection's receiving side.
//!
//! The I/O thread reads when the socket has something. So does a thread of the program that has nothing else
//! to do, a blocked waiter or an idle main lane: it polls the sockets beside its own signal and is woken by
//! the kernel itself, a thread less on the way there and back (a blocking call over a Unix socket costs two
//! wake-ups this way and four the other). Whoever reads holds the reader's lock until what it read is
//! processed, so that messages of one peer keep their order (`INLET-1`). One thread at a time helps.
//!
//! Lock order: reader, then state.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::BufMut;
use mosaic_core::event::Event;
use mosaic_core::id::RuntimeId;
use mosaic_core::wire::{FrameReader, Limits, Message};
use tokio::io::Interest;
use tokio::net::unix::OwnedReadHalf;

use crate::passing;
use crate::shared::{Shared, lock};
use crate::store::lending::Arrived;

/// More connections than this are left to the I/O thread: polling them all would cost more than it saves.
const MOST_POLLED: usize = 16;

/// The receiving half of an authenticated connection.
#[derive(Debug)]
pub(crate) struct Inlet {
    half: OwnedReadHalf,
    from: RuntimeId,
    reader: Mutex<Reader>,
    ended: AtomicBool,
}

/// What was read and is not a message yet.
#[derive(Debug)]
struct Reader {
    frames: FrameReader,
    arrived: Arrived,
}

impl Inlet {
    pub(crate) fn new(half: OwnedReadHalf, from: RuntimeId) -> Arc<Self> {
        let reader = Mutex::new(Reader {
            frames: FrameReader::new(Limits::default()),
            arrived: Arrived::default(),
        });
        Arc::new(Self {
            half,
            from,
            reader,
            ended: AtomicBool::new(false),
        })
    }

    /// Read until the stream ends; on the I/O thread.
    pub(crate) async fn serve(&self, shared: &Shared) -> io::Result<()> {
        let stream = self.half.as_ref();
        while !self.ended.load(Ordering::Acquire) {
            stream.readable().await?;
            // A read that leaves nothing behind reports so, and tokio waits for the next arrival.
            let read: io::Result<()> =
                stream.try_io(Interest::READABLE, || match self.read(shared) {
                    Ok(()) => Err(io::ErrorKind::WouldBlock.into()),
                    Err(error) => Err(error),
                });
            match read {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Read what is there and have it processed, without blocking.
    pub(crate) fn read(&self, shared: &Shared) -> io::Result<()> {
        let mut reader = lock(&self.reader);
        let Reader { frames, arrived } = &mut *reader;
        let mut batch = Vec::new();
        loop {
            let target = frames.target();
            let room = target.spare_capacity_mut().len();
            let mut brought = false;
            let received = passing::receive(self.socket(), target.spare_capacity_mut(), |file| {
                arrived.push(file);
                brought = true;
            });
            let count = match received {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.ended.store(true, Ordering::Release);
                    return Err(error);
                }
            };
            if count == 0 {
                self.ended.store(true, Ordering::Release);
                return Ok(());
            }
            // SAFETY: the call above has filled that many bytes of the spare capacity.
            unsafe { target.advance_mut(count) };
            loop {
                match frames.next(&mut arrived.borrowing(&shared.store)) {
                    Ok(Some(Message::Shutdown { .. })) => {
                        self.ended.store(true, Ordering::Release);
                        shared.end("the runtime was stopped");
                        return Ok(());
                    }
                    Ok(Some(Message::Note { level, text })) => {
                        shared.note_from(self.from, level, text);
                    }
                    Ok(Some(Message::Profile { path, traced })) => {
                        if let Err(error) = shared.profile(path.as_deref(), traced, false) {
                            shared.executor.warn(&format!(
                                "{} is not profiled: {}: {error}",
                                shared.uid,
                                path.unwrap_or_default()
                            ));
                        }
                    }
                    Ok(Some(Message::Squeeze)) => shared.store.squeeze(),
                    Ok(Some(Message::Room)) => shared.wake_watchers(),
                    Ok(Some(message)) => batch.push(Event::MessageReceived {
                        from: self.from,
                        message,
                    }),
                    Ok(None) => break,
                    Err(error) => {
                        self.ended.store(true, Ordering::Release);
                        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                    }
                }
            }
            if !batch.is_empty() {
                shared.process(&mut batch);
            }
            if frames.is_between() {
                arrived.frame_is_over();
            }
            // A read that brought files ends where they did, whatever more there is.
            if count < room && !brought {
                return Ok(());
            }
        }
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.half.as_ref().as_fd()
    }
}

/// The receiving sides of all connections.
#[derive(Debug, Default)]
pub(crate) struct Inlets {
    all: Mutex<Arc<Vec<Arc<Inlet>>>>,
    helped: AtomicBool,
}

impl Inlets {
    pub(crate) fn add(&self, inlet: &Arc<Inlet>) {
        let mut all = lock(&self.all);
        *all = Arc::new(all.iter().chain([inlet]).cloned().collect());
    }

    pub(crate) fn remove(&self, inlet: &Arc<Inlet>) {
        let mut all = lock(&self.all);
        *all = Arc::new(
            all.iter()
                .filter(|own| !Arc::ptr_eq(own, inlet))
                .cloned()
                .collect(),
        );
    }

    /// The engine has stopped: whoever still holds it holds no socket with it.
    pub(crate) fn clear(&self) {
        *lock(&self.all) = Arc::default();
    }

    /// Become the thread that helps, unless there is one already or there is too much to poll.
    pub(crate) fn help(&self) -> Option<Helper<'_>> {
        if self.helped.swap(true, Ordering::AcqRel) {
            return None;
        }
        let inlets = Arc::clone(&lock(&self.all));
        // Made first, so that it steps back when there is nothing for it.
        let helper = Helper { all: self, inlets };
        (helper.inlets.len() <= MOST_POLLED).then_some(helper)
    }
}

/// The right to read beside the I/O thread.
#[derive(Debug)]
pub(crate) struct Helper<'a> {
    all: &'a Inlets,
    inlets: Arc<Vec<Arc<Inlet>>>,
}

impl Helper<'_> {
    /// The connections to poll.
    pub(crate) fn living(&self) -> Vec<&Inlet> {
        self.inlets
            .iter()
            .map(|inlet| &**inlet)
            .filter(|inlet| !inlet.ended.load(Ordering::Acquire))
            .collect()
    }
}

impl Drop for Helper<'_> {
    fn drop(&mut self) {
        self.all.helped.store(false, Ordering::Release);
    }
}
