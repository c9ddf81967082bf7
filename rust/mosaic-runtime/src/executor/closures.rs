//! An executor for tesserae written in Rust: for programs, tests and benches without Python.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use mosaic_core::call::{CallKind, Failure, FailureKind, Outcome, ReadyCall, Slot};
use mosaic_core::id::{TaskId, TesseraId};
use mosaic_core::payload::Payload;
use rustc_hash::FxHashMap;

use crate::engine::Engine;
use crate::executor::lane::{Job, Lane};
use crate::executor::{AcceptedCall, Executor};
use crate::sync::order::assert_none_held;

/// A tessera made of Rust.
pub trait Actor: Send {
    /// Run a method on the bytes of its arguments and of the values of its dependencies: the positional ones
    /// in their order, then the others by name.
    ///
    /// # Errors
    /// A message, which becomes the failure of the call.
    fn call(&mut self, method: &str, arguments: &Bytes, values: &[Bytes]) -> Result<Bytes, String>;
}

impl<F> Actor for F
where
    F: FnMut(&str, &Bytes, &[Bytes]) -> Result<Bytes, String> + Send,
{
    fn call(&mut self, method: &str, arguments: &Bytes, values: &[Bytes]) -> Result<Bytes, String> {
        self(method, arguments, values)
    }
}

/// Makes an actor of the class that the call names.
pub type Build = dyn Fn(&str) -> Option<Box<dyn Actor>> + Send + Sync;

/// Runs actors on whichever thread calls [`Closures::run_lane`].
pub struct Closures {
    build: Box<Build>,
    lane: Lane,
}

impl std::fmt::Debug for Closures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Closures")
            .field("lane", &self.lane)
            .finish_non_exhaustive()
    }
}

impl Closures {
    /// An executor that makes its actors with `build`.
    pub fn new(
        build: impl Fn(&str) -> Option<Box<dyn Actor>> + Send + Sync + 'static,
    ) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            build: Box::new(build),
            lane: Lane::new()?,
        }))
    }

    /// An executor for a program that hosts nothing itself.
    pub fn none() -> io::Result<Arc<Self>> {
        Self::new(|_| None)
    }

    /// Run calls on this thread until the engine stops.
    pub fn run_lane(&self, engine: &Engine) {
        let mut actors = FxHashMap::default();
        let mut batch = VecDeque::new();
        while engine.take_jobs(&self.lane, &mut batch) {
            while let Some(job) = batch.pop_front() {
                match job {
                    Job::Run(AcceptedCall { ready, state }) => {
                        let task = ready.call.task;
                        if !state.begin() {
                            continue;
                        }
                        let recorder = engine.recorder();
                        let outer = recorder.on().then(|| recorder.began(task, false));
                        let outcome = self.run_call(&mut actors, &ready);
                        if let Some(outer) = outer {
                            recorder.ended(&outcome, outer);
                        }
                        state.end(&outcome);
                        engine.finish(task, outcome, batch.is_empty() && self.lane.is_empty());
                    }
                    Job::DropTessera(tessera) => drop(actors.remove(&tessera)),
                    Job::DropResult(_) => {}
                }
            }
        }
        self.lane.signal().close();
    }

    fn run_call(
        &self,
        actors: &mut FxHashMap<TesseraId, Box<dyn Actor>>,
        ready: &ReadyCall,
    ) -> Outcome {
        assert_none_held("the program's code runs");
        let call = &ready.call;
        let result = match call.kind {
            CallKind::Construct => match (self.build)(&call.method) {
                Some(actor) => {
                    actors.insert(call.tessera, actor);
                    Ok(Bytes::new())
                }
                None => Err(format!("there is no class {}", call.method)),
            },
            CallKind::Method | CallKind::Function => match actors.get_mut(&call.tessera) {
                Some(actor) => {
                    // They came in the order in which they were ready.
                    let mut values: Vec<_> = ready.values.iter().collect();
                    values.sort_by_key(|(slot, ..)| match slot {
                        Slot::Positional(index) => (0, *index, ""),
                        Slot::Keyword(name) => (1, 0, name.as_str()),
                        Slot::Order => (2, 0, ""),
                    });
                    let values: Vec<_> = values
                        .iter()
                        .map(|(_, _, value)| value.body.clone())
                        .collect();
                    actor.call(&call.method, &call.arguments.body, &values)
                }
                None => Err(format!("{:?} has no actor", call.tessera)),
            },
            other => Err(format!("{other:?} needs Python")),
        };
        match result {
            Ok(body) => Outcome::Value(Payload {
                body,
                ..Payload::default()
            }),
            Err(message) => Outcome::Failed(Failure::new(FailureKind::Raised, message)),
        }
    }
}

impl Executor for Closures {
    fn run(&self, calls: &mut Vec<AcceptedCall>) {
        self.lane.push(calls.drain(..).map(Job::Run));
    }
    fn cancel_running(&self, _: TaskId) {}
    fn drop_tessera(&self, tessera: TesseraId) {
        self.lane.push([Job::DropTessera(tessera)]);
    }
    fn drop_result(&self, _: TaskId) {}
    fn warn(&self, _: &str) {}
    fn stop(&self) {
        self.lane.stop();
    }
}
