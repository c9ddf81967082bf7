//! The Python objects that the core works with, told to it once by `configure`.

use mosaic_core::payload::Loss;
use mosaic_runtime::node::descriptors::{self, EMFILE};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// See `configure` in `_core.pyi`.
pub(crate) struct Hooks {
    pub(crate) task_type: Py<PyType>,
    pub(crate) pickle: Py<PyAny>,
    pub(crate) unpickle: Py<PyAny>,
    pub(crate) encode_exception: Py<PyAny>,
    pub(crate) decode_failure: Py<PyAny>,
    pub(crate) build: Py<PyAny>,
}

static HOOKS: PyOnceLock<Hooks> = PyOnceLock::new();

/// The hooks; an error before `configure` was called.
pub(crate) fn hooks(py: Python<'_>) -> PyResult<&'static Hooks> {
    HOOKS.get(py).ok_or_else(|| {
        pyo3::exceptions::PyRuntimeError::new_err(
            "mosaic._core is not configured: import mosaic first",
        )
    })
}

/// Tell the core which Python objects to work with.
#[pyfunction]
#[pyo3(signature = (*, task_type, pickle, unpickle, encode_exception, decode_failure, build))]
pub(crate) fn configure(
    py: Python<'_>,
    task_type: Py<PyType>,
    pickle: Py<PyAny>,
    unpickle: Py<PyAny>,
    encode_exception: Py<PyAny>,
    decode_failure: Py<PyAny>,
    build: Py<PyAny>,
) {
    // A second import of the package in one process brings the same objects.
    let _ = HOOKS.set(
        py,
        Hooks {
            task_type,
            pickle,
            unpickle,
            encode_exception,
            decode_failure,
            build,
        },
    );
}

/// A Python object looked up once: `cached!(py, "asyncio", "get_running_loop")`.
macro_rules! cached {
    ($py:expr, $module:literal, $name:literal) => {{
        static OBJECT: pyo3::sync::PyOnceLock<pyo3::Py<pyo3::PyAny>> =
            pyo3::sync::PyOnceLock::new();
        OBJECT
            .get_or_try_init($py, || {
                use pyo3::types::PyAnyMethods;
                $py.import($module)?.getattr($name).map(pyo3::Bound::unbind)
            })
            .map(|object| object.bind($py))
    }};
}
pub(crate) use cached;

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
        let value = value.cast::<pyo3::exceptions::PyOSError>().ok()?;
        let errno = value.getattr(pyo3::intern!(py, "errno")).ok()?;
        errno.extract().ok()
    };
    errno() == Some(EMFILE)
}

/// Raise what says why part of a value is not here.
pub(crate) fn loss_error(py: Python<'_>, loss: &Loss) -> PyErr {
    let class = match loss {
        Loss::Descriptors { .. } => "DescriptorLimitError",
        Loss::Memory(_) => "MemoryOverflowError",
        Loss::TooLong { .. } | Loss::Malformed(_) | Loss::System(_) => "SerialisationError",
    };
    error(py, class, &loss.to_string())
}

/// Raise one of the classes of `mosaic.errors`.
pub(crate) fn error(py: Python<'_>, class: &str, message: &str) -> PyErr {
    let made = with_reserve(py, || {
        py.import("mosaic.errors")
            .and_then(|module| module.getattr(class)?.call1((message,)))
    });
    match made {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}
