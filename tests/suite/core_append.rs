//! Appending on a real server: expected versions, what is applied and what is skipped, and what an append leaves that was dropped.

use std::time::Duration;

use serde_json::json;
use skiptrace::postgres::PostgresSession;
use skiptrace::{AppendError, Drainer, ExpectedVersion, NewEvent, SkipReason, SqlState, Version};

use crate::core_fixture::{Fixture, append, assert_converged, events, number, run, store, stream};

fn exact(version: i64) -> ExpectedVersion {
    ExpectedVersion::Exact(Version::new(version).expect("from 1"))
}

#[tokio::test]
async fn an_append_is_done_where_the_expected_version_is_there() {
    let fixture = Fixture::live().await;
    let mut session = fixture.session().await;
    let a = stream("a");
    let store = &fixture.store;
    let first = store.append(&mut session, &a, ExpectedVersion::NoStream, &events(1)).await.expect("no stream");
    assert_eq!((first.first_version.get(), first.last_version.get()), (1, 1));
    let second = store.append(&mut session, &a, exact(1), &events(3)).await.expect("version 1");
    assert_eq!((second.first_version.get(), second.last_version.get()), (2, 4));
    assert!(second.last_position > first.last_position);
    let third = store.append(&mut session, &a, ExpectedVersion::Any, &events(2)).await.expect("any version");
    assert_eq!((third.first_version.get(), third.last_version.get()), (5, 6));
    store.append(&mut session, &stream("b"), ExpectedVersion::Any, &events(2)).await.expect("any stream");

    let read = store.read_stream(&mut session, &a, 4, 100).await.expect("read");
    assert_eq!(read.iter().map(|event| event.version.get()).collect::<Vec<_>>(), [5, 6]);
    assert_eq!(read[1].position, third.last_position);
    assert_eq!(*read[0].data, json!({ "amount": 1 }));
    assert_converged(&mut session).await;
}

#[tokio::test]
async fn a_conflict_says_what_is_there_and_changes_nothing() {
    let fixture = Fixture::live().await;
    let mut session = fixture.session().await;
    append(&fixture.store, &mut session, "a", 2).await;
    let cases = [
        ("a", ExpectedVersion::NoStream, Some(2)),
        ("a", exact(1), Some(2)),
        ("a", exact(3), Some(2)),
        ("b", exact(1), None),
    ];
    for (name, expected, found) in cases {
        let error =
            fixture.store.append(&mut session, &stream(name), expected, &events(1)).await.expect_err("a conflict");
        let AppendError::WrongExpectedVersion { actual, .. } = &error else {
            panic!("expected a conflict, found {error}")
        };
        assert_eq!(actual.map(Version::get), found, "{error}");
    }
    assert!(matches!(
        fixture.store.append(&mut session, &stream("a"), exact(2), &[]).await,
        Err(AppendError::NoEvents)
    ));
    assert_eq!(number(&mut session, "SELECT count(*) FROM es.events").await, 2);
    assert_eq!(number(&mut session, "SELECT sum(version)::bigint FROM es.streams").await, 2);
    // The session is fit for use: no conflict has left a transaction open.
    append(&fixture.store, &mut session, "a", 1).await;
    assert_converged(&mut session).await;
}

#[tokio::test]
async fn appends_to_one_stream_take_turns() {
    let fixture = Fixture::live().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, mut session) = (fixture.store.clone(), fixture.session().await);
        tasks.spawn(async move {
            let mut won = 0;
            for version in 0..10 {
                let expected = if version == 0 { ExpectedVersion::NoStream } else { exact(version) };
                match store.append(&mut session, &stream("a"), expected, &events(1)).await {
                    Ok(_) => won += 1,
                    Err(AppendError::WrongExpectedVersion { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            won
        });
    }
    let won: i64 = tasks.join_all().await.into_iter().sum();
    let mut session = fixture.session().await;
    assert_eq!(won, number(&mut session, "SELECT version FROM es.streams").await, "each version was won once");
    assert_converged(&mut session).await;
}

#[tokio::test]
async fn an_event_that_a_projection_cannot_apply_is_rejected() {
    let fixture = Fixture::live().await;
    let mut session = fixture.session().await;
    // By its handler, which is asked before anything is sent; by the read model's CHECK, which answers in the last flight.
    let refused = [NewEvent::new("Deposited", json!({ "amount": 1 })), NewEvent::new("Deposited", json!({}))];
    let error =
        fixture.store.append(&mut session, &stream("a"), ExpectedVersion::Any, &refused).await.expect_err("no amount");
    assert!(matches!(&error, AppendError::Rejected { version, .. } if version.get() == 2), "{error}");
    let failing = [NewEvent::new("Deposited", json!({ "amount": 1000 }))];
    let error =
        fixture.store.append(&mut session, &stream("a"), ExpectedVersion::Any, &failing).await.expect_err("CHECK");
    let AppendError::Db(error) = &error else { panic!("expected PostgreSQL's error, found {error}") };
    assert_eq!((error.sqlstate(), error.statement()), (SqlState::CHECK_VIOLATION, Some("ledger.insert")));

    assert_eq!(number(&mut session, "SELECT count(*) FROM es.streams").await, 0, "nothing was appended");
    append(&fixture.store, &mut session, "a", 1).await;
    assert_converged(&mut session).await;
}

#[tokio::test]
async fn what_is_not_applied_is_recorded() {
    let fixture = Fixture::new().await;
    let mut session = fixture.session().await;
    append(&fixture.store, &mut session, "a", 2).await;
    let reasons = "SELECT reason FROM es.skips ORDER BY version";
    let texts = |rows: skiptrace::Rows| rows.iter().map(|row| row.text(0).to_string()).collect::<Vec<_>>();
    assert_eq!(texts(run(&mut session, reasons).await), ["rebuilding", "rebuilding"]);

    // By hand, as if the rebuild had left the two to the drain.
    run(&mut session, "UPDATE es.generations SET state = 'live'").await;
    append(&fixture.store, &mut session, "a", 1).await;
    append(&fixture.store, &mut session, "b", 1).await;
    assert_eq!(texts(run(&mut session, reasons).await), ["rebuilding", "rebuilding", "behind"], "b was applied inline");

    let newer = store(2);
    append(&newer, &mut session, "b", 1).await;
    append(&fixture.store, &mut session, "b", 1).await;
    let of_b = "SELECT reason FROM es.skips WHERE stream_id = 'b' ORDER BY version";
    assert_eq!(texts(run(&mut session, of_b).await), [SkipReason::NoHandler.as_str(), SkipReason::Behind.as_str()]);

    let left = Drainer::new(&newer).drain_all(&mut session).await.expect("a drain");
    assert_eq!(left.streams, 0, "a process without the handler leaves the records");
    let report = Drainer::new(&fixture.store).drain_all(&mut session).await.expect("a drain");
    assert_eq!((report.streams, report.drained.projected, report.failed.len()), (2, 5, 0));
    assert_converged(&mut session).await;
}

/// A future that is dropped while it waits for its stream leaves nothing: no event, no lock, and a session that can go on.
#[tokio::test]
async fn a_dropped_append_leaves_nothing() {
    let fixture = Fixture::live().await;
    let (mut holder, mut session) = (fixture.session().await, fixture.session().await);
    append(&fixture.store, &mut session, "a", 1).await;
    run(&mut holder, "BEGIN").await;
    run(&mut holder, "SELECT 1 FROM es.streams FOR UPDATE").await;
    drop_while_waiting(&fixture, &mut session).await;
    run(&mut holder, "ROLLBACK").await;
    assert_eq!(number(&mut session, "SELECT count(*) FROM es.events").await, 1);
    run(&mut holder, "SELECT 1 FROM es.streams FOR UPDATE NOWAIT").await;
    append(&fixture.store, &mut session, "a", 1).await;
    assert_converged(&mut session).await;
}

/// In the last flight COMMIT has been sent with the applies: the append is done in whole, though nobody hears of it.
#[tokio::test]
async fn an_append_that_is_dropped_at_its_commit_is_whole() {
    let fixture = Fixture::live().await;
    let (mut holder, mut session) = (fixture.session().await, fixture.session().await);
    append(&fixture.store, &mut session, "a", 1).await;
    run(&mut holder, "BEGIN").await;
    run(&mut holder, "LOCK TABLE public.entries IN EXCLUSIVE MODE").await;
    drop_while_waiting(&fixture, &mut session).await;
    run(&mut holder, "ROLLBACK").await;
    assert_eq!(number(&mut session, "SELECT count(*) FROM es.events").await, 2);
    append(&fixture.store, &mut session, "a", 1).await;
    assert_converged(&mut session).await;
}

async fn drop_while_waiting(fixture: &Fixture, session: &mut PostgresSession) {
    let (a, events) = (stream("a"), events(1));
    let waiting = fixture.store.append(session, &a, ExpectedVersion::Any, &events);
    tokio::time::timeout(Duration::from_millis(200), waiting).await.expect_err("it waits");
}

#[tokio::test]
async fn an_answer_lost_on_commit_is_an_unknown_outcome() {
    let fixture = Fixture::live().await;
    let (mut killer, mut session) = (fixture.session().await, fixture.session().await);
    run(&mut killer, "BEGIN").await;
    run(&mut killer, "LOCK TABLE public.entries IN EXCLUSIVE MODE").await;
    let store = fixture.store.clone();
    let pid = number(&mut session, "SELECT pg_backend_pid()::bigint").await;
    let waiting =
        tokio::spawn(async move { store.append(&mut session, &stream("a"), ExpectedVersion::Any, &events(1)).await });
    let waits = format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted");
    while number(&mut killer, &waits).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    run(&mut killer, &format!("SELECT pg_terminate_backend({pid})")).await;
    let error = waiting.await.expect("no panic").expect_err("its connection is gone");
    assert!(matches!(error, AppendError::OutcomeUnknown(_)), "{error}");
}
