//! The recorder's own thread: appends what waits, a batch a write, a moment after the first row or when there is much.
//!
//! With nothing to write it sleeps without a time limit. Rows of the last moment are what a `kill -9` can take.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Recorder;
use super::format::Record;
use super::noted::Flag;
use crate::shared::lock;
use crate::threads;

/// How long rows wait for more before they are written.
const MOMENT: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// Rows wait, and the thread knows.
    filled: Flag,
    /// So many that it must not wait for more.
    full: Flag,
    state: Mutex<State>,
    changed: Condvar,
    file: Mutex<Option<Open>>,
    path: Mutex<Option<PathBuf>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The file, and a vector for frames on their way to it.
#[derive(Debug)]
struct Open {
    file: File,
    frame: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    filled: bool,
    full: bool,
    stopped: bool,
}

impl Writer {
    pub(super) fn path(&self) -> Option<PathBuf> {
        lock(&self.path).clone()
    }

    pub(super) fn start(
        &self,
        recorder: &Arc<Recorder>,
        path: &Path,
        first: &Record,
    ) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        file.write_all(&first.to_frame()?)?;
        let frame = Vec::new();
        *lock(&self.file) = Some(Open { file, frame });
        *lock(&self.path) = Some(path.to_path_buf());
        *lock(&self.state) = State::default();
        self.filled.lower();
        self.full.lower();
        let recorder = Arc::clone(recorder);
        let thread = threads::spawn("mosaic-profile", move || run(&recorder))?;
        *lock(&self.thread) = Some(thread);
        Ok(())
    }

    /// A row was pushed.
    pub(super) fn filled(&self, full: bool) {
        if self.filled.raise() {
            lock(&self.state).filled = true;
            self.changed.notify_one();
        }
        if full && self.full.raise() {
            lock(&self.state).full = true;
            self.changed.notify_one();
        }
    }

    /// Let the thread write what waits and end.
    pub(super) fn stop(&self) {
        let thread = lock(&self.thread).take();
        lock(&self.state).stopped = true;
        self.changed.notify_one();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
        *lock(&self.file) = None;
    }

    /// Append everything that waits.
    pub(super) fn write(&self, recorder: &Recorder) {
        let mut file = lock(&self.file);
        let Some(open) = file.as_mut() else { return };
        let Open { file: to, frame } = open;
        for buffer in recorder.buffers() {
            let plain = std::ptr::eq(buffer, &raw const recorder.runs)
                .then(|| recorder.plain.untold())
                .flatten();
            let Some(batch) = lock(buffer).take(recorder.runtime, plain) else {
                continue;
            };
            let record = Record::Batch(Box::new(batch));
            let written = record.write_frame(frame).and_then(|()| append(to, frame));
            if let Record::Batch(batch) = record {
                lock(buffer).give_back(*batch);
            }
            if let Err(error) = written {
                // A full disk, or a file system that went: the program goes on without its profile.
                recorder.on.store(false, Ordering::Release);
                *file = None;
                recorder.warn(&format!(
                    "the profile of {} ends here, its file cannot be written: {error}",
                    recorder.uid
                ));
                return;
            }
        }
    }

    /// Sleep until there is something, and a moment longer. Returns whether this is the end.
    fn sleep(&self) -> bool {
        let state = lock(&self.state);
        let state = self
            .changed
            .wait_while(state, |state| !state.filled && !state.stopped)
            .unwrap_or_else(PoisonError::into_inner);
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, MOMENT, |state| !state.full && !state.stopped)
            .unwrap_or_else(PoisonError::into_inner);
        state.filled = false;
        state.full = false;
        // Before the rows are taken: a push that comes later says so again.
        self.filled.lower();
        self.full.lower();
        state.stopped
    }
}

fn run(recorder: &Recorder) {
    loop {
        let last = recorder.writer.sleep();
        recorder.writer.write(recorder);
        if last {
            return;
        }
    }
}

/// One write, so that frames of two processes do not mix. What a full disk leaves of it, the reader skips.
fn append(file: &mut File, frame: &[u8]) -> io::Result<()> {
    loop {
        match file.write(frame) {
            Ok(written) if written == frame.len() => return Ok(()),
            Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::closures::Closures;
    use crate::executor::Executor;
    use crate::telemetry::tables::Ended;

    /// A recorder, and what it asks to warn people.
    fn recorder() -> (Arc<Recorder>, Arc<dyn Executor>) {
        let executor: Arc<dyn Executor> = Closures::none().expect("a lane");
        (Recorder::new(0, "head", &executor), executor)
    }

    fn push(recorder: &Recorder, rows: u64) {
        for task in 1..=rows {
            let ended = Ended {
                task,
                ..Ended::default()
            };
            recorder.push(&recorder.runs, |buffer| buffer.ended(&ended));
        }
    }

    #[test]
    fn nothing_is_kept_of_a_recording_that_has_ended() {
        let directory = tempfile::tempdir().expect("a directory");
        let (recorder, _executor) = recorder();
        let path = directory.path().join("run.mprof");
        recorder.record(Some(&path), false).expect("a file");
        push(&recorder, 10_000);
        recorder.record(None, false).expect("an end");
        assert!(std::fs::metadata(&path).expect("a file").len() > 320_000);
        for buffer in recorder.buffers() {
            assert_eq!(lock(buffer).capacity(), 0);
        }
    }
}
