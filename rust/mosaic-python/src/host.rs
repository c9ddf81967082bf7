//! What belongs to the engine of this process: found by whoever is called by Python.

use std::sync::Arc;

use mosaic_core::id::{RuntimeId, TaskId, TesseraId};
use mosaic_runtime::engine::Engine;
use mosaic_runtime::sync::{Mutex, Rank};
use pyo3::prelude::*;

use crate::asyncio::Loops;
use crate::errors::MosaicError;
use crate::executor::PythonExecutor;
use crate::signals::Signals;
use crate::waiting::{block, detach};

/// What everything of this process that belongs to one engine shares.
pub(crate) struct Host {
    pub(crate) engine: Engine,
    pub(crate) executor: Arc<PythonExecutor>,
    pub(crate) loops: Loops,
    pub(crate) interruptions: Signals,
}

/// The engine of this process and the process that started it: a forked child has none.
static CURRENT: Mutex<Option<(u32, Arc<Host>)>> = Mutex::new(Rank::Host, None);

impl Host {
    /// Make an engine that of this process.
    pub(crate) fn install(
        py: Python<'_>,
        engine: Engine,
        executor: Arc<PythonExecutor>,
    ) -> PyResult<Arc<Self>> {
        let interruptions = match Signals::new() {
            Ok(interruptions) => interruptions,
            Err(error) => {
                detach(py, || engine.stop(None));
                return Err(error.into());
            }
        };
        let host = Arc::new(Self {
            engine,
            executor,
            loops: Loops::default(),
            interruptions,
        });
        host.executor.belong_to(&host);
        let former = CURRENT
            .lock()
            .replace((std::process::id(), Arc::clone(&host)));
        drop(former);
        Ok(host)
    }

    /// Its engine has stopped: let go of what Python knows of it.
    pub(crate) fn leave(self: &Arc<Self>, py: Python<'_>) {
        self.loops.close(py);
        self.interruptions.close();
        self.executor.clear(py);
        let left = CURRENT.lock().take_if(|(_, host)| Arc::ptr_eq(host, self));
        drop(left);
    }

    /// Where a tessera lives, for which the decision may have to be waited for; its owner if it lives nowhere.
    pub(crate) fn wait_placed(&self, py: Python<'_>, tessera: TesseraId) -> PyResult<RuntimeId> {
        let place = match self.engine.host_of(tessera) {
            None => block(py, || self.engine.wait_placed(tessera, None))?,
            place => place,
        };
        Ok(place.unwrap_or(tessera.owner))
    }

    /// Whether waiting here for a call on that tessera keeps the call itself from running.
    pub(crate) fn waits_for_itself(
        &self,
        py: Python<'_>,
        task: TaskId,
        tessera: TesseraId,
        blocking: bool,
    ) -> PyResult<bool> {
        // Where it is, is asked last: for that the engine's lock may have to be waited for, at every await.
        if !self.executor.blocks(py, tessera, blocking)? {
            return Ok(false);
        }
        let me = self.engine.runtime();
        let place = match self.engine.host_of(tessera) {
            // Whether this thread may block depends on where the tessera goes.
            None if blocking && tessera.owner == me && self.executor.is_main_lane() => {
                self.wait_placed(py, tessera)?
            }
            place => place.unwrap_or(tessera.owner),
        };
        // Of a task that was passed to this process the end may be known here before it is known by its handle.
        Ok(place == me && !self.engine.has_ended_here(task))
    }
}

/// What belongs to the engine of this process.
pub(crate) fn host() -> PyResult<Arc<Host>> {
    host_if_any().ok_or_else(|| {
        MosaicError::new_err(
            "there is no runtime in this process: start one with mosaic.run or mosaic.init",
        )
    })
}

/// The same, if there is an engine.
pub(crate) fn host_if_any() -> Option<Arc<Host>> {
    let current = CURRENT.lock();
    let (process, host) = current.as_ref()?;
    (*process == std::process::id()).then(|| Arc::clone(host))
}
