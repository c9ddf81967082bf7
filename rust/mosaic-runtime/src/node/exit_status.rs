//! How a process ended, in words: its exit code or signal, and whether the kernel killed it for want of memory.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;

use crate::node::cgroup::{Group, KillCounts, Verdict};
use crate::store::bytes;
use crate::sync::Mutex;

/// Exit code of a worker that has ended because it had no connection to its head any more.
const DISCONNECTED: i32 = 113;
/// What comes before the reason in its last line on standard error.
const REASON: &str = "mosaic: this process ends: ";

/// End this process alone, as one that has no connection to its head, for that reason. What its methods have started is
/// ended by who holds this process, before it is reaped.
pub(crate) fn leave_for(reason: &str) -> ! {
    let stderr = rustix::stdio::stderr();
    let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
    // The pipe may have no reader: what does not fit is not written.
    if matches!(poll(&mut polled, Some(&Timespec::default())), Ok(1..)) {
        let line: String = reason.chars().filter(|c| *c != '\n').take(512).collect();
        let _ = rustix::io::write(stderr, format!("{REASON}{line}\n").as_bytes());
    }
    // SAFETY: it ends the process, whatever its other threads are at.
    unsafe { libc::_exit(DISCONNECTED) }
}

/// The reason that such a process gave, if its last words have one.
fn reason_in(last_words: &str) -> Option<&str> {
    let (_, reason) = last_words.rsplit_once(REASON)?;
    reason.lines().next()
}

/// What is known of a process from its start.
#[derive(Debug)]
pub(crate) struct AtStart {
    /// Its control group.
    pub(crate) group: Option<Group>,
    /// The largest size in bytes that the memory of its starter had by then. The kernel counts it for the new process
    /// too, which was in that memory until it became another program.
    pub(crate) inherited: u64,
}

/// Reap a process that has ended, and say how it did.
pub(crate) fn reap(
    pid: Pid,
    at_start: &AtStart,
    kills: &Mutex<KillCounts>,
    last_words: &str,
) -> String {
    let pid = pid.as_raw_nonzero().get();
    // Before it is reaped: it may be in another group than at its start.
    let group = Group::of_ended(pid.cast_unsigned()).or_else(|| at_start.group.clone());
    let mut status = 0;
    // SAFETY: plain numbers, of which zeros are valid ones.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: a child of this process that nobody else waits for; both places live through the call.
    if unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) } < 0 {
        return describe(Err(io::Error::last_os_error()));
    }
    let status = ExitStatus::from_raw(status);
    if status.code() == Some(DISCONNECTED)
        && let Some(reason) = reason_in(last_words)
    {
        return format!("ended by itself: {reason}");
    }
    if status.signal() != Some(libc::SIGKILL) {
        return describe(Ok(status));
    }
    let killed = "was killed by signal 9 (SIGKILL";
    let verdict = kills.lock().explain(group.as_ref());
    match verdict {
        Verdict::Unknown => describe(Ok(status)),
        Verdict::NotMemory => format!("{killed}: by somebody, not for want of memory)"),
        Verdict::Memory { limit, of_group } => {
            // In units of 1024 bytes; on the platforms that count kills.
            let peak = u64::try_from(usage.ru_maxrss).unwrap_or(0) << 10;
            let had = if peak > at_start.inherited {
                format!("up to {}", bytes(peak))
            } else {
                format!("at most {}", bytes(limit.unwrap_or(peak).min(peak)))
            };
            let whose = if of_group {
                "its control group"
            } else {
                "the machine"
            };
            let limit = limit.map_or("unknown".into(), bytes);
            format!(
                "{killed}: by the system, for want of memory; it had {had}, the limit of {whose} is {limit})"
            )
        }
    }
}

/// A status in words.
pub(crate) fn describe(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => match (status.signal(), status.code()) {
            (Some(signal), _) => format!("was killed by signal {signal} ({})", signal_name(signal)),
            (None, Some(code)) => format!("exited with code {code}"),
            (None, None) => "ended".into(),
        },
        Err(error) => format!("ended, and its status cannot be read: {error}"),
    }
}

fn signal_name(number: i32) -> &'static str {
    match number {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL, an illegal instruction",
        libc::SIGABRT => "SIGABRT, an abort",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL: by somebody, or by the system for want of memory",
        libc::SIGSEGV => "SIGSEGV, a segmentation fault",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU, its CPU time limit",
        _ => "a signal",
    }
}
