//! Completions into asyncio event loops: one mailbox a loop, drained on the loop's own thread.

use std::os::fd::RawFd;
use std::sync::Arc;

use mosaic_runtime::sync::completion::Completion;
use mosaic_runtime::sync::mailbox::Mailbox;
use mosaic_runtime::sync::signal::Signal;
use mosaic_runtime::sync::{Mutex, Rank};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;
use rustc_hash::FxHashMap;

use crate::hooks::cached;

/// Futures resolved before the loop gets another turn.
const BUDGET: usize = 1024;

/// One event loop's mailbox, and the futures that wait on it.
#[pyclass(frozen, weakref, module = "mosaic._core")]
pub(crate) struct LoopMailbox {
    pub(crate) mailbox: Arc<Mailbox<u64>>,
    event_loop: Py<PyWeakrefReference>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    next: u64,
    futures: FxHashMap<u64, Py<PyAny>>,
    backlog: Vec<u64>,
}

#[pymethods]
impl LoopMailbox {
    /// Resolve what has come; the loop calls this when the signal is readable.
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let mut batch = {
            let mut inner = self.inner.lock();
            let mut batch = std::mem::take(&mut inner.backlog);
            self.mailbox.drain(&mut batch);
            if batch.len() > BUDGET {
                inner.backlog = batch.split_off(BUDGET);
                self.mailbox.rouse();
            }
            batch
        };
        let futures: Vec<_> = {
            let mut inner = self.inner.lock();
            batch
                .drain(..)
                .filter_map(|token| inner.futures.remove(&token))
                .collect()
        };
        // Whatever becomes of one, the others are waited for too.
        let mut resolved = Ok(());
        for future in futures {
            resolved = resolved.and(resolve(future.bind(py)));
        }
        resolved
    }

    /// How many futures wait here.
    #[getter]
    fn waiting(&self) -> usize {
        self.inner.lock().futures.len()
    }

    // The lock is taken with the GIL only, and never while it is released: the collector finds it free.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        let inner = self.inner.try_lock();
        match &inner {
            Some(inner) => inner
                .futures
                .values()
                .try_for_each(|future| visit.call(future)),
            None => Ok(()),
        }
    }

    fn __clear__(&self) {
        let futures = self
            .inner
            .try_lock()
            .map(|mut inner| std::mem::take(&mut inner.futures));
        drop(futures);
    }
}

/// A future that waits for the end of a task, for who may give that up.
#[pyclass(frozen, module = "mosaic._core")]
pub(crate) struct Subscription {
    mailbox: Py<LoopMailbox>,
    token: u64,
    cell: Arc<Completion>,
}

impl Subscription {
    pub(crate) fn new(mailbox: Py<LoopMailbox>, token: u64, cell: Arc<Completion>) -> Self {
        Self {
            mailbox,
            token,
            cell,
        }
    }
}

#[pymethods]
impl Subscription {
    /// Have the future not resolved.
    fn cancel(&self) {
        let mailbox = self.mailbox.get();
        mailbox.forget(self.token);
        self.cell.unsubscribe_loop(&mailbox.mailbox, self.token);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.mailbox)
    }
}

/// Resolve a future with None, unless its waiter gave up.
pub(crate) fn resolve(future: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    if !future
        .call_method0(pyo3::intern!(py, "done"))?
        .is_truthy()?
    {
        future.call_method1(pyo3::intern!(py, "set_result"), (py.None(),))?;
    }
    Ok(())
}

impl LoopMailbox {
    /// Have this future resolved when the token of the answer is pushed.
    pub(crate) fn register(&self, future: Py<PyAny>) -> u64 {
        let mut inner = self.inner.lock();
        inner.next += 1;
        let token = inner.next;
        inner.futures.insert(token, future);
        token
    }

    /// Forget a future: what it would wait for is here already.
    pub(crate) fn forget(&self, token: u64) {
        let future = self.inner.lock().futures.remove(&token);
        drop(future);
    }

    /// The loop, unless it has closed: then it has forgotten its readers already.
    fn living_loop<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let event_loop = self.event_loop.bind(py).upgrade()?;
        (!is_closed(&event_loop)).then_some(event_loop)
    }

    fn serves(&self, event_loop: &Bound<'_, PyAny>) -> bool {
        self.event_loop
            .bind(event_loop.py())
            .upgrade()
            .is_some_and(|own| own.is(event_loop))
    }
}

/// The mailboxes of the loops that wait for an engine, by the loop's address. Each is kept alive by its loop,
/// whose reader it is, so that its descriptor closes with the loop.
pub(crate) struct Loops {
    known: Mutex<FxHashMap<usize, Py<PyWeakrefReference>>>,
}

impl Default for Loops {
    fn default() -> Self {
        Self {
            known: Mutex::with_default(Rank::EventLoops),
        }
    }
}

impl Loops {
    /// The mailbox of the loop that runs on this thread; made when first asked for.
    pub(crate) fn of_running_loop<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, LoopMailbox>)> {
        let event_loop = cached!(py, "asyncio", "get_running_loop")?.call0()?;
        let address = event_loop.as_ptr() as usize;
        let known = self
            .known
            .lock()
            .get(&address)
            .map(|mailbox| mailbox.clone_ref(py));
        if let Some(mailbox) = known.and_then(|mailbox| upgrade(mailbox.bind(py)))
            && mailbox.get().serves(&event_loop)
        {
            return Ok((event_loop, mailbox));
        }
        let signal = Signal::new()?;
        let descriptor = signal.descriptor();
        let mailbox = Bound::new(
            py,
            LoopMailbox {
                mailbox: Arc::new(Mailbox::new(signal)),
                event_loop: PyWeakrefReference::new(&event_loop)?.unbind(),
                inner: Mutex::with_default(Rank::LoopFutures),
            },
        )?;
        event_loop.call_method1(pyo3::intern!(py, "add_reader"), (descriptor, &mailbox))?;
        let weak = PyWeakrefReference::new(&mailbox)?.unbind();
        let replaced = self.known.lock().insert(address, weak);
        drop(replaced);
        Ok((event_loop, mailbox))
    }

    /// Take the readers out of the loops that still are, so that their descriptors close.
    pub(crate) fn close(&self, py: Python<'_>) {
        let known = std::mem::take(&mut *self.known.lock());
        for mailbox in known.into_values() {
            let Some(mailbox) = upgrade(mailbox.bind(py)) else {
                continue;
            };
            if let Some(event_loop) = mailbox.get().living_loop(py) {
                let _ = mailbox.call0();
                remove_reader(&event_loop, mailbox.get().mailbox.wake().descriptor());
            }
            mailbox.get().mailbox.wake().close();
        }
    }
}

fn is_closed(event_loop: &Bound<'_, PyAny>) -> bool {
    let closed = event_loop.call_method0(pyo3::intern!(event_loop.py(), "is_closed"));
    closed.and_then(|closed| closed.is_truthy()).unwrap_or(true)
}

/// Take a reader out of a loop, before its descriptor closes: the next file that gets the number is another one, and a
/// loop that takes it for known never hears of it.
pub(crate) fn remove_reader(event_loop: &Bound<'_, PyAny>, descriptor: Option<RawFd>) {
    if let Some(descriptor) = descriptor
        && !is_closed(event_loop)
    {
        let _ = event_loop.call_method1("remove_reader", (descriptor,));
    }
}

fn upgrade<'py>(mailbox: &Bound<'py, PyWeakrefReference>) -> Option<Bound<'py, LoopMailbox>> {
    mailbox.upgrade()?.cast_into().ok()
}
