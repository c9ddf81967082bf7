//! Large buffers: into the store of this process, and back as memory that Python can write to.

use std::cell::{Cell, UnsafeCell};
use std::ffi::c_int;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mosaic_core::payload::{Segment as Part, Stored};
use mosaic_runtime::engine::EngineError;
use mosaic_runtime::store::{StoreError, THRESHOLD, View};
use pyo3::buffer::PyUntypedBuffer;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::encode::note;
use crate::errors::{engine_error, loss_error};
use crate::hooks::cached;
use crate::host::{Host, host};
use crate::waiting::{block, detach};

/// Of the addresses that the system's allocator gives; compiled code may count on it.
const ALIGNMENT: usize = align_of::<u128>();

thread_local! {
    /// Whether what this thread releases goes with the next that it tells.
    static TOGETHER: Cell<bool> = const { Cell::new(false) };
}

/// Do something that lets go of views, whose owners are told of it with what this thread tells next.
pub(crate) fn releasing_together(act: impl FnOnce()) {
    let outer = TOGETHER.replace(true);
    act();
    TOGETHER.set(outer);
}

/// Memory that Python works with: writable, and nobody else's.
#[pyclass(frozen, module = "mosaic._core")]
pub(crate) struct Segment {
    memory: Memory,
}

enum Memory {
    /// Came with a message.
    Bytes(UnsafeCell<BytesMut>),
    /// A view of a buffer in a store.
    View(MappedView),
}

// SAFETY: the bytes are reached only through exported buffers, whose users Python leaves to synchronise
// themselves, as with any writable buffer; this module never touches them after construction.
unsafe impl Sync for Segment {}

/// A view, and what is counted as long as it lives.
pub(crate) struct MappedView {
    view: Option<Arc<View>>,
    host: Arc<Host>,
}

impl MappedView {
    /// Look at a buffer.
    pub(crate) fn at(py: Python<'_>, stored: &Arc<dyn Stored>) -> PyResult<Self> {
        let host = host()?;
        let view = detach(py, || host.engine.view(stored)).map_err(|error| engine_error(&error))?;
        if let Some(reference) = view.reference() {
            host.engine.retain(reference);
        }
        Ok(Self {
            view: Some(view),
            host,
        })
    }

    fn view(&self) -> Option<&View> {
        self.view.as_deref()
    }

    /// The bytes, for as long as nobody writes to them: before Python has seen the view.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.view().map_or(&[], |view| {
            // SAFETY: the view is mapped as long as it lives, and nobody else has it.
            unsafe { std::slice::from_raw_parts(view.address(), view.length()) }
        })
    }
}

impl Drop for MappedView {
    fn drop(&mut self) {
        let Some(view) = self.view.take() else { return };
        let reference = view.reference();
        // The view goes first: what is released may be used for something else at once.
        drop(view);
        if let Some(reference) = reference {
            self.host.engine.release(reference.object, !TOGETHER.get());
        }
    }
}

impl Segment {
    /// Memory for what came with a message or lies in a store.
    pub(crate) fn new(py: Python<'_>, part: Part) -> PyResult<Self> {
        let memory = match part {
            Part::Bytes(bytes) => {
                // Taken over if nobody else holds it, and it lies as memory for any type of elements does.
                let bytes = match bytes.try_into_mut() {
                    Ok(own) if own.as_ptr().addr().is_multiple_of(ALIGNMENT) => own,
                    Ok(other) => BytesMut::from(&other[..]),
                    Err(shared) => BytesMut::from(&shared[..]),
                };
                Memory::Bytes(UnsafeCell::new(bytes))
            }
            Part::Stored(stored) => Memory::View(MappedView::at(py, &stored)?),
            Part::Lost(loss) => return Err(loss_error(&loss)),
        };
        Ok(Self { memory })
    }
}

#[pymethods]
impl Segment {
    // SAFETY: called by Python with a view to fill in; the memory lives as long as the object, which the view holds.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "PyO3 passes the object by value here"
    )]
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let (data, length) = match &slf.get().memory {
            Memory::Bytes(bytes) => {
                // SAFETY: the `BytesMut` itself is never moved or resized after construction.
                let bytes = unsafe { &mut *bytes.get() };
                (bytes.as_mut_ptr(), bytes.len())
            }
            Memory::View(looked) => looked.view().map_or((std::ptr::null_mut(), 0), |view| {
                (view.address(), view.length())
            }),
        };
        // SAFETY: `view` is Python's; it takes its own reference to the object.
        let status = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                data.cast(),
                length.cast_signed(),
                0,
                flags,
            )
        };
        if status == 0 {
            Ok(())
        } else {
            Err(PyErr::fetch(slf.py()))
        }
    }
}

/// Memory of the store to write to; passed on whole, it is not copied.
#[pyfunction]
pub(crate) fn allocate(py: Python<'_>, length: usize) -> PyResult<Segment> {
    let host = host()?;
    let view = wait_for_room(py, &host, || host.engine.allocate(length))?;
    Ok(Segment {
        memory: Memory::View(MappedView {
            view: Some(view),
            host,
        }),
    })
}

/// A copy of a buffer's bytes as they are now: in the store if it is large.
pub(crate) fn keep_buffer(object: &Bound<'_, PyAny>) -> PyResult<Part> {
    let py = object.py();
    // A pickle buffer in any contiguous order is plain bytes when asked for its raw form.
    let raw = if object.hasattr(pyo3::intern!(py, "raw"))? {
        object.call_method0(pyo3::intern!(py, "raw"))?
    } else {
        object.clone()
    };
    keep_elements(py, &PyUntypedBuffer::get(&raw)?)
}

/// The same of a buffer whose elements lie in one piece, in whatever order.
pub(crate) fn keep_elements(py: Python<'_>, buffer: &PyUntypedBuffer) -> PyResult<Part> {
    let length = buffer.len_bytes();
    let bytes = if length == 0 {
        &[]
    } else {
        // SAFETY: the buffer stays exported, hence in place, as long as it is borrowed; a program that writes to it
        // from another thread during the call gets torn values, as it would with any copy.
        unsafe { std::slice::from_raw_parts(buffer.buf_ptr() as *const u8, length) }
    };
    match host() {
        Ok(host) if length >= THRESHOLD => keep(py, &host, bytes),
        _ => Ok(Part::Bytes(Bytes::copy_from_slice(bytes))),
    }
}

/// Bytes of an encoder's own, in the store if they are many.
pub(crate) fn keep_bytes(py: Python<'_>, bytes: Bytes) -> PyResult<Part> {
    match host() {
        Ok(host) if bytes.len() >= THRESHOLD => keep(py, &host, &bytes),
        _ => Ok(Part::Bytes(bytes)),
    }
}

fn keep(py: Python<'_>, host: &Arc<Host>, bytes: &[u8]) -> PyResult<Part> {
    let stored = wait_for_room(py, host, || host.engine.copy_in(bytes))?;
    note(stored.reference());
    Ok(Part::Stored(stored))
}

/// Try to get memory of the store. Where it is full for the moment, a thread that may block waits for tasks of this
/// process to end and to leave some; an event loop's thread, and a worker's, are refused.
fn wait_for_room<T: Send>(
    py: Python<'_>,
    host: &Arc<Host>,
    attempt: impl Fn() -> Result<T, EngineError> + Sync,
) -> PyResult<T> {
    let first = loop {
        match detach(py, &attempt) {
            Err(EngineError::Interrupted) => py.check_signals()?,
            result => break result,
        }
    };
    match first {
        Err(error @ EngineError::Store(StoreError::Full(_))) => {
            let on_loop = cached!(py, "asyncio", "_get_running_loop")?.call0()?;
            if on_loop.is_truthy()? || host.executor.is_main_lane() {
                return Err(engine_error(&error));
            }
        }
        result => return result.map_err(|error| engine_error(&error)),
    }
    block(py, || {
        host.engine.wait_for_store(None, || {
            // Before the attempt: the last who could leave some may do so and end just after it.
            let others = host.engine.pending() > 0;
            match attempt() {
                Err(EngineError::Store(StoreError::Full(_))) if others => None,
                result => Some(result),
            }
        })?
    })
}
