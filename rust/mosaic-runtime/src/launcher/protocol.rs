//! Messages between the processes that `mrun` starts and a head, and their frames.
//!
//! A frame is four bytes of length, little-endian, and a msgpack value. Connections have passed the handshake before
//! the first frame; a length is checked before anything is allocated.

use std::io;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::node::processes::{Ended, Line, Program, Start};

/// The longest frame, in bytes. The longest environment that the system allows is 2 MiB; a long line is sent in pieces.
const LONGEST: usize = 4 << 20;

/// The flow-control window: output that may be in flight from an agent to its head, in bytes as [`cost`] counts them.
pub(crate) const WINDOW: u32 = 256 << 10;
/// The cost of a line beside its length, so that the number of lines in flight has a limit too.
const LINE: u32 = 64;

/// The credit that a line takes from the window.
pub(crate) fn cost(line: &Line) -> u32 {
    (line.text.len() as u32).saturating_add(LINE).min(WINDOW)
}

/// Head to monitor, once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Join {
    /// The head's process.
    pub(crate) pid: u32,
    /// The process of an agent that this head has found dead: the monitor is to name another one.
    pub(crate) without: Option<u32>,
}

/// Monitor to head.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromMonitor {
    /// The head is admitted; these are the nodes.
    Welcome(Vec<NodeAddress>),
    /// The head is not admitted, for this reason.
    Refused(String),
    /// The agent of a node has died.
    NodeDied { uid: String, how: String },
}

/// The address of a node's agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NodeAddress {
    /// Its name.
    pub(crate) uid: String,
    /// Its process.
    pub(crate) pid: u32,
    /// The name of its socket in the directory.
    pub(crate) socket: String,
}

/// Head to agent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToAgent {
    /// The first message: a head takes the node. The agent removes the head's directory when the head has died.
    Attach { program: Program, directory: Bytes },
    /// Start a process.
    Start(Start),
    /// Kill a process.
    Kill(u32),
    /// Answer with [`FromAgent::Drained`] once all output that was printed by now has been sent.
    Drain(u64),
    /// The head stops: wait longer for the end of output.
    BePatient,
    /// Credit for that many bytes of output more.
    Credit(u32),
    /// The last message: the head leaves the node.
    Detach,
}

/// Agent to head.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromAgent {
    /// The head has the node.
    Attached,
    /// A process could not be started.
    NotStarted { runtime: u32, reason: String },
    /// A process printed a line.
    Printed { runtime: u32, line: Line },
    /// All output has been sent that was printed when the drain with this token arrived.
    Drained(u64),
    /// A process has ended.
    Ended { runtime: u32, end: Ended },
    /// No process of this head is left.
    Detached,
}

/// Monitor to the agent that it started, through the agent's standard input. An end of the stream without
/// [`ToChild::Stop`] means that the monitor was killed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToChild {
    /// Kill the process group of this command when the monitor has died.
    Guard(u32),
    /// The command has ended.
    Unguard,
    /// Kill all processes and exit.
    Stop,
}

/// Write a frame. A buffered stream sends it with the next flush.
pub(crate) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
) -> io::Result<()> {
    let body = rmp_serde::to_vec(message).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    if body.len() > LONGEST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "a message of {length} bytes is longer than {LONGEST}: is the environment that large?"
            ),
        ));
    }
    stream.write_all(&length.to_le_bytes()).await?;
    stream.write_all(&body).await
}

/// Read a frame; `None` at the end of the stream.
pub(crate) async fn read<M: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<M>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a message of {length} bytes was announced"),
        ));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    rmp_serde::from_slice(&body)
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_comes_back_as_it_was() {
        let mut stream = Vec::new();
        let text = Bytes::from_static(b"\xff\x00 not text");
        let line = Line {
            error: true,
            origin: Some(7),
            text: text.clone(),
        };
        let sent = FromAgent::Printed { runtime: 3, line };
        write(&mut stream, &sent).await.expect("room");
        let read_back = read(&mut &stream[..]).await.expect("a message");
        let Some(FromAgent::Printed { runtime: 3, line }) = read_back else {
            panic!("{read_back:?}");
        };
        assert!(line.error);
        assert_eq!((line.origin, line.text), (Some(7), text));
    }

    #[tokio::test]
    async fn nothing_is_allocated_for_a_length_beyond_the_limit() {
        let announced = u32::MAX.to_le_bytes();
        let refusal = read::<FromAgent>(&mut &announced[..])
            .await
            .expect_err("a refusal");
        assert_eq!(refusal.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_message_that_breaks_off_is_an_error_and_the_end_is_none() {
        let mut stream = Vec::new();
        write(&mut stream, &ToChild::Guard(7)).await.expect("room");
        stream.pop();
        read::<ToChild>(&mut &stream[..])
            .await
            .expect_err("half a message");
        assert!(
            read::<ToChild>(&mut &[][..])
                .await
                .expect("an end")
                .is_none()
        );
    }
}
