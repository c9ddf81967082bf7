//! Python values as msgpack, where no difference can be seen at the other end.
//!
//! Exact built-in values: `None`, `bool`, `int` of 64 bits, `float`, `str`, `bytes`, and lists, tuples and dicts of
//! those; `NumPy`'s scalars and arrays of numbers ([`array`](mod@array)). No container and no array occurs twice.
//! Everything else is pickle's. [`writer`] encodes, [`reader`] decodes.

pub(crate) mod array;
mod reader;
mod writer;

pub(crate) use reader::{Reader, truncated};
pub(crate) use writer::{NeedsPickle, Writer, Written};

/// The extension type of tuples: an array.
const TUPLE: i8 = 1;
/// The extension type of `NumPy`'s scalars.
const SCALAR: i8 = 2;
/// The extension type of `NumPy`'s arrays.
const ARRAY: i8 = 3;
