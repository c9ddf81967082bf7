//! What happens to a runtime, and what it decides to do: the whole interface of the rules.

use std::sync::Arc;

use crate::call::{Call, Outcome, ReadyCall};
use crate::id::{BufferId, ObjectId, RuntimeId, TaskId, TesseraId};
use crate::payload::{Payload, Reference};
use crate::wire::Message;

/// A new call, made by a program of this runtime.
#[derive(Debug)]
pub struct Submission<H> {
    /// Resolved by [`Action::Complete`] when the task ends.
    pub handle: H,
    /// The call. Its dependencies' sources are unresolved.
    pub call: Box<Call>,
    /// Where the caller knows the tessera to live; `None` for one that this runtime built itself.
    pub host: Option<RuntimeId>,
    /// For a construction: the worker to build it on; `None` leaves it to the placement strategy.
    pub place: Option<RuntimeId>,
    /// For a construction: how often the tessera may be rebuilt after its host died.
    pub restarts: u32,
    /// How often the call may be sent again because its host died (restartable tesserae, functions).
    pub resends: u32,
}

/// How much of a task's end a program asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// That it has ended, and whether well.
    End,
    /// Its value too, moved here.
    Value,
}

/// Something that happened.
#[derive(Debug)]
pub enum Event<H> {
    /// A program of this runtime made a call.
    CallSubmitted(Submission<H>),
    /// A program cancelled a task that this runtime owns.
    CancelRequested(TaskId),
    /// The time limit of a task that this runtime owns passed.
    CallTimedOut(TaskId),
    /// A program asked for the end or the value of a task: one of its own whose value is stored
    /// elsewhere, or one that was passed to it.
    OutcomeRequested {
        /// The task.
        task: TaskId,
        /// How much of it.
        want: Want,
        /// Resolved by [`Action::Complete`].
        handle: H,
    },
    /// A program asked to be told when a call of this runtime's has reached its host.
    DeliveryRequested {
        /// The task.
        task: TaskId,
        /// Resolved by [`Action::Complete`]: with an empty value, or with the failure of a call that did not get there.
        handle: H,
    },
    /// A program kept a value here, as the result of a task of its own that has ended.
    ValuePut {
        /// The task.
        task: TaskId,
        /// The value.
        value: Payload,
    },
    /// A program gave a value to the head to keep, so that it outlives this runtime (not on the head).
    RemotePutRequested {
        /// The name of the value: [`TaskId::kept`] of the head and this runtime.
        task: TaskId,
        /// The value.
        value: Payload,
        /// Resolved by [`Action::Complete`] when the head has it.
        handle: H,
    },
    /// A program dropped the value of a task of its own: whoever asks for it from now on is told so.
    ValueDropped(TaskId),
    /// A local handle to an object came into being (other than by submission).
    Retained(Reference),
    /// A local handle went: the one made by the submission, or one that was retained.
    Released(ObjectId),
    /// The executor finished a call.
    CallFinished {
        /// Which.
        task: TaskId,
        /// How. Never [`Outcome::Stored`]: the rules decide what travels.
        outcome: Arc<Outcome>,
    },
    /// A call that was to be revoked runs already: its caller need not wait for an end that will be dropped.
    CallIsRunning(TaskId),
    /// A program asked to know when all tasks submitted before, on the whole network, have ended.
    BarrierRequested(H),
    /// A program needs this machine's warehouse: the handle is settled when it takes part, or cannot.
    WarehouseRequested(H),
    /// The head's node agent could not start the warehouse: whatever waits for it fails with this reason (head only).
    WarehouseFailed(String),
    /// A program registered something to be done at the head's next barrier.
    BarrierTaskRegistered,
    /// A message came in from an authenticated peer.
    MessageReceived {
        /// The peer.
        from: RuntimeId,
        /// The message.
        message: Message,
    },
    /// The head's node agent saw a runtime join (head only; others hear it by message).
    RuntimeJoined(Member),
    /// The head's node agent saw a runtime die (head only; others hear it by message).
    RuntimeDied {
        /// Which.
        runtime: RuntimeId,
        /// "worker:0:1 was killed by signal 9 (SIGKILL)".
        cause: String,
    },
    /// The connection to a peer was lost, and both live; neither is the head. What was received by it has been handled,
    /// what is sent from now on goes by the next one.
    LinkLost {
        /// The peer.
        peer: RuntimeId,
        /// "the connection between worker:0:0 and worker:0:1 ended".
        cause: String,
    },
    /// The program's own placement strategy answered [`Action::ChooseWorker`] (head only).
    WorkerChosen {
        /// For which tessera.
        tessera: TesseraId,
        /// The worker, or why there is none.
        place: Result<RuntimeId, String>,
    },
    /// This runtime ends: every handle that is not settled fails with this cause.
    RuntimeStopped(String),
    /// No worker will join any more until told otherwise: whatever waits for one fails with this reason (head only).
    WorkersExhausted(String),
}

/// What a runtime is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub enum Role {
    /// The program's own process, with monitor and node agent.
    Head,
    /// Takes tesserae.
    #[default]
    Worker,
    /// Keeps the living values of its machine: roots of parameters, values made by functions. Takes no tesserae but
    /// those meant for it.
    Warehouse,
}

/// A runtime that takes part.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Member {
    /// Its number.
    pub runtime: RuntimeId,
    /// Its name: `worker:0:1`.
    pub uid: String,
    /// Its process.
    pub pid: u32,
    /// What it is there for.
    pub role: Role,
}

/// Something to do.
#[derive(Debug)]
pub enum Action<H> {
    /// Send a message; messages to one peer keep their order.
    Send {
        /// The peer.
        to: RuntimeId,
        /// The message.
        message: Message,
    },
    /// Hand a call to the executor. The plain calls of one runtime run one at a time in the order in
    /// which they are handed over; coroutine calls start in that order and interleave.
    Run(ReadyCall),
    /// A call that was handed over is cancelled: do not start it; if it is a running coroutine, cancel it.
    /// Whichever it is, say now: [`Event::CallFinished`] if it will never run, [`Event::CallIsRunning`] if it
    /// runs, whose end is still to be reported.
    Revoke(TaskId),
    /// A call that was handed over is of no use to its caller any more: do not start it. If it never will,
    /// [`Event::CallFinished`] follows; one that has begun goes on.
    Prevent(TaskId),
    /// It is decided where a tessera of this runtime's goes, or that it goes nowhere.
    TesseraPlaced(TesseraId),
    /// Drop the living object of a tessera.
    DropTessera(TesseraId),
    /// Drop the living result of a task that ran here.
    DropResult(TaskId),
    /// Nobody else refers to a buffer of this runtime's store any more.
    BufferReleased(BufferId),
    /// A task has ended, or an outcome that was wanted is here.
    Complete {
        /// Whose.
        handle: H,
        /// How it ended.
        outcome: Arc<Outcome>,
    },
    /// Ask the program's own placement strategy (head only, and only where one is plugged in).
    ChooseWorker(TesseraId),
    /// Start the warehouse of this machine (head only).
    StartWarehouse,
    /// Membership changed: for the program's view of the network, and for the engine's connections.
    MemberJoined(Member),
    /// A runtime is gone; nothing more goes there.
    MemberDied {
        /// Which.
        member: Member,
        /// How.
        cause: String,
    },
    /// Tell people.
    Report(Report),
}

/// Something worth a line in the log.
#[derive(Clone, PartialEq, Debug)]
pub enum Report {
    /// A call raised and is run again.
    Retried {
        /// "Solver.step".
        what: String,
        /// The coming attempt, from 1.
        attempt: u32,
        /// How many are allowed.
        of: u32,
        /// What it raised, one line.
        message: String,
    },
    /// A tessera is rebuilt after its host died.
    Restarted {
        /// "Solver".
        what: String,
        /// The host that died.
        cause: String,
    },
}
