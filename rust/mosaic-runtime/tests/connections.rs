//! Connections between two workers that end, or cannot be made, while both live.

mod common;

use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use common::{Network, PATIENCE, Proxy};
use mosaic_core::call::FailureKind;
use mosaic_core::id::RuntimeId;
use mosaic_runtime::net::handshake::{self, Secret};
use mosaic_runtime::notice::Notice;
use rustix::net::{Shutdown, SocketAddrUnix, getpeername, shutdown};

fn socket(network: &Network, number: u32) -> PathBuf {
    network.head.directory().join(format!("{number}.sock"))
}

/// Cut all connections of this process that were made to a socket; returns how many there were.
fn cut(socket: &Path) -> usize {
    let listed = std::fs::read_dir("/proc/self/fd").expect("the descriptors");
    let numbers = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let numbers: Vec<RawFd> = numbers.collect();
    let mut count = 0;
    for number in numbers {
        // SAFETY: what is closed meanwhile, or no socket, is refused by the calls.
        let end = unsafe { BorrowedFd::borrow_raw(number) };
        let peer = getpeername(end).ok().flatten();
        let peer = peer.and_then(|peer| SocketAddrUnix::try_from(peer).ok());
        if peer.is_some_and(|peer| peer.path_bytes() == Some(socket.as_os_str().as_bytes())) {
            count += usize::from(shutdown(end, Shutdown::Both).is_ok());
        }
    }
    count
}

/// Two workers, and a subject on each that the other has made.
fn crossed() -> (Network, Proxy, Proxy) {
    let network = Network::start(2);
    let [one, two] = [0, 1].map(|index| network.workers[index].engine.clone());
    let on_one = Proxy::build(&two, "Subject", Some(one.runtime())).expect("room");
    let on_two = Proxy::build(&one, "Subject", Some(two.runtime())).expect("room");
    on_one.construction.value().expect("a subject");
    on_two.construction.value().expect("a subject");
    (network, on_one, on_two)
}

/// Stop the head, and return what it has logged of lost connections.
fn losses_logged(network: &Network) -> Vec<String> {
    network.head.stop(None);
    let mut lines = Vec::new();
    while let Some(notices) = network.head.notices().take() {
        lines.extend(notices.into_iter().filter_map(|notice| match notice {
            Notice::Log { text, .. } if text.contains("while both lived") => Some(text),
            _ => None,
        }));
    }
    lines
}

#[test]
fn a_loss_is_logged_once_and_not_where_a_runtime_stops() {
    for stops in [false, true] {
        let (network, on_one, on_two) = crossed();
        let running = [on_one.call("block", ""), on_two.call("block", "")];
        while network.gate.count("block") < 2 {
            std::thread::yield_now();
        }
        if stops {
            network.workers[0].engine.stop(None);
        } else {
            assert_eq!(cut(&socket(&network, 1)), 1);
        }
        for call in &running {
            call.value().expect_err("a loss");
        }
        network.gate.open();
        if !stops {
            on_one.call("echo", "").value().expect("an echo");
        }
        // What the worker has to say is on its way before this.
        let two = &network.workers[1].engine;
        two.wait(
            &two.barrier().expect("a barrier"),
            mosaic_runtime::sync::completion::Stage::End,
            common::deadline(),
        )
        .expect("its end");
        assert_eq!(losses_logged(&network).len(), usize::from(!stops));
    }
}

/// `CONN-1`: both workers call each other, and the connection is the one that the second made to the first.
#[test]
fn calls_on_a_lost_connection_fail_and_the_next_ones_make_another() {
    let (network, on_one, on_two) = crossed();
    let blocked = [on_one.call("block", ""), on_two.call("block", "")];
    while network.gate.count("block") < 2 {
        std::thread::yield_now();
    }
    let behind: Vec<_> = (0..10u8)
        .map(|number| on_one.call("record", vec![number]))
        .collect();
    assert_eq!(cut(&socket(&network, 1)), 1, "one connection for both");
    for call in blocked.iter().chain(&behind) {
        let message = call.failure(FailureKind::ConnectionLost);
        assert!(
            message.contains("inside:1") && message.contains("inside:2"),
            "{message}"
        );
    }
    network.gate.open();
    // What waited behind the call that ran never begins; what is called from now on runs, in order.
    for number in 10..20u8 {
        on_one.call("record", vec![number]);
    }
    let recorded = on_one.call("recorded", "").value().expect("the record");
    assert_eq!(recorded, (10..20u8).collect::<Vec<_>>());
    assert_eq!(
        on_two.call("echo", "back").value().expect("an echo"),
        "back"
    );
    assert_eq!(network.head.members().len(), 3);
}

#[test]
fn what_is_held_across_a_loss_stays_and_goes_when_it_is_let_go_of() {
    let (network, on_one, on_two) = crossed();
    let kept = on_one.call("echo", vec![7; 1 << 20]);
    // It has ended, and its value stays where it is.
    network.workers[1]
        .engine
        .wait(
            &kept.completion,
            mosaic_runtime::sync::completion::Stage::End,
            common::deadline(),
        )
        .expect("an end");
    assert_eq!(cut(&socket(&network, 1)), 1);
    assert_eq!(kept.value().expect("the value").len(), 1 << 20);
    on_one.call("echo", "").value().expect("an echo");
    assert_eq!(network.gate.count("dropped"), 0);
    assert!(cut(&socket(&network, 1)) > 0);
    drop((on_one, on_two, kept));
    network.gate.wait("dropped");
}

#[test]
fn a_barrier_passes_whatever_is_lost() {
    let (network, on_one, on_two) = crossed();
    let blocked = [on_one.call("block", ""), on_two.call("block", "")];
    while network.gate.count("block") < 2 {
        std::thread::yield_now();
    }
    let fence = network.workers[0].engine.barrier().expect("a fence");
    assert_eq!(cut(&socket(&network, 1)), 1);
    // Both ends have heard of it.
    for call in blocked {
        call.failure(FailureKind::ConnectionLost);
    }
    network.gate.open();
    network.workers[0]
        .engine
        .wait(
            &fence,
            mosaic_runtime::sync::completion::Stage::End,
            common::deadline(),
        )
        .expect("its end");
    on_one.call("echo", "").value().expect("an echo");
}

/// `CONN-3`
#[test]
fn conn_3_a_connection_that_cannot_be_made_is_tried_again() {
    for (from, to) in [(1, 0), (0, 1)] {
        let network = Network::start(2);
        // Neither can reach the other.
        let hidden = [1, 2].map(|number| {
            let door = socket(&network, number);
            let aside = door.with_extension("aside");
            std::fs::rename(&door, &aside).expect("a socket");
            (door, aside)
        });
        let engine = &network.workers[from].engine;
        let place = network.workers[to].engine.runtime();
        let subject = Proxy::build(engine, "Subject", Some(place)).expect("room");
        let call = subject.call("echo", "at last");
        // By then the first attempt has failed: what is asked of the head comes back behind it.
        engine
            .wait(
                &engine.barrier().expect("a fence"),
                mosaic_runtime::sync::completion::Stage::End,
                Some(std::time::Instant::now() + std::time::Duration::from_millis(100)),
            )
            .expect_err("it waits for the call");
        for (door, aside) in hidden {
            std::fs::rename(aside, door).expect("a socket");
        }
        assert_eq!(call.value().expect("an echo"), "at last");
    }
}

/// `CONN-2`
#[test]
fn conn_2_a_connection_that_comes_ends_the_one_before() {
    let (network, on_one, on_two) = crossed();
    let secret = std::fs::read(network.head.directory().join("secret")).expect("the secret");
    let secret = Secret::from_bytes(&secret.try_into().expect("its length"));
    let blocked = on_one.call("block", "");
    network.gate.wait("block");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    // As if worker 2 had made another while worker 1 still had the first.
    let other = runtime.block_on(async {
        let door = socket(&network, 1);
        let mut stream = tokio::net::UnixStream::connect(door).await.expect("room");
        handshake::connect(&mut stream, &secret, RuntimeId(2))
            .await
            .expect("a member");
        stream.into_std().expect("a stream")
    });
    blocked.failure(FailureKind::ConnectionLost);
    network.gate.open();
    // Worker 2 makes its next, which ends this one in turn.
    assert_eq!(
        on_one.call("echo", "again").value().expect("an echo"),
        "again"
    );
    assert_eq!(
        on_two.call("echo", "again").value().expect("an echo"),
        "again"
    );
    other.set_nonblocking(false).expect("a stream");
    other.set_read_timeout(Some(PATIENCE)).expect("a stream");
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut &other, &mut rest).expect("its end");
}
