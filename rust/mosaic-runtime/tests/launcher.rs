//! Heads that join a monitor and leave their workers to a node agent, as under `mrun`.

mod common;

use std::ffi::OsString;

use common::deadline;
use common::launcher::{Head, Launcher, MEMBER, launch};
use mosaic_core::call::FailureKind;
use mosaic_runtime::launcher::monitor::{Monitor, MonitorConfig};
use mosaic_runtime::node::Launch;
use mosaic_runtime::node::directory::Directory;
use mosaic_runtime::notice::Notice;
use rustix::process::{Signal, kill_process};

fn a_death_is_told(in_process: bool) {
    let launcher = Launcher::start(in_process);
    let head = launcher.head(2);
    let (actor, other) = (head.actor(), head.actor());
    other.construction.value().expect("a construction");
    let message = actor.call("exit", "").failure(FailureKind::Disconnected);
    assert!(
        message.contains("worker:0:0 exited with code 3"),
        "{message}"
    );
    let alive = other.call("echo", "alive").value();
    assert_eq!(alive.expect("the other worker"), "alive");
    head.0
        .wait_ready(2, deadline())
        .expect("one to take its place");
    assert_eq!(head.workers(), ["worker:0:1", "worker:0:2"]);
}

#[test]
fn an_agent_tells_how_a_worker_died_and_starts_another() {
    a_death_is_told(false);
}

#[test]
fn a_monitor_can_be_the_agent_too() {
    a_death_is_told(true);
}

#[test]
fn the_workers_belong_to_one_head_at_a_time() {
    let launcher = Launcher::start(false);
    let first = launcher.head(1);
    let refusal = launcher
        .try_head(launch(1))
        .map(|_| ())
        .expect_err("a refusal");
    assert!(
        refusal.to_string().contains("belong to another"),
        "{refusal}"
    );
    let alive = first.actor().call("echo", "alive").value();
    assert_eq!(alive.expect("the first goes on"), "alive");
    drop(first);
    launcher.head(1);
    launcher.head(1);
}

/// What is told until that is.
fn told_until(head: &Head, last: impl Fn(&Notice) -> bool) -> Vec<Notice> {
    let mut told = Vec::new();
    while !told.iter().any(&last) {
        told.extend(head.0.notices().take().expect("more to be told"));
    }
    told
}

/// What is told until a round through the workers' output has ended.
fn until_drained(head: &Head, token: u64) -> Vec<Notice> {
    head.0.drain_output(token);
    told_until(head, |notice| *notice == Notice::Drained(token))
}

/// `STDIO-2`
#[test]
fn a_round_ends_after_what_was_printed_or_with_the_agent() {
    let launcher = Launcher::start(false);
    let head = launcher.head(1);
    let actor = head.actor();
    for line in 0..100 {
        actor
            .call("print", format!("line {line}\n"))
            .value()
            .expect("room in the pipe");
    }
    let told = until_drained(&head, 7);
    let lines = told.iter().filter_map(|notice| match notice {
        Notice::Output { uid, line, .. } => Some((uid.as_str(), line.clone())),
        _ => None,
    });
    let expected = (0..100).map(|line| ("worker:0:0", format!("line {line}").into_bytes()));
    assert!(lines.eq(expected), "{told:?}");
    kill_process(launcher.agent(), Signal::KILL).expect("a process to kill");
    until_drained(&head, 8);
    let none = head.0.wait_ready(1, deadline()).expect_err("no worker");
    assert!(none.to_string().contains("node:0 was killed"), "{none}");
    until_drained(&head, 9);
}

fn a_lost_agent_is_told() {
    let launcher = Launcher::start(false);
    let agent = launcher.agent();
    let head = launcher.head(1);
    let actor = head.actor();
    actor.construction.value().expect("a construction");
    let blocked = actor.call("block", "");
    kill_process(agent, Signal::KILL).expect("a process to kill");
    let message = blocked.failure(FailureKind::Disconnected);
    assert!(
        message.contains("node:0 was killed by signal 9 (SIGKILL"),
        "{message}"
    );
    let none = head.0.wait_ready(1, deadline()).expect_err("no worker");
    assert!(none.to_string().contains("node:0 was killed"), "{none}");
    let late = head.actor().construction.failure(FailureKind::Disconnected);
    assert!(late.contains("node:0 was killed"), "{late}");
    drop(head);
    launcher.head(1);
    assert_ne!(launcher.agent(), agent);
}

/// `LAUNCH-1`
#[test]
fn with_the_agent_go_its_workers_and_the_next_head_has_another() {
    a_lost_agent_is_told();
}

/// Have this thread, and whatever it starts, find a system that has no handles of processes (`pidfd_open`).
#[cfg(target_os = "linux")]
fn without_process_handles() {
    let instruction = |code: u32, k: u32, no: u8| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: no,
        k,
    };
    let refused = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    let mut instructions = [
        // The number of the call comes first in what a filter sees.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        instruction(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            libc::SYS_pidfd_open as u32,
            1,
        ),
        instruction(libc::BPF_RET | libc::BPF_K, refused, 0),
        instruction(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let filter = libc::sock_fprog {
        len: instructions.len() as u16,
        filter: instructions.as_mut_ptr(),
    };
    // SAFETY: plain numbers, and a filter that lives through the call and is as long as it says.
    let failed = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const filter,
            ) != 0
    };
    assert!(!failed, "{}", std::io::Error::last_os_error());
}

/// `LAUNCH-1`
#[cfg(target_os = "linux")]
#[test]
fn where_processes_cannot_be_watched_their_ends_are_told_all_the_same() {
    let test = || {
        without_process_handles();
        a_death_is_told(false);
        a_lost_agent_is_told();
    };
    let thread = std::thread::spawn(test);
    thread.join().expect("what was to be");
}

/// `LAUNCH-1`
#[cfg(target_os = "linux")]
#[test]
fn workers_may_be_started_through_another_program() {
    use common::PATIENCE;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    let launcher = Launcher::start(false);
    let through = Launch {
        // A shell has to stay, for there is something left to do.
        command: ["sh", "-c", "\"$0\" worker; exit $?", MEMBER]
            .map(String::from)
            .into(),
        ..launch(1)
    };
    let head = launcher.try_head(through).expect("a head");
    head.0.wait_ready(1, deadline()).expect("a worker");
    let worker = head.actor().call("pid", "").value().expect("a number");
    let worker = std::str::from_utf8(&worker).expect("digits").parse();
    let worker = Pid::from_raw(worker.expect("a number")).expect("a process");
    let worker = pidfd_open(worker, PidfdFlags::empty()).expect("a worker that goes on");
    kill_process(launcher.agent(), Signal::KILL).expect("a process to kill");
    let limit = Timespec::try_from(PATIENCE).expect("a short time");
    let ended = poll(&mut [PollFd::new(&worker, PollFlags::IN)], Some(&limit));
    assert_eq!(ended, Ok(1), "it ends with the agent");
}

#[test]
fn a_head_that_comes_while_the_agent_dies_gets_the_next() {
    let launcher = Launcher::start(false);
    for _ in 0..3 {
        kill_process(launcher.agent(), Signal::KILL).expect("a process to kill");
        launcher.head(1);
    }
}

#[test]
fn a_head_that_the_agent_cannot_take_is_told_why_and_keeps_nobody_out() {
    let launcher = Launcher::start(false);
    let agent = launcher.agent();
    let large = Launch {
        environment: vec![("LARGE".into(), "x".repeat(5 << 20))],
        ..launch(1)
    };
    let refusal = launcher.try_head(large).map(|_| ()).expect_err("a refusal");
    assert!(
        refusal
            .to_string()
            .contains("is the environment that large"),
        "{refusal}"
    );
    launcher.head(1);
    assert_eq!(launcher.agent(), agent, "it has done nothing wrong");
}

/// `LAUNCH-1`
#[test]
fn with_the_monitor_go_the_workers_and_their_head_is_told() {
    let launcher = Launcher::start(false);
    let head = launcher.head(1);
    let actor = head.actor();
    actor.construction.value().expect("a construction");
    let blocked = actor.call("block", "");
    drop(launcher);
    blocked.failure(FailureKind::Disconnected);
    assert_eq!(head.workers(), [""; 0]);
}

fn a_head_without_workers_has_its_store(lose: impl Fn(Launcher) -> Option<Launcher>) {
    let launcher = Launcher::start(false);
    let head = launcher.head(1);
    let _left = lose(launcher);
    // The last that is done when the workers are lost.
    told_until(&head, |notice| matches!(notice, Notice::Exhausted(_)));
    assert!(!head.0.directory().exists(), "nobody may be left to do it");
    let source = vec![7; 1 << 20];
    let stored = head.0.copy_in(&source).expect("room");
    let view = head.0.view(&stored).expect("a view");
    // SAFETY: the view is mapped as long as it lives, and nobody writes to it.
    let shown = unsafe { std::slice::from_raw_parts(view.address(), view.length()) };
    assert_eq!(shown, source);
}

#[test]
fn a_head_whose_agent_dies_before_its_first_large_value_has_its_store() {
    a_head_without_workers_has_its_store(|launcher| {
        kill_process(launcher.agent(), Signal::KILL).expect("a process to kill");
        Some(launcher)
    });
}

#[test]
fn a_head_whose_monitor_ends_before_its_first_large_value_has_its_store() {
    a_head_without_workers_has_its_store(|launcher| {
        drop(launcher);
        None
    });
}

#[test]
fn an_agent_that_does_not_start_is_a_reason() {
    let workspace = tempfile::tempdir().expect("a directory");
    let config = MonitorConfig {
        agent: Some(vec![OsString::from(MEMBER), "fail".into()]),
        key: workspace.path().join("work").join("key"),
        report: |_| {},
    };
    let place = Directory::create().expect("a place");
    let monitor = Monitor::start(place, config).expect("a monitor");
    let reason = monitor.wait_ready(deadline()).expect_err("no agent");
    assert!(
        reason
            .to_string()
            .contains("node:0 does not start: it exited with code 3"),
        "{reason}"
    );
    monitor.stop();
}

#[test]
fn a_stranger_is_not_listened_to() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    let launcher = Launcher::start(true);
    launcher.agent();
    for socket in ["monitor.sock", "node-0.sock"] {
        let path = launcher.monitor.directory().join(socket);
        let mut stream = UnixStream::connect(path).expect("a socket");
        stream.write_all(&[b'x'; 64]).expect("room");
        let mut answer = Vec::new();
        // The end may come as a reset, for not everything was read.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{answer:?}");
    }
    launcher.head(1);
}
