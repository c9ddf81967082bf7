//! The Python objects that the core works with, told to it once by `configure`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// See `configure` in `_core.pyi`.
pub(crate) struct Hooks {
    pub(crate) task_type: Py<PyType>,
    pub(crate) pickle: Py<PyAny>,
    pub(crate) unpickle: Py<PyAny>,
    pub(crate) encode_exception: Py<PyAny>,
    pub(crate) decode_exception: Py<PyAny>,
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
#[pyo3(signature = (*, task_type, pickle, unpickle, encode_exception, decode_exception, build))]
pub(crate) fn configure(
    py: Python<'_>,
    task_type: Py<PyType>,
    pickle: Py<PyAny>,
    unpickle: Py<PyAny>,
    encode_exception: Py<PyAny>,
    decode_exception: Py<PyAny>,
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
            decode_exception,
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
