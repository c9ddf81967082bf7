//! What is counted for the whole process: threads, descriptors, connections that have not proved themselves.

mod common;

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use common::launcher::Launcher;
use common::{Network, PATIENCE, Worker, deadline};
use mosaic_runtime::sync::{Mutex, Rank};
use rustix::process::{Signal, kill_process};

/// One at a time: each counts what the whole process has.
static ALONE: Mutex<()> = Mutex::new(Rank::Test, ());

fn entries(of: &str) -> BTreeSet<String> {
    let listed = std::fs::read_dir(of).expect("a directory of the kernel's");
    listed
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn descriptors() -> usize {
    entries("/proc/self/fd").len()
}

fn threads() -> usize {
    entries("/proc/self/task").len()
}

/// The kernel takes a thread off the list a moment after it was joined.
fn settle(what: impl Fn() -> usize, expected: usize) -> usize {
    let start = Instant::now();
    loop {
        let count = what();
        if count == expected || start.elapsed() > PATIENCE {
            return count;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_stopped_runtime_leaves_no_thread_and_no_descriptor() {
    let _alone = ALONE.lock();
    // The first one opens what the process keeps.
    drop(Network::start(1));
    let before = (descriptors(), threads());
    for _ in 0..5 {
        let network = Network::start(2);
        let subjects = [network.subject(0), network.subject(1)];
        let calls: Vec<_> = (0..100)
            .map(|number| subjects[number % 2].call("echo", "x"))
            .collect();
        for call in &calls {
            call.value().expect("an echo");
        }
        let held = network.head.clone();
        drop(network);
        assert!(held.stopped());
        // The tasks and proxies are still held: they hold no descriptor.
        assert_eq!(settle(descriptors, before.0), before.0);
        drop((calls, subjects));
    }
    assert_eq!(settle(threads, before.1), before.1);
    assert_eq!(settle(descriptors, before.0), before.0);
}

#[test]
fn agents_that_die_leave_no_descriptor() {
    let _alone = ALONE.lock();
    let launcher = Launcher::start(false);
    let die = || {
        kill_process(launcher.agent(), Signal::KILL).expect("a process to kill");
        launcher.head(1);
    };
    // The first one opens what the process keeps.
    die();
    let before = descriptors();
    for _ in 0..3 {
        die();
    }
    assert_eq!(settle(descriptors, before), before);
}

#[test]
fn connections_that_say_nothing_are_few_and_shut_nobody_out() {
    const LIMIT: usize = 64;
    const STRANGERS: usize = 100;
    let _alone = ALONE.lock();
    let network = Network::start(1);
    let subject = network.subject(0);
    subject.call("echo", "").value().expect("an echo");
    let before = descriptors();
    let socket = network.head.directory().join("0.sock");
    let strangers: Vec<_> = (0..STRANGERS)
        .map(|_| UnixStream::connect(&socket).expect("a connection"))
        .collect();
    let limit = before + STRANGERS + LIMIT;
    assert_eq!(settle(descriptors, limit), limit);
    // The I/O thread serves those who are in, and had the time to let more in.
    for _ in 0..100 {
        subject.call("echo", "").value().expect("an echo");
    }
    assert_eq!(descriptors(), limit);
    drop(strangers);
    let late = Worker::join(&network.head, 2, &network.gate);
    network
        .head
        .wait_ready(2, deadline())
        .expect("it was let in");
    late.engine.stop(None);
}
