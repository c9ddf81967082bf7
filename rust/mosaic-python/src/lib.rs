//! The extension module `mosaic._core`: converts between Rust and Python, and takes the GIL. It decides nothing.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`engine`] | the engine of this process, as Python sees it |
//! | [`roles`] | starting the engine, as the head or as a worker |
//! | [`notices`] | what the engine has to tell the program, as objects |
//! | [`host`] | the engine and its helpers, for functions that Python calls |
//! | [`launcher`] | the monitor and node agent that `mrun` starts |
//! | [`method`] | references to tesserae, and the callables that call their methods |
//! | [`call_arguments`] | the arguments of a call, as far as its task remembers them |
//! | [`task`], [`output`] | tasks and their outputs |
//! | [`waiting`], [`gather`] | awaiting and blocking, for one task and for many |
//! | [`signals`] | Unix signals while the main thread waits |
//! | [`asyncio`] | completions into asyncio event loops |
//! | [`executor`], [`coroutine`] | the lanes of calls: the main thread, an event loop |
//! | [`invoke`] | one call, from its decoded arguments to its outcome |
//! | [`encode`], [`decode`] | values to payloads and back |
//! | [`decoded_once`] | the value of a task, decoded once for all threads that ask |
//! | [`msgpack`] | plain values, arrays among them, to bytes and back |
//! | [`store`] | large buffers, into the store and back |
//! | [`reduce`](mod@reduce) | element-wise reduction of arrays |
//! | [`profile`] | the file of a profile, read |
//! | [`tracing`] | the functions that methods call, for the profile |
//! | [`compression`] | LZ4 for whole payloads |
//! | [`machine`] | the memory of this machine that this process may use |
//! | [`descriptors`] | the limit of open files |
//! | [`by_name`] | functions and classes that are sent by their name |
//! | [`call_context`] | the context of a call, such as the notebook cell that made it |
//! | [`errors`] | failures of Rust as Python exceptions |
//! | [`hooks`] | the Python objects that the extension module works with |

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the reference is built with private items"
)]

use pyo3::prelude::*;

mod asyncio;
mod by_name;
mod call_arguments;
mod call_context;
mod compression;
mod coroutine;
mod decode;
mod decoded_once;
mod descriptors;
mod encode;
mod engine;
mod errors;
mod executor;
mod gather;
mod hooks;
mod host;
mod invoke;
mod launcher;
mod machine;
mod method;
mod msgpack;
mod notices;
mod output;
mod profile;
mod reduce;
mod roles;
mod signals;
mod store;
mod task;
mod tracing;
mod waiting;

/// The Rust core of mosaic.
#[pymodule]
mod _core {
    #[pymodule_export]
    use super::asyncio::Subscription;
    #[pymodule_export]
    use super::call_context::trace_origins;
    #[pymodule_export]
    use super::compression::{compress, decompress};
    #[pymodule_export]
    use super::decode::select_output;
    #[pymodule_export]
    use super::descriptors::{
        free_descriptors, given_descriptors, lower_descriptors, raise_descriptors,
    };
    #[pymodule_export]
    use super::engine::{PyEngine, engine};
    #[pymodule_export]
    use super::gather::Gather;
    #[pymodule_export]
    use super::hooks::configure;
    #[pymodule_export]
    use super::launcher::{PyMonitor, run_agent, spawn_command};
    #[pymodule_export]
    use super::machine::available_memory;
    #[pymodule_export]
    use super::method::{Kind, RemoteMethod, TesseraRef};
    #[pymodule_export]
    use super::notices::Notice;
    #[pymodule_export]
    use super::output::Output;
    #[pymodule_export]
    use super::profile::read_profile;
    #[pymodule_export]
    use super::reduce::reduce;
    #[pymodule_export]
    use super::roles::{
        Member, MonitorAddress, Placement, Role, StoreLimits, WorkerLaunch, join_worker, start_head,
    };
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

    #[pymodule_init]
    fn init(module: &super::Bound<'_, super::PyModule>) -> super::PyResult<()> {
        module.py().import("mosaic.errors").map(drop)
    }
}
