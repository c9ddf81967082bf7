//! Random programs, one in each runtime: what the bindings would do, with nothing behind it.

use std::collections::BTreeSet;

use bytes::Bytes;
use mosaic_core::call::{Call, CallKind, Construction, Dependency, Outcome, Slot, Source};
use mosaic_core::event::{Event, Submission, Want};
use mosaic_core::id::{BufferId, ObjectId, RuntimeId, TaskId, TesseraId};
use mosaic_core::payload::{Payload, Reference, ThinVec};

use crate::world::World;

/// A handle on a task.
struct TaskHandle {
    task: TaskId,
    /// The references inside its value or its exception, once that is here.
    value: ThinVec<Reference>,
    put: bool,
}

/// The handles of one runtime's program.
#[derive(Default)]
pub(crate) struct Program {
    tesserae: Vec<(TesseraId, Option<RuntimeId>)>,
    tasks: Vec<TaskHandle>,
    /// Looks at buffers in stores.
    buffers: Vec<Reference>,
    sequence: u64,
}

impl Program {
    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(crate) fn held(&self, into: &mut BTreeSet<ObjectId>) {
        into.extend(
            self.tesserae
                .iter()
                .map(|(tessera, _)| ObjectId::Tessera(*tessera)),
        );
        into.extend(self.tasks.iter().map(|handle| ObjectId::Task(handle.task)));
    }

    /// Whether the program looks at a buffer.
    pub(crate) fn looks_at(&self, buffer: BufferId) -> bool {
        let object = ObjectId::Buffer(buffer);
        self.buffers
            .iter()
            .any(|reference| reference.object == object)
    }

    /// A task has ended, or its value is here.
    pub(crate) fn told(&mut self, task: TaskId, outcome: &Outcome) {
        if matches!(outcome, Outcome::Stored { .. }) {
            return;
        }
        for handle in self.tasks.iter_mut().filter(|handle| handle.task == task) {
            handle.value = outcome.references().into();
        }
    }

    /// Let go of every handle; those that the rules know of.
    pub(crate) fn let_go(&mut self, at: RuntimeId) -> Vec<ObjectId> {
        let buffers = self.buffers.drain(..).map(|reference| reference.object);
        let buffers: Vec<_> = buffers.filter(|object| !is_own(*object, at)).collect();
        let tasks = self
            .tasks
            .drain(..)
            .map(|handle| ObjectId::Task(handle.task));
        let tesserae = self
            .tesserae
            .drain(..)
            .map(|(tessera, _)| ObjectId::Tessera(tessera));
        tasks.chain(tesserae).chain(buffers).collect()
    }
}

/// A runtime's look at a buffer of its own is no business of the rules.
fn is_own(object: ObjectId, at: RuntimeId) -> bool {
    matches!(object, ObjectId::Buffer(buffer) if buffer.owner == at)
}

impl World {
    /// A reference was decoded here: the program has one handle more.
    pub(crate) fn receive(&mut self, at: RuntimeId, reference: Reference) {
        let Some(node) = self.nodes.get_mut(&at) else {
            return;
        };
        match reference.object {
            ObjectId::Tessera(tessera) => node
                .program
                .tesserae
                .push((tessera, Some(reference.authority))),
            ObjectId::Task(task) => node.program.tasks.push(TaskHandle {
                task,
                value: ThinVec::new(),
                put: false,
            }),
            ObjectId::Buffer(buffer) => {
                node.program.buffers.push(reference);
                self.truth.looked_at(buffer, at);
                if buffer.owner == at {
                    return;
                }
            }
        }
        self.happens(at, Event::Retained(reference));
    }

    /// Something to pass: its length, and what it refers to, at random, if that is older than `of`.
    pub(crate) fn payload(&mut self, at: RuntimeId, of: Option<ObjectId>) -> Payload {
        let youngest = of.map_or(usize::MAX, |object| self.truth.births[&object]);
        let length = if self.rng.chance(70) {
            self.rng.below(8)
        } else {
            20 + self.rng.below(100)
        };
        let mut references = ThinVec::new();
        let (makes, passes_on) = (self.rng.chance(20), self.rng.chance(20));
        if makes {
            let sequence = self
                .nodes
                .get_mut(&at)
                .map_or(0, |node| node.program.next());
            let buffer = BufferId {
                owner: at,
                sequence,
            };
            references.push(Reference {
                object: ObjectId::Buffer(buffer),
                authority: at,
            });
        } else if passes_on {
            let buffers = self.nodes[&at].program.buffers.clone();
            references.extend(self.rng.pick(&buffers));
        }
        while self.rng.chance(30) {
            let node = &self.nodes[&at];
            let count = node.program.tesserae.len() + node.program.tasks.len();
            if count == 0 {
                break;
            }
            let index = self.rng.below(count);
            let reference = if let Some((tessera, known)) = node.program.tesserae.get(index) {
                let Some(authority) = node.machine.host_of(*tessera).or(*known) else {
                    continue;
                };
                Reference {
                    object: ObjectId::Tessera(*tessera),
                    authority,
                }
            } else {
                let task = node.program.tasks[index - node.program.tesserae.len()].task;
                Reference {
                    object: ObjectId::Task(task),
                    authority: task.owner,
                }
            };
            if !references.contains(&reference) && self.truth.births[&reference.object] < youngest {
                references.push(reference);
            }
        }
        Payload {
            format: 1,
            body: Bytes::from(vec![0; length]),
            segments: ThinVec::new(),
            references,
        }
    }

    fn dependencies(&mut self, at: RuntimeId) -> ThinVec<Dependency> {
        let mut dependencies = ThinVec::new();
        while self.rng.chance(30) {
            let tasks: Vec<_> = self.nodes[&at]
                .program
                .tasks
                .iter()
                .map(|handle| handle.task)
                .collect();
            let Some(task) = self.rng.pick(&tasks) else {
                break;
            };
            let slot = match self.rng.below(3) {
                0 => Slot::Order,
                1 => Slot::Keyword("x".into()),
                _ => Slot::Positional(dependencies.len() as u16),
            };
            let source = Source::Unresolved {
                authority: task.owner,
            };
            dependencies.push(Dependency {
                slot,
                task,
                part: Bytes::new(),
                kept: false,
                source,
            });
        }
        dependencies
    }

    fn next_task(&mut self, at: RuntimeId) -> TaskId {
        let sequence = self
            .nodes
            .get_mut(&at)
            .map_or(0, |node| node.program.next());
        let task = TaskId {
            owner: at,
            sequence,
        };
        self.born(ObjectId::Task(task));
        task
    }

    fn next_kept(&mut self, at: RuntimeId) -> TaskId {
        let sequence = self
            .nodes
            .get_mut(&at)
            .map_or(0, |node| node.program.next());
        let task = TaskId::kept(RuntimeId::HEAD, at, sequence);
        self.born(ObjectId::Task(task));
        task
    }

    fn born(&mut self, object: ObjectId) {
        self.truth.births.insert(object, self.truth.births.len());
    }

    fn submit(&mut self, at: RuntimeId, mut submission: Submission<u64>) {
        let task = submission.call.task;
        submission.handle = self.handle();
        self.truth.submitted(at, &submission);
        if let Some(node) = self.nodes.get_mut(&at) {
            node.program.tasks.push(TaskHandle {
                task,
                value: ThinVec::new(),
                put: false,
            });
        }
        self.happens(at, Event::CallSubmitted(submission));
    }

    fn submission(&mut self, at: RuntimeId, tessera: TesseraId, kind: CallKind) -> Submission<u64> {
        let method = match self.rng.below(10) {
            0 => "fails",
            1 => "flaky",
            _ => "works",
        };
        let call = Call {
            task: self.next_task(at),
            tessera,
            kind,
            method: method.into(),
            coroutine: self.rng.chance(30) && kind == CallKind::Method,
            retries: if self.rng.chance(15) { 2 } else { 0 },
            origin: None,
            construction: Construction::default(),
            dependencies: self.dependencies(at),
            arguments: self.payload(
                at,
                (kind == CallKind::Construct).then_some(ObjectId::Tessera(tessera)),
            ),
        };
        Submission {
            handle: 0,
            call: Box::new(call),
            host: None,
            place: None,
            restarts: 0,
            resends: 0,
        }
    }

    /// One random thing that a program does.
    pub(crate) fn program(&mut self, at: RuntimeId) {
        match self.rng.below(100) {
            0..10 => self.construct(at),
            10..45 => self.call(at),
            45..55 => self.call_function(at),
            55..60 => self.give_up(at),
            60..75 => self.want(at),
            75..82 => self.decode(at),
            82..94 => self.let_one_go(at),
            94..97 => {
                // On the head it is kept where it is.
                let task = if at == RuntimeId::HEAD {
                    self.next_task(at)
                } else {
                    self.next_kept(at)
                };
                let value = self.payload(at, Some(ObjectId::Task(task)));
                if let Some(node) = self.nodes.get_mut(&at) {
                    // Who gave a value away has to ask for it like anybody else.
                    let here = (task.owner == at).then(|| value.references.clone());
                    node.program.tasks.push(TaskHandle {
                        task,
                        value: here.unwrap_or_default(),
                        put: true,
                    });
                }
                self.put_value(at, task, value);
            }
            97 => self.drop_value(at),
            98 => {
                let handle = self.handle();
                self.truth.expect(handle, at, None);
                self.happens(at, Event::BarrierRequested(handle));
            }
            _ => {}
        }
    }

    fn construct(&mut self, at: RuntimeId) {
        let sequence = self
            .nodes
            .get_mut(&at)
            .map_or(1, |node| node.program.next());
        let tessera = TesseraId {
            owner: at,
            sequence,
        };
        self.born(ObjectId::Tessera(tessera));
        let mut submission = self.submission(at, tessera, CallKind::Construct);
        let restarts = if self.rng.chance(30) {
            1 + self.rng.below(2) as u32
        } else {
            0
        };
        submission.call.construction = Construction {
            concurrent: self.rng.chance(25),
            restartable: restarts > 0,
            ..Construction::default()
        };
        submission.restarts = restarts;
        if self.rng.chance(40) {
            let workers = self.workers();
            submission.place = self.rng.pick(&workers);
        }
        if let Some(node) = self.nodes.get_mut(&at) {
            node.program.tesserae.push((tessera, None));
        }
        self.submit(at, submission);
    }

    fn call(&mut self, at: RuntimeId) {
        let tesserae = self.nodes[&at].program.tesserae.clone();
        let Some((tessera, known)) = self.rng.pick(&tesserae) else {
            return;
        };
        let kind = match self.rng.below(20) {
            0 => CallKind::Stop,
            1 => CallKind::GetAttribute,
            2..4 => CallKind::GetAttributeNow,
            4 => CallKind::SetAttribute,
            _ => CallKind::Method,
        };
        let mut submission = self.submission(at, tessera, kind);
        submission.host = known;
        submission.resends = u32::from(self.rng.chance(20));
        self.submit(at, submission);
    }

    fn call_function(&mut self, at: RuntimeId) {
        let living = self.living();
        let Some(host) = self.rng.pick(&living) else {
            return;
        };
        let mut submission = if self.rng.chance(40) {
            let tasks: Vec<_> = self.nodes[&at]
                .program
                .tasks
                .iter()
                .map(|handle| handle.task)
                .collect();
            let Some(task) = self.rng.pick(&tasks) else {
                return;
            };
            let Some(host) = self.truth.place_of(task) else {
                return;
            };
            self.submission(at, TesseraId::functions(host), CallKind::ResultMethod(task))
        } else {
            self.submission(at, TesseraId::functions(host), CallKind::Function)
        };
        submission.host = Some(submission.call.tessera.owner);
        submission.resends = u32::from(self.rng.chance(20));
        self.submit(at, submission);
    }

    fn give_up(&mut self, at: RuntimeId) {
        let pending: Vec<_> = self
            .truth
            .calls
            .iter()
            .filter(|(task, call)| task.owner == at && !call.settled)
            .map(|(task, _)| *task)
            .collect();
        let Some(task) = self.rng.pick(&pending) else {
            return;
        };
        let event = if self.rng.chance(70) {
            Event::CancelRequested(task)
        } else {
            Event::CallTimedOut(task)
        };
        self.happens(at, event);
    }

    fn pick_task(&mut self, at: RuntimeId) -> Option<usize> {
        let count = self.nodes[&at].program.tasks.len();
        (count > 0).then(|| self.rng.below(count))
    }

    fn want(&mut self, at: RuntimeId) {
        let Some(index) = self.pick_task(at) else {
            return;
        };
        let task = self.nodes[&at].program.tasks[index].task;
        let want = if self.rng.chance(50) {
            Want::End
        } else {
            Want::Value
        };
        let handle = self.handle();
        self.truth.expect(handle, at, Some(task));
        self.happens(at, Event::OutcomeRequested { task, want, handle });
    }

    /// The value of a task is here: what it refers to becomes handles.
    fn decode(&mut self, at: RuntimeId) {
        let Some(index) = self.pick_task(at) else {
            return;
        };
        for reference in self.nodes[&at].program.tasks[index].value.clone() {
            self.receive(at, reference);
        }
    }

    fn let_one_go(&mut self, at: RuntimeId) {
        let Some(node) = self.nodes.get_mut(&at) else {
            return;
        };
        if !node.program.buffers.is_empty() && self.rng.chance(40) {
            let index = self.rng.below(node.program.buffers.len());
            let object = node.program.buffers.swap_remove(index).object;
            if !is_own(object, at) {
                self.happens(at, Event::Released(object));
            }
            return;
        }
        let tesserae = node.program.tesserae.len();
        let count = tesserae + node.program.tasks.len();
        if count == 0 {
            return;
        }
        let index = self.rng.below(count);
        let object = if index < tesserae {
            ObjectId::Tessera(node.program.tesserae.swap_remove(index).0)
        } else {
            ObjectId::Task(node.program.tasks.swap_remove(index - tesserae).task)
        };
        self.happens(at, Event::Released(object));
    }

    fn drop_value(&mut self, at: RuntimeId) {
        let Some(index) = self.pick_task(at) else {
            return;
        };
        let Some(node) = self.nodes.get_mut(&at) else {
            return;
        };
        let handle = &mut node.program.tasks[index];
        let task = handle.task;
        let own =
            || task.owner == at && self.truth.calls.get(&task).is_some_and(|call| call.settled);
        if !handle.put && !own() {
            return;
        }
        handle.value.clear();
        for other in node
            .program
            .tasks
            .iter_mut()
            .filter(|handle| handle.task == task)
        {
            other.value.clear();
        }
        self.truth.values.remove(&task);
        self.happens(at, Event::ValueDropped(task));
    }
}
