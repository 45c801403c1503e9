//! The pool: results do not depend on the number of workers.

use proptest::prelude::*;

use super::*;
use crate::explore::{Stuck, StuckKind, Violation};

/// A run whose every fact follows from its seed; `what` says how it ends.
fn result(seed: u64, end: RunEnd) -> RunResult {
    let statements = u32::try_from(seed % 7).unwrap();
    RunResult { schedule: Vec::new(), hash: seed.wrapping_mul(0x9e37_79b9), statements, end, milestones: seed % 8 }
}

fn violated(invariant: &'static str) -> RunEnd {
    RunEnd::Violated(Violation { invariant, step: 0, message: String::new() })
}

/// Everything that a tally says, to compare by.
fn facts(tally: &Tally) -> String {
    let found: Vec<_> = tally.found.iter().map(|(finding, found)| (finding, found.seed, found.count)).collect();
    let Tally { runs, statements, milestones, ended, .. } = tally;
    format!("{runs} {statements} {milestones:?} {found:?} {ended:?} {:x}", tally.hash())
}

fn explore_with(jobs: usize, seeds: u64, end: &(dyn Fn(u64) -> RunEnd + Sync)) -> String {
    let begin = || Ok(Some(|seed| result(seed, end(seed))));
    facts(&explore(0..seeds, NonZeroUsize::new(jobs).unwrap(), &|_| true, &begin))
}

proptest! {
    #[test]
    fn the_tally_does_not_depend_on_the_number_of_workers(
        seeds in 1_u64..500,
        jobs in 2_usize..9,
        ends in prop::collection::btree_map(0_u64..600, 0_u8..4, 0..6),
    ) {
        let end = |seed| match ends.get(&seed) {
            None => RunEnd::Completed,
            Some(0) => violated("no_loss"),
            Some(1) => violated("no_phantom"),
            Some(2) => RunEnd::Stuck(Stuck { kind: StuckKind::Blocked, message: "r waits for a".to_owned() }),
            Some(_) => RunEnd::Failed(BackendError::Environment(format!("died at {seed}"))),
        };
        prop_assert_eq!(explore_with(jobs, seeds, &end), explore_with(1, seeds, &end));
    }
}

#[test]
fn all_seeds_are_run_and_the_lowest_violation_is_kept() {
    let end = |seed| if seed % 10 == 9 { violated("no_loss") } else { RunEnd::Completed };
    let begin = || Ok(Some(|seed| result(seed, end(seed))));
    let tally = explore(0..1000, NonZeroUsize::new(4).unwrap(), &|_| true, &begin);
    assert_eq!(tally.runs, 1000);
    let found = &tally.found[&Finding::Violated("no_loss")];
    assert_eq!((found.seed, found.count), (9, 100));
    assert_eq!(tally.milestones[..3], [500, 500, 500]);
}

#[test]
fn when_time_is_up_a_prefix_has_been_run() {
    let done = std::sync::atomic::AtomicU64::new(0);
    let go_on = |runs| done.fetch_add(runs, std::sync::atomic::Ordering::Relaxed) < 100;
    let begin = || Ok(Some(|seed| result(seed, RunEnd::Completed)));
    let tally = explore(0..u64::MAX / 2, NonZeroUsize::new(3).unwrap(), &go_on, &begin);
    let runs = tally.runs;
    assert!((100..100 + 4 * CHUNK).contains(&runs), "{runs}");
    assert_eq!(facts(&tally), explore_with(1, runs, &|_| RunEnd::Completed));
}

#[test]
fn a_worker_that_cannot_begin_ends_the_search() {
    let begin = || Err::<Option<fn(u64) -> RunResult>, _>(BackendError::Environment("no server".to_owned()));
    let tally = explore(0..1000, NonZeroUsize::new(2).unwrap(), &|_| true, &begin);
    assert_eq!(tally.runs, 0);
    let ended = tally.ended.unwrap();
    assert!(ended.seed.is_none() && ended.end == RunEnd::Failed(BackendError::Environment("no server".to_owned())));
}

#[test]
fn a_worker_that_has_nothing_to_run_on_leaves_the_work_to_others() {
    let made = std::sync::atomic::AtomicUsize::new(0);
    let begin = || {
        let first = made.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        Ok(first.then_some(|seed| result(seed, RunEnd::Completed)))
    };
    let tally = explore(0..1000, NonZeroUsize::new(3).unwrap(), &|_| true, &begin);
    assert_eq!((tally.runs, tally.ended.is_none()), (1000, true));
}
