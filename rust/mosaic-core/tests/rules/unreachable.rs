//! Runtimes that cannot be reached: a closed connection settles nothing. `MEM-2`, `UNKNOWN-1`, `PLACE-2`.

use mosaic_core::call::FailureKind;
use mosaic_core::event::{Event, Want};
use mosaic_core::id::ObjectId;
use mosaic_core::membership::Status;

use crate::net::{HEAD, Net, ONE, TWO, value};

#[test]
fn mem_2_a_call_to_an_unreachable_host_waits_and_runs_once_it_is_reached() {
    let mut net = Net::new(1);
    let tessera = net.construct(HEAD, ONE);
    net.feed(HEAD, Event::RuntimeUnreachable(ONE));
    assert_eq!(net.machine(HEAD).status(ONE), Status::Unknown);
    assert!(!net.machine(HEAD).is_dead(ONE));
    let call = net.call(HEAD, tessera);
    net.deliver();
    assert_eq!(net.runs(ONE), []);
    assert_eq!(net.end(call), None);
    assert_eq!(net.machine(HEAD).snapshot().waiting.len(), 1);
    net.feed(HEAD, Event::RuntimeReachable(ONE));
    net.deliver();
    assert_eq!(net.machine(HEAD).status(ONE), Status::Alive);
    assert_eq!(net.runs(ONE), [call]);
    net.finish(call, value("done"));
    assert_eq!(net.end(call), Some(&value("done")));
    net.release(HEAD, ObjectId::Task(call));
    net.release(HEAD, ObjectId::Tessera(tessera));
    net.assert_blank();
}

#[test]
fn unknown_1_messages_that_waited_arrive_in_the_order_in_which_they_were_sent() {
    let mut net = Net::new(1);
    let tessera = net.construct(HEAD, ONE);
    net.feed(HEAD, Event::RuntimeUnreachable(ONE));
    let calls = [
        net.call(HEAD, tessera),
        net.call(HEAD, tessera),
        net.call(HEAD, tessera),
    ];
    net.feed(HEAD, Event::RuntimeReachable(ONE));
    net.deliver();
    assert_eq!(net.runs(ONE), calls);
}

#[test]
fn mem_2_a_fetch_from_an_unreachable_runtime_is_not_given_up() {
    let mut net = Net::with(1, |config| config.inline_limit = 4);
    let tessera = net.construct(HEAD, ONE);
    let task = net.call(HEAD, tessera);
    net.deliver();
    net.finish(task, value("a large value"));
    net.feed(HEAD, Event::RuntimeUnreachable(ONE));
    let handle = net.want(HEAD, task, Want::Value);
    assert!(!net.settled.contains_key(&handle));
    net.feed(HEAD, Event::RuntimeReachable(ONE));
    net.deliver();
    assert_eq!(net.settled[&handle], value("a large value"));
}

#[test]
fn mem_2_only_the_report_of_the_death_fails_what_waits() {
    let mut net = Net::new(2);
    let tessera = net.construct(TWO, ONE);
    for at in [HEAD, TWO] {
        net.feed(at, Event::RuntimeUnreachable(ONE));
    }
    let call = net.call(TWO, tessera);
    net.deliver();
    assert_eq!(net.end(call), None);
    net.kill(ONE);
    assert_eq!(net.failure(call), Some(FailureKind::Disconnected));
    assert!(matches!(net.machine(TWO).status(ONE), Status::Dead(_)));
    net.release(TWO, ObjectId::Task(call));
    net.release(TWO, ObjectId::Tessera(tessera));
    net.assert_blank();
}

#[test]
fn unknown_1_messages_that_wait_are_lost_with_the_connection() {
    let mut net = Net::new(2);
    let tessera = net.construct(ONE, TWO);
    net.feed(ONE, Event::RuntimeUnreachable(TWO));
    let call = net.call(ONE, tessera);
    net.cut(ONE, TWO);
    assert_eq!(net.machine(ONE).status(TWO), Status::Alive);
    assert_eq!(net.failure(call), Some(FailureKind::ConnectionLost));
    net.deliver();
    assert_eq!(net.runs(TWO), []);
    net.release(ONE, ObjectId::Task(call));
    net.release(ONE, ObjectId::Tessera(tessera));
    net.assert_blank();
}

#[test]
fn place_2_an_unreachable_worker_gets_no_tessera() {
    let mut net = Net::new(2);
    net.feed(HEAD, Event::RuntimeUnreachable(ONE));
    for _ in 0..3 {
        let (tessera, construction) = net.begin_anywhere(HEAD);
        assert_eq!(net.machine(HEAD).host_of(tessera), Some(TWO));
        net.finish(construction, value(""));
    }
    net.feed(HEAD, Event::RuntimeUnreachable(TWO));
    let (tessera, _) = net.begin_anywhere(HEAD);
    assert!(net.machine(HEAD).is_unplaced(tessera));
    net.feed(HEAD, Event::RuntimeReachable(ONE));
    net.deliver();
    assert_eq!(net.machine(HEAD).host_of(tessera), Some(ONE));
}

#[test]
fn barrier_1_a_barrier_waits_for_an_unreachable_member() {
    let mut net = Net::new(1);
    net.feed(HEAD, Event::RuntimeUnreachable(ONE));
    let barrier = net.number();
    net.feed(HEAD, Event::BarrierRequested(barrier));
    net.deliver();
    assert!(!net.settled.contains_key(&barrier));
    net.feed(HEAD, Event::RuntimeReachable(ONE));
    net.deliver();
    assert!(net.settled.contains_key(&barrier));
}

#[test]
fn mem_3_a_death_is_not_settled_while_a_member_is_unreachable() {
    let mut net = Net::new(2);
    let tessera = net.construct(ONE, TWO);
    net.feed(HEAD, Event::RuntimeUnreachable(TWO));
    net.kill(ONE);
    assert_eq!(net.dropped, [], "the host may know of a holder");
    net.feed(HEAD, Event::RuntimeReachable(TWO));
    net.deliver();
    assert_eq!(net.dropped, [(TWO, tessera)]);
}

/// `WARE-1`
#[test]
fn ware_1_each_machine_has_a_warehouse_of_its_own() {
    use mosaic_core::event::Role;
    use mosaic_core::id::NodeId;

    let mut net = Net::new(0);
    net.join_on(1, Role::Worker, NodeId(1));
    net.join_on(2, Role::Worker, NodeId(2));
    net.deliver();
    let handles = [net.want_warehouse(ONE), net.want_warehouse(TWO)];
    assert_eq!(net.warehouses, [NodeId(1), NodeId(2)]);
    net.join_on(3, Role::Warehouse, NodeId(2));
    net.deliver();
    assert!(!net.settled.contains_key(&handles[0]));
    assert!(net.settled.contains_key(&handles[1]));
}

/// `REF-6`: a reference to a tessera of this runtime's own comes back after its last handle went.
#[test]
fn ref_6_an_own_tessera_that_comes_back_is_counted_by_its_host() {
    let mut net = Net::new(2);
    let tessera = net.construct(ONE, TWO);
    let reference = crate::net::tessera_at(tessera, TWO);
    net.pass(ONE, HEAD, &[reference]);
    net.release(ONE, ObjectId::Tessera(tessera));
    assert_eq!(
        net.machine(TWO).holders_of(ObjectId::Tessera(tessera)),
        [HEAD]
    );
    net.pass(HEAD, ONE, &[reference]);
    net.release(HEAD, ObjectId::Tessera(tessera));
    assert_eq!(
        net.machine(TWO).holders_of(ObjectId::Tessera(tessera)),
        [ONE]
    );
    net.release(ONE, ObjectId::Tessera(tessera));
    assert_eq!(net.dropped, [(TWO, tessera)]);
    net.assert_blank();
}
