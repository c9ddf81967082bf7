//! Starts an engine: builds `EngineInner`, binds the socket, spawns the I/O thread and runs its loop.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Weak};

use mosaic_core::event::Role;
use mosaic_core::id::RuntimeId;
use mosaic_core::machine::{Config as Rules, Machine};
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use crate::engine::Engine;
use crate::engine::driver::Driver;
use crate::engine::inner::EngineInner;
use crate::engine::wait::SignalPool;
use crate::error::EngineError;
use crate::executor::Executor;
use crate::executor::call_states::CallStates;
use crate::launcher::guard::ParentDeathSignal;
use crate::net::connections::Connections;
use crate::net::listener;
use crate::net::reader::ReadHalves;
use crate::node::attach::Attached;
use crate::node::descriptors::Descriptors;
use crate::node::directory::Directory;
use crate::node::process::Process;
use crate::node::{Launch, Node};
use crate::roles::WorkerConfig;
use crate::store::{Store, StoreSettings};
use crate::sync::threads;
use crate::sync::{Mutex, Rank};
use crate::telemetry::{ReceivedCalls, Recorder};

/// What an engine is started with.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Most tasks of this runtime that may be unended at a time.
    pub max_pending: usize,
    /// Whether the program brings its own placement strategy (head only).
    pub foreign_strategy: bool,
    /// What the store may use.
    pub store: StoreSettings,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            max_pending: 4_000_000,
            foreign_strategy: false,
            store: StoreSettings::default(),
        }
    }
}

impl Engine {
    /// Start the I/O thread and listen.
    pub(crate) fn start(
        me: RuntimeId,
        uid: String,
        directory: Directory,
        config: &EngineConfig,
        executor: Arc<dyn Executor>,
        launch: Launch,
        attached: Option<(Attached, ParentDeathSignal)>,
    ) -> Result<Self, EngineError> {
        let runtime_config = WorkerConfig {
            directory: directory.path().into(),
            runtime: me,
            uid,
            role: Role::Head,
            head: None,
            parent: None,
            monitor: None,
        };
        let node = Some((launch, attached));
        Self::start_with(runtime_config, directory, config, executor, node)
    }

    /// Start the engine of a worker or a warehouse.
    pub(crate) fn start_worker(
        runtime_config: WorkerConfig,
        directory: Directory,
        config: &EngineConfig,
        executor: Arc<dyn Executor>,
    ) -> Result<Self, EngineError> {
        Self::start_with(runtime_config, directory, config, executor, None)
    }

    fn start_with(
        runtime_config: WorkerConfig,
        directory: Directory,
        config: &EngineConfig,
        executor: Arc<dyn Executor>,
        node: Option<(Launch, Option<(Attached, ParentDeathSignal)>)>,
    ) -> Result<Self, EngineError> {
        let (me, uid) = (runtime_config.runtime, runtime_config.uid);
        let descriptors = Descriptors::raise(runtime_config.head.is_some());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let signal_pool = SignalPool::new()?;
        let read_halves = ReadHalves::new()?;
        let (path, settings) = (directory.path().to_path_buf(), config.store.clone());
        let store = if me == RuntimeId::HEAD {
            Store::create(path, settings)?
        } else {
            Store::join(me, path, settings)
        };
        let rules = Rules {
            foreign_strategy: config.foreign_strategy,
            ..Rules::new(me)
        };
        let inner = Arc::new_cyclic(|myself| EngineInner {
            me,
            role: runtime_config.role,
            store,
            recorder: Recorder::new(me.0, &uid, &executor),
            uid,
            directory,
            read_halves,
            executor,
            notices: Arc::default(),
            node: node.map(|(launch, attached)| Node::new(launch, attached, Weak::clone(myself))),
            max_pending: config.max_pending,
            driver: Mutex::new(
                Rank::Driver,
                Driver {
                    machine: Machine::new(rules),
                    actions: Vec::new(),
                    ready: Vec::new(),
                    call_states: CallStates::default(),
                    send_queues: FxHashMap::default(),
                    dirty: Vec::new(),
                    received_calls: ReceivedCalls::default(),
                },
            ),
            descriptors: Mutex::new(Rank::EngineDescriptors, Some(descriptors)),
            inbox: Mutex::with_default(Rank::Inbox),
            names: Mutex::with_default(Rank::Names),
            engine_messages: Mutex::with_default(Rank::EngineMessages),
            signalled: AtomicBool::new(false),
            inbox_filled: Notify::new(),
            pending: AtomicUsize::new(0),
            sequence: AtomicU64::new(1),
            stopped: AtomicBool::new(false),
            watchers: Mutex::with_default(Rank::Watchers),
            signal_pool,
            timers: Mutex::with_default(Rank::Timers),
            timers_changed: Notify::new(),
            io: Mutex::new(Rank::IoRuntime, Some(runtime.handle().clone())),
            myself: Weak::clone(myself),
            io_thread: Mutex::with_default(Rank::EngineThread),
            head_process: runtime_config.head.and_then(Process::open),
            parent_process: runtime_config
                .parent
                .filter(|parent| runtime_config.head.is_some_and(|head| head != *parent))
                .and_then(Process::open),
            processes: Mutex::with_default(Rank::MemberProcesses),
            connections: Connections::default(),
            monitor_process: runtime_config.monitor,
            ended: Notify::new(),
        });
        threads::notice_forks();
        let socket = std::os::unix::net::UnixListener::bind(inner.directory.socket(me))?;
        socket.set_nonblocking(true)?;
        let engine = Self { inner };
        let for_thread = engine.clone();
        let thread = threads::spawn("mosaic-io", move || for_thread.io_loop(runtime, socket))?;
        *engine.inner.io_thread.lock() = Some(thread);
        Ok(engine)
    }

    fn io_loop(self, runtime: tokio::runtime::Runtime, socket: std::os::unix::net::UnixListener) {
        let inner = self.inner;
        runtime.block_on(async {
            tokio::spawn(listener::listen(Arc::clone(&inner), socket));
            tokio::spawn(ReadHalves::watch(Arc::clone(&inner)));
            tokio::spawn(EngineInner::run_timers(Arc::clone(&inner)));
            if let Some(node) = &inner.node {
                node.start(&inner);
            } else {
                tokio::spawn(listener::join(Arc::clone(&inner)));
            }
            let ended = inner.ended.notified();
            tokio::pin!(ended);
            loop {
                tokio::select! {
                    () = &mut ended => break,
                    () = inner.inbox_filled.notified() => inner.process_inbox(),
                }
            }
        });
        // Tasks hold the inner driver: they go before it does.
        drop(runtime);
        inner.notices.close();
        inner.end_with_head();
    }
}
