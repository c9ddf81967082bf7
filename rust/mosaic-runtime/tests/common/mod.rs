//! A head and workers inside one process, with actors made of closures.

#![allow(dead_code, reason = "every test binary uses a part of it")]

pub(crate) mod launcher;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mosaic_core::call::{CallKind, Dependency, Failure, FailureKind, Outcome, Slot, Source};
use mosaic_core::event::{Role, Submission};
use mosaic_core::id::{ObjectId, RuntimeId, TesseraId};
use mosaic_core::payload::Payload;
use mosaic_runtime::engine::{self, Engine, EngineConfig, EngineError};
use mosaic_runtime::executor::Executor;
use mosaic_runtime::executor::closures::{Actor, Closures};
use mosaic_runtime::node::Launch;
use mosaic_runtime::roles::{self, WorkerConfig};
use mosaic_runtime::sync::completion::{Callee, Completion, Stage};
use mosaic_runtime::sync::order::locks_taken;
use mosaic_runtime::sync::{Condvar, Mutex, Rank};

/// How long anything may take before its test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[expect(clippy::unnecessary_wraps, reason = "it is what every wait takes")]
pub(crate) fn deadline() -> Option<Instant> {
    Some(Instant::now() + PATIENCE)
}

/// What the actors of a network share with the test.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    open: bool,
    events: BTreeMap<String, usize>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            state: Mutex::with_default(Rank::Program),
            changed: Condvar::new(),
        }
    }
}

impl Gate {
    /// Block the calling actor until the test opens the gate.
    fn pass(&self) {
        let state = self.state.lock();
        drop(self.changed.wait_while(state, |state| !state.open));
    }

    /// Let everyone through from now on.
    pub(crate) fn open(&self) {
        let mut state = self.state.lock();
        state.open = true;
        self.changed.notify_all();
    }

    /// Something happened.
    fn note(&self, event: &str) {
        let mut state = self.state.lock();
        *state.events.entry(event.into()).or_default() += 1;
        self.changed.notify_all();
    }

    /// How often something has happened.
    pub(crate) fn count(&self, event: &str) -> usize {
        let state = self.state.lock();
        state.events.get(event).copied().unwrap_or_default()
    }

    /// Block until something has happened.
    pub(crate) fn wait(&self, event: &str) {
        let state = self.state.lock();
        let missing = |state: &mut GateState| !state.events.contains_key(event);
        let (state, timed_out) = self.changed.wait_while_for(state, PATIENCE, missing);
        drop(state);
        assert!(!timed_out, "no {event} in {PATIENCE:?}");
    }
}

/// The actor of every test.
struct Subject {
    gate: Arc<Gate>,
    record: Vec<u8>,
}

impl Actor for Subject {
    fn call(&mut self, method: &str, arguments: &Bytes, values: &[Bytes]) -> Result<Bytes, String> {
        self.gate.note(method);
        match method {
            "echo" => Ok(arguments.clone()),
            "record" => {
                self.record.extend_from_slice(arguments);
                Ok(Bytes::new())
            }
            "recorded" => Ok(std::mem::take(&mut self.record).into()),
            // Everything that came, one after another.
            "join" => Ok([&arguments[..]]
                .into_iter()
                .chain(values.iter().map(|value| &value[..]))
                .collect::<Vec<_>>()
                .concat()
                .into()),
            "block" => {
                self.gate.pass();
                Ok(Bytes::new())
            }
            "raise" => Err("as asked".into()),
            "locks" => Ok(locks_taken().unwrap_or(0).to_le_bytes().to_vec().into()),
            other => Err(format!("there is no method {other}")),
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.gate.note("dropped");
    }
}

/// A worker inside this process.
pub(crate) struct Worker {
    pub(crate) engine: Engine,
    lane: Option<JoinHandle<()>>,
}

impl Worker {
    /// Join the runtime in that directory under that number.
    pub(crate) fn join(head: &Engine, number: u32, gate: &Arc<Gate>) -> Self {
        let gate = Arc::clone(gate);
        let executor = Closures::new(move |class| {
            let actor = Subject {
                gate: Arc::clone(&gate),
                record: Vec::new(),
            };
            (class == "Subject").then(|| Box::new(actor) as Box<dyn Actor>)
        })
        .expect("a lane");
        let worker = WorkerConfig {
            directory: head.directory(),
            runtime: RuntimeId(number),
            uid: format!("inside:{number}"),
            role: Role::Worker,
            head: None,
            parent: None,
            monitor: None,
        };
        let engine =
            roles::worker(worker, &EngineConfig::default(), executor.clone()).expect("a worker");
        let for_lane = engine.clone();
        let lane = std::thread::spawn(move || executor.run_lane(&for_lane));
        Self {
            engine,
            lane: Some(lane),
        }
    }

    /// Let its lane run out; its methods must be able to end.
    fn join_lane(&mut self) {
        if let Some(lane) = self.lane.take() {
            lane.join().expect("a lane that did not panic");
        }
    }
}

/// A head and workers, which end with it.
pub(crate) struct Network {
    pub(crate) head: Engine,
    pub(crate) workers: Vec<Worker>,
    pub(crate) gate: Arc<Gate>,
}

/// Start a head without workers of its own.
pub(crate) fn head(config: &EngineConfig) -> Engine {
    head_with(config, Closures::none().expect("a lane"))
}

/// Start such a head with an executor.
pub(crate) fn head_with(config: &EngineConfig, executor: Arc<dyn Executor>) -> Engine {
    let launch = Launch {
        command: Vec::new(),
        environment: Vec::new(),
        workers: 0,
        grace: PATIENCE,
    };
    roles::head(config, launch, executor).expect("a head")
}

impl Network {
    pub(crate) fn start(workers: u32) -> Self {
        Self::start_with(workers, &EngineConfig::default())
    }

    pub(crate) fn start_with(workers: u32, config: &EngineConfig) -> Self {
        let (head, gate) = (head(config), Arc::default());
        let workers: Vec<_> = (1..=workers)
            .map(|number| Worker::join(&head, number, &gate))
            .collect();
        head.wait_ready(workers.len(), deadline())
            .expect("every worker");
        Self {
            head,
            workers,
            gate,
        }
    }

    /// A subject on that worker, counted from 0.
    pub(crate) fn subject(&self, worker: usize) -> Proxy {
        Proxy::build(
            &self.head,
            "Subject",
            Some(self.workers[worker].engine.runtime()),
        )
        .expect("a subject")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.gate.open();
        self.head.stop(None);
        for worker in &mut self.workers {
            worker.engine.stop(None);
            worker.join_lane();
        }
    }
}

/// A handle to a tessera, as a program holds it.
pub(crate) struct Proxy {
    engine: Engine,
    tessera: TesseraId,
    pub(crate) construction: Task,
}

impl Proxy {
    pub(crate) fn build(
        engine: &Engine,
        class: &str,
        place: Option<RuntimeId>,
    ) -> Result<Self, EngineError> {
        let tessera = TesseraId {
            owner: engine.runtime(),
            sequence: engine.next_sequence(),
        };
        let request = Request {
            kind: CallKind::Construct,
            place,
            ..Request::default()
        };
        let construction = submit(engine, tessera, class, request)?;
        Ok(Self {
            engine: engine.clone(),
            tessera,
            construction,
        })
    }

    pub(crate) fn submit(&self, method: &str, request: Request<'_>) -> Result<Task, EngineError> {
        submit(&self.engine, self.tessera, method, request)
    }

    pub(crate) fn call(&self, method: &str, arguments: impl Into<Bytes>) -> Task {
        self.submit(
            method,
            Request {
                arguments: arguments.into(),
                ..Request::default()
            },
        )
        .expect("room")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.engine.release(ObjectId::Tessera(self.tessera), true);
    }
}

/// What a call may be given.
pub(crate) struct Request<'a> {
    pub(crate) kind: CallKind,
    pub(crate) arguments: Bytes,
    pub(crate) after: &'a [&'a Task],
    pub(crate) place: Option<RuntimeId>,
    pub(crate) timeout: Option<Duration>,
}

impl Default for Request<'_> {
    fn default() -> Self {
        Self {
            kind: CallKind::Method,
            arguments: Bytes::new(),
            after: &[],
            place: None,
            timeout: None,
        }
    }
}

fn submit(
    engine: &Engine,
    tessera: TesseraId,
    method: &str,
    request: Request<'_>,
) -> Result<Task, EngineError> {
    let name: Arc<str> = method.into();
    let task = Completion::new(
        engine.next_task(),
        Callee::new(tessera, "Subject".into(), Arc::clone(&name)),
    );
    let arguments = Payload {
        body: request.arguments,
        ..Payload::default()
    };
    let mut call = engine::call(task.id, tessera, request.kind, name, arguments);
    call.dependencies = request
        .after
        .iter()
        .zip(0..)
        .map(|(task, index)| Dependency {
            slot: Slot::Positional(index),
            task: task.completion.id,
            part: Bytes::new(),
            kept: false,
            source: Source::Unresolved {
                authority: task.completion.id.owner,
            },
        })
        .collect();
    let submission = Submission {
        handle: Arc::clone(&task),
        call,
        host: None,
        place: request.place,
        restarts: 0,
        resends: 0,
    };
    engine
        .submit(submission, request.timeout)
        .map_err(|(_, error)| error)?;
    Ok(Task {
        engine: engine.clone(),
        completion: task,
    })
}

/// A handle to a task, as a program holds it.
pub(crate) struct Task {
    engine: Engine,
    pub(crate) completion: Arc<Completion>,
}

impl Task {
    /// Wait for its value.
    pub(crate) fn value(&self) -> Result<Bytes, Box<Failure>> {
        self.engine
            .wait(&self.completion, Stage::End, deadline())
            .expect("an end");
        self.engine.request_value(&self.completion);
        self.engine
            .wait(&self.completion, Stage::Value, deadline())
            .expect("a value or a failure");
        self.completion.look(|outcome| match outcome {
            Some(Outcome::Value(value)) => Ok(value.body.clone()),
            Some(Outcome::Failed(failure)) => Err(failure.clone()),
            other => panic!("no end: {other:?}"),
        })
    }

    /// Wait for its failure, which must be of that kind; returns the message.
    pub(crate) fn failure(&self, kind: FailureKind) -> String {
        let failure = self.value().expect_err("a failure");
        assert_eq!(failure.kind, kind, "{failure:?}");
        failure.message
    }

    pub(crate) fn cancel(&self) {
        self.engine.cancel(self.completion.id);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.engine
            .release(ObjectId::Task(self.completion.id), false);
    }
}
