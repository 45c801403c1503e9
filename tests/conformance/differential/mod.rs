//! Differential tests: random SQL is put to the model and to a real PostgreSQL, and the answers have to be the same.
//!
//! What the model refuses is no disagreement, for it says so; but a test that is refused too much tests nothing, and fails. The numbers are
//! always the same, so that a run that passed passes again: `SKIPTRACE_CASES=20000` makes more of them than CI does, `SKIPTRACE_SEED=7` others.
//! What such runs found stands in `specs/` and in `sim/model/tests/answers`.

mod ask;
pub(crate) mod choices;
mod expression;
mod expressions;
mod grammar;
mod program;
mod programs;
#[path = "../../../sim/model/tests/fuzz/watchdog.rs"]
mod watchdog;

use std::fmt;

use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

/// So long a failure is made smaller, at most; a program has to be set up on a server each time.
const SHRINK_MS_MAX: u32 = 60_000;
/// So many smaller cases are tried.
const SHRINKS_MAX: u32 = 1_000;

fn from_environment(name: &str) -> Option<u32> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}: expected a number")))
}

/// What a failure was shrunk to says it all: the numbers that it was made of say nothing.
#[track_caller]
pub(crate) fn judge<T: fmt::Debug>(found: Result<(), TestError<T>>) {
    match found {
        Ok(()) => {}
        Err(TestError::Fail(reason, _)) => panic!("the model is wrong, or this test:\n{reason}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

/// A runner of so many cases, unless the environment says otherwise.
pub(crate) fn runner(cases: u32) -> TestRunner {
    let cases = from_environment("SKIPTRACE_CASES").unwrap_or(cases);
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&from_environment("SKIPTRACE_SEED").unwrap_or(0).to_le_bytes());
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_time: SHRINK_MS_MAX,
        max_shrink_iters: SHRINKS_MAX,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}
