//! Threads of the engine's own.

use std::io;
use std::thread::JoinHandle;

/// Start a named thread that no Unix signal is delivered to: they belong to the program's threads, whose
/// blocking waits they interrupt.
pub fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let old = block_signals()?;
    let thread = std::thread::Builder::new().name(name.into()).spawn(run);
    restore_signals(&old);
    thread
}

fn block_signals() -> io::Result<libc::sigset_t> {
    // SAFETY: both sets are plain data that the calls fill in; the mask changed is this thread's own.
    unsafe {
        let mut all = std::mem::zeroed();
        let mut old = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        match libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut old) {
            0 => Ok(old),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

fn restore_signals(old: &libc::sigset_t) {
    // SAFETY: `old` came from `pthread_sigmask`.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::from_ref(old), std::ptr::null_mut());
    }
}
