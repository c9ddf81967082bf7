//! Which pages of a private mapping were written to (dirty, copied on write), from the kernel's page tables.
//!
//! Linux 6.7 has a call for it (`PAGEMAP_SCAN`, Documentation/admin-guide/mm/pagemap.rst in the kernel's
//! sources). Before that, `/proc/self/pagemap` says of each page whether it belongs to a file; a written page
//! of a private file mapping no longer does.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

const IS_FILE: u64 = 1 << 2;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

#[repr(C)]
#[derive(Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    regions_length: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `_IOWR('f', 16, struct pm_scan_arg)`
const PAGEMAP_SCAN: u64 =
    (3 << 30) | ((size_of::<Scan>() as u64) << 16) | ((b'f' as u64) << 8) | 16;

static NO_SCAN: AtomicBool = AtomicBool::new(false);

/// Call `visit` with address and length of each range of written pages, as long as it says so. A page that the
/// range touches counts whole.
pub(super) fn each(
    pagemap: &File,
    start: usize,
    end: usize,
    mut visit: impl FnMut(usize, usize) -> bool,
) -> io::Result<()> {
    let page = rustix::param::page_size();
    let start = start / page * page;
    let end = end.div_ceil(page) * page;
    if !NO_SCAN.load(Ordering::Relaxed) {
        match scan(pagemap, start, end, &mut visit) {
            Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => {
                NO_SCAN.store(true, Ordering::Relaxed);
            }
            result => return result,
        }
    }
    look(pagemap, start, end, visit)
}

fn scan(
    pagemap: &File,
    mut start: usize,
    end: usize,
    visit: &mut impl FnMut(usize, usize) -> bool,
) -> io::Result<()> {
    let mut regions = [Region::default(); 32];
    while start < end {
        let mut scan = Scan {
            size: size_of::<Scan>() as u64,
            start: start as u64,
            end: end as u64,
            regions: regions.as_mut_ptr() as u64,
            regions_length: regions.len() as u64,
            category_inverted: IS_FILE,
            category_mask: IS_FILE,
            category_anyof_mask: IS_PRESENT | IS_SWAPPED,
            return_mask: IS_FILE,
            ..Scan::default()
        };
        // SAFETY: the kernel writes at most that many regions, and the structure itself.
        let found = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN as _, &raw mut scan) };
        if found < 0 {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(error);
        }
        for region in &regions[..found.cast_unsigned() as usize] {
            let length = (region.end - region.start) as usize;
            if !visit(region.start as usize, length) {
                return Ok(());
            }
        }
        start = (scan.walk_end as usize).max(start + 1);
    }
    Ok(())
}

fn look(
    pagemap: &File,
    start: usize,
    end: usize,
    mut visit: impl FnMut(usize, usize) -> bool,
) -> io::Result<()> {
    const FILE: u64 = 1 << 61;
    const SWAPPED: u64 = 1 << 62;
    const PRESENT: u64 = 1 << 63;
    let size = rustix::param::page_size();
    let mut entries = [0; 8 * 512];
    let (mut page, mut run) = (start, None::<usize>);
    while page < end {
        let count = ((end - page) / size).min(512);
        let bytes = &mut entries[..8 * count];
        pagemap.read_exact_at(bytes, (page / size * 8) as u64)?;
        for entry in bytes.chunks_exact(8) {
            let entry = u64::from_le_bytes(entry.try_into().unwrap_or_default());
            let written = entry & FILE == 0 && entry & (PRESENT | SWAPPED) != 0;
            match (written, run) {
                (true, None) => run = Some(page),
                (false, Some(from)) => {
                    run = None;
                    if !visit(from, page - from) {
                        return Ok(());
                    }
                }
                _ => {}
            }
            page += size;
        }
    }
    if let Some(from) = run {
        visit(from, end - from);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::memfd::{Mapping, MemoryFile};
    use super::*;

    /// The two ways find the same.
    #[test]
    fn the_map_tells_what_the_scan_tells() {
        let size = rustix::param::page_size();
        let length = 256 * size;
        let file = MemoryFile::create(length).expect("memory");
        let view = Mapping::private(&file, 0, length).expect("a mapping");
        for page in [0, 1, 7, 100, 255] {
            // SAFETY: in bounds, and nobody else looks there.
            unsafe { view.address().add(page * size).write_volatile(1) };
        }
        // SAFETY: in bounds.
        unsafe { view.address().add(50 * size).read_volatile() };
        let start = view.address() as usize;
        let pagemap = File::open("/proc/self/pagemap").expect("a page map");
        let collect = |found: &mut Vec<usize>, at: usize, length: usize| {
            found.extend(
                (at..at + length)
                    .step_by(size)
                    .map(|page| (page - start) / size),
            );
        };
        let (mut scanned, mut looked) = (Vec::new(), Vec::new());
        look(&pagemap, start, start + length, |at, length| {
            collect(&mut looked, at, length);
            true
        })
        .expect("a look");
        assert_eq!(looked, [0, 1, 7, 100, 255]);
        each(&pagemap, start, start + length, |at, length| {
            collect(&mut scanned, at, length);
            true
        })
        .expect("a scan");
        assert_eq!(scanned, looked);
    }
}
