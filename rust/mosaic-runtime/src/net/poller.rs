//! How the I/O thread learns that a connection has something to read, and how it is left alone meanwhile.
//!
//! A thread that reads beside it (see [`crate::net::reader`]) polls the sockets itself. If the kernel woke both, the
//! second wake-up would find nothing, and where cores are few it would take the one that the first needs: it was a
//! third of the processor time of a blocking call. So whoever helps hushes the I/O thread for as long as it polls.
//!
//! On Linux all sockets are in one epoll instance, and that is the only thing in another, which the I/O thread polls:
//! one system call hushes them all. Letting it unmask again tells of what came meanwhile and was not read
//! (`POLLER-1`), which the kernel looks up at that moment. Elsewhere nobody is masked.

#[cfg(target_os = "linux")]
pub(crate) use linux::Poller;
#[cfg(not(target_os = "linux"))]
pub(crate) use others::Poller;

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

    use crate::engine::inner::EngineInner;
    use crate::net::reader::ReadHalf;

    const NOW: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    /// Each arrival is told once: whoever reads, reads all.
    const READABLE: EventFlags = EventFlags::IN.union(EventFlags::ET);

    /// See the module.
    #[derive(Debug)]
    pub(crate) struct Poller {
        /// Has nothing in it but `sockets`.
        gate: OwnedFd,
        sockets: OwnedFd,
    }

    impl AsRawFd for Poller {
        fn as_raw_fd(&self) -> RawFd {
            self.gate.as_raw_fd()
        }
    }

    impl Poller {
        pub(crate) fn new() -> io::Result<Arc<Self>> {
            let gate = epoll::create(CreateFlags::CLOEXEC)?;
            let sockets = epoll::create(CreateFlags::CLOEXEC)?;
            epoll::add(&gate, &sockets, EventData::new_u64(0), READABLE)?;
            Ok(Arc::new(Self { gate, sockets }))
        }

        /// Tell of this connection too.
        pub(crate) fn add(
            &self,
            read_half: &Arc<ReadHalf>,
            _: &Arc<EngineInner>,
        ) -> io::Result<()> {
            let number = EventData::new_u64(read_half.number());
            Ok(epoll::add(
                &self.sockets,
                read_half.socket(),
                number,
                READABLE | EventFlags::RDHUP,
            )?)
        }

        /// No more of it. It stays open as long: a forked process may hold it open beyond.
        pub(crate) fn remove(&self, read_half: &ReadHalf) {
            let _ = epoll::delete(&self.sockets, read_half.socket());
        }

        /// Leave the I/O thread alone.
        pub(crate) fn mask(&self) {
            self.change(EventFlags::empty());
        }

        /// Tell it of what came meanwhile and is still there, and of what comes.
        pub(crate) fn unmask(&self) {
            self.change(READABLE);
        }

        fn change(&self, flags: EventFlags) {
            // Refused only for what is not in there.
            let _ = epoll::modify(&self.gate, &self.sockets, EventData::new_u64(0), flags);
        }

        /// Have everything read that comes; on the I/O thread.
        pub(crate) async fn watch(self: Arc<Self>, inner: Arc<EngineInner>) {
            // SAFETY: the descriptor is that of `gate`, which lives as long as the `Arc` in there.
            let watched =
                unsafe { AsyncFd::register_with_interest(Arc::clone(&self), Interest::READABLE) };
            let Ok(watched) = watched else {
                return inner.end("the system refused to watch the connections");
            };
            while let Ok(mut guard) = watched.readable().await {
                // Before the look, so that what comes after it is told again.
                guard.clear_ready();
                for number in self.ready() {
                    if let Some(read_half) = inner.read_halves.find(number) {
                        read_half.read(&inner);
                    }
                }
            }
        }

        /// The connections that have something, each told once.
        pub(super) fn ready(&self) -> Vec<u64> {
            let mut ready = Vec::new();
            let mut space = [MaybeUninit::<Event>::uninit(); 64];
            // What the gate has noted of the sockets is over with this look: a note left there would keep `unmask`
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

        fn reported(poller: &Poller) -> bool {
            let mut gate = [PollFd::new(&poller.gate, PollFlags::IN)];
            poll(&mut gate, Some(&NOW)).expect("a look") == 1
        }

        /// An edge-triggered watcher, as tokio's is.
        fn watcher(poller: &Poller) -> OwnedFd {
            let watcher = epoll::create(CreateFlags::CLOEXEC).expect("an epoll instance");
            epoll::add(&watcher, &poller.gate, EventData::new_u64(0), READABLE).expect("added");
            watcher
        }

        fn woken(watcher: &OwnedFd) -> bool {
            let mut space = [MaybeUninit::<Event>::uninit(); 4];
            let (events, _) = epoll::wait(watcher, &mut space, Some(&NOW)).expect("a look");
            !events.is_empty()
        }

        /// `POLLER-1`
        #[test]
        fn poller_1_unmask_reports_unread_data() {
            let poller = Poller::new().expect("epoll instances");
            let watcher = watcher(&poller);
            let (mut near, mut far) = UnixStream::pair().expect("a socket pair");
            epoll::add(&poller.sockets, &near, EventData::new_u64(7), READABLE).expect("added");
            let mut byte = [0];
            // With and without a note from before that nobody has looked at.
            for looked in [true, false, true] {
                far.write_all(b"x").expect("written");
                assert!(woken(&watcher));
                if looked {
                    assert_eq!(poller.ready(), [7]);
                }
                near.read_exact(&mut byte).expect("read");

                poller.mask();
                far.write_all(b"x").expect("written");
                assert!(!woken(&watcher), "hushed");
                near.read_exact(&mut byte)
                    .expect("read by the other thread");
                poller.unmask();
                if looked {
                    assert!(!woken(&watcher), "nothing is left");
                }
                assert!(!reported(&poller));

                poller.ready();
                poller.mask();
                far.write_all(b"x").expect("written");
                poller.unmask();
                assert!(woken(&watcher), "it is still there");
                assert_eq!(poller.ready(), [7]);
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

    use crate::engine::inner::EngineInner;
    use crate::net::reader::ReadHalf;

    /// See the module.
    #[derive(Debug)]
    pub(crate) struct Poller;

    impl Poller {
        pub(crate) fn new() -> io::Result<Arc<Self>> {
            Ok(Arc::new(Self))
        }

        pub(crate) fn add(
            &self,
            read_half: &Arc<ReadHalf>,
            inner: &Arc<EngineInner>,
        ) -> io::Result<()> {
            let (read_half, inner) = (Arc::clone(read_half), Arc::clone(inner));
            let socket = crate::net::writer::watch(
                read_half.shared_socket(),
                tokio::io::Interest::READABLE,
            )?;
            tokio::spawn(async move {
                while !read_half.ended()
                    && let Ok(mut guard) = socket.readable().await
                {
                    guard.clear_ready();
                    read_half.read(&inner);
                }
            });
            Ok(())
        }

        pub(crate) fn remove(&self, _: &ReadHalf) {}

        pub(crate) fn mask(&self) {}

        pub(crate) fn unmask(&self) {}

        pub(crate) async fn watch(self: Arc<Self>, _: Arc<EngineInner>) {}
    }
}
