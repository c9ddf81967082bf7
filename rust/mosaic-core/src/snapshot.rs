//! What the owners of a machine remember, as rows: for tests, for people who look for a leak, and for tools that explain
//! what a runtime waits for. Rows are in the order of their ids.

use crate::id::{ObjectId, RuntimeId, TaskId, TesseraId};
use crate::member::Member;
pub use crate::recount::Registration;
use crate::wire::RulesMessage;

/// Everything that a machine remembers.
#[derive(Clone, PartialEq, Debug)]
pub struct Snapshot {
    /// Tasks that this runtime owns, and routes to tesserae.
    pub caller: CallerSnapshot,
    /// Tesserae that live here, and calls that have arrived.
    pub callee: CalleeSnapshot,
    /// Fetches, and what they wait for.
    pub results: ResultsSnapshot,
    /// Values that programs put.
    pub values: ValuesSnapshot,
    /// Reference counts.
    pub references: ReferencesSnapshot,
    /// The runtimes that take part.
    pub membership: MembershipSnapshot,
    /// Barriers that have not passed.
    pub barriers: Vec<BarrierRow>,
    /// Peers whose recount has come in part.
    pub recounts: Vec<RuntimeId>,
    /// On the head: tesserae without a worker.
    pub unplaced: Vec<TesseraId>,
    /// Messages that wait for runtimes that cannot be reached.
    pub waiting: Vec<WaitingRow>,
}

impl Snapshot {
    /// Whether nothing at all is remembered of tasks, tesserae, values and references.
    pub fn is_blank(&self) -> bool {
        self.caller == CallerSnapshot::default()
            && self.callee == CalleeSnapshot::default()
            && self.results == ResultsSnapshot::default()
            && self.values == ValuesSnapshot::default()
            && self.references.held.is_empty()
            && self.references.counted.is_empty()
            && self.recounts.is_empty()
            && self.waiting.is_empty()
    }
}

/// A message that waits for a runtime that cannot be reached.
#[derive(Clone, PartialEq, Debug)]
pub struct WaitingRow {
    /// The runtime.
    pub to: RuntimeId,
    /// The message.
    pub message: RulesMessage,
}

/// The caller's tables.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct CallerSnapshot {
    /// Tasks that this runtime owns.
    pub tasks: Vec<TaskRow>,
    /// Routes to tesserae.
    pub routes: Vec<RouteRow>,
}

/// A task that this runtime owns.
#[derive(Clone, PartialEq, Debug)]
pub struct TaskRow {
    /// The task.
    pub task: TaskId,
    /// The tessera that it calls.
    pub tessera: TesseraId,
    /// The runtime that it was sent to.
    pub host: Option<RuntimeId>,
    /// Whether it has ended.
    pub ended: bool,
    /// Handles of programs, and calls of this runtime that depend on it.
    pub handles: u32,
    /// Subscribers that have not been notified.
    pub subscribers: usize,
}

/// What a caller knows of the place of a tessera.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoutePlace {
    /// The head or the owner was asked.
    Asked,
    /// The host.
    At(RuntimeId),
    /// The host died.
    Astray,
    /// Nowhere, for good.
    Lost,
}

/// The route to a tessera.
#[derive(Clone, PartialEq, Debug)]
pub struct RouteRow {
    /// The tessera.
    pub tessera: TesseraId,
    /// Where it lives.
    pub place: RoutePlace,
    /// Calls that are not sent.
    pub queued: usize,
    /// Calls that were sent and have not ended.
    pub in_flight: usize,
    /// The task that the next call waits for.
    pub blocked_on: Option<TaskId>,
}

/// The callee's tables.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct CalleeSnapshot {
    /// Tesserae that live here.
    pub tesserae: Vec<TesseraRow>,
    /// Calls that have arrived and whose results are not released.
    pub calls: Vec<InboundRow>,
    /// Tesserae whose calls came before their construction.
    pub early: Vec<TesseraId>,
}

/// The state of a hosted tessera.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TesseraState {
    /// Its construction has not ended.
    Building,
    /// It takes calls.
    Listening,
    /// Its construction failed.
    Failed,
    /// It was stopped.
    Stopped,
}

/// A tessera that lives here.
#[derive(Clone, PartialEq, Debug)]
pub struct TesseraRow {
    /// The tessera.
    pub tessera: TesseraId,
    /// Its state.
    pub state: TesseraState,
    /// Calls that have not started.
    pub queued: usize,
    /// Calls that were dispatched and have not ended.
    pub running: usize,
}

/// The state of a call that has arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallState {
    /// It waits for its turn or its arguments.
    Waiting,
    /// It was dispatched.
    Running,
    /// It has ended.
    Ended,
}

/// A call that has arrived.
#[derive(Clone, PartialEq, Debug)]
pub struct InboundRow {
    /// Its task.
    pub task: TaskId,
    /// The runtime that it came from.
    pub caller: RuntimeId,
    /// The tessera that it calls.
    pub tessera: TesseraId,
    /// Its state.
    pub state: CallState,
    /// Arguments that have not arrived.
    pub missing: u32,
}

/// The tables of results.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct ResultsSnapshot {
    /// Fetches that are not answered.
    pub fetches: Vec<FetchRow>,
    /// Tasks whose calls are expected here.
    pub expected: Vec<TaskId>,
    /// Tasks of other runtimes for whose values references are held.
    pub borrowed: Vec<TaskId>,
}

/// A fetch that is not answered.
#[derive(Clone, PartialEq, Debug)]
pub struct FetchRow {
    /// The task.
    pub task: TaskId,
    /// Whether the value is wanted, or only the end.
    pub value: bool,
    /// The runtime that was asked.
    pub from: RuntimeId,
    /// Who waits for the answer.
    pub subscribers: usize,
}

/// The tables of values that programs put.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct ValuesSnapshot {
    /// Values that are here.
    pub stored: Vec<TaskId>,
    /// Values on their way to the head.
    pub sent: Vec<TaskId>,
    /// On the head: values that were dropped before they came.
    pub dropped: Vec<TaskId>,
}

/// The reference counts.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct ReferencesSnapshot {
    /// Objects that this runtime holds.
    pub held: Vec<ReferenceRow>,
    /// Objects of which this runtime counts other holders.
    pub counted: Vec<HolderRow>,
    /// Deaths after which this runtime has registrations to make.
    pub draining: Vec<RuntimeId>,
}

/// An object that this runtime holds.
#[derive(Clone, PartialEq, Debug)]
pub struct ReferenceRow {
    /// The object.
    pub object: ObjectId,
    /// The runtime that counts its holders.
    pub authority: RuntimeId,
    /// Whether it counts this one.
    pub registration: Registration,
    /// Handles, arguments and values here that refer to it.
    pub uses: usize,
    /// Messages on their way that refer to it.
    pub in_flight: usize,
}

/// An object of which this runtime counts the other holders.
#[derive(Clone, PartialEq, Debug)]
pub struct HolderRow {
    /// The object.
    pub object: ObjectId,
    /// The holders.
    pub living: Vec<RuntimeId>,
    /// Dead holders whose messages may still arrive.
    pub dead: Vec<RuntimeId>,
}

/// The membership.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct MembershipSnapshot {
    /// The members that have not died.
    pub living: Vec<Member>,
    /// The runtimes that have died.
    pub dead: Vec<RuntimeId>,
    /// The runtimes that cannot be reached.
    pub unknown: Vec<RuntimeId>,
}

/// A barrier that has not passed.
#[derive(Clone, PartialEq, Debug)]
pub struct BarrierRow {
    /// Its number.
    pub number: u64,
    /// Tasks of this runtime that have not ended.
    pub unended: usize,
    /// Members that have not answered.
    pub unanswered: usize,
}
