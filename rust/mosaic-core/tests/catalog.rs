//! The catalog of a store: who may go to disk, who stays, in random histories beside a plain model.

use std::collections::BTreeMap;

use mosaic_core::catalog::{Catalog, Place};
use mosaic_core::id::{BufferId, RuntimeId};
use proptest::prelude::*;

fn buffer(sequence: u64) -> BufferId {
    BufferId {
        owner: RuntimeId(0),
        sequence,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Add(u64, bool),
    Remove(usize),
    Pin(usize),
    Unpin(usize),
    Leave(u64),
    Left(usize),
    Stayed(usize),
    CameBack(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..100u64, any::<bool>()).prop_map(|(length, disk)| Step::Add(length, disk)),
        1 => any::<usize>().prop_map(Step::Remove),
        3 => any::<usize>().prop_map(Step::Pin),
        3 => any::<usize>().prop_map(Step::Unpin),
        2 => (1..200u64).prop_map(Step::Leave),
        2 => any::<usize>().prop_map(Step::Left),
        1 => any::<usize>().prop_map(Step::Stayed),
        1 => any::<usize>().prop_map(Step::CameBack),
    ]
}

/// Length, place, pins.
type Model = BTreeMap<u64, (u64, Place, usize)>;

fn pick(model: &Model, at: usize) -> Option<u64> {
    let count = model.len();
    (count > 0).then(|| *model.keys().nth(at % count).unwrap_or(&0))
}

proptest! {
    /// `CAT-1`, `CAT-3`
    #[test]
    fn cat_1_pinned_buffers_stay(steps in proptest::collection::vec(step(), 1..120)) {
        let (mut catalog, mut model, mut next) = (Catalog::default(), Model::new(), 0);
        for step in steps {
            match step {
                Step::Add(length, disk) => {
                    let place = if disk { Place::Disk } else { Place::Memory };
                    catalog.added(buffer(next), length, place);
                    model.insert(next, (length, place, 0));
                    next += 1;
                }
                Step::Remove(at) => if let Some(one) = pick(&model, at) {
                    catalog.removed(buffer(one));
                    model.remove(&one);
                },
                Step::Pin(at) => if let Some(one) = pick(&model, at) {
                    catalog.pinned(buffer(one));
                    if let Some(entry) = model.get_mut(&one) { entry.2 += 1 }
                },
                Step::Unpin(at) => if let Some(one) = pick(&model, at)
                    && let Some(entry) = model.get_mut(&one)
                    && entry.2 > 0
                {
                    catalog.unpinned(buffer(one));
                    entry.2 -= 1;
                },
                Step::Leave(bytes) => {
                    let going = catalog.leave(bytes);
                    let mut gone = 0;
                    for one in &going {
                        let Some(entry) = model.get_mut(&one.sequence) else { panic!("unknown") };
                        prop_assert_eq!((entry.1, entry.2), (Place::Memory, 0), "CAT-1");
                        entry.1 = Place::Leaving;
                        gone += entry.0;
                    }
                    let others = model.values().any(|entry| entry.1 == Place::Memory && entry.2 == 0);
                    prop_assert!(gone >= bytes || !others, "enough go, or all that may");
                }
                Step::Left(at) => if let Some(one) = pick(&model, at)
                    && let Some(entry) = model.get_mut(&one)
                {
                    let expected = entry.1 == Place::Leaving && entry.2 == 0;
                    prop_assert_eq!(catalog.left(buffer(one)), expected, "CAT-3");
                    if entry.1 == Place::Leaving {
                        entry.1 = if expected { Place::Disk } else { Place::Memory };
                    }
                },
                Step::Stayed(at) => if let Some(one) = pick(&model, at)
                    && let Some(entry) = model.get_mut(&one)
                {
                    catalog.stayed(buffer(one));
                    if entry.1 == Place::Leaving { entry.1 = Place::Memory }
                },
                Step::CameBack(at) => if let Some(one) = pick(&model, at)
                    && let Some(entry) = model.get_mut(&one)
                {
                    let expected = entry.1 == Place::Disk && entry.2 == 0;
                    prop_assert_eq!(catalog.came_back(buffer(one)), expected);
                    if expected { entry.1 = Place::Memory }
                },
            }
            catalog.validate();
            let sum = |disk| model.values().filter(|entry| (entry.1 == Place::Disk) == disk).map(|entry| entry.0).sum::<u64>();
            prop_assert_eq!(catalog.totals(), (sum(false), sum(true)));
        }
    }
}

/// `CAT-2`
#[test]
fn cat_2_the_least_recently_used_goes_first() {
    let mut catalog = Catalog::default();
    for sequence in 0..4 {
        catalog.added(buffer(sequence), 10, Place::Memory);
    }
    catalog.pinned(buffer(0));
    catalog.unpinned(buffer(0));
    catalog.pinned(buffer(2));
    assert_eq!(catalog.leave(15), [buffer(1), buffer(3)]);
    assert_eq!(catalog.leave(15), [buffer(0)]);
    assert_eq!(catalog.leave(15), []);
}
