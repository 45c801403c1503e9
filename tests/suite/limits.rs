//! What is too much for the model is refused: PostgreSQL, which has no such limits, would not have answered so.

use std::fs;

use skiptrace::Statement;
use skiptrace_sim::backend::model::ModelDatabase;
use skiptrace_sim::backend::{BackendError, Database, Layout};
use skiptrace_sim::exit::Exit;

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
    for (sql, name) in too_much() {
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
