//! What a run of the simulation did, in one number a seed.
//!
//! Every event that a machine is fed, and every action by which it answers, is a sequence of numbers: one that stands for
//! its kind, fixed here, the ids in it, and the lengths of payloads. Neither the names of Rust types nor the bytes on the
//! wire nor the texts of messages are in it. So the digests stay as they are while code is moved and renamed, and change
//! with what the rules decide. Numbers of kinds are never given out twice.

use mosaic_core::call::{
    Call, CallKind, Dependency, Outcome, OutcomePart, ReadyCall, Slot, Source,
};
use mosaic_core::event::{Action, Event, Member, Report, Role, Submission, Want};
use mosaic_core::id::{BufferId, ObjectId, RuntimeId, TaskId, TesseraId};
use mosaic_core::payload::{Payload, Reference};
use mosaic_core::recount::Recount;
use mosaic_core::wire::RulesMessage;

/// FNV-1a over 64-bit words, a byte at a time (Fowler, Noll, Vo; offset basis and prime of the 64-bit variant).
#[derive(Clone, Copy)]
pub(crate) struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    pub(crate) fn value(self) -> u64 {
        self.0
    }

    pub(crate) fn number(&mut self, number: u64) {
        for byte in number.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn length(&mut self, length: usize) {
        self.number(length as u64);
    }

    fn flag(&mut self, flag: bool) {
        self.number(u64::from(flag));
    }

    fn runtime(&mut self, runtime: RuntimeId) {
        self.number(u64::from(runtime.0));
    }

    fn task(&mut self, task: TaskId) {
        self.runtime(task.owner);
        self.number(task.sequence);
    }

    fn tessera(&mut self, tessera: TesseraId) {
        self.runtime(tessera.owner);
        self.number(tessera.sequence);
    }

    fn buffer(&mut self, buffer: BufferId) {
        self.runtime(buffer.owner);
        self.number(buffer.sequence);
    }

    fn object(&mut self, object: ObjectId) {
        match object {
            ObjectId::Tessera(tessera) => {
                self.number(1);
                self.tessera(tessera);
            }
            ObjectId::Task(task) => {
                self.number(2);
                self.task(task);
            }
            ObjectId::Buffer(buffer) => {
                self.number(3);
                self.buffer(buffer);
            }
        }
    }

    fn objects(&mut self, objects: &[ObjectId]) {
        self.length(objects.len());
        for object in objects {
            self.object(*object);
        }
    }

    fn reference(&mut self, reference: &Reference) {
        self.object(reference.object);
        self.runtime(reference.authority);
    }

    fn payload(&mut self, payload: &Payload) {
        self.length(payload.size());
        self.length(payload.segments.len());
        self.length(payload.references.len());
        for reference in &payload.references {
            self.reference(reference);
        }
    }

    fn outcome(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Value(value) => {
                self.number(1);
                self.payload(value);
            }
            Outcome::Stored { host, size } => {
                self.number(2);
                self.runtime(*host);
                self.number(*size);
            }
            Outcome::Failed(failure) => {
                self.number(3);
                self.number(u64::from(failure.kind.number()));
                self.length(failure.context.len());
                self.payload(&failure.detail);
            }
        }
    }

    fn place(&mut self, place: &Result<RuntimeId, String>) {
        match place {
            Ok(runtime) => {
                self.number(1);
                self.runtime(*runtime);
            }
            Err(_) => self.number(2),
        }
    }

    fn maybe(&mut self, runtime: Option<RuntimeId>) {
        self.flag(runtime.is_some());
        if let Some(runtime) = runtime {
            self.runtime(runtime);
        }
    }

    fn role(&mut self, role: Role) {
        self.number(match role {
            Role::Head => 1,
            Role::Worker => 2,
            Role::Warehouse => 3,
        });
    }

    fn member(&mut self, member: &Member) {
        self.runtime(member.runtime);
        self.role(member.role);
    }

    fn slot(&mut self, slot: &Slot) {
        match slot {
            Slot::Positional(index) => {
                self.number(1);
                self.number(u64::from(*index));
            }
            Slot::Keyword(_) => self.number(2),
            Slot::Order => self.number(3),
        }
    }

    fn dependency(&mut self, dependency: &Dependency) {
        self.slot(&dependency.slot);
        self.task(dependency.task);
        self.length(dependency.part.len());
        self.flag(dependency.kept);
        match &dependency.source {
            Source::Unresolved { authority } => {
                self.number(1);
                self.runtime(*authority);
            }
            Source::At(runtime) => {
                self.number(2);
                self.runtime(*runtime);
            }
            Source::Here(_, bytes) => {
                self.number(3);
                self.length(bytes.len());
            }
        }
    }

    fn call(&mut self, call: &Call) {
        self.task(call.task);
        self.tessera(call.tessera);
        self.number(u64::from(call.kind.number()));
        if let CallKind::ResultMethod(task) = call.kind {
            self.task(task);
        }
        self.flag(call.coroutine);
        self.number(u64::from(call.retries));
        self.flag(call.construction.concurrent);
        self.flag(call.construction.restartable);
        self.role(call.construction.home);
        self.length(call.dependencies.len());
        for dependency in &call.dependencies {
            self.dependency(dependency);
        }
        self.payload(&call.arguments);
    }

    fn submission(&mut self, submission: &Submission<u64>) {
        self.number(submission.handle);
        self.call(&submission.call);
        self.maybe(submission.host);
        self.maybe(submission.place);
        self.number(u64::from(submission.restarts));
        self.number(u64::from(submission.resends));
    }

    fn ready(&mut self, ready: &ReadyCall) {
        self.call(&ready.call);
        self.runtime(ready.caller);
        self.length(ready.values.len());
        for (slot, part, value) in &ready.values {
            self.slot(slot);
            self.length(part.len());
            self.payload(value);
        }
        self.number(u64::from(ready.attempt));
    }

    fn recount(&mut self, recount: &Recount) {
        self.objects(&recount.held);
        self.length(recount.restartable.len());
        for tessera in &recount.restartable {
            self.tessera(*tessera);
        }
        self.length(recount.awaited.len());
        for (object, messages) in &recount.awaited {
            self.object(*object);
            self.number(u64::from(*messages));
        }
        self.flag(recount.more);
        self.flag(recount.asks);
    }

    /// A machine is fed something.
    pub(crate) fn event(&mut self, at: RuntimeId, event: &Event<u64>) {
        self.runtime(at);
        match event {
            Event::CallSubmitted(submission) => {
                self.number(101);
                self.submission(submission);
            }
            Event::CancelRequested(task) => {
                self.number(102);
                self.task(*task);
            }
            Event::CallTimedOut(task) => {
                self.number(103);
                self.task(*task);
            }
            Event::OutcomeRequested { task, want, handle } => {
                self.number(104);
                self.task(*task);
                self.number(match want {
                    Want::End => 1,
                    Want::Value => 2,
                });
                self.number(*handle);
            }
            Event::DeliveryRequested { task, handle } => {
                self.number(105);
                self.task(*task);
                self.number(*handle);
            }
            Event::ValuePut { task, value } => {
                self.number(106);
                self.task(*task);
                self.payload(value);
            }
            Event::RemotePutRequested {
                task,
                value,
                handle,
            } => {
                self.number(107);
                self.task(*task);
                self.payload(value);
                self.number(*handle);
            }
            Event::ValueDropped(task) => {
                self.number(108);
                self.task(*task);
            }
            Event::Retained(reference) => {
                self.number(109);
                self.reference(reference);
            }
            Event::Released(object) => {
                self.number(110);
                self.object(*object);
            }
            Event::CallFinished { task, outcome } => {
                self.number(111);
                self.task(*task);
                self.outcome(outcome);
            }
            Event::CallIsRunning(task) => {
                self.number(112);
                self.task(*task);
            }
            Event::BarrierRequested(handle) => {
                self.number(113);
                self.number(*handle);
            }
            Event::WarehouseRequested(handle) => {
                self.number(114);
                self.number(*handle);
            }
            Event::WarehouseFailed { .. } => self.number(115),
            Event::BarrierTaskRegistered => self.number(116),
            Event::MessageReceived { from, message } => {
                self.number(117);
                self.runtime(*from);
                self.message(message);
            }
            Event::RuntimeJoined(member) => {
                self.number(118);
                self.member(member);
            }
            Event::RuntimeDied { runtime, .. } => {
                self.number(119);
                self.runtime(*runtime);
            }
            Event::LinkLost { peer, .. } => {
                self.number(120);
                self.runtime(*peer);
            }
            Event::WorkerChosen { tessera, place } => {
                self.number(121);
                self.tessera(*tessera);
                self.place(place);
            }
            Event::RuntimeStopped(_) => self.number(122),
            Event::WorkersExhausted(_) => self.number(123),
            Event::RuntimeUnreachable(runtime) => {
                self.number(124);
                self.runtime(*runtime);
            }
            Event::RuntimeReachable(runtime) => {
                self.number(125);
                self.runtime(*runtime);
            }
        }
    }

    /// A machine has decided something.
    pub(crate) fn action(&mut self, at: RuntimeId, action: &Action<u64>) {
        self.runtime(at);
        match action {
            Action::Send { to, message } => {
                self.number(201);
                self.runtime(*to);
                self.message(message);
            }
            Action::Run(ready) => {
                self.number(202);
                self.ready(ready);
            }
            Action::Revoke(task) => {
                self.number(203);
                self.task(*task);
            }
            Action::Prevent(task) => {
                self.number(204);
                self.task(*task);
            }
            Action::TesseraPlaced(tessera) => {
                self.number(205);
                self.tessera(*tessera);
            }
            Action::DropTessera(tessera) => {
                self.number(206);
                self.tessera(*tessera);
            }
            Action::DropResult(task) => {
                self.number(207);
                self.task(*task);
            }
            Action::BufferReleased(buffer) => {
                self.number(208);
                self.buffer(*buffer);
            }
            Action::Complete { handle, outcome } => {
                self.number(209);
                self.number(*handle);
                self.outcome(outcome);
            }
            Action::ChooseWorker(tessera) => {
                self.number(210);
                self.tessera(*tessera);
            }
            Action::StartWarehouse(_) => self.number(211),
            Action::MemberJoined(member) => {
                self.number(212);
                self.member(member);
            }
            Action::MemberDied { member, .. } => {
                self.number(213);
                self.member(member);
            }
            Action::Report(Report::Retried { attempt, of, .. }) => {
                self.number(214);
                self.number(u64::from(*attempt));
                self.number(u64::from(*of));
            }
            Action::Report(Report::Restarted { .. }) => self.number(215),
        }
    }

    fn message(&mut self, message: &RulesMessage) {
        match message {
            RulesMessage::Call(call) => {
                self.number(301);
                self.call(call);
            }
            RulesMessage::Completed {
                task,
                part,
                outcome,
            } => {
                self.number(302);
                self.task(*task);
                if *part != OutcomePart::WHOLE {
                    self.number(u64::from(part.number));
                    self.flag(part.last);
                }
                self.outcome(outcome);
            }
            RulesMessage::Cancel(task) => {
                self.number(303);
                self.task(*task);
            }
            RulesMessage::DeliveryProbe(task) => {
                self.number(304);
                self.task(*task);
            }
            RulesMessage::Delivered(task) => {
                self.number(305);
                self.task(*task);
            }
            RulesMessage::Fetch { task, value } => {
                self.number(306);
                self.task(*task);
                self.flag(*value);
            }
            RulesMessage::Fetched {
                task,
                value,
                outcome,
            } => {
                self.number(307);
                self.task(*task);
                self.flag(*value);
                self.outcome(outcome);
            }
            RulesMessage::RegisterHolder(object) => {
                self.number(308);
                self.object(*object);
            }
            RulesMessage::HolderRegistered(object) => {
                self.number(309);
                self.object(*object);
            }
            RulesMessage::RegisterHolderAndUnpin(object) => {
                self.number(310);
                self.object(*object);
            }
            RulesMessage::Unpin(object) => {
                self.number(311);
                self.object(*object);
            }
            RulesMessage::Release(objects) => {
                self.number(312);
                self.objects(objects);
            }
            RulesMessage::Freed(tessera) => {
                self.number(313);
                self.tessera(*tessera);
            }
            RulesMessage::Place(tessera, role) => {
                self.number(314);
                self.tessera(*tessera);
                self.role(*role);
            }
            RulesMessage::Placed { tessera, place } => {
                self.number(315);
                self.tessera(*tessera);
                self.place(place);
            }
            RulesMessage::Locate(tessera) => {
                self.number(316);
                self.tessera(*tessera);
            }
            RulesMessage::Located { tessera, place } => {
                self.number(317);
                self.tessera(*tessera);
                self.place(place);
            }
            RulesMessage::Join(member) => {
                self.number(318);
                self.member(member);
            }
            RulesMessage::MemberJoined(member) => {
                self.number(319);
                self.member(member);
            }
            RulesMessage::MemberDied { runtime, .. } => {
                self.number(320);
                self.runtime(*runtime);
            }
            RulesMessage::Drained(runtime) => {
                self.number(321);
                self.runtime(*runtime);
            }
            RulesMessage::DeathSettled(runtime) => {
                self.number(322);
                self.runtime(*runtime);
            }
            RulesMessage::Barrier(number) => {
                self.number(323);
                self.number(*number);
            }
            RulesMessage::BarrierPassed(number) => {
                self.number(324);
                self.number(*number);
            }
            RulesMessage::Discard(task) => {
                self.number(325);
                self.task(*task);
            }
            RulesMessage::RemotePut { task, value } => {
                self.number(326);
                self.task(*task);
                self.payload(value);
            }
            RulesMessage::WarehouseRequested => self.number(327),
            RulesMessage::WarehouseFailed(_) => self.number(328),
            RulesMessage::BarrierTask => self.number(329),
            RulesMessage::Recount(recount) => {
                self.number(330);
                self.recount(recount);
            }
        }
    }
}
