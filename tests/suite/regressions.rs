//! Counterexamples that were found once, and must be found again: every schedule in `tests/suite/regressions`, on the model and on a
//! server. Each file begins with its story.

use skiptrace_sim::exit::Exit;

use crate::cli_usage::skiptrace;
use crate::tidy::{files, root};

fn every_schedule(on: &str, conclusion: &str) {
    let schedules = files(&root().join("tests/suite/regressions"), "toml");
    assert!(schedules.len() >= 9, "each known-bad protocol has its counterexample; found {}", schedules.len());
    for file in schedules {
        let file = file.to_str().expect("a path in UTF-8");
        let ran = skiptrace(&["replay", "--on", on, file]);
        let shown = format!("{file} on {on}:\n{}{}", ran.out, ran.err);
        assert_eq!(ran.exit, Exit::Violated, "expected the violation again: {shown}");
        assert!(ran.out.contains(conclusion), "expected `{conclusion}`: {shown}");
    }
}

#[test]
fn every_counterexample_is_reproduced_on_the_model() {
    every_schedule("model", "both as in the file");
}

#[test]
fn every_counterexample_is_confirmed_on_a_server() {
    every_schedule("postgres", "confirmed on PostgreSQL");
}
