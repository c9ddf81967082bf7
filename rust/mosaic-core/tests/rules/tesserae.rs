//! Tesserae and whose turn it is: `TESS`.

use mosaic_core::call::{CallKind, FailureKind};
use mosaic_core::event::Submission;
use mosaic_core::id::ObjectId;

use crate::net::{HEAD, Net, ONE, TWO, on, raised, task_of, tessera_at, value};

fn coroutine(submission: &mut Submission<u64>) {
    submission.call.coroutine = true;
}

#[test]
fn tess_1_plain_calls_are_handed_over_in_order() {
    let mut net = Net::new(1);
    let tessera = net.construct(HEAD, ONE);
    let calls: Vec<_> = (0..5).map(|_| net.call(HEAD, tessera)).collect();
    net.deliver();
    assert_eq!(net.runs(ONE), calls);
}

#[test]
fn tess_1_a_call_that_waits_for_an_argument_holds_up_those_behind_it() {
    let mut net = Net::new(2);
    let (other, tessera) = (net.construct(HEAD, TWO), net.construct(HEAD, ONE));
    let made = net.call(HEAD, other);
    let waits = net.call_with(HEAD, tessera, |submission| {
        submission.call.dependencies = [on(made)].into();
    });
    let behind = net.call(HEAD, tessera);
    net.deliver();
    assert_eq!(net.runs(ONE), []);
    net.finish(made, value("argument"));
    assert_eq!(net.runs(ONE), [waits, behind]);
}

#[test]
fn tess_2_a_coroutine_call_runs_alone() {
    let mut net = Net::new(1);
    let tessera = net.construct(HEAD, ONE);
    let first = net.call(HEAD, tessera);
    let alone = net.call_with(HEAD, tessera, coroutine);
    let last = net.call(HEAD, tessera);
    net.deliver();
    assert_eq!(net.runs(ONE), [first]);
    net.finish(first, value(""));
    assert_eq!(net.runs(ONE), [alone]);
    net.finish(alone, value(""));
    assert_eq!(net.runs(ONE), [last]);
}

#[test]
fn its_host_knows_that_a_call_has_ended_until_nobody_needs_it() {
    let mut net = Net::new(1);
    let tessera = net.construct(HEAD, ONE);
    let (first, second) = (net.call(HEAD, tessera), net.call(HEAD, tessera));
    net.deliver();
    net.finish(first, value(""));
    let ended = |net: &Net, task| net.machine(ONE).has_ended_here(task);
    assert!(ended(&net, first));
    assert!(!ended(&net, second));
    net.release(HEAD, ObjectId::Task(first));
    net.deliver();
    assert!(!ended(&net, first));
}

#[test]
fn tess_2_retries_come_before_what_was_called_later() {
    let mut net = Net::new(1);
    let tessera = net.construct(HEAD, ONE);
    let again = net.call_with(HEAD, tessera, |submission| submission.call.retries = 2);
    let later = net.call(HEAD, tessera);
    net.deliver();
    for attempt in 0..2 {
        assert_eq!(net.runs(ONE), [again]);
        assert_eq!(net.running[0].1.attempt, attempt);
        net.finish(again, raised());
    }
    net.finish(again, raised());
    assert_eq!(net.failure(again), Some(FailureKind::Raised));
    assert_eq!(net.runs(ONE), [later]);
}

#[test]
fn tess_2_a_concurrent_tessera_runs_whatever_is_ready() {
    let mut net = Net::new(2);
    let other = net.construct(HEAD, TWO);
    let (tessera, construction) = net.begin(HEAD, ONE, |submission| {
        submission.call.construction.concurrent = true;
    });
    net.finish(construction, value(""));
    let made = net.call(HEAD, other);
    let waits = net.call_with(HEAD, tessera, |submission| {
        submission.call.dependencies = [on(made)].into();
    });
    let ready = [
        net.call_with(HEAD, tessera, coroutine),
        net.call_with(HEAD, tessera, coroutine),
    ];
    net.deliver();
    assert_eq!(net.runs(ONE), ready);
    net.finish(made, value(""));
    assert_eq!(net.runs(ONE), [ready[0], ready[1], waits]);
}

#[test]
fn tess_2_a_read_past_the_queue_does_not_wait_for_what_runs() {
    let mut net = Net::new(1);
    let tessera = net.construct(HEAD, ONE);
    let runs = net.call_with(HEAD, tessera, coroutine);
    let waits = net.call(HEAD, tessera);
    let now = net.call_with(HEAD, tessera, |submission| {
        submission.call.kind = CallKind::GetAttributeNow;
    });
    net.deliver();
    assert_eq!(net.runs(ONE), [runs, now]);
    net.finish(runs, value(""));
    assert_eq!(net.runs(ONE), [now, waits]);
}

#[test]
fn tess_3_callers_do_not_wait_for_each_others_arguments() {
    let mut net = Net::new(2);
    let tessera = net.construct(HEAD, ONE);
    net.pass(HEAD, TWO, &[tessera_at(tessera, ONE)]);
    // The other's call is made first and comes last: waiting for it must not keep it from running.
    net.slow(TWO, ONE);
    let theirs = net.call_with(TWO, tessera, |submission| submission.host = Some(ONE));
    net.pass(TWO, HEAD, &[task_of(theirs)]);
    let mine = net.call_with(HEAD, tessera, |submission| {
        submission.call.dependencies = [on(theirs)].into();
    });
    net.deliver();
    assert_eq!(net.runs(ONE), []);
    net.fast(TWO, ONE);
    assert_eq!(net.runs(ONE), [theirs]);
    net.finish(theirs, value("argument"));
    assert_eq!(net.runs(ONE), [mine]);
}

#[test]
fn a_failing_constructor_fails_every_call() {
    let mut net = Net::new(2);
    let (tessera, construction) = net.begin(HEAD, ONE, |_| {});
    net.pass(HEAD, TWO, &[tessera_at(tessera, ONE)]);
    let before = net.call(HEAD, tessera);
    net.deliver();
    net.finish(construction, raised());
    let after = net.call(HEAD, tessera);
    let theirs = net.call_with(TWO, tessera, |submission| submission.host = Some(ONE));
    net.deliver();
    for task in [construction, before, after, theirs] {
        assert_eq!(net.failure(task), Some(FailureKind::Raised));
    }
}

#[test]
fn a_stop_lets_earlier_calls_end_and_fails_later_ones() {
    for concurrent in [false, true] {
        let mut net = Net::new(1);
        let (tessera, construction) = net.begin(HEAD, ONE, |submission| {
            submission.call.construction.concurrent = concurrent;
        });
        net.finish(construction, value(""));
        let before = net.call(HEAD, tessera);
        let stop = net.call_with(HEAD, tessera, |submission| {
            submission.call.kind = CallKind::Stop;
        });
        let after = net.call(HEAD, tessera);
        net.deliver();
        assert_eq!(net.runs(ONE), [before]);
        net.finish(before, value(""));
        assert_eq!(
            net.end(stop),
            Some(&mosaic_core::call::Outcome::Value(
                mosaic_core::payload::Payload::default()
            ))
        );
        assert_eq!(net.failure(after), Some(FailureKind::Stopped));
        assert_eq!(net.dropped, [(ONE, tessera)]);
        net.release(HEAD, ObjectId::Tessera(tessera));
        for task in [construction, before, stop, after] {
            net.release(HEAD, ObjectId::Task(task));
        }
        net.assert_blank();
    }
}

/// The call is on its way from this runtime to itself when nothing else refers to the tessera any more.
#[test]
fn queue_1_a_call_to_an_own_tessera_comes_before_its_end() {
    let mut net = Net::new(0);
    let tessera = net.construct(HEAD, HEAD);
    let (needed, construction) = net.begin_anywhere(HEAD);
    let call = net.call_with(HEAD, tessera, |submission| {
        submission.call.dependencies = [on(construction)].into();
    });
    net.release(HEAD, ObjectId::Tessera(tessera));
    net.join(1);
    net.deliver();
    assert_eq!(net.dropped, []);
    net.finish(construction, value("argument"));
    assert_eq!(net.runs(HEAD), [call]);
    net.finish(call, value("done"));
    assert_eq!(net.end(call), Some(&value("done")));
    assert_eq!(net.dropped, [(HEAD, tessera)]);
    for task in [call, construction] {
        net.release(HEAD, ObjectId::Task(task));
    }
    net.release(HEAD, ObjectId::Tessera(needed));
    net.assert_blank();
}
