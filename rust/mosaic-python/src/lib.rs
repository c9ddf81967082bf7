//! The extension module `mosaic._core`: converts, wakes, holds the GIL; decides nothing.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`engine`] | the engine of this process |
//! | [`method`] | references to tesserae and the callables that call their methods |
//! | [`task`] | tasks: awaiting, waiting, outputs |
//! | [`loops`] | completions into asyncio event loops |
//! | [`executor`], [`coroutine`] | running calls: the main lane and the coroutine lane |
//! | [`encode`], [`decode`] | values to payloads and back |
//! | [`reduce`](mod@reduce) | element-wise reduction of arrays |
//! | [`hooks`] | the Python objects that the core works with |

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the reference is built with private items"
)]

use pyo3::prelude::*;

mod coroutine;
mod decode;
mod encode;
mod engine;
mod executor;
mod hooks;
mod loops;
mod method;
mod reduce;
mod task;

/// The Rust core of mosaic.
#[pymodule]
mod _core {
    #[pymodule_export]
    use super::decode::{Segment, select_output};
    #[pymodule_export]
    use super::engine::{PyEngine, engine, join_worker, start_head};
    #[pymodule_export]
    use super::hooks::configure;
    #[pymodule_export]
    use super::method::{RemoteMethod, TesseraRef};
    #[pymodule_export]
    use super::reduce::reduce;
    #[pymodule_export]
    use super::task::{Gather, Output, Task};
    #[pymodule_export]
    const PROTOCOL_VERSION: u8 = mosaic_core::wire::PROTOCOL_VERSION;
}
