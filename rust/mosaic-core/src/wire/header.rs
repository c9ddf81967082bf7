//! Messages as header and body: what stands where, in which order.
//!
//! Headers are flat msgpack arrays of integers and short texts: enums are written as numbers, because
//! names would make the two hot messages (a call and its end) several times longer.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::{Message, WireError};
use crate::call::{
    Call, CallKind, Construction, Dependency, Failure, FailureKind, Outcome, Slot, Source,
};
use crate::event::Role;
use crate::id::{BufferId, ObjectId, RuntimeId, TaskId, TesseraId};
use crate::payload::{Payload, Reference, Segment};

/// Bytes of one reference in the body.
const REFERENCE: usize = 17;
/// Longest line of a failure that travels, in bytes; what is longer is cut.
const LONGEST_TEXT: usize = 128 << 10;
/// Longest line of a failure's context that travels, in bytes.
const LONGEST_CONTEXT: usize = 4 << 10;
/// Most lines of a failure's context that travel.
const MOST_CONTEXT: usize = 64;
/// Payloads shorter than this are copied out of the read buffer: a result that is kept for hours must
/// not keep 64 KiB of the connection's buffer with it, and the buffer can be used again.
pub(super) const COPY_BELOW: usize = 1 << 10;

const CALL: u8 = 1;
const SETTLED: u8 = 2;
const CANCEL: u8 = 3;
const FETCH: u8 = 4;
const FETCHED: u8 = 5;
const HOLD: u8 = 6;
const HOLD_ACKNOWLEDGED: u8 = 7;
const UNPIN: u8 = 8;
const RELEASE: u8 = 9;
const FREED: u8 = 10;
const PLACE: u8 = 11;
const PLACED: u8 = 12;
const LOCATE: u8 = 13;
const LOCATED: u8 = 14;
const JOIN: u8 = 15;
const MEMBER_JOINED: u8 = 16;
const MEMBER_DIED: u8 = 17;
const DRAINED: u8 = 18;
const DEATH_SETTLED: u8 = 19;
const FENCE: u8 = 20;
const FENCE_PASSED: u8 = 21;
const SHUTDOWN: u8 = 22;
const PING: u8 = 23;
const PONG: u8 = 24;
const DISCARD: u8 = 25;
const NOTE: u8 = 26;
const RECEIVED: u8 = 27;
const SQUEEZE: u8 = 28;
const ROOM: u8 = 29;
const PROBE: u8 = 30;
const ARRIVED: u8 = 31;
const KEEP: u8 = 32;
const WAREHOUSE_WANTED: u8 = 33;
const WAREHOUSE_FAILED: u8 = 34;
const BARRIER_TASK: u8 = 35;
const PROFILE: u8 = 36;

const VALUE: u8 = 0x40;
const STORED: u8 = 0x80;
const FAILED: u8 = 0xC0;
const VARIANT: u8 = 0xC0;

/// The payload that travels with a message.
pub(super) fn payload_of(message: &Message) -> Option<&Payload> {
    match message {
        Message::Call(call) => Some(&call.arguments),
        Message::Keep { value, .. } => Some(value),
        Message::Settled { outcome, .. } | Message::Fetched { outcome, .. } => match &**outcome {
            Outcome::Value(payload) => Some(payload),
            Outcome::Stored { .. } => None,
            Outcome::Failed(failure) => Some(&failure.detail),
        },
        _ => None,
    }
}

/// The dependencies that travel with a message.
pub(super) fn dependencies_of(message: &Message) -> &[Dependency] {
    match message {
        Message::Call(call) => &call.dependencies,
        _ => &[],
    }
}

fn write<T: Serialize>(out: &mut BytesMut, value: &T) -> Result<(), WireError> {
    rmp_serde::encode::write(&mut out.writer(), value)
        .map_err(|_| WireError::Malformed("header cannot be written"))
}

fn read<'a, T: Deserialize<'a>>(header: &'a [u8]) -> Result<T, WireError> {
    rmp_serde::from_slice(header).map_err(|_| WireError::Malformed("header"))
}

fn cut(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    let end = (0..=most)
        .rev()
        .find(|&end| text.is_char_boundary(end))
        .unwrap_or(0);
    &text[..end]
}

fn split_object(object: ObjectId) -> (u8, u32, u64) {
    match object {
        ObjectId::Tessera(id) => (0, id.owner.0, id.sequence),
        ObjectId::Task(id) => (1, id.owner.0, id.sequence),
        ObjectId::Buffer(id) => (2, id.owner.0, id.sequence),
    }
}

fn join_object((tag, owner, sequence): (u8, u32, u64)) -> Result<ObjectId, WireError> {
    let owner = RuntimeId(owner);
    match tag {
        0 => Ok(ObjectId::Tessera(TesseraId { owner, sequence })),
        1 => Ok(ObjectId::Task(TaskId { owner, sequence })),
        2 => Ok(ObjectId::Buffer(BufferId { owner, sequence })),
        _ => Err(WireError::Malformed("kind of object")),
    }
}

/// A place, or the reason why there is none.
type Place<'a> = (Option<u32>, &'a str);

fn split_place(place: &Result<RuntimeId, String>) -> Place<'_> {
    match place {
        Ok(runtime) => (Some(runtime.0), ""),
        Err(reason) => (None, cut(reason, LONGEST_TEXT)),
    }
}

fn join_place((runtime, reason): Place<'_>) -> Result<RuntimeId, String> {
    runtime.map(RuntimeId).ok_or_else(|| reason.to_owned())
}

fn split_kind(kind: CallKind) -> (u8, TaskId) {
    let none = TaskId {
        owner: RuntimeId(0),
        sequence: 0,
    };
    match kind {
        CallKind::Construct => (0, none),
        CallKind::Method => (1, none),
        CallKind::GetAttribute => (2, none),
        CallKind::GetAttributeNow => (3, none),
        CallKind::SetAttribute => (4, none),
        CallKind::Stop => (5, none),
        CallKind::Function => (6, none),
        CallKind::ResultMethod(task) => (7, task),
    }
}

fn join_kind(tag: u8, owner: u32, sequence: u64) -> Result<CallKind, WireError> {
    Ok(match tag {
        0 => CallKind::Construct,
        1 => CallKind::Method,
        2 => CallKind::GetAttribute,
        3 => CallKind::GetAttributeNow,
        4 => CallKind::SetAttribute,
        5 => CallKind::Stop,
        6 => CallKind::Function,
        7 => CallKind::ResultMethod(TaskId {
            owner: RuntimeId(owner),
            sequence,
        }),
        _ => return Err(WireError::Malformed("kind of call")),
    })
}

fn split_failure(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::Raised => 0,
        FailureKind::Cancelled => 1,
        FailureKind::TimedOut => 2,
        FailureKind::Disconnected => 3,
        FailureKind::Stopped => 4,
        FailureKind::ObjectLost => 5,
        FailureKind::Rejected => 6,
        FailureKind::Internal => 7,
    }
}

fn join_failure(tag: u8) -> Result<FailureKind, WireError> {
    Ok(match tag {
        0 => FailureKind::Raised,
        1 => FailureKind::Cancelled,
        2 => FailureKind::TimedOut,
        3 => FailureKind::Disconnected,
        4 => FailureKind::Stopped,
        5 => FailureKind::ObjectLost,
        6 => FailureKind::Rejected,
        7 => FailureKind::Internal,
        _ => return Err(WireError::Malformed("kind of failure")),
    })
}

/// task, tessera (owner and number each), kind, flags, retries, task of a result method, method, length
/// of the dependencies' block, format, number of references.
type CallHeader<'a> = (
    u32,
    u64,
    u32,
    u64,
    u8,
    u8,
    u32,
    u32,
    u64,
    &'a str,
    u64,
    u8,
    u32,
);
/// task, value wanted, format, number of references.
type ValueHeader = (u32, u64, bool, u8, u32);
/// task, format, number of references.
type KeepHeader = (u32, u64, u8, u32);
/// task, value wanted, host, size.
type StoredHeader = (u32, u64, bool, u32, u64);
/// task, value wanted, kind, message, context, format, number of references.
type FailedHeader<'a> = (u32, u64, bool, u8, &'a str, Vec<&'a str>, u8, u32);
/// slot (tag and whether the value was put, index, name), task, part, source (tag, host or format, length of its value).
type DependencyRow<'a> = (u8, u16, &'a str, u32, u64, Bytes, u8, u32, u64);

/// Beside the tag of a dependency's slot: the value was put.
const KEPT: u8 = 0x80;

const COROUTINE: u8 = 1;
const CONCURRENT: u8 = 2;
const RESTARTABLE: u8 = 4;
const IN_WAREHOUSE: u8 = 8;

fn split_role(role: Role) -> u8 {
    match role {
        Role::Head => 0,
        Role::Worker => 1,
        Role::Warehouse => 2,
    }
}

fn join_role(tag: u8) -> Result<Role, WireError> {
    Ok(match tag {
        0 => Role::Head,
        1 => Role::Worker,
        2 => Role::Warehouse,
        _ => return Err(WireError::Malformed("role")),
    })
}

/// Appends the header of a message; returns its kind. `block` is the length of its dependencies' block.
pub(super) fn encode(message: &Message, block: usize, out: &mut BytesMut) -> Result<u8, WireError> {
    let task = |out: &mut BytesMut, id: &TaskId| write(out, &(id.owner.0, id.sequence));
    let tessera = |out: &mut BytesMut, id: &TesseraId| write(out, &(id.owner.0, id.sequence));
    let object = |out: &mut BytesMut, id: &ObjectId| write(out, &split_object(*id));
    let kind = match message {
        Message::Call(call) => {
            let (kind, result) = split_kind(call.kind);
            let flags = (u8::from(call.coroutine) * COROUTINE)
                | (u8::from(call.construction.concurrent) * CONCURRENT)
                | (u8::from(call.construction.restartable) * RESTARTABLE)
                | (u8::from(call.construction.home == Role::Warehouse) * IN_WAREHOUSE);
            let row: CallHeader<'_> = (
                call.task.owner.0,
                call.task.sequence,
                call.tessera.owner.0,
                call.tessera.sequence,
                kind,
                flags,
                call.retries,
                result.owner.0,
                result.sequence,
                cut(&call.method, LONGEST_TEXT),
                block as u64,
                call.arguments.format,
                call.arguments.references.len() as u32,
            );
            write(out, &row)?;
            CALL
        }
        Message::Settled { task, outcome } => SETTLED | encode_outcome(*task, true, outcome, out)?,
        Message::Fetched {
            task,
            value,
            outcome,
        } => FETCHED | encode_outcome(*task, *value, outcome, out)?,
        Message::Cancel(id) => task(out, id).map(|()| CANCEL)?,
        Message::Probe(id) => task(out, id).map(|()| PROBE)?,
        Message::Arrived(id) => task(out, id).map(|()| ARRIVED)?,
        Message::Fetch { task, value } => {
            write(out, &(task.owner.0, task.sequence, value)).map(|()| FETCH)?
        }
        Message::Hold(id) => object(out, id).map(|()| HOLD)?,
        Message::HoldAcknowledged(id) => object(out, id).map(|()| HOLD_ACKNOWLEDGED)?,
        Message::Received(id) => object(out, id).map(|()| RECEIVED)?,
        Message::Unpin(id) => object(out, id).map(|()| UNPIN)?,
        Message::Release(objects) => {
            let rows: Vec<_> = objects.iter().copied().map(split_object).collect();
            write(out, &rows).map(|()| RELEASE)?
        }
        Message::Freed(id) => tessera(out, id).map(|()| FREED)?,
        Message::Place(id, role) => {
            write(out, &(id.owner.0, id.sequence, split_role(*role))).map(|()| PLACE)?
        }
        Message::Placed { tessera, place } => write(
            out,
            &(tessera.owner.0, tessera.sequence, split_place(place)),
        )
        .map(|()| PLACED)?,
        Message::Locate(id) => tessera(out, id).map(|()| LOCATE)?,
        Message::Located { tessera, place } => write(
            out,
            &(tessera.owner.0, tessera.sequence, split_place(place)),
        )
        .map(|()| LOCATED)?,
        Message::Join(member) => write(out, member).map(|()| JOIN)?,
        Message::MemberJoined(member) => write(out, member).map(|()| MEMBER_JOINED)?,
        Message::MemberDied { runtime, cause } => {
            write(out, &(runtime.0, cut(cause, LONGEST_TEXT))).map(|()| MEMBER_DIED)?
        }
        Message::Drained(runtime) => write(out, &runtime.0).map(|()| DRAINED)?,
        Message::DeathSettled(runtime) => write(out, &runtime.0).map(|()| DEATH_SETTLED)?,
        Message::Fence(number) => write(out, number).map(|()| FENCE)?,
        Message::FencePassed(number) => write(out, number).map(|()| FENCE_PASSED)?,
        Message::Shutdown { grace_ms } => write(out, grace_ms).map(|()| SHUTDOWN)?,
        Message::Discard(id) => task(out, id).map(|()| DISCARD)?,
        Message::Note { level, text } => {
            write(out, &(level, cut(text, LONGEST_TEXT))).map(|()| NOTE)?
        }
        Message::Squeeze => SQUEEZE,
        Message::Room => ROOM,
        Message::Keep { task, value } => {
            let row: KeepHeader = (
                task.owner.0,
                task.sequence,
                value.format,
                value.references.len() as u32,
            );
            write(out, &row).map(|()| KEEP)?
        }
        Message::WarehouseWanted => WAREHOUSE_WANTED,
        Message::WarehouseFailed(reason) => {
            write(out, &cut(reason, LONGEST_TEXT)).map(|()| WAREHOUSE_FAILED)?
        }
        Message::BarrierTask => BARRIER_TASK,
        Message::Profile { path, traced } => {
            write(out, &(path.as_deref(), traced)).map(|()| PROFILE)?
        }
        Message::Ping => PING,
        Message::Pong => PONG,
    };
    Ok(kind)
}

fn encode_outcome(
    task: TaskId,
    value: bool,
    outcome: &Outcome,
    out: &mut BytesMut,
) -> Result<u8, WireError> {
    let (owner, sequence) = (task.owner.0, task.sequence);
    match outcome {
        Outcome::Value(payload) => {
            let row: ValueHeader = (
                owner,
                sequence,
                value,
                payload.format,
                payload.references.len() as u32,
            );
            write(out, &row).map(|()| VALUE)
        }
        Outcome::Stored { host, size } => {
            let row: StoredHeader = (owner, sequence, value, host.0, *size);
            write(out, &row).map(|()| STORED)
        }
        Outcome::Failed(failure) => {
            let from = failure.context.len().saturating_sub(MOST_CONTEXT);
            let row: FailedHeader<'_> = (
                owner,
                sequence,
                value,
                split_failure(failure.kind),
                cut(&failure.message, LONGEST_TEXT),
                failure.context[from..]
                    .iter()
                    .map(|line| cut(line, LONGEST_CONTEXT))
                    .collect(),
                failure.detail.format,
                failure.detail.references.len() as u32,
            );
            write(out, &row).map(|()| FAILED)
        }
    }
}

/// The block of dependencies in the body.
pub(super) fn encode_dependencies(dependencies: &[Dependency]) -> Result<BytesMut, WireError> {
    let mut rows: Vec<DependencyRow<'_>> = Vec::with_capacity(dependencies.len());
    for dependency in dependencies {
        let (slot, index, name) = match &dependency.slot {
            Slot::Positional(index) => (0, *index, ""),
            Slot::Keyword(name) => (1, 0, name.as_str()),
            Slot::Order => (2, 0, ""),
        };
        let (source, number, length) = match &dependency.source {
            Source::At(host) => (0, host.0, 0),
            Source::Here(format, bytes) => (1, u32::from(*format), bytes.len() as u64),
            Source::Unresolved { .. } => return Err(WireError::Malformed("unresolved dependency")),
        };
        let task = dependency.task;
        let part = dependency.part.clone();
        rows.push((
            slot | (u8::from(dependency.kept) * KEPT),
            index,
            name,
            task.owner.0,
            task.sequence,
            part,
            source,
            number,
            length,
        ));
    }
    let mut block = BytesMut::new();
    write(&mut block, &rows)?;
    Ok(block)
}

/// The references in the body.
pub(super) fn encode_references(references: &[Reference], out: &mut BytesMut) {
    for reference in references {
        let (tag, owner, sequence) = split_object(reference.object);
        out.put_u8(tag);
        out.put_u32_le(owner);
        out.put_u64_le(sequence);
        out.put_u32_le(reference.authority.0);
    }
}

/// Length in bytes of the references in the body.
pub(super) const fn references_length(references: &[Reference]) -> usize {
    references.len() * REFERENCE
}

/// The body of a frame, still in the read buffer or on its own.
pub(super) enum Body<'a> {
    /// In the read buffer, to be copied from: short.
    Borrowed(&'a [u8]),
    /// On its own, to be sliced.
    Owned(Bytes),
}

impl Body<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }

    fn take(&self, range: Range<usize>) -> Bytes {
        match self {
            Self::Owned(bytes) if range.len() >= COPY_BELOW => bytes.slice(range),
            body => Bytes::copy_from_slice(&body.bytes()[range]),
        }
    }
}

/// Goes through a body from its start, in bounds.
struct Cursor<'a> {
    body: Body<'a>,
    at: usize,
}

impl Cursor<'_> {
    fn advance(&mut self, length: u64) -> Result<Range<usize>, WireError> {
        let left = (self.body.bytes().len() - self.at) as u64;
        if length > left {
            return Err(WireError::Malformed("body shorter than the header says"));
        }
        let start = self.at;
        self.at += length as usize;
        Ok(start..self.at)
    }

    fn references(&mut self, count: u32) -> Result<Vec<Reference>, WireError> {
        let range = self.advance(u64::from(count) * REFERENCE as u64)?;
        let mut bytes = &self.body.bytes()[range];
        let mut references = Vec::with_capacity(count as usize);
        while bytes.has_remaining() {
            let object = join_object((bytes.get_u8(), bytes.get_u32_le(), bytes.get_u64_le()))?;
            references.push(Reference {
                object,
                authority: RuntimeId(bytes.get_u32_le()),
            });
        }
        Ok(references)
    }

    fn dependencies(&mut self, length: u64) -> Result<Vec<Dependency>, WireError> {
        if length == 0 {
            return Ok(Vec::new());
        }
        let range = self.advance(length)?;
        // Two passes: the values stand behind the whole block.
        let mut dependencies = Vec::new();
        let mut lengths = Vec::new();
        let rows: Vec<DependencyRow<'_>> = read(&self.body.bytes()[range])?;
        for (slot, index, name, owner, sequence, part, source, number, length) in rows {
            let kept = slot & KEPT != 0;
            let slot = match slot & !KEPT {
                0 => Slot::Positional(index),
                1 => Slot::Keyword(name.to_owned()),
                2 => Slot::Order,
                _ => return Err(WireError::Malformed("slot")),
            };
            let source = match source {
                0 => Source::At(RuntimeId(number)),
                1 => {
                    let format =
                        u8::try_from(number).map_err(|_| WireError::Malformed("format"))?;
                    lengths.push(length);
                    Source::Here(format, Bytes::new())
                }
                _ => return Err(WireError::Malformed("source")),
            };
            dependencies.push(Dependency {
                slot,
                task: TaskId {
                    owner: RuntimeId(owner),
                    sequence,
                },
                part,
                kept,
                source,
            });
        }
        let here = dependencies
            .iter_mut()
            .filter_map(|dependency| match &mut dependency.source {
                Source::Here(_, bytes) => Some(bytes),
                _ => None,
            });
        for (bytes, length) in here.zip(lengths) {
            let range = self.advance(length)?;
            *bytes = self.body.take(range);
        }
        Ok(dependencies)
    }

    fn payload(
        mut self,
        format: u8,
        references: u32,
        segments: Vec<Segment>,
    ) -> Result<Payload, WireError> {
        let references = self.references(references)?;
        Ok(self.rest(format, references, segments))
    }

    fn rest(&self, format: u8, references: Vec<Reference>, segments: Vec<Segment>) -> Payload {
        let body = self.body.take(self.at..self.body.bytes().len());
        Payload {
            format,
            body,
            segments,
            references,
        }
    }
}

fn decode_outcome(
    variant: u8,
    header: &[u8],
    cursor: Cursor<'_>,
    segments: Vec<Segment>,
) -> Result<(TaskId, bool, Outcome), WireError> {
    let task = |owner, sequence| TaskId {
        owner: RuntimeId(owner),
        sequence,
    };
    Ok(match variant {
        VALUE => {
            let (owner, sequence, value, format, references): ValueHeader = read(header)?;
            let payload = cursor.payload(format, references, segments)?;
            (task(owner, sequence), value, Outcome::Value(payload))
        }
        STORED => {
            let (owner, sequence, value, host, size): StoredHeader = read(header)?;
            (
                task(owner, sequence),
                value,
                Outcome::Stored {
                    host: RuntimeId(host),
                    size,
                },
            )
        }
        FAILED => {
            let (owner, sequence, value, kind, message, context, format, references): FailedHeader<
                '_,
            > = read(header)?;
            let failure = Failure {
                kind: join_failure(kind)?,
                message: message.to_owned(),
                context: context.into_iter().map(str::to_owned).collect(),
                detail: cursor.payload(format, references, segments)?,
            };
            (
                task(owner, sequence),
                value,
                Outcome::Failed(Box::new(failure)),
            )
        }
        _ => return Err(WireError::Malformed("outcome")),
    })
}

fn decode_call(
    header: &[u8],
    mut cursor: Cursor<'_>,
    segments: Vec<Segment>,
) -> Result<Message, WireError> {
    let row: CallHeader<'_> = read(header)?;
    let (
        owner,
        sequence,
        tessera_owner,
        tessera,
        kind,
        flags,
        retries,
        of,
        result,
        method,
        block,
        format,
        references,
    ) = row;
    let references = cursor.references(references)?;
    let dependencies = cursor.dependencies(block)?;
    Ok(Message::Call(Box::new(Call {
        task: TaskId {
            owner: RuntimeId(owner),
            sequence,
        },
        tessera: TesseraId {
            owner: RuntimeId(tessera_owner),
            sequence: tessera,
        },
        kind: join_kind(kind, of, result)?,
        method: Arc::from(method),
        coroutine: flags & COROUTINE != 0,
        retries,
        construction: Construction {
            concurrent: flags & CONCURRENT != 0,
            restartable: flags & RESTARTABLE != 0,
            home: if flags & IN_WAREHOUSE == 0 {
                Role::Worker
            } else {
                Role::Warehouse
            },
        },
        dependencies,
        arguments: cursor.rest(format, references, segments),
    })))
}

/// Puts a message together.
pub(super) fn decode(
    kind: u8,
    header: &[u8],
    body: Body<'_>,
    segments: Vec<Segment>,
) -> Result<Message, WireError> {
    let variant = kind & VARIANT;
    let cursor = Cursor { body, at: 0 };
    match (kind & !VARIANT, variant) {
        (CALL, 0) => return decode_call(header, cursor, segments),
        (KEEP, 0) => {
            let (owner, sequence, format, references): KeepHeader = read(header)?;
            let task = TaskId {
                owner: RuntimeId(owner),
                sequence,
            };
            let value = cursor.payload(format, references, segments)?;
            return Ok(Message::Keep { task, value });
        }
        (SETTLED, _) => {
            let (task, _, outcome) = decode_outcome(variant, header, cursor, segments)?;
            let outcome = Arc::new(outcome);
            return Ok(Message::Settled { task, outcome });
        }
        (FETCHED, _) => {
            let (task, value, outcome) = decode_outcome(variant, header, cursor, segments)?;
            return Ok(Message::Fetched {
                task,
                value,
                outcome: Arc::new(outcome),
            });
        }
        _ => {}
    }
    if !segments.is_empty() || !cursor.body.bytes().is_empty() {
        return Err(WireError::Malformed("payload where none belongs"));
    }
    let task = |(owner, sequence)| TaskId {
        owner: RuntimeId(owner),
        sequence,
    };
    let tessera = |(owner, sequence)| TesseraId {
        owner: RuntimeId(owner),
        sequence,
    };
    Ok(match kind {
        CANCEL => Message::Cancel(task(read(header)?)),
        PROBE => Message::Probe(task(read(header)?)),
        ARRIVED => Message::Arrived(task(read(header)?)),
        FETCH => {
            let (owner, sequence, value) = read(header)?;
            Message::Fetch {
                task: task((owner, sequence)),
                value,
            }
        }
        HOLD => Message::Hold(join_object(read(header)?)?),
        HOLD_ACKNOWLEDGED => Message::HoldAcknowledged(join_object(read(header)?)?),
        RECEIVED => Message::Received(join_object(read(header)?)?),
        UNPIN => Message::Unpin(join_object(read(header)?)?),
        RELEASE => {
            let rows: Vec<(u8, u32, u64)> = read(header)?;
            Message::Release(
                rows.into_iter()
                    .map(join_object)
                    .collect::<Result<_, _>>()?,
            )
        }
        FREED => Message::Freed(tessera(read(header)?)),
        PLACE => {
            let (owner, sequence, role): (u32, u64, u8) = read(header)?;
            Message::Place(tessera((owner, sequence)), join_role(role)?)
        }
        PLACED => {
            let (owner, sequence, place): (u32, u64, Place<'_>) = read(header)?;
            Message::Placed {
                tessera: tessera((owner, sequence)),
                place: join_place(place),
            }
        }
        LOCATE => Message::Locate(tessera(read(header)?)),
        LOCATED => {
            let (owner, sequence, place): (u32, u64, Place<'_>) = read(header)?;
            Message::Located {
                tessera: tessera((owner, sequence)),
                place: join_place(place),
            }
        }
        JOIN => Message::Join(read(header)?),
        MEMBER_JOINED => Message::MemberJoined(read(header)?),
        MEMBER_DIED => {
            let (runtime, cause): (u32, &str) = read(header)?;
            Message::MemberDied {
                runtime: RuntimeId(runtime),
                cause: cause.to_owned(),
            }
        }
        DRAINED => Message::Drained(RuntimeId(read(header)?)),
        DEATH_SETTLED => Message::DeathSettled(RuntimeId(read(header)?)),
        FENCE => Message::Fence(read(header)?),
        FENCE_PASSED => Message::FencePassed(read(header)?),
        SHUTDOWN => Message::Shutdown {
            grace_ms: read(header)?,
        },
        DISCARD => Message::Discard(task(read(header)?)),
        NOTE => {
            let (level, text): (String, String) = read(header)?;
            Message::Note { level, text }
        }
        SQUEEZE => Message::Squeeze,
        ROOM => Message::Room,
        WAREHOUSE_WANTED => Message::WarehouseWanted,
        WAREHOUSE_FAILED => Message::WarehouseFailed(read(header)?),
        BARRIER_TASK => Message::BarrierTask,
        PROFILE => {
            let (path, traced): (Option<String>, bool) = read(header)?;
            Message::Profile { path, traced }
        }
        PING => Message::Ping,
        PONG => Message::Pong,
        _ => return Err(WireError::Kind(kind)),
    })
}
