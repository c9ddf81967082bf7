//! Bytes and open files over a Unix socket (`SCM_RIGHTS`, unix(7)).
//!
//! A file arrives no later than the first byte of the write that carried it. A message describes its files behind its
//! first bytes, so the files are there before their descriptions are read. If this process has no descriptor left,
//! the bytes arrive without them (`MSG_CTRUNC`).

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// Most files of one write. The kernel takes 253; but they come all at once, and a process that may have 256 open is to
/// find room for them.
pub(crate) const MAX_FILES: usize = 32;

/// Write without blocking.
pub(crate) fn write(socket: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    write_with(socket, slices, &mut SendAncillaryBuffer::default())
}

/// Write the slices without blocking, with these files.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    slices: &[IoSlice<'_>],
    files: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(files));
    write_with(socket, slices, &mut ancillary)
}

fn write_with(
    socket: BorrowedFd<'_>,
    slices: &[IoSlice<'_>],
    ancillary: &mut SendAncillaryBuffer<'_, '_, '_>,
) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    #[cfg(not(target_os = "linux"))]
    let flags = SendFlags::DONTWAIT;
    loop {
        match sendmsg(socket, slices, ancillary, flags) {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Length of a descriptor.
const SIZE: usize = size_of::<libc::c_int>();

/// The ancillary part of a message with as many files as there can be.
#[repr(align(8))]
struct Control([MaybeUninit<u8>; 1040]);

/// What a read brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Received {
    /// How many bytes.
    pub(crate) count: usize,
    /// Files that came along were lost: this process had no descriptors for them.
    pub(crate) truncated: bool,
}

/// Read into `buffer` without blocking; hands over the files that came with what was read.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [MaybeUninit<u8>],
    mut file: impl FnMut(OwnedFd),
) -> io::Result<Received> {
    let mut control = Control([const { MaybeUninit::uninit() }; 1040]);
    let mut slice = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all zeros are a valid header.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut slice;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    #[cfg(target_os = "linux")]
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: the header names memory that lives until the call is over; the kernel fills what it returns.
    let count = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut header, flags) };
    if count < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has written `msg_controllen` bytes of well-formed control messages; every descriptor in
    // them is new and this process's own.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(&raw const header);
        while !message.is_null() {
            if (*message).cmsg_level == libc::SOL_SOCKET && (*message).cmsg_type == libc::SCM_RIGHTS
            {
                let data = libc::CMSG_DATA(message);
                let length = (*message).cmsg_len as usize - (data as usize - message as usize);
                for bytes in std::slice::from_raw_parts(data, length).chunks_exact(SIZE) {
                    let descriptor =
                        libc::c_int::from_ne_bytes(bytes.try_into().unwrap_or([0xff; SIZE]));
                    let received = OwnedFd::from_raw_fd(descriptor);
                    #[cfg(not(target_os = "linux"))]
                    let _ = rustix::io::fcntl_setfd(&received, rustix::io::FdFlags::CLOEXEC);
                    file(received);
                }
            }
            message = libc::CMSG_NXTHDR(&raw const header, message);
        }
    }
    Ok(Received {
        count: count.cast_unsigned(),
        truncated: header.msg_flags & libc::MSG_CTRUNC != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn files_arrive_with_the_bytes_and_in_their_order() {
        let (near, far) = UnixStream::pair().expect("a socket pair");
        let pipes: Vec<_> = (0..MAX_FILES)
            .map(|_| rustix::pipe::pipe().expect("a pipe"))
            .collect();
        let ends: Vec<_> = pipes.iter().map(|(read, _)| read.as_fd()).collect();
        let sent = send(near.as_fd(), &[IoSlice::new(b"hello")], &ends).expect("sent");
        assert_eq!(sent, 5);
        let (mut buffer, mut files) = ([MaybeUninit::uninit(); 16], Vec::new());
        let received =
            receive(far.as_fd(), &mut buffer, |file| files.push(file)).expect("received");
        let whole = Received {
            count: 5,
            truncated: false,
        };
        assert_eq!((received, files.len()), (whole, MAX_FILES));
        for (index, (_, write)) in pipes.iter().enumerate() {
            rustix::io::write(write, &[index as u8]).expect("written");
        }
        for (index, file) in files.into_iter().enumerate() {
            let mut byte = [0];
            std::fs::File::from(file)
                .read_exact(&mut byte)
                .expect("read");
            assert_eq!(byte[0], index as u8);
        }
        let again = receive(far.as_fd(), &mut buffer, |_| {});
        assert_eq!(again.expect_err("empty").kind(), io::ErrorKind::WouldBlock);
    }
}
