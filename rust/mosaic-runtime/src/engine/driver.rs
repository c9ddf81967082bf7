//! What the engine's lock guards: the rules, and the sending sides of the connections.

use std::sync::Arc;

use mosaic_core::call::{Failure, FailureKind, Outcome, ReadyCall};
use mosaic_core::event::{Action, Event};
use mosaic_core::id::RuntimeId;
use mosaic_core::machine::Machine;
use mosaic_core::wire::{Message, WireError};
use rustc_hash::FxHashMap;

use crate::engine::inner::Shared;
use crate::executor::Revoked;
use crate::net::listener;
use crate::net::writer::Peer;
use crate::node::Node;
use crate::notice::Notice;
use crate::sync::completion::TaskCell;
use crate::sync::primitives::lock;
use crate::telemetry::Arrivals;

/// See the module.
pub(crate) struct State {
    pub(crate) machine: Machine<Arc<TaskCell>>,
    pub(crate) actions: Vec<Action<Arc<TaskCell>>>,
    pub(crate) ready: Vec<ReadyCall>,
    pub(crate) peers: FxHashMap<RuntimeId, Peer>,
    pub(crate) dirty: Vec<RuntimeId>,
    pub(crate) arrivals: Arrivals,
}

impl State {
    pub(crate) fn take_inbox(&mut self, shared: &Shared) {
        let events = std::mem::take(&mut *lock(&shared.inbox));
        for event in events {
            self.handle(event, shared);
        }
    }

    pub(crate) fn handle(&mut self, event: Event<Arc<TaskCell>>, shared: &Shared) {
        if let Event::MessageReceived { from, message } = &event
            && shared.recorder.on()
        {
            shared.recorder.received(*from, message, &mut self.arrivals);
        }
        self.machine.handle(event, &mut self.actions);
        self.carry_out(shared);
    }

    pub(crate) fn finish_batch(&mut self, shared: &Shared) {
        if self.arrivals.are_any() {
            shared.recorder.arrived(&mut self.arrivals);
        }
        self.machine.flush(&mut self.actions);
        self.carry_out(shared);
        for (to, note) in std::mem::take(&mut *lock(&shared.notes)) {
            let all: Vec<_> = if let Some(one) = to {
                vec![one]
            } else {
                let members = self.machine.members().map(|member| member.runtime);
                members.filter(|member| *member != shared.me).collect()
            };
            for to in all {
                self.send(to, &note, shared);
            }
        }
        self.hand_over(shared);
        for to in self.dirty.drain(..) {
            if let Some(peer) = self.peers.get_mut(&to) {
                peer.dirty = false;
                peer.flush();
            }
        }
    }

    pub(crate) fn hand_over(&mut self, shared: &Shared) {
        if !self.ready.is_empty() {
            shared.executor.run(&mut self.ready);
        }
    }

    pub(crate) fn send(&mut self, to: RuntimeId, message: &Message, shared: &Shared) {
        let peer = self.peers.entry(to).or_default();
        if let Err(error) = peer.push(message, &shared.store) {
            return self.unsendable(message, to, &error, shared);
        }
        if !peer.dirty {
            peer.dirty = true;
            self.dirty.push(to);
        }
        if peer.is_idle() {
            self.want_connection(to, shared);
        }
    }

    /// Have a connection made to a peer, if there is none and nobody is at it.
    pub(crate) fn want_connection(&mut self, to: RuntimeId, shared: &Shared) {
        if shared.is_life_line(to) {
            return;
        }
        if let Some(attempt) = self.peers.entry(to).or_default().begin_attempt()
            && let Some(shared) = shared.myself.upgrade()
        {
            let dialling = listener::dial(Arc::clone(&shared), to, attempt);
            shared.spawn(dialling);
        }
    }

    /// A message that no frame can hold: who waits for its answer is told.
    pub(crate) fn unsendable(
        &mut self,
        message: &Message,
        to: RuntimeId,
        reason: &WireError,
        shared: &Shared,
    ) {
        let kind = match reason {
            WireError::Lost(loss) => loss.kind(),
            _ => FailureKind::Rejected,
        };
        let refused = || {
            let text = format!("it cannot be sent: {reason}");
            Outcome::Failed(Failure::new(kind, text)).into()
        };
        match message {
            Message::Call(call) => {
                let message = Message::Completed {
                    task: call.task,
                    outcome: refused(),
                };
                lock(&shared.inbox).push(Event::MessageReceived { from: to, message });
                shared.inbox_filled.notify_one();
            }
            Message::Completed { task, .. } => {
                self.send(
                    to,
                    &Message::Completed {
                        task: *task,
                        outcome: refused(),
                    },
                    shared,
                );
            }
            Message::RemotePut { task, .. } => {
                let message = Message::Completed {
                    task: *task,
                    outcome: refused(),
                };
                lock(&shared.inbox).push(Event::MessageReceived { from: to, message });
                shared.inbox_filled.notify_one();
            }
            Message::Fetched { task, value, .. } => {
                self.send(
                    to,
                    &Message::Fetched {
                        task: *task,
                        value: *value,
                        outcome: refused(),
                    },
                    shared,
                );
            }
            other => shared.executor.warn(&format!(
                "a message was lost, {reason}: {:.200}",
                format!("{other:?}")
            )),
        }
    }

    pub(crate) fn carry_out(&mut self, shared: &Shared) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::Send { to, message } => self.send(to, &message, shared),
                Action::Run(call) => self.ready.push(call),
                Action::Complete { handle, outcome } => {
                    if shared.recorder.on() && !handle.borrowed {
                        shared.recorder.settled(handle.id, &outcome);
                    }
                    shared.settle(&handle, outcome);
                }
                Action::Revoke(task) => {
                    self.hand_over(shared);
                    let event = match shared.executor.revoke(task) {
                        // Its result comes behind this.
                        Revoked::Ended => continue,
                        Revoked::Running => Event::CallIsRunning(task),
                        Revoked::Prevented => {
                            let failure = Failure::new(
                                FailureKind::Cancelled,
                                "the call was cancelled before it ran",
                            );
                            Event::CallFinished {
                                task,
                                outcome: Outcome::Failed(failure).into(),
                            }
                        }
                    };
                    lock(&shared.inbox).push(event);
                    shared.inbox_filled.notify_one();
                }
                Action::Prevent(task) => {
                    self.hand_over(shared);
                    if shared.executor.prevent(task) == Revoked::Prevented {
                        let failure = Failure::new(
                            FailureKind::ConnectionLost,
                            "the connection to its caller was lost before it ran",
                        );
                        let outcome = Outcome::Failed(failure).into();
                        lock(&shared.inbox).push(Event::CallFinished { task, outcome });
                        shared.inbox_filled.notify_one();
                    }
                }
                Action::TesseraPlaced(_) => shared.wake_watchers(),
                Action::DropTessera(tessera) => {
                    self.hand_over(shared);
                    shared.executor.drop_tessera(tessera);
                }
                Action::BufferReleased(buffer) => shared.store.returned(buffer),
                Action::DropResult(task) => shared.executor.drop_result(task),
                Action::ChooseWorker(tessera) => shared.tell(Notice::Choose(tessera)),
                Action::StartWarehouse => {
                    if let Some(shared) = shared.myself.upgrade() {
                        let for_task = Arc::clone(&shared);
                        shared.spawn(async move {
                            if let Some(node) = &for_task.node {
                                node.start_warehouse(&for_task);
                            }
                        });
                    }
                }
                Action::Report(report) => {
                    let (level, text) = crate::notice::describe(&report);
                    shared.log(level, text);
                }
                Action::MemberJoined(member) => {
                    shared.member_joined(&member);
                    lock(&shared.names).insert(member.uid.clone(), member.runtime);
                    if let Some(node) = &shared.node {
                        node.joined(member.role);
                        if let Some(profile) = shared.profiled() {
                            self.send(member.runtime, &profile, shared);
                        }
                    }
                    shared.tell(Notice::Joined(member.uid));
                    shared.wake_watchers();
                }
                Action::MemberDied { member, cause } => {
                    shared.store.process_died(member.runtime);
                    self.peers.remove(&member.runtime);
                    lock(&shared.processes).remove(&member.runtime);
                    lock(&shared.names).remove(&member.uid);
                    if !shared.node.as_ref().is_some_and(Node::stopping) {
                        shared.tell(Notice::Died {
                            uid: member.uid,
                            cause,
                        });
                    }
                    shared.wake_watchers();
                }
            }
        }
        self.actions = actions;
    }
}
