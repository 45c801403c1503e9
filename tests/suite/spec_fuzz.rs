//! Specs from anybody: arbitrary bytes, soups of tokens, and damaged real specs, read and run on the model. Each ends in outputs or in an error with its
//! place, in bounded time and memory. `SKIPTRACE_FUZZ_CASES=20000 cargo test --release --test suite spec_fuzz` runs more; the watchdog, which
//! the fuzzing of the model's SQL has too, says which spec it was when a case does not end.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};
use skiptrace_sim::backend::messages::ModelMessages;
use skiptrace_sim::spec::explore::explore;
use skiptrace_sim::spec::run::{heading, permutation};
use skiptrace_sim::spec::{OUTPUT_MAX, Spec, statements};

#[path = "../../sim/model/tests/fuzz/mutate.rs"]
mod mutate;
#[path = "../../sim/model/tests/fuzz/watchdog.rs"]
mod watchdog;

use mutate::{apply, damages, words};

/// How many interleavings a spec may have here, and how many of its permutations are run.
const INTERLEAVINGS_MAX: u64 = 300;
const PERMUTATIONS_RUN: usize = 6;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn specs() -> Vec<String> {
    let files = fs::read_dir(root().join("tests/conformance/specs")).expect("the specs");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).expect("text")).collect()
}

fn config(cases: u32) -> Config {
    let asked = std::env::var("SKIPTRACE_FUZZ_CASES").ok().map(|cases| cases.parse().expect("a number of cases"));
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proptest-regressions/specs.txt");
    let kept = Box::leak(kept.to_str().expect("a path").to_owned().into_boxed_str());
    Config {
        cases: asked.unwrap_or(cases),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(kept))),
        max_shrink_iters: 2_000,
        ..Config::default()
    }
}

/// Reads a spec and runs it, permutations and search; what is wrong must be told with its place.
fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    watchdog::now(&text);
    let spec = match Spec::read(bytes, Some(INTERLEAVINGS_MAX)) {
        Ok(spec) => spec,
        Err(error) => {
            let line = text.split('\n').nth(error.line - 1).unwrap_or_else(|| panic!("{error}: there is no such line"));
            let columns = line.chars().count() + 1;
            assert!((1..=columns).contains(&error.column), "{error}: the line has {columns} columns");
            assert!(error.message.len() < 8_000, "{}: it tells {} bytes", error.line, error.message.len());
            return;
        }
    };
    assert!(spec.count() <= INTERLEAVINGS_MAX.into() || !spec.permutations.is_empty());
    drop(heading(&spec));
    let mut database = ModelMessages::new(spec.sessions.len() + 1);
    for steps in spec.interleavings().take(PERMUTATIONS_RUN) {
        let run = permutation(&spec, &steps, &mut database).expect("the model is always there");
        assert!(run.output.len() <= OUTPUT_MAX + text.len(), "{} bytes were printed", run.output.len());
        for step in &steps {
            drop(statements(&spec.step(step.step).sql));
        }
    }
    let explored = explore(&spec, &mut database, true, 20, &mut || ()).expect("the model is always there");
    assert!(explored.runs + explored.cut <= 20);
}

fn check(cases: u32, specs: impl Strategy<Value = Vec<u8>>) {
    watchdog::start();
    let one = |bytes: Vec<u8>| {
        run(&bytes);
        Ok(())
    };
    let found = TestRunner::new(config(cases)).run(&specs.prop_map(Shown), |spec| one(spec.0));
    watchdog::done();
    found.unwrap_or_else(|error| panic!("{error}"));
}

/// A spec, which is shown as text.
struct Shown(Vec<u8>);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

#[test]
fn damaged_specs() {
    let specs = specs();
    let pool: Vec<String> = specs.iter().flat_map(|text| words(text)).filter(|word| word != " ").collect();
    let spec = (any::<u16>(), damages(), any::<bool>()).prop_map(move |(number, damages, crlf)| {
        let text = apply(&specs[usize::from(number) % specs.len()], &damages, &pool);
        if crlf { text.replace('\n', "\r\n") } else { text }.into_bytes()
    });
    check(300, spec);
}

#[test]
fn soups_of_tokens() {
    const TOKENS: [&str; 40] = [
        "setup",
        "teardown",
        "session",
        "session",
        "step",
        "step",
        "permutation",
        "notices",
        "a",
        "b",
        "c",
        "\"a\"",
        "\"",
        "{",
        "}",
        "{ BEGIN; }",
        "{ COMMIT; }",
        "{ SELECT 1; }",
        "{ CREATE TABLE t (a int UNIQUE) }",
        "{ INSERT INTO t VALUES (1) }",
        "{ SELECT pg_advisory_lock(1) }",
        "{ LISTEN a; NOTIFY a; }",
        "{ ; }",
        "(",
        ")",
        "(*)",
        "(b)",
        "(a notices 1)",
        "(b notices 4294967295)",
        ",",
        "*",
        "4294967296",
        "0",
        "#",
        "\n",
        "\r\n",
        "{}",
        "session s1 step a { UPDATE t SET a = 2; }",
        "session s2 step b { UPDATE t SET a = a + 1; }",
        "session s3 step c { ROLLBACK; DROP TABLE IF EXISTS u; }",
    ];
    let words = prop::collection::vec(0..TOKENS.len(), 0..40);
    let soup = |words: Vec<usize>| words.into_iter().map(|word| TOKENS[word]).collect::<Vec<_>>().join(" ");
    let headed = (any::<bool>(), words).prop_map(move |(headed, words)| {
        let sessions = "session s1 step a { UPDATE t SET a = 2; } session s2 step b { BEGIN; UPDATE t SET a = 1; }\n";
        format!("{}{}", if headed { sessions } else { "" }, soup(words)).into_bytes()
    });
    check(300, headed);
}

#[test]
fn arbitrary_bytes() {
    let text = any::<String>().prop_map(String::into_bytes);
    let damaged = (any::<u16>(), any::<u16>(), any::<u8>()).prop_map({
        let specs = specs();
        move |(number, at, byte)| {
            let mut bytes = specs[usize::from(number) % specs.len()].clone().into_bytes();
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
            bytes
        }
    });
    check(200, prop_oneof![prop::collection::vec(any::<u8>(), 0..200), text, damaged]);
}
