//! The file of a profile: framed records that any number of processes append to.
//!
//! A frame is [`SYNC`], the length of its body and a CRC-32 of that length and the body (both four bytes, little
//! endian), and the body: one [`Record`] in msgpack. A frame is written with a single append. A process that dies
//! truncates at most one frame: the reader searches for the next [`SYNC`] and returns only records that are whole
//! (`PROFILE-1`). `docs/design/profile.md` lists the columns of the tables.

use std::io;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::clock::Anchor;

/// What every frame starts with.
pub const SYNC: [u8; 8] = *b"\x89mprof\r\n";
/// Bytes before the body of a frame.
pub const HEAD: usize = SYNC.len() + 8;
/// The version of the format.
pub const VERSION: u16 = 1;

/// What a frame holds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Record {
    /// A process has begun to record; its first frame.
    Process(Process),
    /// What happened since its last batch.
    Batch(Box<Batch>),
}

/// The process that records.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Process {
    /// The version of the format.
    pub version: u16,
    /// The number of the runtime, which is part of the ids of its tasks.
    pub runtime: u32,
    /// Its name: `worker:0:1`.
    pub uid: String,
    /// Its process.
    pub pid: u32,
    /// The moment of this record.
    pub anchor: Anchor,
    /// The same moment, in nanoseconds since 1970.
    pub wall: u64,
}

/// A callee: the number that rows refer to, the tessera (its owner and its number), the kind of call, the class and the
/// method.
pub(super) type CalleeRow = (u32, u32, u64, u8, String, String);

/// Rows of tables. Each table is packed: rows of one length, of integers in little endian.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Batch {
    /// The number of the runtime.
    pub runtime: u32,
    /// The moment at which it is written.
    pub anchor: Anchor,
    /// Callees that rows of calls refer to from now on.
    pub callees: Vec<CalleeRow>,
    /// Functions that rows refer to from now on: the number, the file, the name.
    pub names: Vec<(u32, String, String)>,
    /// Calls that this process made.
    pub created: Bytes,
    /// The calls within which this process made calls.
    pub parents: Bytes,
    /// The dependencies of calls that this process made.
    pub links: Bytes,
    /// Calls that this process received.
    pub queued: Bytes,
    /// Calls that run in this process while the batch is written.
    pub started: Bytes,
    /// Calls that ended in this process.
    pub done: Bytes,
    /// Those of the ended calls whose arguments or results took long to convert.
    pub coded: Bytes,
    /// Calls of this process that failed.
    pub failed: Bytes,
    /// Values that this process received.
    pub moved: Bytes,
    /// Functions that ran within calls.
    pub spans: Bytes,
    /// How often functions ran, and how long, since the last batch.
    pub functions: Bytes,
    /// Rows that were dropped since the disk was too slow.
    pub dropped: u64,
}

impl Record {
    /// The record as a frame.
    ///
    /// # Errors
    /// The record is longer than a frame can be: 4 GiB.
    pub fn to_frame(&self) -> io::Result<Vec<u8>> {
        let mut frame = Vec::new();
        self.write_frame(&mut frame)?;
        Ok(frame)
    }

    /// Write the record as a frame into a vector, whose memory is used again.
    pub(super) fn write_frame(&self, frame: &mut Vec<u8>) -> io::Result<()> {
        frame.clear();
        frame.resize(HEAD, 0);
        rmp_serde::encode::write_named(frame, self).map_err(io::Error::other)?;
        let length = u32::try_from(frame.len() - HEAD).map_err(io::Error::other)?;
        let length = length.to_le_bytes();
        let check = checksum(length, &frame[HEAD..]).to_le_bytes();
        frame[..8].copy_from_slice(&SYNC);
        frame[8..12].copy_from_slice(&length);
        frame[12..HEAD].copy_from_slice(&check);
        Ok(())
    }
}

fn checksum(length: [u8; 4], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(body);
    hasher.finalize()
}

/// The records of a file, in the order in which they were appended.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Profile {
    /// The records that are whole.
    pub records: Vec<Record>,
    /// Bytes that belong to no whole record: truncated by a death or a full disk.
    pub torn: u64,
}

/// Read the contents of a file.
///
/// # Errors
/// It was written in a later version of the format.
pub fn parse(bytes: &[u8]) -> io::Result<Profile> {
    let mut profile = Profile::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        if let Some((record, length)) = first(rest) {
            if let Record::Process(process) = &record
                && process.version > VERSION
            {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "it is in version {} of the format, and this mosaic reads up to {VERSION}",
                        process.version
                    ),
                ));
            }
            profile.records.push(record);
            rest = &rest[length..];
            continue;
        }
        // The next place where a record may start: none that is whole starts here.
        let next = rest[1..]
            .windows(SYNC.len())
            .position(|window| window == SYNC)
            .map_or(rest.len(), |at| at + 1);
        profile.torn += next as u64;
        rest = &rest[next..];
    }
    Ok(profile)
}

/// The record that the bytes start with, if it is whole, and the length of its frame.
fn first(bytes: &[u8]) -> Option<(Record, usize)> {
    let head = bytes.get(..HEAD)?;
    if head[..8] != SYNC {
        return None;
    }
    let length: [u8; 4] = head[8..12].try_into().ok()?;
    let check = u32::from_le_bytes(head[12..].try_into().ok()?);
    let end = HEAD.checked_add(u32::from_le_bytes(length) as usize)?;
    let body = bytes.get(HEAD..end)?;
    if checksum(length, body) != check {
        return None;
    }
    rmp_serde::from_slice(body).ok().map(|record| (record, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = Record> {
        let process = (any::<u32>(), ".{0,12}", any::<u64>()).prop_map(|(runtime, uid, wall)| {
            Record::Process(Process {
                version: VERSION,
                runtime,
                uid,
                pid: 7,
                anchor: Anchor::default(),
                wall,
            })
        });
        let bytes = || proptest::collection::vec(any::<u8>(), 0..80).prop_map(Bytes::from);
        let batch = (any::<u32>(), ".{0,12}", bytes(), bytes()).prop_map(
            |(runtime, name, created, done)| {
                Record::Batch(Box::new(Batch {
                    runtime,
                    names: vec![(1, name.clone(), name)],
                    created,
                    done,
                    ..Batch::default()
                }))
            },
        );
        prop_oneof![process, batch]
    }

    fn frames(records: &[Record]) -> Vec<Vec<u8>> {
        let frames = records.iter().map(|record| record.to_frame().unwrap());
        frames.collect()
    }

    proptest! {
        #[test]
        fn profile_1_any_prefix_gives_the_records_that_are_whole_within_it(
            records in proptest::collection::vec(record(), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let frames = frames(&records);
            let bytes = frames.concat();
            let cut = cut.index(bytes.len() + 1);
            let mut end = 0;
            let whole = frames.iter().take_while(|frame| { end += frame.len(); end <= cut }).count();
            let profile = parse(&bytes[..cut]).unwrap();
            prop_assert_eq!(&profile.records, &records[..whole]);
            let kept: usize = frames[..whole].iter().map(Vec::len).sum();
            prop_assert_eq!(profile.torn as usize, cut - kept);
        }

        #[test]
        fn profile_1_what_is_torn_in_the_middle_takes_nothing_else_along(
            records in proptest::collection::vec(record(), 1..6),
            victim in any::<prop::sample::Index>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut frames = frames(&records);
            let victim = victim.index(frames.len());
            let length = frames[victim].len();
            let cut = cut.index(length);
            frames[victim].truncate(cut);
            let profile = parse(&frames.concat()).unwrap();
            let mut left = records;
            left.remove(victim);
            prop_assert_eq!(profile.records, left);
            prop_assert_eq!(profile.torn as usize, cut);
        }

        #[test]
        fn profile_1_a_flipped_bit_costs_one_record(
            records in proptest::collection::vec(record(), 1..6),
            at in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            let mut bytes = frames(&records).concat();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let profile = parse(&bytes).unwrap();
            prop_assert_eq!(profile.records.len(), records.len() - 1);
        }

        #[test]
        fn profile_1_bytes_of_anybody_give_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let profile = parse(&bytes).unwrap();
            prop_assert_eq!(profile.torn as usize, bytes.len());
        }
    }

    #[test]
    fn a_later_version_is_refused_by_name() {
        let process = Process {
            version: VERSION + 1,
            runtime: 0,
            uid: "head".into(),
            pid: 1,
            anchor: Anchor::default(),
            wall: 0,
        };
        let frame = Record::Process(process).to_frame().unwrap();
        let error = parse(&frame).unwrap_err().to_string();
        assert!(error.contains("version 2"), "{error}");
    }
}
