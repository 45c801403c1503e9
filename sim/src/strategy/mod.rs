//! Strategies make schedules; a schedule is data.

mod random;
mod replay;
#[cfg(test)]
mod tests;
pub mod twice;

pub use random::RandomWalk;
pub use replay::{Lenient, Replay};

use crate::explore::schedule::{Choice, Ready};
use crate::scenario::FaultBudget;

/// Picks what happens next. Lives across the runs of one worker; asked only with the choices that are there.
pub trait Strategy {
    /// A run begins; its seed decides everything that is random in it.
    fn begin_run(&mut self, seed: u64);

    /// One of the choices in `ready`, which is never empty. None: the schedule that is replayed does not fit here.
    fn choose(&mut self, ready: &Ready) -> Option<Choice>;

    /// How many faults of each kind the run may have: what its seed drew (`drawn`), or, where the choices are given, whatever the
    /// scenario allows (`most`).
    fn faults(&self, drawn: FaultBudget, most: FaultBudget) -> FaultBudget {
        let _ = most;
        drawn
    }

    /// What was wanted when [`Strategy::choose`] found nothing that fits. None: the schedule had ended.
    fn wanted(&self) -> Option<Choice> {
        None
    }
}

impl<S: Strategy + ?Sized> Strategy for &mut S {
    fn begin_run(&mut self, seed: u64) {
        (**self).begin_run(seed);
    }

    fn choose(&mut self, ready: &Ready) -> Option<Choice> {
        (**self).choose(ready)
    }

    fn faults(&self, drawn: FaultBudget, most: FaultBudget) -> FaultBudget {
        (**self).faults(drawn, most)
    }

    fn wanted(&self) -> Option<Choice> {
        (**self).wanted()
    }
}
