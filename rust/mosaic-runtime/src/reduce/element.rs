//! What can be reduced: integers, floating-point numbers, complex numbers.

/// What can be added and multiplied.
pub trait Number: Copy + Send + Sync {
    /// The sum; of integers, what is left of it in their bits.
    #[must_use]
    fn plus(self, other: Self) -> Self;

    /// The product; of integers, what is left of it in their bits.
    #[must_use]
    fn times(self, other: Self) -> Self;
}

/// What has a mean.
pub trait Averaged: Number {
    /// The type of the mean: the same, but double precision for integers.
    type Mean: Number;

    /// The same value as one of the type of the mean.
    fn widen(self) -> Self::Mean;

    /// Divide a sum.
    fn divide(sum: Self::Mean, count: usize) -> Self::Mean;
}

/// What has a least and a greatest; a NaN among floating-point numbers is both.
pub trait Ordered: Number {
    /// The lesser one.
    #[must_use]
    fn lesser(self, other: Self) -> Self;

    /// The greater one.
    #[must_use]
    fn greater(self, other: Self) -> Self;
}

/// A complex number, as C, Fortran and `NumPy` lay it out.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Complex<T> {
    /// The real part.
    pub real: T,
    /// The imaginary part.
    pub imaginary: T,
}

macro_rules! integer {
    ($($type:ty),*) => { $(
        impl Number for $type {
            #[inline]
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            #[inline]
            fn times(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
        }

        impl Averaged for $type {
            type Mean = f64;

            #[allow(
                clippy::cast_lossless,
                clippy::cast_precision_loss,
                reason = "one body for all widths; the mean of large integers is rounded, as everybody's"
            )]
            #[inline]
            fn widen(self) -> f64 {
                self as f64
            }

            #[inline]
            fn divide(sum: f64, count: usize) -> f64 {
                f64::divide(sum, count)
            }
        }

        impl Ordered for $type {
            #[inline]
            fn lesser(self, other: Self) -> Self {
                self.min(other)
            }

            #[inline]
            fn greater(self, other: Self) -> Self {
                self.max(other)
            }
        }
    )* };
}

macro_rules! float {
    ($($type:ty),*) => { $(
        impl Number for $type {
            #[inline]
            fn plus(self, other: Self) -> Self {
                self + other
            }

            #[inline]
            fn times(self, other: Self) -> Self {
                self * other
            }
        }

        impl Averaged for $type {
            type Mean = Self;

            #[inline]
            fn widen(self) -> Self {
                self
            }

            #[expect(
                clippy::cast_precision_loss,
                reason = "nobody has as many operands as a float cannot count"
            )]
            #[inline]
            fn divide(sum: Self, count: usize) -> Self {
                sum / count as Self
            }
        }

        impl Ordered for $type {
            #[inline]
            fn lesser(self, other: Self) -> Self {
                // A NaN compares as neither: the first one that is met stays.
                if self < other || self.is_nan() { self } else { other }
            }

            #[inline]
            fn greater(self, other: Self) -> Self {
                if self > other || self.is_nan() { self } else { other }
            }
        }

        impl Number for Complex<$type> {
            #[inline]
            fn plus(self, other: Self) -> Self {
                Self {
                    real: self.real + other.real,
                    imaginary: self.imaginary + other.imaginary,
                }
            }

            #[inline]
            fn times(self, other: Self) -> Self {
                Self {
                    real: self.real * other.real - self.imaginary * other.imaginary,
                    imaginary: self.real * other.imaginary + self.imaginary * other.real,
                }
            }
        }

        impl Averaged for Complex<$type> {
            type Mean = Self;

            #[inline]
            fn widen(self) -> Self {
                self
            }

            #[inline]
            fn divide(sum: Self, count: usize) -> Self {
                Self {
                    real: <$type>::divide(sum.real, count),
                    imaginary: <$type>::divide(sum.imaginary, count),
                }
            }
        }
    )* };
}

integer!(i8, i16, i32, i64, u8, u16, u32, u64);
float!(f32, f64);
