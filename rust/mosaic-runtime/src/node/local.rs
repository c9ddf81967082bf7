//! What the processes that a head holds itself tell it, and what becomes of their output.

use std::sync::Weak;

use mosaic_core::id::RuntimeId;

use super::processes::{Audience, Ended, Line};
use crate::engine::inner::Shared;
use crate::notice::Notice;
use crate::sync::primitives::lock;

/// The head, as it hears of the processes that it holds itself.
#[derive(Debug)]
pub(super) struct Here(pub(super) Weak<Shared>);

impl Audience for Here {
    async fn room(&self, _: &Line) {
        if let Some(shared) = self.0.upgrade() {
            shared.notices.room().await;
        }
    }

    async fn printed(&self, runtime: RuntimeId, line: Line, _: bool) {
        if let Some(shared) = self.0.upgrade() {
            shared.printed(runtime, line);
        }
    }

    async fn ended(&self, runtime: RuntimeId, end: Ended) {
        if let Some(shared) = self.0.upgrade()
            && let Some(node) = &shared.node
        {
            node.ended(&shared, runtime, end).await;
        }
    }
}

impl Shared {
    /// A worker of this head's printed a line.
    pub(crate) fn printed(&self, runtime: RuntimeId, line: Line) {
        let worker = self
            .node
            .as_ref()
            .and_then(|node| lock(&node.workers).get(&runtime).cloned());
        if let Some(worker) = worker {
            self.tell(Notice::Output {
                uid: worker.uid.clone(),
                error: line.error,
                origin: line.origin,
                line: line.text.into(),
            });
        }
    }
}
