//! Reference counts as data: whether a holder is registered, and what two runtimes tell each other of their references
//! after the loss of a connection.

use crate::id::{ObjectId, TesseraId};

/// Whether the authority counts this runtime as a holder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Registration {
    /// A tessera of this runtime's own: its route knows the authority, and the caller has been asked.
    Unresolved,
    /// The tessera has no host yet that could count; the host that builds it will count its owner, this runtime.
    Unplaced,
    /// The host that counted died, and the owner was asked for another.
    Astray,
    /// The authority was asked.
    Asked,
    /// It counts this runtime; or this runtime is the authority.
    Counted,
}

/// Entries of one message.
const ENTRIES: usize = 16 << 10;

/// What one runtime has of another's, as it tells it after the loss of a connection.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Recount {
    /// Objects for which the receiver counts the sender; and tasks of the sender's own that ran at the receiver and
    /// whose results it may still ask for.
    pub held: Vec<ObjectId>,
    /// Tesserae of the sender's own at the receiver that it would build again.
    pub restartable: Vec<TesseraId>,
    /// References that came from the receiver, in so many messages, and for which the sender is not counted yet.
    pub awaited: Vec<(ObjectId, u32)>,
    /// The rest follows.
    pub more: bool,
    /// The receiver is asked for its own.
    pub asks: bool,
}

impl Recount {
    /// In pieces that fit into a header.
    pub(crate) fn pieces(mut self) -> Vec<Self> {
        let asks = self.asks;
        let mut pieces = Vec::new();
        loop {
            let mut room = ENTRIES;
            let piece = Self {
                held: take(&mut self.held, &mut room),
                restartable: take(&mut self.restartable, &mut room),
                awaited: take(&mut self.awaited, &mut room),
                more: true,
                asks,
            };
            pieces.push(piece);
            if self.held.is_empty() && self.restartable.is_empty() && self.awaited.is_empty() {
                break;
            }
        }
        if let Some(last) = pieces.last_mut() {
            last.more = false;
        }
        pieces
    }

    /// Adds a further part.
    pub(crate) fn add(&mut self, piece: Self) {
        self.held.extend(piece.held);
        self.restartable.extend(piece.restartable);
        self.awaited.extend(piece.awaited);
    }
}

/// Take as much from the end as there is room for.
fn take<T>(from: &mut Vec<T>, room: &mut usize) -> Vec<T> {
    let taken = from.split_off(from.len().saturating_sub(*room));
    *room -= taken.len();
    taken
}
