//! What a call was given, as far as its task remembers it: `TaskProxy.args`, `kwargs` and `max_retries`.
//!
//! A task keeps no argument alive that is large or that may refer to others: it holds numbers, short texts and short
//! lists of them, and weak references to the rest. Of what allows no weak reference it knows the type.

use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyBytes, PyComplex, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple,
    PyWeakrefReference,
};

use crate::task::Task;

/// Longest text that a task holds, and most members of a list.
const SHORT_TEXT: usize = 256;
const SHORT_LIST: usize = 16;

/// Have a task remember its call, unless there is nothing to remember.
pub(crate) fn remember(
    task: &Bound<'_, Task>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
    retries: u32,
) -> PyResult<()> {
    let py = task.py();
    let kwargs = kwargs.filter(|kwargs| !kwargs.is_empty());
    if args.is_empty() && kwargs.is_none() && retries == 0 {
        return Ok(());
    }
    let positional = if args.iter_borrowed().all(|arg| is_simple(&arg)) {
        args.clone()
    } else {
        let held = args.iter().map(|arg| held(&arg));
        PyTuple::new(py, held.collect::<PyResult<Vec<_>>>()?)?
    };
    let task = task.get();
    if kwargs.is_none() && retries == 0 {
        task.remember_given(positional.into_any());
        return Ok(());
    }
    let keyword = PyDict::new(py);
    for (name, value) in kwargs.into_iter().flat_map(PyDictMethods::iter) {
        keyword.set_item(name, held(&value)?)?;
    }
    let whole = [
        positional.into_any(),
        keyword.into_any(),
        retries.into_pyobject(py)?.into_any(),
    ];
    task.remember_given(PyList::new(py, whole)?.into_any());
    Ok(())
}

/// What stands for an argument: itself or a copy of it, a weak reference, or its type.
fn held<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if is_simple(value) {
        return Ok(value.clone());
    }
    // Copies, since the caller's own may come to hold anything.
    if let Ok(list) = value.cast_exact::<PyList>() {
        if list.len() <= SHORT_LIST && list.iter().all(|member| is_simple(&member)) {
            return Ok(list.get_slice(0, list.len()).into_any());
        }
    } else if let Ok(dict) = value.cast_exact::<PyDict>()
        && dict.len() <= SHORT_LIST
        && dict
            .iter()
            .all(|(key, value)| is_simple(&key) && is_simple(&value))
    {
        return Ok(dict.copy()?.into_any());
    }
    let class = value.get_type();
    // SAFETY: a live type, with the GIL.
    if unsafe { (*class.as_type_ptr()).tp_weaklistoffset } == 0 {
        return Ok(class.into_any());
    }
    Ok(PyWeakrefReference::new(value)?.into_any())
}

/// Whether a value is small, never changes and refers to nothing: of a type itself, not of one derived from it.
fn is_simple(value: &Bound<'_, PyAny>) -> bool {
    is_scalar(value)
        || value.cast_exact::<PyTuple>().is_ok_and(|tuple| {
            tuple.len() <= SHORT_LIST && tuple.iter_borrowed().all(|member| is_scalar(&member))
        })
}

fn is_scalar(value: &Bound<'_, PyAny>) -> bool {
    value.is_none()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyBool>()
        || value.is_exact_instance_of::<PyComplex>()
        || value
            .cast_exact::<PyString>()
            .is_ok_and(|text| text.len().is_ok_and(|length| length <= SHORT_TEXT))
        || value
            .cast_exact::<PyBytes>()
            .is_ok_and(|bytes| bytes.as_bytes().len() <= SHORT_TEXT)
}
