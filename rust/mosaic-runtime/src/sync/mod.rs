//! Locks, and what threads and event loops wait for.
//!
//! | module | what it owns |
//! | --- | --- |
//! | this one | the lock order of the runtime and of the bindings |
//! | [`order`] | [`Rank`], the lock order as code, and its check in debug builds |
//! | [`lock`] | [`Mutex`], [`RwLock`] and [`Condvar`], each lock with its rank |
//! | [`primitives`] | the locks and atomics below them, which `make loom` replaces |
//! | [`completion`] | the end and the value of one task, and its waiters |
//! | [`mailbox`] | completions for a foreign event loop, one wake-up a batch |
//! | [`signal`] | a wake-up as a file descriptor: eventfd, or a pipe |
//! | [`threads`] | the engine's own threads, their signal mask, detection of forks |
//!
//! # The lock order
//!
//! A thread takes locks downwards in this table only, and never two of one row (`LOCK-1`, [`order`]). Every lock of the
//! runtime and of the bindings is a row; no other module states an order.
//!
//! **The GIL comes before every row.** A thread that has the GIL may take any lock, for a few instructions that do not
//! call into Python. A thread that holds a lock neither attaches to Python nor detaches from it, for it would wait for
//! the GIL with the lock (`LOCK-2`, [`order`]): the bindings check each detach. No thread enters the program's code with a lock.
//!
//! "I/O" is the I/O thread of an engine, "any" a thread of the program, an executor's thread or the I/O thread. A lane
//! is the main thread of an executor, a loop the thread of an event loop.
//!
//! | rank | lock | what it guards | threads |
//! | --- | --- | --- | --- |
//! | `Test` | `tests/leaks.rs: ALONE` | tests that count what their whole process has: one at a time | any |
//! | `Program` | locks of tests and benches | state of the program's own code | any |
//! | `EngineThread` | `engine/inner.rs: io_thread` | the handle of the I/O thread; held through a stop, so that a second caller waits for the first | any but I/O |
//! | `MonitorThread` | `launcher/monitor.rs: thread` | the handle of the monitor's thread | any |
//! | `Reader` | `net/reader.rs: reader` | bytes and files received of one peer, until their messages are processed | I/O, inline poller |
//! | `Driver` | `engine/inner.rs: driver` | the state machine, the send queues, the states of accepted calls | any |
//! | `RecorderFile` | `telemetry/mod.rs: path` | the file of the recording; held through a switch | any |
//! | `RecorderThread` | `telemetry/writer.rs: thread` | the handle of the recorder's thread | any |
//! | `RecorderBuffer` | `telemetry/mod.rs: calls, arrivals, runs, functions` | rows that wait to be written; four locks, one at a time | any |
//! | `RecorderCommands` | `telemetry/writer.rs: state` | what wakes the recorder's thread | any |
//! | `Host` | bindings, `host.rs: CURRENT` | the engine of this process | any, with the GIL |
//! | `LivingObjects` | bindings, `executor.rs: objects` | the Python object of each tessera | lane, loop, with the GIL |
//! | `ConcurrentTesserae` | bindings, `executor.rs: concurrent` | tesserae whose calls interleave | lane, loop, with the GIL |
//! | `LivingResults` | bindings, `executor.rs: results` | results that stay as Python objects | lane, loop, with the GIL; the holder of `Driver` |
//! | `WaitingCoroutines` | bindings, `executor.rs: waiting` | coroutine calls that no runner has taken | loop |
//! | `SuspendedCoroutines` | bindings, `executor.rs: suspended` | the asyncio tasks of suspended coroutines | loop |
//! | `CoroutineContexts` | bindings, `executor.rs: contexts` | the context that a tessera's coroutines copy | lane, loop, with the GIL |
//! | `EventLoop` | bindings, `executor.rs: event_loop` | the attached event loop | lane, loop, with the GIL |
//! | `EventLoops` | bindings, `asyncio.rs: known` | the mailbox of each event loop | loops, with the GIL |
//! | `LoopFutures` | bindings, `asyncio.rs: inner` | futures that wait for a token; held while the mailbox is drained | loop, with the GIL |
//! | `DecodedValue` | bindings, `decoded_once.rs: object` | a decoded value or exception | any, with the GIL |
//! | `DecodeWaits` | bindings, `decoded_once.rs: WAITS` | threads that wait for one that decodes | any, with the GIL |
//! | `NamePickles` | bindings, `by_name.rs: KNOWN` | pickles of functions and classes by name | any, with the GIL |
//! | `CallOrigins` | bindings, `call_context.rs: TRACING` | the functions that trace the origins of calls | any, with the GIL |
//! | `InterruptPipe` | bindings, `signals.rs: ends` | the pipe that Unix signals are written to | program's main thread |
//! | `LauncherDirectory` | bindings, `launcher.rs: place` | a directory that no monitor has taken yet | any |
//! | `Store` | `store/mod.rs: open` | the store, once it is open; held while it opens | any |
//! | `StoreImports` | `store/mod.rs: imports` | files of other processes | any |
//! | `StoreExports` | `store/inner.rs: exported` | pins of exported buffers | any |
//! | `ViewExtent` | `store/view.rs: open` | the extent that a program writes to; held while it is frozen | any |
//! | `BufferPlace` | `store/buffer.rs: place` | where a buffer lies | any |
//! | `StoreTable` | `store/inner.rs: table` | the catalog and the buffers by id | any |
//! | `PoolSlabs` | `store/pool.rs: slabs` | the slabs of a pool | any |
//! | `SlabSpace` | `store/pool.rs: space` | the free ranges of a slab | any |
//! | `SpillFile` | `store/spill.rs: state` | the spill file and its free ranges | any |
//! | `LivingViews` | `store/view.rs: living` | views by address | any |
//! | `CachedMappings` | `store/view.rs: mappings` | clean mappings without a view | any |
//! | `PageMap` | `store/inner.rs: pagemap` | the open page map | any |
//! | `Reclaimer` | `store/reclaim.rs: state` | when memory was used last; the handle of the reclaimer's thread | any, reclaimer |
//! | `FreedCallback` | `store/quota.rs: on_freed` | what is called when memory is freed | any |
//! | `Inbox` | `engine/inner.rs: inbox` | events that wait for the driver | any |
//! | `EngineMessages` | `engine/inner.rs: engine_messages` | messages that the state machine does not handle | any |
//! | `Names` | `engine/inner.rs: names` | members by name | any |
//! | `MemberProcesses` | `engine/inner.rs: processes` | processes of other members | any |
//! | `Watchers` | `engine/inner.rs: watchers` | threads that wait for members or capacity | any |
//! | `Timers` | `engine/inner.rs: timers` | time limits of calls | any |
//! | `IoRuntime` | `engine/inner.rs: io` | the handle of the I/O thread's tokio runtime | any |
//! | `EngineDescriptors` | `engine/inner.rs: descriptors` | the raised limit of open files | any |
//! | `ReadHalves` | `net/reader.rs: all` | the read halves and their poller | any |
//! | `ReadError` | `net/reader.rs: error` | why a stream ended | I/O, inline poller |
//! | `Connections` | `net/connections.rs` | connections by peer | I/O |
//! | `AttachedAgent` | `node/mod.rs: attached` | the connections to agent and monitor until they are served | I/O |
//! | `AgentProcess` | `node/mod.rs: agent` | the process of the node agent | any |
//! | `NodeWorkers` | `node/mod.rs: workers` | worker processes of this head | any |
//! | `NodeFailure` | `node/mod.rs: gave_up` | why no worker is started any more | any |
//! | `AgentVerdict` | `node/agent_link.rs: verdict` | how the monitor says the agent ended | I/O |
//! | `AgentDrains` | `node/agent_link.rs: draining` | drains of output that the program waits for | any |
//! | `Children` | `node/processes.rs: children` | child processes; held while one is killed, so that its number is still its own | I/O |
//! | `UnstartedChildren` | `node/processes.rs: unstarted` | children that wait for file descriptors | I/O |
//! | `KillCounts` | `node/processes.rs: kills` | kills for want of memory that the system has counted | I/O |
//! | `LastWords` | `node/processes.rs: last_words` | the last lines on a child's standard error | I/O |
//! | `OutputPipes` | `node/stdio.rs: pipes` | pipes that are open; held while they are polled | any |
//! | `AgentOrders` | `launcher/monitor.rs: orders` | what agents are ordered to do | any |
//! | `AdmittedHead` | `launcher/monitor.rs: head` | the process of the admitted head | I/O of the monitor |
//! | `AgentDescriptors` | `launcher/agent.rs: descriptors` | the raised limit of open files of an agent | I/O of the agent |
//! | `OutputDebt` | `launcher/agent.rs: owed` | output that was sent beyond the credit | I/O of the agent |
//! | `DirectoryLock` | `node/directory.rs: lock` | the file lock of a runtime directory | any |
//! | `DescriptorReserve` | `node/descriptors.rs: RESERVE` | file descriptors in reserve | any |
//! | `Lane` | `executor/lane.rs: queue` | jobs of a lane | lane, the holder of `Driver` |
//! | `GroupWaiter` | `sync/completion.rs: waiter` | the waiter for many tasks | any |
//! | `Completion` | `sync/completion.rs: inner` | outcome and waiters of a task | any |
//! | `Notices` | `notice.rs: queue` | notices to the program | any |
//! | `Mailbox` | `sync/mailbox.rs: queue` | entries for an event loop | any |
//! | `ReducePortions` | `reduce/mod.rs: portions` | portions that no thread has taken | threads of one reduction |
//! | `Signal` | `sync/signal.rs: ends` | the descriptor of a wake-up; read while a thread polls it | any |
//!
//! The launcher's two asynchronous mutexes (`turn`) are no rows: tasks await them, and hold no lock of the table
//! across an await.

pub mod completion;
pub mod lock;
pub mod mailbox;
pub mod order;
pub(crate) mod primitives;
pub mod signal;
pub mod threads;

pub use lock::{Condvar, Mutex, MutexGuard, RwLock};
pub use order::Rank;
pub(crate) use primitives::AsyncMutex;
