//! Failures of Rust as Python exceptions: the one place that knows which class stands for which failure.
//!
//! Each mapping is an exhaustive `match`: a new kind of failure does not compile before it has a class. `PyO3` imports
//! each class once; the initialisation of the extension module imports `mosaic.errors`, so that raising opens no file.

use mosaic_core::call::{Failure, FailureKind};
use mosaic_core::payload::Loss;
use mosaic_runtime::engine::EngineError;
use mosaic_runtime::node::descriptors::{self, EMFILE};
use mosaic_runtime::store::StoreError;
use pyo3::exceptions::{PyOSError, PyTimeoutError};
use pyo3::prelude::*;

use crate::hooks::{cached, hooks};

/// The classes of `mosaic.errors`; see there.
mod classes {
    use pyo3::import_exception;

    import_exception!(mosaic.errors, BackpressureError);
    import_exception!(mosaic.errors, ConnectionLostError);
    import_exception!(mosaic.errors, DescriptorLimitError);
    import_exception!(mosaic.errors, MemoryOverflowError);
    import_exception!(mosaic.errors, MosaicError);
    import_exception!(mosaic.errors, ObjectLostError);
    import_exception!(mosaic.errors, RemoteError);
    import_exception!(mosaic.errors, RuntimeDisconnectedError);
    import_exception!(mosaic.errors, SerialisationError);
    import_exception!(mosaic.errors, TesseraStoppedError);
}
use classes::{
    BackpressureError, ConnectionLostError, DescriptorLimitError, MemoryOverflowError, RemoteError,
    TesseraStoppedError,
};
pub(crate) use classes::{
    MosaicError, ObjectLostError, RuntimeDisconnectedError, SerialisationError,
};

/// The exception for an engine's refusal.
pub(crate) fn engine_error(refusal: &EngineError) -> PyErr {
    let message = refusal.to_string();
    match refusal {
        EngineError::Backpressure(_) => BackpressureError::new_err(message),
        EngineError::TimedOut => PyTimeoutError::new_err(message),
        EngineError::Stopped | EngineError::Forked => RuntimeDisconnectedError::new_err(message),
        EngineError::Interrupted | EngineError::NoWorkers(_) | EngineError::System(_) => {
            MosaicError::new_err(message)
        }
        EngineError::Store(refusal) => match refusal {
            StoreError::Full(_) | StoreError::TooLarge(_) => MemoryOverflowError::new_err(message),
            StoreError::Descriptors(_) => DescriptorLimitError::new_err(message),
            StoreError::System(_) => MosaicError::new_err(message),
        },
    }
}

/// The exception that says why part of a value is not here.
pub(crate) fn loss_error(loss: &Loss) -> PyErr {
    let message = loss.to_string();
    match loss {
        Loss::Descriptors { .. } => DescriptorLimitError::new_err(message),
        Loss::Memory(_) => MemoryOverflowError::new_err(message),
        Loss::TooLong { .. } | Loss::Malformed(_) | Loss::System(_) => {
            SerialisationError::new_err(message)
        }
    }
}

/// The exception to raise for a task that failed, with the tasks through which the failure came as notes.
pub(crate) fn failure_exception<'py>(
    py: Python<'py>,
    failure: &Failure,
) -> PyResult<Bound<'py, PyAny>> {
    let message = || failure.message.clone();
    let error = match failure.kind {
        FailureKind::Raised if !failure.detail.body.is_empty() => {
            let decode = hooks(py)?.decode_exception.bind(py);
            let decode = || decode.call1((&failure.message, &failure.detail.body[..]));
            PyErr::from_value(with_reserve(py, decode)?)
        }
        FailureKind::Raised => RemoteError::new_err(message()),
        FailureKind::Cancelled => {
            let made = || cached!(py, "asyncio", "CancelledError")?.call1((message(),));
            PyErr::from_value(with_reserve(py, made)?)
        }
        FailureKind::TimedOut => PyTimeoutError::new_err(message()),
        FailureKind::Disconnected => RuntimeDisconnectedError::new_err(message()),
        FailureKind::ConnectionLost => ConnectionLostError::new_err(message()),
        FailureKind::Stopped => TesseraStoppedError::new_err(message()),
        FailureKind::ObjectLost => ObjectLostError::new_err(message()),
        FailureKind::Rejected => MosaicError::new_err(message()),
        FailureKind::Descriptors => DescriptorLimitError::new_err(message()),
        FailureKind::Memory => MemoryOverflowError::new_err(message()),
        FailureKind::Internal => MosaicError::new_err(format!(
            "a fault of mosaic itself, please report it: {}",
            failure.message
        )),
    };
    let exception = error.into_value(py).into_bound(py).into_any();
    for line in &failure.context {
        exception.call_method1(pyo3::intern!(py, "add_note"), (line,))?;
    }
    Ok(exception)
}

/// Do something that may import a module, which needs a descriptor: where none is left, with the one in reserve.
pub(crate) fn with_reserve<T>(py: Python<'_>, act: impl Fn() -> PyResult<T>) -> PyResult<T> {
    match act() {
        Err(error) if is_shortage(py, &error) => descriptors::with_reserve(act),
        result => result,
    }
}

/// Whether an error says that this process may open no more files.
pub(crate) fn is_shortage(py: Python<'_>, error: &PyErr) -> bool {
    let errno = || -> Option<i32> {
        let value = error.value(py);
        let value = value.cast::<PyOSError>().ok()?;
        let errno = value.getattr(pyo3::intern!(py, "errno")).ok()?;
        errno.extract().ok()
    };
    errno() == Some(EMFILE)
}
