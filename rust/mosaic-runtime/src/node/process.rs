//! Other processes of this runtime, by pidfd.
//!
//! The kernel reuses a process number once its process has been reaped. A pidfd stands for one process for good, so
//! that every query and every signal concerns that process (`PROC-1`).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, test_kill_process, waitid,
};

use rustix::io::retry_on_intr;
use tokio::io::unix::AsyncFd;
use tokio::task::spawn_blocking;

/// How long the kernel may take from closing the sockets of a process that ends to saying that it has ended.
pub(crate) const CLOSING: Duration = Duration::from_millis(500);
/// Place of the kernel's flags among the fields of `/proc/PID/stat` that come behind the name.
const FLAGS: usize = 6;
/// The kernel's `PF_EXITING`.
const EXITING: u32 = 4;

/// A process that this one knows, not necessarily a child.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    handle: Handle,
}

#[derive(Debug)]
enum Handle {
    Watched(OwnedFd),
    /// It had ended and been reaped before it could be watched.
    Gone,
    /// There are no descriptors left, or the system has no pidfds.
    Unwatched,
}

impl Process {
    /// The process that has this number now. `None` for what is no number of a process.
    pub(crate) fn open(number: u32) -> Option<Self> {
        let pid = Pid::from_raw(number.cast_signed())?;
        let handle = match process_handle(pid) {
            Ok(handle) => Handle::Watched(handle),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Handle::Gone,
            Err(_) => Handle::Unwatched,
        };
        Some(Self { pid, handle })
    }

    /// Its number.
    pub(crate) fn number(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }

    /// Whether it is known to have ended. One that cannot be watched has ended when its number is free.
    pub(crate) fn has_ended(&self) -> bool {
        match &self.handle {
            Handle::Watched(handle) => {
                let mut polled = [PollFd::new(handle, PollFlags::IN)];
                let now = Timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                };
                matches!(poll(&mut polled, Some(&now)), Ok(1..))
            }
            Handle::Gone => true,
            Handle::Unwatched => test_kill_process(self.pid) == Err(rustix::io::Errno::SRCH),
        }
    }

    /// Returns when it has ended; never where that cannot be watched.
    pub(crate) async fn end(&self) {
        match &self.handle {
            Handle::Watched(handle) => {
                let watched = handle.try_clone().and_then(watch_handle);
                if let Ok(watched) = watched
                    && let Ok(mut ended) = watched.readable().await
                {
                    return ended.retain_ready();
                }
            }
            Handle::Gone => return,
            Handle::Unwatched => {}
        }
        std::future::pending::<()>().await;
    }

    /// Whether it lives on, of a process that has closed a socket: the kernel closes the sockets of one that ends shortly
    /// before its end can be seen.
    pub(crate) async fn lives_on(&self) -> bool {
        if self.is_ending() != Some(false) {
            let _ = tokio::time::timeout(CLOSING, self.end()).await;
        }
        !self.has_ended()
    }

    /// Whether the kernel is about to end it, where that is known. It is before a socket is closed for that.
    fn is_ending(&self) -> Option<bool> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.number())).ok()?;
        // Behind the name, which may contain anything.
        let mut rest = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let flags: u32 = rest.nth(FLAGS)?.parse().ok()?;
        Some(flags & EXITING != 0)
    }

    /// The descriptor to poll, which becomes readable with its end.
    pub(crate) fn handle(&self) -> Option<&OwnedFd> {
        match &self.handle {
            Handle::Watched(handle) => Some(handle),
            Handle::Gone | Handle::Unwatched => None,
        }
    }

    /// Kill it with everything in the process group that it leads, unless it has been reaped: then the number may be
    /// another's, and nothing is done.
    pub(crate) fn kill_group(&self) {
        if self.is_unreaped() {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }

    #[cfg(target_os = "linux")]
    fn is_unreaped(&self) -> bool {
        let Handle::Watched(handle) = &self.handle else {
            return false;
        };
        let no_information = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: signal 0 delivers nothing; the descriptor lives through the call, and no memory is passed.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                handle.as_raw_fd(),
                0,
                no_information,
                0,
            )
        };
        result == 0
    }

    #[cfg(not(target_os = "linux"))]
    fn is_unreaped(&self) -> bool {
        false
    }
}

/// Returns when that process has ended, or at once where that cannot be watched.
async fn process_ended(pid: Pid) -> io::Result<()> {
    let watched = watch_handle(process_handle(pid)?)?;
    watched.readable().await?.retain_ready();
    Ok(())
}

/// Returns when a child of this process has ended; it is not reaped. One that cannot be watched is waited for by a
/// thread.
pub(crate) async fn child_ended(pid: Pid) {
    if process_ended(pid).await.is_err() {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let wait = move || retry_on_intr(|| waitid(WaitId::Pid(pid), ended));
        let _ = spawn_blocking(wait).await;
    }
}

/// Returns when that process is gone, or never where that cannot be watched.
pub(crate) async fn gone(pid: Pid) {
    match process_ended(pid).await {
        Ok(()) => {}
        // It was gone before it could be watched.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
        // There are no descriptors left, or such a thing is not known here.
        Err(_) => std::future::pending().await,
    }
}

/// Returns when the process at the other end of a connection is gone, which a process that it forked may keep open.
pub(crate) async fn peer_gone(peer: Option<i32>) {
    match peer.and_then(Pid::from_raw) {
        Some(pid) => gone(pid).await,
        None => std::future::pending().await,
    }
}

/// Have tokio watch a process: what it returns becomes readable when that has ended.
pub(crate) fn watch_handle(process: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor stays open, and what it stands for the same, until `AsyncFd` closes it.
    let watched = unsafe { AsyncFd::register(process) }?;
    Ok(watched)
}

/// Block until the first of several processes has ended.
pub(crate) fn wait_for_end_of_one(processes: &[&OwnedFd]) -> io::Result<()> {
    let mut watched: Vec<_> = processes
        .iter()
        .map(|process| PollFd::new(*process, PollFlags::IN))
        .collect();
    loop {
        match poll(&mut watched, None) {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result.map(|_| ())?),
        }
    }
}

/// A descriptor that stands for a process.
#[cfg(target_os = "linux")]
pub(crate) fn process_handle(pid: Pid) -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_open(
        pid,
        rustix::process::PidfdFlags::NONBLOCK,
    )?)
}

/// A descriptor that stands for a process: there is none on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn process_handle(_: Pid) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    /// A process that leads a group of its own and waits for the end of its standard input.
    fn waiting() -> std::process::Child {
        Command::new("cat")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process")
    }

    /// `PROC-1`
    #[tokio::test]
    async fn proc_1_its_end_is_seen_and_its_number_is_left_alone_after_it() {
        let mut child = waiting();
        let process = Process::open(child.id()).expect("a number");
        assert!(!process.has_ended());
        assert_eq!(process.is_ending(), Some(false));
        assert!(process.lives_on().await);
        assert!(process.is_unreaped());
        process.kill_group();
        tokio::time::timeout(Duration::from_secs(20), process.end())
            .await
            .expect("its end");
        assert!(process.has_ended());
        assert!(!process.lives_on().await);
        assert_eq!(process.is_ending(), Some(true));
        // A zombie keeps its number; what is reaped does not.
        assert!(process.is_unreaped());
        child.wait().expect("reaped");
        assert!(!process.is_unreaped());
        assert!(process.has_ended());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn one_that_has_closed_everything_because_it_ends_does_not_live_on() {
        for _ in 0..20 {
            let mut child = waiting();
            let process = Process::open(child.id()).expect("a number");
            let mut printed = child.stdout.take().expect("a pipe");
            process.kill_group();
            // The kernel closes its end before the end can be seen.
            printed.read_to_end(&mut Vec::new()).expect("nothing");
            assert!(!process.lives_on().await);
            child.wait().expect("reaped");
        }
    }

    #[test]
    fn one_that_is_gone_has_ended() {
        let mut child = waiting();
        child.kill().expect("killed");
        child.wait().expect("reaped");
        let process = Process::open(child.id()).expect("a number");
        assert!(process.has_ended());
        assert!(Process::open(0).is_none());
    }
}
