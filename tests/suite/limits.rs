//! What is too much for the model is refused: PostgreSQL, which has no such limits, would not have answered so.

use std::fs;
use std::ops::Range;

use skiptrace::Statement;
use skiptrace_sim::backend::model::ModelDatabase;
use skiptrace_sim::backend::{BackendError, Database, Layout};
use skiptrace_sim::exit::Exit;
use skiptrace_sim::spec::{Spec, TEXT_MAX};

use crate::cli_usage::skiptrace;

/// A statement for each limit, and by what name it is refused.
fn too_much() -> Vec<(String, &'static str)> {
    let tables = (0..5000).map(|n| format!("t t{n}")).collect::<Vec<_>>().join(", ");
    vec![
        (format!("SELECT {}1{}", "(".repeat(100), ")".repeat(100)), "SQL that nests deeper than 16 parentheses"),
        (format!("SELECT 1{}", " + 1".repeat(2000)), "1000 words without a comma"),
        (format!("SELECT {}1", "- ".repeat(60)), "SQL that nests deeper than 50 levels"),
        (format!("SELECT 1{}", " + 1".repeat(200)), "nest deeper than 100 levels"),
        (format!("SELECT 1 FROM {tables}"), "more than 4096 nodes"),
        (format!("SELECT '{}'", "x".repeat(2 << 20)), "SQL of more than 1048576 bytes"),
        ("SELECT count(*) FROM generate_series(1, 100000000)".to_owned(), "more than 4194304 rows and values"),
        ("SELECT length(repeat('x', 100000000))".to_owned(), "a text of more than 16777216 bytes"),
        (format!("SELECT '{}1{}'::jsonb", "[".repeat(200), "]".repeat(200)), "jsonb that nests deeper than 128 levels"),
        (format!("SELECT {}::numeric + 1", "9".repeat(50)), "more than 38 digits"),
    ]
}

#[test]
fn a_spec_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("limit.spec");
    // A longer text is too long for a spec.
    for (sql, name) in too_much().into_iter().filter(|(sql, _)| sql.len() < TEXT_MAX) {
        let text = format!("setup {{ CREATE TABLE t (); }}\nsession s step a {{ {sql} }}\n");
        fs::write(&path, text).expect("written");
        let ran = skiptrace(&["spec", path.to_str().expect("text")]);
        let shown: String = sql.chars().take(60).collect();
        assert_eq!(ran.exit, Exit::Refused, "{shown}: {:.500}", ran.err);
        assert!(ran.err.contains("the model does not support") && ran.err.contains(name), "{shown}: {}", ran.err);
        assert!(!ran.out.contains("ERROR"), "{shown}: printed as if PostgreSQL had said so");
    }
}

#[test]
fn a_step_of_a_run_is_refused_by_name() {
    let layout = Layout {
        setup: [
            "e (stream_id text, version bigint, position bigint)",
            "a (stream_id text, version bigint, seq bigint)",
            "g (generation bigint, state text)",
            "t ()",
        ]
        .map(|table| format!("CREATE TABLE {table}"))
        .to_vec(),
        streams: Vec::new(),
        events: "e".to_owned(),
        applied: "a".to_owned(),
        skips: None,
        generations: "g".to_owned(),
    };
    let mut database = ModelDatabase::new(&layout).expect("a setup");
    database.connect(0).expect("a session");
    for (sql, name) in too_much() {
        match database.execute(0, &Statement::new("step", &sql), &[]) {
            Err(BackendError::Refused { construct, .. }) => assert!(construct.contains(name), "{construct}"),
            other => panic!("{sql:.60}: expected a refusal, found {:.300}", format!("{other:?}")),
        }
    }
}

/// Texts one after the other.
fn all(numbers: Range<usize>, text: impl Fn(usize) -> String) -> String {
    numbers.map(text).collect::<Vec<_>>().concat()
}

/// A spec that is too much by itself: where, and what was expected.
#[track_caller]
fn too_large(text: impl AsRef<[u8]>, want: &str) {
    let error = Spec::read(text.as_ref(), Some(1_000_000)).expect_err("it is too large").to_string();
    assert!(error.starts_with(want), "expected {want}\nfound {error:.500}");
}

#[test]
fn a_spec_has_limits() {
    let sessions = |sessions: usize, steps: usize| {
        let step = |session| move |step| format!(" step s{session}_{step} {{}}");
        let session = |session| format!("session s{session}{}\n", all(0..steps, step(session)));
        all(0..sessions, session)
    };
    too_large(
        sessions(8, 8),
        "9:1: expected permutations, for there are more than 10^38 interleavings of these steps: at most 1000000 are run.",
    );
    too_large(sessions(3, 6), "4:1: expected permutations, for there are 17153136 interleavings of these steps");
    too_large(sessions(101, 1), "101:9: expected at most 100 sessions, found s100");
    let one = |permutation: String| format!("session a step x {{}} session b step y {{}}\npermutation {permutation}");
    too_large(one("x ".repeat(10_001)), "2:20013: expected at most 10000 steps in a permutation, found x");
    too_large(one(format!("x({}y)", "y, ".repeat(200))), "2:315: expected at most 100 markers of a step, found y");
    too_large(one("x ".repeat(1 << 20)), "2:1048537: expected the end of the file: at most 1048576 bytes are read");
    too_large(one("x(y notices 99999999999)".into()), "2:25: expected a small number, found 99999999999");
    too_large(one("x".repeat(100_000)), "2:13: expected a step, one of x, y; found xxxx");
    too_large("session a step x { SELECT '\0' }", "1:28: expected text, found a zero byte");
    too_large(b"session a\nstep \xc3\xa4 { SELECT '\xe4' }", "2:18: expected UTF-8, found the byte 0xe4");
}

/// As many notices as are asked for can never come: the step is stuck, and nothing overflows.
#[test]
fn more_notices_than_can_come() {
    let text = "session a step x { SELECT 1 } session b setup { DROP TABLE IF EXISTS t } step y { DROP TABLE IF EXISTS t }\n\
                permutation y x(y notices 4294967295)";
    assert_eq!(
        run(text),
        (Exit::Stuck, "step x (steps wait for each other) never comes back: in 1 of 1 permutations".to_owned())
    );
}

/// Runs a spec: its exit, and what stands behind the file's name in the first line on standard error.
fn run(text: &str) -> (Exit, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("limit.spec");
    fs::write(&path, text).expect("written");
    let ran = skiptrace(&["spec", path.to_str().expect("text")]);
    let line = ran.err.lines().next().unwrap_or("");
    let said = line.split_once("limit.spec: ").map_or(line, |(_, said)| said);
    (ran.exit, said.split(", in permutation").next().unwrap_or("").to_owned())
}

/// What would print terabytes prints nothing: rows are as wide as the widest.
#[test]
fn a_permutation_prints_so_much() {
    let refused = |construct: &str| (Exit::Refused, format!("{construct}: in 1 of 1 permutations"));
    let wide =
        "session s step a { SELECT CASE WHEN g = 1 THEN repeat('x', 1000000) END FROM generate_series(1, 100000) g }";
    assert_eq!(run(wide), refused("a permutation that prints more than 16777216 bytes"));
    let often = format!("session s step a {{ {} }}", "SELECT repeat('x', 1000000);".repeat(20));
    assert_eq!(run(&often), refused("a permutation that prints more than 16777216 bytes"));
    let steps = all(0..40, |n| format!("step s{n} {{ SELECT repeat('x', 1000000); }}\n"));
    assert_eq!(run(&format!("session s {steps}")), refused("a permutation that prints more than 16777216 bytes"));
}

/// No statement of them is too much, all together would fill the memory.
#[test]
fn messages_have_a_budget_too() {
    let once = "INSERT INTO t SELECT g FROM generate_series(1, 300000) g;";
    let setup = "setup { CREATE TABLE t (n int); }";
    let message = format!("{setup} session s step a {{ {} }}", once.repeat(100));
    let (exit, said) = run(&message);
    assert_eq!(exit, Exit::Refused, "{said}");
    assert!(said.contains("a message that reads, keeps and returns more than 4194304 rows and values"), "{said}");
    let steps = all(0..100, |n| format!("step s{n} {{ {once} }}\n"));
    let (exit, said) = run(&format!("{setup} session s {steps}"));
    assert_eq!(exit, Exit::Refused, "{said}");
    assert!(said.contains("a permutation that reads, keeps and returns more than 16777216 rows and values"), "{said}");
}

/// A search of more interleavings than there is time for ends, and says so.
#[test]
fn a_search_is_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("large.spec");
    let session = |session: usize| {
        let steps = all(0..8, |step| format!("step s{session}_{step} {{ UPDATE t SET n = n + 1 }}\n"));
        format!("session s{session}\n{steps}")
    };
    let text = all(0..8, session);
    fs::write(&path, format!("setup {{ CREATE TABLE t (n int) }} teardown {{ DROP TABLE t }}\n{text}"))
        .expect("written");
    let path = path.to_str().expect("text");
    let ran = skiptrace(&["spec", path, "--all-permutations", "--max-permutations", "200"]);
    assert_eq!(ran.exit, Exit::Expected, "{}", ran.err);
    assert!(ran.err.contains("the search on model was ended after 200 interleavings"), "{}", ran.err);
    let ran = skiptrace(&["spec", path]);
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("large.spec:74:1: expected permutations"), "{}", ran.err);
}

/// 400 KB of semicolons took hours: each was looked for from the text's beginning.
#[test]
fn a_message_of_nothing_but_semicolons() {
    assert_eq!(run(&format!("session s step a {{ {} }}", ";".repeat(400_000))), (Exit::Expected, String::new()));
    assert_eq!(run(&format!("session s step a {{ {} }}", ";\n".repeat(200_000))), (Exit::Expected, String::new()));
}
