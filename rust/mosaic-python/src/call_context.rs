//! Where calls come from: the cell of a notebook, say, so that what their methods print is shown there.
//!
//! A number travels with each call in its header ([`mosaic_core::call::Call::origin`]), and from there on with the calls
//! that the call makes in turn. What the numbers mean is for the Python functions to say that `trace_origins` was given:
//! one tells the number of the current context, one makes a number the current context's, and one has what was printed
//! shown before a program that waited for a call goes on.
//! Without them, as in all programs but notebooks, a call costs its caller one look at a flag.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;

use crate::coroutine::within;

use mosaic_runtime::sync::{Mutex, Rank};

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

/// The number of the current context, for a call that is made in it.
pub(crate) fn current(py: Python<'_>) -> PyResult<Option<NonZeroU32>> {
    match tracing() {
        Some(tracing) => tracing.current.bind(py).call0()?.extract(),
        None => Ok(None),
    }
}

/// Make the number that a call came with the current context's.
pub(crate) fn enter(py: Python<'_>, origin: Option<NonZeroU32>) -> PyResult<()> {
    if let Some(origin) = origin
        && let Some(tracing) = tracing()
    {
        tracing.enter.bind(py).call1((origin,))?;
    }
    Ok(())
}

/// Make the number of the current context another context's, too.
pub(crate) fn pass_on(py: Python<'_>, context: &Py<PyAny>) -> PyResult<()> {
    match current(py)? {
        Some(origin) => within(py, context, || enter(py, Some(origin))),
        None => Ok(()),
    }
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
