//! Calls and their outcomes, as data.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::member::Role;
use crate::payload::{Payload, Reference, ThinVec};

/// What the callee does with a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CallKind {
    /// Builds the tessera; the first call of every tessera. Options beside it: [`Construction`].
    Construct,
    /// Calls a method.
    Method,
    /// Reads an attribute, in call order.
    GetAttribute,
    /// Reads an attribute past whatever runs or waits.
    GetAttributeNow,
    /// Sets an attribute, in call order.
    SetAttribute,
    /// Frees the tessera, in call order; calls that come later fail with [`FailureKind::Stopped`].
    Stop,
    /// Runs a plain function on a runtime's functions tessera.
    Function,
    /// Calls a method of the living result of another task on the runtime that ran it; the functions
    /// tessera of that runtime is the callee.
    ResultMethod(TaskId),
}

impl CallKind {
    /// The number that stands for it in messages and profiles.
    pub const fn number(self) -> u8 {
        match self {
            Self::Construct => 0,
            Self::Method => 1,
            Self::GetAttribute => 2,
            Self::GetAttributeNow => 3,
            Self::SetAttribute => 4,
            Self::Stop => 5,
            Self::Function => 6,
            Self::ResultMethod(_) => 7,
        }
    }

    /// Whether the call skips its tessera's queue.
    pub const fn skips_queue(self) -> bool {
        matches!(self, Self::GetAttributeNow)
    }
}

/// What a caller decides about the tessera it builds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Construction {
    /// Calls run as soon as their arguments are ready, in no order, many at a time.
    pub concurrent: bool,
    /// The owner will rebuild the tessera if its host dies.
    pub restartable: bool,
    /// The kind of runtime that it goes to where the caller names none.
    pub home: Role,
}

/// Where the value of a dependency goes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Slot {
    /// The positional argument of that index.
    Positional(u16),
    /// The keyword argument of that name.
    Keyword(String),
    /// Nowhere: the call only waits for the end of the task.
    Order,
}

impl Slot {
    /// "needed as argument 0 of Solver.step", for the message that a dependency failed.
    pub(crate) fn describe(&self, class: &str, method: &str) -> String {
        let callee = if class.is_empty() {
            method.to_owned()
        } else {
            format!("{class}.{method}")
        };
        match self {
            Self::Positional(index) => format!("needed as argument {index} of {callee}"),
            Self::Keyword(name) => format!("needed as argument '{name}' of {callee}"),
            Self::Order => format!("{callee} waited for its end"),
        }
    }
}

/// Where the value of a dependency comes from.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Source {
    /// To be filled in by the owner's rules; never on the wire.
    Unresolved {
        /// The runtime that knows where the task's result is: its owner.
        authority: RuntimeId,
    },
    /// The callee fetches it from this runtime: the one that runs the task, or the task's owner.
    At(RuntimeId),
    /// The value came along, being small and known to the caller: its format and bytes.
    Here(u8, Bytes),
}

/// A task whose end a call waits for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Dependency {
    /// Where its value goes.
    pub slot: Slot,
    /// The task.
    pub task: TaskId,
    /// Which part of the result is meant; opaque here, empty for the whole.
    pub part: Bytes,
    /// The task stands for a value that was put somewhere: without it the call fails for want of that object.
    pub kept: bool,
    /// Where the value comes from.
    pub source: Source,
}

/// One call, as it travels from the caller to the host of the tessera.
#[derive(Clone, PartialEq, Debug)]
pub struct Call {
    /// The task that stands for it.
    pub task: TaskId,
    /// The callee.
    pub tessera: TesseraId,
    /// What to do.
    pub kind: CallKind,
    /// The method, attribute or, for display, function or class name.
    pub method: Arc<str>,
    /// The method is a coroutine function: it runs on the event loop instead of the main thread.
    pub coroutine: bool,
    /// How many times the host runs it again after it raised.
    pub retries: u32,
    /// The context that it was made in, such as the cell of a notebook; what the number means is the program's.
    pub origin: Option<NonZeroU32>,
    /// For [`CallKind::Construct`] only.
    pub construction: Construction,
    /// Tasks that must end first.
    pub dependencies: ThinVec<Dependency>,
    /// The encoded arguments.
    pub arguments: Payload,
}

/// Why a task has no value: what the waiter can do decides the kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FailureKind {
    /// The user's code raised; `detail` carries the exception.
    Raised,
    /// It was cancelled.
    Cancelled,
    /// The call's own time limit passed.
    TimedOut,
    /// The runtime that held it died; the message says which and how.
    Disconnected,
    /// The tessera was stopped or freed before the call.
    Stopped,
    /// The value was dropped or lost.
    ObjectLost,
    /// The request made no sense; the message says why.
    Rejected,
    /// A fault of mosaic itself, to be reported.
    Internal,
    /// A process had no file descriptor left for the value.
    Descriptors,
    /// A process had no memory for the value.
    Memory,
    /// The connection to the runtime that had the call was lost, and both live.
    ConnectionLost,
}

impl FailureKind {
    /// The number that stands for it in messages and profiles.
    pub const fn number(self) -> u8 {
        match self {
            Self::Raised => 0,
            Self::Cancelled => 1,
            Self::TimedOut => 2,
            Self::Disconnected => 3,
            Self::Stopped => 4,
            Self::ObjectLost => 5,
            Self::Rejected => 6,
            Self::Internal => 7,
            Self::Descriptors => 8,
            Self::Memory => 9,
            Self::ConnectionLost => 10,
        }
    }
}

/// Most lines of a failure's context: a chain of a million tasks would carry a million of them each.
const MOST_CONTEXT: usize = 16;

/// The end of a task that failed.
#[derive(Clone, PartialEq, Debug)]
pub struct Failure {
    /// What kind.
    pub kind: FailureKind,
    /// One line for people.
    pub message: String,
    /// The tasks through which the failure came, nearest last, one line each: "argument 0 of Solver.step".
    pub context: Vec<String>,
    /// The encoded exception, where there is one.
    pub detail: Payload,
}

#[expect(
    clippy::unnecessary_box_returns,
    reason = "outcomes hold failures in boxes"
)]
impl Failure {
    /// A failure that carries no exception of the user's.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            kind,
            message: message.into(),
            context: Vec::new(),
            detail: Payload::default(),
        })
    }

    /// How a task fails whose host died.
    pub fn disconnected(cause: &str) -> Box<Self> {
        Self::new(FailureKind::Disconnected, cause)
    }

    /// The references that a lost or failed tessera keeps with this failure. The tessera itself is not among them: a
    /// reference to itself would keep it for good.
    pub(crate) fn references_beside(&self, tessera: TesseraId) -> Vec<Reference> {
        let references = self.detail.references.iter().copied();
        references
            .filter(|reference| reference.object != ObjectId::Tessera(tessera))
            .collect()
    }

    /// The same failure as seen by a task that waited for it. Of a long way only the two ends are kept.
    #[must_use]
    pub fn through(&self, context: String) -> Box<Self> {
        let mut failure = self.clone();
        if failure.context.len() >= MOST_CONTEXT {
            failure.context.remove(MOST_CONTEXT / 2);
        }
        failure.context.push(context);
        Box::new(failure)
    }
}

/// The end of a task.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// The value.
    Value(Payload),
    /// It has a value, which stays with `host` until somebody fetches it.
    Stored {
        /// The runtime that has it.
        host: RuntimeId,
        /// Encoded length in bytes.
        size: u64,
    },
    /// The failure.
    Failed(Box<Failure>),
}

impl Outcome {
    /// How a call ends that was cancelled before it ran.
    pub(crate) fn cancelled() -> Arc<Self> {
        Self::Failed(Failure::new(
            FailureKind::Cancelled,
            "the call was cancelled",
        ))
        .into()
    }

    /// The references inside its value, or inside the exception with which it failed.
    pub fn references(&self) -> &[Reference] {
        match self {
            Self::Value(value) => &value.references,
            Self::Stored { .. } => &[],
            Self::Failed(failure) => &failure.detail.references,
        }
    }
}

/// Which part of a task's outcome a message carries. Every outcome has one part today; a value that a call yields bit by
/// bit will have several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutcomePart {
    /// Counts up from 0 within one outcome.
    pub number: u32,
    /// The task ends with this part.
    pub last: bool,
}

impl OutcomePart {
    /// The only part of an outcome.
    pub const WHOLE: Self = Self {
        number: 0,
        last: true,
    };
}

/// A call handed over to the executor: every argument is there.
#[derive(Clone, Debug)]
pub struct ReadyCall {
    /// The call; `call.dependencies` is empty.
    pub call: Box<Call>,
    /// The runtime it came from.
    pub caller: RuntimeId,
    /// The values of its dependencies: where to put them, which part is meant, the encoded whole.
    pub values: Vec<(Slot, Bytes, Payload)>,
    /// How often it ran before.
    pub attempt: u32,
}
