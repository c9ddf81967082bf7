//! References to tesserae and the callables that call their methods: the caller's end of the call path.

use std::sync::Arc;

use mosaic_core::call::{Call, CallKind, Construction};
use mosaic_core::event::Submission;
use mosaic_core::id::{ObjectId, RuntimeId, TesseraId};
use mosaic_core::payload::Reference;
use mosaic_runtime::engine::EngineError;
use mosaic_runtime::sync::completion::{Callee, Completion};
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFrozenSet, PyString, PyTuple};

use crate::call_arguments;
use crate::call_context;
use crate::encode::{Arguments, encode_arguments, note};
use crate::errors::engine_error;
use crate::hooks::cached;
use crate::host::Host;
use crate::task::{Task, make_task};
use crate::waiting::{block, deadline};

/// A counted reference to a tessera.
#[pyclass(frozen, weakref, module = "mosaic._core")]
pub(crate) struct TesseraRef {
    inner: Arc<TesseraHandle>,
}

/// What the reference and the callables made from it hold together.
pub(crate) struct TesseraHandle {
    pub(crate) host: Arc<Host>,
    pub(crate) tessera: TesseraId,
    /// Where it was known to live when the reference came here.
    known: Option<RuntimeId>,
    pub(crate) class: Arc<str>,
    /// Its construction, where this process made it: a call that follows tells of its failure.
    built: Option<Arc<Completion>>,
}

impl Drop for TesseraHandle {
    fn drop(&mut self) {
        if !self.tessera.is_fixture() {
            self.host
                .engine
                .release(ObjectId::Tessera(self.tessera), true);
        }
    }
}

impl TesseraRef {
    /// A reference that the engine counts already (a submission's, or one just retained).
    pub(crate) fn new(
        host: &Arc<Host>,
        tessera: TesseraId,
        known: Option<RuntimeId>,
        class: Arc<str>,
    ) -> Self {
        Self {
            inner: Arc::new(TesseraHandle {
                host: Arc::clone(host),
                tessera,
                known,
                class,
                built: None,
            }),
        }
    }

    /// A reference to a tessera that this construction builds.
    pub(crate) fn to_new(host: &Arc<Host>, built: &Arc<Completion>) -> Self {
        let callee = &built.callee;
        let (tessera, class) = (callee.tessera, Arc::clone(&callee.class));
        let built = Some(Arc::clone(built));
        Self {
            inner: Arc::new(TesseraHandle {
                host: Arc::clone(host),
                tessera,
                known: None,
                class,
                built,
            }),
        }
    }

    fn callable(
        &self,
        name: &str,
        kind: CallKind,
        coroutine: bool,
        reserved: Option<&Bound<'_, PyFrozenSet>>,
        options: Options,
    ) -> RemoteMethod {
        let class = Arc::clone(&self.inner.class);
        RemoteMethod {
            counted: Arc::clone(&self.inner),
            callee: Callee::new(self.inner.tessera, class, name.into()),
            kind,
            coroutine,
            reserved: reserved.cloned().map(Bound::unbind),
            options,
        }
    }
}

impl TesseraHandle {
    /// Where it is counted: where it lives, for which the decision may have to be waited for; with its owner
    /// if it lives nowhere.
    fn place(&self, py: Python<'_>) -> PyResult<RuntimeId> {
        if let Some(runtime) = self.runtime() {
            return Ok(runtime);
        }
        self.host.wait_placed(py, self.tessera)
    }

    fn runtime(&self) -> Option<RuntimeId> {
        if self.tessera.is_fixture() {
            return Some(self.tessera.owner);
        }
        self.host.engine.host_of(self.tessera).or(self.known)
    }
}

#[pymethods]
impl TesseraRef {
    #[getter]
    fn id(&self) -> (u32, u64) {
        (self.inner.tessera.owner.0, self.inner.tessera.sequence)
    }

    #[getter]
    fn host(&self) -> Option<u32> {
        self.inner.runtime().map(|runtime| runtime.0)
    }

    /// Whether its network has been stopped.
    #[getter]
    fn stopped(&self) -> bool {
        self.inner.host.engine.stopped()
    }

    /// The runtime that hosts it; blocks until that is decided.
    fn wait_placed(&self, py: Python<'_>) -> PyResult<u32> {
        self.inner.place(py).map(|runtime| runtime.0)
    }

    #[getter]
    fn name(&self) -> &str {
        &self.inner.class
    }

    #[pyo3(signature = (name, *, kind = Kind::Method, coroutine = false, reserved = None, retries = 0, resends = 0, timeout = None))]
    #[allow(clippy::too_many_arguments)]
    fn method(
        &self,
        name: &str,
        kind: Kind,
        coroutine: bool,
        reserved: Option<&Bound<'_, PyFrozenSet>>,
        retries: u32,
        resends: u32,
        timeout: Option<f64>,
    ) -> RemoteMethod {
        let options = Options {
            retries,
            resends,
            timeout,
        };
        self.callable(name, kind.into(), coroutine, reserved, options)
    }

    fn result_method(
        &self,
        name: &str,
        task: &Task,
        reserved: &Bound<'_, PyFrozenSet>,
    ) -> RemoteMethod {
        let kind = CallKind::ResultMethod(task.cell().id);
        self.callable(name, kind, false, Some(reserved), Options::default())
    }

    fn note(&self, py: Python<'_>) -> PyResult<()> {
        let authority = self.inner.place(py)?;
        note(Reference {
            object: ObjectId::Tessera(self.inner.tessera),
            authority,
        });
        Ok(())
    }
}

/// What a callable asks of a tessera; see `CallKind` in `_core.pyi`.
#[pyclass(
    frozen,
    eq,
    name = "CallKind",
    rename_all = "SCREAMING_SNAKE_CASE",
    module = "mosaic._core",
    from_py_object
)]
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Method,
    Get,
    GetNow,
    Set,
    Stop,
    Function,
}

#[pymethods]
impl Kind {
    /// Pickles as the attribute of its class that it is.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyString>> {
        slf.as_any().repr()
    }
}

impl From<Kind> for CallKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Method => Self::Method,
            Kind::Get => Self::GetAttribute,
            Kind::GetNow => Self::GetAttributeNow,
            Kind::Set => Self::SetAttribute,
            Kind::Stop => Self::Stop,
            Kind::Function => Self::Function,
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Options {
    retries: u32,
    resends: u32,
    timeout: Option<f64>,
}

/// Calls one method of one tessera; returns tasks.
#[pyclass(frozen, module = "mosaic._core")]
pub(crate) struct RemoteMethod {
    counted: Arc<TesseraHandle>,
    callee: Arc<Callee>,
    kind: CallKind,
    coroutine: bool,
    /// Keywords that are mosaic's own.
    reserved: Option<Py<PyFrozenSet>>,
    options: Options,
}

#[pymethods]
impl RemoteMethod {
    #[getter]
    fn name(&self) -> &str {
        &self.callee.method
    }

    #[pyo3(signature = (*args, **kwargs))]
    fn __call__(
        &self,
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let mut options = self.options;
        let mut kwargs = kwargs.cloned();
        if let (Some(given), Some(reserved)) = (&kwargs, &self.reserved) {
            kwargs = Some(options.consume(given, reserved.bind(py))?);
        }
        let origin = call_context::current(py)?;
        let (args, first) = if self.kind == CallKind::Function {
            let function = args.get_item(0)?;
            (args.get_slice(1, args.len()), Some(function))
        } else {
            (args.clone(), None)
        };
        let Arguments {
            payload: arguments,
            held: _held,
            dependencies,
            tasks: needs,
        } = encode_arguments(first.as_ref(), &args, kwargs.as_ref())?;
        if let Some(built) = &self.counted.built {
            built.mark_observed();
        }
        let host = &self.counted.host;
        let task = host.engine.next_task();
        let cell = Completion::new(task, Arc::clone(&self.callee));
        let submission = Submission {
            handle: Arc::clone(&cell),
            call: Box::new(Call {
                task,
                tessera: self.callee.tessera,
                kind: self.kind,
                method: Arc::clone(&self.callee.method),
                coroutine: self.coroutine,
                retries: options.retries,
                origin,
                construction: Construction::default(),
                dependencies,
                arguments,
            }),
            host: if self.callee.tessera.is_fixture() {
                Some(self.callee.tessera.owner)
            } else {
                self.counted.known
            },
            place: None,
            restarts: 0,
            resends: options.resends,
        };
        submit(py, host, submission, options.timeout)?;
        let task = make_task(py, host, cell)?;
        if !needs.is_empty() {
            Task::remember_needs(task.bind(py).cast()?, &needs)?;
        }
        if matches!(
            self.kind,
            CallKind::Method | CallKind::Function | CallKind::ResultMethod(_)
        ) {
            let task = task.bind(py).cast()?;
            call_arguments::remember(task, &args, kwargs.as_ref(), options.retries)?;
        }
        Ok(task)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.reserved {
            Some(reserved) => visit.call(reserved),
            None => Ok(()),
        }
    }

    fn __repr__(&self) -> String {
        format!(
            "<RemoteMethod {}.{}>",
            self.callee.class, self.callee.method
        )
    }
}

impl Options {
    /// Take out of the keywords what is mosaic's.
    fn consume<'py>(
        &mut self,
        given: &Bound<'py, PyDict>,
        reserved: &Bound<'py, PyFrozenSet>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let mut left = None;
        for name in reserved.iter() {
            let Some(value) = given.get_item(&name)? else {
                continue;
            };
            let left: &Bound<'_, PyDict> = match &left {
                Some(left) => left,
                None => left.insert(given.copy()?),
            };
            left.del_item(&name)?;
            match name.extract::<&str>()? {
                "max_retries" => {
                    self.retries = value.extract()?;
                    self.resends = self.retries;
                }
                "timeout" => self.timeout = value.extract()?,
                _ => {}
            }
        }
        Ok(left.unwrap_or_else(|| given.clone()))
    }
}

/// Hand a call to the engine. A thread with an event loop is refused beyond the limit of pending tasks;
/// others wait for room.
pub(crate) fn submit(
    py: Python<'_>,
    host: &Arc<Host>,
    submission: Submission<Arc<Completion>>,
    timeout: Option<f64>,
) -> PyResult<()> {
    let timeout = match timeout {
        Some(seconds) => Some(
            std::time::Duration::try_from_secs_f64(seconds).map_err(|_| {
                PyValueError::new_err(format!(
                    "timeout must be a positive number of seconds, not {seconds}"
                ))
            })?,
        ),
        None => None,
    };
    let mut submission = Some(submission);
    loop {
        let Some(next) = submission.take() else {
            return Ok(());
        };
        match host.engine.submit(next, timeout) {
            Ok(()) => return Ok(()),
            Err((returned, EngineError::Backpressure(_)))
                if !cached!(py, "asyncio", "_get_running_loop")?
                    .call0()?
                    .is_truthy()? =>
            {
                submission = Some(returned);
                block(py, || host.engine.wait_for_capacity(deadline(None)))?;
            }
            Err((_, error)) => return Err(engine_error(&error)),
        }
    }
}
