//! Calls between a head and workers of one process: values, order, dependencies, cancellation, limits, the end.

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Network, Request, deadline};
use mosaic_core::call::FailureKind;
use mosaic_runtime::engine::{EngineConfig, EngineError};
use mosaic_runtime::sync::completion::Stage;

#[test]
fn a_call_comes_back_with_its_value() {
    let network = Network::start(1);
    let subject = network.subject(0);
    assert_eq!(
        subject.call("echo", "hello").value().expect("an echo"),
        "hello"
    );
    subject.construction.value().expect("a construction");
}

#[test]
fn what_a_method_raises_comes_back_and_later_calls_run() {
    let network = Network::start(1);
    let subject = network.subject(0);
    let raised = subject.call("raise", "");
    let after = subject.call("echo", "still here");
    assert_eq!(raised.failure(FailureKind::Raised), "as asked");
    assert_eq!(after.value().expect("an echo"), "still here");
}

#[test]
fn a_class_that_does_not_exist_fails_its_construction_and_its_calls() {
    let network = Network::start(1);
    let subject = common::Proxy::build(&network.head, "Nobody", None).expect("room");
    let call = subject.call("echo", "");
    assert_eq!(
        subject.construction.failure(FailureKind::Raised),
        "there is no class Nobody"
    );
    call.value().expect_err("no actor to call");
}

#[test]
fn ten_thousand_calls_run_in_the_order_in_which_they_were_made() {
    let network = Network::start(1);
    let subject = network.subject(0);
    let calls: Vec<_> = (0..10_000u32)
        .map(|number| subject.call("record", number.to_le_bytes().to_vec()))
        .collect();
    let recorded = subject.call("recorded", "").value().expect("the record");
    let expected: Vec<u8> = (0..10_000u32).flat_map(u32::to_le_bytes).collect();
    assert_eq!(recorded, expected);
    for call in calls {
        call.value().expect("a recorded number");
    }
    assert_eq!(network.head.pending(), 0);
}

/// `TIME-2`
#[test]
fn time_2_a_limit_that_passes_during_the_submission_ends_the_call() {
    let network = Network::start(1);
    let subject = network.subject(0);
    subject.construction.value().expect("a construction");
    // More threads than processors: some lose theirs in the midst of a submission.
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let limited = Request {
                        timeout: Some(Duration::ZERO),
                        ..Request::default()
                    };
                    let call = subject.submit("block", limited).expect("room");
                    call.failure(FailureKind::TimedOut);
                }
            });
        }
    });
}

/// `LANE-1`, whatever is remembered of it by then.
#[test]
fn what_is_cancelled_and_let_go_of_before_it_begins_never_runs() {
    let network = Network::start(1);
    let subject = network.subject(0);
    let blocked = subject.call("block", "");
    network.gate.wait("block");
    for number in 0..10 {
        let call = subject.call("record", vec![number]);
        call.cancel();
        call.failure(FailureKind::Cancelled);
    }
    // The worker has answered the last, and has heard before that nobody wants the others any more.
    network.gate.open();
    blocked.value().expect("its end");
    let recorded = subject.call("recorded", "").value().expect("the record");
    assert_eq!(recorded, "");
}

/// Of the locks that a call of a burst takes at the lane, one is the gate's, and one the inbox's, for its end.
#[test]
#[cfg(debug_assertions)]
fn a_call_of_a_burst_takes_one_lock_at_the_lane() {
    const CALLS: u64 = 1000;
    let network = Network::start(1);
    let subject = network.subject(0);
    let blocked = subject.call("block", "");
    network.gate.wait("block");
    let before = subject.call("locks", "");
    let burst: Vec<_> = (0..CALLS).map(|_| subject.call("echo", "x")).collect();
    let after = subject.call("locks", "");
    // All are in the lane by then: the worker has answered a cancellation behind them.
    let last = subject.call("echo", "");
    last.cancel();
    last.failure(FailureKind::Cancelled);
    network.gate.open();
    blocked.value().expect("its end");
    for call in &burst {
        call.value().expect("an echo");
    }
    let [before, after] = [before, after].map(|call| {
        let count = call.value().expect("a count");
        u64::from_le_bytes(count[..].try_into().expect("eight bytes"))
    });
    let taken = after - before;
    assert!(taken >= 2 * CALLS, "{taken} locks are not counted");
    assert!(
        taken < 2 * CALLS + CALLS / 10,
        "{taken} locks in {CALLS} calls"
    );
}

/// `ENG-1`: every method takes the lock of the gate, whose rank is the lowest. In a debug build that panics while the
/// thread holds any lock of the engine.
#[test]
fn eng_1_methods_run_without_a_lock_of_the_engine() {
    let network = Network::start(1);
    let subject = network.subject(0);
    // Read and begun by the lane itself, then by the I/O thread while the lane is busy.
    subject.call("echo", "alone").value().expect("an echo");
    let blocked = subject.call("block", "");
    network.gate.wait("block");
    let burst: Vec<_> = (0..100).map(|_| subject.call("echo", "x")).collect();
    network.gate.open();
    blocked.value().expect("its end");
    for call in &burst {
        call.value().expect("an echo");
    }
    assert_eq!(network.gate.count("echo"), 101);
}

/// `READER-1`: at both ends the I/O thread and waiting threads read in turn, and calls keep their order.
#[test]
fn reader_1_messages_keep_their_order_whichever_thread_reads() {
    const CALLS: usize = 4000;
    let network = Network::start(1);
    let subject = network.subject(0);
    std::thread::scope(|scope| {
        // Waits of other threads read what comes for all.
        for _ in 0..2 {
            scope.spawn(|| {
                let own = network.subject(0);
                for _ in 0..CALLS / 8 {
                    own.call("echo", "").value().expect("an echo");
                }
            });
        }
        for number in 0..CALLS {
            subject.call("record", vec![number as u8]);
            if number % 16 == 0 {
                subject.call("echo", "").value().expect("an echo");
            }
        }
    });
    let recorded = subject.call("recorded", "").value().expect("the record");
    let sent: Vec<_> = (0..CALLS).map(|number| number as u8).collect();
    assert!(recorded == sent, "calls ran in another order");
}

#[test]
fn a_dependency_goes_from_one_worker_to_another() {
    let network = Network::start(2);
    let (first, second) = (network.subject(0), network.subject(1));
    let near = first.call("echo", "from the first ");
    let far = second.call("echo", "from the second");
    let both = Request {
        arguments: "got: ".into(),
        after: &[&near, &far],
        ..Request::default()
    };
    let joined = second.submit("join", both).expect("room");
    assert_eq!(
        joined.value().expect("both"),
        "got: from the first from the second"
    );
}

#[test]
fn a_failed_dependency_fails_what_waits_for_it() {
    let network = Network::start(2);
    let (first, second) = (network.subject(0), network.subject(1));
    let raised = first.call("raise", "");
    let after = second
        .submit(
            "join",
            Request {
                after: &[&raised],
                ..Request::default()
            },
        )
        .expect("room");
    assert_eq!(after.failure(FailureKind::Raised), "as asked");
    assert_eq!(network.gate.count("join"), 0);
}

#[test]
fn sixteen_mebibytes_arrive_whole_both_ways() {
    let network = Network::start(2);
    let (first, second) = (network.subject(0), network.subject(1));
    // A pattern whose period divides no buffer size.
    let large: Bytes = (0..16usize << 20)
        .map(|at| (at % 251) as u8)
        .collect::<Vec<_>>()
        .into();
    let echoed = first.call("echo", large.clone());
    let passed_on = second
        .submit(
            "join",
            Request {
                after: &[&echoed],
                ..Request::default()
            },
        )
        .expect("room");
    assert!(passed_on.value().expect("it went on to the second") == large);
    assert!(echoed.value().expect("it came back") == large);
}

#[test]
fn a_call_that_waits_is_cancelled_and_never_runs() {
    let network = Network::start(1);
    let subject = network.subject(0);
    let blocking = subject.call("block", "");
    network.gate.wait("block");
    let unwanted = subject.call("record", "never");
    unwanted.cancel();
    unwanted.failure(FailureKind::Cancelled);
    network.gate.open();
    blocking.value().expect("the gate is open");
    assert_eq!(
        subject.call("recorded", "").value().expect("the record"),
        ""
    );
    assert_eq!(network.gate.count("record"), 0);
}

#[test]
fn nobody_waits_for_a_running_call_that_was_cancelled() {
    let network = Network::start(1);
    let subject = network.subject(0);
    let blocking = subject.call("block", "");
    network.gate.wait("block");
    blocking.cancel();
    blocking.failure(FailureKind::Cancelled);
    network.gate.open();
    assert_eq!(
        subject.call("echo", "next").value().expect("its turn"),
        "next"
    );
}

#[test]
fn a_call_ends_when_its_time_has_passed() {
    let network = Network::start(1);
    let subject = network.subject(0);
    let limit = Duration::from_millis(50);
    let start = Instant::now();
    let blocking = subject
        .submit(
            "block",
            Request {
                timeout: Some(limit),
                ..Request::default()
            },
        )
        .expect("room");
    blocking.failure(FailureKind::TimedOut);
    let took = start.elapsed();
    assert!(
        limit <= took && took < common::PATIENCE / 4,
        "it took {took:?}"
    );
    network.gate.open();
    assert_eq!(
        subject.call("echo", "next").value().expect("its turn"),
        "next"
    );
}

#[test]
fn a_wait_ends_when_its_time_has_passed() {
    let network = Network::start(1);
    let blocking = network.subject(0).call("block", "");
    let soon = Some(Instant::now() + Duration::from_millis(20));
    let wait = network.head.wait(&blocking.completion, Stage::End, soon);
    assert_eq!(wait, Err(EngineError::TimedOut));
    network.gate.open();
    blocking
        .value()
        .expect("the wait took nothing from the call");
}

#[test]
fn calls_of_a_worker_that_goes_fail_and_say_so() {
    let network = Network::start(2);
    let (first, second) = (network.subject(0), network.subject(1));
    let running = first.call("block", "");
    let waiting = first.call("echo", "");
    let dependent = second
        .submit(
            "join",
            Request {
                after: &[&waiting],
                ..Request::default()
            },
        )
        .expect("room");
    network.gate.wait("block");
    network.workers[0].engine.stop(None);
    for call in [&running, &waiting, &dependent] {
        let message = call.failure(FailureKind::Disconnected);
        assert!(message.contains("inside:1"), "{message}");
    }
    assert_eq!(
        second
            .call("echo", "alive")
            .value()
            .expect("the other worker"),
        "alive"
    );
    first.call("echo", "").failure(FailureKind::Disconnected);
}

#[test]
fn a_fast_caller_is_refused_beyond_its_limit_and_let_in_again() {
    let config = EngineConfig {
        max_pending: 8,
        ..EngineConfig::default()
    };
    let network = Network::start_with(1, &config);
    let subject = network.subject(0);
    subject.construction.value().expect("a construction");
    let calls: Vec<_> = std::iter::once(subject.call("block", ""))
        .chain((1..8).map(|_| subject.call("echo", "")))
        .collect();
    let refused = subject.submit("echo", Request::default()).map(drop);
    assert_eq!(refused, Err(EngineError::Backpressure(8)));
    let soon = Some(Instant::now() + Duration::from_millis(20));
    assert_eq!(
        network.head.wait_for_capacity(soon),
        Err(EngineError::TimedOut)
    );
    network.gate.open();
    network.head.wait_for_capacity(deadline()).expect("room");
    subject.call("echo", "").value().expect("an echo");
    for call in calls {
        call.value().expect("an end");
    }
}

#[test]
fn the_stop_settles_everything() {
    let network = Network::start(2);
    let (first, second) = (network.subject(0), network.subject(1));
    let mut calls = vec![first.call("block", "")];
    calls.extend((0..1000).map(|_| first.call("echo", "")));
    calls.push(
        second
            .submit(
                "join",
                Request {
                    after: &[&calls[0]],
                    ..Request::default()
                },
            )
            .expect("room"),
    );
    network.gate.wait("block");
    network.head.stop(None);
    for call in &calls {
        call.failure(FailureKind::Disconnected);
    }
    assert_eq!(network.head.pending(), 0);
    assert_eq!(
        first.submit("echo", Request::default()).map(drop),
        Err(EngineError::Stopped)
    );
    assert!(!network.head.directory().exists());
}

#[test]
fn waiters_in_other_threads_are_woken_by_the_stop() {
    let network = Network::start(1);
    let blocking = network.subject(0).call("block", "");
    network.gate.wait("block");
    std::thread::scope(|scope| {
        // Told of the end of the call, or before that of the end of the runtime.
        let waiting = scope.spawn(|| {
            network
                .head
                .wait(&blocking.completion, Stage::End, deadline())
        });
        network.head.stop(None);
        let told = waiting.join().expect("a waiter");
        assert!(
            matches!(told, Ok(()) | Err(EngineError::Stopped)),
            "{told:?}"
        );
    });
    blocking.failure(FailureKind::Disconnected);
}

#[test]
fn a_tessera_that_nobody_holds_is_dropped_after_its_last_call() {
    let network = Network::start(1);
    let subject = network.subject(0);
    let last = subject.call("echo", "last");
    drop(subject);
    assert_eq!(last.value().expect("calls that were made run"), "last");
    network.gate.wait("dropped");
}

#[test]
fn calls_from_many_threads_all_come_back() {
    let network = Network::start(2);
    let subjects = [network.subject(0), network.subject(1)];
    std::thread::scope(|scope| {
        for thread in 0..8u32 {
            let subjects = &subjects;
            scope.spawn(move || {
                for number in 0..500u32 {
                    let sent = [thread.to_le_bytes(), number.to_le_bytes()].concat();
                    let subject = &subjects[(number % 2) as usize];
                    assert_eq!(
                        subject.call("echo", sent.clone()).value().expect("an echo"),
                        sent
                    );
                }
            });
        }
    });
    assert_eq!(network.head.pending(), 0);
}

#[test]
fn time_limits_of_ended_calls_are_forgotten() {
    let network = Network::start(1);
    let subject = network.subject(0);
    for _ in 0..10 {
        let calls: Vec<_> = (0..100)
            .map(|_| {
                let request = Request {
                    timeout: Some(Duration::from_secs(3600)),
                    ..Request::default()
                };
                subject.submit("echo", request).expect("room")
            })
            .collect();
        for call in calls {
            call.value().expect("an echo");
        }
    }
    assert!(network.head.time_limits() < 100);
}
