//! Values of which part does not arrive, and what of them is still counted.

use mosaic_core::call::{FailureKind, Outcome};
use mosaic_core::event::{Event, Want};
use mosaic_core::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use mosaic_core::payload::{Loss, Payload};

use crate::net::{HEAD, Net, ONE, TWO, kind, tessera_at};

const NO_DESCRIPTOR: Loss = Loss::Descriptors {
    length: 1000,
    limit: 64,
};

fn lost(tessera: TesseraId, at: RuntimeId, loss: Loss) -> Payload {
    Payload::lost(1, [tessera_at(tessera, at)].into(), loss)
}

#[test]
fn a_result_without_a_descriptor_stays_at_its_host_until_it_is_asked_for() {
    let mut net = Net::new(2);
    let held = net.construct(ONE, TWO);
    let tessera = net.construct(HEAD, ONE);
    let task = net.call(HEAD, tessera);
    net.deliver();
    net.finish(task, Outcome::Value(lost(held, TWO, NO_DESCRIPTOR)));
    assert!(matches!(
        net.end(task),
        Some(Outcome::Stored {
            host: ONE,
            size: 1000
        })
    ));
    net.release(ONE, ObjectId::Tessera(held));
    assert!(net.dropped.is_empty(), "the result at the host holds it");
    let wanted = net.want(HEAD, task, Want::Value);
    assert_eq!(
        net.settled.get(&wanted).and_then(kind),
        Some(FailureKind::Descriptors)
    );
    net.release(HEAD, ObjectId::Task(task));
    assert_eq!(net.dropped, [(TWO, held)]);
    net.release(HEAD, ObjectId::Tessera(tessera));
    net.assert_blank();
}

#[test]
fn a_result_that_cannot_be_had_fails_its_task_and_leaves_no_reference() {
    let mut net = Net::new(2);
    for (loss, expected) in [
        (Loss::Memory(1 << 60), FailureKind::Memory),
        (Loss::Malformed("body"), FailureKind::Rejected),
    ] {
        let held = net.construct(ONE, TWO);
        let tessera = net.construct(HEAD, ONE);
        let task = net.call(HEAD, tessera);
        net.deliver();
        net.finish(task, Outcome::Value(lost(held, TWO, loss)));
        assert_eq!(net.failure(task), Some(expected));
        net.release(HEAD, ObjectId::Task(task));
        net.release(ONE, ObjectId::Tessera(held));
        assert_eq!(net.dropped.pop(), Some((TWO, held)));
        net.release(HEAD, ObjectId::Tessera(tessera));
        assert_eq!(net.dropped.pop(), Some((ONE, tessera)));
        net.assert_blank();
    }
}

#[test]
fn a_kept_value_that_does_not_arrive_is_lost_for_its_maker_and_all_others() {
    let mut net = Net::new(2);
    let held = net.construct(ONE, TWO);
    let handle = net.number();
    let task = TaskId::kept(HEAD, ONE, handle);
    let value = lost(held, TWO, NO_DESCRIPTOR);
    net.feed(
        ONE,
        Event::RemotePutRequested {
            task,
            value,
            handle,
        },
    );
    net.deliver();
    assert_eq!(
        net.settled.get(&handle).and_then(kind),
        Some(FailureKind::Descriptors)
    );
    let wanted = net.want(ONE, task, Want::Value);
    assert_eq!(
        net.settled.get(&wanted).and_then(kind),
        Some(FailureKind::Descriptors)
    );
    net.release(ONE, ObjectId::Tessera(held));
    assert_eq!(net.dropped, [(TWO, held)]);
    net.release(ONE, ObjectId::Task(task));
    net.assert_blank();
}
