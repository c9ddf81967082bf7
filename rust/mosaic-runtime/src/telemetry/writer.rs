//! The recorder's own thread: it alone opens the file, appends what waits, a batch a write, and closes it.
//!
//! It writes a moment after the first row, or when there is much, or when it is told to; with nothing to write it
//! sleeps without a time limit. Rows of the last moment are what a `kill -9` can take. A switch of the recorder
//! queues a command and need not wait for the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Recorder;
use super::format::{Batch, Process, Record};
use super::noted::Flag;
use crate::sync::threads;
use crate::sync::{Condvar, Mutex, Rank};

/// How long rows wait for more before they are written.
const MOMENT: Duration = Duration::from_millis(100);
/// How long a process that is about to be killed waits for its last rows: the disk may be slow, or gone.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub(super) struct Writer {
    /// Rows wait, and the thread knows.
    filled: Flag,
    /// So many that it must not wait for more.
    full: Flag,
    state: Mutex<State>,
    changed: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct State {
    filled: bool,
    full: bool,
    commands: Vec<(Command, Answer)>,
}

/// What the thread is told to do, one after another.
#[derive(Debug)]
pub(super) enum Command {
    /// Append the last rows of what was recorded, close the file, and open the next one.
    Switch {
        last: Vec<Batch>,
        next: Option<Next>,
    },
    /// Append what waits.
    Write,
    End,
}

/// A recording that begins.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) path: PathBuf,
    pub(super) recording: u64,
    /// Its first record.
    pub(super) process: Process,
}

/// Where it says that it is done, if somebody waits for that.
pub(super) type Answer = Option<SyncSender<io::Result<()>>>;

/// The file of a recording, and a vector for frames on their way to it.
#[derive(Debug)]
struct Open {
    file: File,
    frame: Vec<u8>,
    recording: u64,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            filled: Flag::default(),
            full: Flag::default(),
            state: Mutex::with_default(Rank::RecorderCommands),
            changed: Condvar::new(),
            thread: Mutex::new(Rank::RecorderThread, None),
        }
    }
}

impl Writer {
    /// Start the thread, unless it runs.
    pub(super) fn start(&self, recorder: &Arc<Recorder>) -> io::Result<()> {
        let mut thread = self.thread.lock();
        if thread.is_none() {
            let recorder = Arc::clone(recorder);
            *thread = Some(threads::spawn("mosaic-profile", move || run(&recorder))?);
        }
        Ok(())
    }

    /// Tell the thread to do this.
    pub(super) fn command(&self, command: Command, answer: Answer) {
        self.state.lock().commands.push((command, answer));
        self.changed.notify_one();
    }

    /// A row was pushed.
    pub(super) fn filled(&self, full: bool) {
        if self.filled.raise() {
            self.state.lock().filled = true;
            self.changed.notify_one();
        }
        if full && self.full.raise() {
            self.state.lock().full = true;
            self.changed.notify_one();
        }
    }

    /// Have everything appended that waits, unless that takes too long.
    pub(super) fn write_out(&self) {
        let runs = self.thread.lock().is_some();
        if runs {
            let (answer, written) = sync_channel(1);
            self.command(Command::Write, Some(answer));
            let _ = written.recv_timeout(LAST_MOMENT);
        }
    }

    /// Let the thread do what it was told, and end. Waits for that.
    pub(super) fn end(&self) {
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            self.command(Command::End, None);
            let _ = thread.join();
        }
    }

    /// Sleep until there is something, and for rows a moment longer.
    fn sleep(&self) -> Vec<(Command, Answer)> {
        let state = self.state.lock();
        let state = self
            .changed
            .wait_while(state, |state| !state.filled && state.commands.is_empty());
        let (mut state, _) = self.changed.wait_while_for(state, MOMENT, |state| {
            !state.full && state.commands.is_empty()
        });
        state.filled = false;
        state.full = false;
        // Before the rows are taken: a push that comes later says so again.
        self.filled.lower();
        self.full.lower();
        std::mem::take(&mut state.commands)
    }
}

fn run(recorder: &Recorder) {
    let mut open = None;
    loop {
        for (command, answer) in recorder.writer.sleep() {
            let mut done = Ok(());
            match command {
                Command::Switch { last, next } => {
                    for batch in last {
                        append(recorder, &mut open, &Record::Batch(Box::new(batch)));
                    }
                    open = None;
                    if let Some(next) = next {
                        done =
                            begin(recorder, next, answer.is_some()).map(|file| open = Some(file));
                    }
                }
                Command::Write => write(recorder, &mut open),
                Command::End => return,
            }
            if let Some(answer) = answer {
                // Whoever waited may have had enough of it.
                let _ = answer.send(done);
            }
        }
        write(recorder, &mut open);
    }
}

/// Open a file. What is wrong with it is logged unless whoever asked for it hears that.
fn begin(recorder: &Recorder, next: Next, heard: bool) -> io::Result<Open> {
    let (path, recording) = (next.path.display().to_string(), next.recording);
    Open::new(next).inspect_err(|error| {
        recorder.failed(recording);
        if !heard {
            let uid = &recorder.uid;
            recorder.warn(&format!("{uid} is not profiled: {path}: {error}"));
        }
    })
}

/// Append everything that waits.
fn write(recorder: &Recorder, open: &mut Option<Open>) {
    let Some(recording) = open.as_ref().map(|open| open.recording) else {
        return;
    };
    for buffer in recorder.buffers() {
        let Some(batch) = recorder.take(buffer, recording) else {
            continue;
        };
        let record = Record::Batch(Box::new(batch));
        append(recorder, open, &record);
        if let Record::Batch(batch) = record {
            buffer.lock().give_back(*batch, recording);
        }
    }
}

/// Append a record. Where that cannot be done, the recording ends: on a full disk, or when the file system went, the
/// program goes on without its profile.
fn append(recorder: &Recorder, open: &mut Option<Open>, record: &Record) {
    let Some(file) = open else { return };
    if let Err(error) = file.append(record) {
        recorder.failed(file.recording);
        *open = None;
        recorder.warn(&format!(
            "the profile of {} ends here, its file cannot be written: {error}",
            recorder.uid
        ));
    }
}

impl Open {
    fn new(next: Next) -> io::Result<Self> {
        let mut open = Self {
            file: OpenOptions::new()
                .append(true)
                .create(true)
                .open(next.path)?,
            frame: Vec::new(),
            recording: next.recording,
        };
        open.append(&Record::Process(next.process))?;
        Ok(open)
    }

    /// One write, so that frames of two processes do not mix. What a full disk leaves of it, the reader skips.
    fn append(&mut self, record: &Record) -> io::Result<()> {
        record.write_frame(&mut self.frame)?;
        loop {
            match self.file.write(&self.frame) {
                Ok(written) if written == self.frame.len() => return Ok(()),
                Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
