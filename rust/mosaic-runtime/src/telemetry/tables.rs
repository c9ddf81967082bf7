//! Rows that wait for the file. They are packed when they are pushed, so that the recorder's thread only copies.
//!
//! `docs/design/profile.md` lists the columns, in the same order. Rows are short: writing them is a large part of the
//! cost of recording a call (`python -m benches.profile`).

use std::sync::Arc;

use bytes::Bytes;
use mosaic_core::id::{TaskId, TesseraId};
use rustc_hash::FxHashMap;

use super::clock::Anchor;
use super::format::{Batch, CalleeRow};
use crate::sync::completion::Callee;

/// Bytes that may wait in one buffer; rows beyond that are dropped and counted.
const MAX_WAITING: usize = 32 << 20;
/// Coroutines that may begin and end between two batches before the ended ones are removed from the list.
const SHORT_LIVED: usize = 1 << 12;
/// Names that are remembered; beyond that they are written to the file again.
const MAX_NAMES: usize = 1 << 16;
/// Most columns of a table, the short ones counted half.
const MAX_COLUMNS: usize = 6;
/// The mark of a size that is counted in mebibytes.
const MEBIBYTES: u32 = 1 << 31;
/// Bits of a packed task for its sequence number at its owner.
const SEQUENCE_BITS: u32 = 40;

/// The task of a call in one column. Sequence numbers of calls start at 1 and stay below those of stored values.
#[inline]
pub(super) fn packed(task: TaskId) -> u64 {
    u64::from(task.owner.0) << SEQUENCE_BITS | task.sequence & ((1 << SEQUENCE_BITS) - 1)
}

/// A length in bytes in a short column: exact up to 2 GiB.
#[inline]
pub(super) fn short_size(size: u64) -> u32 {
    match u32::try_from(size) {
        Ok(size) if size < MEBIBYTES => size,
        _ => (size >> 20) as u32 | MEBIBYTES,
    }
}

/// Appends a row: the long columns, then the short ones. Packed on the stack, so that the table is accessed once.
#[inline]
fn push<const LONG: usize, const SHORT: usize>(
    table: &mut Vec<u8>,
    long: [u64; LONG],
    short: [u32; SHORT],
) {
    let mut row = [0_u8; MAX_COLUMNS * 8];
    let (first, second) = row.split_at_mut(LONG * 8);
    for (to, column) in first.chunks_exact_mut(8).zip(long) {
        to.copy_from_slice(&column.to_le_bytes());
    }
    for (to, column) in second.chunks_exact_mut(4).zip(short) {
        to.copy_from_slice(&column.to_le_bytes());
    }
    table.extend_from_slice(&row[..LONG * 8 + SHORT * 4]);
}

/// A row in one of the tables of a buffer, whose bytes are counted.
macro_rules! push {
    ($buffer:ident . $table:ident, $long:expr, $short:expr $(,)?) => {{
        let before = $buffer.rows.$table.len();
        push(&mut $buffer.rows.$table, $long, $short);
        $buffer.waiting += $buffer.rows.$table.len() - before;
    }};
}

/// Numbers of callees. A new one is written to the file with the rows that use it.
#[derive(Debug, Default)]
struct Callees {
    last: Option<(Arc<Callee>, u8, u32)>,
    known: FxHashMap<(TesseraId, u8, Arc<str>), u32>,
    next: u32,
    fresh: Vec<CalleeRow>,
}

impl Callees {
    fn number(&mut self, callee: &Arc<Callee>, kind: u8) -> u32 {
        if let Some((last, last_kind, number)) = &self.last
            && *last_kind == kind
            && last.tessera == callee.tessera
            && (Arc::ptr_eq(&last.method, &callee.method) || last.method == callee.method)
        {
            return *number;
        }
        if self.known.len() >= MAX_NAMES {
            self.known.clear();
        }
        let Callee {
            tessera,
            class,
            method,
            ..
        } = &**callee;
        let number = *self
            .known
            .entry((*tessera, kind, Arc::clone(method)))
            .or_insert(self.next);
        if number == self.next {
            self.next += 1;
            let (class, method) = (class.to_string(), method.to_string());
            let (owner, sequence) = (tessera.owner.0, tessera.sequence);
            self.fresh
                .push((number, owner, sequence, kind, class, method));
        }
        self.last = Some((Arc::clone(callee), kind, number));
        number
    }
}

/// The rows of one kind of thread, behind a lock of their own.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// The recording that the rows belong to; 0 is none.
    recording: u64,
    callees: Callees,
    rows: Rows,
    /// Vectors to be used for the next batch.
    spare: Rows,
    /// Length of the rows in bytes.
    waiting: usize,
    dropped: u64,
    /// Coroutine calls that have begun.
    coroutines: FxHashMap<u64, Begun>,
    /// Those of them that may not be in the file, and others that have ended.
    unreported: Vec<u64>,
    /// Names of functions that are not in the file.
    names: Vec<(u32, String, String)>,
    functions: FxHashMap<u32, Sum>,
}

#[derive(Debug, Default)]
struct Rows {
    created: Vec<u8>,
    parents: Vec<u8>,
    links: Vec<u8>,
    queued: Vec<u8>,
    done: Vec<u8>,
    coded: Vec<u8>,
    failed: Vec<u8>,
    moved: Vec<u8>,
    spans: Vec<u8>,
}

/// A call that has begun.
#[derive(Clone, Copy, Debug)]
struct Begun {
    time: u64,
    /// It is in the file.
    reported: bool,
}

/// How often a function ran, and how long.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: u64,
    total: u64,
    own: u64,
}

/// A run that has ended.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Ended {
    pub(super) task: u64,
    pub(super) coroutine: bool,
    pub(super) began: u64,
    /// When its arguments were decoded.
    pub(super) ran: u64,
    pub(super) returned: u64,
    /// When its result was encoded.
    pub(super) done: u64,
    pub(super) size: u64,
    pub(super) status: u32,
}

impl Buffer {
    pub(super) fn of(recording: u64) -> Self {
        Self {
            recording,
            ..Self::default()
        }
    }

    pub(super) fn recording(&self) -> u64 {
        self.recording
    }

    /// Whether there is capacity for this many rows that belong together. Counts them as dropped if there is not.
    fn has_room(&mut self, rows: usize) -> bool {
        let room = self.waiting < MAX_WAITING;
        if !room {
            self.dropped += rows as u64;
        }
        room
    }

    /// Returns whether there was capacity: otherwise the `more` rows that belong to it are dropped too.
    pub(super) fn created(
        &mut self,
        time: u64,
        task: u64,
        callee: &Arc<Callee>,
        kind: u8,
        size: u64,
        more: usize,
    ) -> bool {
        let room = self.has_room(1 + more);
        if room {
            let callee = self.callees.number(callee, kind);
            let size = short_size(size);
            push!(self.created, [time, task], [callee, size]);
        }
        room
    }

    pub(super) fn parent(&mut self, task: u64, parent: u64) {
        push!(self.parents, [task, parent], []);
    }

    pub(super) fn link(&mut self, task: u64, dependency: TaskId) {
        let owner = dependency.owner.0;
        push!(self.links, [task, dependency.sequence], [owner, 0],);
    }

    pub(super) fn queued(&mut self, arrivals: &[(u64, u64)]) {
        if self.has_room(arrivals.len()) {
            for (time, task) in arrivals {
                push!(self.queued, [*time, *task], []);
            }
        }
    }

    pub(super) fn began(&mut self, time: u64, task: u64) {
        let reported = false;
        self.coroutines.insert(task, Begun { time, reported });
        if self.unreported.len() >= 2 * self.coroutines.len() + SHORT_LIVED {
            // The disk is slow. The row of the end has the begin too.
            let running = &self.coroutines;
            self.unreported
                .retain(|task| running.get(task).is_some_and(|begun| !begun.reported));
        }
        self.unreported.push(task);
    }

    pub(super) fn ended(&mut self, run: &Ended) {
        if run.coroutine {
            self.coroutines.remove(&run.task);
        }
        let coded = run.ran != run.began || run.done != run.returned;
        if !self.has_room(1 + usize::from(coded)) {
            return;
        }
        push!(
            self.done,
            [run.task, run.began, run.returned],
            [short_size(run.size), run.status],
        );
        if coded {
            push!(self.coded, [run.task, run.ran, run.done], []);
        }
    }

    pub(super) fn failed(&mut self, time: u64, task: u64, kind: u32) {
        if self.has_room(1) {
            push!(self.failed, [time, task], [kind, 0]);
        }
    }

    pub(super) fn moved(&mut self, time: u64, task: TaskId, from: u32, size: u64, copied: u64) {
        if self.has_room(1) {
            push!(
                self.moved,
                [time, task.sequence, size, copied],
                [task.owner.0, from],
            );
        }
    }

    pub(super) fn span(&mut self, times: (u64, u64), task: u64, function: u32, depth: u32) {
        if self.has_room(1) {
            let (start, end) = times;
            push!(self.spans, [start, end, task], [function, depth]);
        }
    }

    pub(super) fn name(&mut self, number: u32, file: &str, name: &str) {
        self.names.push((number, file.to_owned(), name.to_owned()));
    }

    pub(super) fn function(&mut self, function: u32, total: u64, own: u64) {
        let sum = self.functions.entry(function).or_default();
        sum.count += 1;
        sum.total += total;
        sum.own += own;
    }

    /// Bytes of rows that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Bytes that are allocated for rows.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        let held = |rows: &Rows| rows.created.capacity() + rows.done.capacity();
        held(&self.rows) + held(&self.spare)
    }

    /// Take the rows, and add the calls that run: coroutines, and the plain call of that time and task.
    pub(super) fn take(&mut self, runtime: u32, plain: Option<(u64, u64)>) -> Option<Batch> {
        let mut started = Vec::new();
        if let Some((time, task)) = plain {
            push(&mut started, [time, task], []);
        }
        for task in self.unreported.drain(..) {
            // Most coroutines have ended since.
            if let Some(begun) = self.coroutines.get_mut(&task)
                && !std::mem::replace(&mut begun.reported, true)
            {
                push(&mut started, [begun.time, task], []);
            }
        }
        let empty = self.waiting == 0
            && started.is_empty()
            && self.functions.is_empty()
            && self.names.is_empty();
        let dropped = std::mem::take(&mut self.dropped);
        if empty && dropped == 0 {
            return None;
        }
        let mut functions = Vec::new();
        for (function, sum) in self.functions.drain() {
            push(
                &mut functions,
                [sum.count, sum.total, sum.own],
                [function, 0],
            );
        }
        self.waiting = 0;
        // Two sets of vectors alternate: allocating one for each batch costs more than filling it.
        let rows = std::mem::replace(&mut self.rows, std::mem::take(&mut self.spare));
        Some(Batch {
            runtime,
            anchor: Anchor::now(),
            callees: std::mem::take(&mut self.callees.fresh),
            names: std::mem::take(&mut self.names),
            created: rows.created.into(),
            parents: rows.parents.into(),
            links: rows.links.into(),
            queued: rows.queued.into(),
            started: started.into(),
            done: rows.done.into(),
            coded: rows.coded.into(),
            failed: rows.failed.into(),
            moved: rows.moved.into(),
            spans: rows.spans.into(),
            functions: functions.into(),
            dropped,
        })
    }

    /// A batch of that recording has been written: its vectors are used again.
    pub(super) fn give_back(&mut self, batch: Batch, recording: u64) {
        if self.recording != recording {
            return;
        }
        let emptied = |table: Bytes| {
            let mut table = Vec::from(table);
            table.clear();
            table
        };
        self.spare = Rows {
            created: emptied(batch.created),
            parents: emptied(batch.parents),
            links: emptied(batch.links),
            queued: emptied(batch.queued),
            done: emptied(batch.done),
            coded: emptied(batch.coded),
            failed: emptied(batch.failed),
            moved: emptied(batch.moved),
            spans: emptied(batch.spans),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mosaic_core::id::RuntimeId;

    fn full() -> Buffer {
        Buffer {
            waiting: MAX_WAITING,
            ..Buffer::default()
        }
    }

    fn taken(buffer: &mut Buffer) -> Batch {
        buffer.take(0, None).expect("something to report")
    }

    fn ended(task: u64) -> Ended {
        Ended {
            task,
            coroutine: true,
            began: 1,
            ran: 1,
            returned: 2,
            done: 2,
            size: 0,
            status: 0,
        }
    }

    #[test]
    fn a_coroutine_that_runs_is_reported_once_however_many_batches_it_outlives() {
        let mut buffer = Buffer::default();
        for task in 1..=3 {
            buffer.began(task, task);
        }
        buffer.ended(&ended(2));
        let started = taken(&mut buffer).started;
        let tasks: Vec<_> = started.chunks_exact(16).map(|row| row[8]).collect();
        assert_eq!(tasks, [1, 3]);
        assert!(buffer.take(0, None).is_none());
        assert!(
            buffer.unreported.is_empty(),
            "a batch does not look at reported ones"
        );
        buffer.ended(&ended(1));
        // The same call once more, after a failure.
        buffer.began(9, 1);
        assert_eq!(taken(&mut buffer).started.len(), 16);
    }

    #[test]
    fn coroutines_that_begin_and_end_while_nothing_is_written_take_no_room() {
        let mut buffer = Buffer::default();
        buffer.began(1, 1);
        for task in 2..100_000 {
            buffer.began(1, task);
            buffer.ended(&ended(task));
        }
        assert!(buffer.unreported.len() < 2 * SHORT_LIVED);
        assert_eq!(taken(&mut buffer).started.len(), 16);
    }

    #[test]
    fn beyond_the_limit_every_row_is_left_out_and_counted() {
        let mut buffer = full();
        let tessera = TesseraId {
            owner: RuntimeId(1),
            sequence: 1,
        };
        let callee = Callee::new(tessera, "Class".into(), "method".into());
        assert!(!buffer.created(1, 1, &callee, 0, 0, 2));
        buffer.queued(&[(1, 1), (1, 2), (1, 3)]);
        buffer.failed(1, 1, 0);
        let batch = taken(&mut buffer);
        assert_eq!(batch.dropped, 3 + 3 + 1);
        assert!(batch.created.is_empty() && batch.queued.is_empty() && batch.failed.is_empty());
        assert!(
            buffer.created(1, 1, &callee, 0, 0, 2),
            "there is room again"
        );
    }
}
