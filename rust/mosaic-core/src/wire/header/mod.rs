//! Messages as header and body: the fields and their order. [`writing`] encodes them, [`reading`] decodes them.
//!
//! Headers are flat msgpack arrays of integers and short texts: enums are written as numbers, because
//! names would make the two hot messages (a call and its end) several times longer.

mod reading;
mod writing;

use std::num::NonZeroU32;

use bytes::Bytes;

use super::{Message, RulesMessage, WireError};
use crate::call::{CallKind, Dependency, FailureKind, Outcome, OutcomePart};
use crate::id::{BufferId, ObjectId, RuntimeId, TaskId, TesseraId};
use crate::member::Role;
use crate::payload::Payload;

pub(super) use self::reading::{Body, COPY_BELOW, decode, references_of};
pub(super) use self::writing::{encode, encode_dependencies, encode_references, references_length};

/// Bytes of one reference in the body.
const REFERENCE: usize = 17;
/// Longest line of a failure that travels, in bytes; what is longer is cut.
const LONGEST_TEXT: usize = 128 << 10;
/// Longest line of a failure's context that travels, in bytes.
const LONGEST_CONTEXT: usize = 4 << 10;
/// Most lines of a failure's context that travel.
const MOST_CONTEXT: usize = 64;

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
const RECOUNT: u8 = 37;

const VALUE: u8 = 0x40;
const STORED: u8 = 0x80;
const FAILED: u8 = 0xC0;
const VARIANT: u8 = 0xC0;

/// The payload that travels with a message.
pub(super) fn payload_of(message: &Message) -> Option<&Payload> {
    let Message::Rules(message) = message else {
        return None;
    };
    match message {
        RulesMessage::Call(call) => Some(&call.arguments),
        RulesMessage::RemotePut { value, .. } => Some(value),
        RulesMessage::Completed { outcome, .. } | RulesMessage::Fetched { outcome, .. } => {
            match &**outcome {
                Outcome::Value(payload) => Some(payload),
                Outcome::Stored { .. } => None,
                Outcome::Failed(failure) => Some(&failure.detail),
            }
        }
        _ => None,
    }
}

/// The dependencies that travel with a message.
pub(super) fn dependencies_of(message: &Message) -> &[Dependency] {
    match message {
        Message::Rules(RulesMessage::Call(call)) => &call.dependencies,
        _ => &[],
    }
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
    let result = match kind {
        CallKind::ResultMethod(task) => task,
        _ => none,
    };
    (kind.number(), result)
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
        8 => FailureKind::Descriptors,
        9 => FailureKind::Memory,
        10 => FailureKind::ConnectionLost,
        _ => return Err(WireError::Malformed("kind of failure")),
    })
}

/// task, tessera (owner and number each), kind, flags, retries, task of a result method, method, length
/// of the dependencies' block, format, number of references, origin.
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
    Option<NonZeroU32>,
);
/// task, tag, format, number of references. The tag of a fetched outcome is 1 if the value was wanted; that of a completed
/// task is [`tag_of`] its part.
type ValueHeader = (u32, u64, u64, u8, u32);
/// task, format, number of references.
type KeepHeader = (u32, u64, u8, u32);
/// task, tag, host, size.
type StoredHeader = (u32, u64, u64, u32, u64);
/// task, tag, kind, message, context, format, number of references.
type FailedHeader<'a> = (u32, u64, u64, u8, &'a str, Vec<&'a str>, u8, u32);
/// slot (tag and whether the value was put, index, name), task, part, source (tag, host or format, length of its value).
type DependencyRow<'a> = (u8, u16, &'a str, u32, u64, Bytes, u8, u32, u64);

/// objects held, restartable tesserae, objects awaited and how often, whether more follows, whether it asks.
type RecountHeader = (
    Vec<(u8, u32, u64)>,
    Vec<(u32, u64)>,
    Vec<((u8, u32, u64), u32)>,
    bool,
    bool,
);

/// Beside the tag of a dependency's slot: the value was put.
const KEPT: u8 = 0x80;

const COROUTINE: u8 = 1;
const CONCURRENT: u8 = 2;
const RESTARTABLE: u8 = 4;
const IN_WAREHOUSE: u8 = 8;

/// A part of an outcome as one number: the only part of an outcome takes one byte.
fn tag_of(part: OutcomePart) -> u64 {
    u64::from(part.number) << 1 | u64::from(part.last)
}

fn join_part(tag: u64) -> Result<OutcomePart, WireError> {
    let number = u32::try_from(tag >> 1).map_err(|_| WireError::Malformed("part of an outcome"))?;
    let last = tag & 1 == 1;
    Ok(OutcomePart { number, last })
}

fn join_wanted(tag: u64) -> Result<bool, WireError> {
    match tag {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(WireError::Malformed("whether a value is wanted")),
    }
}

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
