//! Stepping through a real server: who waits, who goes on, what is left behind.

use skiptrace::{Answer, DbError, SqlState, Statement, Value};
use skiptrace_sim::backend::postgres::PostgresDatabase;
use skiptrace_sim::backend::testbed::{AcquireOptions, Settings, TestBed};
use skiptrace_sim::backend::{BackendError, Database, GenerationState, Layout, Observation, ObservedEvent, Outcome};

fn layout() -> Layout {
    let setup = [
        "CREATE TABLE events (position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stream_id text, version bigint)",
        "CREATE TABLE applied (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stream_id text, version bigint)",
        "CREATE TABLE generations (generation int PRIMARY KEY, state text NOT NULL)",
        "CREATE TABLE counters (id int PRIMARY KEY, n int NOT NULL)",
        "INSERT INTO generations VALUES (1, 'live')",
        "INSERT INTO counters VALUES (1, 0), (2, 0), (3, 0)",
    ];
    Layout {
        setup: setup.map(str::to_owned).to_vec(),
        streams: vec!["a".to_owned(), "b".to_owned()],
        events: "events".to_owned(),
        applied: "applied".to_owned(),
        skips: None,
        generations: "generations".to_owned(),
    }
}

fn open() -> PostgresDatabase<'static> {
    let mut database = PostgresDatabase::open(TestBed::shared().expect("a server"), &layout()).expect("a database");
    database.reset().expect("a reset");
    database
}

fn connected(sessions: usize) -> PostgresDatabase<'static> {
    let mut database = open();
    for session in 0..sessions {
        database.connect(session).expect("a session");
    }
    database
}

fn send(database: &mut PostgresDatabase, session: usize, sql: &str) -> Outcome {
    database.execute(session, &Statement::new("test", sql), &[]).expect("a server that answers")
}

#[track_caller]
fn answered(database: &mut PostgresDatabase, session: usize, sql: &str) -> Answer {
    match send(database, session, sql) {
        Outcome::Answered(Ok(answer)) => answer,
        other => panic!("{sql}: expected an answer, found {other:?}"),
    }
}

#[track_caller]
fn waits(database: &mut PostgresDatabase, session: usize, sql: &str, for_whom: &[usize]) {
    assert_eq!(send(database, session, sql), Outcome::Waits, "{sql}");
    assert_eq!(database.blockers(session).expect("blockers"), for_whom, "{sql}");
}

fn woken(database: &mut PostgresDatabase) -> Vec<(usize, Result<u64, SqlState>)> {
    let mut all = Vec::new();
    while let Some((session, answer)) = database.next_woken().expect("a server that answers") {
        all.push((session, answer.map(|answer| answer.affected).map_err(|e: DbError| e.sqlstate())));
    }
    all
}

fn bump(id: u32) -> String {
    format!("UPDATE counters SET n = n + 1 WHERE id = {id}")
}

#[test]
fn whoever_waits_is_seen_waiting_and_goes_on_with_the_releasing_commit() {
    let database = &mut connected(3);
    answered(database, 0, "BEGIN");
    answered(database, 0, &bump(1));
    waits(database, 1, &bump(1), &[0]);
    // Behind the first waiter's lock on the row version.
    waits(database, 2, &bump(1), &[1]);
    assert_eq!(woken(database), []);
    answered(database, 0, "COMMIT");
    assert_eq!(woken(database), [(1, Ok(1)), (2, Ok(1))], "each commits by itself, so both go on");
    let n = answered(database, 0, "SELECT n FROM counters WHERE id = 1").rows;
    assert_eq!(n.row(0).int(0), 3);
}

#[test]
fn who_goes_on_may_wait_again() {
    let database = &mut connected(3);
    for session in 0..3 {
        answered(database, session, "BEGIN");
    }
    answered(database, 0, &bump(1));
    answered(database, 2, &bump(2));
    waits(database, 1, "SELECT FROM counters WHERE id IN (1, 2) ORDER BY id FOR UPDATE", &[0]);
    answered(database, 0, "ROLLBACK");
    assert_eq!(woken(database), []);
    assert_eq!(database.blockers(1).expect("blockers"), [2]);
    answered(database, 2, "COMMIT");
    assert_eq!(woken(database), [(1, Ok(2))]);
}

#[test]
fn the_victim_of_a_deadlock_is_whoever_closed_the_cycle() {
    for _ in 0..20 {
        let database = &mut connected(2);
        for session in 0..2 {
            answered(database, session, "BEGIN");
        }
        answered(database, 0, &bump(1));
        answered(database, 1, &bump(2));
        waits(database, 0, &bump(2), &[1]);
        let closed = send(database, 1, &bump(1));
        let Outcome::Answered(Err(error)) = closed else { panic!("expected a deadlock, found {closed:?}") };
        assert_eq!(error.sqlstate(), SqlState::DEADLOCK_DETECTED);
        assert_eq!(woken(database), [(0, Ok(1))], "the victim's locks are free at once");
    }
}

#[test]
fn a_broken_connection_is_rolled_back_and_lets_others_go_on() {
    let database = &mut connected(2);
    answered(database, 0, "BEGIN");
    answered(database, 0, &bump(1));
    waits(database, 1, &bump(1), &[0]);
    database.disconnect(0).expect("a break");
    assert_eq!(woken(database), [(1, Ok(1))]);
    database.connect(0).expect("a new session");
    assert_eq!(answered(database, 0, "SELECT n FROM counters WHERE id = 1").rows.row(0).int(0), 1);
}

#[test]
fn the_hundredth_break_leaves_as_little_as_the_first() {
    let database = &mut connected(2);
    for round in 0..30 {
        answered(database, 0, "SELECT pg_advisory_lock(1)");
        answered(database, 0, "SET enable_seqscan = off");
        answered(database, 0, "BEGIN");
        answered(database, 0, &bump(1));
        waits(database, 1, &bump(1), &[0]);
        database.disconnect(0).expect("a break");
        assert_eq!(woken(database), [(1, Ok(1))], "in round {round}");
        database.connect(0).expect("a new session");
        let left = "SELECT current_setting('enable_seqscan'), count(*) FROM pg_locks WHERE locktype = 'advisory'";
        let left = answered(database, 0, left).rows;
        assert_eq!((&**left.row(0).text(0), left.row(0).int(1)), ("on", 0), "in round {round}");
        let n = answered(database, 0, "SELECT n FROM counters WHERE id = 1").rows;
        assert_eq!(n.row(0).int(0), round + 1, "the broken session's own update is undone");
    }
}

#[test]
fn a_transaction_that_has_failed_is_cleaned_up_as_any_other() {
    let database = &mut connected(2);
    let fail = |database: &mut PostgresDatabase| {
        answered(database, 0, "BEGIN");
        answered(database, 0, &bump(1));
        let failed = send(database, 0, "SELECT 1 / 0");
        assert!(matches!(&failed, Outcome::Answered(Err(_))), "found {failed:?}");
    };
    // After a run; and at a break, until its connection is one that has been cleaned up before.
    fail(database);
    database.reset().expect("a reset");
    database.connect(0).expect("a session");
    for _ in 0..12 {
        fail(database);
        database.disconnect(0).expect("a break");
        database.connect(0).expect("a session");
    }
    assert_eq!(answered(database, 0, "SELECT n FROM counters WHERE id = 1").rows.row(0).int(0), 0);
}

#[test]
fn a_waiting_connection_can_be_broken() {
    let database = &mut connected(2);
    answered(database, 0, "BEGIN");
    answered(database, 0, &bump(1));
    waits(database, 1, &bump(1), &[0]);
    database.disconnect(1).expect("a break");
    answered(database, 0, "COMMIT");
    assert_eq!(woken(database), []);
    assert_eq!(answered(database, 0, "SELECT n FROM counters WHERE id = 1").rows.row(0).int(0), 1);
}

#[test]
fn a_reset_leaves_what_the_setup_left() {
    let database = &mut connected(3);
    let fresh = everything(database);
    for round in 0..3 {
        answered(database, 0, "INSERT INTO events (stream_id, version) SELECT 'a', v FROM generate_series(1, 5) AS v");
        answered(database, 0, "DELETE FROM counters WHERE id = 2");
        answered(database, 0, "SET enable_seqscan = off");
        answered(database, 0, "SELECT pg_advisory_lock(1)");
        answered(database, 1, "BEGIN");
        answered(database, 1, &bump(1));
        waits(database, 2, &bump(1), &[1]);
        if round == 1 {
            answered(database, 0, "CREATE TABLE more (id int)");
        }
        if round == 2 {
            let many = "INSERT INTO applied (stream_id, version) SELECT 'a', v FROM generate_series(1, 2000) AS v";
            answered(database, 0, many);
        }
        database.reset().expect("a reset");
        for session in 0..3 {
            database.connect(session).expect("a session");
        }
        assert_eq!(everything(database), fresh, "after round {round}");
    }
}

/// Rows in the order in which they stand, the next position, settings, locks, tables.
fn everything(database: &mut PostgresDatabase) -> Vec<Vec<Value>> {
    let mut all = Vec::new();
    for sql in [
        "SELECT id, n FROM counters",
        "SELECT generation, state FROM generations",
        "SELECT position FROM events",
        "SELECT seq FROM applied",
        "SELECT current_setting('enable_seqscan'), count(*) FROM pg_locks WHERE locktype = 'advisory'",
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
        "SELECT relname::text FROM pg_class WHERE oid IN ('events'::regclass, 'applied'::regclass) AND pg_relation_size(oid) > 8192",
    ] {
        all.extend(answered(database, 0, sql).rows.iter().map(|row| row.values().to_vec()));
    }
    answered(database, 0, "BEGIN");
    let position = "INSERT INTO events (stream_id, version) VALUES ('a', 1) RETURNING position";
    all.extend(answered(database, 0, position).rows.iter().map(|row| row.values().to_vec()));
    answered(database, 0, "ROLLBACK");
    all
}

#[test]
fn new_rows_stand_in_the_order_in_which_they_came_after_many_resets() {
    let database = &mut open();
    for run in 0..50 {
        database.connect(0).expect("a session");
        for version in 1..=8 {
            answered(database, 0, &format!("INSERT INTO events (stream_id, version) VALUES ('a', {version})"));
            answered(database, 0, &format!("UPDATE events SET stream_id = 'b' WHERE version = {version}"));
        }
        let rows = answered(database, 0, "SELECT position FROM events").rows;
        let positions: Vec<i64> = rows.iter().map(|row| row.int(0)).collect();
        assert_eq!(positions, [1, 2, 3, 4, 5, 6, 7, 8], "in run {run}");
        database.reset().expect("a reset");
    }
}

#[test]
fn what_is_committed_is_observed() {
    let database = &mut connected(1);
    let mut seen = Observation::default();
    database.observe(&mut seen).expect("an observation");
    assert_eq!(seen.generations, [(1, GenerationState::Live)]);
    answered(database, 0, "BEGIN");
    answered(database, 0, "INSERT INTO events (stream_id, version) VALUES ('b', 1), ('a', 1)");
    answered(database, 0, "INSERT INTO applied (stream_id, version) VALUES ('a', 1)");
    assert!(!database.has_changed(), "nothing is committed yet");
    answered(database, 0, "COMMIT");
    assert!(database.has_changed());
    database.observe(&mut seen).expect("an observation");
    let event = |stream, position| ObservedEvent { stream, version: 1, position };
    assert_eq!(seen.events, [event(1, 1), event(0, 2)]);
    assert_eq!(seen.applied, [event(0, 1)]);
    assert!(!database.has_changed());
    for read in ["BEGIN", "SELECT n FROM counters FOR UPDATE", "COMMIT", "SELECT 1"] {
        answered(database, 0, read);
    }
    assert!(!database.has_changed(), "who only reads changes nothing");
    answered(database, 0, &bump(1));
    assert!(!database.has_changed(), "nobody looks at this table");
    answered(database, 0, "INSERT INTO events (stream_id, version) VALUES ('b', 2)");
    assert!(database.has_changed(), "a statement that commits by itself");
    database.observe(&mut seen).expect("an observation");
    assert_eq!((seen.events.len(), seen.applied.len()), (3, 1), "what did not change still stands");
    answered(database, 0, "BEGIN");
    answered(database, 0, "SAVEPOINT before");
    answered(database, 0, "ROLLBACK TO before");
    answered(database, 0, "INSERT INTO events (stream_id, version) VALUES ('b', 3)");
    assert!(!database.has_changed(), "it is still within its transaction");
    answered(database, 0, "COMMIT");
    assert!(database.has_changed());
}

#[test]
fn a_function_that_the_setup_made_may_do_anything() {
    let mut layout = layout();
    layout
        .setup
        .push("CREATE FUNCTION append() RETURNS void LANGUAGE sql AS 'INSERT INTO events VALUES (DEFAULT)'".to_owned());
    let mut database = PostgresDatabase::open(TestBed::shared().expect("a server"), &layout).expect("a database");
    database.connect(0).expect("a session");
    database.observe(&mut Observation::default()).expect("an observation");
    answered(&mut database, 0, "SELECT append()::text");
    assert!(database.has_changed());
}

#[test]
fn who_waits_is_seen_to_go_on_when_the_lock_is_given_back_within_a_transaction() {
    for releasing in ["SELECT pg_advisory_unlock(1)", "ROLLBACK TO before", "SELECT 1 / 0"] {
        let database = &mut connected(2);
        answered(database, 0, "SELECT pg_advisory_lock(1)");
        answered(database, 0, "BEGIN");
        answered(database, 0, "SAVEPOINT before");
        answered(database, 0, &bump(1));
        let wanted = if releasing.contains("unlock") { "SELECT pg_advisory_lock(1)".to_owned() } else { bump(1) };
        waits(database, 1, &wanted, &[0]);
        answered(database, 0, "SELECT 1");
        assert_eq!(woken(database), []);
        let _ = send(database, 0, releasing);
        assert_eq!(woken(database), [(1, Ok(1))], "{releasing}");
    }
}

#[test]
fn a_table_that_nobody_may_read_is_observed_later() {
    let database = &mut connected(2);
    let mut seen = Observation::default();
    answered(database, 0, "INSERT INTO applied (stream_id, version) VALUES ('a', 1)");
    database.observe(&mut seen).expect("an observation");
    assert_eq!(seen.applied.len(), 1);
    // What is changed and can be read is seen, whatever else is locked.
    answered(database, 0, "BEGIN");
    answered(database, 0, "TRUNCATE applied");
    answered(database, 1, "INSERT INTO events (stream_id, version) VALUES ('a', 2)");
    database.observe(&mut seen).expect("no wait");
    assert_eq!((seen.events.len(), seen.applied.len()), (1, 1), "nobody has committed the TRUNCATE");
    assert!(!database.has_changed());
    answered(database, 0, "ROLLBACK");
    // Where that is locked which has changed, all stays as it was seen last.
    answered(database, 0, "BEGIN");
    answered(database, 0, "INSERT INTO applied (stream_id, version) VALUES ('a', 2)");
    answered(database, 1, "BEGIN");
    waits(database, 1, "LOCK TABLE applied", &[0]);
    answered(database, 0, "COMMIT");
    assert_eq!(woken(database), [(1, Ok(0))]);
    answered(database, 0, "INSERT INTO events (stream_id, version) VALUES ('a', 3)");
    database.observe(&mut seen).expect("no wait");
    assert_eq!((seen.events.len(), seen.applied.len()), (1, 1), "all as it was seen last");
    assert!(database.has_changed(), "what could not be seen is still to be seen");
    answered(database, 1, "COMMIT");
    database.observe(&mut seen).expect("an observation");
    assert_eq!((seen.events.len(), seen.applied.len()), (2, 2));
}

#[test]
fn a_transaction_takes_the_next_xid() {
    // Ids are the server's, not the database's: a server of its own, or another test takes them.
    let bed = TestBed::acquire(AcquireOptions::default()).expect("a server");
    let mut database = PostgresDatabase::open(&bed, &layout()).expect("a database");
    database.connect(0).expect("a session");
    let next = database.next_xid().expect("an id");
    let taken = answered(&mut database, 0, "SELECT pg_current_xact_id()::text").rows;
    assert_eq!(**taken.row(0).text(0), next.to_string());
}

#[test]
fn a_server_that_dies_in_the_middle_is_an_error_that_says_so() {
    let local = Settings { forced: Some("local".to_owned()), ..Settings::from_env() };
    let bed = TestBed::acquire_with(&local, AcquireOptions::default()).expect("a server of local binaries");
    let mut database = PostgresDatabase::open(&bed, &layout()).expect("a database");
    database.connect(0).expect("a session");
    answered(&mut database, 0, "BEGIN");
    crate::testbed::kill_server(&bed);
    let error = database.execute(0, &Statement::new("test", "SELECT 1"), &[]).expect_err("no server");
    let BackendError::Environment(message) = error else { panic!("expected an environment error, found {error:?}") };
    assert!(message.contains("has died") && message.contains("end of its log"), "{message}");
}
