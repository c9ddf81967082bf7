//! Element-wise reduction of the buffers of arrays, without the GIL.

use std::ffi::CStr;
use std::ops::Range;

use mosaic_runtime::reduce::{
    Averaged, Complex, Maximum, Mean, Minimum, Number, Ordered, Product, ReduceError, Rule, Sum,
};
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::prelude::*;

use crate::waiting::detach;

/// See `reduce` in `_core.pyi`.
#[pyfunction]
pub(crate) fn reduce(
    py: Python<'_>,
    arrays: Vec<Bound<'_, PyAny>>,
    operation: &str,
    out: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let operands = arrays
        .into_iter()
        .map(|array| Flat::of(&array))
        .collect::<PyResult<Vec<Flat>>>()?;
    let Some(first) = operands.first() else {
        return Err(refused(ReduceError::NoOperands));
    };
    let kind = first.kind;
    let out = Flat::of(out)?;
    if out.buffer.readonly() {
        return Err(PyBufferError::new_err("the output cannot be written to"));
    }
    for operand in &operands {
        if operand.kind != kind {
            return Err(PyValueError::new_err(format!(
                "the operands are of different types: {kind:?} and {:?}",
                operand.kind
            )));
        }
        if operand.overlaps(&out) {
            return Err(PyValueError::new_err(
                "the output shares memory with an operand",
            ));
        }
    }
    let run = Run {
        py,
        operation,
        kind,
        operands: &operands,
        out: &out,
    };
    match kind {
        Kind::I8 => run.ordered::<i8>(),
        Kind::I16 => run.ordered::<i16>(),
        Kind::I32 => run.ordered::<i32>(),
        Kind::I64 => run.ordered::<i64>(),
        Kind::U8 => run.ordered::<u8>(),
        Kind::U16 => run.ordered::<u16>(),
        Kind::U32 => run.ordered::<u32>(),
        Kind::U64 => run.ordered::<u64>(),
        Kind::F32 => run.ordered::<f32>(),
        Kind::F64 => run.ordered::<f64>(),
        Kind::C64 => run.any::<Complex<f32>>(),
        Kind::C128 => run.any::<Complex<f64>>(),
    }
}

fn refused(error: ReduceError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// The type of an array's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F32,
    F64,
    C64,
    C128,
}

impl Kind {
    /// What a format of the buffer protocol (PEP 3118) stands for, if its elements can be reduced.
    fn of(format: &CStr, size: usize) -> Option<Self> {
        let format = format.to_bytes();
        let code = format.strip_prefix(b"@").unwrap_or(format);
        Some(match (code, size) {
            (b"b" | b"h" | b"i" | b"l" | b"q" | b"n", 1) => Self::I8,
            (b"b" | b"h" | b"i" | b"l" | b"q" | b"n", 2) => Self::I16,
            (b"b" | b"h" | b"i" | b"l" | b"q" | b"n", 4) => Self::I32,
            (b"b" | b"h" | b"i" | b"l" | b"q" | b"n", 8) => Self::I64,
            (b"B" | b"H" | b"I" | b"L" | b"Q" | b"N", 1) => Self::U8,
            (b"B" | b"H" | b"I" | b"L" | b"Q" | b"N", 2) => Self::U16,
            (b"B" | b"H" | b"I" | b"L" | b"Q" | b"N", 4) => Self::U32,
            (b"B" | b"H" | b"I" | b"L" | b"Q" | b"N", 8) => Self::U64,
            (b"f", 4) => Self::F32,
            (b"d", 8) => Self::F64,
            (b"Zf", 8) => Self::C64,
            (b"Zd", 16) => Self::C128,
            _ => return None,
        })
    }
}

/// A type of elements, as [`Kind`] names it.
trait Element: Number + 'static {
    const KIND: Kind;
}

macro_rules! elements {
    ($($type:ty => $kind:ident),*) => { $(
        impl Element for $type {
            const KIND: Kind = Kind::$kind;
        }
    )* };
}

elements!(
    i8 => I8, i16 => I16, i32 => I32, i64 => I64, u8 => U8, u16 => U16, u32 => U32, u64 => U64,
    f32 => F32, f64 => F64, Complex<f32> => C64, Complex<f64> => C128
);

/// A contiguous buffer of elements that can be reduced.
struct Flat {
    buffer: PyUntypedBuffer,
    kind: Kind,
}

impl Flat {
    fn of(array: &Bound<'_, PyAny>) -> PyResult<Self> {
        let buffer = PyUntypedBuffer::get(array)?;
        if buffer.dimensions() != 1 || !buffer.is_c_contiguous() {
            return Err(PyBufferError::new_err(
                "an array to reduce is flat and contiguous",
            ));
        }
        let kind = Kind::of(buffer.format(), buffer.item_size()).ok_or_else(|| {
            PyBufferError::new_err(format!(
                "elements of format {:?} cannot be reduced",
                buffer.format()
            ))
        })?;
        Ok(Self { buffer, kind })
    }

    fn addresses(&self) -> Range<usize> {
        let start = self.buffer.buf_ptr().addr();
        start..start + self.buffer.len_bytes()
    }

    fn overlaps(&self, other: &Self) -> bool {
        let (mine, others) = (self.addresses(), other.addresses());
        mine.start.max(others.start) < mine.end.min(others.end)
    }

    /// Where the elements are.
    fn elements<T: Element>(&self) -> PyResult<*mut T> {
        if self.kind != T::KIND {
            return Err(PyValueError::new_err(format!(
                "the output is of type {:?} where {:?} is needed",
                self.kind,
                T::KIND
            )));
        }
        let elements = self.buffer.buf_ptr().cast::<T>();
        if elements.is_null() || !elements.is_aligned() {
            return Err(PyBufferError::new_err("an array to reduce is aligned"));
        }
        Ok(elements)
    }
}

/// One reduction.
struct Run<'a, 'py> {
    py: Python<'py>,
    operation: &'a str,
    kind: Kind,
    operands: &'a [Flat],
    out: &'a Flat,
}

impl Run<'_, '_> {
    fn ordered<T>(&self) -> PyResult<()>
    where
        T: Element + Ordered + Averaged<Mean: Element>,
    {
        match self.operation {
            "min" => self.with::<T, _>(Minimum),
            "max" => self.with::<T, _>(Maximum),
            _ => self.any::<T>(),
        }
    }

    fn any<T>(&self) -> PyResult<()>
    where
        T: Element + Averaged<Mean: Element>,
    {
        match self.operation {
            "sum" => self.with::<T, _>(Sum),
            "prod" => self.with::<T, _>(Product),
            "mean" => self.with::<T, _>(Mean),
            other => Err(PyValueError::new_err(format!(
                "elements of type {:?} have no {other:?}",
                self.kind
            ))),
        }
    }

    fn with<T, R>(&self, rule: R) -> PyResult<()>
    where
        T: Element,
        R: Rule<T, Output: Element> + Send,
    {
        let pointers = self
            .operands
            .iter()
            .map(|operand| Ok((operand.elements::<T>()?, operand.buffer.item_count())))
            .collect::<PyResult<Vec<_>>>()?;
        let out = self.out.elements::<R::Output>()?;
        // SAFETY: aligned and contiguous, of this type and length; the views keep the memory. Nobody else has the
        // output: the caller allocated it or was given it to write to, and no operand overlaps it. That no other thread
        // writes to an operand meanwhile is left to those who have the arrays, as with `NumPy`, which lets go of the GIL
        // too.
        let (operands, output) = unsafe {
            let operands: Vec<&[T]> = pointers
                .into_iter()
                .map(|(elements, count)| std::slice::from_raw_parts(elements, count))
                .collect();
            let output = std::slice::from_raw_parts_mut(out, self.out.buffer.item_count());
            (operands, output)
        };
        detach(self.py, || {
            mosaic_runtime::reduce::reduce(rule, &operands, output)
        })
        .map_err(refused)
    }
}
