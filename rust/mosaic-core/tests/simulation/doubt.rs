//! Runtimes that cannot be reached for a while: one of them sees a connection close and does not know whether the other
//! lives. What it sends waits in its machine, until the other is reached, dies, or is known to have lost messages.

use std::collections::BTreeSet;

use mosaic_core::event::Event;
use mosaic_core::id::RuntimeId;
use mosaic_core::membership::Status;

use crate::rng::Rng;
use crate::world::World;

/// How often each rule for an unreachable runtime was used.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Counts {
    /// A runtime could not be reached.
    pub(crate) unreachable: u64,
    /// A message waited.
    pub(crate) waited: u64,
    /// Messages were sent when the runtime was reached.
    pub(crate) reached: u64,
    /// The runtime died while it could not be reached.
    pub(crate) died: u64,
    /// The connection was lost with the messages that waited.
    pub(crate) lost: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.unreachable += other.unreachable;
        self.waited += other.waited;
        self.reached += other.reached;
        self.died += other.died;
        self.lost += other.lost;
    }

    pub(crate) fn all(self) -> [u64; 5] {
        [
            self.unreachable,
            self.waited,
            self.reached,
            self.died,
            self.lost,
        ]
    }
}

/// Which runtimes cannot reach which. Its random numbers are its own, so that the other seeds do what they did before.
pub(crate) struct Doubts {
    rng: Rng,
    happen: bool,
    pairs: BTreeSet<(RuntimeId, RuntimeId)>,
    pub(crate) counts: Counts,
}

impl Doubts {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x0d0b_7d0b);
        Self {
            happen: rng.chance(30),
            rng,
            pairs: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    pub(crate) fn are_none(&self) -> bool {
        self.pairs.is_empty()
    }

    /// A runtime has crashed: it doubts no more.
    pub(crate) fn crashed(&mut self, dead: RuntimeId) {
        self.pairs.retain(|(at, _)| *at != dead);
    }
}

impl World {
    fn waiting_at(&self, at: RuntimeId) -> usize {
        let node = self.nodes.get(&at);
        node.map_or(0, |node| node.machine.snapshot().waiting.len())
    }

    /// One random step: some runtime loses sight of another, or sees it again.
    pub(crate) fn doubt(&mut self) {
        if !self.doubts.happen || !self.doubts.rng.chance(8) {
            return;
        }
        if self.doubts.rng.chance(40) {
            return self.reach();
        }
        let living = self.living();
        let (Some(at), Some(peer)) = (self.doubts.rng.pick(&living), self.doubts.rng.pick(&living))
        else {
            return;
        };
        if at != peer && self.nodes[&at].machine.status(peer) == Status::Alive {
            self.doubts.counts.unreachable += 1;
            self.doubts.pairs.insert((at, peer));
            self.happens(at, Event::RuntimeUnreachable(peer));
        }
    }

    /// Some runtime reaches again what it could not reach.
    pub(crate) fn reach(&mut self) {
        let pairs: Vec<_> = self.doubts.pairs.iter().copied().collect();
        let Some((at, peer)) = self.doubts.rng.pick(&pairs) else {
            return;
        };
        self.doubts.pairs.remove(&(at, peer));
        let waiting = self.waiting_at(at);
        self.happens(at, Event::RuntimeReachable(peer));
        if self.waiting_at(at) < waiting {
            self.doubts.counts.reached += 1;
        }
    }

    /// A machine has handled an event: count what that did to its doubts.
    pub(crate) fn settle_doubts(&mut self, at: RuntimeId, waited_before: usize) {
        if self.doubts.are_none() {
            return;
        }
        if self.waiting_at(at) > waited_before {
            self.doubts.counts.waited += 1;
        }
        self.observe_waiting(at);
        let Some(node) = self.nodes.get(&at) else {
            return;
        };
        let counts = &mut self.doubts.counts;
        self.doubts.pairs.retain(|(doubting, peer)| {
            if *doubting != at {
                return true;
            }
            match node.machine.status(*peer) {
                Status::Unknown => return true,
                Status::Dead(_) => counts.died += 1,
                Status::Alive => counts.lost += 1,
            }
            false
        });
    }

    /// Messages that wait are sent, as far as their sender is concerned.
    fn observe_waiting(&mut self, at: RuntimeId) {
        let Some(node) = self.nodes.get(&at) else {
            return;
        };
        for row in node.machine.snapshot().waiting {
            self.truth.sent(at, row.to, &row.message);
        }
    }

    /// How many messages wait at a machine, if any can.
    pub(crate) fn waiting_before(&self, at: RuntimeId) -> usize {
        if self.doubts.are_none() {
            0
        } else {
            self.waiting_at(at)
        }
    }

    /// Whether a doubt is to end now, while the network comes to rest.
    pub(crate) fn reach_sometimes(&mut self) {
        if !self.doubts.are_none() && self.doubts.rng.chance(10) {
            self.reach();
        }
    }
}
