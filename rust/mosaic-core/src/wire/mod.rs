//! Messages and their frames. [`header`] encodes and decodes messages.
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

use crate::call::{Call, Outcome, OutcomePart};
use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::member::{Member, Role};
use crate::payload::{Loss, Payload};
use crate::recount::Recount;

/// Version of everything in this module; peers of another version are refused in the handshake.
pub const PROTOCOL_VERSION: u8 = 2;

/// A message between two runtimes, for the rules or for the engine.
#[derive(Clone, PartialEq, Debug)]
pub enum Message {
    /// The state machine of the receiver takes it as an event.
    Rules(RulesMessage),
    /// The engine of the receiver acts on it. The rules never see it.
    Engine(EngineMessage),
}

impl From<RulesMessage> for Message {
    fn from(message: RulesMessage) -> Self {
        Self::Rules(message)
    }
}

impl From<EngineMessage> for Message {
    fn from(message: EngineMessage) -> Self {
        Self::Engine(message)
    }
}

/// A message that the state machine of a runtime sends to that of another.
#[derive(Clone, PartialEq, Debug)]
pub enum RulesMessage {
    /// Caller to host: run this call.
    Call(Box<Call>),
    /// Host to caller: a part of the outcome of a task. The last part ends the task.
    Completed {
        /// The task.
        task: TaskId,
        /// Which part.
        part: OutcomePart,
        /// Its outcome; a large value stays with the host as [`Outcome::Stored`].
        outcome: Arc<Outcome>,
    },
    /// Caller to host: cancel the call of this task.
    Cancel(TaskId),
    /// Caller to host: acknowledge the delivery of this task's call, which was sent before.
    DeliveryProbe(TaskId),
    /// The answer to a delivery probe.
    Delivered(TaskId),
    /// Any runtime to the owner or the host of a task: send the outcome as soon as there is one.
    Fetch {
        /// The task.
        task: TaskId,
        /// Whether the value is wanted, or only the end.
        value: bool,
    },
    /// The answer to a fetch. The owner may answer a wanted value with [`Outcome::Stored`]: fetch it there.
    Fetched {
        /// The task.
        task: TaskId,
        /// Whether the value was asked for.
        value: bool,
        /// How it ended.
        outcome: Arc<Outcome>,
    },
    /// Receiver of a reference to the object's authority: register the sender as a holder.
    RegisterHolder(ObjectId),
    /// Authority to holder: the receiver is registered.
    HolderRegistered(ObjectId),
    /// Receiver of a reference to its sender, who is the authority: register the sender of this as a holder, and remove
    /// the pin of one message.
    RegisterHolderAndUnpin(ObjectId),
    /// Receiver of a reference to its sender: the receiver is registered; remove the pin of one message.
    Unpin(ObjectId),
    /// Holder to authority, or owner to host: the sender does not need these objects any more.
    Release(Vec<ObjectId>),
    /// Host to the owner and to the head: this tessera was freed.
    Freed(TesseraId),
    /// To the head: choose a runtime of that role for this tessera.
    Place(TesseraId, Role),
    /// From the head: the worker for the tessera.
    Placed {
        /// The tessera.
        tessera: TesseraId,
        /// The worker, or why there is none.
        place: Result<RuntimeId, String>,
    },
    /// Holder to owner: where does this tessera live, after the death of its host?
    Locate(TesseraId),
    /// Owner to holder: the new host of the tessera.
    Located {
        /// The tessera.
        tessera: TesseraId,
        /// Its new host, or why there is none.
        place: Result<RuntimeId, String>,
    },
    /// Worker to head, its first message: the worker takes part.
    Join(Member),
    /// Head to every member: this runtime takes part.
    MemberJoined(Member),
    /// Head to every member: this runtime died.
    MemberDied {
        /// The dead runtime.
        runtime: RuntimeId,
        /// The cause of its death.
        cause: String,
    },
    /// Any member to head: the references that the sender had received from the dead runtime are registered.
    Drained(RuntimeId),
    /// Head to every member: all members have sent [`RulesMessage::Drained`]; objects that only the dead runtime held are
    /// released.
    DeathSettled(RuntimeId),
    /// To a peer: answer when every task that the receiver owns now has ended.
    Barrier(u64),
    /// The answer to a barrier of that number.
    BarrierPassed(u64),
    /// Any runtime to the owner of a value: drop it although there are references to it.
    Discard(TaskId),
    /// Worker to head: own this value, which outlives the worker. Answered with [`RulesMessage::Completed`].
    RemotePut {
        /// Its id.
        task: TaskId,
        /// The value.
        value: Payload,
    },
    /// To the head: start the warehouse, unless it runs.
    WarehouseRequested,
    /// Head to every member: the warehouse failed to start, with the reason.
    WarehouseFailed(String),
    /// To the head: the sender has a function registered for its next barrier.
    BarrierTask,
    /// To a peer, after the loss of the connection: the references that the sender holds of the receiver's objects.
    Recount(Box<Recount>),
}

/// A message that the engine of a runtime sends to that of another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EngineMessage {
    /// Head to worker: stop. Running methods have this long to end, in milliseconds.
    Shutdown {
        /// The grace.
        grace_ms: u64,
    },
    /// Worker to head: a line for the log.
    LogRecord {
        /// "warning", "error".
        level: String,
        /// The line.
        text: String,
    },
    /// To every member: what is profiled from now on.
    Profile {
        /// The file that is appended to; `None` ends the recording.
        path: Option<String>,
        /// Whether the functions that methods call are recorded.
        traced: bool,
    },
    /// To every member on a machine: its stores run short of memory; free what is idle.
    ReclaimMemory,
    /// To every member on a machine: its stores have free memory again.
    MemoryAvailable,
    /// The receiver answers with [`EngineMessage::Pong`].
    Ping,
    /// The answer to [`EngineMessage::Ping`].
    Pong,
}

/// Why a frame could not be decoded or encoded. A connection that has sent bytes which are no frame cannot be used any
/// more; a part of a well-formed frame may be lost ([`Loss`]) without that.
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
        /// The part of the frame.
        what: &'static str,
        /// Its length as the frame claims it.
        length: u64,
        /// The longest that is allowed.
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
