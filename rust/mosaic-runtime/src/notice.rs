//! The queue of notices to the program: output of workers, deaths, log records, and other news outside of any call.

use std::collections::VecDeque;

use mosaic_core::event::Report;
use mosaic_core::id::TesseraId;
use tokio::sync::Notify as AsyncNotify;

use crate::sync::completion::Notify;
use crate::sync::{Condvar, Mutex, Rank};

/// One piece of news for the program.
#[derive(Clone, PartialEq, Debug)]
pub enum Notice {
    /// A line that a worker printed, without its end.
    Output {
        /// Who.
        uid: String,
        /// On standard error rather than standard output.
        error: bool,
        /// Where the worker says that it belongs, if it does.
        origin: Option<u32>,
        /// What.
        line: Vec<u8>,
    },
    /// A line for the log.
    Log {
        /// The runtime that it is from.
        uid: String,
        /// "warning", "error".
        level: String,
        /// What.
        text: String,
    },
    /// No worker will join any more, for that reason.
    Exhausted(String),
    /// A runtime takes part.
    Joined(String),
    /// A runtime died.
    Died {
        /// Which.
        uid: String,
        /// How.
        cause: String,
    },
    /// The program's own placement strategy is asked.
    Choose(TesseraId),
    /// A task that the program subscribed to has ended.
    Ended(u64),
    /// All output that the workers had printed when the program asked for a drain has been reported.
    Drained(u64),
}

/// A report as a level and a line for the log.
pub fn describe(report: &Report) -> (&'static str, String) {
    match report {
        Report::Retried {
            what,
            attempt,
            of,
            message,
        } => (
            "warning",
            format!("{what} failed and is run again (retry {attempt} of {of}): {message}"),
        ),
        Report::Restarted { what, cause } => ("warning", format!("{what} is rebuilt: {cause}")),
    }
}

/// Output that waits in memory before workers are made to wait, in bytes.
const MAX_QUEUED_OUTPUT: usize = 4 << 20;
/// What a line counts beside its length, so that the number of lines is limited too.
const LINE: usize = size_of::<Notice>() + 32;

#[derive(Debug, Default)]
struct Queue {
    notices: VecDeque<Notice>,
    bytes: usize,
    /// The program is handling what it has taken.
    taken: bool,
    closed: bool,
}

/// The notices on their way to the program's thread for them.
#[derive(Debug)]
pub struct Notices {
    queue: Mutex<Queue>,
    filled: Condvar,
    emptied: AsyncNotify,
}

impl Default for Notices {
    fn default() -> Self {
        Self {
            queue: Mutex::with_default(Rank::Notices),
            filled: Condvar::new(),
            emptied: AsyncNotify::new(),
        }
    }
}

impl Notices {
    /// Add one.
    pub fn push(&self, notice: Notice) {
        let mut queue = self.queue.lock();
        if let Notice::Output { line, .. } = &notice {
            queue.bytes += line.len() + LINE;
        }
        queue.notices.push_back(notice);
        drop(queue);
        self.filled.notify_one();
    }

    /// Wait until there is capacity for more output: back-pressure on workers that print faster than the program reads.
    pub(crate) async fn wait_for_capacity(&self) {
        loop {
            let emptied = self.emptied.notified();
            {
                let queue = self.queue.lock();
                if queue.bytes < MAX_QUEUED_OUTPUT || queue.closed {
                    return;
                }
            }
            emptied.await;
        }
    }

    /// Whether the program has handled all there was.
    pub(crate) fn are_handled(&self) -> bool {
        let queue = self.queue.lock();
        queue.notices.is_empty() && !queue.taken
    }

    /// Block until there is something; `None` once closed and empty.
    pub fn take(&self) -> Option<Vec<Notice>> {
        let mut queue = self.queue.lock();
        queue.taken = false;
        while queue.notices.is_empty() {
            if queue.closed {
                return None;
            }
            queue = self.filled.wait(queue);
        }
        queue.bytes = 0;
        queue.taken = true;
        let taken = queue.notices.drain(..).collect();
        drop(queue);
        self.emptied.notify_waiters();
        Some(taken)
    }

    /// Nothing more will come.
    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
        self.filled.notify_all();
        self.emptied.notify_waiters();
    }
}

impl Notify for Notices {
    fn notify(&self, token: u64) {
        self.push(Notice::Ended(token));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_without_text_take_room_too() {
        let notices = Notices::default();
        notices.wait_for_capacity().await;
        for _ in 0..=MAX_QUEUED_OUTPUT / LINE {
            notices.push(Notice::Output {
                uid: String::new(),
                error: false,
                origin: None,
                line: Vec::new(),
            });
        }
        let room = notices.wait_for_capacity();
        tokio::pin!(room);
        let waits = std::future::poll_fn(|cx| {
            let pending = std::future::Future::poll(room.as_mut(), cx).is_pending();
            std::task::Poll::Ready(pending)
        });
        assert!(waits.await, "the workers are made to wait");
        assert!(notices.take().is_some());
        room.await;
    }
}
