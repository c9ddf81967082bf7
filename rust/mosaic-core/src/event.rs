//! Events and actions: the whole interface of the state machine.

use std::sync::Arc;

use crate::call::{Call, Outcome, ReadyCall};
use crate::id::{BufferId, NodeId, ObjectId, RuntimeId, TaskId, TesseraId};
pub use crate::member::{Member, Role};
use crate::payload::{Payload, Reference};
use crate::wire::RulesMessage;

/// A new call, made by a program of this runtime.
#[derive(Debug)]
pub struct Submission<H> {
    /// Completed by [`Action::Complete`] when the task ends.
    pub handle: H,
    /// The call. Its dependencies' sources are unresolved.
    pub call: Box<Call>,
    /// The host of the tessera as far as the caller knows; `None` for a tessera of this runtime's own.
    pub host: Option<RuntimeId>,
    /// For a construction: the worker to build it on; `None` leaves it to the placement strategy.
    pub place: Option<RuntimeId>,
    /// For a construction: how often the tessera may be rebuilt after its host died.
    pub restarts: u32,
    /// How often the call may be sent again because its host died (restartable tesserae, functions).
    pub resends: u32,
}

/// The part of an outcome that a program asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// Whether it succeeded or failed.
    End,
    /// The value too, moved to this runtime.
    Value,
}

/// An input of the state machine.
#[derive(Debug)]
pub enum Event<H> {
    /// A program of this runtime made a call.
    CallSubmitted(Submission<H>),
    /// A program cancelled a task that this runtime owns.
    CancelRequested(TaskId),
    /// The time limit of a task that this runtime owns passed.
    CallTimedOut(TaskId),
    /// A program asked for the outcome of a task: of its own, with a value stored elsewhere, or of another runtime.
    OutcomeRequested {
        /// The task.
        task: TaskId,
        /// Which part of the outcome.
        want: Want,
        /// Resolved by [`Action::Complete`].
        handle: H,
    },
    /// A program asked when a call of this runtime has reached its host.
    DeliveryRequested {
        /// The task.
        task: TaskId,
        /// Resolved by [`Action::Complete`]: with an empty value, or with the failure of a call that did not get there.
        handle: H,
    },
    /// A program of this runtime put a value: it is the result of a task of this runtime that has ended.
    ValuePut {
        /// The task.
        task: TaskId,
        /// The value.
        value: Payload,
    },
    /// A program of a worker put a value, which the head is to own, so that it outlives the worker.
    RemotePutRequested {
        /// The name of the value: [`TaskId::kept`] of the head and this runtime.
        task: TaskId,
        /// The value.
        value: Payload,
        /// Completed by [`Action::Complete`] when the head has the value.
        handle: H,
    },
    /// A program dropped the value of a task of this runtime: later fetches fail.
    ValueDropped(TaskId),
    /// A local handle to an object was made, other than by a submission.
    Retained(Reference),
    /// A local handle to an object was dropped.
    Released(ObjectId),
    /// The executor finished a call.
    CallFinished {
        /// The task of the call.
        task: TaskId,
        /// Its outcome. Never [`Outcome::Stored`]: the rules decide what is sent.
        outcome: Arc<Outcome>,
    },
    /// A call that was to be revoked runs already: its caller does not wait for the outcome, which is dropped.
    CallIsRunning(TaskId),
    /// A program asked for a barrier: when have all tasks submitted before, in all runtimes, ended?
    BarrierRequested(H),
    /// A program needs the warehouse of this machine: the handle completes when it takes part or has failed to start.
    WarehouseRequested(H),
    /// The node agent failed to start the warehouse: requests and calls that wait for it fail (head only).
    WarehouseFailed {
        /// The machine.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// A program registered a function for the head's next barrier.
    BarrierTaskRegistered,
    /// A message arrived from an authenticated peer.
    MessageReceived {
        /// The peer.
        from: RuntimeId,
        /// The message.
        message: RulesMessage,
    },
    /// The node agent saw a runtime join (head only; the head informs the others).
    RuntimeJoined(Member),
    /// The node agent saw a runtime die (head only; the head informs the others).
    RuntimeDied {
        /// The dead runtime.
        runtime: RuntimeId,
        /// "worker:0:1 was killed by signal 9 (SIGKILL)".
        cause: String,
    },
    /// A runtime cannot be reached, and whether its process lives is not known. Nothing is settled: messages to it wait
    /// until [`Event::RuntimeReachable`], and no tessera is placed there.
    RuntimeUnreachable(RuntimeId),
    /// A runtime can be reached again, and no message to it was lost.
    RuntimeReachable(RuntimeId),
    /// The connection to a peer was lost; both runtimes live and neither is the head. Every message received by it has
    /// been handled; messages are sent by the next connection from now on.
    LinkLost {
        /// The peer.
        peer: RuntimeId,
        /// "the connection between worker:0:0 and worker:0:1 ended".
        cause: String,
    },
    /// The program's placement strategy answered [`Action::ChooseWorker`] (head only).
    WorkerChosen {
        /// The tessera to place.
        tessera: TesseraId,
        /// The worker, or why there is none.
        place: Result<RuntimeId, String>,
    },
    /// This runtime stops: every handle that has not completed fails with this cause.
    RuntimeStopped(String),
    /// No more workers will join: calls that wait for a worker fail with this reason (head only).
    WorkersExhausted(String),
}

/// An output of the state machine, for the engine to carry out.
#[derive(Debug)]
pub enum Action<H> {
    /// Send a message. Messages to one peer keep their order.
    Send {
        /// The peer.
        to: RuntimeId,
        /// The message.
        message: RulesMessage,
    },
    /// Dispatch a call to the executor. The plain calls of one runtime run one at a time in the order of dispatch;
    /// coroutine calls start in that order and interleave.
    Run(ReadyCall),
    /// Cancel a call that was dispatched: do not start it, or cancel its coroutine if that runs. The executor answers at
    /// once: [`Event::CallFinished`] if the call never starts, [`Event::CallIsRunning`] if it runs, and its outcome
    /// follows.
    Revoke(TaskId),
    /// Do not start a call that was dispatched, because its caller cannot receive the outcome any more. If it never
    /// starts, [`Event::CallFinished`] follows; if it runs, it goes on.
    Prevent(TaskId),
    /// A tessera of this runtime was placed, or its placement failed.
    TesseraPlaced(TesseraId),
    /// Drop the living object of a tessera.
    DropTessera(TesseraId),
    /// Drop the living result of a task that ran here.
    DropResult(TaskId),
    /// No other runtime refers to a buffer of this runtime's store any more.
    BufferReleased(BufferId),
    /// A task has ended, or a requested outcome has arrived.
    Complete {
        /// The handle of the submission or request.
        handle: H,
        /// The outcome.
        outcome: Arc<Outcome>,
    },
    /// Ask the program's placement strategy for a worker (head only, if the program has one).
    ChooseWorker(TesseraId),
    /// Start the warehouse of that machine (head only).
    StartWarehouse(NodeId),
    /// A runtime has joined, as far as this runtime knows.
    MemberJoined(Member),
    /// A runtime has died: nothing more is sent to it.
    MemberDied {
        /// The dead runtime.
        member: Member,
        /// The cause of its death.
        cause: String,
    },
    /// Write a line to the log.
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
