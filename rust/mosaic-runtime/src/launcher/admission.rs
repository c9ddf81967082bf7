//! Which head the monitor admits: one at a time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};

use super::monitor::{Common, NodeState};
use super::protocol::{FromMonitor, Join, read, write};
use super::{HALF_OPEN, NODE_UID};
use crate::net::listener::accept_each;
use crate::node::process::peer_gone;

/// How long a head waits for its predecessor to end. After that, two programs want the workers.
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
    /// Serve the connection of a head until it closes.
    async fn serve(&self, mut stream: UnixStream) -> io::Result<()> {
        let Some(Join { pid, without }) = read(&mut stream).await? else {
            return Ok(());
        };
        let turn = tokio::time::timeout(TURN, Arc::clone(&self.turn).lock_owned()).await;
        let Ok(turn) = turn else {
            let head = *self.head.lock();
            let other = head.map_or(String::new(), |pid| format!(" (process {pid})"));
            let reason = format!(
                "the workers of mrun (process {}) belong to another program at this moment{other}: \
                 run one after the other, or each under an mrun of its own",
                std::process::id()
            );
            return write(&mut stream, &FromMonitor::Refused(reason)).await;
        };
        *self.head.lock() = Some(pid);
        let result = self.host(&mut stream, without).await;
        *self.head.lock() = None;
        drop(turn);
        result
    }

    async fn host(&self, stream: &mut UnixStream, without: Option<u32>) -> io::Result<()> {
        // Watched from the start: a head that gives up must not keep the next one waiting.
        let gone = peer_gone(stream.peer_cred().ok().and_then(|peer| peer.pid()));
        tokio::pin!(gone);
        let mut byte = [0];
        let mut node = self.node.subscribe();
        let decided = node.wait_for(|state| match state {
            NodeState::Starting => false,
            NodeState::Ready(address) => Some(address.pid) != without,
            NodeState::Failed(_) | NodeState::Stopping => true,
        });
        let state = tokio::select! {
            state = decided => state.map_err(io::Error::other)?.clone(),
            // A head sends nothing after its first message: a read ends with the connection.
            _ = stream.read(&mut byte) => return Ok(()),
            () = &mut gone => return Ok(()),
        };
        // Subscribed only now: earlier deaths are not of the agent that this head gets.
        let mut deaths = self.deaths.subscribe();
        let answer = match state {
            NodeState::Ready(address) => FromMonitor::Welcome(vec![address]),
            NodeState::Failed(reason) => FromMonitor::Refused(reason),
            NodeState::Starting | NodeState::Stopping => {
                FromMonitor::Refused("mrun is about to end".into())
            }
        };
        write(stream, &answer).await?;
        loop {
            tokio::select! {
                how = deaths.recv() => if let Ok(how) = how {
                    let uid = NODE_UID.to_owned();
                    write(stream, &FromMonitor::NodeDied { uid, how }).await?;
                },
                _ = stream.read(&mut byte) => return Ok(()),
                () = &mut gone => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use super::super::MONITOR_SOCKET;
    use super::super::monitor::{Monitor, MonitorConfig};
    use super::super::protocol::NodeAddress;
    use super::*;
    use crate::net::handshake;
    use crate::node::directory::Directory;
    use mosaic_core::id::RuntimeId;

    /// The configuration of a monitor that is the agent too.
    fn config(place: &Directory) -> MonitorConfig {
        MonitorConfig {
            agent: None,
            key: place.path().join("key"),
            report: |_| {},
        }
    }

    /// Connect as a head, which has found that agent dead if one is given.
    async fn connect_head(place: &Directory, without: Option<u32>) -> UnixStream {
        let socket = place.path().join(MONITOR_SOCKET);
        let mut stream = UnixStream::connect(socket).await.expect("a socket");
        handshake::connect(&mut stream, place.secret(), RuntimeId::HEAD)
            .await
            .expect("the same secret");
        let pid = std::process::id();
        let join = Join { pid, without };
        write(&mut stream, &join).await.expect("room");
        stream
    }

    #[tokio::test]
    async fn a_head_that_gives_up_while_it_waits_lets_the_next_be_admitted() {
        let place = Directory::create().expect("a place");
        let config = config(&place);
        let monitor = Monitor::start(place, config).expect("a monitor");
        monitor.wait_ready(None).expect("an agent");
        let place = Directory::join(monitor.directory()).expect("a member");
        // No other agent than the one that this head refuses will ever start.
        drop(connect_head(&place, Some(std::process::id())).await);
        let mut next = connect_head(&place, None).await;
        let answer = read(&mut next).await.expect("an answer");
        let Some(FromMonitor::Welcome(nodes)) = answer else {
            panic!("{answer:?}");
        };
        let [NodeAddress { pid, .. }] = nodes[..] else {
            panic!("{nodes:?}");
        };
        assert_eq!(pid, std::process::id());
        drop(next);
        place.leave();
        monitor.stop();
    }

    /// The next message to a head, while the monitor serves it.
    async fn next_message(
        head: &mut UnixStream,
        mut hosting: Pin<&mut impl Future<Output = io::Result<()>>>,
    ) -> FromMonitor {
        tokio::select! {
            ended = &mut hosting => panic!("{ended:?}"),
            message = read(head) => message.expect("a message").expect("no end"),
        }
    }

    #[tokio::test]
    async fn a_head_receives_no_deaths_of_earlier_agents() {
        let place = Directory::create().expect("a place");
        let config = config(&place);
        let common = Common::new(place, config).expect("room");
        let (mut head, mut stream) = UnixStream::pair().expect("a pair");
        let hosting = common.host(&mut stream, Some(1));
        tokio::pin!(hosting);
        tokio::select! {
            biased;
            ended = &mut hosting => panic!("{ended:?}"),
            // The head waits for an agent now.
            () = std::future::ready(()) => {},
        }
        // No head may be subscribed.
        let _ = common.deaths.send("was the one before".into());
        common.ready(2);
        let welcome = next_message(&mut head, hosting.as_mut()).await;
        assert!(matches!(welcome, FromMonitor::Welcome(_)), "{welcome:?}");
        let death = "was its own";
        common.deaths.send(death.into()).expect("it listens");
        let died = next_message(&mut head, hosting.as_mut()).await;
        let FromMonitor::NodeDied { how, .. } = died else {
            panic!("{died:?}");
        };
        assert_eq!(how, death);
        common.place.leave();
    }
}
