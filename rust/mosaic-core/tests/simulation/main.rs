//! A network of machines under random programs, deliveries, lost connections, crashes and joins, with a checker that sees
//! everything. A failing seed is printed with its last events; to see it again:
//! `MOSAIC_SEED=… cargo test -p mosaic-core --test simulation`. `MOSAIC_SEEDS=100000` runs more of them.
//!
//! `digests.txt` has what the first 1,000 seeds do, a line each (see `digest.rs`). A change of the rules changes some of
//! them, and says why; a change that only moves code changes none. `MOSAIC_WRITE_DIGESTS=1` writes the file anew.

mod digest;
mod doubt;
mod executor;
mod program;
mod rng;
mod truth;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::World;

#[allow(clippy::disallowed_methods)] // the test's own settings
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(seed: u64, log: bool) -> bool {
    let mut world = World::new(seed, log);
    let ended = catch_unwind(AssertUnwindSafe(|| world.run()));
    if log && ended.is_err() {
        world.print_log(setting("MOSAIC_EVENTS").unwrap_or(80) as usize);
    }
    ended.is_ok()
}

fn run_seeds(part: u64) {
    if let Some(seed) = setting("MOSAIC_SEED") {
        assert!(part > 0 || run(seed, true), "seed {seed} fails");
        return;
    }
    let seeds = setting("MOSAIC_SEEDS").unwrap_or(16_000);
    let mut failed = Vec::new();
    for seed in (part..seeds).step_by(4) {
        if !run(seed, false) {
            failed.push(seed);
            if failed.len() >= setting("MOSAIC_FAILURES").unwrap_or(1) as usize {
                break;
            }
        }
    }
    if let Some(&seed) = failed.first() {
        run(seed, true);
        panic!("seeds {failed:?} fail: replay with MOSAIC_SEED={seed}");
    }
}

/// Seeds whose digests are kept.
const DIGESTS: u64 = 1000;

#[test]
fn the_first_seeds_do_what_they_did() {
    let digest = |seed| {
        let mut world = World::new(seed, false);
        world.run();
        format!("{:016x}", world.digest.value())
    };
    let found: Vec<_> = (0..DIGESTS).map(digest).collect();
    if setting("MOSAIC_WRITE_DIGESTS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/simulation/digests.txt");
        std::fs::write(path, found.join("\n") + "\n").expect("a file");
        return;
    }
    let kept: Vec<_> = include_str!("digests.txt").lines().collect();
    assert_eq!(kept.len(), found.len(), "one line a seed");
    let changed: Vec<_> = (0..found.len())
        .filter(|seed| found[*seed] != kept[*seed])
        .collect();
    assert!(
        changed.is_empty(),
        "{} seeds do something else than before, the first is {}: a change of the rules, or by mistake",
        changed.len(),
        changed[0]
    );
}

/// `MEM-2`, `UNKNOWN-1`: the simulation makes runtimes unreachable, and every rule for that is used.
#[test]
fn first_seeds_use_every_rule_for_unreachable_runtimes() {
    let mut counts = doubt::Counts::default();
    for seed in 0..DIGESTS {
        let mut world = World::new(seed, false);
        world.run();
        counts.add(world.doubts.counts);
    }
    assert!(
        counts.all().iter().all(|count| *count > 0),
        "a rule was never used: {counts:?}"
    );
}

#[test]
fn promises_hold_first_quarter() {
    run_seeds(0);
}

#[test]
fn promises_hold_second_quarter() {
    run_seeds(1);
}

#[test]
fn promises_hold_third_quarter() {
    run_seeds(2);
}

#[test]
fn promises_hold_fourth_quarter() {
    run_seeds(3);
}
