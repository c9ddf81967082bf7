//! Values that the head keeps for others: `KEEP`.

use mosaic_core::call::{FailureKind, Outcome};
use mosaic_core::event::{Event, Want};
use mosaic_core::id::{ObjectId, RuntimeId, TaskId};

use crate::net::{HEAD, Net, ONE, TWO, kind, payload, task_of, tessera_at, value};

/// A worker gives a value to keep; returns its name, and what is settled when it is kept.
fn keep(net: &mut Net, maker: RuntimeId) -> (TaskId, u64) {
    let handle = net.number();
    let task = TaskId::kept(HEAD, maker, handle);
    let value = payload("kept");
    net.feed(
        maker,
        Event::RemotePutRequested {
            task,
            value,
            handle,
        },
    );
    (task, handle)
}

#[test]
fn put_1_a_value_outlives_its_maker_as_long_as_somebody_holds_it() {
    let mut net = Net::new(2);
    let (task, handle) = keep(&mut net, ONE);
    net.deliver();
    assert!(matches!(
        net.settled[&handle],
        Outcome::Stored {
            host: HEAD,
            size: 4
        }
    ));
    net.pass(ONE, TWO, &[task_of(task)]);
    net.kill(ONE);
    let wanted = net.want(TWO, task, Want::Value);
    assert_eq!(net.settled[&wanted], value("kept"));
    net.release(TWO, ObjectId::Task(task));
    net.assert_blank();
}

#[test]
fn put_1_a_value_goes_with_its_last_holder() {
    let mut net = Net::new(1);
    let (task, _) = keep(&mut net, ONE);
    net.deliver();
    assert_eq!(net.machine(HEAD).snapshot().values.stored.len(), 1);
    net.release(ONE, ObjectId::Task(task));
    net.assert_blank();
    let (_, handle) = keep(&mut net, ONE);
    net.deliver();
    assert!(net.settled.contains_key(&handle));
    net.kill(ONE);
    net.assert_blank();
}

#[test]
fn put_1_what_a_value_refers_to_lives_with_it() {
    let mut net = Net::new(2);
    let tessera = net.construct(ONE, TWO);
    let handle = net.number();
    let task = TaskId::kept(HEAD, ONE, handle);
    let mut value = payload("refers");
    value.references = [tessera_at(tessera, TWO)].into();
    net.feed(
        ONE,
        Event::RemotePutRequested {
            task,
            value,
            handle,
        },
    );
    net.release(ONE, ObjectId::Tessera(tessera));
    assert!(net.dropped.is_empty());
    net.release(ONE, ObjectId::Task(task));
    assert_eq!(net.dropped, [(TWO, tessera)]);
    net.assert_blank();
}

#[test]
fn put_2_what_is_asked_for_early_waits_for_the_value() {
    let mut net = Net::new(2);
    net.slow(ONE, HEAD);
    let (task, _) = keep(&mut net, ONE);
    net.pass(ONE, TWO, &[task_of(task)]);
    let wanted = net.want(TWO, task, Want::Value);
    assert!(!net.settled.contains_key(&wanted));
    net.fast(ONE, HEAD);
    assert_eq!(net.settled[&wanted], value("kept"));
}

#[test]
fn put_2_what_is_asked_for_early_ends_with_its_maker() {
    let mut net = Net::new(2);
    net.slow(ONE, HEAD);
    let (task, _) = keep(&mut net, ONE);
    net.pass(ONE, TWO, &[task_of(task)]);
    let wanted = net.want(TWO, task, Want::Value);
    net.kill(ONE);
    assert_eq!(
        net.settled.get(&wanted).and_then(kind),
        Some(FailureKind::Disconnected)
    );
    net.release(TWO, ObjectId::Task(task));
    net.assert_blank();
}

#[test]
fn put_2_what_was_let_go_of_is_not_waited_for() {
    let mut net = Net::new(2);
    let (task, _) = keep(&mut net, ONE);
    net.deliver();
    net.release(ONE, ObjectId::Task(task));
    for at in [TWO, ONE] {
        let wanted = net.want(at, task, Want::Value);
        assert_eq!(
            net.settled.get(&wanted).and_then(kind),
            Some(FailureKind::ObjectLost)
        );
    }
}

#[test]
fn put_2_a_value_that_was_dropped_early_is_dropped_when_it_comes() {
    let mut net = Net::new(2);
    net.slow(ONE, HEAD);
    let (task, _) = keep(&mut net, ONE);
    net.pass(ONE, TWO, &[task_of(task)]);
    net.feed(TWO, Event::ValueDropped(task));
    net.deliver();
    net.fast(ONE, HEAD);
    let wanted = net.want(ONE, task, Want::Value);
    assert_eq!(
        net.settled.get(&wanted).and_then(kind),
        Some(FailureKind::ObjectLost)
    );
    net.release(ONE, ObjectId::Task(task));
    net.release(TWO, ObjectId::Task(task));
    net.assert_blank();
}
