//! Distributed reference counts of tesserae, tasks and buffers.
//!
//! | module | what it decides |
//! | --- | --- |
//! | [`table`] | the counts, and their invariants |
//! | [`protocol`] | how messages and handles change them |
//! | [`authority`] | which runtime counts, and what follows from its death or the loss of the connection to it |
//!
//! Of a task of this runtime's own, the program's handles and the calls that depend on it are counted in the task's record
//! by [`crate::caller`]; every other use is counted here, with this runtime as the authority.

mod authority;
mod protocol;
mod table;

use crate::context::Context;
use crate::id::{ObjectId, RuntimeId};
use crate::snapshot::{HolderRow, ReferenceRow, ReferencesSnapshot};

use self::table::Table;

/// The reference counts, above the context.
#[derive(Debug)]
pub(crate) struct References<H> {
    table: Table,
    /// Deaths after which this runtime has not yet registered everything that it had received from the dead.
    draining: Vec<RuntimeId>,
    context: Context<H>,
}

impl<H> References<H> {
    pub(crate) fn new(context: Context<H>) -> Self {
        Self {
            table: Table::default(),
            draining: Vec::new(),
            context,
        }
    }

    #[inline]
    pub(crate) fn context(&self) -> &Context<H> {
        &self.context
    }

    #[inline]
    pub(crate) fn context_mut(&mut self) -> &mut Context<H> {
        &mut self.context
    }

    /// Whether this runtime holds an object, be it for a message on its way.
    #[inline]
    pub(crate) fn holds(&self, object: ObjectId) -> bool {
        self.table.holdings.contains_key(&object)
    }

    /// Whether an object that this runtime holds is used here; none if it does not hold it.
    #[inline]
    pub(crate) fn usage(&self, object: ObjectId) -> Option<bool> {
        let holding = self.table.holdings.get(&object)?;
        Some(!holding.is_unused())
    }

    /// Whether another runtime is counted as a holder.
    #[inline]
    pub(crate) fn has_holders(&self, object: ObjectId) -> bool {
        self.table.has_holders(object)
    }

    /// The runtimes that hold an object of which this one counts the holders, itself among them.
    pub(crate) fn holders_of(&self, object: ObjectId) -> Vec<RuntimeId> {
        let me = self.context.me();
        let own = self.table.holdings.get(&object);
        let own = own.filter(|holding| holding.authority == me).map(|_| me);
        let others = self.table.holders.get(&object);
        let others = others.into_iter().flat_map(|holders| &holders.living);
        let mut holders: Vec<_> = own.into_iter().chain(others.copied()).collect();
        holders.sort_unstable();
        holders
    }

    pub(crate) fn snapshot(&self) -> ReferencesSnapshot {
        let held = self
            .table
            .holdings
            .iter()
            .map(|(object, holding)| ReferenceRow {
                object: *object,
                authority: holding.authority,
                registration: holding.registration,
                uses: holding.local,
                in_flight: holding.pins.iter().map(|(_, count)| count).sum(),
            });
        let counted = self
            .table
            .holders
            .iter()
            .map(|(object, holders)| HolderRow {
                object: *object,
                living: holders.living.clone(),
                dead: holders.ghosts.clone(),
            });
        let mut snapshot = ReferencesSnapshot {
            held: held.collect(),
            counted: counted.collect(),
            draining: self.draining.clone(),
        };
        snapshot.held.sort_unstable_by_key(|row| row.object);
        snapshot.counted.sort_unstable_by_key(|row| row.object);
        snapshot
    }

    /// `is_busy` tells whether calls to a tessera wait here, which keep it even if nothing else does.
    pub(crate) fn validate(&self, is_busy: impl Fn(ObjectId) -> bool) {
        self.context.validate();
        self.table.validate(self.context.me(), is_busy);
    }
}
