//! The command that `mrun` runs, in a process group of its own.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Start the command and return its process id, which is that of its process group too. To be called on the main
/// thread: the kernel signals the command when the thread that started it ends.
pub fn spawn(command: &[OsString], environment: Vec<(OsString, OsString)>) -> io::Result<u32> {
    let [program, arguments @ ..] = command else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // Orphans of the command become children of this process, which can then wait for their ends.
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
    // The caller waits for the child, and also sees when a signal stops it.
    let child = command.spawn()?;
    Ok(child.id())
}
