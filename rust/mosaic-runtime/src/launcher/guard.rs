//! What is done when the monitor was killed: the key goes, and the command that it ran ends.
//!
//! The command has a second to hear of it, then it is asked to end, then it is killed: two seconds after the monitor
//! nothing is left.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, kill_process, kill_process_group};

use crate::threads;

/// How long the program may go on, so that what waits in it hears why it ends.
const HEARING: Duration = Duration::from_secs(1);
/// How long it may take to end once it was asked to.
const ENDING: Duration = Duration::from_millis(600);

/// Remove the file that told programs of this directory, and the folder around it if nothing else is there.
pub(crate) fn remove_key(key: &Path, directory: &Path) {
    // It may be another's by now.
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
    for (pause, signal) in [(HEARING, Signal::TERM), (ENDING, Signal::KILL)] {
        tokio::time::sleep(pause).await;
        if kill_process_group(leader, signal).is_err() {
            return;
        }
    }
}

/// End this process in the same way: nobody else may be left who could. Returns at once.
pub(crate) fn end_myself() {
    let ending = || {
        for (pause, signal) in [(HEARING, Signal::TERM), (ENDING, Signal::KILL)] {
            let until = Instant::now() + pause;
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                std::thread::park_timeout(left);
            }
            let _ = kill_process(getpid(), signal);
        }
    };
    let _ = threads::spawn("mosaic-end", ending);
}

/// Have the kernel end this process at once when its parent dies, or not.
#[cfg(target_os = "linux")]
pub(crate) fn end_with_parent(at_once: bool) {
    let signal = at_once.then_some(Signal::TERM);
    let _ = rustix::process::set_parent_process_death_signal(signal);
}

/// Whether it does.
#[cfg(target_os = "linux")]
pub(crate) fn ends_with_parent() -> bool {
    rustix::process::parent_process_death_signal().is_ok_and(|signal| signal.is_some())
}

/// Elsewhere the kernel does no such thing.
#[cfg(not(target_os = "linux"))]
pub(crate) fn end_with_parent(_: bool) {}

/// See above.
#[cfg(not(target_os = "linux"))]
pub(crate) fn ends_with_parent() -> bool {
    false
}
