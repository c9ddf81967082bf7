//! A wake-up that a foreign event loop can wait for: a file descriptor that becomes readable.
//!
//! It is an eventfd on Linux and a pipe elsewhere. Unix signals interrupt a wait through [`interrupted_by`].

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::sync::{Rank, RwLock};

thread_local! {
    /// Readable when a Unix signal has come in that this thread has to know of, also one that came just before it
    /// began to wait.
    static INTERRUPTIONS: Cell<Option<RawFd>> = const { Cell::new(None) };
}

/// Have waits of this thread interrupted when that descriptor is readable, until the guard goes. The descriptor stays
/// open as long.
#[must_use]
pub fn interrupted_by(descriptor: RawFd) -> InterruptedBy {
    InterruptedBy {
        before: INTERRUPTIONS.replace(Some(descriptor)),
    }
}

/// See [`interrupted_by`].
#[derive(Debug)]
pub struct InterruptedBy {
    before: Option<RawFd>,
}

impl Drop for InterruptedBy {
    fn drop(&mut self) {
        INTERRUPTIONS.set(self.before);
    }
}

/// Readable once raised, until cleared. Once closed it does nothing any more: those who still hold it need no
/// descriptor.
#[derive(Debug)]
pub struct Signal {
    ends: RwLock<Option<Ends>>,
}

/// Reading and writing end: one eventfd, or the two ends of a pipe.
#[derive(Debug)]
struct Ends {
    reader: OwnedFd,
    #[cfg(not(target_os = "linux"))]
    writer: OwnedFd,
}

impl Ends {
    #[cfg(target_os = "linux")]
    fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Self {
            reader: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    #[cfg(not(target_os = "linux"))]
    fn new() -> io::Result<Self> {
        let (reader, writer) = rustix::pipe::pipe()?;
        for end in [&reader, &writer] {
            rustix::io::ioctl_fionbio(end, true)?;
            rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
        }
        Ok(Self { reader, writer })
    }

    #[cfg(target_os = "linux")]
    fn writer(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    #[cfg(not(target_os = "linux"))]
    fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }
}

impl Signal {
    /// A signal that is not raised.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            ends: RwLock::new(Rank::Signal, Some(Ends::new()?)),
        })
    }

    /// Make it readable.
    pub fn raise(&self) {
        let ends = self.ends.read();
        if let Some(ends) = &*ends {
            // A full counter or pipe is readable already: nothing is lost by a refused write.
            let _ = rustix::io::write(ends.writer(), &1u64.to_ne_bytes());
        }
    }

    /// Make it unreadable.
    pub fn clear(&self) {
        let ends = self.ends.read();
        if let Some(ends) = &*ends {
            let mut sink = [0u8; 64];
            let _ = rustix::io::read(&ends.reader, &mut sink[..]);
        }
    }

    /// Close the descriptor, unless a thread waits for it at this moment.
    pub fn close(&self) {
        let closed = self.ends.try_write().and_then(|mut ends| ends.take());
        drop(closed);
    }

    /// The descriptor to wait for; none once closed.
    pub fn descriptor(&self) -> Option<RawFd> {
        let ends = self.ends.read();
        ends.as_ref().map(|ends| ends.reader.as_raw_fd())
    }

    /// Block until it is raised. `Ok(false)` when the time passed first; `Interrupted` when a Unix signal
    /// came in on this thread, so that a caller with handlers of its own can run them.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        self.wait_with(&[], &mut Vec::new(), timeout)
    }

    /// Wait until raised, or until one of the `others` is readable: their places are put into `ready`.
    pub fn wait_with(
        &self,
        others: &[BorrowedFd<'_>],
        ready: &mut Vec<usize>,
        timeout: Option<Duration>,
    ) -> io::Result<bool> {
        let ends = self.ends.read();
        let Some(ends) = &*ends else { return Ok(true) };
        let timeout = timeout.map(|limit| rustix::event::Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        let own = PollFd::from_borrowed_fd(ends.reader.as_fd(), PollFlags::IN);
        let mut fds = Vec::with_capacity(1 + others.len());
        fds.push(own);
        fds.extend(
            others
                .iter()
                .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)),
        );
        let interruptions = INTERRUPTIONS.get().map(|descriptor| {
            // SAFETY: the caller that named it keeps it open as long as this thread may wait.
            let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
            PollFd::from_borrowed_fd(descriptor, PollFlags::IN)
        });
        let places = fds.len();
        fds.extend(interruptions);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => Ok(false),
            Ok(_) if fds[places..].iter().any(|fd| !fd.revents().is_empty()) => {
                Err(io::ErrorKind::Interrupted.into())
            }
            Ok(_) => {
                ready.extend(
                    (1..places)
                        .filter(|place| !fds[*place].revents().is_empty())
                        .map(|place| place - 1),
                );
                Ok(true)
            }
            Err(Errno::INTR) => Err(io::ErrorKind::Interrupted.into()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Have reads and writes of a descriptor return at once.
pub fn set_nonblocking(descriptor: RawFd) -> io::Result<()> {
    // SAFETY: borrowed for this call only.
    let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
    Ok(rustix::io::ioctl_fionbio(descriptor, true)?)
}

/// Write a few bytes to a descriptor of another owner; what it does not take is lost.
pub fn pass_on(descriptor: RawFd, bytes: &[u8]) {
    // SAFETY: borrowed for this call only; if it has been closed meanwhile, the write fails.
    let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let _ = rustix::io::write(descriptor, bytes);
}
