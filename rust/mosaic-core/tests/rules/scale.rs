//! Long queues and chains: no recursion, and no event that costs more the more is pending.

use mosaic_core::call::{Call, CallKind, Construction, FailureKind, Outcome, OutcomePart};
use mosaic_core::event::{Action, Event, Role, Submission};
use mosaic_core::id::{NodeId, ObjectId, RuntimeId, TaskId, TesseraId};
use mosaic_core::machine::{Config, Machine};
use mosaic_core::payload::{Payload, Reference, ThinVec};
use mosaic_core::wire::stored::NoStore;
use mosaic_core::wire::{FrameWriter, RulesMessage};

use crate::net::{HEAD, ONE, TWO, on, raised};

const MANY: u64 = 1_000_000;
const CHAIN: u64 = 300_000;

fn task(sequence: u64) -> TaskId {
    TaskId {
        owner: HEAD,
        sequence,
    }
}

fn submit(task: TaskId, tessera: TesseraId, kind: CallKind) -> Submission<u64> {
    let call = Call {
        task,
        tessera,
        kind,
        method: "step".into(),
        coroutine: false,
        retries: 0,
        origin: None,
        construction: Construction::default(),
        dependencies: ThinVec::new(),
        arguments: Payload::default(),
    };
    Submission {
        handle: task.sequence,
        call: Box::new(call),
        host: None,
        place: Some(ONE),
        restarts: 0,
        resends: 0,
    }
}

fn head_with_a_worker(actions: &mut Vec<Action<u64>>) -> Machine<u64> {
    let mut machine = Machine::new(Config::new(HEAD));
    let member = mosaic_core::event::Member {
        runtime: ONE,
        node: NodeId::FIRST,
        uid: "one".into(),
        pid: 1,
        role: Role::Worker,
    };
    machine.handle(Event::RuntimeJoined(member), actions);
    machine
}

fn settled(actions: &[Action<u64>]) -> usize {
    actions
        .iter()
        .filter(|action| matches!(action, Action::Complete { .. }))
        .count()
}

/// Each on a tessera of its own: a chain of calls, each of which needs the result of the one before it.
#[test]
fn a_million_held_calls_in_a_chain_end_without_a_deep_stack() {
    let mut actions = Vec::new();
    let mut machine = head_with_a_worker(&mut actions);
    let tesserae = [1, 2].map(|sequence| TesseraId {
        owner: HEAD,
        sequence,
    });
    for (tessera, sequence) in tesserae.into_iter().zip(1..) {
        machine.handle(
            Event::CallSubmitted(submit(task(sequence), tessera, CallKind::Construct)),
            &mut actions,
        );
    }
    for sequence in 3..MANY {
        let mut submission = submit(
            task(sequence),
            tesserae[(sequence % 2) as usize],
            CallKind::Method,
        );
        submission.call.dependencies = [on(task(sequence - 1))].into();
        machine.handle(Event::CallSubmitted(submission), &mut actions);
    }
    actions.clear();
    machine.handle(
        Event::RuntimeDied {
            runtime: ONE,
            cause: "killed".into(),
        },
        &mut actions,
    );
    assert_eq!(settled(&actions), MANY as usize - 1);
}

#[test]
fn a_million_calls_to_a_lost_tessera_end_without_a_deep_stack() {
    let mut actions = Vec::new();
    let mut machine = head_with_a_worker(&mut actions);
    let tessera = TesseraId {
        owner: HEAD,
        sequence: 1,
    };
    machine.handle(
        Event::CallSubmitted(submit(task(1), tessera, CallKind::Construct)),
        &mut actions,
    );
    for sequence in 2..=MANY {
        let submission = submit(task(sequence), tessera, CallKind::Method);
        machine.handle(Event::CallSubmitted(submission), &mut actions);
    }
    actions.clear();
    machine.handle(
        Event::RuntimeDied {
            runtime: ONE,
            cause: "killed".into(),
        },
        &mut actions,
    );
    assert_eq!(settled(&actions), MANY as usize);
}

/// On the callee's side: the first of a chain of calls fails, and so does each that waited for the one before.
#[test]
fn a_chain_that_fails_where_it_waits_takes_no_stack() {
    let mut actions = Vec::new();
    let mut machine = Machine::<u64>::new(Config::new(HEAD));
    let functions = TesseraId::functions(HEAD);
    let many = MANY / 8;
    for sequence in 1..=many {
        let mut submission = submit(task(sequence), functions, CallKind::Function);
        submission.host = Some(HEAD);
        if sequence > 1 {
            submission.call.dependencies = [on(task(sequence - 1))].into();
        }
        machine.handle(Event::CallSubmitted(submission), &mut actions);
    }
    actions.clear();
    machine.handle(
        Event::CallFinished {
            task: task(1),
            outcome: raised().into(),
        },
        &mut actions,
    );
    assert_eq!(settled(&actions), many as usize);
    let Some(Action::Complete { outcome, .. }) = actions.last() else {
        panic!("something else happened last")
    };
    let Outcome::Failed(failure) = &**outcome else {
        panic!("the last call ended otherwise")
    };
    assert_eq!(failure.kind, FailureKind::Raised);
    assert!(failure.context.len() <= 16);
}

/// Values that refer to each other, like a list: letting go of the first lets go of all.
#[test]
fn a_long_chain_of_references_takes_no_stack() {
    let mut actions = Vec::new();
    let mut machine = Machine::<u64>::new(Config::new(HEAD));
    for sequence in 1..=CHAIN {
        let mut value = Payload::default();
        if sequence > 1 {
            value.references = [Reference {
                object: ObjectId::Task(task(sequence - 1)),
                authority: HEAD,
            }]
            .into();
        }
        machine.handle(
            Event::ValuePut {
                task: task(sequence),
                value,
            },
            &mut actions,
        );
    }
    for sequence in 1..CHAIN {
        machine.handle(
            Event::Released(ObjectId::Task(task(sequence))),
            &mut actions,
        );
    }
    assert_eq!(machine.snapshot().values.stored.len(), CHAIN as usize);
    machine.handle(Event::Released(ObjectId::Task(task(CHAIN))), &mut actions);
    assert_eq!(machine.snapshot().values.stored.len(), 0);
}

/// What counts is that no event looks at all that is pending: a thousand dependants of a thousand tasks each
/// end in a moment, a quadratic rule would take minutes.
#[test]
fn a_wide_fan_of_blocked_routes_is_looked_at_once_each() {
    let mut actions = Vec::new();
    let mut machine = head_with_a_worker(&mut actions);
    let unplaced = TesseraId {
        owner: HEAD,
        sequence: 1,
    };
    let mut construction = submit(task(1), unplaced, CallKind::Construct);
    construction.call.dependencies = ThinVec::new();
    construction.place = Some(RuntimeId(9));
    machine.handle(Event::CallSubmitted(construction), &mut actions);
    for sequence in 2..200_000 {
        let tessera = TesseraId {
            owner: HEAD,
            sequence: sequence % 100 + 2,
        };
        let mut submission = submit(task(sequence), tessera, CallKind::Method);
        submission.host = Some(ONE);
        submission.call.dependencies = [on(task(1))].into();
        machine.handle(Event::CallSubmitted(submission), &mut actions);
    }
    assert!(actions.len() < 1_000_000);
}

/// What is let go of at once is told in messages of bounded size.
#[test]
fn a_hundred_thousand_releases_fit_into_their_frames() {
    const RELEASED: u64 = 100_000;
    let mut actions = Vec::new();
    let mut machine = head_with_a_worker(&mut actions);
    let functions = TesseraId::functions(ONE);
    for sequence in 1..=RELEASED {
        let submission = submit(task(sequence), functions, CallKind::Function);
        machine.handle(Event::CallSubmitted(submission), &mut actions);
        let message = RulesMessage::Completed {
            task: task(sequence),
            part: OutcomePart::WHOLE,
            outcome: Outcome::Value(Payload::default()).into(),
        };
        let settled = Event::MessageReceived { from: ONE, message };
        machine.handle(settled, &mut actions);
        machine.handle(
            Event::Released(ObjectId::Task(task(sequence))),
            &mut actions,
        );
    }
    actions.clear();
    machine.flush(&mut actions);
    let mut released = 0;
    for action in &actions {
        if let Action::Send { message, .. } = action
            && let RulesMessage::Release(objects) = message
        {
            released += objects.len();
            let mut writer = FrameWriter::new();
            writer
                .push(&message.clone().into(), &mut NoStore)
                .expect("it fits");
        }
    }
    assert_eq!(released, RELEASED as usize);
    assert!(machine.snapshot().is_blank());
}

/// What a death costs is not the number of tesserae times that of tasks.
#[test]
fn many_tesserae_that_are_built_again_take_their_calls_along() {
    const TESSERAE: u64 = 100_000;
    let mut actions = Vec::new();
    let mut machine = head_with_a_worker(&mut actions);
    for sequence in 1..=TESSERAE {
        let tessera = TesseraId {
            owner: HEAD,
            sequence,
        };
        for (number, kind) in [(2, CallKind::Construct), (3, CallKind::Method)] {
            let mut submission = submit(task(2 * sequence + number), tessera, kind);
            submission.call.construction.restartable = kind == CallKind::Construct;
            submission.restarts = 1;
            submission.resends = 1;
            machine.handle(Event::CallSubmitted(submission), &mut actions);
        }
    }
    actions.clear();
    machine.handle(
        Event::RuntimeDied {
            runtime: ONE,
            cause: "it was killed".into(),
        },
        &mut actions,
    );
    assert_eq!(settled(&actions), 0, "all wait for the next worker");
    actions.clear();
    let member = mosaic_core::event::Member {
        runtime: TWO,
        node: NodeId::FIRST,
        uid: "two".into(),
        pid: 2,
        role: Role::Worker,
    };
    machine.handle(Event::RuntimeJoined(member), &mut actions);
    let calls = actions.iter().filter(|action| {
        matches!(
            action,
            Action::Send {
                to: TWO,
                message: RulesMessage::Call(_)
            }
        )
    });
    assert_eq!(calls.count() as u64, 2 * TESSERAE);
}
