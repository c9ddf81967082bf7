//! Headers and bodies into messages. Whatever the bytes say, nothing is allocated beyond what came.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use serde::Deserialize;

use super::{
    ARRIVED, BARRIER_TASK, CALL, CANCEL, CONCURRENT, COROUTINE, CallHeader, DEATH_SETTLED, DISCARD,
    DRAINED, DependencyRow, FAILED, FENCE, FENCE_PASSED, FETCH, FETCHED, FREED, FailedHeader, HOLD,
    HOLD_ACKNOWLEDGED, IN_WAREHOUSE, JOIN, KEEP, KEPT, KeepHeader, LOCATE, LOCATED, MEMBER_DIED,
    MEMBER_JOINED, NOTE, PING, PLACE, PLACED, PONG, PROBE, PROFILE, Place, RECEIVED, RECOUNT,
    REFERENCE, RELEASE, RESTARTABLE, ROOM, RecountHeader, SETTLED, SHUTDOWN, SQUEEZE, STORED,
    StoredHeader, UNPIN, VALUE, VARIANT, ValueHeader, WAREHOUSE_FAILED, WAREHOUSE_WANTED,
    join_failure, join_kind, join_object, join_part, join_place, join_role, join_wanted,
};
use crate::call::{Call, Construction, Dependency, Failure, Outcome, Slot, Source};
use crate::id::{RuntimeId, TaskId, TesseraId};
use crate::member::Role;
use crate::payload::{Loss, Payload, Reference, Segment, ThinVec};
use crate::recount::Recount;
use crate::wire::{EngineMessage, Message, RulesMessage, WireError};

/// Payloads shorter than this are copied out of the read buffer: a result that is kept for hours must
/// not keep 64 KiB of the connection's buffer with it, and the buffer can be used again.
pub(in crate::wire) const COPY_BELOW: usize = 1 << 10;

fn read<'a, T: Deserialize<'a>>(header: &'a [u8]) -> Result<T, WireError> {
    rmp_serde::from_slice(header).map_err(|_| WireError::Malformed("header"))
}

/// The body of a frame, still in the read buffer or on its own.
pub(in crate::wire) enum Body<'a> {
    /// In the read buffer, to be copied from: short.
    Borrowed(&'a [u8]),
    /// On its own, to be sliced.
    OwnedTask(Bytes),
}

impl Body<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::OwnedTask(bytes) => bytes,
        }
    }

    fn take(&self, range: Range<usize>) -> Bytes {
        match self {
            Self::OwnedTask(bytes) if range.len() >= COPY_BELOW => bytes.slice(range),
            body => Bytes::copy_from_slice(&body.bytes()[range]),
        }
    }
}

/// Goes through a body from its start, in bounds.
struct Cursor<'a> {
    body: Body<'a>,
    at: usize,
    /// Why the rest of the body is not there, if it is not.
    loss: Option<Loss>,
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

    fn references(&mut self, count: u32) -> Result<ThinVec<Reference>, WireError> {
        let range = self.advance(u64::from(count) * REFERENCE as u64)?;
        let mut bytes = &self.body.bytes()[range];
        let mut references = ThinVec::with_capacity(count as usize);
        while bytes.has_remaining() {
            let object = join_object((bytes.get_u8(), bytes.get_u32_le(), bytes.get_u64_le()))?;
            references.push(Reference {
                object,
                authority: RuntimeId(bytes.get_u32_le()),
            });
        }
        Ok(references)
    }

    fn dependencies(&mut self, length: u64) -> Result<ThinVec<Dependency>, WireError> {
        if length == 0 {
            return Ok(ThinVec::new());
        }
        let range = self.advance(length)?;
        // Two passes: the values stand behind the whole block.
        let mut dependencies = ThinVec::new();
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

    /// The references, and nothing where they cannot be read: then the rest is of no use either.
    fn references_or_loss(&mut self, count: u32) -> ThinVec<Reference> {
        self.references(count).unwrap_or_else(|error| {
            self.loss.get_or_insert_with(|| loss(&error));
            ThinVec::new()
        })
    }

    fn payload(mut self, format: u8, references: u32, segments: ThinVec<Segment>) -> Payload {
        let references = self.references_or_loss(references);
        self.rest(format, references, segments)
    }

    fn rest(
        self,
        format: u8,
        references: ThinVec<Reference>,
        segments: ThinVec<Segment>,
    ) -> Payload {
        if let Some(loss) = self.loss {
            return Payload::lost(format, references, loss);
        }
        let body = self.body.take(self.at..self.body.bytes().len());
        Payload {
            format,
            body,
            segments,
            references,
        }
    }
}

fn loss(error: &WireError) -> Loss {
    match error {
        WireError::Malformed(what) => Loss::Malformed(what),
        _ => Loss::Malformed("body"),
    }
}

fn decode_outcome(
    variant: u8,
    header: &[u8],
    cursor: Cursor<'_>,
    segments: ThinVec<Segment>,
) -> Result<(TaskId, u64, Outcome), WireError> {
    let task = |owner, sequence| TaskId {
        owner: RuntimeId(owner),
        sequence,
    };
    Ok(match variant {
        VALUE => {
            let (owner, sequence, tag, format, references): ValueHeader = read(header)?;
            let payload = cursor.payload(format, references, segments);
            (task(owner, sequence), tag, Outcome::Value(payload))
        }
        STORED => {
            let (owner, sequence, tag, host, size): StoredHeader = read(header)?;
            (
                task(owner, sequence),
                tag,
                Outcome::Stored {
                    host: RuntimeId(host),
                    size,
                },
            )
        }
        FAILED => {
            let (owner, sequence, tag, kind, message, context, format, references): FailedHeader<
                '_,
            > = read(header)?;
            let mut detail = cursor.payload(format, references, segments);
            if detail.loss().is_some() {
                // The kind and the message are here, and say what happened.
                detail = Payload {
                    references: detail.references,
                    ..Payload::default()
                };
            }
            let failure = Failure {
                kind: join_failure(kind)?,
                message: message.to_owned(),
                context: context.into_iter().map(str::to_owned).collect(),
                detail,
            };
            (
                task(owner, sequence),
                tag,
                Outcome::Failed(Box::new(failure)),
            )
        }
        _ => return Err(WireError::Malformed("outcome")),
    })
}

fn decode_call(
    header: &[u8],
    mut cursor: Cursor<'_>,
    segments: ThinVec<Segment>,
) -> Result<RulesMessage, WireError> {
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
        origin,
    ) = row;
    let references = cursor.references_or_loss(references);
    let dependencies = if cursor.loss.is_some() {
        ThinVec::new()
    } else {
        cursor.dependencies(block).unwrap_or_else(|error| {
            cursor.loss = Some(loss(&error));
            ThinVec::new()
        })
    };
    Ok(RulesMessage::Call(Box::new(Call {
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
        origin,
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

/// How many bytes of its body a frame needs at least: the references in it, whose counts have to stay right. None where
/// the header says nothing of a payload.
pub(in crate::wire) fn references_of(kind: u8, header: &[u8]) -> u64 {
    let count = match (kind & !VARIANT, kind & VARIANT) {
        (CALL, 0) => read::<CallHeader<'_>>(header).map(|row| row.12),
        (KEEP, 0) => read::<KeepHeader>(header).map(|row| row.3),
        (SETTLED | FETCHED, VALUE) => read::<ValueHeader>(header).map(|row| row.4),
        (SETTLED | FETCHED, FAILED) => read::<FailedHeader<'_>>(header).map(|row| row.7),
        _ => Ok(0),
    };
    count.map_or(0, |count| u64::from(count) * REFERENCE as u64)
}

/// Decodes a message. Where part of its body is missing, `loss` gives the reason.
pub(in crate::wire) fn decode(
    kind: u8,
    header: &[u8],
    body: Body<'_>,
    segments: ThinVec<Segment>,
    loss: Option<Loss>,
) -> Result<Message, WireError> {
    match decode_engine(kind, header)? {
        Some(message) if segments.is_empty() && body.bytes().is_empty() => {
            Ok(Message::Engine(message))
        }
        Some(_) => Err(WireError::Malformed("payload where none belongs")),
        None => decode_rules(kind, header, body, segments, loss).map(Message::Rules),
    }
}

/// The message of the engine that has this kind; none if the kind is one of the rules' messages.
fn decode_engine(kind: u8, header: &[u8]) -> Result<Option<EngineMessage>, WireError> {
    Ok(Some(match kind {
        SHUTDOWN => EngineMessage::Shutdown {
            grace_ms: read(header)?,
        },
        NOTE => {
            let (level, text): (String, String) = read(header)?;
            EngineMessage::LogRecord { level, text }
        }
        PROFILE => {
            let (path, traced): (Option<String>, bool) = read(header)?;
            EngineMessage::Profile { path, traced }
        }
        SQUEEZE => EngineMessage::ReclaimMemory,
        ROOM => EngineMessage::MemoryAvailable,
        PING => EngineMessage::Ping,
        PONG => EngineMessage::Pong,
        _ => return Ok(None),
    }))
}

fn decode_rules(
    kind: u8,
    header: &[u8],
    body: Body<'_>,
    segments: ThinVec<Segment>,
    loss: Option<Loss>,
) -> Result<RulesMessage, WireError> {
    let variant = kind & VARIANT;
    let cursor = Cursor { body, at: 0, loss };
    match (kind & !VARIANT, variant) {
        (CALL, 0) => return decode_call(header, cursor, segments),
        (KEEP, 0) => {
            let (owner, sequence, format, references): KeepHeader = read(header)?;
            let task = TaskId {
                owner: RuntimeId(owner),
                sequence,
            };
            let value = cursor.payload(format, references, segments);
            return Ok(RulesMessage::RemotePut { task, value });
        }
        (SETTLED, _) => {
            let (task, tag, outcome) = decode_outcome(variant, header, cursor, segments)?;
            return Ok(RulesMessage::Completed {
                task,
                part: join_part(tag)?,
                outcome: Arc::new(outcome),
            });
        }
        (FETCHED, _) => {
            let (task, tag, outcome) = decode_outcome(variant, header, cursor, segments)?;
            return Ok(RulesMessage::Fetched {
                task,
                value: join_wanted(tag)?,
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
        CANCEL => RulesMessage::Cancel(task(read(header)?)),
        PROBE => RulesMessage::DeliveryProbe(task(read(header)?)),
        ARRIVED => RulesMessage::Delivered(task(read(header)?)),
        FETCH => {
            let (owner, sequence, value) = read(header)?;
            RulesMessage::Fetch {
                task: task((owner, sequence)),
                value,
            }
        }
        HOLD => RulesMessage::RegisterHolder(join_object(read(header)?)?),
        HOLD_ACKNOWLEDGED => RulesMessage::HolderRegistered(join_object(read(header)?)?),
        RECEIVED => RulesMessage::RegisterHolderAndUnpin(join_object(read(header)?)?),
        UNPIN => RulesMessage::Unpin(join_object(read(header)?)?),
        RELEASE => {
            let rows: Vec<(u8, u32, u64)> = read(header)?;
            RulesMessage::Release(
                rows.into_iter()
                    .map(join_object)
                    .collect::<Result<_, _>>()?,
            )
        }
        FREED => RulesMessage::Freed(tessera(read(header)?)),
        PLACE => {
            let (owner, sequence, role): (u32, u64, u8) = read(header)?;
            RulesMessage::Place(tessera((owner, sequence)), join_role(role)?)
        }
        PLACED => {
            let (owner, sequence, place): (u32, u64, Place<'_>) = read(header)?;
            RulesMessage::Placed {
                tessera: tessera((owner, sequence)),
                place: join_place(place),
            }
        }
        LOCATE => RulesMessage::Locate(tessera(read(header)?)),
        LOCATED => {
            let (owner, sequence, place): (u32, u64, Place<'_>) = read(header)?;
            RulesMessage::Located {
                tessera: tessera((owner, sequence)),
                place: join_place(place),
            }
        }
        JOIN => RulesMessage::Join(read(header)?),
        MEMBER_JOINED => RulesMessage::MemberJoined(read(header)?),
        MEMBER_DIED => {
            let (runtime, cause): (u32, &str) = read(header)?;
            RulesMessage::MemberDied {
                runtime: RuntimeId(runtime),
                cause: cause.to_owned(),
            }
        }
        DRAINED => RulesMessage::Drained(RuntimeId(read(header)?)),
        DEATH_SETTLED => RulesMessage::DeathSettled(RuntimeId(read(header)?)),
        FENCE => RulesMessage::Barrier(read(header)?),
        FENCE_PASSED => RulesMessage::BarrierPassed(read(header)?),
        DISCARD => RulesMessage::Discard(task(read(header)?)),
        WAREHOUSE_WANTED => RulesMessage::WarehouseRequested,
        WAREHOUSE_FAILED => RulesMessage::WarehouseFailed(read(header)?),
        BARRIER_TASK => RulesMessage::BarrierTask,
        RECOUNT => {
            let (held, restartable, awaited, more, asks): RecountHeader = read(header)?;
            let held: Result<_, _> = held.into_iter().map(join_object).collect();
            let awaited = awaited.into_iter();
            let awaited: Result<_, _> = awaited
                .map(|(object, times)| Ok::<_, WireError>((join_object(object)?, times)))
                .collect();
            RulesMessage::Recount(Box::new(Recount {
                held: held?,
                restartable: restartable.into_iter().map(tessera).collect(),
                awaited: awaited?,
                more,
                asks,
            }))
        }
        _ => return Err(WireError::Kind(kind)),
    })
}
