//! `Driver`: the state machine and the send queues, behind the engine's lock.
//!
//! A batch is: take the inbox, handle events, flush the state machine, dispatch ready calls to the executor, write
//! the send queues to their sockets. Any thread that holds the lock runs it.

use std::sync::Arc;

use mosaic_core::call::{Failure, FailureKind, Outcome, OutcomePart};
use mosaic_core::event::{Action, Event};
use mosaic_core::id::RuntimeId;
use mosaic_core::machine::Machine;
use mosaic_core::wire::{Message, RulesMessage, WireError};
use rustc_hash::FxHashMap;

use crate::engine::inner::EngineInner;
use crate::executor::AcceptedCall;
use crate::executor::call_states::{CallStates, CancelOutcome};
use crate::net::listener;
use crate::net::writer::SendQueue;
use crate::node::Node;
use crate::notice::Notice;
use crate::sync::completion::Completion;
use crate::telemetry::ReceivedCalls;

/// The state machine and what surrounds it, all behind one lock.
pub(crate) struct Driver {
    pub(crate) machine: Machine<Arc<Completion>>,
    pub(crate) actions: Vec<Action<Arc<Completion>>>,
    /// Calls that the executor is given at the end of the batch.
    pub(crate) ready: Vec<AcceptedCall>,
    pub(crate) call_states: CallStates,
    pub(crate) send_queues: FxHashMap<RuntimeId, SendQueue>,
    pub(crate) dirty: Vec<RuntimeId>,
    pub(crate) received_calls: ReceivedCalls,
}

impl Driver {
    pub(crate) fn take_inbox(&mut self, inner: &EngineInner) {
        let events = std::mem::take(&mut *inner.inbox.lock());
        for event in events {
            self.handle(event, inner);
        }
    }

    pub(crate) fn handle(&mut self, event: Event<Arc<Completion>>, inner: &EngineInner) {
        if let Event::MessageReceived { from, message } = &event
            && inner.recorder.on()
        {
            inner
                .recorder
                .received(*from, message, &mut self.received_calls);
        }
        if let Event::CallFinished { task, .. } = &event {
            self.call_states.forget(*task);
        }
        self.machine.handle(event, &mut self.actions);
        self.carry_out(inner);
    }

    pub(crate) fn finish_batch(&mut self, inner: &EngineInner) {
        if self.received_calls.are_any() {
            inner.recorder.arrived(&mut self.received_calls);
        }
        self.machine.flush(&mut self.actions);
        self.carry_out(inner);
        let messages = std::mem::take(&mut *inner.engine_messages.lock());
        for (to, message) in messages {
            let all: Vec<_> = if let Some(one) = to {
                vec![one]
            } else {
                let members = self.machine.members().map(|member| member.runtime);
                members.filter(|member| *member != inner.me).collect()
            };
            for to in all {
                self.send(to, &Message::Engine(message.clone()), inner);
            }
        }
        self.dispatch(inner);
        for to in self.dirty.drain(..) {
            if let Some(queue) = self.send_queues.get_mut(&to) {
                queue.dirty = false;
                queue.flush();
            }
        }
    }

    pub(crate) fn dispatch(&mut self, inner: &EngineInner) {
        if !self.ready.is_empty() {
            inner.executor.run(&mut self.ready);
        }
    }

    pub(crate) fn send(&mut self, to: RuntimeId, message: &Message, inner: &EngineInner) {
        let queue = self.send_queues.entry(to).or_default();
        if let Err(error) = queue.push(message, &inner.store) {
            return self.unsendable(message, to, &error, inner);
        }
        if !queue.dirty {
            queue.dirty = true;
            self.dirty.push(to);
        }
        if queue.is_idle() {
            self.request_connection(to, inner);
        }
    }

    /// Start to connect to a peer, unless a connection exists or is being made.
    pub(crate) fn request_connection(&mut self, to: RuntimeId, inner: &EngineInner) {
        if inner.is_head_connection(to) {
            return;
        }
        if let Some(attempt) = self.send_queues.entry(to).or_default().begin_attempt()
            && let Some(inner) = inner.myself.upgrade()
        {
            let dialling = listener::dial(Arc::clone(&inner), to, attempt);
            inner.spawn(dialling);
        }
    }

    /// A message that no frame can hold: the call that waits for its answer fails.
    pub(crate) fn unsendable(
        &mut self,
        message: &Message,
        to: RuntimeId,
        reason: &WireError,
        inner: &EngineInner,
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
            Message::Rules(RulesMessage::Call(call)) => {
                let message = RulesMessage::Completed {
                    task: call.task,
                    part: OutcomePart::WHOLE,
                    outcome: refused(),
                };
                inner
                    .inbox
                    .lock()
                    .push(Event::MessageReceived { from: to, message });
                inner.inbox_filled.notify_one();
            }
            Message::Rules(RulesMessage::Completed { task, part, .. }) => {
                let (task, outcome) = (*task, refused());
                let message = RulesMessage::Completed {
                    task,
                    part: *part,
                    outcome,
                };
                self.send(to, &message.into(), inner);
            }
            Message::Rules(RulesMessage::RemotePut { task, .. }) => {
                let message = RulesMessage::Completed {
                    task: *task,
                    part: OutcomePart::WHOLE,
                    outcome: refused(),
                };
                inner
                    .inbox
                    .lock()
                    .push(Event::MessageReceived { from: to, message });
                inner.inbox_filled.notify_one();
            }
            Message::Rules(RulesMessage::Fetched { task, value, .. }) => {
                let message = RulesMessage::Fetched {
                    task: *task,
                    value: *value,
                    outcome: refused(),
                };
                self.send(to, &message.into(), inner);
            }
            other => inner.executor.warn(&format!(
                "a message was lost, {reason}: {:.200}",
                format!("{other:?}")
            )),
        }
    }

    pub(crate) fn carry_out(&mut self, inner: &EngineInner) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::Send { to, message } => self.send(to, &Message::Rules(message), inner),
                Action::Run(ready) => {
                    let state = self.call_states.accept(ready.call.task);
                    self.ready.push(AcceptedCall { ready, state });
                }
                Action::Complete { handle, outcome } => {
                    if inner.recorder.on() && !handle.borrowed {
                        inner.recorder.settled(handle.id, &outcome);
                    }
                    inner.complete(&handle, outcome);
                }
                Action::Revoke(task) => {
                    let event = match self.call_states.revoke(task) {
                        // Its result comes behind this.
                        CancelOutcome::Ended => continue,
                        CancelOutcome::Running => {
                            inner.executor.cancel_running(task);
                            Event::CallIsRunning(task)
                        }
                        CancelOutcome::Prevented => {
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
                    inner.inbox.lock().push(event);
                    inner.inbox_filled.notify_one();
                }
                Action::Prevent(task) => {
                    if self.call_states.revoke(task) == CancelOutcome::Prevented {
                        let failure = Failure::new(
                            FailureKind::ConnectionLost,
                            "the connection to its caller was lost before it ran",
                        );
                        let outcome = Outcome::Failed(failure).into();
                        inner
                            .inbox
                            .lock()
                            .push(Event::CallFinished { task, outcome });
                        inner.inbox_filled.notify_one();
                    }
                }
                Action::TesseraPlaced(_) => inner.wake_watchers(),
                Action::DropTessera(tessera) => {
                    self.dispatch(inner);
                    inner.executor.drop_tessera(tessera);
                }
                Action::BufferReleased(buffer) => inner.store.returned(buffer),
                Action::DropResult(task) => inner.executor.drop_result(task),
                Action::ChooseWorker(tessera) => inner.notify(Notice::Choose(tessera)),
                // Every warehouse is on the machine of the head so far.
                Action::StartWarehouse(_) => {
                    if let Some(inner) = inner.myself.upgrade() {
                        let for_task = Arc::clone(&inner);
                        inner.spawn(async move {
                            if let Some(node) = &for_task.node {
                                node.start_warehouse(&for_task);
                            }
                        });
                    }
                }
                Action::Report(report) => {
                    let (level, text) = crate::notice::describe(&report);
                    inner.log(level, text);
                }
                Action::MemberJoined(member) => {
                    inner.member_joined(&member);
                    inner
                        .names
                        .lock()
                        .insert(member.uid.clone(), member.runtime);
                    if let Some(node) = &inner.node {
                        node.joined(member.role);
                        if let Some(profile) = inner.profiled() {
                            self.send(member.runtime, &profile.into(), inner);
                        }
                    }
                    inner.notify(Notice::Joined(member.uid));
                    inner.wake_watchers();
                }
                Action::MemberDied { member, cause } => {
                    inner.store.process_died(member.runtime);
                    self.send_queues.remove(&member.runtime);
                    inner.processes.lock().remove(&member.runtime);
                    inner.names.lock().remove(&member.uid);
                    if !inner.node.as_ref().is_some_and(Node::stopping) {
                        inner.notify(Notice::Died {
                            uid: member.uid,
                            cause,
                        });
                    }
                    inner.wake_watchers();
                }
            }
        }
        self.actions = actions;
    }
}
