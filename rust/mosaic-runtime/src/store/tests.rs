//! The store as the engine uses it, without an engine.

use std::path::Path;
use std::sync::Arc;

use mosaic_core::payload::Stored;

use super::{Neighbours, Store, StoreError, StoreSettings, View};
use mosaic_core::id::RuntimeId;

const MEGABYTE: usize = 1 << 20;

/// Nobody else is there.
struct Others;

impl Neighbours for Others {
    fn squeeze(&self) {}

    fn room(&self) {}
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

fn keep(store: &Store, bytes: &[u8]) -> Result<Arc<dyn Stored>, StoreError> {
    store.keep(bytes, || Arc::new(Others))
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
        .map(|source| keep(&store, source).expect("room"))
        .collect();
    let report = store.report();
    assert!(report.taken <= 16 * MEGABYTE as u64);
    let spilled: Vec<_> = report.buffers.iter().map(|buffer| buffer.spilled).collect();
    assert_eq!(spilled, [true, true, false, false, false, false]);
    // One that is larger than the memory goes to disk at once.
    let large = noise(20 * MEGABYTE, 9);
    let huge = keep(&store, &large).expect("room on disk");
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
        .map(|source| keep(&store, source).expect("room"))
        .collect();
    assert!(matches!(
        keep(&store, &sources[0]),
        Err(StoreError::Full(_))
    ));
    assert!(matches!(
        keep(&store, &noise(17 * MEGABYTE, 1)),
        Err(StoreError::TooLarge(_))
    ));
    for (source, stored) in sources.iter().zip(&stored) {
        assert_eq!(bytes(&view(&store, stored)), source);
    }
    stored.pop();
    keep(&store, &sources[0]).expect("room again");
    drop(stored);
    store.close();
}

/// `LEDGER-1`
#[test]
fn ledger_1_a_head_whose_directory_is_gone_clears_the_seats_of_the_dead_and_goes_on() {
    let (directory, spill) = [(); 2]
        .map(|()| tempfile::tempdir().expect("a directory"))
        .into();
    let head = store(directory.path(), 16, &spill.path().join("missing"));
    let worker = RuntimeId(1);
    let others = Store::join(worker, directory.path().into(), head.settings.clone());
    let source = noise(12 * MEGABYTE, 1);
    // The process is gone without a word.
    std::mem::forget(keep(&others, &source).expect("room"));
    std::mem::forget(others);
    drop(directory);
    assert!(matches!(keep(&head, &source), Err(StoreError::Full(_))));
    head.process_died(worker);
    let stored = keep(&head, &source).expect("room again");
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
    let stored = keep(&store, &source).expect("room");
    let (one, two) = (view(&store, &stored), view(&store, &stored));
    bytes(&one).fill(7);
    assert_eq!(bytes(&two), source);
    drop(one);
    // Its mapping is used again, clean.
    let three = view(&store, &stored);
    assert_eq!(bytes(&three), source);
    // A view as it came stands for its buffer; one that was written to does not.
    let again = keep(&store, bytes(&three)).expect("room");
    assert_eq!(again.reference(), stored.reference());
    bytes(&three)[0] ^= 1;
    let changed = keep(&store, bytes(&three)).expect("room");
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
    let others = || -> Arc<dyn Neighbours> { Arc::new(Others) };
    let made = store.allocate(5 * MEGABYTE, others).expect("room");
    let source = noise(5 * MEGABYTE, 3);
    bytes(&made).copy_from_slice(&source);
    let passed = keep(&store, bytes(&made)).expect("nothing is copied");
    assert_eq!(store.report().buffers.len(), 1);
    bytes(&made)[5] ^= 1;
    assert_eq!(bytes(&view(&store, &passed)), source);
    let again = keep(&store, bytes(&made)).expect("room");
    assert_ne!(again.reference(), passed.reference());
    drop((made, passed, again));
    assert!(store.report().buffers.is_empty());
    store.close();
}
