//! The engine's own threads: named, with all Unix signals blocked. A forked process has none of them.

use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, Scope, ScopedJoinHandle};

/// Start a named thread that no Unix signal is delivered to: they belong to the program's threads, whose
/// blocking waits they interrupt.
pub fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let old = block_signals()?;
    let thread = std::thread::Builder::new().name(name.into()).spawn(run);
    restore_signals(&old);
    thread
}

/// Start such a thread for the time of a scope.
pub(crate) fn spawn_scoped<'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    run: impl FnOnce() + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, ()>> {
    let old = block_signals()?;
    let thread = std::thread::Builder::new()
        .name(name.into())
        .spawn_scoped(scope, run);
    restore_signals(&old);
    thread
}

/// Deliver every Unix signal to this thread: a worker's main thread inherits the mask of the thread that
/// started the worker.
pub fn unblock_signals() {
    // SAFETY: the set is plain data that the first call fills in; the mask changed is this thread's own.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

static FORKED: AtomicBool = AtomicBool::new(false);

/// Whether this process was forked from one that had an engine: that engine's threads did not come along.
pub fn forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Notice forks from now on. An engine that a forked process starts for itself is its own.
pub(crate) fn notice_forks() {
    static ONCE: Once = Once::new();
    extern "C" fn in_child() {
        FORKED.store(true, Ordering::Relaxed);
    }
    ONCE.call_once(|| {
        // SAFETY: the handler does nothing but store to an atomic.
        unsafe {
            libc::pthread_atfork(None, None, Some(in_child));
        }
    });
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
        libc::pthread_sigmask(
            libc::SIG_SETMASK,
            std::ptr::from_ref(old),
            std::ptr::null_mut(),
        );
    }
}
