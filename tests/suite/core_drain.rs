//! Draining on a real server: many streams at once, one that somebody holds, one that fails, and one that is long.

use std::time::Duration;

use serde_json::json;
use skiptrace::postgres::PostgresSession;
use skiptrace::{
    Answer, Call, DbError, DrainError, Drainer, ExpectedVersion, NewEvent, Session, SqlState, Statement, Value,
};

use crate::core_fixture::{Fixture, append, assert_converged, number, run, stream};

/// Notes the names of what it sends.
struct Noting {
    session: PostgresSession,
    sent: Vec<String>,
}

impl Session for Noting {
    async fn execute(&mut self, statement: &Statement, params: &[Value]) -> Result<Answer, DbError> {
        self.sent.push(statement.name().to_owned());
        self.session.execute(statement, params).await
    }

    async fn pipeline(&mut self, calls: Vec<Call>) -> Result<Vec<Answer>, DbError> {
        self.sent.extend(calls.iter().map(|call| call.statement.name().to_owned()));
        self.session.pipeline(calls).await
    }

    fn abandon(&mut self) {
        self.session.abandon();
    }

    async fn pause(&mut self, duration: Duration) {
        self.session.pause(duration).await;
    }
}

#[tokio::test]
async fn a_drain_that_fails_leaves_its_stream_and_not_the_others() {
    let fixture = Fixture::new().await;
    let mut session = fixture.session().await;
    append(&fixture.store, &mut session, "a", 1).await;
    let poison = [NewEvent::new("Deposited", json!({ "amount": 1000 }))];
    let poisoned = fixture.store.append(&mut session, &stream("a"), ExpectedVersion::Any, &poison).await;
    poisoned.expect("nothing is applied yet");
    append(&fixture.store, &mut session, "b", 1).await;
    run(&mut session, "UPDATE es.generations SET state = 'live'").await;

    let report = Drainer::new(&fixture.store).drain_all(&mut session).await.expect("a drain");
    assert_eq!((report.streams, report.drained.projected), (1, 1));
    let (failed, error) = &report.failed[0];
    assert_eq!(failed.as_str(), "a");
    assert!(matches!(error, DrainError::Db(error) if error.sqlstate() == SqlState::CHECK_VIOLATION), "{error}");
    assert_eq!(number(&mut session, "SELECT count(*) FROM es.skips WHERE stream_id = 'a'").await, 2);
    assert_eq!(number(&mut session, "SELECT count(*) FROM public.entries WHERE stream_id = 'a'").await, 0);
    let missing = Drainer::new(&fixture.store).drain_stream(&mut session, &stream("nowhere")).await;
    assert!(matches!(missing, Err(DrainError::NoStream(_))));
}

/// Three streams in one transaction, the fourth, which somebody holds, in one of its own when it is free.
#[tokio::test]
async fn a_drain_takes_what_is_free_at_once_and_waits_for_the_rest() {
    let fixture = Fixture::new().await;
    let (mut session, mut holder) = (fixture.session().await, fixture.session().await);
    for name in ["a", "b", "c", "d"] {
        append(&fixture.store, &mut session, name, 2).await;
    }
    run(&mut session, "UPDATE es.generations SET state = 'live'").await;
    run(&mut holder, "BEGIN").await;
    run(&mut holder, "SELECT FROM es.streams WHERE stream_id = 'b' FOR UPDATE").await;

    let mut drains = fixture.session().await;
    let drainer = Drainer::new(&fixture.store);
    let left = "SELECT count(DISTINCT stream_id) FROM es.skips";
    let let_go = async {
        while number(&mut session, left).await > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let transactions = number(&mut session, "SELECT count(DISTINCT xmin::text) FROM es.skip_archive").await;
        assert_eq!(transactions, 1, "three streams were drained together");
        assert_eq!(number(&mut session, left).await, 1);
        run(&mut holder, "COMMIT").await;
    };
    let both = async { tokio::join!(drainer.drain_all(&mut drains), let_go) };
    let (report, ()) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("three streams are free");
    let report = report.expect("a drain");
    assert_eq!((report.streams, report.drained.projected, report.failed.len()), (4, 8, 0));
    assert_converged(&mut session).await;
}

/// All streams are held: a batch that got none has nothing to claim.
#[tokio::test]
async fn a_batch_that_finds_no_stream_free_claims_nothing() {
    let fixture = Fixture::new().await;
    let (mut session, mut holder) = (fixture.session().await, fixture.session().await);
    for name in ["a", "b"] {
        append(&fixture.store, &mut session, name, 1).await;
    }
    run(&mut session, "UPDATE es.generations SET state = 'live'").await;
    run(&mut holder, "BEGIN").await;
    run(&mut holder, "SELECT FROM es.streams FOR UPDATE").await;
    let mut drains = Noting { session: fixture.session().await, sent: Vec::new() };
    let drainer = Drainer::new(&fixture.store);
    let let_go = async {
        let waiting =
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
        while number(&mut session, waiting).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        run(&mut holder, "COMMIT").await;
    };
    let both = async { tokio::join!(drainer.drain_all(&mut drains), let_go) };
    let (report, ()) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("it waits for a stream");
    assert_eq!(report.expect("a drain").drained.projected, 2);
    let claims: Vec<usize> =
        (0..).zip(&drains.sent).filter(|(_, name)| *name == "drain.claim").map(|(at, _)| at).collect();
    assert_eq!(claims.len(), 2, "one a stream, none of the batch: {:?}", drains.sent);
    assert!(claims.iter().all(|at| drains.sent[at - 1] == "drain.lock_stream"), "{:?}", drains.sent);
    assert_converged(&mut session).await;
}

/// Seven records, three at a time; and the other stream's, which are few, in one transaction.
#[tokio::test]
async fn a_long_stream_is_drained_a_part_at_a_time_in_its_order() {
    let fixture = Fixture::new().await;
    let mut session = fixture.session().await;
    append(&fixture.store, &mut session, "long", 7).await;
    append(&fixture.store, &mut session, "short", 3).await;
    run(&mut session, "UPDATE es.generations SET state = 'live'").await;
    let drainer = Drainer::new(&fixture.store).with_records_max(3);
    let report = drainer.drain_all(&mut session).await.expect("a drain");
    assert_eq!((report.streams, report.drained.projected, report.failed.len()), (2, 10, 0));
    let parts = "SELECT string_agg(version::text, ' ' ORDER BY version) FROM es.skip_archive
                 GROUP BY stream_id, xmin::text ORDER BY stream_id, min(version)";
    let parts: Vec<String> = run(&mut session, parts).await.iter().map(|row| row.text(0).to_string()).collect();
    assert_eq!(parts, ["1 2 3", "4 5 6", "7", "1 2 3"]);
    assert_converged(&mut session).await;
}

/// What came before the event that cannot be applied stays done, and nothing that comes after it is.
#[tokio::test]
async fn a_long_stream_is_drained_up_to_the_part_that_fails() {
    let fixture = Fixture::new().await;
    let mut session = fixture.session().await;
    append(&fixture.store, &mut session, "a", 3).await;
    let poison = [NewEvent::new("Deposited", json!({ "amount": 1000 }))];
    let poisoned = fixture.store.append(&mut session, &stream("a"), ExpectedVersion::Any, &poison).await;
    poisoned.expect("nothing is applied yet");
    append(&fixture.store, &mut session, "a", 3).await;
    run(&mut session, "UPDATE es.generations SET state = 'live'").await;
    let drainer = Drainer::new(&fixture.store).with_records_max(2);
    let report = drainer.drain_all(&mut session).await.expect("a drain");
    assert_eq!((report.streams, report.drained.projected, report.failed.len()), (0, 2, 1));
    assert_eq!(number(&mut session, "SELECT count(*) FROM public.entries").await, 2);
    assert_eq!(number(&mut session, "SELECT min(version) FROM es.skips").await, 3);
    run(&mut session, "ALTER TABLE public.entries DROP CONSTRAINT entries_amount_check").await;
    let report = drainer.drain_all(&mut session).await.expect("a drain");
    assert_eq!((report.streams, report.drained.projected, report.failed.len()), (1, 5, 0));
    assert_converged(&mut session).await;
}
