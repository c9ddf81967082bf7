//! The interface to the code that runs calls: Python in `mosaic-python`, Rust closures in tests and benches.
//!
//! | module | what it owns |
//! | --- | --- |
//! | this one | [`Executor`], the trait |
//! | [`lane`] | the job queue of an executor's main thread |
//! | [`call_states`] | the state of each accepted call: queued, revoked, running, finished |
//! | [`closures`] | an executor for actors written in Rust |

pub(crate) mod call_states;
pub mod closures;
pub mod lane;

use mosaic_core::id::{TaskId, TesseraId};

pub use call_states::{AcceptedCall, CallState};

/// Runs calls. Every method is called by a thread that holds the engine's lock: it queues work on lanes of
/// its own and returns at once. Ends are reported with [`crate::engine::Engine::finish`].
pub trait Executor: Send + Sync + 'static {
    /// Run these, in this order (see [`mosaic_core::event::Action::Run`]), each unless it has been revoked by the time
    /// that it would begin; leaves the vector empty.
    fn run(&self, calls: &mut Vec<AcceptedCall>);
    /// Cancel this call if it is a running coroutine; another one runs to its end.
    fn cancel_running(&self, task: TaskId);
    /// Drop the living object of a tessera.
    fn drop_tessera(&self, tessera: TesseraId);
    /// Drop the living result of a task.
    fn drop_result(&self, task: TaskId);
    /// Warn people of something that no call is at fault for.
    fn warn(&self, message: &str);
    /// The runtime ends: let the lanes run out.
    fn stop(&self);
}
