//! Frames to and from bytes.
//!
//! Owns the bytes that wait to be written to one peer, and those read from it that do not make a frame yet.
//!
//! - WIRE-1: nothing read makes the reader panic, loop for ever, or allocate more than its limits allow.
//! - WIRE-2: a frame reads back as the message that was written, however the bytes were torn.
//! - WIRE-3: a large body or segment is never copied on its way out; on its way in it is read into an
//!   allocation of its own, except for what had come with the bytes before it.
//! - WIRE-4: of a segment in a store only a description travels, however large the segment.
//! - WIRE-5: a frame whose header can be read costs nothing but its own value, whatever is wrong with the rest of it:
//!   the bytes that cannot be had are skipped, and the message says why they are not there.
//! - WIRE-6: a description names the machine in whose stores the segment lies; on another machine the segment is lost, and
//!   the store is not asked.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::header::{self, Body, COPY_BELOW};
use super::stored::{Borrower, LONGEST_DESCRIPTION, Lender, STORED, find};
use super::{Limits, Message, PROTOCOL_VERSION, WireError};
use crate::call::Source;
use crate::payload::{Loss, Segment, ThinVec};

const PREFIX: usize = 16;
/// From this length on, a part is written by reference: below it, copying costs less than another slice
/// of a vectored write.
const REFERENCE_FROM: usize = 16 << 10;
/// From this length on, a part is read into an allocation of its own.
const LARGE: usize = 64 << 10;
/// How much the read buffer takes at a time.
const READ: usize = 64 << 10;
/// The read buffer is renewed when less than this is left of it.
const LEAST: usize = 4 << 10;
/// From this length on, the reader asks whether the memory is there before it takes it.
const PROBE: u64 = 1 << 20;

/// Messages on their way to one peer.
#[derive(Default, Debug)]
pub struct FrameWriter {
    /// Finished chunks, oldest first.
    chunks: VecDeque<Bytes>,
    /// Small things, collected: written after the chunks.
    tail: BytesMut,
    /// Length of it all.
    length: usize,
}

impl FrameWriter {
    /// Nothing to write.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes that wait to be written.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends the frame of a message. On an error nothing is appended.
    pub fn push(&mut self, message: &Message, lender: &mut dyn Lender) -> Result<(), WireError> {
        let limits = Limits::default();
        let payload = header::payload_of(message);
        let dependencies = header::dependencies_of(message);
        let segments = payload.map_or(&[][..], |payload| &payload.segments);
        let count = u16::try_from(segments.len()).unwrap_or(u16::MAX);
        if count > limits.segments {
            let (length, limit) = (segments.len() as u64, u64::from(limits.segments));
            return Err(WireError::TooLong {
                what: "number of segments",
                length,
                limit,
            });
        }
        if let Some(loss) = segments.iter().find_map(|segment| match segment {
            Segment::Lost(loss) => Some(loss),
            _ => None,
        }) {
            return Err(WireError::Lost(Arc::clone(loss)));
        }
        let block = match dependencies {
            [] => BytesMut::new(),
            dependencies => header::encode_dependencies(dependencies)?,
        };
        let (described, descriptions) = describe(segments, lender)?;

        let start = self.tail.len();
        self.tail.reserve(PREFIX + 8 * segments.len());
        self.tail.put_bytes(0, PREFIX);
        let mut lengths = described.iter();
        for segment in segments {
            self.tail.put_u64_le(match segment {
                Segment::Bytes(bytes) => bytes.len() as u64,
                Segment::Stored(_) => STORED | lengths.next().copied().unwrap_or_default(),
                Segment::Lost(_) => 0,
            });
        }
        let header_start = self.tail.len();
        let written = header::encode(message, block.len(), &mut self.tail);
        let header = (self.tail.len() - header_start) as u64;
        let kind = match written {
            Ok(kind) if header <= u64::from(limits.header) => kind,
            written => {
                self.tail.truncate(start);
                written?;
                return Err(WireError::TooLong {
                    what: "header",
                    length: header,
                    limit: u64::from(limits.header),
                });
            }
        };
        let values = dependencies
            .iter()
            .filter_map(|dependency| match &dependency.source {
                Source::Here(_, bytes) => Some(bytes),
                _ => None,
            });
        let mut body = block.len() + values.clone().map(Bytes::len).sum::<usize>();
        if let Some(payload) = payload {
            body += header::references_length(&payload.references) + payload.body.len();
        }
        let mut prefix = &mut self.tail[start..start + PREFIX];
        prefix.put_u8(PROTOCOL_VERSION);
        prefix.put_u8(kind);
        prefix.put_u16_le(count);
        prefix.put_u32_le(header as u32);
        prefix.put_u64_le(body as u64);
        self.length += self.tail.len() - start;

        if let Some(payload) = payload {
            let before = self.tail.len();
            header::encode_references(&payload.references, &mut self.tail);
            self.tail.extend_from_slice(&block);
            self.length += self.tail.len() - before;
            values.for_each(|value| self.append(value));
            self.append(&payload.body);
            let (mut descriptions, mut lengths) = (descriptions, described.iter());
            for segment in segments {
                match segment {
                    Segment::Bytes(bytes) => self.append(bytes),
                    Segment::Stored(_) => {
                        let length = lengths.next().copied().unwrap_or_default() as usize;
                        self.append(&descriptions.split_to(length).freeze());
                    }
                    Segment::Lost(_) => {}
                }
            }
        }
        Ok(())
    }

    fn append(&mut self, bytes: &Bytes) {
        self.length += bytes.len();
        if bytes.len() < REFERENCE_FROM {
            self.tail.extend_from_slice(bytes);
            return;
        }
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
        self.chunks.push_back(bytes.clone());
    }

    /// Fills `slices` with what is to be written next, for a vectored write; returns how many it filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let tail = Some(&*self.tail).filter(|tail| !tail.is_empty());
        let parts = self.chunks.iter().map(|chunk| &**chunk).chain(tail);
        let mut filled = 0;
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
            filled += 1;
        }
        filled
    }

    /// Takes out the first `count` bytes: they are written.
    pub fn advance(&mut self, count: usize) {
        let mut left = count.min(self.length);
        self.length -= left;
        while left > 0 {
            let Some(chunk) = self.chunks.front_mut() else {
                self.tail.advance(left);
                return;
            };
            if left < chunk.len() {
                chunk.advance(left);
                return;
            }
            left -= chunk.len();
            self.chunks.pop_front();
        }
    }
}

/// Has the stored ones among the segments described: the length of each description, and all of them.
fn describe(
    segments: &[Segment],
    lender: &mut dyn Lender,
) -> Result<(Vec<u64>, BytesMut), WireError> {
    let (mut lengths, mut out) = (Vec::new(), BytesMut::new());
    for segment in segments {
        if let Segment::Stored(stored) = segment {
            let start = out.len();
            out.put_u32_le(stored.node().0);
            lender.describe(stored, &mut out)?;
            lengths.push((out.len() - start) as u64);
        }
    }
    Ok((lengths, out))
}

/// A frame of which the header is here and the rest is not.
#[derive(Debug)]
struct Partial {
    kind: u8,
    header: Bytes,
    /// Lengths of the body and of the segments; of stored segments, those of their descriptions, marked.
    lengths: Vec<u64>,
    /// Those that are complete, or are not to be had for that reason. Of a body that is not to be had the front is here.
    parts: Vec<(Bytes, Option<Loss>)>,
    /// Why nothing but the descriptions is to be had.
    refused: Option<Loss>,
    /// The part that is being read, once it is decided how.
    current: Option<Part>,
}

/// A part of a frame on its way in.
#[derive(Debug)]
struct Part {
    /// How many bytes of it are kept.
    kept: usize,
    /// How many of those behind are still to be skipped.
    skipped: u64,
    /// Why they are.
    loss: Option<Loss>,
    /// Its own allocation, if it is long.
    large: Option<BytesMut>,
    /// What was kept, once that is here.
    here: Option<Bytes>,
}

/// Bytes from one peer, on their way to messages.
#[derive(Debug)]
pub struct FrameReader {
    limits: Limits,
    buffer: BytesMut,
    /// How long the buffer must be for the next step.
    needed: usize,
    partial: Option<Partial>,
    /// What was wrong; nothing is read after it.
    broken: Option<WireError>,
}

/// What the fixed prefix says, checked.
struct Prefix {
    kind: u8,
    segments: usize,
    header: usize,
    body: u64,
}

impl FrameReader {
    /// Nothing read.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: BytesMut::new(),
            needed: PREFIX,
            partial: None,
            broken: None,
        }
    }

    /// Where to append the bytes read next: its spare capacity is never empty. Call [`Self::next`] until
    /// it gives `None` before asking again.
    pub fn target(&mut self) -> &mut BytesMut {
        let large = self
            .partial
            .as_mut()
            .and_then(|partial| partial.current.as_mut()?.large.as_mut());
        match large {
            Some(large) if large.len() < large.capacity() => large,
            _ => {
                let missing = self.needed.saturating_sub(self.buffer.len());
                if self.buffer.capacity() - self.buffer.len() < missing.max(LEAST) {
                    self.buffer.reserve(missing.max(READ));
                }
                &mut self.buffer
            }
        }
    }

    /// Whether no frame is half read.
    pub fn is_between(&self) -> bool {
        self.partial.is_none()
    }

    /// The next message that is complete. After an error only errors come.
    #[allow(clippy::should_implement_trait)] // it is not an iterator: `None` means "read more"
    pub fn next(&mut self, borrower: &mut dyn Borrower) -> Result<Option<Message>, WireError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let result = self.step(borrower);
        if let Err(error) = &result {
            self.broken = Some(error.clone());
            self.partial = None;
            self.buffer = BytesMut::new();
        }
        result
    }

    fn step(&mut self, borrower: &mut dyn Borrower) -> Result<Option<Message>, WireError> {
        if self.partial.is_none() {
            if self.buffer.len() < PREFIX {
                self.needed = PREFIX;
                return Ok(None);
            }
            let prefix = self.prefix()?;
            let head = PREFIX + 8 * prefix.segments + prefix.header;
            let fits = prefix.body <= self.limits.payload;
            if fits && prefix.segments == 0 && prefix.body < COPY_BELOW as u64 {
                return self.short(&prefix, head + prefix.body as usize);
            }
            if self.buffer.len() < head {
                self.needed = head;
                return Ok(None);
            }
            self.partial = Some(self.begin(&prefix, head)?);
        }
        self.parts(borrower)
    }

    fn prefix(&self) -> Result<Prefix, WireError> {
        let mut bytes = &self.buffer[..PREFIX];
        let version = bytes.get_u8();
        if version != PROTOCOL_VERSION {
            return Err(WireError::Version(version));
        }
        let kind = bytes.get_u8();
        let (segments, header, body) = (bytes.get_u16_le(), bytes.get_u32_le(), bytes.get_u64_le());
        // What is too long elsewhere is skipped: the header says whose it is.
        if header > self.limits.header {
            return Err(WireError::TooLong {
                what: "header",
                length: u64::from(header),
                limit: u64::from(self.limits.header),
            });
        }
        Ok(Prefix {
            kind,
            segments: usize::from(segments),
            header: header as usize,
            body,
        })
    }

    /// The usual case: a frame without segments that fits the buffer.
    fn short(&mut self, prefix: &Prefix, length: usize) -> Result<Option<Message>, WireError> {
        if self.buffer.len() < length {
            self.needed = length;
            return Ok(None);
        }
        let (header, body) = self.buffer[PREFIX..length].split_at(prefix.header);
        let message = header::decode(
            prefix.kind,
            header,
            Body::Borrowed(body),
            ThinVec::new(),
            None,
        )?;
        self.buffer.advance(length);
        Ok(Some(message))
    }

    fn begin(&mut self, prefix: &Prefix, head: usize) -> Result<Partial, WireError> {
        let mut bytes = self.buffer.split_to(head).freeze();
        bytes.advance(PREFIX);
        let mut lengths = Vec::with_capacity(1 + prefix.segments);
        lengths.push(prefix.body);
        let mut total = prefix.body;
        for _ in 0..prefix.segments {
            let length = bytes.get_u64_le();
            total = total.saturating_add(length & !STORED);
            lengths.push(length);
        }
        let refused = [
            (
                "number of segments",
                prefix.segments as u64,
                u64::from(self.limits.segments),
            ),
            ("payload", total, self.limits.payload),
        ];
        let refused = refused
            .into_iter()
            .find(|(_, length, limit)| length > limit)
            .map(|(what, length, limit)| Loss::TooLong {
                what,
                length,
                limit,
            });
        if refused.is_some() {
            // Before that much is skipped: bytes that make no header are no frame.
            let nothing = Body::OwnedTask(Bytes::new());
            header::decode(
                prefix.kind,
                &bytes,
                nothing,
                ThinVec::new(),
                refused.clone(),
            )?;
        }
        let parts = Vec::with_capacity(lengths.len());
        Ok(Partial {
            kind: prefix.kind,
            header: bytes,
            lengths,
            parts,
            refused,
            current: None,
        })
    }

    fn parts(&mut self, borrower: &mut dyn Borrower) -> Result<Option<Message>, WireError> {
        let Some(partial) = &mut self.partial else {
            return Ok(None);
        };
        while partial.parts.len() < partial.lengths.len() {
            let part = match partial.current.take() {
                Some(part) => part,
                None => partial.next_part()?,
            };
            let part = partial.current.insert(part);
            if part.here.is_none() {
                match part.read(&mut self.buffer) {
                    Ok(here) => part.here = Some(here),
                    Err(needed) => {
                        self.needed = needed;
                        return Ok(None);
                    }
                }
            }
            let skipped = (self.buffer.len() as u64).min(part.skipped);
            self.buffer.advance(skipped as usize);
            part.skipped -= skipped;
            if part.skipped > 0 {
                self.needed = 0;
                return Ok(None);
            }
            if let Some(part) = partial.current.take() {
                let here = part.here.unwrap_or_default();
                partial.parts.push((here, part.loss));
            }
        }
        let Some(partial) = self.partial.take() else {
            return Ok(None);
        };
        self.needed = PREFIX;
        let mut parts = partial.parts.into_iter();
        let (body, loss) = parts.next().unwrap_or_default();
        let segments = parts.zip(&partial.lengths[1..]);
        let segments = segments.map(|((part, why), length)| {
            let missing = |why: Loss| Segment::Lost(why.into());
            match why {
                Some(why) => missing(why),
                None if length & STORED == 0 => Segment::Bytes(part),
                None => find(borrower, &part).map_or_else(missing, Segment::Stored),
            }
        });
        let segments = segments.collect();
        let body = Body::OwnedTask(body);
        header::decode(partial.kind, &partial.header, body, segments, loss).map(Some)
    }
}

impl Partial {
    /// How the next part is read: whole, if it is to be had.
    fn next_part(&self) -> Result<Part, WireError> {
        let place = self.parts.len();
        let length = self.lengths.get(place).copied().unwrap_or_default();
        let (stored, length) = (length & STORED != 0, length & !STORED);
        let loss = match &self.refused {
            _ if stored => (length > LONGEST_DESCRIPTION).then_some(Loss::TooLong {
                what: "description of a segment",
                length,
                limit: LONGEST_DESCRIPTION,
            }),
            Some(refused) => Some(refused.clone()),
            None => (!is_there(length)).then_some(Loss::Memory(length)),
        };
        let kept = match &loss {
            None => length,
            // The references at its front are counted.
            Some(loss) if place == 0 => {
                if self.refused.is_none() {
                    // Before that much is skipped, as in `begin`.
                    let nothing = Body::OwnedTask(Bytes::new());
                    let segments = ThinVec::new();
                    header::decode(
                        self.kind,
                        &self.header,
                        nothing,
                        segments,
                        Some(loss.clone()),
                    )?;
                }
                let front = header::references_of(self.kind, &self.header).min(length);
                if is_there(front) { front } else { 0 }
            }
            Some(_) => 0,
        };
        let large = kept >= LARGE as u64;
        Ok(Part {
            kept: kept as usize,
            skipped: length - kept,
            loss,
            large: large.then(|| BytesMut::with_capacity(kept as usize)),
            here: None,
        })
    }
}

impl Part {
    /// What is kept of it, once all of that has come. Until then: how long the read buffer must be for the next step.
    fn read(&mut self, buffer: &mut BytesMut) -> Result<Bytes, usize> {
        let Some(large) = &mut self.large else {
            if buffer.len() < self.kept {
                return Err(self.kept);
            }
            return Ok(buffer.split_to(self.kept).freeze());
        };
        let missing = self.kept.saturating_sub(large.len()).min(buffer.len());
        large.extend_from_slice(&buffer[..missing]);
        buffer.advance(missing);
        if large.len() < self.kept {
            return Err(0);
        }
        if large.len() > self.kept {
            // The allocator gave more than was asked for, and the reader used it.
            buffer.extend_from_slice(&large[self.kept..]);
            large.truncate(self.kept);
        }
        Ok(self.large.take().unwrap_or_default().freeze())
    }
}

/// Whether memory for a part is to be had: a claim that cannot be met costs its value, not the process.
fn is_there(length: u64) -> bool {
    let Ok(wanted) = usize::try_from(length) else {
        return false;
    };
    length < PROBE || Vec::<u8>::new().try_reserve_exact(wanted).is_ok()
}
