//! Workers in processes of their own: how they die, what is said of it, who takes their place, what is left over.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{PATIENCE, Proxy, Request, deadline};
use mosaic_core::call::{FailureKind, Outcome};
use mosaic_core::event::Role;
use mosaic_runtime::engine::{Engine, EngineConfig, EngineError};
use mosaic_runtime::executor::closures::Closures;
use mosaic_runtime::node::Launch;
use mosaic_runtime::roles;
use mosaic_runtime::sync::completion::Stage;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

const MEMBER: &str = env!("CARGO_BIN_EXE_mosaic-test-member");

/// A head in this process that stops at the end of the test.
struct Head(Engine);

impl Head {
    fn start(command: &[&str], workers: usize) -> Self {
        let launch = Launch {
            command: command.iter().map(ToString::to_string).collect(),
            environment: Vec::new(),
            workers,
            grace: PATIENCE,
        };
        Self(
            roles::head(
                &EngineConfig::default(),
                launch,
                Closures::none().expect("a lane"),
            )
            .expect("a head"),
        )
    }

    fn with_workers(workers: usize) -> Self {
        let head = Self::start(&[MEMBER, "worker"], workers);
        head.0
            .wait_ready(workers, deadline())
            .expect("every worker");
        head
    }

    fn actor(&self) -> Proxy {
        Proxy::build(&self.0, "Actor", None).expect("an actor")
    }

    fn workers(&self) -> Vec<String> {
        self.0
            .members()
            .into_iter()
            .filter(|member| member.role == Role::Worker)
            .map(|member| member.uid)
            .collect()
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        self.0.stop(Some(Duration::from_secs(5)));
    }
}

fn pid_of(actor: &Proxy) -> Pid {
    let text = actor.call("pid", "").value().expect("its number");
    let text = std::str::from_utf8(&text).expect("digits");
    Pid::from_raw(text.parse().expect("a number")).expect("a process")
}

fn watch(pid: Pid) -> OwnedFd {
    pidfd_open(pid, PidfdFlags::empty()).expect("a process that lives")
}

/// Block until the process has ended; returns whether it did before the deadline.
fn ended_by(process: &OwnedFd, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec {
        tv_sec: left.as_secs().cast_signed(),
        tv_nsec: left.subsec_nanos().into(),
    };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&left)).expect("a poll") == 1
}

/// The worker dies in the middle of a call, by `kill`; what is said of it must contain `words`.
fn dies(kill: impl Fn(&Proxy) -> common::Task, words: &str) {
    let head = Head::with_workers(2);
    let (actor, other) = (head.actor(), head.actor());
    other.construction.value().expect("a construction");
    let process = watch(pid_of(&actor));
    let dead = head.workers()[0].clone();
    let deadly = kill(&actor);
    let waiting = actor.call("echo", "");
    for call in [&deadly, &waiting] {
        let message = call.failure(FailureKind::Disconnected);
        assert!(
            message.contains(&dead) && message.contains(words),
            "{message}"
        );
    }
    assert!(
        ended_by(&process, Instant::now()),
        "the news came before the end"
    );
    assert_eq!(
        other
            .call("echo", "alive")
            .value()
            .expect("the other worker"),
        "alive"
    );
    head.0
        .wait_ready(2, deadline())
        .expect("one to take its place");
    assert_eq!(head.workers(), ["worker:0:1", "worker:0:2"]);
    // Two more actors, in turn: one of them lives in the new worker.
    let more = [head.actor(), head.actor()];
    assert_ne!(pid_of(&more[0]), pid_of(&more[1]));
}

#[test]
fn a_worker_that_was_killed_is_named_and_replaced() {
    let kill = |actor: &Proxy| {
        let pid = pid_of(actor);
        let blocked = actor.call("block", "");
        kill_process(pid, Signal::KILL).expect("a process to kill");
        blocked
    };
    dies(kill, "was killed by signal 9 (SIGKILL");
}

#[test]
fn a_worker_that_exits_is_named_and_replaced() {
    dies(|actor| actor.call("exit", ""), "exited with code 3");
}

#[test]
fn a_worker_that_aborts_is_named_and_replaced() {
    dies(
        |actor| actor.call("abort", ""),
        "was killed by signal 6 (SIGABRT",
    );
}

#[test]
fn workers_that_do_not_start_are_given_up_with_their_last_words() {
    let head = Head::start(&[MEMBER, "fail"], 1);
    let actor = head.actor();
    let Err(EngineError::NoWorkers(reason)) = head.0.wait_ready(1, deadline()) else {
        panic!("a worker joined")
    };
    for words in [
        "worker:0:2 exited with code 3",
        "first, it is late",
        "second, there is no fuel",
    ] {
        assert!(reason.contains(words), "{reason}");
    }
    let message = actor
        .construction
        .value()
        .expect_err("no worker to build it on")
        .message;
    assert!(message.contains("second, there is no fuel"), "{message}");
}

/// Have the warehouse started, and wait until it takes part or cannot.
fn need_warehouse(head: &Head) -> Option<String> {
    let completion = head.0.warehouse().expect("a running engine");
    head.0
        .wait(&completion, Stage::End, deadline())
        .expect("an end of the wait");
    completion.look(|outcome| match outcome {
        Some(Outcome::Failed(failure)) => Some(failure.message.clone()),
        _ => None,
    })
}

fn warehouses(head: &Head) -> Vec<(String, Pid)> {
    head.0
        .members()
        .into_iter()
        .filter(|member| member.role == Role::Warehouse)
        .map(|member| {
            let pid = Pid::from_raw(member.pid.cast_signed()).expect("a process");
            (member.uid, pid)
        })
        .collect()
}

#[test]
fn the_warehouse_starts_with_the_first_need_and_again_with_the_next_after_its_death() {
    let head = Head::with_workers(1);
    assert!(warehouses(&head).is_empty(), "nobody needs it");
    for _ in 0..2 {
        assert_eq!(need_warehouse(&head), None);
    }
    let [(uid, pid)] = &warehouses(&head)[..] else {
        panic!("there is none, or more than one")
    };
    assert_eq!(uid, "warehouse:0");
    assert_eq!(head.workers(), ["worker:0:0"], "it is no worker");
    let process = watch(*pid);
    kill_process(*pid, Signal::KILL).expect("a process to kill");
    head.0
        .watch(deadline(), || warehouses(&head).is_empty().then_some(()))
        .expect("the news of its death");
    assert!(ended_by(&process, Instant::now()));
    assert_eq!(need_warehouse(&head), None);
    let [(_, next)] = &warehouses(&head)[..] else {
        panic!("there is none, or more than one")
    };
    assert_ne!(next, pid);
    let process = watch(*next);
    head.0.stop(Some(PATIENCE));
    assert!(
        ended_by(&process, Instant::now()),
        "the warehouse outlived the stop"
    );
}

#[test]
fn a_warehouse_that_does_not_start_is_told_with_its_last_words() {
    let head = Head::start(&[MEMBER, "fail"], 0);
    for _ in 0..2 {
        let reason = need_warehouse(&head).expect("a reason");
        for words in ["warehouse:0 exited with code 3", "second, there is no fuel"] {
            assert!(reason.contains(words), "{reason}");
        }
    }
}

#[test]
fn a_program_that_does_not_exist_is_given_up_at_once() {
    let head = Head::start(&["/does/not/exist"], 2);
    let Err(EngineError::NoWorkers(reason)) = head.0.wait_ready(1, deadline()) else {
        panic!("a worker joined")
    };
    assert!(reason.contains("/does/not/exist"), "{reason}");
}

#[test]
fn a_stopped_runtime_leaves_no_process_and_no_directory() {
    let head = Head::with_workers(2);
    let (busy, idle) = (head.actor(), head.actor());
    let processes = [watch(pid_of(&busy)), watch(pid_of(&idle))];
    let blocked = busy.submit("block", Request::default()).expect("room");
    head.0.stop(Some(Duration::from_millis(50)));
    blocked.failure(FailureKind::Disconnected);
    for process in &processes {
        assert!(
            ended_by(process, Instant::now()),
            "a worker outlived the stop"
        );
    }
    assert!(!head.0.directory().exists());
}

#[test]
fn a_killed_head_takes_everything_with_it() {
    let command = Command::new(MEMBER)
        .args(["head", "3"])
        .stdout(Stdio::piped())
        .spawn();
    let mut head = command.expect("a head");
    let mut lines = BufReader::new(head.stdout.take().expect("its output")).lines();
    let mut line = || lines.next().expect("a line").expect("a readable line");
    let directory = PathBuf::from(line());
    let workers: Vec<_> = (0..3)
        .map(|_| watch(Pid::from_raw(line().parse().expect("a number")).expect("a process")))
        .collect();
    assert!(directory.exists());
    head.kill().expect("a process to kill");
    head.wait().expect("its end");
    let limit = Instant::now() + Duration::from_secs(2);
    for worker in &workers {
        assert!(ended_by(worker, limit), "a worker outlived its head");
    }
    assert!(!directory.exists(), "the directory outlived the runtime");
}

#[test]
fn a_worker_started_by_hand_says_why_it_cannot_be() {
    let mut worker = Command::new(MEMBER)
        .arg("worker")
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut words = String::new();
    worker
        .stderr
        .take()
        .expect("its output")
        .read_to_string(&mut words)
        .expect("text");
    assert!(!worker.wait().expect("its end").success());
    assert!(words.contains("workers are started by mosaic"), "{words}");
}
