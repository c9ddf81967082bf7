//! Values to msgpack.

use std::cell::Cell;

use bytes::Bytes;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyNone, PyString, PyTuple};

use super::array::NumpyValue;
use super::{ARRAY, SCALAR, TUPLE};

/// Containers beyond this depth are left to pickle.
const DEEPEST: usize = 16;
/// More containers than this in one value are left to pickle, which has a better memory for them.
const MOST_CONTAINERS: usize = 64;

/// The commonest encodings need no memory at all: no arguments, and None.
const NO_ARGUMENTS: &[u8] = &[0x90, 0x80];
const NONE: &[u8] = &[0xc0];
/// A longer encoding is handed on as it is rather than copied.
const LARGEST_SCRATCH: usize = 4 << 10;

thread_local! {
    /// Where the encoder of this thread writes.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Why a value does not go as msgpack.
pub(crate) struct NeedsPickle;

/// Writes msgpack.
pub(crate) struct Writer {
    out: Vec<u8>,
    /// The addresses of the containers and arrays so far.
    containers: Vec<usize>,
    arrays: bool,
    large: Vec<PyUntypedBuffer>,
}

/// What was written.
pub(crate) struct Written {
    pub(crate) body: Bytes,
    /// There are arrays in it.
    pub(crate) arrays: bool,
    /// Their elements, where they are too many for the body, in the order in which the reader wants them.
    pub(crate) large: Vec<PyUntypedBuffer>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self {
            out: SCRATCH.take(),
            containers: Vec::new(),
            arrays: false,
            large: Vec::new(),
        }
    }

    /// What was written, in an allocation of exactly its size: a million calls may wait with theirs.
    pub(crate) fn finish(mut self) -> Written {
        let body = match &self.out[..] {
            NO_ARGUMENTS => Bytes::from_static(NO_ARGUMENTS),
            NONE => Bytes::from_static(NONE),
            long if long.len() > LARGEST_SCRATCH => {
                self.out.shrink_to_fit();
                std::mem::take(&mut self.out).into()
            }
            other => Bytes::copy_from_slice(other),
        };
        self.out.clear();
        SCRATCH.set(self.out);
        Written {
            body,
            arrays: self.arrays,
            large: self.large,
        }
    }

    fn length(
        &mut self,
        count: usize,
        fix: Option<(u8, usize)>,
        eight: Option<u8>,
        sixteen: u8,
        thirty_two: u8,
    ) -> Result<(), NeedsPickle> {
        match (
            fix,
            eight,
            u8::try_from(count),
            u16::try_from(count),
            u32::try_from(count),
        ) {
            (Some((base, most)), _, Ok(count), _, _) if usize::from(count) <= most => {
                self.out.push(base | count);
            }
            (_, Some(marker), Ok(count), _, _) => self.out.extend([marker, count]),
            (_, _, _, Ok(count), _) => {
                self.out.push(sixteen);
                self.out.extend(count.to_be_bytes());
            }
            (_, _, _, _, Ok(count)) => {
                self.out.push(thirty_two);
                self.out.extend(count.to_be_bytes());
            }
            _ => return Err(NeedsPickle),
        }
        Ok(())
    }

    pub(crate) fn array(&mut self, count: usize) -> Result<(), NeedsPickle> {
        self.length(count, Some((0x90, 15)), None, 0xdc, 0xdd)
    }

    pub(crate) fn map(&mut self, count: usize) -> Result<(), NeedsPickle> {
        self.length(count, Some((0x80, 15)), None, 0xde, 0xdf)
    }

    fn string(&mut self, text: &str) -> Result<(), NeedsPickle> {
        self.length(text.len(), Some((0xa0, 31)), Some(0xd9), 0xda, 0xdb)?;
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn integer(&mut self, value: &Bound<'_, PyInt>) -> Result<(), NeedsPickle> {
        if let Ok(value) = value.extract::<i64>() {
            if (-32..=127).contains(&value) {
                self.out.push(value.cast_unsigned() as u8);
            } else {
                self.out.push(0xd3);
                self.out.extend(value.to_be_bytes());
            }
        } else {
            let value = value.extract::<u64>().map_err(|_| NeedsPickle)?;
            self.out.push(0xcf);
            self.out.extend(value.to_be_bytes());
        }
        Ok(())
    }

    /// A container that occurs twice, or in itself, is pickle's to get right.
    fn enter(&mut self, container: &Bound<'_, PyAny>, depth: usize) -> Result<(), NeedsPickle> {
        let address = container.as_ptr() as usize;
        if depth >= DEEPEST
            || self.containers.len() >= MOST_CONTAINERS
            || self.containers.contains(&address)
        {
            return Err(NeedsPickle);
        }
        self.containers.push(address);
        Ok(())
    }

    pub(crate) fn value(
        &mut self,
        value: &Bound<'_, PyAny>,
        depth: usize,
    ) -> Result<(), NeedsPickle> {
        if value.is_exact_instance_of::<PyNone>() {
            self.out.push(0xc0);
        } else if let Ok(text) = value.cast_exact::<PyString>() {
            let text = text.to_str().map_err(|_| NeedsPickle)?;
            self.string(text)?;
        } else if let Ok(value) = value.cast_exact::<PyInt>() {
            self.integer(value)?;
        } else if let Ok(value) = value.cast_exact::<PyFloat>() {
            self.out.push(0xcb);
            self.out.extend(value.value().to_be_bytes());
        } else if let Ok(value) = value.cast_exact::<PyBool>() {
            self.out.push(if value.is_true() { 0xc3 } else { 0xc2 });
        } else if let Ok(bytes) = value.cast_exact::<PyBytes>() {
            let bytes = bytes.as_bytes();
            self.length(bytes.len(), None, Some(0xc4), 0xc5, 0xc6)?;
            self.out.extend_from_slice(bytes);
        } else if let Ok(list) = value.cast_exact::<PyList>() {
            self.enter(value, depth)?;
            self.array(list.len())?;
            for item in list.iter() {
                self.value(&item, depth + 1)?;
            }
        } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            if !tuple.is_empty() {
                self.enter(value, depth)?;
            }
            self.extension(TUPLE, |writer| {
                writer.array(tuple.len())?;
                for item in tuple.iter_borrowed() {
                    writer.value(&item, depth + 1)?;
                }
                Ok(())
            })?;
        } else if let Ok(dict) = value.cast_exact::<PyDict>() {
            self.enter(value, depth)?;
            self.map(dict.len())?;
            for (key, item) in dict.iter() {
                self.value(&key, depth + 1)?;
                self.value(&item, depth + 1)?;
            }
        } else {
            self.number(value, depth)?;
        }
        Ok(())
    }

    /// One of `NumPy`'s.
    fn number(&mut self, value: &Bound<'_, PyAny>, depth: usize) -> Result<(), NeedsPickle> {
        match NumpyValue::of(value).ok_or(NeedsPickle)? {
            NumpyValue::Scalar { element, bytes } => self.extension(SCALAR, |writer| {
                writer.out.push(element);
                writer.out.extend_from_slice(bytes.as_bytes());
                Ok(())
            }),
            NumpyValue::Array(array) => {
                self.enter(value, depth)?;
                self.arrays = true;
                self.extension(ARRAY, |writer| {
                    let large = array.write(&mut writer.out);
                    writer.large.extend(large);
                    Ok(())
                })
            }
        }
    }

    fn extension(
        &mut self,
        kind: i8,
        body: impl FnOnce(&mut Self) -> Result<(), NeedsPickle>,
    ) -> Result<(), NeedsPickle> {
        self.out.push(0xc9);
        let length_at = self.out.len();
        self.out.extend([0, 0, 0, 0, kind.cast_unsigned()]);
        body(self)?;
        let length = u32::try_from(self.out.len() - length_at - 5).map_err(|_| NeedsPickle)?;
        self.out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }
}
