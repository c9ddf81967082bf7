//! Connections that are lost between two runtimes that live: `LINK`.

use mosaic_core::call::FailureKind;
use mosaic_core::event::{Event, Want};
use mosaic_core::id::{BufferId, ObjectId};
use mosaic_core::payload::Reference;

use crate::net::{HEAD, Net, ONE, TWO, value};

#[test]
fn link_1_calls_in_flight_fail_and_what_comes_later_runs() {
    let mut net = Net::new(2);
    let tessera = net.construct(ONE, TWO);
    let coroutine = |submission: &mut mosaic_core::event::Submission<u64>| {
        submission.call.coroutine = true;
        submission.resends = 1;
    };
    let (running, waiting) = (
        net.call_with(ONE, tessera, coroutine),
        net.call_with(ONE, tessera, coroutine),
    );
    net.deliver();
    net.slow(ONE, TWO);
    let lost = net.call(ONE, tessera);
    assert_eq!(net.runs(TWO), [running]);
    net.cut(ONE, TWO);
    for task in [running, waiting, lost] {
        assert_eq!(net.failure(task), Some(FailureKind::ConnectionLost));
    }
    assert_eq!(net.prevented, [running], "if it has not begun");
    net.fast(ONE, TWO);
    let later = net.call(ONE, tessera);
    net.deliver();
    // It waits for the one that runs, whose end nobody hears of; the other two never start.
    net.finish(running, value("too late"));
    assert_eq!(net.runs(TWO), [later]);
    net.finish(later, value("done"));
    assert_eq!(net.failure(later), None);
    for task in [running, waiting, lost, later] {
        net.release(ONE, ObjectId::Task(task));
    }
    net.release(ONE, ObjectId::Tessera(tessera));
    assert_eq!(net.dropped, [(TWO, tessera)]);
    net.assert_blank();
}

/// The net's own check: who hears of the loss at one end may do at once what the other's calls wait for.
#[test]
fn link_1_what_has_not_begun_is_prevented_before_anybody_hears_of_the_loss() {
    let mut net = Net::new(2);
    let [on_one, on_two] = [net.construct(TWO, ONE), net.construct(ONE, TWO)];
    let calls = [net.call(ONE, on_two), net.call(TWO, on_one)];
    net.deliver();
    net.cut(ONE, TWO);
    for call in calls {
        assert_eq!(net.failure(call), Some(FailureKind::ConnectionLost));
    }
    net.prevented.sort_unstable();
    assert_eq!(net.prevented, calls);
}

#[test]
fn link_1_a_tessera_whose_construction_was_on_its_way_is_given_up() {
    let mut net = Net::new(2);
    let (tessera, construction) = net.begin(ONE, TWO, |submission| submission.restarts = 2);
    net.cut(ONE, TWO);
    assert_eq!(net.failure(construction), Some(FailureKind::ConnectionLost));
    let call = net.call(ONE, tessera);
    assert_eq!(net.failure(call), Some(FailureKind::ConnectionLost));
    net.finish(construction, value(""));
    assert_eq!(net.dropped, [(TWO, tessera)]);
    net.release(ONE, ObjectId::Task(construction));
    net.release(ONE, ObjectId::Task(call));
    net.release(ONE, ObjectId::Tessera(tessera));
    net.assert_blank();
}

#[test]
fn link_2_what_is_fetched_is_asked_for_again() {
    let mut net = Net::with(2, |config| config.inline_limit = 4);
    let tessera = net.construct(ONE, TWO);
    let task = net.call(ONE, tessera);
    net.deliver();
    net.finish(task, value("a large value"));
    for lost in [(ONE, TWO), (TWO, ONE)] {
        // The question is lost, or the answer.
        net.slow(lost.0, lost.1);
        let handle = net.want(ONE, task, Want::Value);
        net.cut(ONE, TWO);
        net.fast(lost.0, lost.1);
        assert_eq!(net.settled[&handle], value("a large value"));
    }
}

#[test]
fn link_2_a_barrier_passes() {
    let mut net = Net::new(2);
    let tessera = net.construct(TWO, TWO);
    let task = net.call(TWO, tessera);
    net.deliver();
    let barrier = net.number();
    net.feed(ONE, Event::BarrierRequested(barrier));
    net.deliver();
    net.slow(TWO, ONE);
    net.finish(task, value(""));
    net.cut(ONE, TWO);
    assert!(!net.settled.contains_key(&barrier));
    net.fast(TWO, ONE);
    assert!(net.settled.contains_key(&barrier));
}

#[test]
fn link_3_a_reference_in_a_lost_message_is_held_until_both_agree() {
    for arrives in [false, true] {
        let mut net = Net::new(3);
        // Its holders are counted by a third.
        let tessera = net.construct(ONE, HEAD);
        net.slow(HEAD, TWO);
        net.slow(TWO, HEAD);
        if !arrives {
            net.slow(ONE, TWO);
        }
        let buffer = BufferId {
            owner: ONE,
            sequence: 1,
        };
        let references = [
            Reference {
                object: ObjectId::Tessera(tessera),
                authority: HEAD,
            },
            Reference {
                object: ObjectId::Buffer(buffer),
                authority: ONE,
            },
        ];
        let on_two = mosaic_core::id::TesseraId::functions(TWO);
        let mut submission = net.submission(ONE, on_two, mosaic_core::call::CallKind::Function);
        submission.call.arguments.references = references.into();
        let call = net.submit(submission);
        net.deliver();
        net.release(ONE, ObjectId::Tessera(tessera));
        if arrives {
            // The program there keeps them.
            for reference in references {
                net.feed(TWO, Event::Retained(reference));
            }
        }
        net.slow(TWO, ONE);
        net.cut(ONE, TWO);
        assert_eq!(net.dropped, [], "nobody knows whether it has come");
        assert_eq!(net.returned, []);
        net.fast(ONE, TWO);
        net.fast(TWO, ONE);
        if arrives {
            assert_eq!(net.dropped, [], "it is not registered yet");
            net.fast(TWO, HEAD);
            net.fast(HEAD, TWO);
            assert_eq!(net.dropped, []);
            net.finish(call, value(""));
            for reference in references {
                net.release(TWO, reference.object);
            }
        }
        net.fast(TWO, HEAD);
        net.fast(HEAD, TWO);
        assert_eq!(net.dropped, [(HEAD, tessera)]);
        assert_eq!(net.returned.last(), Some(&buffer));
        net.release(ONE, ObjectId::Task(call));
        net.assert_blank();
    }
}

#[test]
fn link_3_only_one_end_had_the_connection() {
    let mut net = Net::new(2);
    let tessera = net.construct(ONE, ONE);
    net.slow(TWO, ONE);
    let call = net.call_with(TWO, tessera, |submission| submission.host = Some(ONE));
    net.lose(TWO, ONE);
    net.feed(
        TWO,
        Event::LinkLost {
            peer: ONE,
            cause: "lost".into(),
        },
    );
    net.fast(TWO, ONE);
    assert_eq!(net.failure(call), Some(FailureKind::ConnectionLost));
    net.release(TWO, ObjectId::Task(call));
    net.release(ONE, ObjectId::Tessera(tessera));
    net.assert_blank();
}
