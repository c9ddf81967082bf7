//! Switching the recorder. A switch takes only as long as swapping vectors, since the I/O thread does it too, when a
//! message asks for it.
//!
//! A recording has a number, and each buffer bears the number of the recording whose rows it holds. A switch takes the
//! rows out of the buffers and passes them to the recorder's own thread ([`super::writer`]), which writes them, closes
//! the file and opens the next. Neither rows nor the names that they refer to reach the file of another recording
//! (`SWITCH-1`). The lock of the path is held through a switch, so that there is one at a time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;

use super::Recorder;
use super::clock::{self, Anchor};
use super::format::{Batch, Process, VERSION};
use super::tables::Buffer;
use super::writer::{Command, Next};
use crate::sync::Mutex;
use crate::sync::threads;

/// The number of the last recording of any recorder in this process, so that no two have the same.
static LAST: AtomicU64 = AtomicU64::new(0);

impl Recorder {
    /// The file of the recording.
    pub fn path(&self) -> Option<PathBuf> {
        // In a forked process another thread of the parent may have held the lock for ever.
        if self.on() {
            self.path.lock().clone()
        } else {
            None
        }
    }

    /// Append to this file from now on; with `None`, write the remaining rows and end. With `wait`, block until the file
    /// has been opened, or closed, and return the error; otherwise an error is logged.
    pub(crate) fn record(
        self: &Arc<Self>,
        path: Option<&Path>,
        traced: bool,
        wait: bool,
    ) -> io::Result<()> {
        let mut current = self.path.lock();
        if path.is_some() {
            self.writer.start(self)?;
        }
        self.traced.store(traced, Ordering::Relaxed);
        if current.as_deref() == path {
            return Ok(());
        }
        let last = match current.take() {
            Some(_) => self.end(),
            None => Vec::new(),
        };
        *current = path.map(Path::to_path_buf);
        let next = current.clone().map(|path| self.begin(path));
        let (answer, done) = sync_channel(1);
        let answer = wait.then_some(answer);
        self.writer.command(Command::Switch { last, next }, answer);
        drop(current);
        if wait {
            let ended = |_| Err(io::Error::other("the recorder's thread has ended"));
            done.recv().unwrap_or_else(ended)
        } else {
            Ok(())
        }
    }

    /// Write the remaining rows, end the recording and the recorder's thread. Blocks until the file is closed.
    pub(crate) fn stop(self: &Arc<Self>) {
        // Ending a recording does not fail.
        let _ = self.record(None, false, false);
        self.writer.end();
    }

    /// Write the remaining rows, for a limited time: this process is about to be killed.
    pub(crate) fn write_out(&self) {
        if !threads::forked() {
            self.writer.write_out();
        }
    }

    fn begin(&self, path: PathBuf) -> Next {
        let recording = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        self.recording.store(recording, Ordering::Release);
        for buffer in self.buffers() {
            *buffer.lock() = Buffer::of(recording);
        }
        self.plain.report_again();
        let process = Process {
            version: VERSION,
            runtime: self.runtime,
            uid: self.uid.clone(),
            pid: std::process::id(),
            anchor: Anchor::now(),
            wall: clock::wall(),
        };
        self.on.store(true, Ordering::Release);
        Next {
            path,
            recording,
            process,
        }
    }

    /// End the recording. Returns the rows that are not written.
    fn end(&self) -> Vec<Batch> {
        self.on.store(false, Ordering::Release);
        let last = self.buffers().into_iter().filter_map(|buffer| {
            let mut waiting = std::mem::take(&mut *buffer.lock());
            waiting.take(self.runtime, self.unreported(buffer))
        });
        last.collect()
    }

    /// The file of this recording cannot be opened or written: the recording ends.
    pub(super) fn failed(&self, recording: u64) {
        let mut path = self.path.lock();
        if self.recording() == recording && path.take().is_some() {
            drop(self.end());
        }
    }

    /// The rows of a buffer, if they belong to this recording.
    pub(super) fn take(&self, buffer: &Mutex<Buffer>, recording: u64) -> Option<Batch> {
        let mut waiting = buffer.lock();
        if waiting.recording() != recording {
            return None;
        }
        waiting.take(self.runtime, self.unreported(buffer))
    }

    /// The plain call that runs, for the buffer of runs. The caller holds the lock of the buffer, or has emptied it.
    fn unreported(&self, buffer: &Mutex<Buffer>) -> Option<(u64, u64)> {
        let runs = std::ptr::eq(buffer, &raw const self.runs);
        runs.then(|| self.plain.unreported()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::time::Duration;

    use mosaic_core::id::{RuntimeId, TaskId, TesseraId};
    use tempfile::TempDir;

    use crate::executor::{AcceptedCall, Executor};
    use crate::sync::Rank;
    use crate::sync::completion::Callee;
    use crate::telemetry::format::{Profile, Record, parse};
    use crate::telemetry::tables::Ended;

    /// How long anything may take before its test fails.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Hosts nothing, and collects the warnings.
    struct Warned(Mutex<Vec<String>>);

    impl Executor for Warned {
        fn run(&self, calls: &mut Vec<AcceptedCall>) {
            calls.clear();
        }
        fn cancel_running(&self, _: TaskId) {}
        fn drop_tessera(&self, _: TesseraId) {}
        fn drop_result(&self, _: TaskId) {}
        fn warn(&self, message: &str) {
            self.0.lock().push(message.to_owned());
        }
        fn stop(&self) {}
    }

    /// A recorder and a directory for its files.
    struct Fixture {
        recorder: Arc<Recorder>,
        warned: Arc<Warned>,
        directory: TempDir,
    }

    impl Fixture {
        fn new() -> Self {
            let warned = Arc::new(Warned(Mutex::with_default(Rank::Program)));
            let executor: Arc<dyn Executor> = Arc::<Warned>::clone(&warned);
            Self {
                recorder: Recorder::new(0, "head", &executor),
                warned,
                directory: tempfile::tempdir().expect("a directory"),
            }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        /// A file whose opening blocks until a reader opens it, and which takes no more than a pipe until it is read.
        fn stuck(&self, name: &str) -> PathBuf {
            let path = self.path(name);
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).expect("a pipe");
            path
        }

        /// Do something with the recorder that must not wait for a file.
        fn at_once(&self, act: impl FnOnce(&Arc<Recorder>) + Send + 'static) {
            let (recorder, (done, ends)) = (Arc::clone(&self.recorder), sync_channel(1));
            let thread = std::thread::spawn(move || {
                act(&recorder);
                done.send(()).expect("a thread that waits");
            });
            ends.recv_timeout(PATIENCE).expect("it waits for a file");
            thread.join().expect("no panic");
        }
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

    fn read(path: &Path) -> Profile {
        parse(&std::fs::read(path).expect("a file")).expect("a profile")
    }

    fn batches(profile: &Profile) -> impl Iterator<Item = &Batch> {
        profile.records.iter().filter_map(|record| match record {
            Record::Batch(batch) => Some(&**batch),
            Record::Process(_) => None,
        })
    }

    fn ends(profile: &Profile) -> usize {
        batches(profile).map(|batch| batch.done.len() / 32).sum()
    }

    #[test]
    fn a_switch_that_a_message_asks_for_waits_for_no_file() {
        let fixture = Fixture::new();
        let path = fixture.stuck("run.mprof");
        let opened = path.clone();
        fixture.at_once(move |recorder| {
            recorder
                .record(Some(&opened), false, false)
                .expect("a thread");
            push(recorder, 10_000);
            recorder.record(None, false, false).expect("an end");
        });
        assert!(!fixture.recorder.on());
        let profile = read(&path);
        assert_eq!((profile.torn, ends(&profile)), (0, 10_000));
        assert!(matches!(profile.records[0], Record::Process(_)));
        fixture.recorder.stop();
    }

    #[test]
    fn switch_1_no_row_gets_into_the_file_of_another_recording() {
        let fixture = Fixture::new();
        let recorder = &fixture.recorder;
        let (first, second) = (fixture.stuck("first.mprof"), fixture.path("second.mprof"));
        recorder
            .record(Some(&first), false, false)
            .expect("a thread");
        let mut pipe = std::fs::File::open(&first).expect("a pipe");
        let tessera = TesseraId {
            owner: RuntimeId(1),
            sequence: 1,
        };
        let callee = Callee::new(tessera, "Class".into(), "method".into());
        recorder.push(&recorder.calls, |buffer| {
            for task in 1..=10_000 {
                buffer.created(1, task, &callee, 0, 0, 0);
            }
        });
        // These rows are more than the pipe takes: the thread is between two buffers.
        let mut contents = vec![0; 1_000];
        pipe.read_exact(&mut contents).expect("rows");
        recorder
            .record(Some(&second), false, false)
            .expect("a thread");
        push(recorder, 7);
        pipe.read_to_end(&mut contents).expect("the rest");
        recorder.stop();

        let (first, second) = (parse(&contents).expect("a profile"), read(&second));
        let calls = |profile: &Profile| -> usize {
            batches(profile).map(|batch| batch.created.len() / 24).sum()
        };
        assert_eq!((calls(&first), ends(&first)), (10_000, 0));
        assert_eq!((calls(&second), ends(&second)), (0, 7));
    }

    #[test]
    fn last_rows_are_written_at_once() {
        let fixture = Fixture::new();
        let (recorder, path) = (&fixture.recorder, fixture.path("run.mprof"));
        recorder.record(Some(&path), false, true).expect("a file");
        push(recorder, 7);
        recorder.write_out();
        assert_eq!(ends(&read(&path)), 7);
        recorder.stop();
    }

    #[test]
    fn a_file_that_cannot_be_written_keeps_no_process_alive() {
        let fixture = Fixture::new();
        let path = fixture.stuck("run.mprof");
        let opened = path.clone();
        fixture.at_once(move |recorder| {
            recorder
                .record(Some(&opened), false, false)
                .expect("a thread");
            push(recorder, 7);
            recorder.write_out();
            recorder.record(None, false, false).expect("an end");
        });
        assert_eq!(ends(&read(&path)), 7);
        fixture.recorder.stop();
    }

    #[test]
    fn what_waits_for_a_file_hears_what_is_wrong_with_it_and_others_read_it() {
        let fixture = Fixture::new();
        let path = fixture.path("nowhere/run.mprof");
        let recorder = &fixture.recorder;
        let error = recorder.record(Some(&path), false, true);
        assert_eq!(
            error.expect_err("no directory").kind(),
            io::ErrorKind::NotFound
        );
        assert_eq!((recorder.on(), recorder.path()), (false, None));
        assert!(fixture.warned.0.lock().is_empty());

        recorder
            .record(Some(&path), false, false)
            .expect("a thread");
        recorder.stop();
        assert_eq!((recorder.on(), recorder.path()), (false, None));
        let warned = fixture.warned.0.lock();
        assert_eq!(warned.len(), 1);
        assert!(warned[0].contains("head is not profiled") && warned[0].contains("nowhere"));
    }

    #[test]
    fn nothing_is_kept_of_a_recording_that_has_ended() {
        let fixture = Fixture::new();
        let path = fixture.path("run.mprof");
        let recorder = &fixture.recorder;
        recorder.record(Some(&path), false, true).expect("a file");
        push(recorder, 10_000);
        recorder.record(None, false, true).expect("an end");
        assert_eq!(ends(&read(&path)), 10_000);
        for buffer in recorder.buffers() {
            assert_eq!(buffer.lock().capacity(), 0);
        }
        recorder.stop();
    }
}
