//! Counterexamples that were found once, and must be found again: every schedule in `tests/suite/regressions`, on the model and on a
//! server. Each file begins with its story.

use std::fs;

use skiptrace_sim::exit::Exit;

use crate::cli_usage::skiptrace;
use crate::tidy::{files, root};

fn every_schedule(on: &str, conclusion: &str) {
    let schedules = files(&root().join("tests/suite/regressions"), "toml");
    assert!(schedules.len() >= 12, "each known-bad protocol has its counterexample; found {}", schedules.len());
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

/// `lock-and-read` is wrong between a statement's snapshot and its first row, and nowhere else: in whole statements it holds.
#[test]
fn only_the_finer_granularity_convicts_lock_and_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = fs::read_to_string(root().join("scenarios/lock-and-read.toml")).expect("the scenario");
    let whole = text
        .replace("granularity = \"snapshot\"", "granularity = \"statement\"")
        .replace("violates exactly_once", "holds");
    let file = folder.path().join("whole.toml");
    fs::write(&file, whole).expect("a file");
    let file = file.to_str().expect("a path in UTF-8");
    let ran = skiptrace(&["verify", file, "--seeds", "3000"]);
    assert_eq!(ran.exit, Exit::Expected, "{}{}", ran.out, ran.err);
    let ran = skiptrace(&["verify", "lock-and-read", "--seeds", "3000"]);
    assert_eq!(ran.exit, Exit::Expected, "{}{}", ran.out, ran.err);
}

#[test]
fn every_counterexample_is_confirmed_on_a_server() {
    every_schedule("postgres", "confirmed on PostgreSQL");
}
