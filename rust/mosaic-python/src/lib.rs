//! The extension module `mosaic._core`: converts, wakes, holds the GIL; decides nothing.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`engine`] | the engine of this process, as Python sees it |
//! | [`host`] | what belongs to it, found by whoever is called by Python |
//! | [`launcher`] | what `mrun` starts |
//! | [`method`] | references to tesserae and the callables that call their methods |
//! | [`task`], [`output`] | tasks and their outputs |
//! | [`waiting`], [`gather`] | awaiting and waiting, for one and for many |
//! | [`interruption`] | Unix signals while the main thread waits |
//! | [`loops`] | completions into asyncio event loops |
//! | [`executor`], [`coroutine`] | the lanes that calls run on: the main thread, an event loop |
//! | [`running`] | one call, from its arguments to its end |
//! | [`encode`], [`decode`] | values to payloads and back |
//! | [`decoding`] | the value of a task, decoded once for all who ask |
//! | [`msgpack`] | plain values, arrays among them, to bytes and back |
//! | [`store`] | large buffers, into the store and back |
//! | [`reduce`](mod@reduce) | element-wise reduction of arrays |
//! | [`profile`] | the file of a profile, read |
//! | [`tracing`] | the functions that methods call, for the profile |
//! | [`compression`] | LZ4 for whole payloads |
//! | [`machine`] | what this machine has for this process |
//! | [`named`] | functions and classes that travel by their name |
//! | [`origin`] | the cells of a notebook that calls come from |
//! | [`hooks`] | the Python objects that the core works with |

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the reference is built with private items"
)]

use pyo3::prelude::*;

mod compression;
mod coroutine;
mod decode;
mod decoding;
mod descriptors;
mod encode;
mod engine;
mod executor;
mod gather;
mod given;
mod hooks;
mod host;
mod interruption;
mod launcher;
mod loops;
mod machine;
mod method;
mod msgpack;
mod named;
mod origin;
mod output;
mod profile;
mod reduce;
mod running;
mod store;
mod task;
mod tracing;
mod waiting;

/// The Rust core of mosaic.
#[pymodule]
mod _core {
    #[pymodule_export]
    use super::compression::{compress, decompress};
    #[pymodule_export]
    use super::decode::select_output;
    #[pymodule_export]
    use super::descriptors::{
        free_descriptors, given_descriptors, lower_descriptors, raise_descriptors,
    };
    #[pymodule_export]
    use super::engine::{PyEngine, engine, join_worker, start_head};
    #[pymodule_export]
    use super::gather::Gather;
    #[pymodule_export]
    use super::hooks::configure;
    #[pymodule_export]
    use super::launcher::{PyMonitor, run_agent, spawn_command};
    #[pymodule_export]
    use super::loops::Subscription;
    #[pymodule_export]
    use super::machine::available_memory;
    #[pymodule_export]
    use super::method::{RemoteMethod, TesseraRef};
    #[pymodule_export]
    use super::origin::trace_origins;
    #[pymodule_export]
    use super::output::Output;
    #[pymodule_export]
    use super::profile::read_profile;
    #[pymodule_export]
    use super::reduce::reduce;
    #[pymodule_export]
    use super::store::{Segment, allocate};
    #[pymodule_export]
    use super::task::Task;
    #[pymodule_export]
    use super::tracing::quiet;
    #[pymodule_export]
    use super::waiting::TaskResult;
    #[pymodule_export]
    const NOT_TRACED: &str = super::tracing::MARK;
    #[pymodule_export]
    const STORE_THRESHOLD: usize = mosaic_runtime::store::THRESHOLD;
    #[pymodule_export]
    const PROTOCOL_VERSION: u8 = mosaic_core::wire::PROTOCOL_VERSION;
}
