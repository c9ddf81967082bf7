//! A profile that the recorders of a head and its workers write, without Python.

mod common;

use std::sync::{Arc, OnceLock};

use common::Network;
use mosaic_core::id::{TaskId, TesseraId};
use mosaic_runtime::engine::EngineConfig;
use mosaic_runtime::executor::{AcceptedCall, Executor};
use mosaic_runtime::telemetry::{Batch, Profile, Record, Recorder, parse};
use tempfile::TempDir;

/// Bytes of a row of the tables of calls.
const ROW: usize = 24;
/// Bytes of a row of the table of ends.
const DONE: usize = 32;

struct Recorded {
    directory: TempDir,
}

impl Recorded {
    fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        Self { directory }
    }

    fn path(&self) -> String {
        let path = self.directory.path().join("run.mprof");
        path.to_str().expect("a plain name").to_owned()
    }

    fn read(&self) -> Profile {
        parse(&std::fs::read(self.path()).expect("a file")).expect("a profile")
    }
}

/// Rows of a table in all batches of a runtime, by their length in bytes.
fn rows(profile: &Profile, runtime: u32, table: fn(&Batch) -> &[u8], length: usize) -> usize {
    let batches = profile.records.iter().filter_map(|record| match record {
        Record::Batch(batch) if batch.runtime == runtime => Some(table(batch).len()),
        _ => None,
    });
    let bytes: usize = batches.sum();
    assert_eq!(bytes % length, 0, "rows are of one length");
    bytes / length
}

fn processes(profile: &Profile) -> Vec<u32> {
    let mut found: Vec<_> = profile
        .records
        .iter()
        .filter_map(|record| match record {
            Record::Process(process) => Some(process.runtime),
            Record::Batch(_) => None,
        })
        .collect();
    found.sort_unstable();
    found
}

#[test]
fn callers_and_hosts_record_each_call_once() {
    let recorded = Recorded::new();
    let network = Network::start(2);
    network
        .head
        .profile(Some(&recorded.path()), false)
        .expect("a file");
    let subject = network.subject(0);
    let calls: Vec<_> = (0..500).map(|_| subject.call("echo", "x")).collect();
    for call in calls {
        call.value().expect("an echo");
    }
    drop(subject);
    drop(network);
    let profile = recorded.read();
    assert_eq!(profile.torn, 0);
    assert_eq!(processes(&profile), [0, 1, 2]);
    // With the construction of the actor.
    assert_eq!(rows(&profile, 0, |batch| &batch.created, ROW), 501);
    assert_eq!(rows(&profile, 1, |batch| &batch.done, DONE), 501);
    assert_eq!(rows(&profile, 2, |batch| &batch.done, DONE), 0);
    let names = profile.records.iter().filter_map(|record| match record {
        Record::Batch(batch) => Some(batch.callees.len()),
        Record::Process(_) => None,
    });
    assert_eq!(names.sum::<usize>(), 2, "each name is told once");
}

#[test]
fn nothing_is_recorded_before_the_beginning_and_after_the_end() {
    let recorded = Recorded::new();
    let network = Network::start(1);
    let subject = network.subject(0);
    subject.call("echo", "before").value().expect("an echo");
    network
        .head
        .profile(Some(&recorded.path()), false)
        .expect("a file");
    subject.call("echo", "meanwhile").value().expect("an echo");
    network.head.profile(None, false).expect("an end");
    subject.call("echo", "after").value().expect("an echo");
    drop(subject);
    drop(network);
    let profile = recorded.read();
    assert_eq!(rows(&profile, 0, |batch| &batch.created, ROW), 1);
    assert_eq!(rows(&profile, 1, |batch| &batch.done, DONE), 1);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_and_nothing_changes() {
    let network = Network::start(1);
    let refused = network.head.profile(Some("/nowhere/at/all.mprof"), false);
    refused.expect_err("there is no such directory");
    assert!(!network.head.recorder().on());
    let subject = network.subject(0);
    subject.call("echo", "x").value().expect("an echo");
}

/// An executor that hosts nothing and holds the recorder, as one does that records what it runs.
#[derive(Default)]
struct Recording(OnceLock<Arc<Recorder>>);

impl Executor for Recording {
    fn run(&self, calls: &mut Vec<AcceptedCall>) {
        calls.clear();
    }
    fn cancel_running(&self, _: TaskId) {}
    fn drop_tessera(&self, _: TesseraId) {}
    fn drop_result(&self, _: TaskId) {}
    fn warn(&self, _: &str) {}
    fn stop(&self) {}
}

#[test]
fn an_executor_that_holds_the_recorder_goes_with_its_engine() {
    let executor = Arc::new(Recording::default());
    let watched = Arc::downgrade(&executor);
    let head = common::head_with(&EngineConfig::default(), Arc::<Recording>::clone(&executor));
    let first = executor.0.set(Arc::clone(head.recorder()));
    first.expect("nothing was held yet");
    drop(executor);
    assert!(watched.upgrade().is_some(), "the engine holds it");
    head.stop(None);
    drop(head);
    assert!(watched.upgrade().is_none());
}
