//! The port on tokio-postgres, and setting a database up.

use serde_json::json;
use skiptrace::postgres::PostgresSession;
use skiptrace::{
    Call, Drainer, EventStore, ExpectedVersion, Monitor, NewEvent, Rebuilder, Session, SetupError, SqlState, Statement,
    Tag, Value,
};

use crate::core_fixture::{Fixture, LEDGER, SCHEMA, append, assert_converged, events, number, run, store, stream};

fn assert_send<T: Send>(value: T) -> T {
    value
}

/// The example of the crate's documentation; and its futures can be sent to another thread.
#[tokio::test]
async fn a_store_from_its_opening_to_its_drain() {
    let fixture = Fixture::new().await;
    let mut session = assert_send(PostgresSession::connect(&fixture.database.url())).await.expect("connect");
    let store: EventStore = store(1);
    assert_send(store.migrate(&mut session)).await.expect("migrate");
    assert_send(store.check_server(&mut session)).await.expect("a primary");
    assert_send(store.register(&mut session)).await.expect("register");
    let rebuilder = Rebuilder::new(&store, LEDGER).expect("it is there");
    assert_send(rebuilder.run(&mut session)).await.expect("rebuild");
    let (account, event) = (stream("account-1"), NewEvent::new("Deposited", json!({ "amount": 5 })));
    let appended = assert_send(store.append(&mut session, &account, ExpectedVersion::NoStream, &[event])).await;
    assert_eq!(appended.expect("append").last_version.get(), 1);
    assert_send(store.read_stream(&mut session, &account, 0, 10)).await.expect("read");
    let drainer = Drainer::new(&store);
    assert_send(drainer.drain_all(&mut session)).await.expect("drain");
    assert_send(drainer.drain_stream(&mut session, &account)).await.expect("drain");
    assert_send(rebuilder.resume(&mut session)).await.expect("resume");
    let monitor = Monitor::new(&store);
    let status = assert_send(monitor.read(&mut session)).await.expect("status");
    assert_eq!(status.depth(), 0);
    assert_converged(&mut session).await;
}

#[tokio::test]
async fn every_statement_can_be_prepared() {
    let fixture = Fixture::new().await;
    let (client, connection) =
        tokio_postgres::connect(&fixture.database.url(), tokio_postgres::NoTls).await.expect("connect");
    tokio::spawn(connection);
    for statement in fixture.store.statements() {
        let prepared = client.prepare(statement.sql()).await;
        prepared.unwrap_or_else(|error| panic!("{}: {error:?}\n{}", statement.name(), statement.sql()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_at_once_take_turns() {
    let fixture = Fixture::new().await;
    let mut session = fixture.session().await;
    run(&mut session, &format!("DROP SCHEMA \"{}\" CASCADE", SCHEMA.replace('"', "\"\""))).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (store, mut session) = (fixture.store.clone(), fixture.session().await);
        tasks.spawn(async move { store.migrate(&mut session).await });
    }
    for result in tasks.join_all().await {
        result.expect("each of them succeeds");
    }
    assert_eq!(number(&mut session, "SELECT count(*) FROM es.migrations").await, 1);
    fixture.store.register(&mut session).await.expect("register");
    append(&fixture.store, &mut session, "a", 1).await;
}

#[tokio::test]
async fn a_schema_of_a_later_version_is_left_alone() {
    let fixture = Fixture::new().await;
    let mut session = fixture.session().await;
    run(&mut session, "INSERT INTO es.migrations (number, name) VALUES (1000, 'of_the_future')").await;
    let error = fixture.store.migrate(&mut session).await.expect_err("it is not known what that has changed");
    assert!(matches!(error, SetupError::Newer { found: 1000, .. }), "{error}");
    run(&mut session, "DELETE FROM es.migrations WHERE number = 1000").await;
    fixture.store.migrate(&mut session).await.expect("the session can be used, and nothing is locked");
}

#[tokio::test]
async fn a_sequence_that_hands_out_numbers_in_advance_is_refused() {
    let fixture = Fixture::new().await;
    let mut session = fixture.session().await;
    run(&mut session, "ALTER SEQUENCE es.events_position_seq CACHE 20").await;
    let error = fixture.store.check_server(&mut session).await.expect_err("a cache");
    assert!(matches!(error, SetupError::SequenceCache { cache: 20, .. }), "{error}");
}

#[tokio::test]
async fn values_cross_the_port_unchanged() {
    let fixture = Fixture::new().await;
    let mut session = fixture.session().await;
    let text = |it: &str| Value::from(it);
    let array = |values: Vec<Value>| Value::from(values);
    let values = [
        (Value::Null, "text"),
        (Value::Bool(true), "boolean"),
        (Value::Int(i64::MIN), "bigint"),
        (Value::Int(-5), "integer"),
        (Value::Int(5), "smallint"),
        (text("grün\n"), "text"),
        (Value::from(json!({ "a": [1, null, "x"], "b": 1.5 })), "jsonb"),
        (Value::Timestamp(1_234_567_890_123_456), "timestamptz"),
        (Value::Timestamp(-1), "timestamptz"),
        (array(vec![]), "bigint[]"),
        (array(vec![Value::Int(1), Value::Null]), "bigint[]"),
        (array(vec![text("a"), text("")]), "text[]"),
        (array(vec![Value::from(json!(1)), Value::from(json!(null))]), "jsonb[]"),
    ];
    for (value, ty) in values {
        let echo = Statement::new("echo", &format!("SELECT $1::{ty}"));
        let answer = session.execute(&echo, std::slice::from_ref(&value)).await.expect("it crosses");
        assert_eq!(*answer.rows.row(0).value(0), value, "{ty}");
    }
    let read = run(&mut session, "SELECT timestamptz '1970-01-01 00:00:01+00'").await;
    assert_eq!(*read.row(0).value(0), Value::Timestamp(1_000_000));

    for (value, ty, sqlstate) in [
        (Value::Int(1 << 40), "integer", SqlState::NUMERIC_VALUE_OUT_OF_RANGE),
        (text("x"), "bigint", SqlState::DATATYPE_MISMATCH),
    ] {
        let echo = Statement::new("echo", &format!("SELECT $1::{ty}"));
        let error = session.execute(&echo, &[value]).await.expect_err("it does not fit");
        assert_eq!(error.sqlstate(), sqlstate, "{error}");
    }
    let error = session.execute(&Statement::new("numeric", "SELECT 1.5"), &[]).await.expect_err("not of the port");
    assert!(error.message().contains("::text"), "{error}");
}

fn calls(texts: &[&str]) -> Vec<Call> {
    texts.iter().map(|sql| Call::new(&Statement::new("test", sql), [])).collect()
}

#[tokio::test]
async fn a_flight_tells_its_first_error_and_a_failed_commit_is_a_rollback() {
    let fixture = Fixture::new().await;
    let mut session = fixture.session().await;
    run(&mut session, "CREATE TABLE public.t (n bigint CHECK (n > 0))").await;
    let flight = ["BEGIN", "INSERT INTO public.t VALUES (1)", "INSERT INTO public.t VALUES (0)", "SELECT 1", "COMMIT"];
    let error = session.pipeline(calls(&flight)).await.expect_err("CHECK");
    assert_eq!(error.sqlstate(), SqlState::CHECK_VIOLATION);
    assert_eq!(number(&mut session, "SELECT count(*) FROM public.t").await, 0);

    // One by one: the tag of COMMIT tells.
    run(&mut session, "BEGIN").await;
    let insert = Statement::new("test", "INSERT INTO public.t VALUES (0)");
    session.execute(&insert, &[]).await.expect_err("CHECK");
    let commit = Statement::new("test", "COMMIT");
    assert_eq!(session.execute(&commit, &[]).await.expect("an answer").tag, Tag::Rollback);
    // After ROLLBACK TO the transaction is whole again.
    for sql in ["BEGIN", "SAVEPOINT s"] {
        run(&mut session, sql).await;
    }
    session.execute(&insert, &[]).await.expect_err("CHECK");
    let back = Statement::new("test", "ROLLBACK TO SAVEPOINT s");
    assert_eq!(session.execute(&back, &[]).await.expect("an answer").tag, Tag::Other, "the transaction goes on");
    assert_eq!(session.execute(&commit, &[]).await.expect("an answer").tag, Tag::Commit);
    // A deferred constraint fails the COMMIT itself; no transaction is left.
    run(&mut session, "CREATE TABLE public.u (n bigint UNIQUE DEFERRABLE INITIALLY DEFERRED)").await;
    let deferred = ["BEGIN", "INSERT INTO public.u VALUES (1), (1)", "COMMIT", "INSERT INTO public.u VALUES (2)"];
    let error = session.pipeline(calls(&deferred)).await.expect_err("unique");
    assert_eq!(error.sqlstate(), SqlState::UNIQUE_VIOLATION);
    assert_eq!(number(&mut session, "SELECT n FROM public.u").await, 2);
}

#[tokio::test]
async fn a_long_flight_keeps_its_order() {
    let fixture = Fixture::new().await;
    let mut session = fixture.session().await;
    run(&mut session, "CREATE TABLE public.t (seq bigint GENERATED ALWAYS AS IDENTITY, n bigint)").await;
    let insert = Statement::new("test", "INSERT INTO public.t (n) VALUES ($1) RETURNING n");
    let flight: Vec<Call> = (0..2000_i64).map(|n| Call::new(&insert, [n.into()])).collect();
    let answers = session.pipeline(flight).await.expect("answers");
    assert!(answers.iter().zip(0..).all(|(answer, n)| answer.rows.row(0).int(0) == n && answer.affected == 1));
    assert_eq!(number(&mut session, "SELECT count(*) FROM public.t WHERE seq = n + 1").await, 2000);
}

#[tokio::test]
async fn a_lost_connection_is_a_connection_failure() {
    let fixture = Fixture::live().await;
    let (mut session, mut killer) = (fixture.session().await, fixture.session().await);
    let pid = number(&mut session, "SELECT pg_backend_pid()::bigint").await;
    run(&mut killer, &format!("SELECT pg_terminate_backend({pid})")).await;
    let mut states = Vec::new();
    for _ in 0..2 {
        let error = fixture.store.append(&mut session, &stream("a"), ExpectedVersion::Any, &events(1)).await;
        let skiptrace::AppendError::Db(error) = error.expect_err("the connection is gone") else {
            panic!("nothing was sent")
        };
        states.push(error.sqlstate());
    }
    assert!(states.iter().all(|state| state.is_connection_lost()), "{states:?}");
    assert_eq!(states[1], SqlState::CONNECTION_FAILURE);
    assert!(session.is_closed());
    let nobody = PostgresSession::connect("postgres://nobody@127.0.0.1:1/nothing").await.expect_err("nobody listens");
    assert_eq!(nobody.sqlstate(), SqlState::CONNECTION_FAILURE);
}

#[tokio::test]
async fn a_client_that_is_connected_already_will_do() {
    let fixture = Fixture::live().await;
    let (client, connection) =
        tokio_postgres::connect(&fixture.database.url(), tokio_postgres::NoTls).await.expect("connect");
    tokio::spawn(connection);
    let mut session = PostgresSession::new(client);
    append(&fixture.store, &mut session, "a", 1).await;
    let read = Statement::new("test", "SELECT amount FROM public.balances WHERE stream_id = $1");
    assert_eq!(session.execute(&read, &[Value::from("a")]).await.expect("an answer").rows.row(0).int(0), 1);
}
