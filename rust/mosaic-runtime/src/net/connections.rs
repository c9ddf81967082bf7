//! Connections between two runtimes neither of which is the head: who makes them, and what follows when one ends.
//!
//! - `CONN-1`: of two runtimes the one with the higher number makes their connections, one after another. The other
//!   requests one: it connects, proves itself, and hangs up.
//! - `CONN-2`: a new connection supersedes the current one. Every message that the old one received is handled, and the
//!   state machine has processed the loss, before the new one is read or written.
//! - `CONN-3`: frames wait in the send queue until there is a connection. A failed attempt is repeated until the head
//!   reports the peer dead.
//!
//! A connection that ends because its peer died is not lost: the head reports the death. The kernel says whether the
//! peer's process lives. Until then the peer is unreachable: the state machine keeps the messages for it, and sends none.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mosaic_core::event::Event;
use mosaic_core::id::RuntimeId;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, watch};

use crate::engine::inner::EngineInner;
use crate::error::because;
use crate::node::process::CLOSING;
use crate::sync::{Mutex, Rank};

/// A connection that is served.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Arc<UnixStream>,
    superseded: Notify,
    settled: watch::Sender<bool>,
}

impl Connection {
    /// The peer lives and has given this connection up. Data that it sent before can still be read.
    fn supersede(&self) {
        self.superseded.notify_one();
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// The connections that are served, by peer.
#[derive(Debug)]
pub(crate) struct Connections(Mutex<FxHashMap<RuntimeId, Arc<Connection>>>);

impl Default for Connections {
    fn default() -> Self {
        Self(Mutex::with_default(Rank::Connections))
    }
}

impl Connections {
    /// `CONN-2`: serve this connection from now on. Returns when the loss of the one before is processed.
    pub(crate) async fn begin(&self, peer: RuntimeId, socket: &Arc<UnixStream>) -> Arc<Connection> {
        loop {
            let former = {
                let mut all = self.0.lock();
                if let Some(former) = all.get(&peer) {
                    Arc::clone(former)
                } else {
                    let connection = Arc::new(Connection {
                        socket: Arc::clone(socket),
                        superseded: Notify::new(),
                        settled: watch::Sender::new(false),
                    });
                    all.insert(peer, Arc::clone(&connection));
                    return connection;
                }
            };
            former.supersede();
            let mut settled = former.settled.subscribe();
            let _ = settled.wait_for(|settled| *settled).await;
        }
    }

    /// The loss of this connection is processed: the next one may begin.
    pub(crate) fn end(&self, peer: RuntimeId, connection: &Connection) {
        self.0.lock().remove(&peer);
        connection.settled.send_replace(true);
    }

    fn supersede(&self, peer: RuntimeId) {
        let connection = self.0.lock().get(&peer).cloned();
        if let Some(connection) = connection {
            connection.supersede();
        }
    }

    /// The engine has stopped: close the descriptors, even if the engine is still referenced.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }
}

impl EngineInner {
    /// Whether a connection is one between a worker and its head: it is made once, and the worker ends with it.
    pub(crate) fn is_head_connection(&self, peer: RuntimeId) -> bool {
        self.me == RuntimeId::HEAD || peer == RuntimeId::HEAD
    }

    /// A peer that does not make connections itself requests one (`CONN-1`).
    pub(crate) fn connection_requested(&self, peer: RuntimeId) {
        let mut driver = self.driver.lock();
        if driver.machine.is_dead(peer) {
            return;
        }
        let ending = driver.send_queues.entry(peer).or_default().is_ending();
        if ending {
            drop(driver);
            return self.connections.supersede(peer);
        }
        driver.request_connection(peer, self);
    }

    /// Whether that attempt to connect is still to go on.
    pub(crate) fn awaits(&self, peer: RuntimeId, attempt: u64) -> bool {
        let driver = self.driver.lock();
        let queues = &driver.send_queues;
        queues.get(&peer).is_some_and(|queue| queue.awaits(attempt))
            && !driver.machine.is_dead(peer)
    }

    /// A connection has closed. That settles nothing: until it is known whether the peer lives, messages to it wait.
    fn connection_closed(&self, peer: RuntimeId) {
        let mut driver = self.driver.lock();
        driver.take_inbox(self);
        if !self.stopped.load(Ordering::Acquire) {
            driver.handle(Event::RuntimeUnreachable(peer), self);
        }
        driver.finish_batch(self);
    }

    /// A connection has ended: process its loss, once it is known whether its peer lives.
    pub(crate) async fn connection_ended(
        &self,
        peer: RuntimeId,
        connection: &Connection,
        error: Option<&std::io::Error>,
    ) {
        self.connection_closed(peer);
        let process = self.processes.lock().get(&peer).cloned();
        let lives_on = async {
            if let Some(process) = process {
                return process.lives_on().await;
            }
            // If it has died, the head will have said so.
            tokio::time::sleep(CLOSING).await;
            true
        };
        let lives = tokio::select! {
            () = connection.superseded.notified() => true,
            lives = lives_on => lives,
        };
        if lives {
            self.connection_lost(peer, error);
        }
    }

    fn connection_lost(&self, peer: RuntimeId, error: Option<&std::io::Error>) {
        let mut driver = self.driver.lock();
        driver.take_inbox(self);
        if driver.machine.is_dead(peer) || self.stopped.load(Ordering::Acquire) {
            return;
        }
        let member = driver
            .machine
            .members()
            .find(|member| member.runtime == peer);
        let name = member.map_or_else(|| format!("{peer:?}"), |member| member.uid.clone());
        let cause = format!(
            "the connection between {} and {name} ended while both lived{}",
            self.uid,
            because(error)
        );
        if let Some(queue) = driver.send_queues.get_mut(&peer) {
            queue.lost(cause.clone());
        }
        driver.handle(Event::LinkLost { peer, cause }, self);
        driver.finish_batch(self);
        drop(driver);
        // A message about available memory may have been lost.
        self.wake_watchers();
    }
}
