//! Records of calls that have arrived. [`crate::callee::delivery`] takes them in, [`crate::callee::finish`] ends them.

use std::sync::Arc;

use bytes::Bytes;

use crate::call::{Call, CallKind, Outcome, ReadyCall, Slot};
use crate::id::{RuntimeId, TaskId, TesseraId};
use crate::payload::{Payload, Reference, ThinVec};
use crate::subscriber::Subscription;

/// Where a call that came here stands.
#[derive(Debug)]
pub(super) enum Progress {
    /// Waits for its turn and its arguments.
    Waiting(Box<Call>),
    /// Dispatched to the executor.
    Running {
        /// It builds its tessera.
        builds: bool,
        /// It skipped the queues of its tessera.
        skipped: bool,
    },
    /// Has ended; the owner has not released the result.
    Ended(Arc<Outcome>),
}

/// A call that came here. Thousands wait or have ended: what few of them have is in [`ColdState`].
#[derive(Debug)]
pub(super) struct InboundCall<H> {
    pub(super) caller: RuntimeId,
    /// Arguments that are still to come.
    pub(super) missing: u32,
    pub(super) tessera: TesseraId,
    pub(super) progress: Progress,
    pub(super) cold_state: Option<Box<ColdState<H>>>,
    /// Its caller has been answered: it does not get the outcome.
    pub(super) cancelled: bool,
    /// The owner has released the result.
    pub(super) released: bool,
}

/// What only some calls have.
#[derive(Debug)]
pub(super) struct ColdState<H> {
    pub(super) values: Vec<(Slot, Bytes, Payload)>,
    /// References inside arguments; after the end, inside the result.
    pub(super) references: ThinVec<Reference>,
    pub(super) subscribers: Vec<Subscription<H>>,
    /// Calls of methods of the result that have not ended.
    pub(super) users: usize,
    /// The result that this call needs alive.
    pub(super) uses: Option<TaskId>,
    /// For a call that may be retried: the call to dispatch again.
    pub(super) again: Option<Box<ReadyCall>>,
}

impl<H> Default for ColdState<H> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            references: ThinVec::new(),
            subscribers: Vec::new(),
            users: 0,
            uses: None,
            again: None,
        }
    }
}

impl<H> InboundCall<H> {
    pub(super) fn new(caller: RuntimeId, call: Box<Call>) -> Self {
        Self {
            caller,
            missing: 0,
            tessera: call.tessera,
            progress: Progress::Waiting(call),
            cold_state: None,
            cancelled: false,
            released: false,
        }
    }

    /// The fields that few have, made if there are none yet.
    pub(super) fn cold_state(&mut self) -> &mut ColdState<H> {
        self.cold_state.get_or_insert_default()
    }

    /// The fields that few have, if this one ever had any.
    pub(super) fn cold_state_mut(&mut self) -> Option<&mut ColdState<H>> {
        self.cold_state.as_deref_mut()
    }

    pub(super) fn keep(&mut self, references: &[Reference]) {
        if !references.is_empty() {
            self.cold_state().references.extend_from_slice(references);
        }
    }

    /// Whether it is a construction that has not started.
    pub(super) fn builds(&self) -> bool {
        matches!(&self.progress, Progress::Waiting(call) if call.kind == CallKind::Construct)
    }

    /// The call for the executor, if it waits: it runs from now on.
    pub(super) fn start(&mut self) -> Option<ReadyCall> {
        let Progress::Waiting(call) = &self.progress else {
            return None;
        };
        let (builds, skipped) = (call.kind == CallKind::Construct, call.kind.skips_queue());
        let running = Progress::Running { builds, skipped };
        let Progress::Waiting(call) = std::mem::replace(&mut self.progress, running) else {
            return None;
        };
        let values = self
            .cold_state_mut()
            .map(|cold_state| std::mem::take(&mut cold_state.values));
        let ready = ReadyCall {
            call,
            caller: self.caller,
            values: values.unwrap_or_default(),
            attempt: 0,
        };
        if ready.call.retries > 0 {
            self.cold_state().again = Some(Box::new(ready.clone()));
        }
        Some(ready)
    }
}
