//! The command that `mrun` runs, in a process group of its own.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Start it, and return its process id, which is that of its group. Called on the thread that lives as long as this
/// process: the command ends with it.
pub fn spawn(command: &[OsString], environment: Vec<(OsString, OsString)>) -> io::Result<u32> {
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
        crate::sync::threads::unblock_signals();
        crate::launcher::guard::end_with_parent(true);
        if rustix::process::getppid() != Some(parent) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls and nothing else: no memory, no locks.
    unsafe { command.pre_exec(before) };
    // The caller waits for it, also for its being stopped.
    let child = command.spawn()?;
    Ok(child.id())
}
