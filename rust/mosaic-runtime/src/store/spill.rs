//! Buffers on disk: one unnamed file of each process, readable by its owner only.
//!
//! A buffer is written in blocks of a megabyte, each compressed (LZ4 block format) where a sample of the buffer said
//! that it pays; the whole carries a CRC-32 that is checked before anything reads what came back (`SPILL-1`). A write
//! that fails leaves nothing behind, and what was stored before stays (`SPILL-2`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::memfd::Identity;
use super::ranges::Ranges;
use crate::sync::{Mutex, Rank};

/// Length of a block.
const BLOCK: usize = 1 << 20;
/// Marks, in a block's length, one that is stored as it was.
const PLAIN: u32 = 1 << 31;
/// How much of a buffer is compressed to see whether it pays, in three places.
const SAMPLE: usize = 64 << 10;
/// Ranges of the file begin at multiples of this.
const UNIT: u64 = 4096;

/// Where a buffer lies in a spill file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Range {
    pub(crate) offset: u64,
    /// Length on disk, in bytes.
    pub(crate) stored: u64,
    pub(crate) checksum: u32,
}

/// Why a buffer could not be written to disk.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The cap on spilled bytes is reached.
    Cap(u64),
    /// The system refused.
    System(io::Error),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cap(cap) => write!(f, "the cap of {} on disk is reached", super::bytes(*cap)),
            Self::System(error) => write!(f, "{error}"),
        }
    }
}

/// A process's part of the disk.
#[derive(Debug)]
pub(crate) struct Spill {
    directory: PathBuf,
    cap: u64,
    state: Mutex<State>,
}

/// A file of spilled buffers.
#[derive(Debug)]
pub(crate) struct SpillFile {
    file: File,
    /// Counts up within the process that writes it.
    pub(crate) number: u64,
    pub(crate) identity: Identity,
}

impl SpillFile {
    pub(crate) fn new(file: File, number: u64) -> io::Result<Self> {
        let identity = Identity::of(&file)?;
        Ok(Self {
            file,
            number,
            identity,
        })
    }
}

impl std::ops::Deref for SpillFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

#[derive(Debug, Default)]
struct State {
    file: Option<Arc<SpillFile>>,
    made: u64,
    /// Below the end.
    free: Ranges,
    end: u64,
    used: u64,
}

impl Spill {
    pub(crate) fn new(directory: PathBuf, cap: u64) -> Self {
        Self {
            directory,
            cap,
            state: Mutex::with_default(Rank::SpillFile),
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Bytes on disk.
    pub(crate) fn used(&self) -> u64 {
        self.state.lock().used
    }

    /// Write a buffer.
    pub(crate) fn write(self: &Arc<Self>, bytes: &[u8]) -> Result<Spilled, Refusal> {
        let compress = pays(bytes);
        let blocks = bytes.len().div_ceil(BLOCK) as u64;
        // Reserved for the worst case; what is not needed is given back below.
        let most = bytes.len() as u64 + 4 * blocks;
        let (file, offset) = self.reserve(most)?;
        let mut hasher = crc32fast::Hasher::new();
        let (mut at, mut block) = (offset, Vec::new());
        for part in bytes.chunks(BLOCK) {
            block.clear();
            let packed = compress.then(|| lz4_flex::block::compress(part));
            if let Some(packed) = packed.filter(|packed| packed.len() < part.len()) {
                block.extend_from_slice(&(packed.len() as u32).to_le_bytes());
                block.extend_from_slice(&packed);
            } else {
                block.extend_from_slice(&(PLAIN | part.len() as u32).to_le_bytes());
                block.extend_from_slice(part);
            }
            hasher.update(&block);
            if let Err(error) = file.write_all_at(&block, at) {
                self.release(&file, offset, most);
                return Err(Refusal::System(error));
            }
            at += block.len() as u64;
        }
        let stored = at - offset;
        self.release_tail(offset, most, stored);
        let range = Range {
            offset,
            stored,
            checksum: hasher.finalize(),
        };
        Ok(Spilled {
            spill: Arc::clone(self),
            file,
            range,
        })
    }

    fn reserve(&self, length: u64) -> Result<(Arc<SpillFile>, u64), Refusal> {
        let length = length.next_multiple_of(UNIT);
        let mut state = self.state.lock();
        if state.used + length > self.cap {
            return Err(Refusal::Cap(self.cap));
        }
        let file = if let Some(file) = &state.file {
            Arc::clone(file)
        } else {
            state.made += 1;
            let file = unnamed(&self.directory)
                .and_then(|file| SpillFile::new(file, state.made))
                .map_err(Refusal::System)?;
            let file = Arc::new(file);
            state.file = Some(Arc::clone(&file));
            file
        };
        state.used += length;
        let offset = if let Some(offset) = state.free.tightest(length) {
            state.free.take(offset, length);
            offset
        } else {
            state.end += length;
            state.end - length
        };
        Ok((file, offset))
    }

    /// A range is not needed any more: its blocks go back to the file system.
    fn release(&self, file: &File, offset: u64, length: u64) {
        let length = length.next_multiple_of(UNIT);
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{FallocateFlags, fallocate};
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // Where the file system cannot do that, the range is used again all the same.
            let _ = fallocate(file, flags, offset, length);
        }
        self.forget(offset, length);
    }

    /// Of a range only the beginning was needed.
    fn release_tail(&self, offset: u64, reserved: u64, needed: u64) {
        let (reserved, needed) = (
            reserved.next_multiple_of(UNIT),
            needed.next_multiple_of(UNIT),
        );
        if reserved > needed {
            self.forget(offset + needed, reserved - needed);
        }
    }

    fn forget(&self, offset: u64, length: u64) {
        let mut state = self.state.lock();
        state.used -= length;
        state.free.put_back(offset, length);
        let end = state.end;
        if let Some(start) = state.free.take_last(end) {
            state.end = start;
            if let Some(file) = &state.file {
                let _ = file.set_len(start);
            }
        }
        if state.end == 0 {
            // Nothing is left: nor is the descriptor.
            state.file = None;
        }
    }
}

/// A buffer's part of a spill file, until it is dropped.
#[derive(Debug)]
pub(crate) struct Spilled {
    spill: Arc<Spill>,
    pub(crate) file: Arc<SpillFile>,
    pub(crate) range: Range,
}

impl Drop for Spilled {
    fn drop(&mut self) {
        if crate::sync::threads::forked() {
            // It is the parent's, and still there.
            return;
        }
        self.spill
            .release(&self.file, self.range.offset, self.range.stored);
    }
}

/// A file without a name.
fn unnamed(directory: &Path) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(libc::O_TMPFILE | libc::O_CLOEXEC)
            .open(directory);
        match opened {
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)
                ) => {}
            result => return result,
        }
    }
    // The file system knows no unnamed files: a name for the moment between two calls.
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let path = directory.join(format!(".mosaic-{:016x}", u64::from_ne_bytes(random)));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// Whether compression pays: a sample shrinks by a tenth at least.
fn pays(bytes: &[u8]) -> bool {
    if bytes.len() < SAMPLE {
        return false;
    }
    let part = SAMPLE / 4;
    let starts = [0, (bytes.len() - part) / 2, bytes.len() - part];
    let packed: usize = starts
        .iter()
        .map(|&start| lz4_flex::block::compress(&bytes[start..start + part]).len())
        .sum();
    packed * 10 < part * 3 * 9
}

/// Read a buffer of that many bytes back (`SPILL-1`).
pub(crate) fn read(file: &File, range: Range, length: usize, out: &mut [u8]) -> io::Result<()> {
    let damaged = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "what was written to disk is damaged",
        )
    };
    if out.len() != length {
        return Err(damaged());
    }
    let mut hasher = crc32fast::Hasher::new();
    let end = range.offset + range.stored;
    let (mut at, mut packed) = (range.offset, Vec::new());
    for part in out.chunks_mut(BLOCK) {
        let mut head = [0; 4];
        file.read_exact_at(&mut head, at)?;
        hasher.update(&head);
        at += 4;
        let head = u32::from_le_bytes(head);
        let stored = (head & !PLAIN) as usize;
        if stored > BLOCK || at + stored as u64 > end {
            return Err(damaged());
        }
        if head & PLAIN != 0 {
            if stored != part.len() {
                return Err(damaged());
            }
            file.read_exact_at(part, at)?;
            hasher.update(part);
        } else {
            packed.resize(stored, 0);
            file.read_exact_at(&mut packed, at)?;
            hasher.update(&packed);
            match lz4_flex::block::decompress_into(&packed, part) {
                Ok(written) if written == part.len() => {}
                _ => return Err(damaged()),
            }
        }
        at += stored as u64;
    }
    if at == end && hasher.finalize() == range.checksum {
        Ok(())
    } else {
        Err(damaged())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 12345u64;
        (0..length)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 33) as u8
            })
            .collect()
    }

    fn back(spilled: &Spilled, length: usize) -> io::Result<Vec<u8>> {
        let mut out = vec![0; length];
        read(&spilled.file, spilled.range, length, &mut out).map(|()| out)
    }

    /// `SPILL-1`
    #[test]
    fn spill_1_what_comes_back_is_what_was_written_or_an_error() {
        let directory = tempfile::tempdir().expect("a directory");
        let spill = Arc::new(Spill::new(directory.path().into(), u64::MAX));
        let plain = noise(3 * BLOCK + 17);
        let packable = vec![7; 5 * BLOCK];
        let (first, second) = (
            spill.write(&plain).expect("written"),
            spill.write(&packable).expect("written"),
        );
        assert!(second.range.stored < packable.len() as u64 / 50);
        assert_eq!(back(&first, plain.len()).expect("read"), plain);
        assert_eq!(back(&second, packable.len()).expect("read"), packable);
        assert_eq!(
            std::fs::read_dir(directory.path())
                .expect("it exists")
                .count(),
            0,
            "the file has no name"
        );
        first
            .file
            .write_all_at(&[plain[100] ^ 1], first.range.offset + 104)
            .expect("damaged");
        assert!(back(&first, plain.len()).is_err());
        drop((first, second));
        assert_eq!(spill.used(), 0);
        assert!(spill.state.lock().file.is_none());
    }

    /// `SPILL-2`
    #[test]
    fn spill_2_beyond_the_cap_nothing_is_written_and_nothing_is_lost() {
        let directory = tempfile::tempdir().expect("a directory");
        let spill = Arc::new(Spill::new(directory.path().into(), 3 << 20));
        let bytes = noise(2 << 20);
        let first = spill.write(&bytes).expect("written");
        let used = spill.used();
        assert!(matches!(spill.write(&bytes), Err(Refusal::Cap(_))));
        assert_eq!(spill.used(), used);
        assert_eq!(back(&first, bytes.len()).expect("read"), bytes);
        drop(first);
        drop(spill.write(&bytes).expect("room again"));
        let nowhere = Arc::new(Spill::new(directory.path().join("missing"), u64::MAX));
        assert!(matches!(nowhere.write(&bytes), Err(Refusal::System(_))));
        assert_eq!(nowhere.used(), 0);
    }
}
