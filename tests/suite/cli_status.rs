//! `skiptrace status`: what it shows of a real store, and that a health probe can trust its exit code.

use expect_test::expect;
use skiptrace::postgres::PostgresSession;
use skiptrace::{EventStore, Session, Statement};
use skiptrace_sim::backend::testbed::{Database, TestBed};
use skiptrace_sim::exit::Exit;

use crate::cli_usage::{Ran, skiptrace};

/// A database with a store in the schema `shop`, and `rows` in its tables.
fn store(rows: &[&str]) -> Database<'static> {
    let bed = TestBed::shared().unwrap_or_else(|error| panic!("{error:?}"));
    let database = bed.create_database("cli_status").unwrap_or_else(|error| panic!("{error:?}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = EventStore::builder().schema("shop").build().expect("a store");
        let mut session = PostgresSession::connect(&database.url()).await.expect("connect");
        store.migrate(&mut session).await.expect("migrate");
        for sql in rows {
            session.execute(&Statement::new("test", sql), &[]).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    });
    database
}

fn status(database: &Database<'_>, more: &[&str]) -> Ran {
    let url = database.url();
    let mut args = vec!["status", "--database-url", &url, "--schema", "shop"];
    args.extend(more);
    skiptrace(&args)
}

const REBUILDING: &[&str] = &[
    "INSERT INTO shop.generations VALUES ('totals', 1, 'retired', 1), ('totals', 2, 'building', 1), ('names', 1, 'live', 3)",
    "INSERT INTO shop.rebuild_progress (projection, generation, phase, fenced, pass, cursor, pass_end)
     VALUES ('totals', 2, 'replaying', true, 2, 4711, 5000)",
    "INSERT INTO shop.skips (stream_id, projection, generation, version, position, reason, recorded_at)
     SELECT 's' || n, 'totals', 2, 1, n, 'rebuilding', now() - interval '90 minutes' FROM generate_series(1, 1200) n",
    "INSERT INTO shop.skips (stream_id, projection, generation, version, position, reason)
     VALUES ('a', 'names', 1, 7, 9, 'no_handler')",
    "INSERT INTO shop.skip_archive (stream_id, projection, generation, version, position, reason, attempts, recorded_at, outcome)
     VALUES ('a', 'totals', 1, 1, 1, 'behind', 0, now(), 'projected')",
];

#[test]
fn generations_skip_records_and_the_archive_are_shown() {
    let ran = status(&store(REBUILDING), &[]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Expected, ""));
    // The age of a record that has just been written is some tenths of a second.
    let out: Vec<String> =
        ran.out.lines().map(|line| line.split(" 0.").next().unwrap_or_default().to_owned()).collect();
    let out = out.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n");
    expect![[r#"
        Generations
          projection  generation  state     handler  rebuild
          names       1           live      3
          totals      1           retired   1
          totals      2           building  1        replaying, fenced, pass 2, position 4711 of 5000

        Skip records
          projection  generation  reason      skip records  oldest
          names       1           no_handler  1
          totals      2           rebuilding  1,200         1 h 30 min

        Archived
          projection  outcome    skip records
          totals      projected  1
    "#]]
    .assert_eq(&out);
}

#[test]
fn a_store_without_anything_is_told_so() {
    let ran = status(&store(&[]), &["--check", "max-depth=0,max-age=0"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Expected, ""));
    expect![[r#"
        Generations
          no projection is registered

        Skip records
          none: everything is applied

        Archived
          none

    "#]]
    .assert_eq(&ran.out);
}

#[test]
fn a_bound_that_is_passed_fails_the_check() {
    let database = store(REBUILDING);
    for (check, exit, err) in [
        ("max-depth=1201", Exit::Expected, ""),
        ("max-depth=1200", Exit::Violated, "check failed: expected at most 1200 skip records, found 1201\n"),
        ("max-age=6000", Exit::Expected, ""),
        (
            "max-depth=5000,max-age=60",
            Exit::Violated,
            "check failed: expected no skip record older than 60s, found one of 1 h 30 min\n",
        ),
    ] {
        let ran = status(&database, &["--check", check]);
        assert_eq!((ran.exit, ran.err.as_str()), (exit, err), "{check}");
    }
}

#[test]
fn what_cannot_be_read_is_an_environment_error() {
    let database = store(&[]);
    let url = database.url();
    let ran = skiptrace(&["status", "--database-url", &url, "--schema", "elsewhere"]);
    assert_eq!(ran.exit, Exit::Environment);
    assert!(
        ran.err.starts_with("error: there is no event store in the schema \"elsewhere\" of this database"),
        "{}",
        ran.err
    );
    let ran = skiptrace(&["status", "--database-url", "postgresql://nobody@127.0.0.1:1/nothing"]);
    assert_eq!(ran.exit, Exit::Environment);
    assert!(ran.err.starts_with("error: cannot reach the database: "), "{}", ran.err);
    let ran = skiptrace(&["status", "--database-url", "not a url"]);
    assert_eq!(ran.exit, Exit::Environment);
    assert!(ran.err.starts_with("error: cannot reach the database: "), "{}", ran.err);
}
