//! A wake-up that a foreign event loop can wait for: a file descriptor that becomes readable.
//!
//! Linux has eventfd for this; elsewhere a pipe does.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Readable once raised, until cleared.
#[derive(Debug)]
pub struct Signal {
    #[cfg(target_os = "linux")]
    event: OwnedFd,
    #[cfg(not(target_os = "linux"))]
    pipe: (OwnedFd, OwnedFd),
}

impl Signal {
    /// A signal that is not raised.
    pub fn new() -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        {
            use rustix::event::{EventfdFlags, eventfd};
            Ok(Self { event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)? })
        }
        #[cfg(not(target_os = "linux"))]
        {
            let pipe = rustix::pipe::pipe()?;
            for end in [&pipe.0, &pipe.1] {
                rustix::io::ioctl_fionbio(end, true)?;
                rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
            }
            Ok(Self { pipe })
        }
    }

    fn reader(&self) -> BorrowedFd<'_> {
        #[cfg(target_os = "linux")]
        return self.event.as_fd();
        #[cfg(not(target_os = "linux"))]
        return self.pipe.0.as_fd();
    }

    fn writer(&self) -> BorrowedFd<'_> {
        #[cfg(target_os = "linux")]
        return self.event.as_fd();
        #[cfg(not(target_os = "linux"))]
        return self.pipe.1.as_fd();
    }

    /// Make it readable.
    pub fn raise(&self) {
        // A full counter or pipe is readable already: nothing is lost by a refused write.
        let _ = rustix::io::write(self.writer(), &1u64.to_ne_bytes());
    }

    /// Make it unreadable.
    pub fn clear(&self) {
        let mut sink = [0u8; 64];
        let _ = rustix::io::read(self.reader(), &mut sink[..]);
    }

    /// Block until it is raised. `Ok(false)` when the time passed first; `Interrupted` when a Unix signal
    /// came in on this thread, so that a caller with handlers of its own can run them.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        let timeout = timeout.map(|limit| rustix::event::Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        let mut fds = [PollFd::from_borrowed_fd(self.reader(), PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => Ok(false),
            Ok(_) => Ok(true),
            Err(Errno::INTR) => Err(io::ErrorKind::Interrupted.into()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsRawFd for Signal {
    fn as_raw_fd(&self) -> RawFd {
        self.reader().as_raw_fd()
    }
}
