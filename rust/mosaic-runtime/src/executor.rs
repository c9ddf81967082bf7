//! The seam to whatever runs user code: Python in `mosaic-python`, closures in the tests and benches.

use mosaic_core::call::ReadyCall;
use mosaic_core::event::Report;
use mosaic_core::id::{TaskId, TesseraId};

/// Runs calls. Every method is called by a thread that holds the engine's lock: it hands work to lanes of
/// its own and returns at once. Ends are reported with [`crate::engine::Engine::finish`].
pub trait Executor: Send + Sync + 'static {
    /// Run these, in this order (see [`mosaic_core::event::Action::Run`]); leaves the vector empty.
    fn run(&self, calls: &mut Vec<ReadyCall>);
    /// Do not start this call; cancel it if it is a running coroutine. Its end is still to be reported.
    /// Returns whether it is a plain call that runs already.
    fn revoke(&self, task: TaskId) -> bool;
    /// Drop the living object of a tessera.
    fn drop_tessera(&self, tessera: TesseraId);
    /// Drop the living result of a task.
    fn drop_result(&self, task: TaskId);
    /// Tell people.
    fn report(&self, report: Report);
    /// Warn people of something that no call is at fault for.
    fn warn(&self, message: &str);
    /// The runtime ends: let the lanes run out.
    fn stop(&self);
}
