//! Where calls come from: the cell of a notebook, say, so that what their methods print is shown there.
//!
//! A number travels with each call as a keyword argument of its own, which the callee takes out, and from there on with
//! the calls that the call makes in turn. What the numbers mean is for the Python functions to say that `trace_origins`
//! was given: one tells the number of the current context, one makes a number the current context's, and one has what was
//! printed shown before whoever waited for a call goes on.
//! Without them, as in all programs but notebooks, a call costs its caller one look at a flag, and its callee one look
//! among the keyword arguments, if it has any.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::coroutine::within;

use mosaic_runtime::sync::{Mutex, Rank};

/// The keyword under which the number travels.
const KEYWORD: &str = "_mosaic_origin";

struct Tracing {
    current: Py<PyAny>,
    enter: Py<PyAny>,
    show: Option<Py<PyAny>>,
}

static TRACED: AtomicBool = AtomicBool::new(false);
static TRACING: Mutex<Option<Arc<Tracing>>> = Mutex::new(Rank::CallOrigins, None);

/// Have calls carry where they come from; without functions no more.
#[pyfunction]
#[pyo3(signature = (current = None, enter = None, show = None))]
pub(crate) fn trace_origins(
    current: Option<Py<PyAny>>,
    enter: Option<Py<PyAny>>,
    show: Option<Py<PyAny>>,
) {
    let next = current.zip(enter).map(|(current, enter)| {
        Arc::new(Tracing {
            current,
            enter,
            show,
        })
    });
    TRACED.store(next.is_some(), Ordering::Release);
    let earlier = std::mem::replace(&mut *TRACING.lock(), next);
    drop(earlier);
}

fn tracing() -> Option<Arc<Tracing>> {
    if !TRACED.load(Ordering::Acquire) {
        return None;
    }
    TRACING.lock().clone()
}

/// The keyword arguments of a call with the number of its origin among them, where there is one.
pub(crate) fn depart<'py>(
    py: Python<'py>,
    kwargs: Option<Bound<'py, PyDict>>,
) -> PyResult<Option<Bound<'py, PyDict>>> {
    let Some(tracing) = tracing() else {
        return Ok(kwargs);
    };
    let origin = tracing.current.bind(py).call0()?;
    if origin.is_none() {
        return Ok(kwargs);
    }
    let with = match kwargs {
        Some(kwargs) => kwargs.copy()?,
        None => PyDict::new(py),
    };
    with.set_item(pyo3::intern!(py, KEYWORD), origin)?;
    Ok(Some(with))
}

/// Take the number out of the keyword arguments of a call, and make it the current context's.
pub(crate) fn arrive<'py>(
    py: Python<'py>,
    kwargs: Option<Bound<'py, PyDict>>,
) -> PyResult<Option<Bound<'py, PyDict>>> {
    let Some(given) = kwargs else {
        return Ok(None);
    };
    let keyword = pyo3::intern!(py, KEYWORD);
    if let Some(origin) = given.get_item(keyword)? {
        given.del_item(keyword)?;
        if let Some(tracing) = tracing() {
            tracing.enter.bind(py).call1((origin,))?;
        }
    }
    Ok((!given.is_empty()).then_some(given))
}

/// Make the number of the current context another context's, too.
pub(crate) fn hand_on(py: Python<'_>, context: &Py<PyAny>) -> PyResult<()> {
    let Some(tracing) = tracing() else {
        return Ok(());
    };
    let origin = tracing.current.bind(py).call0()?;
    if !origin.is_none() {
        within(py, context, || tracing.enter.bind(py).call1((origin,)))?;
    }
    Ok(())
}

/// Have what the calls of this process printed shown, before who has awaited one goes on.
pub(crate) fn show_printed(py: Python<'_>) -> PyResult<()> {
    if let Some(tracing) = tracing()
        && let Some(show) = &tracing.show
    {
        show.bind(py).call0()?;
    }
    Ok(())
}
