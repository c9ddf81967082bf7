//! How often a call allocates in the rules: a call that needs more is slower, whatever the clock of a busy machine says.
#![allow(unsafe_code)] // the counting allocator

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use mosaic_core::call::{Call, CallKind, Construction, Outcome, OutcomePart};
use mosaic_core::event::{Event, Submission};
use mosaic_core::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use mosaic_core::machine::{Config, Machine};
use mosaic_core::payload::{Payload, ThinVec};
use mosaic_core::wire::RulesMessage;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every method passes its arguments on to the system's allocator; the count allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const HEAD: RuntimeId = RuntimeId::HEAD;
const WORKER: RuntimeId = RuntimeId(1);
const TESSERA: TesseraId = TesseraId {
    owner: HEAD,
    sequence: 1,
};
const CALLS: u64 = 4096;

fn task(sequence: u64) -> TaskId {
    TaskId {
        owner: HEAD,
        sequence,
    }
}

fn call(task: TaskId, kind: CallKind) -> Box<Call> {
    Box::new(Call {
        task,
        tessera: TESSERA,
        kind,
        method: "step".into(),
        coroutine: false,
        retries: 0,
        origin: None,
        construction: Construction::default(),
        dependencies: ThinVec::new(),
        arguments: Payload::default(),
    })
}

fn submission(task: TaskId, kind: CallKind) -> Event<u64> {
    Event::CallSubmitted(Submission {
        handle: task.sequence,
        call: call(task, kind),
        host: None,
        place: Some(WORKER),
        restarts: 0,
        resends: 0,
    })
}

fn outcome() -> Outcome {
    Outcome::Value(Payload {
        format: 1,
        body: Bytes::from_static(b"\x01"),
        ..Payload::default()
    })
}

fn message(from: RuntimeId, message: RulesMessage) -> Event<u64> {
    Event::MessageReceived { from, message }
}

fn completed(task: TaskId) -> Event<u64> {
    let outcome = outcome().into();
    message(
        WORKER,
        RulesMessage::Completed {
            task,
            part: OutcomePart::WHOLE,
            outcome,
        },
    )
}

/// Allocations while a machine handles the events of [`CALLS`] calls, its tables being warm.
fn allocations(machine: &mut Machine<u64>, events: impl Fn(u64) -> Vec<Event<u64>>) -> u64 {
    let mut actions = Vec::with_capacity(16 * CALLS as usize);
    let mut counted = 0;
    for round in 0..2 {
        let calls = (0..CALLS).flat_map(|number| events(2 + round * CALLS + number));
        let calls: Vec<_> = calls.collect();
        let before = ALLOCATIONS.with(Cell::get);
        for event in calls {
            machine.handle(event, &mut actions);
        }
        counted = ALLOCATIONS.with(Cell::get) - before;
        machine.flush(&mut actions);
        actions.clear();
    }
    counted
}

#[test]
fn a_call_allocates_one_record_at_its_caller() {
    let mut machine = Machine::new(Config::new(HEAD));
    let mut actions = Vec::new();
    machine.handle(submission(task(1), CallKind::Construct), &mut actions);
    machine.handle(completed(task(1)), &mut actions);
    let counted = allocations(&mut machine, |number| {
        let task = task(number);
        vec![
            submission(task, CallKind::Method),
            completed(task),
            Event::Released(ObjectId::Task(task)),
        ]
    });
    // The record of the task; the list of releases grows now and then.
    assert!(
        counted < CALLS + CALLS / 100,
        "{counted} allocations of {CALLS} calls"
    );
}

#[test]
fn a_call_allocates_nothing_at_its_host() {
    let mut machine = Machine::new(Config::new(WORKER));
    let mut actions = Vec::new();
    let construct = RulesMessage::Call(call(task(1), CallKind::Construct));
    machine.handle(message(HEAD, construct), &mut actions);
    let finished = |task| Event::CallFinished {
        task,
        outcome: outcome().into(),
    };
    machine.handle(finished(task(1)), &mut actions);
    let counted = allocations(&mut machine, |number| {
        let task = task(number);
        let release = RulesMessage::Release(vec![ObjectId::Task(task)]);
        vec![
            message(HEAD, RulesMessage::Call(call(task, CallKind::Method))),
            finished(task),
            message(HEAD, release),
        ]
    });
    assert_eq!(counted, 0, "allocations of {CALLS} calls");
}
