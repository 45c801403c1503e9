//! What the workers of the pool share, in every interleaving of two of them: the dispenser of seeds, the stop flag, the
//! merge. It is the pool's own code, with loom's primitives in place of `std`'s, so a plain `cargo test` runs it.

use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::sync::{Arc, Mutex};
use skiptrace_sim::backend::BackendError;
use skiptrace_sim::explore::pool::{Finding, Shared, Tally};
use skiptrace_sim::explore::sync::{Counter, Flag, Lock, Primitives};
use skiptrace_sim::explore::{RunEnd, RunResult, Violation};

enum Loom {}

impl Primitives for Loom {
    type Counter = LoomCounter;
    type Flag = LoomFlag;
    type Lock<T: Send> = LoomLock<T>;
}

struct LoomCounter(AtomicU64);

impl Counter for LoomCounter {
    fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    fn fetch_add(&self, add: u64) -> u64 {
        self.0.fetch_add(add, Ordering::Relaxed)
    }
}

struct LoomFlag(AtomicBool);

impl Flag for LoomFlag {
    fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct LoomLock<T>(Mutex<T>);

impl<T: Send> Lock<T> for LoomLock<T> {
    fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    fn with<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        change(&mut self.0.lock().expect("nobody panics while holding the lock"))
    }
}

fn result(seed: u64, end: RunEnd) -> RunResult {
    RunResult { schedule: Vec::new(), hash: seed + 100, statements: 1, end, milestones: 1 }
}

fn violated() -> RunEnd {
    RunEnd::Violated(Violation { invariant: "no_loss", step: 0, message: String::new() })
}

fn failed(seed: u64) -> RunEnd {
    RunEnd::Failed(BackendError::Environment(format!("died at {seed}")))
}

/// Two workers on `seeds` seeds, one a chunk; `check` sees what came of each interleaving.
fn explore(seeds: u64, end: fn(u64) -> RunEnd, go_on: fn(u64) -> bool, check: fn(&Tally)) {
    loom::model(move || {
        let shared = Arc::new(Shared::<Loom>::new(0..seeds, 1));
        let other = {
            let shared = Arc::clone(&shared);
            loom::thread::spawn(move || shared.work(&|_| true, &mut |seed| result(seed, end(seed))))
        };
        shared.work(&go_on, &mut |seed| result(seed, end(seed)));
        other.join().expect("the other worker ends");
        check(&shared.finish());
    });
}

/// The hash of the runs of the first `runs` seeds, by one worker.
fn hash_of_prefix(runs: u64, end: fn(u64) -> RunEnd) -> u64 {
    use skiptrace_sim::explore::sync::Std;

    let shared = Shared::<Std>::new(0..runs, 1);
    shared.work(&|_| true, &mut |seed| result(seed, end(seed)));
    shared.finish().hash()
}

#[test]
fn every_seed_is_run_once_and_merged_in_order() {
    explore(
        3,
        |_| RunEnd::Completed,
        |_| true,
        |tally| {
            assert_eq!((tally.runs, tally.statements, tally.milestones[0]), (3, 3, 3));
            assert_eq!(tally.hash(), hash_of_prefix(3, |_| RunEnd::Completed));
        },
    );
}

#[test]
fn the_first_violation_is_that_of_the_lowest_seed() {
    let end = |seed| if seed == 0 { RunEnd::Completed } else { violated() };
    explore(
        3,
        end,
        |_| true,
        |tally| {
            let found = &tally.found[&Finding::Violated("no_loss")];
            assert_eq!((tally.runs, found.seed, found.count), (3, 1, 2));
        },
    );
}

#[test]
fn whoever_stops_first_leaves_a_prefix() {
    explore(
        3,
        |_| RunEnd::Completed,
        |done| done == 0,
        |tally| {
            assert!(tally.runs <= 3);
            assert_eq!(tally.statements, tally.runs);
            assert_eq!(tally.hash(), hash_of_prefix(tally.runs, |_| RunEnd::Completed));
        },
    );
}

#[test]
fn of_two_failures_the_lower_seed_wins_and_nothing_behind_it_counts() {
    let end = |seed| if seed == 0 { RunEnd::Completed } else { failed(seed) };
    explore(
        3,
        end,
        |_| true,
        |tally| {
            let ended = tally.ended.as_ref().expect("a failure ends the search");
            assert_eq!((tally.runs, ended.seed), (1, Some(1)));
            assert_eq!(ended.end, failed(1));
        },
    );
}
