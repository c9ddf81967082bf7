//! The callee's side of calls: tesserae that live here, and the calls that have come for them.
//!
//! | module | what it decides |
//! | --- | --- |
//! | [`call`] | records of calls, from their arrival to their dispatch |
//! | [`tessera`] | the queues of tesserae: which call runs next |
//! | [`finish`] | how calls end: run, repeated, cancelled; and how long their results stay |

pub(crate) mod call;
pub(crate) mod finish;
pub(crate) mod tessera;
