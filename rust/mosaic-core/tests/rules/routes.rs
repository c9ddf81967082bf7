//! The way to tesserae: `ROUTE`, `PLACE`.

use mosaic_core::call::FailureKind;
use mosaic_core::event::Event;
use mosaic_core::id::ObjectId;

use crate::net::{HEAD, Net, ONE, TWO, on, raised, tessera_at, value};

#[test]
fn route_1_calls_leave_in_order_though_one_waits_for_a_task_that_is_not_sent() {
    let mut net = Net::with(2, |config| config.window_calls = 1);
    let (busy, tessera) = (net.construct(HEAD, ONE), net.construct(HEAD, TWO));
    let (first, held) = (net.call(HEAD, busy), net.call(HEAD, busy));
    let waits = net.call_with(HEAD, tessera, |submission| {
        submission.call.dependencies = [on(held)].into();
    });
    let behind = net.call(HEAD, tessera);
    net.deliver();
    assert_eq!((net.runs(ONE), net.runs(TWO)), (vec![first], vec![]));
    net.finish(first, value(""));
    net.finish(held, value("argument"));
    assert_eq!(net.runs(TWO), [waits]);
    net.finish(waits, value(""));
    assert_eq!(net.runs(TWO), [behind]);
}

#[test]
fn route_2_at_most_a_window_of_calls_or_bytes_is_sent() {
    let mut net = Net::with(1, |config| {
        (config.window_calls, config.window_bytes) = (3, 20);
    });
    let tessera = net.construct(HEAD, ONE);
    let small: Vec<_> = (0..5)
        .map(|_| {
            net.call_with(HEAD, tessera, |submission| {
                submission.call.arguments.body.clear();
            })
        })
        .collect();
    net.deliver();
    assert_eq!(net.runs(ONE), small[..3]);
    for task in small {
        net.finish(task, value(""));
    }
    // Nine bytes each.
    let large: Vec<_> = (0..3).map(|_| net.call(HEAD, tessera)).collect();
    net.deliver();
    assert_eq!(net.runs(ONE), large[..2]);
}

#[test]
fn route_2_the_first_call_goes_however_large() {
    let mut net = Net::with(1, |config| config.window_bytes = 1);
    let tessera = net.construct(HEAD, ONE);
    let (first, second) = (net.call(HEAD, tessera), net.call(HEAD, tessera));
    net.deliver();
    assert_eq!(net.runs(ONE), [first]);
    net.finish(first, value(""));
    assert_eq!(net.runs(ONE), [second]);
}

#[test]
fn early_calls_wait_for_the_construction() {
    let mut net = Net::new(2);
    net.slow(HEAD, ONE);
    let (tessera, construction) = net.begin(HEAD, ONE, |_| {});
    net.pass(HEAD, TWO, &[tessera_at(tessera, ONE)]);
    let early = net.call_with(TWO, tessera, |submission| submission.host = Some(ONE));
    net.deliver();
    assert_eq!(net.runs(ONE), []);
    net.fast(HEAD, ONE);
    assert_eq!(net.runs(ONE), [construction]);
    net.finish(construction, value(""));
    assert_eq!(net.runs(ONE), [early]);
}

#[test]
fn early_calls_fail_if_the_construction_never_comes() {
    let mut net = Net::new(2);
    let busy = net.construct(HEAD, TWO);
    let never = net.call(HEAD, busy);
    net.deliver();
    let (tessera, construction) = net.begin(HEAD, ONE, |submission| {
        submission.call.dependencies = [on(never)].into();
    });
    net.deliver();
    // The construction is at its host and waits; then it is held at its caller.
    net.finish(never, raised());
    let call = net.call(HEAD, tessera);
    net.deliver();
    assert_eq!(net.failure(construction), Some(FailureKind::Raised));
    assert_eq!(net.failure(call), Some(FailureKind::Raised));
    let (tessera, construction) = net.begin(HEAD, ONE, |submission| {
        submission.call.dependencies = [on(never)].into();
    });
    assert_eq!(net.failure(construction), Some(FailureKind::Raised));
    net.pass(HEAD, TWO, &[tessera_at(tessera, ONE)]);
    let early = net.call_with(TWO, tessera, |submission| submission.host = Some(ONE));
    let own = net.call(HEAD, tessera);
    net.deliver();
    assert!(net.failure(early).is_some());
    assert_eq!(net.failure(own), Some(FailureKind::Raised));
}

#[test]
fn place_1_workers_take_turns_and_exhaustion_fails_who_waits() {
    let mut net = Net::new(0);
    let mut submission = net.submission(
        HEAD,
        mosaic_core::id::TesseraId {
            owner: HEAD,
            sequence: 1,
        },
        mosaic_core::call::CallKind::Construct,
    );
    submission.place = None;
    let construction = net.submit(submission);
    let tessera = mosaic_core::id::TesseraId {
        owner: HEAD,
        sequence: 1,
    };
    let call = net.call(HEAD, tessera);
    net.deliver();
    assert_eq!(net.end(construction), None);
    net.feed(HEAD, Event::WorkersExhausted("no worker starts".into()));
    net.deliver();
    assert_eq!(net.failure(construction), Some(FailureKind::Disconnected));
    assert_eq!(net.failure(call), Some(FailureKind::Disconnected));
    // One that joins after all ends the shortage.
    net.join(1);
    net.deliver();
    let (placed, task) = net.begin(HEAD, ONE, |submission| submission.place = None);
    assert_eq!(net.runs(ONE), [task]);
    assert_eq!(net.machine(HEAD).host_of(placed), Some(ONE));
}

#[test]
fn place_1_a_tessera_is_placed_anew_if_the_chosen_worker_died_meanwhile() {
    let mut net = Net::with(2, |config| config.foreign_strategy = config.me == HEAD);
    let (tessera, construction) = net.begin(TWO, ONE, |submission| submission.place = None);
    assert_eq!(net.unplaced, [tessera]);
    net.kill(ONE);
    net.feed(
        HEAD,
        Event::WorkerChosen {
            tessera,
            place: Ok(ONE),
        },
    );
    net.deliver();
    assert_eq!(net.unplaced, [tessera, tessera]);
    net.feed(
        HEAD,
        Event::WorkerChosen {
            tessera,
            place: Ok(TWO),
        },
    );
    net.deliver();
    assert_eq!(net.runs(TWO), [construction]);
}

#[test]
fn a_tessera_whose_proxy_is_gone_still_does_what_it_was_asked_to() {
    let mut net = Net::with(1, |config| config.window_calls = 1);
    let (tessera, construction) = net.begin(HEAD, ONE, |_| {});
    let (first, second) = (net.call(HEAD, tessera), net.call(HEAD, tessera));
    net.release(HEAD, ObjectId::Tessera(tessera));
    for task in [construction, first, second] {
        net.finish(task, value(""));
        net.release(HEAD, ObjectId::Task(task));
    }
    assert_eq!(net.dropped, [(ONE, tessera)]);
    net.assert_blank();
}
