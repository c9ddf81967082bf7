//! Messages into headers, and what of them stands in the body.

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::{
    ARRIVED, BARRIER_TASK, CALL, CANCEL, CONCURRENT, COROUTINE, CallHeader, DEATH_SETTLED, DISCARD,
    DRAINED, DependencyRow, FAILED, FENCE, FENCE_PASSED, FETCH, FETCHED, FREED, FailedHeader, HOLD,
    HOLD_ACKNOWLEDGED, IN_WAREHOUSE, JOIN, KEEP, KEPT, KeepHeader, LOCATE, LOCATED,
    LONGEST_CONTEXT, LONGEST_TEXT, MEMBER_DIED, MEMBER_JOINED, MOST_CONTEXT, NOTE, PING, PLACE,
    PLACED, PONG, PROBE, PROFILE, RECEIVED, RECOUNT, REFERENCE, RELEASE, RESTARTABLE, ROOM,
    RecountHeader, SETTLED, SHUTDOWN, SQUEEZE, STORED, StoredHeader, UNPIN, VALUE, ValueHeader,
    WAREHOUSE_FAILED, WAREHOUSE_WANTED, cut, split_kind, split_object, split_place, split_role,
    tag_of,
};
use crate::call::{Dependency, Outcome, Slot, Source};
use crate::id::{ObjectId, TaskId, TesseraId};
use crate::member::Role;
use crate::payload::Reference;
use crate::wire::{EngineMessage, Message, RulesMessage, WireError};

fn write<T: Serialize>(out: &mut BytesMut, value: &T) -> Result<(), WireError> {
    rmp_serde::encode::write(&mut out.writer(), value)
        .map_err(|_| WireError::Malformed("header cannot be written"))
}

/// Appends the header of a message; returns its kind. `block` is the length of its dependencies' block.
pub(in crate::wire) fn encode(
    message: &Message,
    block: usize,
    out: &mut BytesMut,
) -> Result<u8, WireError> {
    match message {
        Message::Rules(message) => encode_rules(message, block, out),
        Message::Engine(message) => encode_engine(message, out),
    }
}

fn encode_engine(message: &EngineMessage, out: &mut BytesMut) -> Result<u8, WireError> {
    Ok(match message {
        EngineMessage::Shutdown { grace_ms } => write(out, grace_ms).map(|()| SHUTDOWN)?,
        EngineMessage::LogRecord { level, text } => {
            write(out, &(level, cut(text, LONGEST_TEXT))).map(|()| NOTE)?
        }
        EngineMessage::Profile { path, traced } => {
            write(out, &(path.as_deref(), traced)).map(|()| PROFILE)?
        }
        EngineMessage::ReclaimMemory => SQUEEZE,
        EngineMessage::MemoryAvailable => ROOM,
        EngineMessage::Ping => PING,
        EngineMessage::Pong => PONG,
    })
}

fn encode_rules(message: &RulesMessage, block: usize, out: &mut BytesMut) -> Result<u8, WireError> {
    let task = |out: &mut BytesMut, id: &TaskId| write(out, &(id.owner.0, id.sequence));
    let tessera = |out: &mut BytesMut, id: &TesseraId| write(out, &(id.owner.0, id.sequence));
    let object = |out: &mut BytesMut, id: &ObjectId| write(out, &split_object(*id));
    let kind = match message {
        RulesMessage::Call(call) => {
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
                call.origin,
            );
            write(out, &row)?;
            CALL
        }
        RulesMessage::Completed {
            task,
            part,
            outcome,
        } => SETTLED | encode_outcome(*task, tag_of(*part), outcome, out)?,
        RulesMessage::Fetched {
            task,
            value,
            outcome,
        } => FETCHED | encode_outcome(*task, u64::from(*value), outcome, out)?,
        RulesMessage::Cancel(id) => task(out, id).map(|()| CANCEL)?,
        RulesMessage::DeliveryProbe(id) => task(out, id).map(|()| PROBE)?,
        RulesMessage::Delivered(id) => task(out, id).map(|()| ARRIVED)?,
        RulesMessage::Fetch { task, value } => {
            write(out, &(task.owner.0, task.sequence, value)).map(|()| FETCH)?
        }
        RulesMessage::RegisterHolder(id) => object(out, id).map(|()| HOLD)?,
        RulesMessage::HolderRegistered(id) => object(out, id).map(|()| HOLD_ACKNOWLEDGED)?,
        RulesMessage::RegisterHolderAndUnpin(id) => object(out, id).map(|()| RECEIVED)?,
        RulesMessage::Unpin(id) => object(out, id).map(|()| UNPIN)?,
        RulesMessage::Release(objects) => {
            let rows: Vec<_> = objects.iter().copied().map(split_object).collect();
            write(out, &rows).map(|()| RELEASE)?
        }
        RulesMessage::Freed(id) => tessera(out, id).map(|()| FREED)?,
        RulesMessage::Place(id, role) => {
            write(out, &(id.owner.0, id.sequence, split_role(*role))).map(|()| PLACE)?
        }
        RulesMessage::Placed { tessera, place } => write(
            out,
            &(tessera.owner.0, tessera.sequence, split_place(place)),
        )
        .map(|()| PLACED)?,
        RulesMessage::Locate(id) => tessera(out, id).map(|()| LOCATE)?,
        RulesMessage::Located { tessera, place } => write(
            out,
            &(tessera.owner.0, tessera.sequence, split_place(place)),
        )
        .map(|()| LOCATED)?,
        RulesMessage::Join(member) => write(out, member).map(|()| JOIN)?,
        RulesMessage::MemberJoined(member) => write(out, member).map(|()| MEMBER_JOINED)?,
        RulesMessage::MemberDied { runtime, cause } => {
            write(out, &(runtime.0, cut(cause, LONGEST_TEXT))).map(|()| MEMBER_DIED)?
        }
        RulesMessage::Drained(runtime) => write(out, &runtime.0).map(|()| DRAINED)?,
        RulesMessage::DeathSettled(runtime) => write(out, &runtime.0).map(|()| DEATH_SETTLED)?,
        RulesMessage::Barrier(number) => write(out, number).map(|()| FENCE)?,
        RulesMessage::BarrierPassed(number) => write(out, number).map(|()| FENCE_PASSED)?,
        RulesMessage::Discard(id) => task(out, id).map(|()| DISCARD)?,
        RulesMessage::RemotePut { task, value } => {
            let row: KeepHeader = (
                task.owner.0,
                task.sequence,
                value.format,
                value.references.len() as u32,
            );
            write(out, &row).map(|()| KEEP)?
        }
        RulesMessage::WarehouseRequested => WAREHOUSE_WANTED,
        RulesMessage::WarehouseFailed(reason) => {
            write(out, &cut(reason, LONGEST_TEXT)).map(|()| WAREHOUSE_FAILED)?
        }
        RulesMessage::BarrierTask => BARRIER_TASK,
        RulesMessage::Recount(recount) => {
            let held: Vec<_> = recount.held.iter().copied().map(split_object).collect();
            let restartable = recount.restartable.iter();
            let restartable: Vec<_> = restartable.map(|id| (id.owner.0, id.sequence)).collect();
            let awaited = recount.awaited.iter();
            let awaited: Vec<_> = awaited
                .map(|(object, times)| (split_object(*object), *times))
                .collect();
            let row: RecountHeader = (held, restartable, awaited, recount.more, recount.asks);
            write(out, &row).map(|()| RECOUNT)?
        }
    };
    Ok(kind)
}

fn encode_outcome(
    task: TaskId,
    tag: u64,
    outcome: &Outcome,
    out: &mut BytesMut,
) -> Result<u8, WireError> {
    let (owner, sequence) = (task.owner.0, task.sequence);
    match outcome {
        Outcome::Value(payload) => {
            let row: ValueHeader = (
                owner,
                sequence,
                tag,
                payload.format,
                payload.references.len() as u32,
            );
            write(out, &row).map(|()| VALUE)
        }
        Outcome::Stored { host, size } => {
            let row: StoredHeader = (owner, sequence, tag, host.0, *size);
            write(out, &row).map(|()| STORED)
        }
        Outcome::Failed(failure) => {
            let from = failure.context.len().saturating_sub(MOST_CONTEXT);
            let row: FailedHeader<'_> = (
                owner,
                sequence,
                tag,
                failure.kind.number(),
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
pub(in crate::wire) fn encode_dependencies(
    dependencies: &[Dependency],
) -> Result<BytesMut, WireError> {
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
pub(in crate::wire) fn encode_references(references: &[Reference], out: &mut BytesMut) {
    for reference in references {
        let (tag, owner, sequence) = split_object(reference.object);
        out.put_u8(tag);
        out.put_u32_le(owner);
        out.put_u64_le(sequence);
        out.put_u32_le(reference.authority.0);
    }
}

/// Length in bytes of the references in the body.
pub(in crate::wire) const fn references_length(references: &[Reference]) -> usize {
    references.len() * REFERENCE
}
