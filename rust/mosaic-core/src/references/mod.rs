//! Distributed reference counts of tesserae, tasks and buffers.
//!
//! | module | what it decides |
//! | --- | --- |
//! | [`table`] | the counts, and their invariants |
//! | [`protocol`] | how messages and handles change them |

pub(crate) mod protocol;
pub(crate) mod table;
