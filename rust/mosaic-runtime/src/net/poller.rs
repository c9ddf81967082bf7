//! How the I/O thread learns that a connection has something to read, and how it is left alone meanwhile.
//!
//! A thread that reads beside it (see [`crate::net::reader`]) polls the sockets itself. If the kernel woke both, the
//! second wake-up would find nothing, and where cores are few it would take the one that the first needs: it was a
//! third of the processor time of a blocking call. So whoever helps hushes the I/O thread for as long as it polls.
//!
//! On Linux all sockets are in one epoll instance, and that is the only thing in another, which the I/O thread polls:
//! one system call hushes them all. Letting it speak again tells of what came meanwhile and was not read
//! (`ARRIVALS-1`), which the kernel looks up at that moment. Elsewhere nobody is hushed.

#[cfg(target_os = "linux")]
pub(crate) use linux::Arrivals;
#[cfg(not(target_os = "linux"))]
pub(crate) use others::Arrivals;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::{AsRawFd, OwnedFd, RawFd};
    use std::sync::Arc;

    use rustix::event::Timespec;
    use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    use crate::engine::inner::Shared;
    use crate::net::reader::Inlet;

    const NOW: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    /// Each arrival is told once: whoever reads, reads all.
    const READABLE: EventFlags = EventFlags::IN.union(EventFlags::ET);

    /// See the module.
    #[derive(Debug)]
    pub(crate) struct Arrivals {
        /// Has nothing in it but `sockets`.
        gate: OwnedFd,
        sockets: OwnedFd,
    }

    impl AsRawFd for Arrivals {
        fn as_raw_fd(&self) -> RawFd {
            self.gate.as_raw_fd()
        }
    }

    impl Arrivals {
        pub(crate) fn new() -> io::Result<Arc<Self>> {
            let gate = epoll::create(CreateFlags::CLOEXEC)?;
            let sockets = epoll::create(CreateFlags::CLOEXEC)?;
            epoll::add(&gate, &sockets, EventData::new_u64(0), READABLE)?;
            Ok(Arc::new(Self { gate, sockets }))
        }

        /// Tell of this connection too.
        pub(crate) fn add(&self, inlet: &Arc<Inlet>, _: &Arc<Shared>) -> io::Result<()> {
            let number = EventData::new_u64(inlet.number());
            Ok(epoll::add(
                &self.sockets,
                inlet.socket(),
                number,
                READABLE | EventFlags::RDHUP,
            )?)
        }

        /// No more of it. It stays open as long: a forked process may hold it open beyond.
        pub(crate) fn remove(&self, inlet: &Inlet) {
            let _ = epoll::delete(&self.sockets, inlet.socket());
        }

        /// Leave the I/O thread alone.
        pub(crate) fn hush(&self) {
            self.change(EventFlags::empty());
        }

        /// Tell it of what came meanwhile and is still there, and of what comes.
        pub(crate) fn speak(&self) {
            self.change(READABLE);
        }

        fn change(&self, flags: EventFlags) {
            // Refused only for what is not in there.
            let _ = epoll::modify(&self.gate, &self.sockets, EventData::new_u64(0), flags);
        }

        /// Have everything read that comes; on the I/O thread.
        pub(crate) async fn watch(self: Arc<Self>, shared: Arc<Shared>) {
            // SAFETY: the descriptor is that of `gate`, which lives as long as the `Arc` in there.
            let watched =
                unsafe { AsyncFd::register_with_interest(Arc::clone(&self), Interest::READABLE) };
            let Ok(watched) = watched else {
                return shared.end("the system refused to watch the connections");
            };
            while let Ok(mut guard) = watched.readable().await {
                // Before the look, so that what comes after it is told again.
                guard.clear_ready();
                for number in self.ready() {
                    if let Some(inlet) = shared.inlets.find(number) {
                        inlet.read(&shared);
                    }
                }
            }
        }

        /// The connections that have something, each told once.
        pub(super) fn ready(&self) -> Vec<u64> {
            let mut ready = Vec::new();
            let mut space = [MaybeUninit::<Event>::uninit(); 64];
            // What the gate has noted of the sockets is over with this look: a note left there would keep `speak`
            // from telling.
            let _ = epoll::wait(&self.gate, &mut space, Some(&NOW));
            while let Ok((events, rest)) = epoll::wait(&self.sockets, &mut space, Some(&NOW)) {
                // Copies out of a packed structure.
                ready.extend(events.iter().map(|event| { event.data }.u64()));
                if !rest.is_empty() {
                    break;
                }
            }
            ready
        }
    }

    #[cfg(test)]
    mod tests {
        use std::io::{Read, Write};
        use std::os::unix::net::UnixStream;

        use rustix::event::{PollFd, PollFlags, poll};

        use super::*;

        fn told(arrivals: &Arrivals) -> bool {
            let mut gate = [PollFd::new(&arrivals.gate, PollFlags::IN)];
            poll(&mut gate, Some(&NOW)).expect("a look") == 1
        }

        /// An edge-triggered watcher, as tokio's is.
        fn watcher(arrivals: &Arrivals) -> OwnedFd {
            let watcher = epoll::create(CreateFlags::CLOEXEC).expect("an epoll instance");
            epoll::add(&watcher, &arrivals.gate, EventData::new_u64(0), READABLE).expect("added");
            watcher
        }

        fn woken(watcher: &OwnedFd) -> bool {
            let mut space = [MaybeUninit::<Event>::uninit(); 4];
            let (events, _) = epoll::wait(watcher, &mut space, Some(&NOW)).expect("a look");
            !events.is_empty()
        }

        /// `ARRIVALS-1`
        #[test]
        fn arrivals_1_what_came_meanwhile_is_told_unless_it_was_read() {
            let arrivals = Arrivals::new().expect("epoll instances");
            let watcher = watcher(&arrivals);
            let (mut near, mut far) = UnixStream::pair().expect("a socket pair");
            epoll::add(&arrivals.sockets, &near, EventData::new_u64(7), READABLE).expect("added");
            let mut byte = [0];
            // With and without a note from before that nobody has looked at.
            for looked in [true, false, true] {
                far.write_all(b"x").expect("written");
                assert!(woken(&watcher));
                if looked {
                    assert_eq!(arrivals.ready(), [7]);
                }
                near.read_exact(&mut byte).expect("read");

                arrivals.hush();
                far.write_all(b"x").expect("written");
                assert!(!woken(&watcher), "hushed");
                near.read_exact(&mut byte)
                    .expect("read by the other thread");
                arrivals.speak();
                if looked {
                    assert!(!woken(&watcher), "nothing is left");
                }
                assert!(!told(&arrivals));

                arrivals.ready();
                arrivals.hush();
                far.write_all(b"x").expect("written");
                arrivals.speak();
                assert!(woken(&watcher), "it is still there");
                assert_eq!(arrivals.ready(), [7]);
                near.read_exact(&mut byte).expect("read");
            }
            drop(far);
            assert!(woken(&watcher), "the end is told");
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod others {
    use std::io;
    use std::sync::Arc;

    use crate::engine::inner::Shared;
    use crate::net::reader::Inlet;

    /// See the module.
    #[derive(Debug)]
    pub(crate) struct Arrivals;

    impl Arrivals {
        pub(crate) fn new() -> io::Result<Arc<Self>> {
            Ok(Arc::new(Self))
        }

        pub(crate) fn add(&self, inlet: &Arc<Inlet>, shared: &Arc<Shared>) -> io::Result<()> {
            let (inlet, shared) = (Arc::clone(inlet), Arc::clone(shared));
            let socket =
                crate::net::writer::watch(inlet.shared_socket(), tokio::io::Interest::READABLE)?;
            tokio::spawn(async move {
                while !inlet.ended()
                    && let Ok(mut guard) = socket.readable().await
                {
                    guard.clear_ready();
                    inlet.read(&shared);
                }
            });
            Ok(())
        }

        pub(crate) fn remove(&self, _: &Inlet) {}

        pub(crate) fn hush(&self) {}

        pub(crate) fn speak(&self) {}

        pub(crate) async fn watch(self: Arc<Self>, _: Arc<Shared>) {}
    }
}
