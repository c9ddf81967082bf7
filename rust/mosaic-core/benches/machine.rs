//! What one event costs, with nothing and with a million tasks pending: the figures must not differ.
//!
//! `cargo bench -p mosaic-core --bench machine`

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use mosaic_core::call::{Call, CallKind, Construction, Outcome, OutcomePart};
use mosaic_core::event::{Action, Event, Member, Role, Submission};
use mosaic_core::id::{NodeId, ObjectId, RuntimeId, TaskId, TesseraId};
use mosaic_core::machine::{Config, Machine};
use mosaic_core::payload::{Payload, ThinVec};
use mosaic_core::wire::stored::NoStore;
use mosaic_core::wire::{FrameReader, FrameWriter, Limits, Message, RulesMessage};

const HEAD: RuntimeId = RuntimeId::HEAD;
const WORKER: RuntimeId = RuntimeId(1);
const TESSERA: TesseraId = TesseraId {
    owner: HEAD,
    sequence: 1,
};
const OTHER: TesseraId = TesseraId {
    owner: HEAD,
    sequence: 2,
};

fn task(sequence: u64) -> TaskId {
    TaskId {
        owner: HEAD,
        sequence,
    }
}

fn call(task: TaskId, tessera: TesseraId, kind: CallKind) -> Call {
    Call {
        task,
        tessera,
        kind,
        method: "step".into(),
        coroutine: false,
        retries: 0,
        origin: None,
        construction: Construction::default(),
        dependencies: ThinVec::new(),
        arguments: Payload {
            format: 1,
            body: Bytes::from_static(b"\x91\x01\x80"),
            ..Payload::default()
        },
    }
}

fn submission(task: TaskId, tessera: TesseraId, kind: CallKind) -> Event<u64> {
    let call = call(task, tessera, kind);
    let place = Some(WORKER);
    Event::CallSubmitted(Submission {
        handle: task.sequence,
        call: Box::new(call),
        host: None,
        place,
        restarts: 0,
        resends: 0,
    })
}

fn small() -> Outcome {
    Outcome::Value(Payload {
        format: 1,
        body: Bytes::from_static(b"\x01"),
        ..Payload::default()
    })
}

fn worker_member() -> Member {
    Member {
        runtime: WORKER,
        node: NodeId::FIRST,
        uid: "worker:0:1".into(),
        pid: 1,
        role: Role::Worker,
    }
}

/// A head with two tesserae on one worker, and that many calls of the second pending.
fn caller(pending: u64) -> Machine<u64> {
    let mut machine = Machine::new(Config::new(HEAD));
    let mut actions = Vec::new();
    machine.handle(Event::RuntimeJoined(worker_member()), &mut actions);
    for (sequence, tessera) in [(1, TESSERA), (2, OTHER)] {
        machine.handle(
            submission(task(sequence), tessera, CallKind::Construct),
            &mut actions,
        );
        let message = RulesMessage::Completed {
            task: task(sequence),
            part: OutcomePart::WHOLE,
            outcome: small().into(),
        };
        machine.handle(
            Event::MessageReceived {
                from: WORKER,
                message,
            },
            &mut actions,
        );
    }
    for sequence in 0..pending {
        machine.handle(
            submission(task(1 << 32 | sequence), OTHER, CallKind::Method),
            &mut actions,
        );
        actions.clear();
    }
    machine
}

/// A worker that hosts a tessera.
fn callee() -> Machine<u64> {
    let mut machine = Machine::new(Config::new(WORKER));
    let mut actions = Vec::new();
    let message = RulesMessage::Call(Box::new(call(task(1), TESSERA, CallKind::Construct)));
    machine.handle(
        Event::MessageReceived {
            from: HEAD,
            message,
        },
        &mut actions,
    );
    machine.handle(
        Event::CallFinished {
            task: task(1),
            outcome: small().into(),
        },
        &mut actions,
    );
    machine
}

fn caller_side(criterion: &mut Criterion) {
    for pending in [0, 1_000_000] {
        let mut machine = caller(pending);
        let mut actions: Vec<Action<u64>> = Vec::new();
        let mut next = 3;
        criterion.bench_function(
            &format!("submit, settled, released; {pending} pending"),
            |bencher| {
                bencher.iter(|| {
                    let task = task(next);
                    next += 1;
                    machine.handle(submission(task, TESSERA, CallKind::Method), &mut actions);
                    let message = RulesMessage::Completed {
                        task,
                        part: OutcomePart::WHOLE,
                        outcome: small().into(),
                    };
                    machine.handle(
                        Event::MessageReceived {
                            from: WORKER,
                            message,
                        },
                        &mut actions,
                    );
                    machine.handle(Event::Released(ObjectId::Task(task)), &mut actions);
                    if next % 256 == 0 {
                        machine.flush(&mut actions);
                        actions.clear();
                    }
                });
            },
        );
    }
}

fn callee_side(criterion: &mut Criterion) {
    let mut machine = callee();
    let mut actions: Vec<Action<u64>> = Vec::new();
    let mut next = 2;
    criterion.bench_function("received, run, finished, released", |bencher| {
        bencher.iter(|| {
            let task = task(next);
            next += 1;
            let message = RulesMessage::Call(Box::new(call(task, TESSERA, CallKind::Method)));
            machine.handle(
                Event::MessageReceived {
                    from: HEAD,
                    message,
                },
                &mut actions,
            );
            machine.handle(
                Event::CallFinished {
                    task,
                    outcome: small().into(),
                },
                &mut actions,
            );
            let message = RulesMessage::Release(vec![ObjectId::Task(task)]);
            machine.handle(
                Event::MessageReceived {
                    from: HEAD,
                    message,
                },
                &mut actions,
            );
            if next % 256 == 0 {
                actions.clear();
            }
        });
    });
}

fn wire(criterion: &mut Criterion) {
    let call = Box::new(call(task(1), TESSERA, CallKind::Method));
    let message = Message::Rules(RulesMessage::Call(call));
    criterion.bench_function("encode a small call", |bencher| {
        bencher.iter_batched_ref(
            FrameWriter::new,
            |writer| writer.push(black_box(&message), &mut NoStore),
            BatchSize::SmallInput,
        );
    });
    let mut writer = FrameWriter::new();
    assert!(writer.push(&message, &mut NoStore).is_ok());
    let mut slices = [std::io::IoSlice::new(&[]); 1];
    writer.slices(&mut slices);
    let frame = slices[0].to_vec();
    let mut reader = FrameReader::new(Limits::default());
    criterion.bench_function("decode a small call", |bencher| {
        bencher.iter(|| {
            reader.target().extend_from_slice(&frame);
            black_box(reader.next(&mut NoStore))
        });
    });
}

criterion_group!(machine, caller_side, callee_side, wire);
criterion_main!(machine);
