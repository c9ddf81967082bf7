//! The recorder of a profile: what happened to calls, when, in this process.
//!
//! | module | what it owns |
//! | --- | --- |
//! | this one | [`Recorder`]: the buffers, and where each thread records |
//! | [`switch`] | starting and ending a recording |
//! | [`writer`] | the recorder's own thread, which writes the file |
//! | [`tables`] | rows on their way to the file, packed |
//! | [`format`](mod@format) | the file: frames and records |
//! | [`noted`] | what is recorded without a lock: received calls, the plain call that runs |
//! | [`clock`] | time stamps that all processes of a machine share |
//!
//! Threads push rows into buffers; the recorder's own thread appends them to the file, one write a batch ([`writer`]).
//! Each kind of thread has its own buffer with a lock: callers, threads that feed the state machine, threads that run
//! calls, threads that trace functions. Only the recorder's thread and a switch of the recorder ([`switch`]) contend
//! with them; both hold a lock only while they swap vectors.
//!
//! While nothing is recorded, each recording site costs one load of a flag that does not change. `python -m
//! benches.profile` measures the cost of a recording.

mod clock;
mod format;
mod noted;
mod switch;
mod tables;
mod writer;

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use mosaic_core::call::Outcome;
use mosaic_core::event::Submission;
use mosaic_core::id::{RuntimeId, TaskId};
use mosaic_core::payload::Payload;
use mosaic_core::wire::RulesMessage;

use crate::executor::Executor;
use crate::sync::completion::Completion;
use crate::sync::threads;
use crate::sync::{Mutex, Rank};
pub use clock::Anchor;
use clock::ticks;
pub use format::{Batch, HEAD, Process, Profile, Record, SYNC, VERSION, parse};
use noted::Plain;
pub(crate) use noted::ReceivedCalls;
use tables::{Buffer, Ended, packed};
use writer::Writer;

/// Values from this length on, in bytes, are recorded one by one as they arrive, with the time that encoding them takes.
const LARGE: u64 = 4 << 10;
/// Functions that took at least this many ticks of the clock (some microseconds) are recorded one by one.
const LONG: u64 = 40_000;
/// Bytes in a buffer from which on the recorder's thread is woken early.
const FULL: usize = 128 << 10;

/// The call that a thread runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    /// The task, packed into a column; 0 for none.
    task: u64,
    coroutine: bool,
    began: u64,
    ran: u64,
    returned: u64,
}

const NO_RUN: Run = Run {
    task: 0,
    coroutine: false,
    began: 0,
    ran: 0,
    returned: 0,
};

thread_local! {
    static RUN: Cell<Run> = const { Cell::new(NO_RUN) };
}

/// The recorder of one runtime.
pub struct Recorder {
    runtime: u32,
    uid: String,
    on: AtomicBool,
    traced: AtomicBool,
    /// The file of the recording; a switch holds the lock.
    path: Mutex<Option<PathBuf>>,
    calls: Mutex<Buffer>,
    arrivals: Mutex<Buffer>,
    runs: Mutex<Buffer>,
    functions: Mutex<Buffer>,
    next_function: AtomicU32,
    /// The number of the recording, or of the last one.
    recording: AtomicU64,
    plain: Plain,
    writer: Writer,
    /// Prints warnings. Weak, since the executor may hold the recorder.
    executor: Weak<dyn Executor>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("on", &self.on)
            .finish_non_exhaustive()
    }
}

impl Recorder {
    /// A recorder that records nothing yet.
    pub(crate) fn new(runtime: u32, uid: &str, executor: &Arc<dyn Executor>) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            uid: uid.to_owned(),
            on: AtomicBool::new(false),
            traced: AtomicBool::new(false),
            path: Mutex::with_default(Rank::RecorderFile),
            calls: Mutex::with_default(Rank::RecorderBuffer),
            arrivals: Mutex::with_default(Rank::RecorderBuffer),
            runs: Mutex::with_default(Rank::RecorderBuffer),
            functions: Mutex::with_default(Rank::RecorderBuffer),
            next_function: AtomicU32::new(0),
            recording: AtomicU64::new(0),
            plain: Plain::default(),
            writer: Writer::default(),
            executor: Arc::downgrade(executor),
        })
    }

    /// Whether anything is recorded. A forked process records nothing.
    #[inline]
    pub fn on(&self) -> bool {
        self.on.load(Ordering::Relaxed) && !threads::forked()
    }

    /// Whether functions are recorded too.
    pub fn traced(&self) -> bool {
        self.on() && self.traced.load(Ordering::Relaxed)
    }

    fn warn(&self, message: &str) {
        if let Some(executor) = self.executor.upgrade() {
            executor.warn(message);
        }
    }

    fn buffers(&self) -> [&Mutex<Buffer>; 4] {
        [&self.calls, &self.arrivals, &self.runs, &self.functions]
    }

    fn push(&self, buffer: &Mutex<Buffer>, add: impl FnOnce(&mut Buffer)) {
        let mut buffer = buffer.lock();
        add(&mut buffer);
        let full = buffer.waiting() >= FULL;
        drop(buffer);
        self.writer.filled(full);
    }

    // ---- callers -----------------------------------------------------------------------------------

    /// A program makes a call.
    pub(crate) fn created(&self, submission: &Submission<Arc<Completion>>) {
        let call = &*submission.call;
        let (time, task, parent) = (ticks(), packed(call.task), RUN.get().task);
        let (kind, size) = (call.kind.number(), call.arguments.size() as u64);
        let more = usize::from(parent != 0) + call.dependencies.len();
        self.push(&self.calls, |buffer| {
            if !buffer.created(time, task, &submission.handle.callee, kind, size, more) {
                return;
            }
            if parent != 0 {
                buffer.parent(task, parent);
            }
            for dependency in &call.dependencies {
                buffer.link(task, dependency.task);
            }
        });
    }

    // ---- threads that feed the state machine -------------------------------------------------------

    /// The state machine is about to handle this message. Received calls are collected for [`Recorder::arrived`].
    pub(crate) fn received(
        &self,
        from: RuntimeId,
        message: &RulesMessage,
        received_calls: &mut ReceivedCalls,
    ) {
        let moved = |task: TaskId, value: &Payload| {
            let size = value.size() as u64;
            if size >= LARGE {
                let (time, copied) = (ticks(), value.moving() as u64);
                self.push(&self.arrivals, |buffer| {
                    buffer.moved(time, task, from.0, size, copied);
                });
            }
        };
        match message {
            RulesMessage::Call(call) => {
                received_calls.note(call.task);
                moved(call.task, &call.arguments);
            }
            RulesMessage::RemotePut { task, value } => moved(*task, value),
            RulesMessage::Completed { task, outcome, .. }
            | RulesMessage::Fetched { task, outcome, .. } => {
                if let Outcome::Value(value) = &**outcome {
                    moved(*task, value);
                }
            }
            _ => {}
        }
    }

    /// A batch of messages has been handled.
    pub(crate) fn arrived(&self, received_calls: &mut ReceivedCalls) {
        self.push(&self.arrivals, |buffer| {
            buffer.queued(received_calls.calls());
        });
        received_calls.clear();
    }

    /// A call that this process made has ended.
    pub(crate) fn settled(&self, task: TaskId, outcome: &Outcome) {
        if let Outcome::Failed(failure) = outcome {
            let (time, kind) = (ticks(), u32::from(failure.kind.number()));
            self.push(&self.arrivals, |buffer| {
                buffer.failed(time, packed(task), kind);
            });
        }
    }

    // ---- threads that run calls --------------------------------------------------------------------

    /// This thread begins a call, of a plain method or of a coroutine. Returns what it ran before, for [`Recorder::ended`].
    pub fn began(&self, task: TaskId, coroutine: bool) -> Run {
        let (began, task) = (ticks(), packed(task));
        if coroutine {
            self.push(&self.runs, |buffer| buffer.began(began, task));
        } else {
            self.plain.begin(task, began);
            self.writer.filled(false);
        }
        RUN.replace(Run {
            task,
            coroutine,
            began,
            ran: began,
            returned: 0,
        })
    }

    /// The arguments of the call are decoded; the program's own code runs next.
    #[expect(clippy::unused_self, reason = "a method, as all that record")]
    pub fn ran(&self) {
        let run = RUN.get();
        RUN.set(Run {
            ran: ticks(),
            ..run
        });
    }

    /// The program's own code has returned; its result is encoded next.
    #[expect(clippy::unused_self, reason = "a method, as all that record")]
    pub fn returned(&self) {
        let run = RUN.get();
        let returned = ticks();
        RUN.set(Run { returned, ..run });
    }

    /// The call that this thread runs has ended; the thread resumes what it ran before.
    pub fn ended(&self, outcome: &Outcome, before: Run) {
        let run = RUN.replace(before);
        if !run.coroutine {
            let outer = if before.coroutine { NO_RUN } else { before };
            self.plain.set(outer.task, outer.began);
        }
        let (size, status) = match outcome {
            Outcome::Value(value) => (value.size() as u64, 0),
            Outcome::Stored { size, .. } => (*size, 0),
            Outcome::Failed(failure) => (0, 1 + u32::from(failure.kind.number())),
        };
        let returned = if run.returned == 0 {
            ticks()
        } else {
            run.returned
        };
        let ended = Ended {
            task: run.task,
            coroutine: run.coroutine,
            began: run.began,
            ran: run.ran,
            returned,
            done: if size >= LARGE { ticks() } else { returned },
            size,
            status,
        };
        self.push(&self.runs, |buffer| buffer.ended(&ended));
    }

    // ---- threads that trace functions --------------------------------------------------------------

    /// The number of the recording. A function has a number of its own in each.
    pub fn recording(&self) -> u64 {
        self.recording.load(Ordering::Acquire)
    }

    /// A number for a function.
    pub fn function(&self, file: &str, name: &str) -> u32 {
        let number = self.next_function.fetch_add(1, Ordering::Relaxed);
        self.push(&self.functions, |buffer| buffer.name(number, file, name));
        number
    }

    /// A function has returned: when it was called and returned, how long others that it called took, how deep it was.
    pub fn traced_function(&self, function: u32, start: u64, end: u64, others: u64, depth: u32) {
        let (task, total) = (RUN.get().task, end.saturating_sub(start));
        self.push(&self.functions, |buffer| {
            buffer.function(function, total, total.saturating_sub(others));
            if total >= LONG {
                buffer.span((start, end), task, function, depth);
            }
        });
    }
}

/// Now, on the clock of the profile.
pub fn now() -> u64 {
    ticks()
}

/// Resume a call, or none. Returns what this thread ran until now.
pub fn resume(run: Run) -> Run {
    RUN.replace(run)
}
