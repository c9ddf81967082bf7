//! The warehouse: `WARE`; functions of one key, and `BARRIER-2`.

use mosaic_core::call::{CallKind, FailureKind, Outcome};
use mosaic_core::event::{Event, Role};
use mosaic_core::id::{NodeId, ObjectId, TesseraId};

use crate::net::{HEAD, Net, ONE, RuntimeNumber, TWO, kind, value};

#[test]
fn ware_1_concurrent_needs_start_one() {
    let mut net = Net::new(2);
    let first = net.want_warehouse(ONE);
    let second = net.want_warehouse(TWO);
    let third = net.want_warehouse(HEAD);
    let (_, construction) = net.begin_in_warehouse(TWO);
    assert_eq!(net.warehouses.len(), 1);
    assert!(net.settled.is_empty());
    net.join_as(3, Role::Warehouse);
    net.deliver();
    for handle in [first, second, third] {
        assert!(matches!(net.settled[&handle], Outcome::Value(_)));
    }
    assert_eq!(net.runs(3.runtime()), [construction]);
    let later = net.want_warehouse(ONE);
    assert!(net.settled.contains_key(&later));
    assert_eq!(net.warehouses.len(), 1);
}

#[test]
fn ware_1_the_next_need_after_its_death_starts_another() {
    let mut net = Net::new(1);
    net.join_as(3, Role::Warehouse);
    net.deliver();
    net.want_warehouse(ONE);
    assert_eq!(net.warehouses.len(), 0);
    net.kill(3.runtime());
    assert_eq!(
        net.warehouses.len(),
        0,
        "nobody needs it before somebody does"
    );
    let (tessera, construction) = net.begin_in_warehouse(ONE);
    assert_eq!(net.warehouses.len(), 1);
    net.join_as(4, Role::Warehouse);
    net.deliver();
    net.finish(construction, value(""));
    assert_eq!(net.machine(ONE).host_of(tessera), Some(4.runtime()));
}

#[test]
fn ware_2_a_start_that_failed_is_told_to_all_and_tried_again() {
    let mut net = Net::new(2);
    let waiting = [net.want_warehouse(ONE), net.want_warehouse(HEAD)];
    let (tessera, construction) = net.begin_in_warehouse(TWO);
    let call = net.call(TWO, tessera);
    let event = Event::WarehouseFailed {
        node: NodeId::FIRST,
        reason: "there is no fuel".into(),
    };
    net.feed(HEAD, event);
    net.deliver();
    for handle in waiting {
        let Outcome::Failed(failure) = &net.settled[&handle] else {
            panic!("it was said to have started")
        };
        assert_eq!(failure.message, "there is no fuel");
    }
    for task in [construction, call] {
        assert_eq!(net.failure(task), Some(FailureKind::Disconnected));
    }
    net.want_warehouse(ONE);
    assert_eq!(net.warehouses.len(), 2);
}

#[test]
fn a_warehouse_gets_no_tesserae_that_are_not_meant_for_it() {
    let mut net = Net::new(1);
    net.join_as(3, Role::Warehouse);
    net.deliver();
    for _ in 0..3 {
        let (_, construction) = net.begin_anywhere(HEAD);
        net.finish(construction, value(""));
    }
    assert!(net.runs(3.runtime()).is_empty());
}

#[test]
fn functions_of_one_key_run_in_order_and_leave_nothing() {
    let mut net = Net::new(2);
    let [first, second] = ["one", "another"].map(|key| TesseraId::keyed(TWO, key));
    let call = |net: &mut Net, at, tessera, coroutine| {
        let mut submission = net.submission(at, tessera, CallKind::Function);
        submission.call.coroutine = coroutine;
        let task = net.submit(submission);
        net.deliver();
        task
    };
    let runs = call(&mut net, ONE, first, true);
    let waits = call(&mut net, HEAD, first, false);
    let beside = call(&mut net, HEAD, second, true);
    assert_eq!(net.runs(TWO), [runs, beside], "a coroutine runs alone");
    net.finish(runs, value("1"));
    assert_eq!(net.runs(TWO), [beside, waits]);
    net.finish(waits, value("2"));
    net.finish(beside, value("3"));
    net.release(ONE, ObjectId::Task(runs));
    net.release(HEAD, ObjectId::Task(waits));
    net.release(HEAD, ObjectId::Task(beside));
    net.assert_blank();
}

#[test]
fn functions_of_a_key_fail_with_their_runtime() {
    let mut net = Net::new(2);
    let tessera = TesseraId::keyed(TWO, "key");
    let submission = net.submission(ONE, tessera, CallKind::Function);
    let sent = net.submit(submission);
    net.deliver();
    net.kill(TWO);
    let submission = net.submission(ONE, tessera, CallKind::Function);
    let late = net.submit(submission);
    for task in [sent, late] {
        assert_eq!(net.failure(task), Some(FailureKind::Disconnected));
        net.release(ONE, ObjectId::Task(task));
    }
    net.assert_blank();
}

#[test]
fn barrier_2_who_has_something_to_do_at_a_barrier_is_known_when_the_fence_has_passed() {
    let mut net = Net::new(2);
    let tessera = net.construct(HEAD, ONE);
    let call = net.call(HEAD, tessera);
    net.deliver();
    let barrier = net.number();
    net.feed(HEAD, Event::BarrierRequested(barrier));
    net.deliver();
    net.feed(ONE, Event::BarrierTaskRegistered);
    net.feed(TWO, Event::BarrierTaskRegistered);
    net.finish(call, value(""));
    assert_eq!(net.settled.get(&barrier).map(kind), Some(None));
    net.kill(TWO);
    let expected = std::iter::once(ONE).collect();
    assert_eq!(net.machine_mut(HEAD).take_barrier_tasks(), expected);
    assert!(net.machine_mut(HEAD).take_barrier_tasks().is_empty());
}
