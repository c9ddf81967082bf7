//! Reductions against a loop that anybody can see through, bit by bit.

use std::fmt::Debug;

use mosaic_runtime::reduce::{
    Complex, Maximum, Mean, Minimum, Product, ReduceError, Rule, Sum, reduce, reduce_on,
};
use proptest::prelude::*;

/// More than a few blocks and portions, and no multiple of either.
const LONG: usize = 3 * 8 * 8192 + 777;

/// What a plain loop gives.
fn plain<T: Copy, R: Rule<T>>(rule: R, operands: &[Vec<T>]) -> Vec<R::Output> {
    (0..operands[0].len())
        .map(|place| {
            let mut result = rule.first(operands[0][place]);
            for operand in &operands[1..] {
                result = rule.next(result, operand[place]);
            }
            rule.last(result, operands.len())
        })
        .collect()
}

fn reduced<T, R>(threads: usize, rule: R, operands: &[Vec<T>], zero: R::Output) -> Vec<R::Output>
where
    T: Copy + Sync,
    R: Rule<T>,
{
    let slices: Vec<&[T]> = operands.iter().map(Vec::as_slice).collect();
    let mut output = vec![zero; operands[0].len()];
    reduce_on(threads, rule, &slices, &mut output).expect("equally long");
    output
}

fn check<T, R>(rule: R, operands: &[Vec<T>], zero: R::Output)
where
    T: Copy + Sync,
    R: Rule<T, Output: Debug>,
{
    // Text tells zeros by their signs, and takes any NaN for any other.
    let expected = format!("{:?}", plain(rule, operands));
    for threads in 1..=3 {
        assert_eq!(
            format!("{:?}", reduced(threads, rule, operands, zero)),
            expected
        );
    }
}

/// Up to five operands of one length, empty ones too.
fn operands<T: Debug>(
    element: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Vec<Vec<T>>> {
    (1..6_usize, prop_oneof![0..40_usize, 8180..8200_usize]).prop_flat_map(
        move |(count, length)| {
            let operand = proptest::collection::vec(element.clone(), length);
            proptest::collection::vec(operand, count)
        },
    )
}

fn complex() -> impl Strategy<Value = Complex<f32>> + Clone {
    (any::<f32>(), any::<f32>()).prop_map(|(real, imaginary)| Complex { real, imaginary })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn reduce_1_floats(operands in operands(proptest::num::f32::ANY)) {
        check(Sum, &operands, 0.0);
        check(Product, &operands, 0.0);
        check(Mean, &operands, 0.0);
        check(Minimum, &operands, 0.0);
        check(Maximum, &operands, 0.0);
    }

    #[test]
    fn reduce_1_doubles(operands in operands(proptest::num::f64::ANY)) {
        check(Sum, &operands, 0.0);
        check(Mean, &operands, 0.0);
        check(Maximum, &operands, 0.0);
    }

    #[test]
    fn reduce_1_integers(operands in operands(any::<i64>())) {
        check(Sum, &operands, 0);
        check(Product, &operands, 0);
        check(Mean, &operands, 0.0);
        check(Minimum, &operands, 0);
        check(Maximum, &operands, 0);
    }

    #[test]
    fn reduce_1_bytes(operands in operands(any::<u8>())) {
        check(Sum, &operands, 0);
        check(Mean, &operands, 0.0);
        check(Minimum, &operands, 0);
    }

    #[test]
    fn reduce_1_complex_numbers(operands in operands(complex())) {
        let zero = Complex { real: 0.0, imaginary: 0.0 };
        check(Sum, &operands, zero);
        check(Product, &operands, zero);
        check(Mean, &operands, zero);
    }
}

#[test]
fn reduce_1_whatever_the_cut_and_the_threads() {
    let operands: Vec<Vec<f32>> = (1..8_u32)
        .map(|operand| {
            (0..LONG as u32)
                .map(|place| {
                    let mixed = place.wrapping_mul(operand).wrapping_mul(2_654_435_761);
                    f64::from(mixed).sin() as f32
                })
                .collect()
        })
        .collect();
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let expected = bits(plain(Sum, &operands));
    for threads in [1, 2, 3, 8] {
        assert_eq!(bits(reduced(threads, Sum, &operands, 0.0)), expected);
    }
    let slices: Vec<&[f32]> = operands.iter().map(Vec::as_slice).collect();
    let mut output = vec![0.0; LONG];
    reduce(Sum, &slices, &mut output).expect("equally long");
    assert_eq!(bits(output), expected);
}

#[test]
fn rules_give_what_their_names_say() {
    let operands = [vec![1_i32, -7, 5], vec![2, 4, 5], vec![4, 0, -1]];
    assert_eq!(reduced(1, Sum, &operands, 0), [7, -3, 9]);
    assert_eq!(reduced(1, Product, &operands, 0), [8, 0, -25]);
    assert_eq!(reduced(1, Minimum, &operands, 0), [1, -7, -1]);
    assert_eq!(reduced(1, Maximum, &operands, 0), [4, 4, 5]);
    assert_eq!(reduced(1, Mean, &operands, 0.0), [7.0 / 3.0, -1.0, 3.0]);
}

#[test]
fn integers_wrap() {
    assert_eq!(
        reduced(1, Sum, &[vec![200_u8, 1], vec![100, 2]], 0),
        [44, 3]
    );
    assert_eq!(reduced(1, Product, &[vec![i16::MAX], vec![2]], 0), [-2]);
}

#[test]
fn nan_wins_wherever_it_stands() {
    for place in 0..3 {
        let mut operands = vec![vec![1.0], vec![2.0], vec![3.0]];
        operands[place][0] = f64::NAN;
        assert!(reduced(1, Minimum, &operands, 0.0)[0].is_nan());
        assert!(reduced(1, Maximum, &operands, 0.0)[0].is_nan());
    }
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let mut output = [0.0_f32; 3];
    assert_eq!(reduce(Sum, &[], &mut output), Err(ReduceError::NoOperands));
    assert_eq!(
        reduce(Sum, &[&[1.0, 2.0, 3.0], &[1.0, 2.0]], &mut output),
        Err(ReduceError::Length {
            operand: 1,
            length: 2,
            expected: 3
        })
    );
}
