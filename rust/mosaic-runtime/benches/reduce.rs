//! The reduction kernel beside a copy of the same bytes: memory is what bounds both.
//!
//! Eight arrays of 100 MB, on one thread and on all. The copy reads what the reduction reads, and writes eight times as
//! much. Throughput is bytes of the operands a second.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mosaic_runtime::reduce::{Complex, Maximum, Mean, Product, Rule, Sum, reduce, reduce_on};

const OPERANDS: u8 = 8;
const BYTES: usize = 100_000_000;

fn operands<T: Copy>(element: impl Fn(u8) -> T) -> Vec<Vec<T>> {
    (0..OPERANDS)
        .map(|operand| vec![element(operand); BYTES / size_of::<T>()])
        .collect()
}

fn bench<T, R>(criterion: &mut Criterion, name: &str, rule: R, element: impl Fn(u8) -> T)
where
    T: Copy + Sync,
    R: Rule<T>,
{
    let operands = operands(element);
    let operands: Vec<&[T]> = operands.iter().map(Vec::as_slice).collect();
    let mut output = vec![rule.first(operands[0][0]); operands[0].len()];
    let mut group = criterion.benchmark_group("8 arrays of 100 MB");
    group.throughput(Throughput::Bytes(u64::from(OPERANDS) * BYTES as u64));
    group.sample_size(10);
    group.bench_function(format!("{name}, one thread"), |bencher| {
        bencher.iter(|| reduce_on(1, rule, &operands, black_box(&mut output)).expect("equal"));
    });
    group.bench_function(format!("{name}, every core"), |bencher| {
        bencher.iter(|| reduce(rule, &operands, black_box(&mut output)).expect("equal"));
    });
    group.finish();
}

/// What the memory of the machine can do.
fn copies(criterion: &mut Criterion) {
    let operands = operands(|_| 1_u8);
    let mut output = vec![0_u8; BYTES];
    let mut group = criterion.benchmark_group("8 arrays of 100 MB");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(u64::from(OPERANDS) * BYTES as u64));
    group.bench_function("memcpy of each into one place, one thread", |bencher| {
        bencher.iter(|| {
            for operand in &operands {
                black_box(&mut output).copy_from_slice(operand);
            }
        });
    });
    group.finish();
}

fn benches(criterion: &mut Criterion) {
    copies(criterion);
    bench(criterion, "sum f32", Sum, f32::from);
    bench(criterion, "mean f64", Mean, f64::from);
    bench(criterion, "max f32", Maximum, f32::from);
    bench(criterion, "max i64", Maximum, i64::from);
    bench(criterion, "mean u8", Mean, |operand| operand);
    bench(criterion, "sum complex64", Sum, |operand| Complex {
        real: f32::from(operand),
        imaginary: 1.0_f32,
    });
    bench(criterion, "prod complex64", Product, |operand| Complex {
        real: f32::from(operand),
        imaginary: 1.0_f32,
    });
}

criterion_group!(all, benches);
criterion_main!(all);
