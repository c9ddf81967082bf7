//! Clean-up after a monitor that was killed: removes the key and ends the command that it ran.
//!
//! The command first has some time of its own, in which its waits for workers fail with the reason. Then it gets
//! SIGTERM, then SIGKILL. Two seconds after the death of the monitor none of its processes is left.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, kill_process, kill_process_group};

use crate::node::process::gone;
use crate::sync::threads;

/// Time before SIGTERM, in which the waits of the program fail with the reason of its end.
const BEFORE_TERM: Duration = Duration::from_millis(900);
/// Time from SIGTERM to SIGKILL.
const BEFORE_KILL: Duration = Duration::from_millis(500);

/// Remove the key file that names this directory, and the folder of the file if that is empty then.
pub(crate) fn remove_key(key: &Path, directory: &Path) {
    // Another `mrun` may have replaced the file.
    let ours =
        fs::read_to_string(key).is_ok_and(|text| text.contains(&directory.display().to_string()));
    if ours {
        let _ = fs::remove_file(key);
    }
    if let Some(workspace) = key.parent() {
        let _ = fs::remove_dir(workspace);
    }
}

/// End the command that leads this process group.
pub(crate) async fn end_group(leader: u32) {
    let Some(leader) = Pid::from_raw(leader.cast_signed()) else {
        return;
    };
    // When the leader ends earlier, the rest of the group is ended at once.
    let _ = tokio::time::timeout(BEFORE_TERM, gone(leader)).await;
    if kill_process_group(leader, Signal::TERM).is_ok() {
        let _ = tokio::time::timeout(BEFORE_KILL, group_gone(leader)).await;
        let _ = kill_process_group(leader, Signal::KILL);
    }
}

/// Returns when all processes that are in the group now have ended; never where the system does not list processes. The
/// leader may end before the others have cleaned up: helper processes of `multiprocessing` unlink named resources.
#[cfg(target_os = "linux")]
async fn group_gone(leader: Pid) {
    let Ok(processes) = fs::read_dir("/proc") else {
        return std::future::pending().await;
    };
    let members = processes
        .flatten()
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        // SAFETY: a query, which fails for a process that is gone. Not through rustix, which assumes that every process
        // is in a group: kernel threads are in none.
        .filter(|pid| unsafe { libc::getpgid(pid.as_raw_pid()) } == leader.as_raw_pid());
    for member in members.collect::<Vec<_>>() {
        gone(member).await;
    }
}

/// Elsewhere processes are not listed.
#[cfg(not(target_os = "linux"))]
async fn group_gone(_: Pid) {
    std::future::pending().await
}

/// End this process with the same signals, since no other process may be left to send them. Returns at once.
pub(crate) fn end_myself() {
    let ending = || {
        for (pause, signal) in [(BEFORE_TERM, Signal::TERM), (BEFORE_KILL, Signal::KILL)] {
            let until = Instant::now() + pause;
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                std::thread::park_timeout(left);
            }
            let _ = kill_process(getpid(), signal);
        }
    };
    let _ = threads::spawn("mosaic-end", ending);
}

/// Whether the kernel was to signal this process on the death of its parent, before that was switched off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ParentDeathSignal(bool);

/// Switch the signal off. The setting belongs to a thread: call this on the main thread.
pub(crate) fn disable_parent_death_signal() -> ParentDeathSignal {
    let parent_death_signal = ParentDeathSignal(ends_with_parent());
    end_with_parent(false);
    parent_death_signal
}

impl ParentDeathSignal {
    /// Restore the former setting.
    pub(crate) fn restore(self) {
        if self.0 {
            end_with_parent(true);
        }
    }
}

/// Have the kernel send SIGTERM to this process when its parent dies, or not.
#[cfg(target_os = "linux")]
pub(crate) fn end_with_parent(at_once: bool) {
    let signal = at_once.then_some(Signal::TERM);
    let _ = rustix::process::set_parent_process_death_signal(signal);
}

/// Whether the kernel sends a signal when the parent dies.
#[cfg(target_os = "linux")]
fn ends_with_parent() -> bool {
    rustix::process::parent_process_death_signal().is_ok_and(|signal| signal.is_some())
}

/// Other kernels have no such signal.
#[cfg(not(target_os = "linux"))]
pub(crate) fn end_with_parent(_: bool) {}

/// Other kernels have no such signal.
#[cfg(not(target_os = "linux"))]
fn ends_with_parent() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read};
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, ChildStdout, Command, Stdio};

    /// A shell that leads a group, and what it prints, once it has printed that it is ready.
    fn leader(script: &str) -> (Child, BufReader<ChildStdout>) {
        let mut child = Command::new("sh")
            .args(["-c", script])
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut printed = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        printed.read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        (child, printed)
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_group_that_ends_when_it_is_asked_to_delays_nothing() {
        let (mut child, _) = leader("echo ready; exec sleep 60");
        let begun = Instant::now();
        end_group(child.id()).await;
        let took = begun.elapsed();
        let status = child.wait().expect("its end");
        assert_eq!(status.signal(), Some(libc::SIGTERM));
        assert!(took < BEFORE_TERM + BEFORE_KILL, "{took:?}");
    }

    #[tokio::test]
    async fn what_is_left_of_a_group_has_its_time_and_no_more() {
        let tidies =
            "trap 'sleep 0.1; echo tidy; exit' TERM; echo ready; while :; do sleep 0.01; done";
        let ignores = "trap '' TERM; sleep 60";
        let (mut child, mut printed) = leader(&format!("({ignores}) & ({tidies}) & exit"));
        end_group(child.id()).await;
        child.wait().expect("its end");
        let mut rest = String::new();
        // All who could print have ended by then.
        printed.read_to_string(&mut rest).expect("the rest");
        assert_eq!(rest, "tidy\n");
    }
}
