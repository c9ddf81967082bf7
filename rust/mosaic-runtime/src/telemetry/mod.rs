//! The recorder of a profile: what happened to calls, when, in this process.
//!
//! | module | what it owns |
//! | --- | --- |
//! | this one | [`Recorder`]: the buffers, and where each thread records |
//! | [`switch`] | starting and ending a recording |
//! | [`writer`] | the recorder's own thread, which writes the file |
//! | [`tables`] | rows on their way to the file, packed |
//! | [`format`](mod@format) | the file: frames and records |
//! | [`noted`] | what is recorded without a lock |
//! | [`clock`] | time stamps that all processes of a machine share |
//!
//! Threads push rows into buffers; a thread of the recorder's own appends them to the file, a batch a write
//! ([`writer`]). There is a buffer, and a lock, for each kind of thread: callers, threads that feed the state machine,
//! threads that run calls, threads that trace functions. Only the writer and a switch of the recorder ([`switch`])
//! contend with them, and hold a lock for as long as it takes to swap vectors. The locks are the innermost of all.
//!
//! Off, which is how it starts, each place that records costs one load of a flag that does not change.
//! `python -m benches.profile` measures what it costs on.

mod clock;
mod format;
mod noted;
mod switch;
mod tables;
mod writer;

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use mosaic_core::call::Outcome;
use mosaic_core::event::Submission;
use mosaic_core::id::{RuntimeId, TaskId};
use mosaic_core::payload::Payload;
use mosaic_core::wire::RulesMessage;

use crate::executor::Executor;
use crate::sync::completion::Completion;
use crate::sync::primitives::lock;
use crate::sync::threads;
pub use clock::Anchor;
use clock::ticks;
pub use format::{Batch, HEAD, Process, Profile, Record, SYNC, VERSION, parse};
use noted::Plain;
pub(crate) use noted::ReceivedCalls;
use tables::{Buffer, Ended, packed};
use writer::Writer;

/// Values from this length on are recorded one by one as they come, and so is the time that it takes to encode them.
const LARGE: u64 = 4 << 10;
/// Functions that took at least this many ticks of the clock, some microseconds, are recorded one by one.
const LONG: u64 = 40_000;
/// Waiting bytes of a buffer for which the writer is woken before its time.
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

/// See the module.
pub struct Recorder {
    runtime: u32,
    uid: String,
    on: AtomicBool,
    traced: AtomicBool,
    /// The file that is appended to; locked by whoever switches.
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
    /// For warnings. It may hold the recorder.
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
            path: Mutex::default(),
            calls: Mutex::default(),
            arrivals: Mutex::default(),
            runs: Mutex::default(),
            functions: Mutex::default(),
            next_function: AtomicU32::new(0),
            recording: AtomicU64::new(0),
            plain: Plain::default(),
            writer: Writer::default(),
            executor: Arc::downgrade(executor),
        })
    }

    /// Whether anything is recorded: in a process that was forked from one that does, nothing is.
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
        let mut buffer = lock(buffer);
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

    // ---- whoever feeds the rules -------------------------------------------------------------------

    /// The rules are about to be told of this message. Calls that came are noted, for [`Recorder::arrived`].
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

    /// A batch of messages is over.
    pub(crate) fn arrived(&self, received_calls: &mut ReceivedCalls) {
        self.push(&self.arrivals, |buffer| {
            buffer.queued(received_calls.calls());
        });
        received_calls.clear();
    }

    /// A call of this process's own has ended.
    pub(crate) fn settled(&self, task: TaskId, outcome: &Outcome) {
        if let Outcome::Failed(failure) = outcome {
            let (time, kind) = (ticks(), u32::from(failure.kind.number()));
            self.push(&self.arrivals, |buffer| {
                buffer.failed(time, packed(task), kind);
            });
        }
    }

    // ---- threads that run calls --------------------------------------------------------------------

    /// This thread begins a call, of a plain method or of a coroutine. What it ran before is given back, for the end.
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

    /// The arguments of the call are at hand, which took a moment; what follows is the program's own code.
    #[expect(clippy::unused_self, reason = "asked of what records")]
    pub fn ran(&self) {
        let run = RUN.get();
        RUN.set(Run {
            ran: ticks(),
            ..run
        });
    }

    /// The program's own code has returned; its result is about to be encoded.
    #[expect(clippy::unused_self, reason = "asked of what records")]
    pub fn returned(&self) {
        let run = RUN.get();
        let returned = ticks();
        RUN.set(Run { returned, ..run });
    }

    /// The call that this thread runs has ended; it goes on with what it ran before.
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

    /// Which recording of this process it is: numbers of functions are those of one.
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

/// Go on with a call, or with none; gives what this thread ran until now.
pub fn resume(run: Run) -> Run {
    RUN.replace(run)
}
