//! The store as the engine uses it, without an engine.

use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use mosaic_core::payload::{Loss, Stored};
use mosaic_core::wire::stored::{Borrower, Lender};

use super::buffer::{Borrowed, BorrowedPlace};
use super::export::{Exporter, ReceivedFiles, SharedFile};
use super::{MemoryPressure, Store, StoreError, StoreSettings, View};
use mosaic_core::id::RuntimeId;

const MEGABYTE: usize = 1 << 20;

/// Nobody else is there.
struct Others;

impl MemoryPressure for Others {
    fn reclaim(&self) {}

    fn memory_available(&self) {}
}

fn store(directory: &Path, megabytes: usize, spill: &Path) -> Store {
    let settings = StoreSettings {
        memory_limit: (megabytes * MEGABYTE) as u64,
        spill_directory: spill.into(),
        ..StoreSettings::default()
    };
    Store::create(directory.into(), settings).expect("a store")
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u8
    };
    (0..length).map(next).collect()
}

fn copy_in(store: &Store, bytes: &[u8]) -> Result<Arc<dyn Stored>, StoreError> {
    store.copy_in(bytes, || Arc::new(Others))
}

fn view(store: &Store, stored: &Arc<dyn Stored>) -> Arc<View> {
    let view = store.view(stored, || Arc::new(Others));
    view.expect("a view")
}

#[expect(
    clippy::mut_from_ref,
    reason = "a view is memory that its user writes to"
)]
fn bytes(view: &View) -> &mut [u8] {
    // SAFETY: the view is mapped as long as it lives, and each test's views are its own.
    unsafe { std::slice::from_raw_parts_mut(view.address(), view.length()) }
}

/// `STORE-1`
#[test]
fn store_1_memory_first_then_the_disk_for_what_was_used_least_recently() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path(), 16, directory.path());
    let sources: Vec<_> = (0..6).map(|seed| noise(4 * MEGABYTE, seed)).collect();
    let stored: Vec<_> = sources
        .iter()
        .map(|source| copy_in(&store, source).expect("room"))
        .collect();
    let report = store.report();
    assert!(report.taken <= 16 * MEGABYTE as u64);
    let spilled: Vec<_> = report.buffers.iter().map(|buffer| buffer.spilled).collect();
    assert_eq!(spilled, [true, true, false, false, false, false]);
    // One that is larger than the memory goes to disk at once.
    let large = noise(20 * MEGABYTE, 9);
    let huge = copy_in(&store, &large).expect("room on disk");
    assert_eq!(bytes(&view(&store, &huge)), large);
    for (source, stored) in sources.iter().zip(&stored) {
        assert_eq!(bytes(&view(&store, stored)), source);
    }
    drop((stored, huge));
    store.close();
}

/// `STORE-2`
#[test]
fn store_2_a_refusal_loses_nothing_and_ends_when_there_is_room() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path(), 16, &directory.path().join("missing"));
    let sources: Vec<_> = (0..4).map(|seed| noise(4 * MEGABYTE, seed)).collect();
    let mut stored: Vec<_> = sources
        .iter()
        .map(|source| copy_in(&store, source).expect("room"))
        .collect();
    assert!(matches!(
        copy_in(&store, &sources[0]),
        Err(StoreError::Full(_))
    ));
    assert!(matches!(
        copy_in(&store, &noise(17 * MEGABYTE, 1)),
        Err(StoreError::TooLarge(_))
    ));
    for (source, stored) in sources.iter().zip(&stored) {
        assert_eq!(bytes(&view(&store, stored)), source);
    }
    stored.pop();
    copy_in(&store, &sources[0]).expect("room again");
    drop(stored);
    store.close();
}

/// `QUOTA-1`
#[test]
fn quota_1_head_without_directory_still_clears_slots_of_dead_processes() {
    let (directory, spill) = [(); 2]
        .map(|()| tempfile::tempdir().expect("a directory"))
        .into();
    let head = store(directory.path(), 16, &spill.path().join("missing"));
    let worker = RuntimeId(1);
    let others = Store::join(worker, directory.path().into(), head.settings.clone());
    let source = noise(12 * MEGABYTE, 1);
    // The process is gone without a word.
    std::mem::forget(copy_in(&others, &source).expect("room"));
    std::mem::forget(others);
    drop(directory);
    assert!(matches!(copy_in(&head, &source), Err(StoreError::Full(_))));
    head.process_died(worker);
    let stored = copy_in(&head, &source).expect("room again");
    assert_eq!(bytes(&view(&head, &stored)), source);
    drop(stored);
    head.close();
}

/// `VIEW-1`
#[test]
fn view_1_what_is_written_to_a_view_is_seen_through_no_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path(), 64, directory.path());
    let source = noise(2 * MEGABYTE, 1);
    let stored = copy_in(&store, &source).expect("room");
    let (one, two) = (view(&store, &stored), view(&store, &stored));
    bytes(&one).fill(7);
    assert_eq!(bytes(&two), source);
    drop(one);
    // Its mapping is used again, clean.
    let three = view(&store, &stored);
    assert_eq!(bytes(&three), source);
    // A view as it came stands for its buffer; one that was written to does not.
    let again = copy_in(&store, bytes(&three)).expect("room");
    assert_eq!(again.reference(), stored.reference());
    bytes(&three)[0] ^= 1;
    let changed = copy_in(&store, bytes(&three)).expect("room");
    assert_ne!(changed.reference(), stored.reference());
    assert_eq!(bytes(&view(&store, &changed))[0], source[0] ^ 1);
    drop((two, three, again, changed, stored));
    store.close();
}

/// `VIEW-2`
#[test]
fn view_2_an_allocated_view_goes_its_own_way_once_it_is_passed_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path(), 64, directory.path());
    let others = || -> Arc<dyn MemoryPressure> { Arc::new(Others) };
    let made = store.allocate(5 * MEGABYTE, others).expect("room");
    let source = noise(5 * MEGABYTE, 3);
    bytes(&made).copy_from_slice(&source);
    let passed = copy_in(&store, bytes(&made)).expect("nothing is copied");
    assert_eq!(store.report().buffers.len(), 1);
    bytes(&made)[5] ^= 1;
    assert_eq!(bytes(&view(&store, &passed)), source);
    let again = copy_in(&store, bytes(&made)).expect("room");
    assert_ne!(again.reference(), passed.reference());
    drop((made, passed, again));
    assert!(store.report().buffers.is_empty());
    store.close();
}

/// What a frame says of some buffers, and the files that go with it.
fn exported(store: &Store, buffers: &[Arc<dyn Stored>]) -> (Vec<BytesMut>, Vec<SharedFile>) {
    let mut exporter = Exporter::new(store);
    let describe = |buffer| {
        let mut out = BytesMut::new();
        exporter.describe(buffer, &mut out).expect("described");
        out
    };
    (buffers.iter().map(describe).collect(), exporter.files)
}

/// The files come to a peer.
fn bring(files: &[SharedFile], received: &mut ReceivedFiles) {
    use std::os::fd::AsFd;
    for file in files {
        received.push(file.as_fd().try_clone_to_owned().expect("a descriptor"));
    }
}

fn borrowed(stored: Arc<dyn Stored>) -> Arc<Borrowed> {
    let any = stored.into_any();
    any.downcast().expect("another store's")
}

fn is_descriptors(loss: &Result<Arc<dyn Stored>, Loss>) -> bool {
    matches!(loss, Err(Loss::Descriptors { .. }))
}

/// `EXPORT-2`
#[test]
fn export_2_a_process_that_only_looks_keeps_one_descriptor_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let owner = store(directory.path(), 4, directory.path());
    let worker = RuntimeId(1);
    let other = Store::join(worker, directory.path().into(), owner.settings.clone());
    // In memory while there is room, then on disk.
    let buffers: Vec<_> = (0..20)
        .map(|seed| copy_in(&owner, &noise(MEGABYTE, seed)).expect("room"))
        .collect();
    let (mut received, mut files) = (ReceivedFiles::default(), [vec![], vec![]]);
    let mut held = Vec::new();
    for buffer in &buffers {
        let (descriptions, sent) = exported(&owner, std::slice::from_ref(buffer));
        bring(&sent, &mut received);
        let found = received.importer(&other).find(&descriptions[0]);
        received.frame_is_over();
        let found = borrowed(found.expect("it is here"));
        match &found.place {
            BorrowedPlace::Memory { file, .. } => files[0].push(Arc::as_ptr(file).addr()),
            BorrowedPlace::Disk { file, .. } => files[1].push(Arc::as_ptr(file).addr()),
        }
        held.push(found);
    }
    for mut of_kind in files {
        assert!(of_kind.len() > 1);
        of_kind.dedup();
        assert_eq!(of_kind.len(), 1);
    }
    // One that is here need not come again.
    received.truncated();
    let (descriptions, _) = exported(&owner, &buffers[..1]);
    received
        .importer(&other)
        .find(&descriptions[0])
        .expect("known");
    for (found, buffer) in held.into_iter().zip(&buffers) {
        let found: Arc<dyn Stored> = found;
        assert_eq!(bytes(&view(&other, &found)), bytes(&view(&owner, buffer)));
    }
    other.close();
    drop(buffers);
    owner.close();
}

/// `EXPORT-1`
#[test]
fn export_1_files_that_did_not_come_leave_the_others_where_they_belong() {
    let directory = tempfile::tempdir().expect("a directory");
    let owner = store(directory.path(), 256, directory.path());
    let worker = RuntimeId(1);
    let other = Store::join(worker, directory.path().into(), owner.settings.clone());
    // Each in a file of its own, but for the last two.
    let lengths = [9, 10, 11, 1, 1];
    let buffers: Vec<_> = (0..5)
        .map(|seed| copy_in(&owner, &noise(lengths[seed] * MEGABYTE, seed as u64)).expect("room"))
        .collect();
    let (first, its_files) = exported(&owner, &buffers[..2]);
    let (second, other_files) = exported(&owner, &buffers[2..]);
    assert_eq!((its_files.len(), other_files.len()), (2, 2));
    let mut received = ReceivedFiles::default();
    // In a read that was cut short the first of two came, in the next the second of two.
    bring(&its_files[..1], &mut received);
    received.truncated();
    bring(&other_files[1..], &mut received);
    let mut importer = received.importer(&other);
    let mut found = |descriptions: &[BytesMut]| -> Vec<_> {
        let found = descriptions.iter();
        found
            .map(|description| importer.find(description))
            .collect()
    };
    let [one, two] = <[_; 2]>::try_from(found(&first)).expect("two");
    let [three, four, five] = <[_; 3]>::try_from(found(&second)).expect("three");
    assert!(is_descriptors(&two) && is_descriptors(&three));
    for (found, buffer) in [(one, 0), (four, 3), (five, 4)] {
        let found = found.expect("it is here");
        let source = noise(lengths[buffer] * MEGABYTE, buffer as u64);
        assert_eq!(bytes(&view(&other, &found)), source);
    }
    // Once there is room it comes as any other.
    let (again, files) = exported(&owner, &buffers[1..2]);
    bring(&files, &mut received);
    let found = received.importer(&other).find(&again[0]);
    found.expect("it is here");
    other.close();
    drop(buffers);
    owner.close();
}

/// Files that nobody described cannot be told from lost ones only where some were lost.
#[test]
fn a_description_without_its_file_is_malformed_where_none_was_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    let owner = store(directory.path(), 64, directory.path());
    let worker = RuntimeId(1);
    let other = Store::join(worker, directory.path().into(), owner.settings.clone());
    let buffers = [copy_in(&owner, &noise(MEGABYTE, 1)).expect("room")];
    let (descriptions, _) = exported(&owner, &buffers);
    let mut received = ReceivedFiles::default();
    let found = received.importer(&other).find(&descriptions[0]);
    assert!(matches!(found, Err(Loss::Malformed(_))));
    drop(buffers);
    owner.close();
}
