//! Placement: which worker gets a new tessera. Owns the head's counts of tesserae on each worker.
//!
//! Only the head places; other runtimes send it [`RulesMessage::Place`].

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::event::{Action, Role};
use crate::id::{RuntimeId, TesseraId};
use crate::machine::Machine;
use crate::wire::RulesMessage;

/// One worker, as a strategy sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkerLoad {
    /// The worker.
    pub runtime: RuntimeId,
    /// Tesserae placed there that live.
    pub tesserae: usize,
}

/// Chooses a worker. The slice is in the order in which the workers joined; it is never empty.
pub trait Strategy {
    /// The worker for the next tessera; `None` leaves it to the order of the slice.
    fn choose(&mut self, workers: &[WorkerLoad]) -> Option<RuntimeId>;
}

/// One after another.
#[derive(Debug, Default)]
pub struct RoundRobin {
    last: Option<RuntimeId>,
}

impl Strategy for RoundRobin {
    fn choose(&mut self, workers: &[WorkerLoad]) -> Option<RuntimeId> {
        // The worker after the last one, so that joins and deaths do not upset the turn.
        let next = workers
            .iter()
            .find(|worker| self.last.is_none_or(|last| worker.runtime > last));
        self.last = next.or(workers.first()).map(|worker| worker.runtime);
        self.last
    }
}

/// The worker with the fewest living tesserae; in turn among equals.
#[derive(Debug, Default)]
pub struct LeastLoaded {
    turn: RoundRobin,
}

impl Strategy for LeastLoaded {
    fn choose(&mut self, workers: &[WorkerLoad]) -> Option<RuntimeId> {
        let least = workers.iter().map(|worker| worker.tesserae).min()?;
        let idle: Vec<_> = workers
            .iter()
            .filter(|worker| worker.tesserae == least)
            .copied()
            .collect();
        self.turn.choose(&idle)
    }
}

/// The head's record of who is where.
pub(crate) struct Placement {
    strategy: Box<dyn Strategy + Send>,
    workers: BTreeMap<RuntimeId, usize>,
    placed: FxHashMap<TesseraId, RuntimeId>,
    /// Why no worker will join any more.
    pub(crate) exhausted: Option<String>,
}

impl Default for Placement {
    fn default() -> Self {
        Self {
            strategy: Box::new(RoundRobin::default()),
            workers: BTreeMap::new(),
            placed: FxHashMap::default(),
            exhausted: None,
        }
    }
}

impl Placement {
    pub(crate) fn set_strategy(&mut self, strategy: Box<dyn Strategy + Send>) {
        self.strategy = strategy;
    }

    pub(crate) fn joined(&mut self, worker: RuntimeId) {
        self.exhausted = None;
        self.workers.insert(worker, 0);
    }

    pub(crate) fn died(&mut self, worker: RuntimeId) {
        self.workers.remove(&worker);
        self.placed.retain(|_, place| *place != worker);
    }

    /// Ask the strategy; `None` while there is no worker.
    pub(crate) fn choose(&mut self) -> Option<RuntimeId> {
        let loads: Vec<_> = self
            .workers
            .iter()
            .map(|(&runtime, &tesserae)| WorkerLoad { runtime, tesserae })
            .collect();
        let first = loads.first()?.runtime;
        Some(
            self.strategy
                .choose(&loads)
                .filter(|choice| self.workers.contains_key(choice))
                .unwrap_or(first),
        )
    }

    /// A tessera went there, by whosever choice.
    pub(crate) fn placed(&mut self, tessera: TesseraId, worker: RuntimeId) {
        if let Some(count) = self.workers.get_mut(&worker) {
            *count += 1;
            self.placed.insert(tessera, worker);
        }
    }

    pub(crate) fn freed(&mut self, tessera: TesseraId) {
        if let Some(count) = self
            .placed
            .remove(&tessera)
            .and_then(|worker| self.workers.get_mut(&worker))
        {
            *count -= 1;
        }
    }

    pub(crate) fn validate(&self) {
        for (worker, count) in &self.workers {
            let placed = self
                .placed
                .values()
                .filter(|place| *place == worker)
                .count();
            assert_eq!(
                placed, *count,
                "PLACE-1: {worker:?} has as many tesserae as were placed there"
            );
        }
    }
}

impl<H: Clone> Machine<H> {
    /// Head: choose a worker for a tessera of whichever runtime, or give it to the warehouse.
    pub(crate) fn place(
        &mut self,
        tessera: TesseraId,
        role: Role,
        asker: RuntimeId,
        actions: &mut Vec<Action<H>>,
    ) {
        if role == Role::Warehouse {
            return self.place_in_warehouse(tessera, asker, actions);
        }
        if self.config.foreign_strategy && !self.members.living.is_empty() {
            self.unplaced.push((tessera, asker, role));
            actions.push(Action::ChooseWorker(tessera));
        } else if let Some(worker) = self.placement.choose() {
            self.placement.placed(tessera, worker);
            self.send(
                asker,
                RulesMessage::Placed {
                    tessera,
                    place: Ok(worker),
                },
                actions,
            );
        } else if let Some(reason) = self.placement.exhausted.clone() {
            self.send(
                asker,
                RulesMessage::Placed {
                    tessera,
                    place: Err(reason),
                },
                actions,
            );
        } else {
            self.unplaced.push((tessera, asker, role));
        }
    }

    /// Head: the program's strategy has chosen.
    pub(crate) fn worker_chosen(
        &mut self,
        tessera: TesseraId,
        place: Result<RuntimeId, String>,
        actions: &mut Vec<Action<H>>,
    ) {
        let Some(index) = self
            .unplaced
            .iter()
            .position(|(waiting, ..)| *waiting == tessera)
        else {
            return;
        };
        let (_, asker, _) = self.unplaced.swap_remove(index);
        if let Ok(worker) = place {
            self.placement.placed(tessera, worker);
        }
        self.send(asker, RulesMessage::Placed { tessera, place }, actions);
    }

    /// Head: try again for those who wait, a runtime has joined.
    pub(crate) fn place_waiting(&mut self, actions: &mut Vec<Action<H>>) {
        for (tessera, asker, role) in std::mem::take(&mut self.unplaced) {
            self.place(tessera, role, asker, actions);
        }
    }

    /// Head: those who wait for a runtime of that role wait in vain.
    pub(crate) fn refuse_unplaced(
        &mut self,
        role: Role,
        reason: &str,
        actions: &mut Vec<Action<H>>,
    ) {
        let refused: Vec<_> = self
            .unplaced
            .extract_if(.., |(_, _, wanted)| *wanted == role)
            .collect();
        for (tessera, asker, _) in refused {
            let place = Err(reason.to_owned());
            self.send(asker, RulesMessage::Placed { tessera, place }, actions);
        }
    }

    /// Head: no worker will join.
    pub(crate) fn workers_exhausted(&mut self, reason: &str, actions: &mut Vec<Action<H>>) {
        self.placement.exhausted = Some(reason.to_owned());
        if self.placement.choose().is_none() {
            self.refuse_unplaced(Role::Worker, reason, actions);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads(counts: &[usize]) -> Vec<WorkerLoad> {
        counts
            .iter()
            .zip(1..)
            .map(|(&tesserae, number)| WorkerLoad {
                runtime: RuntimeId(number),
                tesserae,
            })
            .collect()
    }

    #[test]
    fn round_robin_takes_turns_and_survives_a_death() {
        let mut strategy = RoundRobin::default();
        let three = loads(&[0, 0, 0]);
        let turns: Vec<_> = (0..4)
            .filter_map(|_| strategy.choose(&three))
            .map(|runtime| runtime.0)
            .collect();
        assert_eq!(turns, [1, 2, 3, 1]);
        let without_second = [three[0], three[2]];
        assert_eq!(strategy.choose(&without_second), Some(RuntimeId(3)));
        assert_eq!(strategy.choose(&without_second), Some(RuntimeId(1)));
    }

    #[test]
    fn least_loaded_prefers_the_idle_and_takes_turns_among_equals() {
        let mut strategy = LeastLoaded::default();
        assert_eq!(strategy.choose(&loads(&[2, 1, 3])), Some(RuntimeId(2)));
        assert_eq!(strategy.choose(&loads(&[1, 1, 1])), Some(RuntimeId(3)));
        assert_eq!(strategy.choose(&loads(&[1, 1, 1])), Some(RuntimeId(1)));
    }

    #[test]
    fn load_follows_placements_and_deaths() {
        let mut placement = Placement::default();
        assert_eq!(placement.choose(), None);
        placement.joined(RuntimeId(1));
        let tessera = TesseraId {
            owner: RuntimeId::HEAD,
            sequence: 1,
        };
        placement.placed(tessera, RuntimeId(1));
        placement.validate();
        placement.freed(tessera);
        placement.freed(tessera);
        placement.validate();
        placement.died(RuntimeId(1));
        assert_eq!(placement.choose(), None);
    }
}
