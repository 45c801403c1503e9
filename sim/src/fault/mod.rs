//! Faults: what may go wrong, and how often.
//!
//! A fault is a choice like any other: it is offered beside the step that it befalls ([`Act::Crash`](crate::explore::schedule::Act),
//! [`Act::LoseAnswer`](crate::explore::schedule::Act)), recorded in the schedule and replayed from there. Random is only how many
//! of each kind a run may have. As in swarm testing (Groce et al., 2012), some runs have a kind off altogether: a fault that is
//! always possible hides what only happens without it.

use crate::exec::seed::{Purpose, Stream};
use crate::scenario::FaultBudget;

/// How many faults of each kind the run of `seed` may have, at most those of the scenario.
pub(crate) fn draw(seed: u64, most: FaultBudget) -> FaultBudget {
    if most == FaultBudget::default() {
        return most;
    }
    let mut random = Stream::new(seed, Purpose::Faults);
    let mut upto = |most: u32| {
        let drawn = random.below(u64::from(most) + 1);
        u32::try_from(drawn).expect("at most the budget")
    };
    FaultBudget { crashes: upto(most.crashes), lost_answers: upto(most.lost_answers) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_runs_have_a_kind_off_and_none_has_more_than_its_budget() {
        let most = FaultBudget { crashes: 2, lost_answers: 1 };
        let drawn: Vec<FaultBudget> = (0..200).map(|seed| draw(seed, most)).collect();
        assert!(drawn.iter().all(|faults| faults.crashes <= 2 && faults.lost_answers <= 1));
        for wanted in [(0, 0), (0, 1), (1, 0), (2, 1)] {
            assert!(
                drawn.iter().any(|faults| (faults.crashes, faults.lost_answers) == wanted),
                "{wanted:?} never drawn"
            );
        }
    }
}
