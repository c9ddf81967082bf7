//! Element-wise reduction of equally long slices: sum, mean, product, minimum, maximum.
//!
//! Owns nothing. Runs on the thread that calls and, for large arrays, on helpers that have ended when it
//! returns; none of them takes a lock but for the next portion of the output.
//!
//! - REDUCE-1: each element is what a plain loop over the operands gives, in the order of the operands; how
//!   the output is cut, how many threads share it and which instructions they have changes no bit of it.
//!
//! Memory bounds the speed, so it is gone through once: all operands of a block are combined while the block's output
//! lies in the first-level cache. One thread sums eight arrays of 100 MB in the time of copying them to one place
//! (37 ms), two in 21 ms. With the instructions of every 64-bit Intel processor alone, sums are as fast, maxima
//! are not (92 instead of 50 ms, 117 instead of 39 for 64-bit integers). `cargo bench --bench reduce` measures it.

mod element;

use std::sync::Mutex;

pub use element::{Averaged, Complex, Number, Ordered};

/// Elements that are combined before the next ones are looked at: 2 to 32 KiB of output, which stay in the
/// first-level cache.
const BLOCK: usize = 2048;

/// Elements that a thread takes at a time: some tens of microseconds of work, so that one that is held up leaves the
/// rest to the others.
const PORTION: usize = 32 * BLOCK;

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

/// The sum; integers wrap.
#[derive(Debug, Clone, Copy)]
pub struct Sum;

/// The product; integers wrap.
#[derive(Debug, Clone, Copy)]
pub struct Product;

/// The arithmetic mean; that of integers is a double.
#[derive(Debug, Clone, Copy)]
pub struct Mean;

/// The least element; NaN if one is NaN.
#[derive(Debug, Clone, Copy)]
pub struct Minimum;

/// The greatest element; NaN if one is NaN.
#[derive(Debug, Clone, Copy)]
pub struct Maximum;

impl<T: Number> Rule<T> for Sum {
    type Output = T;

    #[inline]
    fn first(self, element: T) -> T {
        element
    }

    #[inline]
    fn next(self, result: T, element: T) -> T {
        result.plus(element)
    }
}

impl<T: Number> Rule<T> for Product {
    type Output = T;

    #[inline]
    fn first(self, element: T) -> T {
        element
    }

    #[inline]
    fn next(self, result: T, element: T) -> T {
        result.times(element)
    }
}

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

impl<T: Ordered> Rule<T> for Minimum {
    type Output = T;

    #[inline]
    fn first(self, element: T) -> T {
        element
    }

    #[inline]
    fn next(self, result: T, element: T) -> T {
        result.lesser(element)
    }
}

impl<T: Ordered> Rule<T> for Maximum {
    type Output = T;

    #[inline]
    fn first(self, element: T) -> T {
        element
    }

    #[inline]
    fn next(self, result: T, element: T) -> T {
        result.greater(element)
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
    let portions = Mutex::new(output.chunks_mut(PORTION).enumerate());
    let work = || {
        loop {
            let next = match portions.lock() {
                Ok(mut portions) => portions.next(),
                Err(_) => return,
            };
            let Some((number, portion)) = next else {
                return;
            };
            combine(rule, operands, number * PORTION, portion);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Where no more threads can be had, those that there are do the work.
            if crate::threads::spawn_scoped(scope, "mosaic-reduce", work).is_err() {
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

/// [`combine_blocks`] for registers of 32 bytes.
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
    let Some((first, rest)) = operands.split_first() else {
        return;
    };
    for block in portion.chunks_mut(BLOCK) {
        let range = start..start + block.len();
        start = range.end;
        for (result, &element) in block.iter_mut().zip(&first[range.clone()]) {
            *result = rule.first(element);
        }
        for operand in rest {
            for (result, &element) in block.iter_mut().zip(&operand[range.clone()]) {
                *result = rule.next(*result, element);
            }
        }
        for result in block {
            *result = rule.last(*result, operands.len());
        }
    }
}
