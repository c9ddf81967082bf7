//! The warehouse of this machine: a runtime for living values, which the head starts when a program first needs it.
//!
//! A runtime that needs it sends a request to the head. At most one warehouse starts at a time (`WARE-1`). Each request
//! is answered once, when the warehouse takes part or has failed to start (`WARE-2`); the next request tries again.
//! Tesserae for the warehouse wait at the head as others wait for a worker.

use std::sync::Arc;

use crate::call::{Failure, FailureKind, Outcome};
use crate::event::{Action, Role};
use crate::id::{RuntimeId, TesseraId};
use crate::machine::Machine;
use crate::payload::Payload;
use crate::wire::RulesMessage;

/// Who waits for it.
#[derive(Debug)]
pub(crate) struct Warehouse<H> {
    /// Programs of this runtime.
    waiting: Vec<H>,
    /// On the head: it is being started.
    starting: bool,
}

impl<H> Default for Warehouse<H> {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            starting: false,
        }
    }
}

impl<H: Clone> Machine<H> {
    /// The warehouse that takes part, this runtime too if it is one.
    fn living_warehouse(&self) -> Option<RuntimeId> {
        let mut members = self.members.living.values();
        members
            .find(|member| member.role == Role::Warehouse)
            .map(|member| member.runtime)
    }

    /// A program needs it.
    pub(crate) fn warehouse_requested(&mut self, handle: H, actions: &mut Vec<Action<H>>) {
        let first = self.warehouse.waiting.is_empty();
        self.warehouse.waiting.push(handle);
        if self.living_warehouse().is_some() {
            self.settle_warehouse(Ok(()), actions);
        } else if first {
            self.send(RuntimeId::HEAD, RulesMessage::WarehouseRequested, actions);
        }
    }

    /// Head: somebody needs it.
    pub(crate) fn start_warehouse(&mut self, actions: &mut Vec<Action<H>>) {
        if self.living_warehouse().is_none() && !self.warehouse.starting {
            self.warehouse.starting = true;
            actions.push(Action::StartWarehouse);
        }
    }

    /// Head: a tessera is meant for it.
    pub(crate) fn place_in_warehouse(
        &mut self,
        tessera: TesseraId,
        asker: RuntimeId,
        actions: &mut Vec<Action<H>>,
    ) {
        if let Some(warehouse) = self.living_warehouse() {
            let place = Ok(warehouse);
            return self.send(asker, RulesMessage::Placed { tessera, place }, actions);
        }
        self.unplaced.push((tessera, asker, Role::Warehouse));
        self.start_warehouse(actions);
    }

    /// It takes part, or will not for that reason: those who wait here are told.
    pub(crate) fn settle_warehouse(&mut self, end: Result<(), &str>, actions: &mut Vec<Action<H>>) {
        self.warehouse.starting = false;
        let outcome: Arc<Outcome> = match end {
            Ok(()) => Outcome::Value(Payload::default()),
            Err(reason) => Outcome::Failed(Failure::new(FailureKind::Disconnected, reason)),
        }
        .into();
        for handle in std::mem::take(&mut self.warehouse.waiting) {
            let outcome = Arc::clone(&outcome);
            actions.push(Action::Complete { handle, outcome });
        }
    }

    /// Head: it could not be started.
    pub(crate) fn warehouse_failed(&mut self, reason: &str, actions: &mut Vec<Action<H>>) {
        self.settle_warehouse(Err(reason), actions);
        self.refuse_unplaced(Role::Warehouse, reason, actions);
        let others: Vec<_> = self.members.living.keys().copied().collect();
        for other in others {
            self.send(
                other,
                RulesMessage::WarehouseFailed(reason.to_owned()),
                actions,
            );
        }
    }
}
