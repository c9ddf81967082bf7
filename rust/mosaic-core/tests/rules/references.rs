//! Who holds what: `REF`.

use mosaic_core::call::{Failure, FailureKind, Outcome};
use mosaic_core::event::{Event, Want};
use mosaic_core::id::{ObjectId, TesseraId};

use crate::net::{HEAD, Net, ONE, THREE, TWO, on, payload, task_of, tessera_at, value};

#[test]
fn ref_1_a_tessera_lives_while_a_message_on_its_way_refers_to_it() {
    let mut net = Net::new(2);
    let tessera = net.construct(HEAD, ONE);
    net.slow(HEAD, TWO);
    let mut submission = net.submission(
        HEAD,
        TesseraId::functions(TWO),
        mosaic_core::call::CallKind::Function,
    );
    submission.call.arguments.references = [tessera_at(tessera, ONE)].into();
    let task = net.submit(submission);
    net.release(HEAD, ObjectId::Tessera(tessera));
    assert!(net.dropped.is_empty());
    net.fast(HEAD, TWO);
    net.feed(TWO, Event::Retained(tessera_at(tessera, ONE)));
    net.finish(task, value(""));
    assert!(net.dropped.is_empty());
    net.release(TWO, ObjectId::Tessera(tessera));
    assert_eq!(net.dropped, [(ONE, tessera)]);
}

#[test]
fn ref_1_a_tessera_lives_while_a_stored_value_refers_to_it() {
    let mut net = Net::new(2);
    let tessera = net.construct(HEAD, ONE);
    let task = mosaic_core::id::TaskId {
        owner: HEAD,
        sequence: net.number(),
    };
    let mut kept = payload("kept");
    kept.references = [tessera_at(tessera, ONE)].into();
    net.feed(HEAD, Event::ValuePut { task, value: kept });
    net.release(HEAD, ObjectId::Tessera(tessera));
    net.pass(HEAD, TWO, &[task_of(task)]);
    net.release(HEAD, ObjectId::Task(task));
    assert!(net.dropped.is_empty());
    let want = net.want(TWO, task, Want::Value);
    assert!(matches!(&net.settled[&want], Outcome::Value(value) if value.references.len() == 1));
    net.feed(TWO, Event::Retained(tessera_at(tessera, ONE)));
    net.release(TWO, ObjectId::Task(task));
    assert!(net.dropped.is_empty());
    net.release(TWO, ObjectId::Tessera(tessera));
    assert_eq!(net.dropped, [(ONE, tessera)]);
}

#[test]
fn ref_1_a_tessera_lives_while_an_exception_refers_to_it() {
    let mut net = Net::new(2);
    let callee = net.construct(HEAD, ONE);
    let tessera = net.construct(ONE, ONE);
    let task = net.call(HEAD, callee);
    let dependant = net.construct(HEAD, TWO);
    let later = net.call_with(HEAD, dependant, |submission| {
        submission.call.dependencies = [on(task)].into();
    });
    let mut failure = Failure::new(FailureKind::Raised, "it raised");
    failure.detail.references = [tessera_at(tessera, ONE)].into();
    net.finish(task, Outcome::Failed(failure));
    net.release(ONE, ObjectId::Tessera(tessera));
    net.release(HEAD, ObjectId::Task(task));
    assert!(net.dropped.is_empty());
    // The call that depends on it has failed by the same exception.
    assert_eq!(net.failure(later), Some(FailureKind::Raised));
    assert!(matches!(net.end(later), Some(outcome) if outcome.references().len() == 1));
    net.release(HEAD, ObjectId::Task(later));
    assert_eq!(net.dropped, [(ONE, tessera)]);
}

#[test]
fn ref_2_letting_go_and_taking_hold_in_one_batch_leaves_one_hold() {
    let mut net = Net::new(2);
    let tessera = net.construct(HEAD, ONE);
    net.pass(HEAD, TWO, &[tessera_at(tessera, ONE)]);
    let machine =
        &mut mosaic_core::machine::Machine::<u64>::new(mosaic_core::machine::Config::new(THREE));
    let mut actions = Vec::new();
    let reference = tessera_at(tessera, ONE);
    machine.handle(Event::Retained(reference), &mut actions);
    let acknowledged = mosaic_core::wire::RulesMessage::HolderRegistered(reference.object);
    machine.handle(
        Event::MessageReceived {
            from: ONE,
            message: acknowledged,
        },
        &mut actions,
    );
    actions.clear();
    machine.handle(Event::Released(reference.object), &mut actions);
    machine.handle(Event::Retained(reference), &mut actions);
    machine.flush(&mut actions);
    let sent: Vec<_> = actions.iter().map(|action| format!("{action:?}")).collect();
    assert_eq!(sent.len(), 2);
    assert!(
        sent[0].contains("Release") && sent[1].contains("Hold"),
        "{sent:?}"
    );
}

#[test]
fn ref_3_what_the_dead_held_goes_when_all_have_drained() {
    let mut net = Net::new(3);
    let tessera = net.construct(HEAD, ONE);
    net.pass(HEAD, TWO, &[tessera_at(tessera, ONE)]);
    // The second passes it on, and dies while the third has not registered.
    net.slow(THREE, ONE);
    net.pass(TWO, THREE, &[tessera_at(tessera, ONE)]);
    net.release(HEAD, ObjectId::Tessera(tessera));
    net.kill(TWO);
    assert!(net.dropped.is_empty(), "the dead still haunts it");
    net.fast(THREE, ONE);
    assert!(net.dropped.is_empty(), "the third holds it");
    net.release(THREE, ObjectId::Tessera(tessera));
    assert_eq!(net.dropped, [(ONE, tessera)]);
}

#[test]
fn ref_3_a_tessera_of_a_dead_owner_goes() {
    let mut net = Net::new(2);
    let tessera = net.construct(TWO, ONE);
    net.kill(TWO);
    assert_eq!(net.dropped, [(ONE, tessera)]);
    net.assert_blank();
}

#[test]
fn ref_4_holders_of_a_rebuilt_tessera_are_counted_by_its_next_host() {
    let mut net = Net::new(3);
    let (tessera, construction) = net.begin(HEAD, ONE, |submission| submission.restarts = 1);
    net.finish(construction, value(""));
    net.pass(HEAD, TWO, &[tessera_at(tessera, ONE)]);
    // Nobody but the second holds it.
    net.release(HEAD, ObjectId::Tessera(tessera));
    net.release(HEAD, ObjectId::Task(construction));
    net.kill(ONE);
    let Some(host) = [TWO, THREE]
        .into_iter()
        .find(|host| net.runs(*host) == [construction])
    else {
        panic!("it is not built again")
    };
    net.finish(construction, value(""));
    assert!(net.dropped.is_empty());
    let call = net.call_with(TWO, tessera, |submission| submission.host = Some(ONE));
    net.deliver();
    net.finish(call, value("alive"));
    assert_eq!(net.end(call), Some(&value("alive")));
    net.release(TWO, ObjectId::Tessera(tessera));
    assert_eq!(net.dropped, [(host, tessera)]);
    net.release(TWO, ObjectId::Task(call));
    net.assert_blank();
}

#[test]
fn ref_4_a_tessera_that_nobody_holds_is_not_built_again() {
    let mut net = Net::new(2);
    let (tessera, construction) = net.begin(HEAD, ONE, |submission| submission.restarts = 1);
    net.finish(construction, value(""));
    // The news that it was freed is lost with its host.
    net.slow(ONE, HEAD);
    net.release(HEAD, ObjectId::Task(construction));
    net.release(HEAD, ObjectId::Tessera(tessera));
    net.kill(ONE);
    assert_eq!(net.runs(TWO), []);
    net.assert_blank();
}
