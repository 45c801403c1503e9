//! What is too much: each ends in an error by name, soon.

use skiptrace_model::{Outcome, Server};

use crate::watchdog;

/// Runs all but the last statement, which must fail with one of these codes.
#[track_caller]
fn limited(script: &[&str], codes: &[&str]) {
    watchdog::start();
    let mut server = Server::new();
    let session = server.connect();
    server.query(session, "CREATE TABLE t (id int PRIMARY KEY, n int, s text, a int[], j jsonb)");
    server.query(session, "INSERT INTO t VALUES (1, 1, 'abc', ARRAY[1, 2], '[1]')");
    let mut last = None;
    for sql in script {
        watchdog::now(sql);
        last = Some(server.query(session, sql));
    }
    let shown: String = script.last().expect("a statement").chars().take(200).collect();
    match last {
        Some(Outcome::Failed(error)) => {
            assert!(codes.contains(&error.sqlstate), "{shown}: {error}");
            // PostgreSQL would not have said so: it must not look as if it had.
            assert!(error.is_refusal() || !["54000", "0A000"].contains(&error.sqlstate), "{shown}: {error}");
        }
        other => panic!("{shown}: expected one of {codes:?}; found {:.300}", format!("{other:?}")),
    }
}

const WORK: &[&str] = &["54000"];

#[test]
fn rows_of_a_function() {
    limited(&["SELECT count(*) FROM generate_series(1, 1000000000000)"], WORK);
    limited(&["SELECT 1 FROM generate_series(1, 9223372036854775807) LIMIT 1"], WORK);
    limited(&["SELECT 1 FROM generate_series(9223372036854775807, -9223372036854775808, -1)"], WORK);
    limited(&["SELECT (SELECT count(*) FROM generate_series(1, g)) FROM generate_series(1000000, 1000100) g"], WORK);
}

#[test]
fn rows_of_a_join() {
    let series = "generate_series(1, 5000)";
    limited(&[&format!("SELECT 1 FROM {series} a, {series} b, {series} c OFFSET 9000000000000")], WORK);
    limited(&[&format!("INSERT INTO t SELECT 1 FROM {series} a, {series} b WHERE a.a + b.b = 0")], WORK);
}

#[test]
fn groups_and_distinct_rows() {
    limited(&["SELECT g FROM generate_series(1, 100000) g GROUP BY g"], WORK);
    limited(&["SELECT DISTINCT g FROM generate_series(1, 100000) g"], WORK);
}

#[test]
fn arrays() {
    let all = "(SELECT array_agg(g) AS a FROM generate_series(1, 100000) g)";
    limited(&[&format!("SELECT {all} @> {all}")], WORK);
    limited(&[&format!("SELECT count(*) FROM {all} s, generate_series(1, 10000) g WHERE -g = ANY (s.a)")], WORK);
    let doubled: String =
        (1..60).map(|n| format!(", c{n} AS (SELECT a || a AS a FROM c{})", n - 1)).collect::<Vec<_>>().concat();
    limited(&[&format!("WITH c0 AS (SELECT ARRAY[1, 2] AS a){doubled} SELECT cardinality(a) FROM c59")], WORK);
}

#[test]
fn texts() {
    let both = &["54000", "0A000"];
    limited(&["SELECT repeat('x', 2147483647)"], both);
    limited(&["SELECT length(repeat('x', 10000000 + g % 2)) FROM generate_series(1, 1000000) g"], both);
    limited(&["SELECT string_agg(repeat('x', 1000), ',') FROM generate_series(1, 1000000)"], both);
    let long = "SELECT repeat('x', 10000000) AS x";
    limited(&[&format!("SELECT string_agg(x, '') FROM ({long}) s, generate_series(1, 1000)")], both);
    limited(&[&format!("SELECT concat(x{}) FROM ({long}) s", ", x".repeat(90))], both);
    limited(&[&format!("SELECT array_agg(x)::text FROM ({long}) s, generate_series(1, 1000)")], both);
    limited(&["SELECT repeat('a', 1000000) LIKE repeat('%aa_', 100000) || 'b'"], both);
}

#[test]
fn jsonb() {
    let doubled: String = (1..60)
        .map(|n| format!(", c{n} AS (SELECT jsonb_build_array(a, a) AS a FROM c{})", n - 1))
        .collect::<Vec<_>>()
        .concat();
    limited(&[&format!("WITH c0 AS (SELECT '1'::jsonb AS a){doubled} SELECT a FROM c59")], &["54000", "0A000"]);
    let joined: String =
        (1..60).map(|n| format!(", c{n} AS (SELECT a || a AS a FROM c{})", n - 1)).collect::<Vec<_>>().concat();
    limited(&[&format!("WITH c0 AS (SELECT '[1]'::jsonb AS a){joined} SELECT a FROM c59")], &["54000", "0A000"]);
    limited(&[&format!("SELECT '{}1{}'::jsonb", "[".repeat(100_000), "]".repeat(100_000))], &["54000"]);
    let update = "UPDATE t SET j = jsonb_build_array(j)";
    limited(&vec![update; 200], &["54000"]);
}

#[test]
fn numbers() {
    for number in ["1e100000", "1e-2147483648", "1e2147483647", "1e99999999999", "-1e-99999999999"] {
        limited(&[&format!("SELECT {number} + 1")], &["0A000", "22003"]);
        limited(&[&format!("SELECT '{number}'::numeric")], &["0A000", "22003", "22P02"]);
        limited(&[&format!("SELECT '[{number}]'::jsonb")], &["0A000", "22003", "22P02"]);
        limited(&[&format!("SELECT '{number}'::int")], &["22003", "22P02"]);
    }
    limited(&["SELECT 9223372036854775807 + 1"], &["22003"]);
    limited(&["SELECT (-9223372036854775808) / (-1)"], &["22003"]);
    limited(&["SELECT abs((-9223372036854775808)::bigint)"], &["22003"]);
}

#[test]
fn long_texts_of_sql() {
    let list = |item: &str, times: usize| vec![item; times].join(", ");
    let numbered = |times: usize, item: &dyn Fn(usize) -> String| (0..times).map(item).collect::<Vec<_>>().join(", ");
    limited(&[&format!("SELECT {}", list("1", 3000))], &["54011"]);
    limited(&[&format!("CREATE TABLE wide ({})", numbered(3000, &|n| format!("c{n} int")))], &["54011"]);
    limited(&[&format!("SELECT concat({})", list("'a'", 3000))], &["54023"]);
    limited(&[&format!("SELECT 1 FROM {}", numbered(5000, &|n| format!("t t{n}")))], &["54000"]);
    limited(&[&format!("WITH {} SELECT 1", numbered(9000, &|n| format!("c{n} AS (SELECT 1)")))], &["54000"]);
    limited(&[&format!("SELECT {}", "a".repeat(2_000_000))], &["54000"]);
    limited(&[&format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(5000))], &["54000"]);
}

#[test]
fn chains() {
    let chain = |last: usize| {
        let links: String = (1..=last)
            .map(|n| format!(", c{n} AS MATERIALIZED (SELECT a + 1 AS a FROM c{})", n - 1))
            .collect::<Vec<_>>()
            .concat();
        format!("WITH c0 AS MATERIALIZED (SELECT 1 AS a){links} SELECT a FROM c{last}")
    };
    for last in [100, 1000, 1300] {
        watchdog::start();
        let mut server = Server::new();
        let session = server.connect();
        match server.query(session, &chain(last)) {
            Outcome::Done(answer) => assert_eq!(answer.rows.len(), 1),
            Outcome::Failed(error) => assert_eq!(error.sqlstate, "54000", "{error}"),
            other => panic!("{other:?}"),
        }
    }
}

/// Found by damaged statements: the storage kept an index that was not created, and an INSERT afterwards looked for its name.
#[test]
fn a_unique_index_that_cannot_be_created() {
    let mut server = Server::new();
    let session = server.connect();
    server.query(session, "CREATE TABLE t (n int)");
    server.query(session, "INSERT INTO t VALUES (1), (1)");
    let index = server.query(session, "CREATE UNIQUE INDEX i ON t (n)");
    assert!(matches!(index, Outcome::Failed(error) if error.sqlstate == "23505"));
    assert!(matches!(server.query(session, "INSERT INTO t VALUES (1)"), Outcome::Done(_)));
}
