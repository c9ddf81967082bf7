//! Deaths and what follows: `MEM`.

use mosaic_core::call::{CallKind, Dependency, FailureKind, Outcome, OutcomePart};
use mosaic_core::event::{Event, Want};
use mosaic_core::id::{ObjectId, TaskId, TesseraId};

use crate::net::{HEAD, Net, ONE, RuntimeNumber, TWO, on, payload, task_of, tessera_at, value};

#[test]
fn mem_1_a_number_that_died_does_not_come_back() {
    let mut net = Net::new(2);
    net.kill(ONE);
    net.join(1);
    net.deliver();
    assert!(
        net.machine(HEAD)
            .members()
            .all(|member| member.runtime != ONE)
    );
    assert!(
        net.machine(TWO)
            .members()
            .all(|member| member.runtime != ONE)
    );
}

#[test]
fn mem_1_a_newcomer_hears_of_the_dead() {
    let mut net = Net::new(2);
    let tessera = net.construct(HEAD, ONE);
    net.kill(ONE);
    net.join(3);
    net.deliver();
    // It is passed what refers to the dead, and waits for nothing.
    let newcomer = 3.runtime();
    net.pass(HEAD, newcomer, &[tessera_at(tessera, ONE)]);
    let call = net.call_with(newcomer, tessera, |submission| submission.host = Some(ONE));
    net.deliver();
    assert_eq!(net.failure(call), Some(FailureKind::Disconnected));
}

#[test]
fn a_death_settles_everything_with_its_cause() {
    let mut net = Net::with(3, |config| {
        (config.window_calls, config.inline_limit) = (1, 4);
    });
    let tessera = net.construct(HEAD, ONE);
    let stored = net.call(HEAD, tessera);
    net.deliver();
    net.finish(stored, value("a large value"));
    let (sent, held) = (net.call(HEAD, tessera), net.call(HEAD, tessera));
    let other = net.construct(HEAD, TWO);
    let user = net.call_with(HEAD, other, |submission| {
        submission.call.dependencies = [on(sent)].into();
    });
    net.deliver();
    net.kill(ONE);
    for task in [sent, held, user] {
        let Some(Outcome::Failed(failure)) = net.end(task) else {
            panic!("{task:?} ended otherwise")
        };
        assert_eq!(failure.kind, FailureKind::Disconnected);
        assert!(
            failure.message.contains("r1 was killed"),
            "{}",
            failure.message
        );
    }
    let lost = net.want(HEAD, stored, Want::Value);
    assert!(
        matches!(&net.settled[&lost], Outcome::Failed(failure) if failure.message.contains("r1 was killed"))
    );
}

#[test]
fn whoever_waits_for_a_task_of_the_dead_is_told() {
    let mut net = Net::new(2);
    let tessera = net.construct(TWO, ONE);
    let task = net.call(TWO, tessera);
    net.deliver();
    net.pass(TWO, HEAD, &[task_of(task)]);
    let want = net.want(HEAD, task, Want::Value);
    net.kill(TWO);
    assert_eq!(
        crate::net::kind(&net.settled[&want]),
        Some(FailureKind::Disconnected)
    );
    net.finish(task, value("for nobody"));
    net.release(HEAD, ObjectId::Task(task));
    net.assert_blank();
}

#[test]
fn queued_calls_of_the_dead_are_not_started() {
    let mut net = Net::new(2);
    let tessera = net.construct(HEAD, ONE);
    net.pass(HEAD, TWO, &[tessera_at(tessera, ONE)]);
    let runs = net.call_with(HEAD, tessera, |submission| submission.call.coroutine = true);
    net.deliver();
    net.call_with(TWO, tessera, |submission| submission.host = Some(ONE));
    net.deliver();
    net.kill(TWO);
    net.finish(runs, value(""));
    assert_eq!(net.runs(ONE), []);
}

#[test]
fn a_stored_value_whose_owner_died_is_lost_by_its_name() {
    let mut net = Net::new(2);
    let task = TaskId {
        owner: TWO,
        sequence: net.number(),
    };
    let value = payload("kept");
    net.feed(TWO, Event::ValuePut { task, value });
    net.pass(TWO, HEAD, &[task_of(task)]);
    let tessera = net.construct(HEAD, ONE);
    let stored = || Dependency {
        kept: true,
        ..on(task)
    };
    // One call has asked for it when the owner dies, the other has not.
    net.slow(ONE, TWO);
    let before = net.call_with(HEAD, tessera, |submission| {
        submission.call.dependencies = [stored()].into();
    });
    net.deliver();
    net.kill(TWO);
    let after = net.call_with(HEAD, tessera, |submission| {
        submission.call.dependencies = [stored()].into();
    });
    net.deliver();
    for user in [before, after] {
        let Some(Outcome::Failed(failure)) = net.end(user) else {
            panic!("{user:?} ended otherwise")
        };
        assert_eq!(failure.kind, FailureKind::ObjectLost);
        let name = format!("ware-2-{:x}", task.sequence);
        assert!(failure.message.contains(&name), "{}", failure.message);
        assert!(failure.message.contains("r2 was killed"));
    }
}

#[test]
fn a_restartable_tessera_is_built_elsewhere_and_repeatable_calls_are_sent_again_in_order() {
    let mut net = Net::new(2);
    let (tessera, construction) = net.begin(HEAD, ONE, |submission| submission.restarts = 1);
    net.finish(construction, value(""));
    let again = [0; 2].map(|_| net.call_with(HEAD, tessera, |submission| submission.resends = 1));
    let once = net.call(HEAD, tessera);
    net.deliver();
    net.kill(ONE);
    assert_eq!(net.failure(once), Some(FailureKind::Disconnected));
    assert_eq!(net.runs(TWO), [construction]);
    net.finish(construction, value(""));
    assert_eq!(net.runs(TWO), again);
    for task in again {
        net.finish(task, value("done"));
        assert_eq!(net.end(task), Some(&value("done")));
    }
    // It was the only restart.
    net.kill(TWO);
    let late = net.call(HEAD, tessera);
    net.deliver();
    assert_eq!(net.failure(late), Some(FailureKind::Disconnected));
}

#[test]
fn a_restart_brings_the_constructions_arguments_along() {
    let mut net = Net::new(3);
    let helper = net.construct(HEAD, 3.runtime());
    let made = net.call(HEAD, helper);
    net.deliver();
    net.finish(made, value("argument"));
    let (_, construction) = net.begin(HEAD, ONE, |submission| {
        submission.restarts = 1;
        submission.call.dependencies = [on(made)].into();
        submission.call.arguments.references = [tessera_at(helper, 3.runtime())].into();
    });
    net.finish(construction, value(""));
    net.release(HEAD, ObjectId::Task(made));
    net.release(HEAD, ObjectId::Tessera(helper));
    assert!(net.dropped.is_empty());
    net.kill(ONE);
    let again = net
        .running
        .iter()
        .find(|(_, ready)| ready.call.task == construction);
    assert!(again.is_some_and(|(_, ready)| ready.values.len() == 1));
}

#[test]
fn a_holder_finds_the_rebuilt_tessera() {
    let mut net = Net::new(3);
    let (tessera, construction) = net.begin(HEAD, ONE, |submission| submission.restarts = 1);
    net.finish(construction, value(""));
    net.pass(HEAD, TWO, &[tessera_at(tessera, ONE)]);
    let lost = net.call_with(TWO, tessera, |submission| submission.host = Some(ONE));
    net.deliver();
    net.kill(ONE);
    assert_eq!(net.failure(lost), Some(FailureKind::Disconnected));
    net.finish(construction, value(""));
    let call = net.call_with(TWO, tessera, |submission| submission.host = Some(ONE));
    net.deliver();
    net.finish(call, value("found"));
    assert_eq!(net.end(call), Some(&value("found")));
}

#[test]
fn functions_of_the_dead_fail() {
    let mut net = Net::new(1);
    let mut submission = net.submission(HEAD, TesseraId::functions(ONE), CallKind::Function);
    submission.host = Some(ONE);
    let sent = net.submit(submission);
    net.deliver();
    net.kill(ONE);
    assert_eq!(net.failure(sent), Some(FailureKind::Disconnected));
    let late = net.submission(HEAD, TesseraId::functions(ONE), CallKind::Function);
    let late = net.submit(late);
    assert_eq!(net.failure(late), Some(FailureKind::Disconnected));
}

#[test]
fn what_the_dead_still_say_is_not_heard() {
    let mut net = Net::new(2);
    let tessera = net.construct(HEAD, ONE);
    let task = net.call(HEAD, tessera);
    net.deliver();
    net.kill(ONE);
    let message = mosaic_core::wire::RulesMessage::Completed {
        task,
        part: OutcomePart::WHOLE,
        outcome: value("late").into(),
    };
    net.feed(HEAD, Event::MessageReceived { from: ONE, message });
    assert_eq!(net.failure(task), Some(FailureKind::Disconnected));
}
