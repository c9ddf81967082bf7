//! A buffer's way through the store, copied in once and looked at through a mapping, beside the way through a socket:
//! copied once for the caller's sake, then into the socket and out of it. Both ways end with a look at every page.
//! `mosaic_runtime::store::THRESHOLD` is where the two meet.

use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mosaic_runtime::engine::{Engine, EngineConfig};
use mosaic_runtime::executor::closures::Closures;
use mosaic_runtime::node::Launch;
use mosaic_runtime::roles;

const PAGE: usize = 4096;

fn head() -> Engine {
    let launch = Launch {
        command: Vec::new(),
        environment: Vec::new(),
        workers: 0,
        grace: std::time::Duration::ZERO,
    };
    let executor = Closures::none().expect("an executor");
    roles::head(&EngineConfig::default(), launch, executor).expect("a head")
}

fn look(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .step_by(PAGE)
        .map(|&byte| u64::from(byte))
        .sum()
}

fn ways(c: &mut Criterion) {
    let engine = head();
    let mut group = c.benchmark_group("buffer");
    for kilobytes in [32, 64, 128, 256, 1024, 10_240] {
        let source = vec![1u8; kilobytes << 10];
        group.throughput(Throughput::Bytes(source.len() as u64));
        group.bench_with_input(
            BenchmarkId::new("store", kilobytes),
            &source,
            |b, source| {
                b.iter(|| {
                    let stored = engine.copy_in(source).expect("room");
                    let view = engine.view(&stored).expect("a view");
                    // SAFETY: the view is mapped as long as it lives, and nobody writes to it.
                    let bytes =
                        unsafe { std::slice::from_raw_parts(view.address(), view.length()) };
                    black_box(look(bytes))
                });
            },
        );
        let (mut near, mut far) = UnixStream::pair().expect("a pair");
        let length = source.len();
        let reader = std::thread::spawn(move || {
            loop {
                let mut bytes = vec![0; length];
                if far.read_exact(&mut bytes).is_err() {
                    return;
                }
                black_box(look(&bytes));
                if far.write_all(&[1]).is_err() {
                    return;
                }
            }
        });
        group.bench_with_input(
            BenchmarkId::new("socket", kilobytes),
            &source,
            |b, source| {
                b.iter(|| {
                    let copy = source.clone();
                    near.write_all(&copy).expect("a reader");
                    near.read_exact(&mut [0]).expect("a reader");
                });
            },
        );
        drop(near);
        reader.join().expect("a reader");
        group.bench_with_input(
            BenchmarkId::new("memcpy", kilobytes),
            &source,
            |b, source| {
                let mut target = vec![0; source.len()];
                b.iter(|| {
                    target.copy_from_slice(black_box(source));
                    black_box(&target);
                });
            },
        );
    }
    group.finish();
    engine.stop(None);
}

criterion_group!(benches, ways);
criterion_main!(benches);
