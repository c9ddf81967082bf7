//! The recorder's own thread. Only it opens the file, appends rows, one write a batch, and closes the file.
//!
//! It writes [`DELAY`] after the first row, or when a buffer is full, or on a command; with nothing to write it sleeps
//! without a time limit. A `kill -9` can lose the rows of the last delay. A switch of the recorder queues a command and
//! need not wait for the disk.

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
const DELAY: Duration = Duration::from_millis(100);
/// How long a process that is about to be killed waits for its last rows to be written: the disk may be slow or gone.
const LAST_DELAY: Duration = Duration::from_millis(500);

/// What the recorder's thread shares with the threads that record.
#[derive(Debug)]
pub(super) struct Writer {
    /// Rows wait, and the thread has been woken for them.
    filled: Flag,
    /// A buffer is full, and the thread has been woken for it.
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

/// A command to the thread. It carries them out in order.
#[derive(Debug)]
pub(super) enum Command {
    /// Append the last rows of a recording, close its file, and open the next one.
    Switch {
        last: Vec<Batch>,
        next: Option<Next>,
    },
    /// Append the rows of all buffers.
    Write,
    End,
}

/// The recording that begins with a switch.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) path: PathBuf,
    pub(super) recording: u64,
    /// Its first record.
    pub(super) process: Process,
}

/// Where the thread reports that a command is done, if a thread waits for it.
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

    /// Queue a command.
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

    /// Have the rows of all buffers appended; blocks for a limited time.
    pub(super) fn write_out(&self) {
        let runs = self.thread.lock().is_some();
        if runs {
            let (answer, written) = sync_channel(1);
            self.command(Command::Write, Some(answer));
            let _ = written.recv_timeout(LAST_DELAY);
        }
    }

    /// Let the thread carry out its commands and end. Blocks until it has ended.
    pub(super) fn end(&self) {
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            self.command(Command::End, None);
            let _ = thread.join();
        }
    }

    /// Sleep until there is a command or a row, and for rows some time longer.
    fn sleep(&self) -> Vec<(Command, Answer)> {
        let state = self.state.lock();
        let state = self
            .changed
            .wait_while(state, |state| !state.filled && state.commands.is_empty());
        let (mut state, _) = self.changed.wait_while_for(state, DELAY, |state| {
            !state.full && state.commands.is_empty()
        });
        state.filled = false;
        state.full = false;
        // Before the rows are taken: a later push raises the flag again.
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
                // The thread that waited may have given up.
                let _ = answer.send(done);
            }
        }
        write(recorder, &mut open);
    }
}

/// Open a file. An error is logged, unless the caller that started the recording waits for it.
fn begin(recorder: &Recorder, next: Next, is_awaited: bool) -> io::Result<Open> {
    let (path, recording) = (next.path.display().to_string(), next.recording);
    Open::new(next).inspect_err(|error| {
        recorder.failed(recording);
        if !is_awaited {
            let uid = &recorder.uid;
            recorder.warn(&format!("{uid} is not profiled: {path}: {error}"));
        }
    })
}

/// Append the rows of all buffers.
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

/// Append a record. If that fails, as on a full disk, the recording ends and the program continues without its profile.
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

    /// One write, so that frames of two processes do not mix. The reader skips a frame that a full disk cut off.
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
