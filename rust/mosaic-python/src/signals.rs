//! Unix signals that come in while the main thread waits without the GIL.
//!
//! Python's handlers run between two of its instructions, and the system call that waits is interrupted only by a signal
//! that comes while it waits. One that comes a moment before would be noticed at the end of the wait. So the main thread
//! has Python write each signal to a pipe (`signal.set_wakeup_fd`), and waits for that too (`INTERRUPT-1`).

use std::io::{PipeReader, PipeWriter, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use mosaic_runtime::sync::signal::{InterruptedBy, interrupted_by};
use mosaic_runtime::sync::{Mutex, Rank};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::hooks::cached;

/// The pipe of one engine.
pub(crate) struct Signals {
    ends: Mutex<Option<Arc<(PipeReader, PipeWriter)>>>,
}

impl Signals {
    pub(crate) fn new() -> std::io::Result<Self> {
        let (reader, writer) = std::io::pipe()?;
        for end in [reader.as_raw_fd(), writer.as_raw_fd()] {
            mosaic_runtime::sync::signal::set_nonblocking(end)?;
        }
        Ok(Self {
            ends: Mutex::new(Rank::InterruptPipe, Some(Arc::new((reader, writer)))),
        })
    }

    pub(crate) fn close(&self) {
        drop(self.ends.lock().take());
    }

    /// Watch for signals on this thread, if it is the one that Python's handlers run on.
    pub(crate) fn watch(&self, py: Python<'_>) -> Option<Watch> {
        let ends = self.ends.lock().clone()?;
        let before = set_wakeup(py, ends.1.as_raw_fd()).ok()?;
        Some(Watch {
            _interrupted: interrupted_by(ends.0.as_raw_fd()),
            ends,
            before,
        })
    }
}

/// To be ended with [`Watch::end`].
pub(crate) struct Watch {
    _interrupted: InterruptedBy,
    ends: Arc<(PipeReader, PipeWriter)>,
    /// Whom Python told of signals before.
    before: RawFd,
}

impl Watch {
    /// Have Python tell whom it told before.
    pub(crate) fn end(self, py: Python<'_>) {
        // It was possible on this thread before.
        let _ = set_wakeup(py, self.before);
        self.drain();
    }

    /// Take what was written; whoever was told before is told too.
    pub(crate) fn drain(&self) {
        let mut bytes = [0; 64];
        while let Ok(count @ 1..) = (&self.ends.0).read(&mut bytes) {
            if self.before >= 0 {
                mosaic_runtime::sync::signal::pass_on(self.before, &bytes[..count]);
            }
        }
    }
}

/// `signal.set_wakeup_fd`; an error on any but the main thread.
fn set_wakeup(py: Python<'_>, descriptor: RawFd) -> PyResult<RawFd> {
    let options = PyDict::new(py);
    options.set_item(pyo3::intern!(py, "warn_on_full_buffer"), false)?;
    cached!(py, "_signal", "set_wakeup_fd")?
        .call((descriptor,), Some(&options))?
        .extract()
}
