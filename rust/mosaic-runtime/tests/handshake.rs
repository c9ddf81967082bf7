//! Who knocks without belonging here is turned away, and nobody who does is disturbed.

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use common::{Network, PATIENCE};
use mosaic_core::id::RuntimeId;
use mosaic_core::wire::PROTOCOL_VERSION;
use mosaic_runtime::net::handshake::{self, AuthError, Secret};

/// A network in the middle of its work, and the doors to it.
struct House {
    network: Network,
    secret: [u8; Secret::LENGTH],
}

impl House {
    fn new() -> Self {
        let network = Network::start(1);
        let read = std::fs::read(network.head.directory().join("secret")).expect("the secret");
        Self {
            network,
            secret: read.try_into().expect("its length"),
        }
    }

    fn doors(&self) -> [PathBuf; 2] {
        [0, 1].map(|number| self.network.head.directory().join(format!("{number}.sock")))
    }

    /// Do something at every door while calls run, and see that they go on.
    fn disturb(&self, visit: impl Fn(PathBuf)) {
        let subject = self.network.subject(0);
        let sent: Vec<u8> = (0..200).collect();
        let calls: Vec<_> = sent
            .iter()
            .map(|&byte| subject.call("record", vec![byte]))
            .collect();
        for door in self.doors() {
            visit(door);
        }
        assert_eq!(
            subject.call("recorded", "").value().expect("the record"),
            sent
        );
        for call in calls {
            call.value().expect("undisturbed");
        }
        assert_eq!(self.network.head.members().len(), 2);
    }
}

fn knock(door: PathBuf) -> UnixStream {
    let stream = UnixStream::connect(door).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream
}

/// What is still sent until the connection closes.
fn rest(mut stream: UnixStream) -> Vec<u8> {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        // Closed with something unread: as final as any other way.
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => {
            panic!("it stayed open: {error}")
        }
        _ => rest,
    }
}

fn hello(secret: &[u8; Secret::LENGTH]) -> Vec<u8> {
    let mut hello = b"mosaic\r\n".to_vec();
    hello.extend([PROTOCOL_VERSION, 0, 0, 0]);
    hello.extend(9u32.to_le_bytes());
    hello.extend(&secret[32..]);
    hello.extend([7; 32]);
    hello
}

/// Try to come in properly with that secret.
fn introduce(door: PathBuf, secret: [u8; Secret::LENGTH]) -> Result<UnixStream, AuthError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut stream = tokio::net::UnixStream::connect(door)
            .await
            .expect("a connection");
        handshake::connect(&mut stream, &Secret::from_bytes(&secret), RuntimeId(9)).await?;
        let stream = stream.into_std().expect("a stream");
        stream.set_nonblocking(false).expect("a blocking stream");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        Ok(stream)
    })
}

#[test]
fn garbage_is_answered_with_nothing() {
    House::new().disturb(|door| {
        let mut stream = knock(door);
        stream.write_all(&[b'x'; 64]).expect("room");
        assert_eq!(rest(stream), b"");
    });
}

#[test]
fn one_who_leaves_in_mid_word_is_forgotten() {
    House::new().disturb(|door| {
        let mut stream = knock(door);
        stream.write_all(b"mosaic").expect("room");
        stream
            .shutdown(std::net::Shutdown::Write)
            .expect("half a goodbye");
        assert_eq!(rest(stream), b"");
    });
}

#[test]
fn another_version_is_told_ours() {
    let house = House::new();
    house.disturb(|door| {
        let mut stream = knock(door);
        let mut hello = hello(&house.secret);
        hello[8] = PROTOCOL_VERSION + 1;
        stream.write_all(&hello).expect("room");
        let refusal = rest(stream);
        assert_eq!((refusal.len(), refusal[1]), (65, PROTOCOL_VERSION));
        assert_ne!(refusal[0], 0);
        assert!(
            refusal[2..].iter().all(|&byte| byte == 0),
            "nothing about the secret"
        );
    });
}

#[test]
fn another_cluster_is_told_so() {
    let house = House::new();
    let other = Secret::generate().expect("randomness").to_bytes();
    house.disturb(|door| {
        assert!(matches!(
            introduce(door, other),
            Err(AuthError::OtherCluster)
        ));
    });
}

#[test]
fn a_wrong_secret_is_noticed_by_both_sides() {
    let house = House::new();
    let mut wrong = house.secret;
    wrong[0] ^= 1;
    house.disturb(|door| {
        assert!(matches!(
            introduce(door, wrong),
            Err(AuthError::WrongSecret)
        ));
    });
    // One who does not check, and goes on as if it were let in.
    house.disturb(|door| {
        let mut stream = knock(door);
        stream.write_all(&hello(&house.secret)).expect("room");
        let mut challenge = [0; 65];
        stream.read_exact(&mut challenge).expect("a challenge");
        assert_eq!(challenge[0], 0);
        // It may be shut out before all of it was taken.
        let _ = stream.write_all(&[0x55; 4096]);
        assert_eq!(rest(stream), b"");
    });
}

#[test]
fn what_cannot_be_read_closes_the_connection_it_came_by() {
    let house = House::new();
    house.disturb(|door| {
        let mut stream = introduce(door, house.secret).expect("one who knows the secret");
        let _ = stream.write_all(&[0xff; 256]);
        rest(stream);
    });
}
