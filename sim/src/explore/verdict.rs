//! What many runs say about a scenario.

use super::RunEnd;
use super::pool::{Ended, Finding, Found, Tally};
use crate::scenario::{Expected, Scenario};

/// What exploring a scenario came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// No run violated anything, and every milestone was reached.
    Holds,
    /// Some run violated this invariant.
    Violated(&'static str),
    /// No run violated anything, but these milestones were never reached: what the scenario is about did not happen.
    Vacuous(Vec<String>),
    /// Some run made no progress.
    Stuck,
    /// The search ended before its time.
    Error(RunEnd),
}

impl Verdict {
    /// Judges. A violation that was expected counts before others; a violation is never vacuous, since it was seen.
    pub fn of(scenario: &Scenario, tally: &Tally) -> Self {
        if let Some(Ended { end, .. }) = &tally.ended {
            return Self::Error(end.clone());
        }
        if let Some((Finding::Violated(invariant), _)) = reported(scenario, tally) {
            return Self::Violated(invariant);
        }
        if tally.found.contains_key(&Finding::Stuck) {
            return Self::Stuck;
        }
        let missed: Vec<String> =
            counts(scenario, tally).filter(|(_, n)| *n == 0).map(|(name, _)| name.clone()).collect();
        if missed.is_empty() && tally.runs > 0 { Self::Holds } else { Self::Vacuous(missed) }
    }

    /// Whether it is what the scenario's file says.
    pub fn is_expected(&self, scenario: &Scenario) -> bool {
        match (self, &scenario.expected) {
            (Self::Holds, Expected::Holds) => true,
            (Self::Violated(found), Expected::Violates { invariant }) => found == invariant,
            _ => false,
        }
    }
}

/// The finding to tell of, with its first run: the expected violation; else the violation of the lowest seed; else a stuck run.
pub fn reported<'t>(scenario: &Scenario, tally: &'t Tally) -> Option<(Finding, &'t Found)> {
    let rank = |(finding, found): &(&Finding, &Found)| {
        let expected = match (finding, &scenario.expected) {
            (Finding::Violated(found), Expected::Violates { invariant }) => found == invariant,
            _ => false,
        };
        (!expected, **finding == Finding::Stuck, found.seed)
    };
    tally.found.iter().min_by_key(rank).map(|(finding, found)| (*finding, found))
}

/// The scenario's milestones, each with how many runs reached it.
pub fn counts<'s>(scenario: &'s Scenario, tally: &Tally) -> impl Iterator<Item = (&'s String, u64)> {
    scenario.milestones.iter().zip(tally.milestones)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::path::PathBuf;

    use super::*;
    use crate::backend::BackendError;
    use crate::explore::pool::explore;
    use crate::explore::{RunResult, Stuck, StuckKind, Violation};
    use crate::scenario::FaultBudget;

    fn scenario(expected: Expected) -> Scenario {
        Scenario {
            name: "s".to_owned(),
            path: PathBuf::from("s.toml"),
            title: "S".to_owned(),
            protocol: "p".to_owned(),
            expected,
            actors: Vec::new(),
            milestones: vec!["first".to_owned(), "second".to_owned()],
            faults: FaultBudget::default(),
            steps_max: 10,
            granularity: crate::scenario::Granularity::default(),
        }
    }

    fn violates(invariant: &str) -> Expected {
        Expected::Violates { invariant: invariant.to_owned() }
    }

    fn violated(invariant: &'static str) -> RunEnd {
        RunEnd::Violated(Violation { invariant, step: 1, message: String::new() })
    }

    fn blocked() -> RunEnd {
        RunEnd::Stuck(Stuck { kind: StuckKind::Blocked, message: "r waits".to_owned() })
    }

    /// One run an end, all of which reach `milestones`.
    fn tally(milestones: u64, ends: &[RunEnd]) -> Tally {
        let run = |seed: u64| {
            let end = ends[usize::try_from(seed).unwrap()].clone();
            RunResult { schedule: Vec::new(), hash: 0, statements: 0, end, milestones }
        };
        explore(0..ends.len() as u64, NonZeroUsize::MIN, &|_| true, &|| Ok(Some(run)))
    }

    #[test]
    fn a_milestone_that_nobody_reached_makes_it_vacuous() {
        let (holds, ends) = (scenario(Expected::Holds), [RunEnd::Completed]);
        assert_eq!(Verdict::of(&holds, &tally(0b11, &ends)), Verdict::Holds);
        assert_eq!(Verdict::of(&holds, &tally(0b01, &ends)), Verdict::Vacuous(vec!["second".to_owned()]));
        assert_eq!(Verdict::of(&holds, &tally(0b01, &[])), Verdict::Vacuous(holds.milestones.clone()));
        assert!(!Verdict::Vacuous(Vec::new()).is_expected(&holds));
    }

    #[test]
    fn no_run_at_all_holds_nothing() {
        let without = Scenario { milestones: Vec::new(), ..scenario(Expected::Holds) };
        assert_eq!(Verdict::of(&without, &tally(0, &[])), Verdict::Vacuous(Vec::new()));
    }

    #[test]
    fn the_expected_violation_counts_before_one_of_a_lower_seed() {
        let tally = tally(0, &[blocked(), violated("order"), violated("loss")]);
        for (expected, verdict, seed) in [
            (violates("loss"), Verdict::Violated("loss"), 2),
            (violates("phantom"), Verdict::Violated("order"), 1),
            (Expected::Holds, Verdict::Violated("order"), 1),
        ] {
            let scenario = scenario(expected);
            assert_eq!(Verdict::of(&scenario, &tally), verdict);
            assert_eq!(reported(&scenario, &tally).unwrap().1.seed, seed);
            assert_eq!(verdict.is_expected(&scenario), seed == 2);
        }
    }

    #[test]
    fn a_violation_that_was_expected_and_not_found_is_no_success() {
        let scenario = scenario(violates("loss"));
        let verdict = Verdict::of(&scenario, &tally(0b11, &[RunEnd::Completed]));
        assert_eq!(verdict, Verdict::Holds);
        assert!(!verdict.is_expected(&scenario));
        let stuck = tally(0b11, &[RunEnd::Completed, blocked()]);
        assert_eq!(Verdict::of(&scenario, &stuck), Verdict::Stuck);
    }

    #[test]
    fn what_failed_is_an_error() {
        let failed = RunEnd::Failed(BackendError::Environment("died".to_owned()));
        let tally = tally(0b11, &[violated("loss"), failed.clone()]);
        assert_eq!(Verdict::of(&scenario(violates("loss")), &tally), Verdict::Error(failed));
    }
}
