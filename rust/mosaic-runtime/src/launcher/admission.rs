//! Who is let in to the monitor: one head at a time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};

use super::monitor::{Common, NodeState};
use super::protocol::{FromMonitor, Join, read, write};
use super::{HALF_OPEN, NODE_UID};
use crate::net::{accept_each, peer_ended};
use crate::shared::lock;

/// How long a head waits for the one before to be gone; longer means that there are two.
const TURN: Duration = Duration::from_secs(1);

/// Accept connections until the monitor ends.
pub(super) async fn accept(common: Arc<Common>, socket: std::os::unix::net::UnixListener) {
    let Ok(listener) = UnixListener::from_std(socket) else {
        return;
    };
    let secret = common.place.secret().clone();
    accept_each(listener, secret, HALF_OPEN, move |stream, known| {
        let common = Arc::clone(&common);
        async move {
            if known.is_ok() {
                // An error means that the head is gone.
                let _ = common.serve(stream).await;
            }
        }
    })
    .await;
}

impl Common {
    /// A head, from its coming to its going.
    async fn serve(&self, mut stream: UnixStream) -> io::Result<()> {
        let Some(Join { pid, without }) = read(&mut stream).await? else {
            return Ok(());
        };
        let turn = tokio::time::timeout(TURN, Arc::clone(&self.turn).lock_owned()).await;
        let Ok(turn) = turn else {
            let other = lock(&self.head).map_or(String::new(), |pid| format!(" (process {pid})"));
            let reason = format!(
                "the workers of mrun (process {}) belong to another program at this moment{other}: \
                 run one after the other, or each under an mrun of its own",
                std::process::id()
            );
            return write(&mut stream, &FromMonitor::Refused(reason)).await;
        };
        *lock(&self.head) = Some(pid);
        let result = self.host(&mut stream, without).await;
        *lock(&self.head) = None;
        drop(turn);
        result
    }

    async fn host(&self, stream: &mut UnixStream, without: Option<u32>) -> io::Result<()> {
        let mut deaths = self.deaths.subscribe();
        let mut node = self.node.subscribe();
        let state = node
            .wait_for(|state| match state {
                NodeState::Starting => false,
                NodeState::Ready(address) => Some(address.pid) != without,
                NodeState::Failed(_) | NodeState::Stopping => true,
            })
            .await
            .map_err(io::Error::other)?
            .clone();
        let answer = match state {
            NodeState::Ready(address) => FromMonitor::Welcome(vec![address]),
            NodeState::Failed(reason) => FromMonitor::Refused(reason),
            NodeState::Starting | NodeState::Stopping => {
                FromMonitor::Refused("mrun is about to end".into())
            }
        };
        let gone = peer_ended(stream.peer_cred().ok().and_then(|peer| peer.pid()));
        tokio::pin!(gone);
        write(stream, &answer).await?;
        let mut byte = [0];
        loop {
            tokio::select! {
                how = deaths.recv() => if let Ok(how) = how {
                    let uid = NODE_UID.to_owned();
                    write(stream, &FromMonitor::NodeDied { uid, how }).await?;
                },
                // A head says nothing more.
                _ = stream.read(&mut byte) => return Ok(()),
                () = &mut gone => return Ok(()),
            }
        }
    }
}
