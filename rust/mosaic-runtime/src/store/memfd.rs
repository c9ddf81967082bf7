//! Anonymous memory files and mappings of them: all that the store does with the system's memory.
//!
//! A file has no name, a fixed size and a seal against shrinking: whoever maps it can never meet a page that is
//! not there (`MEMORY-1`). A private mapping shows the file, and keeps what is written to it for itself
//! (`MEMORY-2`); what was written can be discarded, and the mapping used again, at the price of the touched
//! pages. Large mappings begin at a multiple of the span of a page table, so that moving one moves tables rather
//! than pages. The largest are as long as the tables above those span, so that moving one moves the few entries for
//! these. What that costs is in `docs/design/store.md`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

/// Memory is taken and given back in pieces of this many bytes: a multiple of every page size.
pub(crate) const PIECE: usize = 64 << 10;
/// What one page table spans.
const TABLE: usize = 2 << 20;
/// What a table of page tables spans.
const DIRECTORY: usize = 1 << 30;
/// From this length on, mappings are made of whole such tables: up to then moving page tables takes less than 15 us.
pub(crate) const WHOLE_DIRECTORIES: usize = 64 << 20;

/// Round up to whole pieces.
pub(crate) const fn pieces(length: usize) -> usize {
    length.div_ceil(PIECE) * PIECE
}

/// What tells an open file from any other, in every process that has it: its device and number there. No other has the
/// same as long as it is open anywhere. Zeros where the system does not tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) number: u64,
}

impl Identity {
    /// That of an open file.
    pub(crate) fn of(file: impl AsFd) -> io::Result<Self> {
        Ok(Self::from_status(&rustix::fs::fstat(file)?))
    }

    #[allow(
        clippy::unnecessary_cast,
        reason = "their types differ from system to system"
    )]
    fn from_status(status: &rustix::fs::Stat) -> Self {
        Self {
            device: status.st_dev as u64,
            number: status.st_ino as u64,
        }
    }
}

/// A file in memory, without a name.
#[derive(Debug)]
pub(crate) struct MemoryFile {
    file: OwnedFd,
    length: usize,
    identity: Identity,
}

impl MemoryFile {
    /// A new one; no memory is taken until it is written to.
    #[cfg(target_os = "linux")]
    pub(crate) fn create(length: usize) -> io::Result<Self> {
        use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
        let file = memfd_create("mosaic", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, length as u64)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW)?;
        let identity = Identity::of(&file)?;
        Ok(Self {
            file,
            length,
            identity,
        })
    }

    /// A new one; no memory is taken until it is written to.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn create(length: usize) -> io::Result<Self> {
        use rustix::fs::{Mode, ftruncate};
        use rustix::shm;
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let name = format!("/mosaic-{:016x}", u64::from_ne_bytes(random));
        let flags = shm::OFlags::CREATE | shm::OFlags::EXCL | shm::OFlags::RDWR;
        let file = shm::open(&name, flags, Mode::RUSR | Mode::WUSR)?;
        shm::unlink(&name)?;
        ftruncate(&file, length as u64)?;
        let identity = Identity::of(&file)?;
        Ok(Self {
            file,
            length,
            identity,
        })
    }

    /// One that a peer sent. Refused where it could shrink under its readers.
    pub(crate) fn adopt(file: OwnedFd) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{SealFlags, fcntl_get_seals};
            if !fcntl_get_seals(&file)?.contains(SealFlags::SHRINK) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a memory file without a seal",
                ));
            }
        }
        let status = rustix::fs::fstat(&file)?;
        let length = usize::try_from(status.st_size).map_err(io::Error::other)?;
        Ok(Self {
            file,
            length,
            identity: Identity::from_status(&status),
        })
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Give memory back to the system; the range reads as zeros.
    pub(crate) fn give_back(&self, offset: usize, length: usize) -> io::Result<()> {
        if crate::sync::threads::forked() {
            // What a forked child has no use for is its parent's.
            return Err(io::ErrorKind::Unsupported.into());
        }
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{FallocateFlags, fallocate};
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(&self.file, flags, offset as u64, length as u64)?;
            Ok(())
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (offset, length);
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}

impl AsFd for MemoryFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Address space of this process; what is mapped there goes with it.
#[derive(Debug)]
pub(crate) struct Mapping {
    address: NonNull<u8>,
    length: usize,
    /// What is mapped, the length or more: addresses beyond the end of the file, at which nobody looks.
    span: usize,
}

// SAFETY: a mapping is a range of addresses; whoever reads or writes there says why that is sound.
unsafe impl Send for Mapping {}
// SAFETY: see above.
unsafe impl Sync for Mapping {}

fn check(result: *mut libc::c_void) -> io::Result<NonNull<u8>> {
    if result == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(result.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))
}

impl Mapping {
    /// Addresses with nothing behind them, at `skew` beyond a multiple of what a table spans.
    fn reserve(length: usize, skew: usize) -> io::Result<Self> {
        if length >= WHOLE_DIRECTORIES && cfg!(target_pointer_width = "64") {
            let span = length.next_multiple_of(DIRECTORY);
            // A limit may be set on addresses (`ulimit -v`).
            if let Ok(mapping) = Self::reserve_aligned(length, span, DIRECTORY, skew) {
                return Ok(mapping);
            }
        }
        let unit = if length >= TABLE { TABLE } else { PIECE };
        Self::reserve_aligned(length, length, unit, skew)
    }

    fn reserve_aligned(length: usize, span: usize, unit: usize, skew: usize) -> io::Result<Self> {
        let room = if unit == PIECE { span } else { span + unit };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: new addresses of the kernel's choice; nothing of the process's is touched.
        let start = check(unsafe {
            libc::mmap(std::ptr::null_mut(), room, libc::PROT_NONE, flags, -1, 0)
        })?;
        let before = (skew % unit + unit - start.as_ptr() as usize % unit) % unit;
        let before = if room > span { before } else { 0 };
        // SAFETY: less than a unit, and one was reserved beyond the span.
        let address = unsafe { start.add(before) };
        let after = room - span - before;
        // SAFETY: what was reserved before and after what is used, whole pages each.
        unsafe {
            if before > 0 {
                libc::munmap(start.as_ptr().cast(), before);
            }
            if after > 0 {
                libc::munmap(address.as_ptr().add(span).cast(), after);
            }
        }
        Ok(Self {
            address,
            length,
            span,
        })
    }

    fn place(&self, file: BorrowedFd<'_>, offset: usize, sharing: libc::c_int) -> io::Result<()> {
        let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the range belongs to this mapping; what was there before is replaced, which nobody relies on
        // but `freeze`, whose users see the same bytes after as before.
        check(unsafe {
            libc::mmap(
                self.address.as_ptr().cast(),
                self.span,
                protection,
                sharing | libc::MAP_FIXED,
                file.as_raw_fd(),
                offset,
            )
        })?;
        Ok(())
    }

    /// A view of part of a file through which everybody sees what is written.
    pub(crate) fn shared(file: &MemoryFile, offset: usize, length: usize) -> io::Result<Self> {
        let mapping = Self::reserve(length, offset)?;
        mapping.place(file.as_fd(), offset, libc::MAP_SHARED)?;
        Ok(mapping)
    }

    /// A view of part of a file that keeps for itself what is written to it (`MEMORY-2`).
    pub(crate) fn private(file: &MemoryFile, offset: usize, length: usize) -> io::Result<Self> {
        let mapping = Self::reserve(length, offset)?;
        mapping.place(file.as_fd(), offset, libc::MAP_PRIVATE)?;
        Ok(mapping)
    }

    pub(crate) fn address(&self) -> *mut u8 {
        self.address.as_ptr()
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Have the memory of a range taken now, at once rather than page by page. Errors when there is none.
    pub(crate) fn populate(&self, offset: usize, length: usize) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            const POPULATE_WRITE: libc::c_int = 23;
            assert!(offset + length <= self.length, "a range of the mapping");
            loop {
                // SAFETY: the range lies in this mapping.
                let result = unsafe {
                    let start = self.address.as_ptr().add(offset);
                    libc::madvise(start.cast(), length, POPULATE_WRITE)
                };
                if result == 0 {
                    return Ok(());
                }
                let error = io::Error::last_os_error();
                match error.raw_os_error() {
                    Some(libc::EINTR | libc::EAGAIN) => {}
                    // A kernel before 5.14: the pages come when they are touched.
                    Some(libc::EINVAL) => return Ok(()),
                    _ => return Err(error),
                }
            }
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (offset, length);
            Ok(())
        }
    }

    /// Move the page tables of a range of `from` here, and those of `self` nowhere: what was touched there is
    /// touched here. `from` goes on showing the same file, untouched. False where the system cannot do it.
    pub(crate) fn take_tables(&self, from: &Self, offset: usize) -> bool {
        #[cfg(target_os = "linux")]
        {
            assert!(offset + self.length <= from.length, "a range of the other");
            let length = self.span.min(from.span - offset);
            // SAFETY: both ranges belong to these mappings; the kernel replaces what is at the new address and
            // leaves the old one mapped to the same file.
            unsafe {
                let start = from.address.as_ptr().add(offset);
                Self::move_tables(start, self.address.as_ptr(), length)
            }
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (from, offset);
            false
        }
    }

    /// The way back: move the page tables of this mapping to a range of `to`.
    pub(crate) fn give_tables(&self, to: &Self, offset: usize) -> bool {
        #[cfg(target_os = "linux")]
        {
            assert!(offset + self.length <= to.length, "a range of the other");
            let length = self.span.min(to.span - offset);
            // SAFETY: as above.
            unsafe {
                let end = to.address.as_ptr().add(offset);
                Self::move_tables(self.address.as_ptr(), end, length)
            }
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (to, offset);
            false
        }
    }

    /// # Safety
    /// Both ranges are mapped, belong to the caller, and show the same part of the same file.
    #[cfg(target_os = "linux")]
    unsafe fn move_tables(from: *mut u8, to: *mut u8, length: usize) -> bool {
        const DONTUNMAP: libc::c_int = 4;
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED | DONTUNMAP;
        // SAFETY: the caller's promise.
        let moved = unsafe { libc::mremap(from.cast(), length, length, flags, to) };
        moved != libc::MAP_FAILED
    }

    /// From now on this view keeps for itself what is written to it; what it shows stays the same.
    pub(crate) fn freeze(&self, file: &MemoryFile, offset: usize) -> io::Result<()> {
        self.place(file.as_fd(), offset, libc::MAP_PRIVATE)
    }

    /// Whether something was written to a part of a private view.
    pub(crate) fn is_written(
        &self,
        pagemap: &File,
        offset: usize,
        length: usize,
    ) -> io::Result<bool> {
        let mut found = false;
        self.each_written(pagemap, offset, length, |_, _| {
            found = true;
            false
        })?;
        Ok(found)
    }

    /// Discard what was written to a private view: it shows the file again. Errors where it does not, as in a process
    /// that has its memory locked.
    pub(crate) fn discard_writes(&self, pagemap: &File) -> io::Result<()> {
        let mut result = Ok(());
        self.each_written(pagemap, 0, self.length, |start, length| {
            // SAFETY: the range lies in this mapping, and what it loses is what the caller wants lost.
            if unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) } < 0
            {
                result = Err(io::Error::last_os_error());
            }
            result.is_ok()
        })?;
        result
    }

    /// Call `visit` with address and length of each range of private pages, as long as it says so.
    #[cfg(target_os = "linux")]
    fn each_written(
        &self,
        pagemap: &File,
        offset: usize,
        length: usize,
        visit: impl FnMut(usize, usize) -> bool,
    ) -> io::Result<()> {
        assert!(offset + length <= self.length, "a range of the mapping");
        let start = self.address.as_ptr() as usize + offset;
        super::dirty_pages::each(pagemap, start, start + length, visit)
    }

    #[cfg(not(target_os = "linux"))]
    fn each_written(
        &self,
        _: &File,
        _: usize,
        _: usize,
        _: impl FnMut(usize, usize) -> bool,
    ) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the addresses were reserved for this mapping, which nobody can reach any more.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.span) };
    }
}

/// The process's own page map, which shows what was written to a private view.
pub(crate) fn pagemap() -> io::Result<File> {
    File::open("/proc/self/pagemap")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn byte(mapping: &Mapping, at: usize) -> u8 {
        assert!(at < mapping.length());
        // SAFETY: in bounds, and no other thread writes there.
        unsafe { mapping.address().add(at).read_volatile() }
    }

    fn write(mapping: &Mapping, at: usize, value: u8) {
        assert!(at < mapping.length());
        // SAFETY: in bounds, and no other thread looks there.
        unsafe { mapping.address().add(at).write_volatile(value) };
    }

    /// `MEMORY-1`
    #[test]
    fn memory_1_files_cannot_shrink_under_their_readers() {
        let file = MemoryFile::create(1 << 20).expect("memory");
        assert!(rustix::fs::ftruncate(file.as_fd(), 0).is_err());
        let copy = file.as_fd().try_clone_to_owned().expect("a copy");
        assert_eq!(MemoryFile::adopt(copy).expect("sealed").length(), 1 << 20);
        let open = rustix::fs::memfd_create("open", rustix::fs::MemfdFlags::ALLOW_SEALING);
        assert!(MemoryFile::adopt(open.expect("memory")).is_err());
    }

    /// `MEMORY-2`
    #[test]
    fn memory_2_a_private_view_keeps_its_writes_until_they_are_discarded() {
        let (length, pagemap) = (4 << 20, pagemap().expect("a page map"));
        let file = MemoryFile::create(length).expect("memory");
        let shared = Mapping::shared(&file, 0, length).expect("a mapping");
        let (view, other) = (
            Mapping::private(&file, 0, length).expect("a mapping"),
            Mapping::private(&file, 0, length).expect("a mapping"),
        );
        write(&shared, 5, 1);
        assert_eq!((byte(&view, 5), byte(&other, 5)), (1, 1));
        assert!(!view.is_written(&pagemap, 0, length).expect("a look"));
        write(&view, 5, 2);
        write(&view, 3 << 20, 2);
        assert_eq!((byte(&shared, 5), byte(&other, 5)), (1, 1));
        assert!(view.is_written(&pagemap, 0, PIECE).expect("a look"));
        assert!(!view.is_written(&pagemap, 1 << 20, 1 << 20).expect("a look"));
        view.discard_writes(&pagemap).expect("discarded");
        assert_eq!((byte(&view, 5), byte(&view, 3 << 20)), (1, 0));
        // What the file shows next is seen through it again.
        write(&shared, 5, 3);
        assert_eq!(byte(&view, 5), 3);
    }

    /// `MEMORY-2`
    #[test]
    fn memory_2_writes_that_cannot_be_discarded_are_not_said_to_be() {
        let (length, pagemap) = (1 << 20, pagemap().expect("a page map"));
        let file = MemoryFile::create(length).expect("memory");
        let view = Mapping::private(&file, 0, length).expect("a mapping");
        write(&view, 5, 2);
        // SAFETY: a page of the mapping; it stays where it is.
        assert_eq!(unsafe { libc::mlock(view.address().cast(), 1) }, 0);
        assert!(view.discard_writes(&pagemap).is_err());
        assert_eq!(byte(&view, 5), 2);
    }

    #[test]
    fn tables_move_there_and_back_and_a_frozen_view_goes_its_own_way() {
        let length = 8 << 20;
        let file = MemoryFile::create(length).expect("memory");
        let shared = Mapping::shared(&file, 0, length).expect("a mapping");
        shared.populate(0, length).expect("memory");
        let part = Mapping::shared(&file, 2 << 20, 4 << 20).expect("a mapping");
        assert!(part.take_tables(&shared, 2 << 20));
        write(&part, 0, 7);
        assert_eq!(byte(&shared, 2 << 20), 7);
        assert!(part.give_tables(&shared, 2 << 20));
        part.freeze(&file, 2 << 20).expect("frozen");
        assert_eq!(byte(&part, 0), 7);
        write(&part, 0, 8);
        assert_eq!(byte(&shared, 2 << 20), 7);
        assert!(
            part.is_written(&pagemap().expect("a page map"), 0, 1)
                .expect("a look")
        );
    }

    #[test]
    fn the_largest_move_as_a_whole_and_show_no_more_than_the_file() {
        let length = WHOLE_DIRECTORIES + PIECE;
        let file = MemoryFile::create(length).expect("memory");
        assert_eq!(file.length(), length);
        let slab = Mapping::shared(&file, 0, length).expect("a mapping");
        let view = Mapping::shared(&file, 0, length).expect("a mapping");
        for mapping in [&slab, &view] {
            assert_eq!(mapping.length(), length);
            assert_eq!(mapping.address() as usize % DIRECTORY, 0);
        }
        for round in 1..4 {
            write(&slab, length - 1, round);
            assert!(view.take_tables(&slab, 0));
            write(&view, 0, round);
            assert_eq!(byte(&view, length - 1), round);
            assert!(view.give_tables(&slab, 0));
            assert_eq!((byte(&slab, 0), byte(&slab, length - 1)), (round, round));
        }
        view.freeze(&file, 0).expect("frozen");
        write(&view, length - 1, 9);
        assert_eq!((byte(&view, 0), byte(&slab, length - 1)), (3, 3));
    }

    #[test]
    fn what_is_given_back_reads_as_zeros() {
        let file = MemoryFile::create(PIECE * 2).expect("memory");
        let shared = Mapping::shared(&file, 0, PIECE * 2).expect("a mapping");
        write(&shared, 1, 1);
        write(&shared, PIECE, 1);
        file.give_back(0, PIECE).expect("given back");
        assert_eq!((byte(&shared, 1), byte(&shared, PIECE)), (0, 1));
    }
}
