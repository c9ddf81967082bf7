//! The head as the observer of the processes that it started itself: output becomes notices, ends reach the node.

use std::sync::Weak;

use mosaic_core::id::RuntimeId;

use super::processes::{Ended, Line, ProcessEvents};
use crate::engine::inner::EngineInner;
use crate::notice::Notice;

/// Passes events of the head's own child processes to its node.
#[derive(Debug)]
pub(super) struct LocalProcesses(pub(super) Weak<EngineInner>);

impl ProcessEvents for LocalProcesses {
    async fn wait_for_capacity(&self, _: &Line) {
        if let Some(inner) = self.0.upgrade() {
            inner.notices.wait_for_capacity().await;
        }
    }

    async fn printed(&self, runtime: RuntimeId, line: Line, _: bool) {
        if let Some(inner) = self.0.upgrade() {
            inner.printed(runtime, line);
        }
    }

    async fn ended(&self, runtime: RuntimeId, end: Ended) {
        if let Some(inner) = self.0.upgrade()
            && let Some(node) = &inner.node
        {
            node.ended(&inner, runtime, end).await;
        }
    }
}

impl EngineInner {
    /// A worker of this head printed a line.
    pub(crate) fn printed(&self, runtime: RuntimeId, line: Line) {
        let worker = self
            .node
            .as_ref()
            .and_then(|node| node.workers.lock().get(&runtime).cloned());
        if let Some(worker) = worker {
            self.notify(Notice::Output {
                uid: worker.uid.clone(),
                error: line.error,
                origin: line.origin,
                line: line.text.into(),
            });
        }
    }
}
