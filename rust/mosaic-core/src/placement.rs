//! Placement: which worker gets a new tessera. Owns the head's counts of tesserae on each worker.
//!
//! Only the head places; other runtimes send it [`RulesMessage::Place`].

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::context::Context;
use crate::event::Action;
use crate::id::{RuntimeId, TesseraId};
use crate::member::Role;
use crate::membership::Status;
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

/// The head's record of the tesserae on each worker.
pub(crate) struct Placement {
    strategy: Box<dyn Strategy + Send>,
    workers: BTreeMap<RuntimeId, usize>,
    placed: FxHashMap<TesseraId, RuntimeId>,
    /// Why no worker will join any more.
    exhausted: Option<String>,
    /// Tesserae that wait for a runtime of that role, and the runtimes that asked.
    unplaced: Vec<(TesseraId, RuntimeId, Role)>,
}

impl std::fmt::Debug for Placement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Placement")
            .field("workers", &self.workers)
            .field("unplaced", &self.unplaced)
            .finish_non_exhaustive()
    }
}

impl Default for Placement {
    fn default() -> Self {
        Self {
            strategy: Box::new(RoundRobin::default()),
            workers: BTreeMap::new(),
            placed: FxHashMap::default(),
            exhausted: None,
            unplaced: Vec::new(),
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

    /// A runtime died: it gets no tesserae, and asks for no place.
    pub(crate) fn died<H>(&mut self, runtime: RuntimeId, context: &mut Context<H>) {
        self.workers.remove(&runtime);
        self.placed.retain(|_, place| *place != runtime);
        self.unplaced.retain(|(_, asker, _)| *asker != runtime);
        self.refuse_if_exhausted(context);
    }

    /// `PLACE-2`: ask the strategy; `None` while there is no worker that can be reached.
    fn choose<H>(&mut self, context: &Context<H>) -> Option<RuntimeId> {
        let workers = self.workers.iter();
        let loads: Vec<_> = workers
            .filter(|(runtime, _)| context.membership().status(**runtime) == Status::Alive)
            .map(|(&runtime, &tesserae)| WorkerLoad { runtime, tesserae })
            .collect();
        let first = loads.first()?.runtime;
        Some(
            self.strategy
                .choose(&loads)
                .filter(|choice| loads.iter().any(|load| load.runtime == *choice))
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

    /// Head: choose a worker for a tessera of any runtime.
    pub(crate) fn place<H>(
        &mut self,
        tessera: TesseraId,
        asker: RuntimeId,
        context: &mut Context<H>,
    ) {
        if context.config().foreign_strategy && context.membership().living().next().is_some() {
            self.wait(tessera, asker, Role::Worker);
            context.act(Action::ChooseWorker(tessera));
        } else if let Some(worker) = self.choose(context) {
            self.placed(tessera, worker);
            let place = Ok(worker);
            context.send(asker, RulesMessage::Placed { tessera, place });
        } else if let Some(reason) = self.exhausted.clone() {
            let place = Err(reason);
            context.send(asker, RulesMessage::Placed { tessera, place });
        } else {
            self.wait(tessera, asker, Role::Worker);
        }
    }

    /// Head: a tessera waits for a runtime of that role to join.
    pub(crate) fn wait(&mut self, tessera: TesseraId, asker: RuntimeId, role: Role) {
        self.unplaced.push((tessera, asker, role));
    }

    /// Head: the tesserae that wait, to be placed again.
    pub(crate) fn take_waiting(&mut self) -> Vec<(TesseraId, RuntimeId, Role)> {
        std::mem::take(&mut self.unplaced)
    }

    /// Head: the program's strategy has chosen.
    pub(crate) fn worker_chosen<H>(
        &mut self,
        tessera: TesseraId,
        place: Result<RuntimeId, String>,
        context: &mut Context<H>,
    ) {
        let waiting = self.unplaced.iter();
        let Some(index) = waiting
            .map(|(waiting, ..)| *waiting)
            .position(|waiting| waiting == tessera)
        else {
            return;
        };
        let (_, asker, _) = self.unplaced.swap_remove(index);
        if let Ok(worker) = place {
            self.placed(tessera, worker);
        }
        context.send(asker, RulesMessage::Placed { tessera, place });
    }

    /// Head: tesserae that wait for a runtime of that role get none, if `concerns` says so of the runtime that asked.
    pub(crate) fn refuse_waiting<H>(
        &mut self,
        role: Role,
        reason: &str,
        context: &mut Context<H>,
        concerns: impl Fn(RuntimeId, &Context<H>) -> bool,
    ) {
        let refused: Vec<_> = self
            .unplaced
            .extract_if(.., |(_, asker, wanted)| {
                *wanted == role && concerns(*asker, context)
            })
            .collect();
        for (tessera, asker, _) in refused {
            let place = Err(reason.to_owned());
            context.send(asker, RulesMessage::Placed { tessera, place });
        }
    }

    /// Head: no worker will join.
    pub(crate) fn workers_exhausted<H>(&mut self, reason: &str, context: &mut Context<H>) {
        self.exhausted = Some(reason.to_owned());
        self.refuse_if_exhausted(context);
    }

    fn refuse_if_exhausted<H>(&mut self, context: &mut Context<H>) {
        if let Some(reason) = self.exhausted.clone()
            && self.workers.is_empty()
        {
            self.refuse_waiting(Role::Worker, &reason, context, |_, _| true);
        }
    }

    /// Tesserae that wait for a runtime.
    pub(crate) fn waiting(&self) -> Vec<TesseraId> {
        let waiting = self.unplaced.iter();
        waiting.map(|(tessera, ..)| *tessera).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Config;

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
        let mut context = Context::<u64>::new(Config::new(RuntimeId::HEAD));
        assert_eq!(placement.choose(&context), None);
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
        placement.died(RuntimeId(1), &mut context);
        assert_eq!(placement.choose(&context), None);
    }
}
