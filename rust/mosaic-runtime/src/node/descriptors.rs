//! How many files this process may have open.
//!
//! A network needs more than the usual soft limit of 1,024: pipes and connections to many workers, slabs of many
//! results. The soft limit is raised while an engine or a node agent runs in this process. Other programs that it
//! starts get the limit of before (`LIMIT-1`): a program that calls `select(2)` must not be given a descriptor beyond
//! 1,023. A forked process restores the limit itself; a caller that starts one in another way (`vfork`,
//! `posix_spawn`) lowers the limit for the moment ([`lower`]). If the program has set another limit meanwhile, that
//! one stays.
//!
//! A fork may happen at any moment, so the state that a forked process needs is atomics.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{LazyLock, Once};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::sync::{Mutex, Rank};

/// How long to wait before another try where there are no descriptors left: no event says when there are some again.
pub(crate) const SHORTAGE: Duration = Duration::from_millis(50);
/// What the system says where a process may open no more.
pub const EMFILE: i32 = libc::EMFILE;
/// The soft limit is raised to this, or to the hard limit if that is less.
const MOST: u64 = 65_536;
/// So many more files may be opened while the limit is lowered.
const SPARE: u64 = 64;
/// Environment of a worker: the soft limit of what its methods start.
pub(crate) const VARIABLE: &str = "MOSAIC_WORKER_DESCRIPTORS";

/// Those in this process that need more.
static USERS: AtomicUsize = AtomicUsize::new(0);
/// The soft limit as it was; zero if it was not raised.
static GIVEN: AtomicU64 = AtomicU64::new(0);
/// What it was raised to.
static RAISED: AtomicU64 = AtomicU64::new(0);

/// Some that are kept open to be closed when they are needed: where the program has used up all, the error that says so
/// may be the first to need a module that has not been read yet, and a connection has to be made all the same.
static RESERVE: LazyLock<Mutex<Vec<File>>> =
    LazyLock::new(|| Mutex::with_default(Rank::DescriptorReserve));
/// How many those are.
const RESERVED: usize = 4;

/// Do something with the descriptors that are kept in reserve.
pub fn with_reserve<T>(act: impl FnOnce() -> T) -> T {
    RESERVE.lock().clear();
    let result = act();
    keep_reserve();
    result
}

/// Close all of the reserve, for something that stays open. False if none was left.
pub fn free_reserve() -> bool {
    let reserve = std::mem::take(&mut *RESERVE.lock());
    !reserve.is_empty()
}

/// Close one of the reserve for something that stays open. False if none is left.
pub(crate) fn spend_reserve() -> bool {
    RESERVE.lock().pop().is_some()
}

fn keep_reserve() {
    if USERS.load(Ordering::Acquire) == 0 || crate::sync::threads::forked() {
        return;
    }
    let mut reserve = RESERVE.lock();
    while reserve.len() < RESERVED
        && let Ok(file) = File::open("/dev/null")
    {
        reserve.push(file);
    }
}

/// The soft limit at this moment.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The soft limit of what this program starts, if this process has another. Where the program has set one itself since,
/// that goes for both.
pub fn given() -> Option<u64> {
    remembered().filter(|_| limit() == RAISED.load(Ordering::Acquire))
}

fn remembered() -> Option<u64> {
    Some(GIVEN.load(Ordering::Acquire)).filter(|given| *given != 0)
}

/// The soft limit is raised as long as one of these lives.
#[derive(Debug)]
pub(crate) struct Descriptors(());

impl Descriptors {
    /// `started` says that this process was started by one that had raised its own limit.
    pub(crate) fn raise(started: bool) -> Self {
        raise(started);
        keep_reserve();
        Self(())
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        if !crate::sync::threads::forked() {
            no_more();
        }
    }
}

fn raise(started: bool) {
    if USERS.fetch_add(1, Ordering::AcqRel) > 0 || remembered().is_some() {
        return;
    }
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Without a limit there is nothing to raise.
    let Some(soft) = current else { return };
    let more = maximum.unwrap_or(MOST).min(MOST).max(soft);
    let before = if started { before_the_start() } else { None };
    let given = before.unwrap_or(soft).min(soft);
    if given == more {
        return;
    }
    restore_in_forks();
    if soft < more && set(more).is_err() {
        return;
    }
    RAISED.store(more, Ordering::Release);
    GIVEN.store(given, Ordering::Release);
}

fn before_the_start() -> Option<u64> {
    std::env::var(VARIABLE).ok()?.parse().ok()
}

/// One less needs it. With the last it is what it was, unless more files than that are open.
fn no_more() {
    if USERS.fetch_sub(1, Ordering::AcqRel) > 1 {
        return;
    }
    RESERVE.lock().clear();
    if let Some(given) = given()
        && (open_files().is_none_or(|open| open >= given) || set(given).is_err())
    {
        // What is started from now on still gets what it was.
        return;
    }
    GIVEN.store(0, Ordering::Release);
}

/// The limit is what it was as long as this lives.
#[derive(Debug)]
#[must_use]
pub struct Lowered(u64);

/// Lower the limit to what it was, for the start of a program. Nothing where it was not raised. Where the files of this
/// process would not fit, only if the caller insists: until the limit is raised again, no more can be opened.
pub fn lower(insist: bool) -> Option<Lowered> {
    let (given, raised) = (given()?, RAISED.load(Ordering::Acquire));
    let fits = || open_files().is_some_and(|open| open + SPARE < given);
    ((insist || fits()) && set(given).is_ok()).then_some(Lowered(raised))
}

impl Drop for Lowered {
    fn drop(&mut self) {
        let _ = set(self.0);
    }
}

fn set(soft: u64) -> io::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = Some(soft);
    Ok(setrlimit(Resource::Nofile, Rlimit { current, maximum })?)
}

/// How many files this process has open.
fn open_files() -> Option<u64> {
    let place = if cfg!(target_os = "linux") {
        "/proc/self/fd"
    } else {
        "/dev/fd"
    };
    Some(std::fs::read_dir(place).ok()?.count() as u64)
}

/// `LIMIT-1`: a forked process has the limit that this one was given, whichever code forked it.
fn restore_in_forks() {
    static ONCE: Once = Once::new();
    extern "C" fn in_child() {
        let (given, raised) = (
            GIVEN.swap(0, Ordering::AcqRel),
            RAISED.load(Ordering::Acquire),
        );
        USERS.store(0, Ordering::Release);
        // SAFETY: two system calls with plain data of this function's own.
        unsafe {
            let mut limits: libc::rlimit = std::mem::zeroed();
            if given != 0
                && libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limits) == 0
                && limits.rlim_cur == raised
            {
                limits.rlim_cur = given;
                libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limits);
            }
        }
    }
    ONCE.call_once(|| {
        // SAFETY: the handler makes system calls and stores to atomics, and nothing else.
        unsafe {
            libc::pthread_atfork(None, None, Some(in_child));
        }
    });
}

/// Whether a system call was refused because there are no descriptors left, in this process or on the machine.
pub(crate) fn are_short(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// What to say of it.
pub(crate) fn shortage(what: &str) -> String {
    format!(
        "{what}: the process has as many files open as it may (RLIMIT_NOFILE = {}). Close some, or raise the limit \
         (`ulimit -n`) before the program starts",
        limit()
    )
}
