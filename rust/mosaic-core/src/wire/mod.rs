//! The messages and their frames.
//!
//! A frame is a fixed prefix, a table of segment lengths, a msgpack header, the body, and the payload's
//! segments; [`frame`] writes and reads it.
//!
//! ```text
//! offset  size  field
//!      0     1  protocol version
//!      1     1  kind of message, and in its top two bits the variant of its outcome
//!      2     2  number of segments, n
//!      4     4  header length, h
//!      8     8  body length, b
//!     16   8·n  segment lengths; the top bit marks a segment that stays in its store (see [`stored`]),
//!               of which a description travels
//!  16+8n     h  header (msgpack array)
//!     ...    b  body: references (17 bytes each), dependencies (msgpack array), the values that came
//!               along with them, and the in-band bytes of the payload
//!     ...       segments, one after another
//! ```
//!
//! What may grow long (references, dependencies, values) is in the body, so that a header stays short.
//! All integers are little-endian. Lengths are checked against [`Limits`] before anything is allocated.
//!
//! A frame whose header can be read is always a message: of what cannot be had of its body and segments (too long, no
//! memory, no descriptor, malformed) the message says why it is not there ([`crate::payload::Segment::Lost`]).

mod frame;
mod header;
pub mod stored;

pub use frame::{FrameReader, FrameWriter};

use serde::{Deserialize, Serialize};

use std::sync::Arc;

use crate::call::{Call, Outcome};
use crate::event::{Member, Role};
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::link::Recount;
use crate::payload::{Loss, Payload};

/// Version of everything in this module; peers of another version are refused in the handshake.
pub const PROTOCOL_VERSION: u8 = 1;

/// What one runtime says to another.
#[derive(Clone, PartialEq, Debug)]
pub enum Message {
    /// Caller to host: run this.
    Call(Box<Call>),
    /// Host to caller: this task has ended.
    Completed {
        /// Which.
        task: TaskId,
        /// How; a large value stays with the host as [`Outcome::Stored`].
        outcome: Arc<Outcome>,
    },
    /// Caller to host: this task is not wanted any more.
    Cancel(TaskId),
    /// Caller to host: answer when the call of this task, sent before, is there.
    DeliveryProbe(TaskId),
    /// The answer to a probe.
    Delivered(TaskId),
    /// Any runtime to the owner or the runner of a task: send me its end when it has one.
    Fetch {
        /// Which.
        task: TaskId,
        /// Whether the value is wanted, or only the end.
        value: bool,
    },
    /// The answer to a fetch. The owner may answer a wanted value with [`Outcome::Stored`]: fetch it there.
    Fetched {
        /// Which.
        task: TaskId,
        /// Whether the value was asked for.
        value: bool,
        /// How it ended.
        outcome: Arc<Outcome>,
    },
    /// Receiver of a reference to the object's authority: count me as a holder.
    RegisterHolder(ObjectId),
    /// Authority to holder: you are counted.
    HolderRegistered(ObjectId),
    /// Receiver of a reference to its sender, who is the authority: count me as a holder, and take out the pin.
    RegisterHolderAndUnpin(ObjectId),
    /// Receiver of a reference to its sender: I am counted, take out the pin of one message.
    Unpin(ObjectId),
    /// Holder to authority, or owner to runner: these are not needed here any more.
    Release(Vec<ObjectId>),
    /// Host to the owner and to the head: this tessera is freed.
    Freed(TesseraId),
    /// To the head: choose a runtime of that role for this tessera.
    Place(TesseraId, Role),
    /// From the head: it goes there, or nowhere for that reason.
    Placed {
        /// Which.
        tessera: TesseraId,
        /// The worker, or why there is none.
        place: Result<RuntimeId, String>,
    },
    /// Holder to owner: where is this tessera, now that its host died?
    Locate(TesseraId),
    /// Owner to holder: it lives there now, or is lost for that reason.
    Located {
        /// Which.
        tessera: TesseraId,
        /// Its new host, or why there is none.
        place: Result<RuntimeId, String>,
    },
    /// Worker to head, first message: I am here.
    Join(Member),
    /// Head to everyone: this runtime takes part.
    MemberJoined(Member),
    /// Head to everyone: this runtime died.
    MemberDied {
        /// Which.
        runtime: RuntimeId,
        /// How.
        cause: String,
    },
    /// Anyone to head: everything I had from the dead runtime is registered with whom it concerns.
    Drained(RuntimeId),
    /// Head to everyone: all have drained; what only the dead runtime held may go.
    DeathSettled(RuntimeId),
    /// To a peer: answer when every task that you own now has ended.
    Barrier(u64),
    /// The answer.
    BarrierPassed(u64),
    /// Head to worker: end. Running methods get this long, in milliseconds.
    Shutdown {
        /// The grace.
        grace_ms: u64,
    },
    /// Any runtime to the owner of a value: drop it, whoever refers to it.
    Discard(TaskId),
    /// Worker to head: tell people this.
    LogRecord {
        /// "warning", "error".
        level: String,
        /// One line.
        text: String,
    },
    /// Worker to head: keep this value; it outlives the worker. Answered with [`Message::Completed`].
    RemotePut {
        /// Its name.
        task: TaskId,
        /// The value.
        value: Payload,
    },
    /// To the head: start the warehouse, unless it runs.
    WarehouseRequested,
    /// Head to everyone: the warehouse did not start, for that reason.
    WarehouseFailed(String),
    /// To the head: something is to be done here at its next barrier.
    BarrierTask,
    /// To everyone: what is profiled from now on.
    Profile {
        /// The file that is appended to; `None` ends the recording.
        path: Option<String>,
        /// Whether the functions are told that methods call.
        traced: bool,
    },
    /// To everyone on a machine: its stores run short of memory; give back what is idle.
    ReclaimMemory,
    /// To everyone on a machine: there is room in its stores again.
    MemoryAvailable,
    /// To a peer, after the connection to it was lost: what the sender has and awaits of the receiver's.
    Recount(Box<Recount>),
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
}

/// Why bytes could not be turned into a message, or a message into bytes. A connection from which bytes came that
/// make no message cannot be used any more: what a frame *contains* may be lost ([`Loss`]) without that.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// The peer speaks another version.
    #[error("protocol version {0}, expected {PROTOCOL_VERSION}")]
    Version(u8),
    /// No message has this number.
    #[error("unknown kind of message {0:#x}")]
    Kind(u8),
    /// A length beyond its limit.
    #[error("{what} of {length}, at most {limit} allowed")]
    TooLong {
        /// Of what.
        what: &'static str,
        /// What it claims.
        length: u64,
        /// What is allowed.
        limit: u64,
    },
    /// Not what the kind of message asks for.
    #[error("malformed frame: {0}")]
    Malformed(&'static str),
    /// Part of what was to be sent is not here itself.
    #[error("{0}")]
    Lost(Arc<Loss>),
}

/// Bounds on what a frame may claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Longest header, in bytes.
    pub header: u32,
    /// Most segments.
    pub segments: u16,
    /// Longest body and segments together, in bytes.
    pub payload: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header: 1 << 20,
            segments: 4096,
            payload: 1 << 40,
        }
    }
}
