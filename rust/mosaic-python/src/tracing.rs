//! The functions that user methods call, for the profile: the interpreter's own hook, set while a method runs and no longer.
//!
//! The hook belongs to one thread. It is set for a call, or for a step of a coroutine, and taken away at its end
//! (`TRACE-1`); where the program has a profiler of its own on the thread, that one is left alone (`TRACE-2`). Depths
//! and nesting are those of the step: what a coroutine had called when it gave up its turn is left when it goes on.
//!
//! Functions are known by their code objects, which keep their numbers and are kept by nobody here. Those that a program
//! wants left out take along whatever they call.

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::sync::{Arc, OnceLock};

use mosaic_runtime::telemetry::{Recorder, now};
use pyo3::ffi;
use pyo3::prelude::*;

/// A function that has been called and has not returned.
struct Open {
    function: u32,
    start: u64,
    /// Ticks that those took which it called.
    others: u64,
}

/// What the hook of a thread works with.
struct Trace {
    recorder: Arc<Recorder>,
    open: Vec<Open>,
    /// Functions left out that have been called, or were called by such.
    muted: u32,
}

thread_local! {
    static TRACE: RefCell<Option<Trace>> = const { RefCell::new(None) };
    /// Blocks of the program's on this thread within which nothing is traced.
    static QUIET: Cell<u32> = const { Cell::new(0) };
}

/// What is among the constants of a function that is left out: there it travels with the function.
pub(crate) const MARK: &str = "mosaic: not traced";
/// The number of a function that is left out.
const NONE: u32 = u32::MAX;

/// Trace nothing on this thread while more calls with 1 than with -1 were made.
#[pyfunction]
pub(crate) fn quiet(by: i32) {
    QUIET.set(QUIET.get().saturating_add_signed(by));
}

/// Whether this thread is traced.
pub(crate) fn is_traced() -> bool {
    TRACE.with_borrow(Option::is_some)
}

/// Set the hook, unless this thread has one.
pub(crate) fn set_hook(py: Python<'_>, recorder: &Arc<Recorder>) -> bool {
    let taken = py
        .import("sys")
        .and_then(|sys| sys.call_method0("getprofile"))
        .map_or(true, |hook| !hook.is_none());
    if taken || is_traced() {
        return false;
    }
    TRACE.set(Some(Trace {
        recorder: Arc::clone(recorder),
        open: Vec::new(),
        muted: 0,
    }));
    // SAFETY: with the interpreter's lock; the object is None, which `sys.getprofile` shows while the hook is set.
    unsafe { ffi::PyEval_SetProfile(Some(hook), ffi::Py_None()) };
    true
}

/// Take the hook away again.
pub(crate) fn clear_hook(py: Python<'_>) {
    TRACE.set(None);
    let own = py
        .import("sys")
        .and_then(|sys| sys.call_method0("getprofile"))
        .is_ok_and(|hook| hook.is_none());
    if own {
        // SAFETY: with the interpreter's lock.
        unsafe { ffi::PyEval_SetProfile(None, std::ptr::null_mut()) };
    }
}

/// What the interpreter calls at the beginning and the end of every function of the thread.
extern "C" fn hook(
    _: *mut ffi::PyObject,
    frame: *mut ffi::PyFrameObject,
    what: c_int,
    _: *mut ffi::PyObject,
) -> c_int {
    match what {
        ffi::PyTrace_CALL => called(frame),
        ffi::PyTrace_RETURN => returned(),
        _ => {}
    }
    0
}

fn called(frame: *mut ffi::PyFrameObject) {
    // SAFETY: the frame that is being entered lives; its code is a new reference.
    let code = unsafe { ffi::PyFrame_GetCode(frame) };
    let quiet = QUIET.get() > 0;
    // Not with the trace in hand: asking for names may collect garbage, and so run anything.
    let recorder = TRACE.with_borrow_mut(|trace| {
        let trace = trace.as_mut().filter(|trace| trace.recorder.on())?;
        if trace.muted > 0 || quiet {
            trace.muted += 1;
            return None;
        }
        Some(Arc::clone(&trace.recorder))
    });
    if let Some(recorder) = recorder {
        let function = number(code, &recorder);
        TRACE.with_borrow_mut(|trace| {
            let Some(trace) = trace else { return };
            if function == NONE {
                trace.muted += 1;
                return;
            }
            trace.open.push(Open {
                function,
                start: now(),
                others: 0,
            });
        });
    }
    // SAFETY: the reference from above.
    unsafe { ffi::Py_DECREF(code.cast()) };
}

fn returned() {
    TRACE.with_borrow_mut(|trace| {
        let Some(trace) = trace.as_mut().filter(|trace| trace.recorder.on()) else {
            return;
        };
        if trace.muted > 0 {
            trace.muted -= 1;
            return;
        }
        // Nothing is open when what returns was called before the trace began.
        let Some(open) = trace.open.pop() else { return };
        let end = now();
        if let Some(outer) = trace.open.last_mut() {
            outer.others += end.saturating_sub(open.start);
        }
        let depth = trace.open.len() as u32;
        let (recorder, others) = (&trace.recorder, open.others);
        recorder.traced_function(open.function, open.start, end, others, depth);
    });
}

/// The number of a function. It lies with the code object, beside the number of the recording, and goes with it.
fn number(code: *mut ffi::PyCodeObject, recorder: &Recorder) -> u32 {
    // Of all recordings of the process; one that began four billion recordings ago is over.
    let recording = recorder.recording() as u32;
    let (known, number) = kept(code);
    if known == recording {
        return number;
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "the interpreter's hook has no argument that says so"
    )]
    // SAFETY: called by CPython's hook, with the interpreter's lock.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: a live code object.
    let object = unsafe { Bound::from_borrowed_ptr(py, code.cast()) };
    let text = |name: &str| {
        let value = object.getattr(name);
        value
            .and_then(|value| value.extract::<String>())
            .unwrap_or_default()
    };
    let file = format!("{}:{}", text("co_filename"), line(&object));
    let marked = object
        .getattr("co_consts")
        .is_ok_and(|constants| constants.contains(MARK).unwrap_or(false));
    let number = if marked || place() < 0 {
        NONE
    } else {
        recorder.function(&file, &text("co_qualname"))
    };
    keep(code, recording, number);
    number
}

/// Where in code objects the numbers lie; negative when other tools have taken every place.
fn place() -> ffi::Py_ssize_t {
    static PLACE: OnceLock<ffi::Py_ssize_t> = OnceLock::new();
    extern "C" fn nothing_to_free(_: *mut c_void) {}
    // SAFETY: with the interpreter's lock, which is asked for by whoever traces.
    *PLACE.get_or_init(|| unsafe { ffi::PyUnstable_Eval_RequestCodeExtraIndex(nothing_to_free) })
}

/// The recording and the number that were kept, or zeros.
fn kept(code: *mut ffi::PyCodeObject) -> (u32, u32) {
    let mut kept = std::ptr::null_mut();
    // SAFETY: a live code object, with the interpreter's lock. Of a place that is none it says nothing.
    unsafe { ffi::PyUnstable_Code_GetExtra(code.cast(), place(), &raw mut kept) };
    let kept = kept.addr() as u64;
    ((kept >> 32) as u32, kept as u32)
}

fn keep(code: *mut ffi::PyCodeObject, recording: u32, number: u32) {
    const { assert!(size_of::<usize>() >= 8, "two numbers in a pointer") };
    let both = u64::from(recording) << 32 | u64::from(number);
    let value = std::ptr::without_provenance_mut(both as usize);
    // SAFETY: a live code object, with the interpreter's lock; the value is no pointer that anybody follows.
    unsafe {
        if ffi::PyUnstable_Code_SetExtra(code.cast(), place(), value) != 0 {
            // Without memory for it, it is told again.
            ffi::PyErr_Clear();
        }
    }
}

fn line(code: &Bound<'_, PyAny>) -> u32 {
    let value = code
        .getattr("co_firstlineno")
        .and_then(|line| line.extract());
    value.unwrap_or_default()
}
