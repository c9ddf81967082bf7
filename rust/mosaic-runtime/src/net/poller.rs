//! Readiness of the sockets: wakes the I/O thread when a connection is readable, unless it is masked.
//!
//! An inline poller ([`crate::net::reader`]) polls the sockets itself. If the kernel woke the I/O thread too, that
//! second wake-up would find nothing and, where cores are few, delay the first: it was a third of the processor time
//! of a blocking call. The inline poller therefore masks the I/O thread for as long as it polls.
//!
//! On Linux one epoll instance holds all sockets, and the I/O thread polls another one whose only member is the
//! first: one system call masks all sockets. Elsewhere masking does nothing.
//!
//! - `POLLER-1`: unmasking reports every socket that still has unread data; the kernel looks this up at that moment.

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
    /// Edge-triggered: a reader reads all that is available.
    const READABLE: EventFlags = EventFlags::IN.union(EventFlags::ET);

    /// Two nested epoll instances.
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

        /// Watch this connection too.
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

        /// Stop watching it. The socket is still open now, and a forked process may hold it open for longer.
        pub(crate) fn remove(&self, read_half: &ReadHalf) {
            let _ = epoll::delete(&self.sockets, read_half.socket());
        }

        /// Do not wake the I/O thread.
        pub(crate) fn mask(&self) {
            self.change(EventFlags::empty());
        }

        /// Wake the I/O thread again: for unread data that arrived meanwhile, and for what arrives later.
        pub(crate) fn unmask(&self) {
            self.change(READABLE);
        }

        fn change(&self, flags: EventFlags) {
            // Refused only for what is not in there.
            let _ = epoll::modify(&self.gate, &self.sockets, EventData::new_u64(0), flags);
        }

        /// Read every connection that becomes readable; on the I/O thread.
        pub(crate) async fn watch(self: Arc<Self>, inner: Arc<EngineInner>) {
            // SAFETY: the descriptor is that of `gate`, which lives as long as the `Arc` in there.
            let watched =
                unsafe { AsyncFd::register_with_interest(Arc::clone(&self), Interest::READABLE) };
            let Ok(watched) = watched else {
                return inner.end("the system refused to watch the connections");
            };
            while let Ok(mut guard) = watched.readable().await {
                // Before the look, so that later data is reported again.
                guard.clear_ready();
                for number in self.ready() {
                    if let Some(read_half) = inner.read_halves.find(number) {
                        read_half.read(&inner);
                    }
                }
            }
        }

        /// The readable connections, each reported once.
        pub(super) fn ready(&self) -> Vec<u64> {
            let mut ready = Vec::new();
            let mut space = [MaybeUninit::<Event>::uninit(); 64];
            // This look clears the gate's pending edge: left there, it would keep `unmask` from reporting a new one.
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
            // With and without a pending edge from before.
            for looked in [true, false, true] {
                far.write_all(b"x").expect("written");
                assert!(woken(&watcher));
                if looked {
                    assert_eq!(poller.ready(), [7]);
                }
                near.read_exact(&mut byte).expect("read");

                poller.mask();
                far.write_all(b"x").expect("written");
                assert!(!woken(&watcher), "masked");
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

    /// One tokio task a connection; masking does nothing.
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
