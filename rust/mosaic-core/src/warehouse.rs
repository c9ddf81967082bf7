//! The warehouse of a machine: a runtime for living values, which the head starts when a program first needs it.
//!
//! A runtime that needs it sends a request to the head. At most one warehouse of a node starts at a time (`WARE-1`). Each
//! request is answered once, when the warehouse takes part or has failed to start (`WARE-2`); the next request tries
//! again. Tesserae for the warehouse wait at the head as others wait for a worker.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::call::{Failure, FailureKind, Outcome};
use crate::context::Context;
use crate::event::Action;
use crate::id::{NodeId, RuntimeId, TesseraId};
use crate::member::Role;
use crate::payload::Payload;
use crate::placement::Placement;
use crate::wire::RulesMessage;

/// The requests for warehouses.
#[derive(Debug)]
pub(crate) struct Warehouse<H> {
    /// Programs of this runtime that wait for the warehouse of its node.
    waiting: Vec<H>,
    /// On the head: the nodes whose warehouse is being started.
    starting: FxHashSet<NodeId>,
}

impl<H> Default for Warehouse<H> {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            starting: FxHashSet::default(),
        }
    }
}

impl<H> Warehouse<H> {
    /// The warehouse of a node that takes part.
    fn living(node: NodeId, context: &Context<H>) -> Option<RuntimeId> {
        let mut members = context.membership().living();
        members
            .find(|member| member.role == Role::Warehouse && member.node == node)
            .map(|member| member.runtime)
    }

    /// A program needs the warehouse of this node.
    pub(crate) fn requested(&mut self, handle: H, context: &mut Context<H>) {
        let first = self.waiting.is_empty();
        self.waiting.push(handle);
        let node = context.node_of(context.me());
        if Self::living(node, context).is_some() {
            self.answer(Ok(()), context);
        } else if first {
            context.send(RuntimeId::HEAD, RulesMessage::WarehouseRequested);
        }
    }

    /// Head: a runtime needs the warehouse of its node.
    pub(crate) fn requested_by(&mut self, runtime: RuntimeId, context: &mut Context<H>) {
        let node = context.node_of(runtime);
        self.start(node, context);
    }

    /// `WARE-1`
    fn start(&mut self, node: NodeId, context: &mut Context<H>) {
        if Self::living(node, context).is_none() && self.starting.insert(node) {
            context.act(Action::StartWarehouse(node));
        }
    }

    /// Head: place a tessera in the warehouse of the node of the runtime that asks.
    pub(crate) fn place(
        &mut self,
        tessera: TesseraId,
        asker: RuntimeId,
        placement: &mut Placement,
        context: &mut Context<H>,
    ) {
        let node = context.node_of(asker);
        if let Some(warehouse) = Self::living(node, context) {
            let place = Ok(warehouse);
            return context.send(asker, RulesMessage::Placed { tessera, place });
        }
        placement.wait(tessera, asker, Role::Warehouse);
        self.start(node, context);
    }

    /// The warehouse of a node takes part.
    pub(crate) fn joined(&mut self, node: NodeId, context: &mut Context<H>) {
        self.starting.remove(&node);
        if node == context.node_of(context.me()) {
            self.answer(Ok(()), context);
        }
    }

    /// `WARE-2`: the programs that wait here are answered.
    fn answer(&mut self, end: Result<(), &str>, context: &mut Context<H>) {
        let outcome: Arc<Outcome> = match end {
            Ok(()) => Outcome::Value(Payload::default()),
            Err(reason) => Outcome::Failed(Failure::new(FailureKind::Disconnected, reason)),
        }
        .into();
        for handle in std::mem::take(&mut self.waiting) {
            context.complete(handle, Arc::clone(&outcome));
        }
    }

    /// The warehouse failed to start, or this runtime stops: the programs that wait here fail.
    pub(crate) fn fail(&mut self, reason: &str, context: &mut Context<H>) {
        self.answer(Err(reason), context);
    }

    /// Head: the warehouse of a node could not be started.
    pub(crate) fn failed_to_start(
        &mut self,
        node: NodeId,
        reason: &str,
        placement: &mut Placement,
        context: &mut Context<H>,
    ) {
        self.starting.remove(&node);
        if node == context.node_of(context.me()) {
            self.fail(reason, context);
        }
        placement.refuse_waiting(Role::Warehouse, reason, context, |asker, context| {
            context.node_of(asker) == node
        });
        let others = context.membership().living();
        let others = others.filter(|member| member.node == node);
        let others: Vec<_> = others.map(|member| member.runtime).collect();
        for other in others {
            let message = RulesMessage::WarehouseFailed(reason.to_owned());
            context.send(other, message);
        }
    }
}
