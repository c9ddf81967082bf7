//! The caller's side of calls: tasks, and the routes by which calls leave.
//!
//! | module | what it decides |
//! | --- | --- |
//! | [`task`] | the tasks that this runtime owns, from the submission to the last handle |
//! | [`route`] | where a tessera lives, and the calls that wait to leave for it |
//! | [`send`] | when a waiting call leaves |
//! | [`delivery`] | whether a call has reached its host |
//! | [`relocate`] | what becomes of a tessera whose host died |

pub(crate) mod delivery;
pub(crate) mod relocate;
pub(crate) mod route;
pub(crate) mod send;
pub(crate) mod task;
