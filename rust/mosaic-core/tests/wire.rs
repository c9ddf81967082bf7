//! Frames: round trips however torn, and bytes that no one of ours wrote.
#![allow(clippy::unwrap_used)]

use std::any::Any;
use std::io::IoSlice;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mosaic_core::call::{
    Call, CallKind, Construction, Dependency, Failure, FailureKind, Outcome, OutcomePart, Slot,
    Source,
};
use mosaic_core::event::{Member, Role};
use mosaic_core::id::{BufferId, NodeId, ObjectId, RuntimeId, TaskId, TesseraId};
use mosaic_core::payload::{Loss, Payload, Reference, Segment, Stored};
use mosaic_core::recount::Recount;
use mosaic_core::wire::stored::{Borrower, Lender, NoStore};
use mosaic_core::wire::{
    EngineMessage, FrameReader, FrameWriter, Limits, Message, PROTOCOL_VERSION, RulesMessage,
    WireError,
};
use proptest::prelude::*;

fn runtime() -> impl Strategy<Value = RuntimeId> {
    prop_oneof![0..5u32, any::<u32>()].prop_map(RuntimeId)
}

fn task() -> impl Strategy<Value = TaskId> {
    (runtime(), any::<u64>()).prop_map(|(owner, sequence)| TaskId { owner, sequence })
}

fn tessera() -> impl Strategy<Value = TesseraId> {
    (runtime(), any::<u64>()).prop_map(|(owner, sequence)| TesseraId { owner, sequence })
}

/// A segment in a store that is known by its number.
#[derive(Debug)]
struct Numbered {
    buffer: BufferId,
    length: u64,
}

impl Stored for Numbered {
    fn reference(&self) -> Reference {
        Reference {
            object: ObjectId::Buffer(self.buffer),
            authority: self.buffer.owner,
        }
    }

    fn node(&self) -> NodeId {
        NodeId(u32::from(self.length == ELSEWHERE))
    }

    fn length(&self) -> u64 {
        self.length
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// The length of a segment that lies on another machine.
const ELSEWHERE: u64 = 77;

/// The store of those.
struct Numbers;

impl Lender for Numbers {
    fn describe(&mut self, segment: &Arc<dyn Stored>, out: &mut BytesMut) -> Result<(), WireError> {
        let ObjectId::Buffer(buffer) = segment.reference().object else {
            return Err(WireError::Malformed("not a buffer"));
        };
        out.extend_from_slice(&buffer.owner.0.to_le_bytes());
        out.extend_from_slice(&buffer.sequence.to_le_bytes());
        out.extend_from_slice(&segment.length().to_le_bytes());
        Ok(())
    }
}

impl Borrower for Numbers {
    fn node(&self) -> NodeId {
        NodeId::FIRST
    }

    fn find(&mut self, description: &[u8]) -> Result<Arc<dyn Stored>, Loss> {
        let malformed = || Loss::Malformed("description");
        let (owner, rest) = description.split_first_chunk::<4>().ok_or_else(malformed)?;
        let (sequence, rest) = rest.split_first_chunk::<8>().ok_or_else(malformed)?;
        let (length, _) = rest.split_first_chunk::<8>().ok_or_else(malformed)?;
        Ok(Arc::new(Numbered {
            buffer: BufferId {
                owner: RuntimeId(u32::from_le_bytes(*owner)),
                sequence: u64::from_le_bytes(*sequence),
            },
            length: u64::from_le_bytes(*length),
        }))
    }
}

fn buffer() -> impl Strategy<Value = BufferId> {
    (runtime(), any::<u64>()).prop_map(|(owner, sequence)| BufferId { owner, sequence })
}

fn segment() -> impl Strategy<Value = Segment> {
    prop_oneof![
        2 => bytes().prop_map(Segment::Bytes),
        1 => (buffer(), any::<u64>().prop_filter("here", |length| *length != ELSEWHERE))
            .prop_map(|(buffer, length)| Segment::Stored(Arc::new(Numbered { buffer, length }))),
    ]
}

fn object() -> impl Strategy<Value = ObjectId> {
    prop_oneof![
        task().prop_map(ObjectId::Task),
        tessera().prop_map(ObjectId::Tessera),
        buffer().prop_map(ObjectId::Buffer)
    ]
}

/// Mostly short, at times around the lengths at which frames are treated differently.
fn bytes() -> impl Strategy<Value = Bytes> {
    let length = prop_oneof![
        8 => 0..40usize,
        2 => 1000..1100usize,
        1 => (16 << 10) - 2..(16 << 10) + 2usize,
        1 => (64 << 10) - 2..(64 << 10) + 2usize,
        1 => 100_000..300_000usize,
    ];
    (length, any::<u8>()).prop_map(|(length, seed)| {
        Bytes::from(
            (0..length)
                .map(|i| seed.wrapping_add((i % 251) as u8))
                .collect::<Vec<_>>(),
        )
    })
}

fn payload() -> impl Strategy<Value = Payload> {
    let reference =
        || (object(), runtime()).prop_map(|(object, authority)| Reference { object, authority });
    let few = |max| prop_oneof![3 => Just(0..1usize), 1 => Just(0..max)];
    let references = few(20).prop_flat_map(move |n| proptest::collection::vec(reference(), n));
    let segments = few(4).prop_flat_map(|n| proptest::collection::vec(segment(), n));
    (any::<u8>(), bytes(), segments, references).prop_map(|(format, body, segments, references)| {
        Payload {
            format,
            body,
            segments: segments.into(),
            references: references.into(),
        }
    })
}

fn failure() -> impl Strategy<Value = Failure> {
    let kind = prop_oneof![
        Just(FailureKind::Raised),
        Just(FailureKind::Cancelled),
        Just(FailureKind::TimedOut),
        Just(FailureKind::Disconnected),
        Just(FailureKind::Stopped),
        Just(FailureKind::ObjectLost),
        Just(FailureKind::Rejected),
        Just(FailureKind::Internal),
        Just(FailureKind::Descriptors),
        Just(FailureKind::Memory),
        Just(FailureKind::ConnectionLost),
    ];
    (
        kind,
        ".{0,20}",
        proptest::collection::vec(".{0,20}", 0..4),
        payload(),
    )
        .prop_map(|(kind, message, context, detail)| Failure {
            kind,
            message,
            context,
            detail,
        })
}

fn outcome() -> impl Strategy<Value = Arc<Outcome>> {
    prop_oneof![
        payload().prop_map(Outcome::Value),
        (runtime(), any::<u64>()).prop_map(|(host, size)| Outcome::Stored { host, size }),
        failure().prop_map(|failure| Outcome::Failed(Box::new(failure))),
    ]
    .prop_map(Arc::new)
}

fn dependency() -> impl Strategy<Value = Dependency> {
    let slot = prop_oneof![
        any::<u16>().prop_map(Slot::Positional),
        ".{0,8}".prop_map(Slot::Keyword),
        Just(Slot::Order)
    ];
    let source = prop_oneof![
        runtime().prop_map(Source::At),
        (any::<u8>(), bytes()).prop_map(|(format, bytes)| Source::Here(format, bytes)),
    ];
    (
        slot,
        task(),
        proptest::collection::vec(any::<u8>(), 0..9),
        any::<bool>(),
        source,
    )
        .prop_map(|(slot, task, part, kept, source)| Dependency {
            slot,
            task,
            part: part.into(),
            kept,
            source,
        })
}

fn call() -> impl Strategy<Value = Call> {
    let kind = prop_oneof![
        Just(CallKind::Construct),
        Just(CallKind::Method),
        Just(CallKind::GetAttribute),
        Just(CallKind::GetAttributeNow),
        Just(CallKind::SetAttribute),
        Just(CallKind::Stop),
        Just(CallKind::Function),
        task().prop_map(CallKind::ResultMethod),
    ];
    let home = prop_oneof![Just(Role::Worker), Just(Role::Warehouse)];
    let flags = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<u32>(),
        any::<u32>().prop_map(NonZeroU32::new),
        home,
    );
    let dependencies = proptest::collection::vec(dependency(), 0..4);
    (
        task(),
        tessera(),
        kind,
        ".{0,12}",
        flags,
        dependencies,
        payload(),
    )
        .prop_map(
            |(
                task,
                tessera,
                kind,
                method,
                (coroutine, concurrent, restartable, retries, origin, home),
                dependencies,
                arguments,
            )| {
                Call {
                    task,
                    tessera,
                    kind,
                    method: Arc::from(method),
                    coroutine,
                    retries,
                    origin,
                    construction: Construction {
                        concurrent,
                        restartable,
                        home,
                    },
                    dependencies: dependencies.into(),
                    arguments,
                }
            },
        )
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Head), Just(Role::Worker), Just(Role::Warehouse)]
}

fn member() -> impl Strategy<Value = Member> {
    let node = any::<u32>().prop_map(NodeId);
    (runtime(), node, ".{0,12}", any::<u32>(), role()).prop_map(
        |(runtime, node, uid, pid, role)| Member {
            runtime,
            node,
            uid,
            pid,
            role,
        },
    )
}

fn recount() -> impl Strategy<Value = Recount> {
    let several = || proptest::collection::vec(object(), 0..30);
    let awaited = proptest::collection::vec((object(), any::<u32>()), 0..30);
    let restartable = proptest::collection::vec(tessera(), 0..30);
    (
        several(),
        restartable,
        awaited,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(held, restartable, awaited, more, asks)| Recount {
            held,
            restartable,
            awaited,
            more,
            asks,
        })
}

fn part() -> impl Strategy<Value = OutcomePart> {
    let any_part = (any::<u32>(), any::<bool>());
    let any_part = any_part.prop_map(|(number, last)| OutcomePart { number, last });
    prop_oneof![3 => Just(OutcomePart::WHOLE), 1 => any_part]
}

fn rules_message() -> impl Strategy<Value = RulesMessage> {
    let place = || prop_oneof![runtime().prop_map(Ok), ".{0,12}".prop_map(Err)];
    prop_oneof![
        4 => call().prop_map(|call| RulesMessage::Call(Box::new(call))),
        4 => (task(), part(), outcome())
            .prop_map(|(task, part, outcome)| RulesMessage::Completed { task, part, outcome }),
        2 => (task(), any::<bool>(), outcome())
            .prop_map(|(task, value, outcome)| RulesMessage::Fetched { task, value, outcome }),
        1 => task().prop_map(RulesMessage::Cancel),
        1 => task().prop_map(RulesMessage::DeliveryProbe),
        1 => task().prop_map(RulesMessage::Delivered),
        1 => (task(), any::<bool>()).prop_map(|(task, value)| RulesMessage::Fetch { task, value }),
        1 => object().prop_map(RulesMessage::RegisterHolder),
        1 => object().prop_map(RulesMessage::HolderRegistered),
        1 => object().prop_map(RulesMessage::Unpin),
        1 => object().prop_map(RulesMessage::RegisterHolderAndUnpin),
        1 => proptest::collection::vec(object(), 0..30).prop_map(RulesMessage::Release),
        1 => recount().prop_map(|recount| RulesMessage::Recount(Box::new(recount))),
        1 => tessera().prop_map(RulesMessage::Freed),
        1 => (tessera(), role()).prop_map(|(tessera, role)| RulesMessage::Place(tessera, role)),
        1 => (tessera(), place()).prop_map(|(tessera, place)| RulesMessage::Placed { tessera, place }),
        1 => tessera().prop_map(RulesMessage::Locate),
        1 => (tessera(), place()).prop_map(|(tessera, place)| RulesMessage::Located { tessera, place }),
        1 => member().prop_map(RulesMessage::Join),
        1 => member().prop_map(RulesMessage::MemberJoined),
        1 => (runtime(), ".{0,12}").prop_map(|(runtime, cause)| RulesMessage::MemberDied { runtime, cause }),
        1 => runtime().prop_map(RulesMessage::Drained),
        1 => runtime().prop_map(RulesMessage::DeathSettled),
        1 => any::<u64>().prop_map(RulesMessage::Barrier),
        1 => any::<u64>().prop_map(RulesMessage::BarrierPassed),
        1 => (task(), payload()).prop_map(|(task, value)| RulesMessage::RemotePut { task, value }),
        1 => Just(RulesMessage::WarehouseRequested),
        1 => ".{0,12}".prop_map(RulesMessage::WarehouseFailed),
        1 => Just(RulesMessage::BarrierTask),
    ]
}

fn engine_message() -> impl Strategy<Value = EngineMessage> {
    prop_oneof![
        1 => prop_oneof![Just(EngineMessage::ReclaimMemory), Just(EngineMessage::MemoryAvailable)],
        1 => (proptest::option::of(".{0,40}"), any::<bool>())
            .prop_map(|(path, traced)| EngineMessage::Profile { path, traced }),
        1 => any::<u64>().prop_map(|grace_ms| EngineMessage::Shutdown { grace_ms }),
        1 => Just(EngineMessage::Ping),
        1 => Just(EngineMessage::Pong),
        1 => (".{0,8}", ".{0,40}").prop_map(|(level, text)| EngineMessage::LogRecord { level, text }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        8 => rules_message().prop_map(Message::Rules),
        1 => engine_message().prop_map(Message::Engine),
    ]
}

fn drain(writer: &mut FrameWriter, step: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while !writer.is_empty() {
        let mut slices = [IoSlice::new(&[]); 3];
        let filled = writer.slices(&mut slices);
        assert!(filled > 0);
        let before = all.len();
        for slice in &slices[..filled] {
            let room = step - (all.len() - before);
            all.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        assert!(all.len() > before);
        writer.advance(all.len() - before);
    }
    all
}

/// Reads as a socket would: never more than the spare capacity, at most `step` at a time.
fn read(bytes: &[u8], step: usize, limits: Limits) -> Result<Vec<Message>, WireError> {
    let mut reader = FrameReader::new(limits);
    let mut messages = Vec::new();
    let mut left = bytes;
    loop {
        while let Some(message) = reader.next(&mut Numbers)? {
            messages.push(message);
        }
        if left.is_empty() {
            return Ok(messages);
        }
        let target: &mut BytesMut = reader.target();
        let room = target.capacity() - target.len();
        assert!(room > 0, "no room to read into");
        let (now, later) = left.split_at(left.len().min(step).min(room));
        target.extend_from_slice(now);
        left = later;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// WIRE-2
    #[test]
    fn wire_2_frames_read_back_however_torn(
        messages in proptest::collection::vec(message(), 1..8),
        out in prop_oneof![1..100usize, Just(1 << 20)],
        step in prop_oneof![13..200usize, 5_000..100_000usize, Just(1 << 20)],
    ) {
        let mut writer = FrameWriter::new();
        for message in &messages {
            writer.push(message, &mut Numbers).unwrap();
        }
        let length = writer.len();
        let bytes = drain(&mut writer, out.max(64));
        prop_assert_eq!(bytes.len(), length);
        prop_assert_eq!(read(&bytes, step, Limits::default()).unwrap(), messages);
    }

    /// WIRE-1
    #[test]
    fn wire_1_garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), step in 1..64usize) {
        let _ = read(&bytes, step, Limits::default());
        let mut framed = vec![PROTOCOL_VERSION];
        framed.extend_from_slice(&bytes);
        let _ = read(&framed, step, Limits::default());
    }

    /// WIRE-1
    #[test]
    fn wire_1_damaged_frames_never_panic(
        message in message(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut writer = FrameWriter::new();
        writer.push(&message, &mut Numbers).unwrap();
        let mut bytes = drain(&mut writer, 1 << 20);
        // Mostly the prefix and the header: that is where lengths and tags are.
        for (index, value) in damage {
            let reach = bytes.len().min(120);
            bytes[index.index(reach)] = value;
        }
        let limits = Limits { payload: 64 << 20, ..Limits::default() };
        let _ = read(&bytes, 1 << 20, limits);
    }
}

/// WIRE-1
#[test]
fn wire_1_lengths_are_checked_before_anything_is_allocated() {
    let frame = |header: u32, body: u64, lengths: &[u64]| {
        let mut bytes = vec![PROTOCOL_VERSION, 1];
        bytes.extend_from_slice(&(lengths.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&header.to_le_bytes());
        bytes.extend_from_slice(&body.to_le_bytes());
        for length in lengths {
            bytes.extend_from_slice(&length.to_le_bytes());
        }
        bytes
    };
    let limits = Limits {
        header: 100,
        segments: 2,
        payload: 1000,
    };
    assert!(matches!(
        read(&frame(101, 0, &[]), 1000, limits),
        Err(WireError::TooLong { .. })
    ));
    // Without a header that says whose they are, lengths beyond the limits are no frame's.
    for bytes in [
        frame(0, 0, &[0, 0, 0]),
        frame(0, 1001, &[]),
        frame(0, 500, &[500, 1]),
        frame(0, 500, &[u64::MAX, u64::MAX]),
    ] {
        assert_eq!(
            read(&bytes, 1000, limits),
            Err(WireError::Malformed("header"))
        );
    }
    let unlimited = Limits {
        payload: u64::MAX,
        ..limits
    };
    assert_eq!(
        read(&frame(0, 1 << 62, &[]), 1000, unlimited),
        Err(WireError::Malformed("header"))
    );
}

fn settled(sequence: u64, payload: Payload) -> Message {
    let owner = RuntimeId(1);
    Message::Rules(RulesMessage::Completed {
        task: TaskId { owner, sequence },
        part: OutcomePart::WHOLE,
        outcome: Outcome::Value(payload).into(),
    })
}

fn written(messages: &[Message]) -> Vec<u8> {
    let mut writer = FrameWriter::new();
    for message in messages {
        writer.push(message, &mut Numbers).unwrap();
    }
    drain(&mut writer, 1 << 30)
}

fn reference(sequence: u64) -> Reference {
    let owner = RuntimeId(3);
    Reference {
        object: ObjectId::Task(TaskId { owner, sequence }),
        authority: owner,
    }
}

/// The payload of the first of two messages, the second of which is to be whole.
fn first_of(messages: Vec<Message>, second: &Message) -> Payload {
    let [first, next] = <[_; 2]>::try_from(messages).unwrap();
    assert_eq!(&next, second, "the next frame is not touched");
    let Message::Rules(RulesMessage::Completed { outcome, .. }) = first else {
        panic!("not what was sent")
    };
    let Outcome::Value(payload) = &*outcome else {
        panic!("not what was sent")
    };
    payload.clone()
}

/// `WIRE-5`
#[test]
fn wire_5_what_is_too_long_is_skipped_and_keeps_its_references() {
    let second = settled(2, Payload::default());
    let long = |body: usize, segments: &[usize]| Payload {
        format: 2,
        body: vec![1; body].into(),
        segments: segments
            .iter()
            .map(|length| Bytes::from(vec![2; *length]).into())
            .collect(),
        references: vec![reference(7), reference(8)].into(),
    };
    let limits = Limits {
        segments: 2,
        payload: 150_000,
        ..Limits::default()
    };
    for payload in [
        long(200_000, &[]),
        long(10, &[100_000, 100_000]),
        long(10, &[1, 1, 1]),
    ] {
        let bytes = written(&[settled(1, payload.clone()), second.clone()]);
        for step in [1000, 1 << 20] {
            let read = first_of(read(&bytes, step, limits).unwrap(), &second);
            assert!(matches!(read.loss(), Some(Loss::TooLong { .. })));
            assert_eq!(read.references, payload.references);
            assert!(read.body.is_empty());
        }
    }
}

/// `WIRE-5`
#[test]
fn wire_5_a_segment_for_which_there_is_no_memory_costs_its_value() {
    let payload = Payload {
        references: vec![reference(7)].into(),
        segments: [Bytes::from_static(b"abc").into()].into(),
        ..Payload::default()
    };
    let bytes = written(&[settled(1, payload)]);
    // The length of the segment, behind the prefix, as no machine has it.
    let mut bytes = bytes[..bytes.len() - 3].to_vec();
    bytes[16..24].copy_from_slice(&(1u64 << 62).to_le_bytes());
    let unlimited = Limits {
        payload: u64::MAX,
        ..Limits::default()
    };
    // It goes on being skipped: the connection is not given up for it.
    assert_eq!(read(&bytes, 1000, unlimited), Ok(vec![]));
    bytes.resize(bytes.len() + 100_000, 0);
    assert_eq!(read(&bytes, 1000, unlimited), Ok(vec![]));
}

/// A store that has none of what is described, and counts how often it is asked.
#[derive(Default)]
struct Empty(usize);

impl Borrower for Empty {
    fn node(&self) -> NodeId {
        NodeId::FIRST
    }

    fn find(&mut self, _: &[u8]) -> Result<Arc<dyn Stored>, Loss> {
        self.0 += 1;
        let (length, limit) = (5, 64);
        Err(Loss::Descriptors { length, limit })
    }
}

/// `WIRE-5`
#[test]
fn wire_5_stored_segments_that_cannot_be_had_cost_their_values() {
    let buffer = BufferId {
        owner: RuntimeId(3),
        sequence: 9,
    };
    let stored = || Segment::Stored(Arc::new(Numbered { buffer, length: 5 }));
    let payload = Payload {
        segments: [stored(), Bytes::from_static(b"abc").into(), stored()].into(),
        references: vec![reference(7)].into(),
        ..Payload::default()
    };
    let second = settled(2, Payload::default());
    let bytes = written(&[settled(1, payload.clone()), second.clone()]);
    let (mut reader, mut store) = (FrameReader::new(Limits::default()), Empty::default());
    reader.target().extend_from_slice(&bytes);
    let messages: Vec<_> = std::iter::from_fn(|| reader.next(&mut store).unwrap()).collect();
    let lost = first_of(messages, &second);
    assert_eq!(
        store.0, 2,
        "each is asked for, that their files are accounted for"
    );
    let (length, limit) = (5, 64);
    assert_eq!(lost.loss(), Some(&Loss::Descriptors { length, limit }));
    assert_eq!(lost.references, payload.references);
    // What is lost here cannot be passed on.
    let mut writer = FrameWriter::new();
    let error = writer.push(&settled(3, lost), &mut Numbers).unwrap_err();
    assert!(matches!(error, WireError::Lost(_)));
    assert!(writer.is_empty());
}

/// `WIRE-5`
#[test]
fn wire_5_a_body_that_makes_no_sense_costs_its_call() {
    let call = Call {
        task: TaskId {
            owner: RuntimeId(1),
            sequence: 1,
        },
        tessera: TesseraId {
            owner: RuntimeId(1),
            sequence: 2,
        },
        kind: CallKind::Method,
        method: Arc::from("step"),
        coroutine: false,
        retries: 0,
        origin: None,
        construction: Construction::default(),
        dependencies: [Dependency {
            slot: Slot::Positional(0),
            task: TaskId {
                owner: RuntimeId(1),
                sequence: 3,
            },
            part: Bytes::new(),
            kept: false,
            source: Source::At(RuntimeId(2)),
        }]
        .into(),
        arguments: Payload {
            references: vec![reference(7)].into(),
            body: Bytes::from_static(b"arguments"),
            ..Payload::default()
        },
    };
    let second = settled(2, Payload::default());
    let bytes = written(&[RulesMessage::Call(Box::new(call)).into(), second.clone()]);
    let header = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    let body = 16 + header;
    // The kind of object of the reference; the block of dependencies behind it.
    for (place, references) in [(body, 0), (body + 17, 1)] {
        let mut bytes = bytes.clone();
        bytes[place] = 0xc1;
        let messages = read(&bytes, 1 << 20, Limits::default()).unwrap();
        let [Message::Rules(RulesMessage::Call(call)), next] =
            <[_; 2]>::try_from(messages).unwrap()
        else {
            panic!("not what was sent")
        };
        assert_eq!(next, second);
        assert!(matches!(call.arguments.loss(), Some(Loss::Malformed(_))));
        assert_eq!(call.arguments.references.len(), references);
        assert!(call.dependencies.is_empty());
    }
    // A header that makes no sense is nobody's.
    let mut bytes = bytes;
    bytes[16] = 0xc1;
    assert!(read(&bytes, 1 << 20, Limits::default()).is_err());
}

/// WIRE-3
#[test]
fn wire_3_large_segments_are_not_copied_out_and_are_alone_on_their_way_in() {
    let segment = Bytes::from(vec![7u8; 1 << 20]);
    let payload = Payload {
        segments: [segment.clone().into(), segment.clone().into()].into(),
        ..Payload::default()
    };
    let task = TaskId {
        owner: RuntimeId(1),
        sequence: 1,
    };
    let mut writer = FrameWriter::new();
    writer
        .push(
            &Message::Rules(RulesMessage::Completed {
                task,
                part: OutcomePart::WHOLE,
                outcome: Outcome::Value(payload).into(),
            }),
            &mut NoStore,
        )
        .unwrap();
    let mut slices = [IoSlice::new(&[]); 8];
    let filled = writer.slices(&mut slices);
    assert_eq!(
        slices[..filled]
            .iter()
            .filter(|slice| slice.as_ptr() == segment.as_ptr())
            .count(),
        2
    );

    let bytes = drain(&mut writer, 1 << 30);
    let messages = read(&bytes, 50_000, Limits::default()).unwrap();
    let [Message::Rules(RulesMessage::Completed { outcome, .. })] =
        <[_; 1]>::try_from(messages).unwrap()
    else {
        panic!("not what was sent")
    };
    let Ok(Outcome::Value(payload)) = Arc::try_unwrap(outcome) else {
        panic!("not what was sent, or not ours alone")
    };
    for segment in payload.segments {
        let Segment::Bytes(segment) = segment else {
            panic!("not what was sent")
        };
        assert!(segment.is_unique());
        let at = segment.as_ptr();
        let owned = Vec::from(segment);
        assert_eq!(owned.as_ptr(), at);
        assert_eq!(owned.len(), 1 << 20);
    }
}

#[test]
fn too_many_segments_are_refused_by_the_writer() {
    let payload = Payload {
        segments: vec![Bytes::new().into(); 5000].into(),
        ..Payload::default()
    };
    let task = TaskId {
        owner: RuntimeId(1),
        sequence: 1,
    };
    let mut writer = FrameWriter::new();
    assert!(
        writer
            .push(
                &Message::Rules(RulesMessage::Completed {
                    task,
                    part: OutcomePart::WHOLE,
                    outcome: Outcome::Value(payload).into()
                }),
                &mut NoStore
            )
            .is_err()
    );
    assert!(writer.is_empty());
}

/// `WIRE-4`
#[test]
fn wire_4_a_stored_segment_costs_its_description_whatever_its_length() {
    let stored = |length| {
        let buffer = BufferId {
            owner: RuntimeId(3),
            sequence: 9,
        };
        let mut writer = FrameWriter::new();
        let payload = Payload {
            segments: [Segment::Stored(Arc::new(Numbered { buffer, length }))].into(),
            ..Payload::default()
        };
        let outcome = Outcome::Value(payload);
        let task = TaskId {
            owner: RuntimeId(1),
            sequence: 1,
        };
        let message = Message::Rules(RulesMessage::Completed {
            task,
            part: OutcomePart::WHOLE,
            outcome: outcome.into(),
        });
        writer.push(&message, &mut Numbers).unwrap();
        drain(&mut writer, 1 << 30)
    };
    let (short, long) = (stored(1), stored(1 << 40));
    assert_eq!(short.len(), long.len());
    assert!(long.len() < 100);
    // Where nothing is known of a store, none is believed.
    let mut reader = FrameReader::new(Limits::default());
    reader.target().extend_from_slice(&long);
    let message = reader.next(&mut NoStore).unwrap();
    let Some(Message::Rules(RulesMessage::Completed { outcome, .. })) = message else {
        panic!("not what was sent")
    };
    let Outcome::Value(payload) = &*outcome else {
        panic!("not what was sent")
    };
    assert!(matches!(payload.loss(), Some(Loss::Malformed(_))));
}

/// `WIRE-6`
#[test]
fn wire_6_a_segment_on_another_machine_is_lost_and_no_store_is_asked() {
    let stored = |length| {
        let buffer = BufferId {
            owner: RuntimeId(3),
            sequence: 9,
        };
        Segment::Stored(Arc::new(Numbered { buffer, length }))
    };
    let payload = Payload {
        segments: [stored(ELSEWHERE)].into(),
        references: vec![reference(7)].into(),
        ..Payload::default()
    };
    let bytes = written(&[settled(1, payload), settled(2, Payload::default())]);
    let mut reader = FrameReader::new(Limits::default());
    reader.target().extend_from_slice(&bytes);
    let mut store = Empty::default();
    let messages = [(); 2].map(|()| reader.next(&mut store).unwrap().unwrap());
    let payload = first_of(messages.into(), &settled(2, Payload::default()));
    assert_eq!(
        payload.loss(),
        Some(&Loss::Malformed("a buffer in a store of another machine"))
    );
    assert_eq!(payload.references.len(), 1);
    assert_eq!(store.0, 0);
}
