//! An engine from its start to the loop of its I/O thread.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, Weak};

use mosaic_core::event::Role;
use mosaic_core::id::RuntimeId;
use mosaic_core::machine::{Config as Rules, Machine};
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use crate::engine::Engine;
use crate::engine::driver::State;
use crate::engine::inner::Shared;
use crate::engine::wait::HomeSignal;
use crate::error::EngineError;
use crate::executor::Executor;
use crate::launcher::guard::Bound;
use crate::net::connections::Lines;
use crate::net::listener;
use crate::net::reader::Inlets;
use crate::node::attach::Attached;
use crate::node::descriptors::Descriptors;
use crate::node::directory::Directory;
use crate::node::process::Process;
use crate::node::{Launch, Node};
use crate::roles::WorkerSeat;
use crate::store::{Store, StoreSettings};
use crate::sync::primitives::lock;
use crate::sync::threads;
use crate::telemetry::{Arrivals, Recorder};

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
        attached: Option<(Attached, Bound)>,
    ) -> Result<Self, EngineError> {
        let seat = WorkerSeat {
            directory: directory.path().into(),
            runtime: me,
            uid,
            role: Role::Head,
            head: None,
            parent: None,
            monitor: None,
        };
        let node = Some((launch, attached));
        Self::start_with(seat, directory, config, executor, node)
    }

    /// The same for a worker or a warehouse.
    pub(crate) fn start_worker(
        seat: WorkerSeat,
        directory: Directory,
        config: &EngineConfig,
        executor: Arc<dyn Executor>,
    ) -> Result<Self, EngineError> {
        Self::start_with(seat, directory, config, executor, None)
    }

    fn start_with(
        seat: WorkerSeat,
        directory: Directory,
        config: &EngineConfig,
        executor: Arc<dyn Executor>,
        node: Option<(Launch, Option<(Attached, Bound)>)>,
    ) -> Result<Self, EngineError> {
        let (me, uid) = (seat.runtime, seat.uid);
        let descriptors = Descriptors::raise(seat.head.is_some());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let home_signal = HomeSignal::new()?;
        let inlets = Inlets::new()?;
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
        let shared = Arc::new_cyclic(|myself| Shared {
            me,
            role: seat.role,
            store,
            recorder: Recorder::new(me.0, &uid, &executor),
            uid,
            directory,
            inlets,
            executor,
            notices: Arc::default(),
            node: node.map(|(launch, attached)| Node::new(launch, attached, Weak::clone(myself))),
            max_pending: config.max_pending,
            state: Mutex::new(State {
                machine: Machine::new(rules),
                actions: Vec::new(),
                ready: Vec::new(),
                peers: FxHashMap::default(),
                dirty: Vec::new(),
                arrivals: Arrivals::default(),
            }),
            descriptors: Mutex::new(Some(descriptors)),
            inbox: Mutex::default(),
            names: Mutex::default(),
            notes: Mutex::default(),
            signalled: AtomicBool::new(false),
            inbox_filled: Notify::new(),
            pending: AtomicUsize::new(0),
            sequence: AtomicU64::new(1),
            stopped: AtomicBool::new(false),
            watchers: Mutex::default(),
            home_signal,
            timers: Mutex::default(),
            timers_changed: Notify::new(),
            io: Mutex::new(Some(runtime.handle().clone())),
            myself: Weak::clone(myself),
            io_thread: Mutex::default(),
            head_process: seat.head.and_then(Process::open),
            parent_process: seat
                .parent
                .filter(|parent| seat.head.is_some_and(|head| head != *parent))
                .and_then(Process::open),
            processes: Mutex::default(),
            lines: Lines::default(),
            monitor_process: seat.monitor,
            ended: Notify::new(),
        });
        threads::notice_forks();
        let socket = std::os::unix::net::UnixListener::bind(shared.directory.socket(me))?;
        socket.set_nonblocking(true)?;
        let engine = Self { shared };
        let for_thread = engine.clone();
        let thread = threads::spawn("mosaic-io", move || for_thread.io_loop(runtime, socket))?;
        *lock(&engine.shared.io_thread) = Some(thread);
        Ok(engine)
    }

    fn io_loop(self, runtime: tokio::runtime::Runtime, socket: std::os::unix::net::UnixListener) {
        let shared = self.shared;
        runtime.block_on(async {
            tokio::spawn(listener::listen(Arc::clone(&shared), socket));
            tokio::spawn(Inlets::watch(Arc::clone(&shared)));
            tokio::spawn(Shared::run_timers(Arc::clone(&shared)));
            if let Some(node) = &shared.node {
                node.start(&shared);
            } else {
                tokio::spawn(listener::join(Arc::clone(&shared)));
            }
            let ended = shared.ended.notified();
            tokio::pin!(ended);
            loop {
                tokio::select! {
                    () = &mut ended => break,
                    () = shared.inbox_filled.notified() => shared.process_inbox(),
                }
            }
        });
        // Tasks hold the shared state: they go before it does.
        drop(runtime);
        shared.notices.close();
        shared.end_with_head();
    }
}
