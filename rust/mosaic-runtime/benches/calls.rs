//! Calls between a head and workers, each beside what carries them: a bare Unix socket, and a bare channel between
//! threads. Everything runs in one process, so that no figure holds more than threads and sockets.

use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use mosaic_core::call::{CallKind, Dependency, Outcome, Slot, Source};
use mosaic_core::event::{Role, Submission};
use mosaic_core::id::{ObjectId, RuntimeId, TesseraId};
use mosaic_core::payload::Payload;
use mosaic_runtime::engine::{self, Engine, EngineConfig};
use mosaic_runtime::executor::closures::{Actor, Closures};
use mosaic_runtime::node::Launch;
use mosaic_runtime::roles::{self, WorkerConfig};
use mosaic_runtime::sync::completion::{Callee, Completion, Stage};

/// About what a small call weighs on the wire.
const SMALL: usize = 64;
const MANY: usize = 10_000;

/// Messages that go round through threads which pass on what they get, and come back.
trait Ring {
    /// Send that many messages of `payload`'s size, and take them back.
    fn go_round(&mut self, payload: &[u8], count: usize);
}

struct Sockets {
    first: UnixStream,
    last: UnixStream,
    stations: Vec<JoinHandle<()>>,
}

impl Sockets {
    fn new(stations: usize) -> Self {
        let (first, mut previous) = UnixStream::pair().expect("a pair");
        let mut threads = Vec::new();
        for _ in 0..stations {
            let (mut onward, next) = UnixStream::pair().expect("a pair");
            let mut source = std::mem::replace(&mut previous, next);
            threads.push(std::thread::spawn(move || {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(length @ 1..) = source.read(&mut buffer) {
                    if onward.write_all(&buffer[..length]).is_err() {
                        return;
                    }
                }
            }));
        }
        Self {
            first,
            last: previous,
            stations: threads,
        }
    }
}

impl Ring for Sockets {
    fn go_round(&mut self, payload: &[u8], count: usize) {
        let mut buffer = vec![0; 64 << 10];
        let mut back = 0;
        // As many at a time as a socket's buffer surely takes.
        let portion = (32 << 10) / payload.len();
        for sent in (0..count).step_by(portion) {
            let bytes = payload.len() * portion.min(count - sent);
            self.first
                .write_all(&payload.repeat(bytes / payload.len()))
                .expect("a station");
            back += bytes;
            while back > 0 {
                back -= self.last.read(&mut buffer).expect("a station");
            }
        }
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        let _ = self.first.shutdown(std::net::Shutdown::Both);
        for station in self.stations.drain(..) {
            let _ = station.join();
        }
    }
}

struct Channels {
    first: Option<SyncSender<Vec<u8>>>,
    last: Receiver<Vec<u8>>,
    stations: Vec<JoinHandle<()>>,
}

impl Channels {
    fn new(stations: usize) -> Self {
        let (first, mut previous) = sync_channel(MANY);
        let mut threads = Vec::new();
        for _ in 0..stations {
            let (onward, next) = sync_channel(MANY);
            let source: Receiver<Vec<u8>> = std::mem::replace(&mut previous, next);
            threads.push(std::thread::spawn(move || {
                source
                    .iter()
                    .take_while(|message| onward.send(message.clone()).is_ok())
                    .for_each(drop);
            }));
        }
        Self {
            first: Some(first),
            last: previous,
            stations: threads,
        }
    }
}

impl Ring for Channels {
    fn go_round(&mut self, payload: &[u8], count: usize) {
        let first = self.first.as_ref().expect("a first station");
        for _ in 0..count {
            first.send(payload.to_vec()).expect("a station");
        }
        for _ in 0..count {
            black_box(self.last.recv().expect("a station"));
        }
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        self.first = None;
        for station in self.stations.drain(..) {
            let _ = station.join();
        }
    }
}

/// A head and its workers in this process.
struct Network {
    head: Engine,
    workers: Vec<(Engine, JoinHandle<()>)>,
}

impl Network {
    fn new(workers: u32) -> Self {
        let launch = Launch {
            command: Vec::new(),
            environment: Vec::new(),
            workers: 0,
            grace: Duration::ZERO,
        };
        let head = roles::head(
            &EngineConfig::default(),
            launch,
            Closures::none().expect("a lane"),
        )
        .expect("a head");
        let workers: Vec<_> = (1..=workers)
            .map(|number| {
                let executor = Closures::new(|_| {
                    let mirror = |_: &str, arguments: &Bytes, values: &[Bytes]| {
                        Ok(values.first().unwrap_or(arguments).clone())
                    };
                    Some(Box::new(mirror) as Box<dyn Actor>)
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
                let engine = roles::worker(worker, &EngineConfig::default(), executor.clone())
                    .expect("a worker");
                let for_lane = engine.clone();
                (
                    engine,
                    std::thread::spawn(move || executor.run_lane(&for_lane)),
                )
            })
            .collect();
        head.wait_ready(workers.len(), None).expect("every worker");
        Self { head, workers }
    }

    fn construct(&self, worker: usize) -> TesseraId {
        let tessera = TesseraId {
            owner: RuntimeId::HEAD,
            sequence: self.head.next_sequence(),
        };
        let place = self.workers[worker].0.runtime();
        let built = self.submit(
            tessera,
            CallKind::Construct,
            Bytes::new(),
            None,
            Some(place),
        );
        self.finish(&built);
        tessera
    }

    fn call(
        &self,
        tessera: TesseraId,
        arguments: &Bytes,
        after: Option<&Completion>,
    ) -> Arc<Completion> {
        self.submit(tessera, CallKind::Method, arguments.clone(), after, None)
    }

    fn submit(
        &self,
        tessera: TesseraId,
        kind: CallKind,
        body: Bytes,
        after: Option<&Completion>,
        place: Option<RuntimeId>,
    ) -> Arc<Completion> {
        let name: Arc<str> = "mirror".into();
        let made = Completion::new(
            self.head.next_task(),
            Callee::new(tessera, Arc::clone(&name), Arc::clone(&name)),
        );
        let mut call = engine::call(
            made.id,
            tessera,
            kind,
            name,
            Payload {
                body,
                ..Payload::default()
            },
        );
        call.dependencies.extend(after.map(|task| Dependency {
            slot: Slot::Positional(0),
            task: task.id,
            part: Bytes::new(),
            kept: false,
            source: Source::Unresolved {
                authority: RuntimeId::HEAD,
            },
        }));
        let submission = Submission {
            handle: Arc::clone(&made),
            call,
            host: None,
            place,
            restarts: 0,
            resends: 0,
        };
        self.head
            .submit(submission, None)
            .map_err(|(_, error)| error)
            .expect("room");
        made
    }

    /// Wait for the end of a task, and let go of it.
    fn finish(&self, completion: &Arc<Completion>) {
        self.head
            .wait(completion, Stage::End, None)
            .expect("an end");
        completion.look(|outcome| {
            assert!(matches!(
                outcome,
                Some(Outcome::Value(_) | Outcome::Stored { .. })
            ));
        });
        self.release(completion);
    }

    fn release(&self, completion: &Completion) {
        self.head.release(ObjectId::Task(completion.id), false);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.head.stop(None);
        for (worker, lane) in self.workers.drain(..) {
            worker.stop(None);
            let _ = lane.join();
        }
    }
}

fn baselines(group: &mut BenchmarkGroup<'_, WallTime>, stations: usize, size: usize, count: usize) {
    let payload = vec![7; size];
    let rings: [(&str, Box<dyn Ring>); 2] = [
        ("bare socket", Box::new(Sockets::new(stations))),
        ("bare channel", Box::new(Channels::new(stations))),
    ];
    for (name, mut ring) in rings {
        group.bench_function(name, |bencher| {
            bencher.iter(|| ring.go_round(&payload, count));
        });
    }
}

fn one_after_another(criterion: &mut Criterion) {
    for (name, size) in [
        ("one after another", SMALL),
        ("1 KiB, one after another", 1 << 10),
    ] {
        let mut group = criterion.benchmark_group(name);
        let network = Network::new(1);
        let (tessera, arguments) = (network.construct(0), Bytes::from(vec![7; size]));
        group.bench_function("call", |bencher| {
            bencher.iter(|| network.finish(&network.call(tessera, &arguments, None)));
        });
        baselines(&mut group, 1, size, 1);
    }
}

fn in_flight(criterion: &mut Criterion) {
    for (name, size) in [
        ("10 000 in flight", SMALL),
        ("10 000 of 1 KiB in flight", 1 << 10),
    ] {
        let mut group = criterion.benchmark_group(name);
        group
            .sample_size(10)
            .throughput(Throughput::Elements(MANY as u64));
        let network = Network::new(1);
        let (tessera, arguments) = (network.construct(0), Bytes::from(vec![7; size]));
        group.bench_function("calls", |bencher| {
            bencher.iter(|| {
                let calls: Vec<_> = (0..MANY)
                    .map(|_| network.call(tessera, &arguments, None))
                    .collect();
                for call in &calls {
                    network.finish(call);
                }
            });
        });
        baselines(&mut group, 1, size, MANY);
    }
}

fn chain(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chain over two workers");
    let network = Network::new(2);
    let (first, second) = (network.construct(0), network.construct(1));
    let arguments = Bytes::from(vec![7; SMALL]);
    group.bench_function("calls", |bencher| {
        bencher.iter(|| {
            let near = network.call(first, &arguments, None);
            let far = network.call(second, &arguments, Some(&near));
            network.release(&near);
            network.finish(&far);
        });
    });
    baselines(&mut group, 2, SMALL, 1);
}

fn construct(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("construct");
    let network = Network::new(1);
    group.bench_function("and drop", |bencher| {
        bencher.iter(|| {
            let tessera = network.construct(0);
            network.head.release(ObjectId::Tessera(tessera), false);
        });
    });
    baselines(&mut group, 1, SMALL, 1);
}

criterion_group! {
    name = calls;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30)
        .without_plots();
    targets = one_after_another, in_flight, chain, construct
}
criterion_main!(calls);
