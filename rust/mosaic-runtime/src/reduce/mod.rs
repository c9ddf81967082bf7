//! Element-wise reduction of equally long slices: sum, mean, product, minimum, maximum.
//!
//! The numbers that can be reduced are in [`element`].
//!
//! Owns nothing. Runs on the thread that calls and, for large arrays, on helpers that have ended when it
//! returns; none of them takes a lock but for the next portion of the output.
//!
//! - `REDUCE-1`: each element is what a plain loop over the operands gives, in the order of the operands; how
//!   the output is cut, how many threads share it and which instructions they have changes no bit of it.
//!
//! Memory bounds the speed, so it is gone through once: all operands of a block are combined while the block's output
//! lies in the caches. One thread sums eight arrays of 100 MB of `f32` in 24 ms, two in 17; copying them one after
//! another to one place takes one 38. `cargo bench --bench reduce` measures it again.

mod element;

use std::ops::Range;

use crate::sync::{Mutex, Rank};

pub use element::{Averaged, Complex, Number, Ordered};

/// Operands that are read side by side: a stream of memory alone does not use what there is. Eight arrays of 100 MB take
/// one thread 38 ms when each is read for itself and 21 ms by fours; nothing but reading them takes 19 ms.
const SIDE_BY_SIDE: usize = 4;

/// Elements of the output that are finished before the next ones are begun: 8 to 128 KiB, which stay in the caches.
const BLOCK: usize = 8192;

/// Elements that a thread takes at a time: some tens of microseconds of work, so that one that is held up leaves the
/// rest to the others.
const PORTION: usize = 8 * BLOCK;

/// Bytes of operands that are worth a thread: its start takes as long as reading a fraction of them.
const BYTES_A_THREAD: usize = 4 << 20;

/// How elements are combined.
pub trait Rule<T>: Copy + Sync {
    /// What they are combined into.
    type Output: Copy + Send;

    /// Begin with the element of the first operand.
    fn first(self, element: T) -> Self::Output;

    /// Add that of another operand.
    fn next(self, result: Self::Output, element: T) -> Self::Output;

    /// End after that many operands.
    #[inline]
    fn last(self, result: Self::Output, _operands: usize) -> Self::Output {
        result
    }
}

/// Rules that combine two elements at a time into one like them.
macro_rules! folds {
    ($($(#[$about:meta])* $rule:ident: $kind:ident::$combine:ident;)*) => { $(
        $(#[$about])*
        #[derive(Debug, Clone, Copy)]
        pub struct $rule;

        impl<T: $kind> Rule<T> for $rule {
            type Output = T;

            #[inline]
            fn first(self, element: T) -> T {
                element
            }

            #[inline]
            fn next(self, result: T, element: T) -> T {
                result.$combine(element)
            }
        }
    )* };
}

folds! {
    /// The sum; integers wrap.
    Sum: Number::plus;
    /// The product; integers wrap.
    Product: Number::times;
    /// The least element; NaN if one is NaN.
    Minimum: Ordered::lesser;
    /// The greatest element; NaN if one is NaN.
    Maximum: Ordered::greater;
}

/// The arithmetic mean; that of integers is a double.
#[derive(Debug, Clone, Copy)]
pub struct Mean;

impl<T: Averaged> Rule<T> for Mean {
    type Output = T::Mean;

    #[inline]
    fn first(self, element: T) -> T::Mean {
        element.widen()
    }

    #[inline]
    fn next(self, result: T::Mean, element: T) -> T::Mean {
        result.plus(element.widen())
    }

    #[inline]
    fn last(self, result: T::Mean, operands: usize) -> T::Mean {
        T::divide(result, operands)
    }
}

/// Why slices cannot be reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReduceError {
    /// There is nothing to combine.
    #[error("there are no operands")]
    NoOperands,
    /// One is longer or shorter than the output.
    #[error("operand {operand} has {length} elements and the output {expected}")]
    Length {
        /// Which one.
        operand: usize,
        /// Its length.
        length: usize,
        /// That of the output.
        expected: usize,
    },
}

/// Combine the operands, element by element, on as many threads as this process may use.
pub fn reduce<T, R>(rule: R, operands: &[&[T]], output: &mut [R::Output]) -> Result<(), ReduceError>
where
    T: Copy + Sync,
    R: Rule<T>,
{
    let bytes = operands.len() * size_of_val(output);
    let threads = if bytes < 2 * BYTES_A_THREAD {
        1
    } else {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        cores.min(bytes / BYTES_A_THREAD)
    };
    reduce_on(threads, rule, operands, output)
}

/// Combine the operands on that many threads, this one among them.
pub fn reduce_on<T, R>(
    threads: usize,
    rule: R,
    operands: &[&[T]],
    output: &mut [R::Output],
) -> Result<(), ReduceError>
where
    T: Copy + Sync,
    R: Rule<T>,
{
    if operands.is_empty() {
        return Err(ReduceError::NoOperands);
    }
    for (operand, elements) in operands.iter().enumerate() {
        if elements.len() != output.len() {
            return Err(ReduceError::Length {
                operand,
                length: elements.len(),
                expected: output.len(),
            });
        }
    }
    let portions = Mutex::new(Rank::ReducePortions, output.chunks_mut(PORTION).enumerate());
    let work = || {
        loop {
            let next = portions.lock().next();
            let Some((number, portion)) = next else {
                return;
            };
            combine(rule, operands, number * PORTION, portion);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Where no more threads can be had, those that there are do the work.
            if crate::sync::threads::spawn_scoped(scope, "mosaic-reduce", work).is_err() {
                break;
            }
        }
        work();
    });
    Ok(())
}

/// Combine the elements of the operands from `start` on into a portion of the output.
fn combine<T, R>(rule: R, operands: &[&[T]], start: usize, portion: &mut [R::Output])
where
    T: Copy,
    R: Rule<T>,
{
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function needs.
        unsafe { combine_avx2(rule, operands, start, portion) };
        return;
    }
    combine_blocks(rule, operands, start, portion);
}

/// [`combine_blocks`] for registers of 32 bytes: 24 instead of 27 ms for those eight arrays, 23 instead of 33 for the mean
/// of doubles, 101 instead of 180 for that of bytes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn combine_avx2<T, R>(rule: R, operands: &[&[T]], start: usize, portion: &mut [R::Output])
where
    T: Copy,
    R: Rule<T>,
{
    combine_blocks(rule, operands, start, portion);
}

#[expect(
    clippy::inline_always,
    reason = "it is compiled for the instructions of the function that it stands in"
)]
#[inline(always)]
fn combine_blocks<T, R>(rule: R, operands: &[&[T]], mut start: usize, portion: &mut [R::Output])
where
    T: Copy,
    R: Rule<T>,
{
    let (begin, more) = operands.split_at(operands.len().min(SIDE_BY_SIDE));
    let next = |result, element| rule.next(result, element);
    for block in portion.chunks_mut(BLOCK) {
        let end = start + block.len();
        combine_group(
            begin,
            start..end,
            block,
            |_, element| rule.first(element),
            next,
        );
        for group in more.chunks(SIDE_BY_SIDE) {
            combine_group(group, start..end, block, next, next);
        }
        for result in block {
            *result = rule.last(*result, operands.len());
        }
        start = end;
    }
}

/// Combine a range of the elements of up to [`SIDE_BY_SIDE`] operands into the results so far.
#[expect(
    clippy::inline_always,
    reason = "it is compiled for the instructions of the function that it stands in"
)]
#[inline(always)]
fn combine_group<T: Copy, A: Copy>(
    group: &[&[T]],
    range: Range<usize>,
    block: &mut [A],
    first: impl Fn(A, T) -> A,
    next: impl Fn(A, T) -> A,
) {
    match *group {
        [a] => {
            for (result, &a) in block.iter_mut().zip(&a[range]) {
                *result = first(*result, a);
            }
        }
        [a, b] => {
            for ((result, &a), &b) in block.iter_mut().zip(&a[range.clone()]).zip(&b[range]) {
                *result = next(first(*result, a), b);
            }
        }
        [a, b, c] => {
            let (a, b, c) = (&a[range.clone()], &b[range.clone()], &c[range]);
            for (((result, &a), &b), &c) in block.iter_mut().zip(a).zip(b).zip(c) {
                *result = next(next(first(*result, a), b), c);
            }
        }
        [a, b, c, d] => {
            let (a, b) = (&a[range.clone()], &b[range.clone()]);
            let (c, d) = (&c[range.clone()], &d[range]);
            for ((((result, &a), &b), &c), &d) in block.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *result = next(next(next(first(*result, a), b), c), d);
            }
        }
        // Nobody hands over none, or more than stand side by side.
        _ => {}
    }
}
