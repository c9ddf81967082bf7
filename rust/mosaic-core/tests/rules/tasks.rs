//! Tasks and their ends: `TASK`, `OUT`, `FENCE`.

use mosaic_core::call::{FailureKind, Outcome, OutcomePart};
use mosaic_core::event::{Event, Want};
use mosaic_core::id::{ObjectId, TaskId, TesseraId};
use mosaic_core::wire::RulesMessage;

use crate::net::{HEAD, Net, ONE, TWO, on, payload, raised, task_of, tessera_at, value};

#[test]
fn task_1_a_task_ends_once_though_its_end_comes_after_its_time_limit() {
    let mut net = Net::new(1);
    let tessera = net.construct(HEAD, ONE);
    let task = net.call(HEAD, tessera);
    net.deliver();
    net.feed(HEAD, Event::CallTimedOut(task));
    assert_eq!(net.failure(task), Some(FailureKind::TimedOut));
    net.finish(task, value("late"));
    net.feed(HEAD, Event::CancelRequested(task));
    net.deliver();
    net.release(HEAD, ObjectId::Task(task));
    assert_eq!(net.machine(HEAD).snapshot().caller.tasks.len(), 0);
}

#[test]
fn task_1_a_queued_call_is_cancelled_where_it_waits() {
    let mut net = Net::new(1);
    let (tessera, _) = net.begin(HEAD, ONE, |_| {});
    let task = net.call(HEAD, tessera);
    net.deliver();
    net.feed(HEAD, Event::CancelRequested(task));
    net.deliver();
    assert_eq!(net.failure(task), Some(FailureKind::Cancelled));
    assert!(net.revoked.is_empty());
}

#[test]
fn task_1_a_running_call_is_cancelled_by_its_executor() {
    let mut net = Net::new(1);
    let tessera = net.construct(HEAD, ONE);
    let (first, second) = (net.call(HEAD, tessera), net.call(HEAD, tessera));
    net.deliver();
    net.feed(HEAD, Event::CancelRequested(first));
    net.feed(HEAD, Event::CancelRequested(second));
    net.deliver();
    assert_eq!(net.revoked, [first, second]);
    assert_eq!(net.end(first), None);
    // The first runs already, the second will not.
    net.feed(ONE, Event::CallIsRunning(first));
    net.finish(
        second,
        Outcome::Failed(mosaic_core::call::Failure::new(FailureKind::Cancelled, "")),
    );
    assert_eq!(net.failure(first), Some(FailureKind::Cancelled));
    assert_eq!(net.failure(second), Some(FailureKind::Cancelled));
    net.finish(first, value("for nobody"));
}

#[test]
fn task_1_a_held_call_is_cancelled_before_it_is_sent() {
    let mut net = Net::with(1, |config| config.window_calls = 1);
    let tessera = net.construct(HEAD, ONE);
    let (first, second) = (net.call(HEAD, tessera), net.call(HEAD, tessera));
    net.feed(HEAD, Event::CancelRequested(second));
    assert_eq!(net.failure(second), Some(FailureKind::Cancelled));
    net.deliver();
    assert_eq!(net.runs(ONE), [first]);
}

#[test]
fn out_1_a_large_value_stays_until_it_is_wanted_and_comes_once_for_all() {
    let mut net = Net::with(1, |config| config.inline_limit = 4);
    let tessera = net.construct(HEAD, ONE);
    let task = net.call(HEAD, tessera);
    net.deliver();
    net.finish(task, value("much more than that"));
    assert!(matches!(
        net.end(task),
        Some(Outcome::Stored {
            host: ONE,
            size: 19
        })
    ));
    let wants = [
        net.want(HEAD, task, Want::Value),
        net.want(HEAD, task, Want::Value),
    ];
    for want in wants {
        assert_eq!(net.settled[&want], value("much more than that"));
    }
}

#[test]
fn out_1_whoever_was_passed_a_task_may_ask_before_and_after_its_end() {
    let mut net = Net::new(2);
    let tessera = net.construct(HEAD, ONE);
    let task = net.call(HEAD, tessera);
    net.pass(HEAD, TWO, &[task_of(task)]);
    let before = net.want(TWO, task, Want::End);
    assert!(!net.settled.contains_key(&before));
    net.finish(task, value("42"));
    let after = net.want(TWO, task, Want::Value);
    assert_eq!(net.settled[&before], value("42"));
    assert_eq!(net.settled[&after], value("42"));
}

#[test]
fn out_1_a_fetch_that_outran_its_call_waits_for_it() {
    let mut net = Net::new(2);
    let (producer, consumer) = (net.construct(HEAD, ONE), net.construct(HEAD, TWO));
    net.slow(HEAD, ONE);
    let made = net.call(HEAD, producer);
    let user = net.call_with(HEAD, consumer, |submission| {
        submission.call.dependencies = [on(made)].into();
    });
    net.deliver();
    assert_eq!(net.runs(TWO), []);
    net.fast(HEAD, ONE);
    net.finish(made, value("here"));
    assert_eq!(net.runs(TWO), [user]);
}

#[test]
fn out_1_a_fetch_that_came_too_late_is_told_so() {
    let mut net = Net::new(2);
    let (producer, consumer) = (net.construct(HEAD, ONE), net.construct(HEAD, TWO));
    net.slow(TWO, ONE);
    let made = net.call(HEAD, producer);
    let user = net.call_with(HEAD, consumer, |submission| {
        submission.call.dependencies = [on(made)].into();
    });
    net.deliver();
    net.finish(made, value("x"));
    // The caller gives up, and lets go of the result before the fetch for its argument arrives.
    net.feed(HEAD, Event::CallTimedOut(user));
    net.release(HEAD, ObjectId::Task(user));
    net.release(HEAD, ObjectId::Task(made));
    net.fast(TWO, ONE);
    net.release(HEAD, ObjectId::Tessera(producer));
    net.release(HEAD, ObjectId::Tessera(consumer));
    assert!(
        net.machine(TWO).snapshot().is_blank()
            && net.machine(ONE).snapshot().callee.tesserae.is_empty()
    );
}

#[test]
fn out_1_a_failed_dependency_fails_the_call_and_says_where() {
    let mut net = Net::new(2);
    let (producer, consumer) = (net.construct(HEAD, ONE), net.construct(HEAD, TWO));
    let made = net.call(HEAD, producer);
    let user = net.call_with(HEAD, consumer, |submission| {
        submission.call.dependencies = [on(made)].into();
    });
    net.deliver();
    net.finish(made, raised());
    let Some(Outcome::Failed(failure)) = net.end(user) else {
        panic!("it ended otherwise")
    };
    assert_eq!(failure.kind, FailureKind::Raised);
    assert_eq!(failure.context, ["needed as argument 0 of step.step"]);
}

#[test]
fn out_1_a_dropped_value_is_lost_for_whoever_asks_later() {
    let mut net = Net::new(1);
    let tessera = net.construct(HEAD, ONE);
    let task = net.call(HEAD, tessera);
    net.deliver();
    net.finish(task, value("42"));
    net.feed(HEAD, Event::ValueDropped(task));
    let want = net.want(HEAD, task, Want::Value);
    assert_eq!(
        crate::net::kind(&net.settled[&want]),
        Some(FailureKind::ObjectLost)
    );
}

#[test]
fn barrier_1_passes_when_every_earlier_task_of_every_member_has_ended() {
    let mut net = Net::new(2);
    let (near, far) = (net.construct(HEAD, ONE), net.construct(TWO, ONE));
    let (mine, theirs) = (net.call(HEAD, near), net.call(TWO, far));
    net.deliver();
    let barrier = net.number();
    net.feed(HEAD, Event::BarrierRequested(barrier));
    net.deliver();
    let later = net.call(HEAD, near);
    net.finish(mine, value(""));
    assert!(!net.settled.contains_key(&barrier));
    net.finish(theirs, raised());
    assert!(net.settled.contains_key(&barrier));
    assert_eq!(net.end(later), None);
}

#[test]
fn barrier_1_does_not_wait_for_the_dead() {
    let mut net = Net::new(2);
    let tessera = net.construct(TWO, ONE);
    net.call(TWO, tessera);
    net.deliver();
    let barrier = net.number();
    net.feed(HEAD, Event::BarrierRequested(barrier));
    net.deliver();
    assert!(!net.settled.contains_key(&barrier));
    net.kill(TWO);
    assert!(net.settled.contains_key(&barrier));
}

#[test]
fn a_stopped_runtime_settles_every_handle() {
    let mut net = Net::with(2, |config| config.window_calls = 1);
    let (tessera, own) = (net.construct(HEAD, ONE), net.construct(TWO, HEAD));
    let (sent, held) = (net.call(HEAD, tessera), net.call(HEAD, tessera));
    let theirs = net.call(TWO, own);
    net.deliver();
    net.pass(TWO, HEAD, &[task_of(theirs)]);
    let want = net.want(HEAD, theirs, Want::End);
    let barrier = net.number();
    net.feed(HEAD, Event::BarrierRequested(barrier));
    net.feed(HEAD, Event::RuntimeStopped("the end".into()));
    for handle in [sent.sequence, held.sequence, want, barrier] {
        assert_eq!(
            crate::net::kind(&net.settled[&handle]),
            Some(FailureKind::Disconnected)
        );
    }
}

#[test]
fn a_method_of_a_result_keeps_it_alive_until_it_has_ended() {
    let mut net = Net::new(1);
    let tessera = net.construct(HEAD, ONE);
    let made = net.call(HEAD, tessera);
    net.deliver();
    net.finish(made, value("x"));
    let mut submission = net.submission(
        HEAD,
        TesseraId::functions(ONE),
        mosaic_core::call::CallKind::ResultMethod(made),
    );
    submission.host = Some(ONE);
    let user = net.submit(submission);
    net.deliver();
    assert_eq!(net.runs(ONE), [user]);
    net.release(HEAD, ObjectId::Task(made));
    assert!(!net.machine(ONE).snapshot().is_blank());
    net.finish(user, value(""));
    net.release(HEAD, ObjectId::Task(user));
    net.release(HEAD, ObjectId::Tessera(tessera));
    assert!(net.machine(ONE).snapshot().is_blank());
}

/// A part of the outcome of a call, as its host would send it.
fn part_of(task: TaskId, number: u32, last: bool, text: &'static str) -> Event<u64> {
    Event::MessageReceived {
        from: ONE,
        message: RulesMessage::Completed {
            task,
            part: OutcomePart { number, last },
            outcome: value(text).into(),
        },
    }
}

#[test]
fn part_1_a_task_ends_with_the_last_part_of_its_outcome() {
    let mut net = Net::new(1);
    let tessera = net.construct(HEAD, ONE);
    let call = net.call(HEAD, tessera);
    net.deliver();
    net.feed(HEAD, part_of(call, 0, false, "first"));
    net.feed(HEAD, part_of(call, 1, false, "second"));
    assert_eq!(net.end(call), None);
    net.feed(HEAD, part_of(call, 2, true, "last"));
    assert_eq!(net.end(call), Some(&value("last")));
}

#[test]
fn part_1_an_outcome_of_which_a_part_is_missing_is_a_failure() {
    for last in [false, true] {
        let mut net = Net::new(1);
        let tessera = net.construct(HEAD, ONE);
        let call = net.call(HEAD, tessera);
        net.deliver();
        net.feed(HEAD, part_of(call, 0, false, "first"));
        net.feed(HEAD, part_of(call, 2, last, "third"));
        assert_eq!(net.failure(call), Some(FailureKind::Internal));
    }
}

#[test]
fn part_1_references_in_a_part_that_nobody_takes_are_dropped() {
    let mut net = Net::new(1);
    let tessera = net.construct(HEAD, ONE);
    let call = net.call(HEAD, tessera);
    net.deliver();
    let mut part = payload("first");
    part.references = [tessera_at(tessera, ONE)].into();
    let message = RulesMessage::Completed {
        task: call,
        part: OutcomePart {
            number: 0,
            last: false,
        },
        outcome: Outcome::Value(part).into(),
    };
    net.feed(HEAD, Event::MessageReceived { from: ONE, message });
    net.finish(call, value("never sent"));
    net.release(HEAD, ObjectId::Task(call));
    net.release(HEAD, ObjectId::Tessera(tessera));
    assert_eq!(net.dropped, [(ONE, tessera)]);
}
