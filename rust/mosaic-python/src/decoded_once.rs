//! What came of a task, as a Python object: decoded once, by the first thread that asks, for everybody who does.
//!
//! - `DEC-1`: of one task one thread decodes at a time, and what it makes, a value or an error, is what everybody gets.
//! - `DEC-2`: a thread that asks meanwhile waits without the GIL, and Ctrl-C ends its wait.
//! - `DEC-3`: no thread waits for one that waits for it: the last to ask gets an error instead.
//!
//! States change with the GIL only. The locks here are held for a few instructions without a call into Python, and never
//! while the GIL is released, so that the garbage collector finds them free.

use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::errors::MosaicError;
use crate::hooks::cached;

use mosaic_runtime::sync::{Mutex, Rank};

const ENCODED: u32 = 0;
const VALUE: u32 = 1;
const FAILURE: u32 = 2;
/// From here on: the number of the thread that decodes.
const FIRST_THREAD: u32 = 3;

fn thread_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(FIRST_THREAD);
    thread_local! {
        static OWN: u32 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    OWN.with(|own| *own)
}

/// A thread that waits until another has decoded.
struct Wait {
    thread: u32,
    decoder: u32,
    /// The address of the [`Decoding`].
    of: usize,
    /// A lock of Python's, which the decoder releases.
    until: Py<PyAny>,
}

static WAITS: Mutex<Vec<Wait>> = Mutex::new(Rank::DecodeWaits, Vec::new());

/// A task's value or exception, once somebody has asked. See the module.
pub(crate) struct Decoding {
    state: AtomicU32,
    object: Mutex<Option<Py<PyAny>>>,
}

/// How a task ended, decoded: its value, or the exception to raise.
pub(crate) type Decoded<'py> = Result<Bound<'py, PyAny>, Bound<'py, PyAny>>;

impl Default for Decoding {
    fn default() -> Self {
        Self {
            state: AtomicU32::new(ENCODED),
            object: Mutex::new(Rank::DecodedValue, None),
        }
    }
}

impl Decoding {
    fn known<'py>(&self, py: Python<'py>) -> Option<PyResult<Decoded<'py>>> {
        let state = self.state.load(Ordering::Acquire);
        if state != VALUE && state != FAILURE {
            return None;
        }
        let object = self
            .object
            .lock()
            .as_ref()
            .map(|object| object.bind(py).clone());
        Some(match object {
            Some(object) if state == VALUE => Ok(Ok(object)),
            Some(object) => Ok(Err(object)),
            None => Err(MosaicError::new_err(
                "the value of the task was collected with the task, and only a finalizer can still ask for it",
            )),
        })
    }

    /// What is known, or what `decode` makes of the encoded outcome. An error of `decode` itself is not remembered: the
    /// next who asks tries again.
    pub(crate) fn get_or<'py>(
        &self,
        py: Python<'py>,
        decode: impl FnOnce() -> PyResult<Decoded<'py>>,
    ) -> PyResult<Decoded<'py>> {
        let me = thread_number();
        loop {
            if let Some(known) = self.known(py) {
                return known;
            }
            match self.state.load(Ordering::Acquire) {
                ENCODED => break,
                decoder if decoder == me => {
                    return Err(MosaicError::new_err(
                        "the value of the task is being rebuilt by this very thread: what its unpickling runs cannot ask for it",
                    ));
                }
                decoder => self.wait(py, me, decoder)?,
            }
        }
        self.state.store(me, Ordering::Release);
        let claim = Claim { decoding: self, py };
        let decoded = decode()?;
        let (state, object) = match &decoded {
            Ok(value) => (VALUE, value),
            Err(exception) => (FAILURE, exception),
        };
        let earlier = self.object.lock().replace(object.clone().unbind());
        drop(earlier);
        self.state.store(state, Ordering::Release);
        drop(claim);
        Ok(decoded)
    }

    /// Wait until the thread that decodes has ended that.
    fn wait(&self, py: Python<'_>, me: u32, decoder: u32) -> PyResult<()> {
        let until = cached!(py, "_thread", "allocate_lock")?.call0()?;
        until.call_method0(pyo3::intern!(py, "acquire"))?;
        // Either call may have let other threads run.
        if self.state.load(Ordering::Acquire) != decoder {
            return Ok(());
        }
        let of = std::ptr::from_ref(self).addr();
        let waits_for_me = {
            let mut waits = WAITS.lock();
            let next = |thread: u32| waits.iter().find(|wait| wait.thread == thread);
            let mut last = decoder;
            while let Some(wait) = next(last)
                && last != me
            {
                last = wait.decoder;
            }
            if last != me {
                waits.push(Wait {
                    thread: me,
                    decoder,
                    of,
                    until: until.clone().unbind(),
                });
            }
            last == me
        };
        if waits_for_me {
            return Err(MosaicError::new_err(
                "two threads rebuild the values of tasks, and what the unpickling of each runs asks for the value of the other's: \
                 unpickling should not wait for tasks",
            ));
        }
        let waited = until.call_method0(pyo3::intern!(py, "acquire"));
        let own = {
            let mut waits = WAITS.lock();
            let place = waits.iter().position(|wait| wait.thread == me);
            place.map(|place| waits.swap_remove(place))
        };
        drop(own);
        waited.map(drop)
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.object.try_lock().as_deref() {
            Some(Some(object)) => visit.call(object),
            _ => Ok(()),
        }
    }

    pub(crate) fn clear(&self) {
        let object = self.object.try_lock().and_then(|mut known| known.take());
        drop(object);
    }
}

/// This thread decodes; when this goes, those who wait go on.
struct Claim<'a, 'py> {
    decoding: &'a Decoding,
    py: Python<'py>,
}

impl Drop for Claim<'_, '_> {
    fn drop(&mut self) {
        let state = &self.decoding.state;
        if state.load(Ordering::Acquire) >= FIRST_THREAD {
            state.store(ENCODED, Ordering::Release);
        }
        let of = std::ptr::from_ref(self.decoding).addr();
        let released: Vec<_> = {
            let mut waits = WAITS.lock();
            if waits.is_empty() {
                return;
            }
            waits.extract_if(.., |wait| wait.of == of).collect()
        };
        for wait in released {
            if let Err(error) = wait.until.call_method0(self.py, "release") {
                error.write_unraisable(self.py, None);
            }
        }
    }
}
