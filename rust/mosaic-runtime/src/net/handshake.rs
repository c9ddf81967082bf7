//! The handshake that every connection passes before one header byte is parsed.
//!
//! Challenge and response over HMAC-SHA-256 (RFC 2104) with the runtime's secret, both ways, in messages of
//! fixed size:
//!
//! ```text
//! client → server   hello:     magic 8, protocol version 1, zero 3, runtime number 4, cluster id 16, nonce 32
//! server → client   challenge: verdict 1, nonce 32, HMAC(secret, "server" ‖ hello ‖ nonce) 32
//! client → server   answer:    HMAC(secret, "client" ‖ hello ‖ nonce) 32
//! ```
//!
//! The cluster id is the runtime's, drawn at random with the secret, so that a worker left over from another
//! run is told so instead of failing somewhere later. A connection has five seconds to pass.

use std::io;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use mosaic_core::id::RuntimeId;
use mosaic_core::wire::PROTOCOL_VERSION;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// How long a connection may take to pass.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);

const MAGIC: &[u8; 8] = b"mosaic\r\n";
const HELLO: usize = 64;
const CHALLENGE: usize = 65;
const TAG: usize = 32;

/// Why a peer was turned away.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The connection broke or took too long.
    #[error("the connection broke during the handshake: {0}")]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("the handshake took longer than {} s", HANDSHAKE_LIMIT.as_secs())]
    TimedOut,
    /// The peer is a process of another user.
    #[error("the peer runs as user {peer}, not as {own}")]
    ForeignUser {
        /// Their user id.
        peer: u32,
        /// Ours.
        own: u32,
    },
    /// Not our protocol at all.
    #[error("the peer does not speak mosaic's protocol")]
    NotMosaic,
    /// Another version of it.
    #[error(
        "the peer speaks protocol version {0}, this is {PROTOCOL_VERSION}: use one version of mosaic everywhere"
    )]
    Version(u8),
    /// Another run.
    #[error("the peer belongs to another runtime (left over from an earlier run?)")]
    OtherCluster,
    /// The secrets differ.
    #[error("the peer does not know this runtime's secret")]
    WrongSecret,
}

/// What the members of one runtime share.
#[derive(Clone)]
pub struct Secret {
    key: [u8; 32],
    cluster: [u8; 16],
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// Length in bytes when written to a file.
    pub const LENGTH: usize = 48;

    /// A fresh one from the system's source of randomness.
    pub fn generate() -> io::Result<Self> {
        let mut bytes = [0; Self::LENGTH];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self::from_bytes(&bytes))
    }

    /// The one that was written to a file.
    pub fn from_bytes(bytes: &[u8; Self::LENGTH]) -> Self {
        let (mut key, mut cluster) = ([0; 32], [0; 16]);
        key.copy_from_slice(&bytes[..32]);
        cluster.copy_from_slice(&bytes[32..]);
        Self { key, cluster }
    }

    /// What to write to the file.
    pub fn to_bytes(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..32].copy_from_slice(&self.key);
        bytes[32..].copy_from_slice(&self.cluster);
        bytes
    }

    fn mac(&self, role: &[u8], hello: &[u8], nonce: &[u8]) -> Hmac<Sha256> {
        let mut key = [0; 64];
        key[..32].copy_from_slice(&self.key);
        let mut mac = Hmac::<Sha256>::new(&key.into());
        mac.update(role);
        mac.update(hello);
        mac.update(nonce);
        mac
    }
}

fn nonce() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Refuse peers that run as another user, whatever they know.
fn check_user(stream: &UnixStream) -> Result<(), AuthError> {
    let own = rustix::process::geteuid().as_raw();
    let peer = stream.peer_cred()?.uid();
    if peer == own {
        Ok(())
    } else {
        Err(AuthError::ForeignUser { peer, own })
    }
}

/// The verdict byte of a challenge.
const WELCOME: u8 = 0;
const OTHER_VERSION: u8 = 1;
const OTHER_CLUSTER: u8 = 2;

/// The connecting side. `me` is the number that the head gave this runtime.
pub async fn connect(
    stream: &mut UnixStream,
    secret: &Secret,
    me: RuntimeId,
) -> Result<(), AuthError> {
    tokio::time::timeout(HANDSHAKE_LIMIT, async {
        check_user(stream)?;
        let mut hello = [0; HELLO];
        hello[..8].copy_from_slice(MAGIC);
        hello[8] = PROTOCOL_VERSION;
        hello[12..16].copy_from_slice(&me.0.to_le_bytes());
        hello[16..32].copy_from_slice(&secret.cluster);
        hello[32..].copy_from_slice(&nonce()?);
        stream.write_all(&hello).await?;
        let mut challenge = [0; CHALLENGE];
        stream.read_exact(&mut challenge).await?;
        match challenge[0] {
            WELCOME => {}
            OTHER_VERSION => return Err(AuthError::Version(challenge[1])),
            OTHER_CLUSTER => return Err(AuthError::OtherCluster),
            _ => return Err(AuthError::NotMosaic),
        }
        let (nonce, tag) = challenge[1..].split_at(32);
        secret
            .mac(b"server", &hello, nonce)
            .verify_slice(tag)
            .map_err(|_| AuthError::WrongSecret)?;
        let answer = secret.mac(b"client", &hello, nonce).finalize().into_bytes();
        stream.write_all(&answer).await?;
        Ok(())
    })
    .await
    .unwrap_or(Err(AuthError::TimedOut))
}

/// The accepting side. Returns the number of the runtime that connected.
pub async fn accept(stream: &mut UnixStream, secret: &Secret) -> Result<RuntimeId, AuthError> {
    tokio::time::timeout(HANDSHAKE_LIMIT, async {
        check_user(stream)?;
        let mut hello = [0; HELLO];
        stream.read_exact(&mut hello).await?;
        if hello[..8] != MAGIC[..] {
            return Err(AuthError::NotMosaic);
        }
        let mut challenge = [0; CHALLENGE];
        let refusal = if hello[8] != PROTOCOL_VERSION {
            challenge[1] = PROTOCOL_VERSION;
            Some((OTHER_VERSION, AuthError::Version(hello[8])))
        } else if hello[16..32] != secret.cluster {
            Some((OTHER_CLUSTER, AuthError::OtherCluster))
        } else {
            None
        };
        if let Some((verdict, error)) = refusal {
            challenge[0] = verdict;
            stream.write_all(&challenge).await?;
            return Err(error);
        }
        let nonce = nonce()?;
        challenge[1..33].copy_from_slice(&nonce);
        challenge[33..].copy_from_slice(
            &secret
                .mac(b"server", &hello, &nonce)
                .finalize()
                .into_bytes(),
        );
        stream.write_all(&challenge).await?;
        let mut answer = [0; TAG];
        stream.read_exact(&mut answer).await?;
        secret
            .mac(b"client", &hello, &nonce)
            .verify_slice(&answer)
            .map_err(|_| AuthError::WrongSecret)?;
        let mut number = [0; 4];
        number.copy_from_slice(&hello[12..16]);
        Ok(RuntimeId(u32::from_le_bytes(number)))
    })
    .await
    .unwrap_or(Err(AuthError::TimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shake(
        client: &Secret,
        server: &Secret,
    ) -> (Result<(), AuthError>, Result<RuntimeId, AuthError>) {
        let (mut near, mut far) = UnixStream::pair().expect("a socket pair");
        let connecting = async {
            let result = connect(&mut near, client, RuntimeId(7)).await;
            drop(near);
            result
        };
        let accepting = async {
            let result = accept(&mut far, server).await;
            drop(far);
            result
        };
        tokio::join!(connecting, accepting)
    }

    #[tokio::test]
    async fn members_of_one_runtime_recognise_each_other() {
        let secret = Secret::generate().expect("randomness");
        let (client, server) = shake(&secret, &Secret::from_bytes(&secret.to_bytes())).await;
        client.expect("the server proved itself");
        assert_eq!(server.expect("the client proved itself"), RuntimeId(7));
    }

    #[tokio::test]
    async fn a_worker_of_another_run_is_told_so() {
        let (client, server) = shake(
            &Secret::generate().expect("randomness"),
            &Secret::generate().expect("randomness"),
        )
        .await;
        assert!(matches!(client, Err(AuthError::OtherCluster)));
        assert!(matches!(server, Err(AuthError::OtherCluster)));
    }

    #[tokio::test]
    async fn knowing_the_cluster_is_not_knowing_the_secret() {
        let secret = Secret::generate().expect("randomness");
        let mut bytes = secret.to_bytes();
        bytes[0] ^= 1;
        let (client, server) = shake(&Secret::from_bytes(&bytes), &secret).await;
        assert!(matches!(client, Err(AuthError::WrongSecret)));
        assert!(server.is_err());
    }

    #[tokio::test]
    async fn a_stranger_is_not_listened_to() {
        let (mut near, mut far) = UnixStream::pair().expect("a socket pair");
        near.write_all(&[b'x'; HELLO])
            .await
            .expect("room in the buffer");
        let secret = Secret::generate().expect("randomness");
        assert!(matches!(
            accept(&mut far, &secret).await,
            Err(AuthError::NotMosaic)
        ));
    }
}
