//! Standard output and error of workers: from their pipes to lines, each with the origin that the worker names.
//!
//! Runs on the I/O thread of the process that started the workers, one task a pipe. A worker writes an *origin tag*
//! when what it prints begins to belong to another origin and the program asked for it: `ESC _ mosaic NUMBER ESC \`,
//! which a terminal would not show. This module takes the tags out. Output that a library writes past the worker's
//! own streams follows the last tag.
//!
//! - `STDIO-1`: a line belongs to the last tag before it, and a tag within a line ends it.
//! - `STDIO-2`: a flush of [`FlushBarrier`] ends after everything that was in the pipes when it began has been reported.
//! - `STDIO-3`: what was in a pipe when [`FlushBarrier::is_pending`] was called is reported by then, or the answer is
//!   yes.
//! - `STDIO-4`: everything that a process had printed when it ended is reported, whether there is capacity for it or not.

use std::io::ErrorKind;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use mosaic_core::id::RuntimeId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::net::unix::pipe;
use tokio::sync::{broadcast, watch};

use crate::node::processes::{Line, ProcessEvents};
use crate::sync::{Mutex, Rank};

/// A longer line is passed on in pieces, in bytes.
const LONGEST_LINE: usize = 1 << 20;
/// Bytes of standard error that are kept for the message that a worker failed to start.
const LAST_WORDS: usize = 2048;
/// Flushes that may be in progress at once; of more, the oldest end early.
const MAX_FLUSHES: usize = 16;
const TAG: &[u8] = b"\x1b_mosaic ";
const TAG_END: &[u8] = b"\x1b\\";

/// Flushes the pipes: makes their readers report everything that is in them.
#[derive(Debug)]
pub(crate) struct FlushBarrier {
    sender: broadcast::Sender<Arc<Flush>>,
    /// The pipes that are being read, each open as long as it stands here.
    pipes: Mutex<Vec<RawFd>>,
    /// Readers that may have read from their pipes and not reported it yet.
    forwarding: AtomicUsize,
}

impl FlushBarrier {
    pub(crate) fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(MAX_FLUSHES),
            pipes: Mutex::with_default(Rank::OutputPipes),
            forwarding: AtomicUsize::new(0),
        }
    }

    /// Whether there is something in a pipe, or on its way from there. Looked at in the order in which it moves: what
    /// has left one place has reached the next.
    pub(crate) fn is_pending(&self) -> bool {
        self.pipes_hold_something() || self.forwarding.load(Ordering::SeqCst) > 0
    }

    fn pipes_hold_something(&self) -> bool {
        let pipes = self.pipes.lock();
        let mut watched: Vec<_> = pipes
            .iter()
            .map(|pipe| {
                // SAFETY: open until it is taken out of the list, whose lock is held through the call below.
                let pipe = unsafe { BorrowedFd::borrow_raw(*pipe) };
                PollFd::from_borrowed_fd(pipe, PollFlags::IN)
            })
            .collect();
        poll(&mut watched, Some(&Timespec::default())).is_ok()
            && watched
                .iter()
                .any(|pipe| pipe.revents().contains(PollFlags::IN))
    }

    /// Start a flush: `end` is called once everything that is in the pipes now has been reported.
    pub(crate) fn begin(&self, end: impl FnOnce() + Send + Sync + 'static) {
        // Without a reader the flush ends with this call.
        let _ = self.sender.send(Arc::new(Flush(Some(Box::new(end)))));
    }

    fn reader(&self) -> broadcast::Receiver<Arc<Flush>> {
        self.sender.subscribe()
    }
}

/// A pipe that is being read.
struct OpenPipe<'a> {
    flush_barrier: &'a FlushBarrier,
    pipe: RawFd,
}

impl<'a> OpenPipe<'a> {
    fn new(flush_barrier: &'a FlushBarrier, pipe: &pipe::Receiver) -> Self {
        let pipe = pipe.as_raw_fd();
        flush_barrier.pipes.lock().push(pipe);
        Self {
            flush_barrier,
            pipe,
        }
    }
}

impl Drop for OpenPipe<'_> {
    fn drop(&mut self) {
        self.flush_barrier
            .pipes
            .lock()
            .retain(|pipe| *pipe != self.pipe);
    }
}

/// Held from before a pipe is read until what was read has been reported.
struct Forwarding<'a>(&'a AtomicUsize);

impl<'a> Forwarding<'a> {
    fn begin(flush_barrier: &'a FlushBarrier) -> Self {
        flush_barrier.forwarding.fetch_add(1, Ordering::SeqCst);
        Self(&flush_barrier.forwarding)
    }
}

impl Drop for Forwarding<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One flush; ends with the last reader that drops it, whether it has read or has ended.
struct Flush(Option<Box<dyn FnOnce() + Send + Sync>>);

impl std::fmt::Debug for Flush {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Round(..)")
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

/// One stream of one worker.
pub(crate) struct OutputStream<'a, A> {
    pub(crate) events: &'a A,
    pub(crate) flush_barrier: &'a FlushBarrier,
    pub(crate) runtime: RuntimeId,
    /// On standard error rather than standard output.
    pub(crate) error: bool,
    /// Where the last lines on standard error are kept.
    pub(crate) last_words: &'a Mutex<Vec<u8>>,
    /// Becomes true when the process has ended and enough has been waited for: what is left is little.
    pub(crate) finish: watch::Receiver<bool>,
}

impl<A: ProcessEvents> OutputStream<'_, A> {
    /// Forward its lines until it ends, or is to finish.
    pub(crate) async fn forward(self, from: OwnedFd) {
        let mut flushes = self.flush_barrier.reader();
        let Ok(pipe) = pipe::Receiver::from_owned_fd(from) else {
            return;
        };
        // Goes before the pipe does.
        let _open = OpenPipe::new(self.flush_barrier, &pipe);
        let (mut lines, mut tags) = (Lines::default(), OriginTags::default());
        let mut listening = true;
        loop {
            tokio::select! {
                ready = pipe.readable() => {
                    let _forwarding = Forwarding::begin(self.flush_barrier);
                    let read = ready.and_then(|()| pipe.try_read_buf(&mut lines.buffer));
                    let ended = match read {
                        Ok(count) => count == 0,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                        Err(_) => true,
                    };
                    self.report(&mut lines, &mut tags, ended).await;
                    if ended {
                        return;
                    }
                }
                flush = flushes.recv(), if listening => {
                    listening = !matches!(flush, Err(broadcast::error::RecvError::Closed));
                    let _forwarding = Forwarding::begin(self.flush_barrier);
                    read_what_is_there(&pipe, &mut lines.buffer);
                    self.report(&mut lines, &mut tags, false).await;
                    // Only now: the flush ends with its last holder.
                    drop(flush);
                }
                () = self.finishing() => {
                    let _forwarding = Forwarding::begin(self.flush_barrier);
                    read_what_is_there(&pipe, &mut lines.buffer);
                    self.report(&mut lines, &mut tags, true).await;
                    return;
                }
            }
        }
    }

    async fn report(&self, lines: &mut Lines, tags: &mut OriginTags, ended: bool) {
        let mut parsed = Vec::new();
        lines.take(ended, |line, whole| {
            tags.part(line, whole, |origin, text| {
                parsed.push(Line {
                    error: self.error,
                    origin,
                    text: Bytes::copy_from_slice(text),
                });
            });
        });
        for line in parsed {
            if self.error {
                self.remember(&line.text);
            }
            let had_room = tokio::select! {
                biased;
                () = self.events.wait_for_capacity(&line) => true,
                () = self.finishing() => false,
            };
            self.events.printed(self.runtime, line, had_room).await;
        }
    }

    async fn finishing(&self) {
        let mut finish = self.finish.clone();
        if finish.wait_for(|finish| *finish).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn remember(&self, line: &[u8]) {
        let mut words = self.last_words.lock();
        words.extend_from_slice(line);
        words.push(b'\n');
        let excess = words.len().saturating_sub(LAST_WORDS);
        words.drain(..excess);
    }
}

/// Read without waiting, and no more than was there: a process may be printing all the time. Not through tokio, which
/// would not look at the pipe before its next turn.
fn read_what_is_there(pipe: &pipe::Receiver, buffer: &mut Vec<u8>) {
    let mut left = rustix::io::ioctl_fionread(pipe).unwrap_or(0) as usize;
    let mut piece = [0; 4096];
    while left > 0 {
        match rustix::io::read(pipe, &mut piece[..]) {
            // Its end is for who waits to see.
            Ok(0) | Err(_) => return,
            Ok(count) => {
                buffer.extend_from_slice(&piece[..count]);
                left = left.saturating_sub(count);
            }
        }
    }
}

/// Cuts what was read into lines.
#[derive(Default)]
struct Lines {
    buffer: Vec<u8>,
}

impl Lines {
    /// Give each line that is complete; at the end, or beyond the longest, what is left too, which is not.
    fn take(&mut self, ended: bool, mut give: impl FnMut(&[u8], bool)) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut rest = &buffer[..];
        while let Some(length) = rest.iter().position(|&byte| byte == b'\n') {
            give(&rest[..length], true);
            rest = &rest[length + 1..];
        }
        if ended || rest.len() > LONGEST_LINE {
            give(rest, false);
            rest = &[];
        }
        let given = buffer.len() - rest.len();
        self.buffer = buffer;
        self.buffer.drain(..given);
    }
}

/// Takes the origin tags out of the lines of one stream, and keeps the last one.
#[derive(Debug, Default)]
pub(crate) struct OriginTags {
    origin: Option<u32>,
}

impl OriginTags {
    /// Give the pieces of a line between its tags, each with its origin. Of pieces without text only a whole line's
    /// last one is given: an empty line.
    pub(crate) fn part(
        &mut self,
        mut line: &[u8],
        whole: bool,
        mut give: impl FnMut(Option<u32>, &[u8]),
    ) {
        while let Some((before, origin, after)) = next_tag(line) {
            if !before.is_empty() {
                give(self.origin, before);
            }
            self.origin = Some(origin);
            line = after;
        }
        if whole || !line.is_empty() {
            give(self.origin, line);
        }
    }
}

/// The first tag of a line: what stands before it, its number, what stands after it.
fn next_tag(line: &[u8]) -> Option<(&[u8], u32, &[u8])> {
    let mut from = 0;
    loop {
        let start = from + line[from..].iter().position(|byte| *byte == TAG[0])?;
        from = start + 1;
        let Some(rest) = line[start..].strip_prefix(TAG) else {
            continue;
        };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = std::str::from_utf8(&rest[..digits])
            .ok()
            .and_then(|digits| digits.parse().ok());
        if let (Some(number), Some(after)) = (number, rest[digits..].strip_prefix(TAG_END)) {
            return Some((&line[..start], number, after));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]]) -> Vec<(Option<u32>, String)> {
        let (mut lines, mut tags) = (Lines::default(), OriginTags::default());
        let mut given = Vec::new();
        let mut give = |line: &[u8], whole: bool| {
            tags.part(line, whole, |origin, text| {
                given.push((origin, String::from_utf8_lossy(text).into_owned()));
            });
        };
        for piece in pieces {
            lines.buffer.extend_from_slice(piece);
            lines.take(false, &mut give);
        }
        lines.take(true, &mut give);
        given
    }

    fn line(origin: impl Into<Option<u32>>, text: &str) -> (Option<u32>, String) {
        (origin.into(), text.to_owned())
    }

    #[test]
    fn lines_without_marks_have_no_origin() {
        assert_eq!(
            all(&[b"one\n\ntw", b"o\nrest"]),
            [
                line(None, "one"),
                line(None, ""),
                line(None, "two"),
                line(None, "rest")
            ]
        );
    }

    #[test]
    fn stdio_1_a_line_belongs_to_the_last_mark_before_it() {
        assert_eq!(
            all(&[
                b"\x1b_mosaic 7\x1b\\one\ntwo\n",
                b"\x1b_mos",
                b"aic 8\x1b\\",
                b"three\n\n"
            ]),
            [
                line(7, "one"),
                line(7, "two"),
                line(8, "three"),
                line(8, "")
            ]
        );
    }

    #[test]
    fn stdio_1_a_mark_within_a_line_ends_it() {
        assert_eq!(
            all(&[b"half\x1b_mosaic 7\x1b\\\x1b_mosaic 8\x1b\\other\n"]),
            [line(None, "half"), line(8, "other")]
        );
    }

    #[test]
    fn a_mark_alone_is_no_line() {
        assert_eq!(all(&[b"one\n\x1b_mosaic 7\x1b\\"]), [line(None, "one")]);
    }

    #[test]
    fn what_only_looks_like_a_mark_is_text() {
        for text in [
            "\u{1b}_mosaic 7",
            "\u{1b}_mosaic x\u{1b}\\",
            "\u{1b}_mosaic 99999999999\u{1b}\\",
            "\u{1b}[1m",
        ] {
            assert_eq!(all(&[text.as_bytes(), b"\n"]), [line(None, text)]);
        }
    }

    #[test]
    fn long_lines_come_in_pieces() {
        let long = vec![b'x'; LONGEST_LINE + 1];
        let given = all(&[&long, b"y\n"]);
        assert_eq!(given.len(), 2);
        assert_eq!(given[1], line(None, "y"));
    }
}
