//! The command that `mrun` runs: in a process group of its own, with the terminal if `mrun` has it.

use std::ffi::OsString;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Start it, and return its process id, which is that of its group. Called on the thread that lives as long as this
/// process: the command ends with it.
///
/// `terminal` is the descriptor of the terminal that the group shall have.
pub fn spawn(
    command: &[OsString],
    environment: Vec<(OsString, OsString)>,
    terminal: Option<RawFd>,
) -> io::Result<u32> {
    let [program, arguments @ ..] = command else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // What the command leaves behind becomes this process's child, which can so see it end.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let parent = rustix::process::getpid();
    let mut command = Command::new(program);
    command.args(arguments).envs(environment).process_group(0);
    let before = move || {
        crate::threads::unblock_signals();
        crate::launcher::guard::end_with_parent(true);
        if rustix::process::getppid() != Some(parent) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if let Some(terminal) = terminal {
            // SAFETY: plain system calls on numbers. A process in the background that takes the terminal is stopped
            // by a signal unless it ignores that.
            unsafe {
                let stopped = libc::signal(libc::SIGTTOU, libc::SIG_IGN);
                libc::tcsetpgrp(terminal, libc::getpid());
                libc::signal(libc::SIGTTOU, stopped);
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls and nothing else: no memory, no locks.
    unsafe { command.pre_exec(before) };
    // The caller waits for it, also for its being stopped.
    let child = command.spawn()?;
    Ok(child.id())
}
