//! What the model could only guess at, it refuses by name.

use skiptrace_model::{Outcome, Server};

#[track_caller]
fn refused(sql: &str) {
    let mut server = Server::new();
    let session = server.connect();
    assert!(matches!(server.query(session, "CREATE TABLE t (id bigint PRIMARY KEY)"), Outcome::Done(_)));
    match server.query(session, sql) {
        Outcome::Failed(error) => assert!(error.is_refusal(), "{sql}: expected a refusal; found {error}"),
        other => panic!("{sql}: expected a refusal; found {other:?}"),
    }
}

/// PostgreSQL evaluates the select list below the row lock, before a wait for it; the model's plan does so above.
#[test]
fn a_server_function_in_the_select_list_beside_a_row_lock() {
    refused("SELECT pg_advisory_lock(id) FROM t FOR UPDATE");
}

/// Names are always looked for in `public`, and no isolation level is taken from a setting.
#[test]
fn a_setting_that_nothing_follows() {
    refused("SET search_path = elsewhere");
    refused("SET default_transaction_isolation = 'repeatable read'");
}

#[test]
fn its_default_is_true() {
    let mut server = Server::new();
    let session = server.connect();
    assert!(matches!(server.query(session, "SET search_path = '\"$user\", public'"), Outcome::Done(_)));
}

/// What another session does when its timeout passes would happen in the middle of the sleeper's statement.
#[test]
fn a_sleep_beyond_what_is_modelled() {
    refused("SELECT pg_sleep('1')");
    refused("SELECT pg_sleep(60.1)");
    let mut server = Server::new();
    let (holder, waiter, sleeper) = (server.connect(), server.connect(), server.connect());
    for (session, sql) in [
        (holder, "CREATE TABLE t (id bigint PRIMARY KEY)"),
        (holder, "BEGIN"),
        (holder, "LOCK TABLE t"),
        (waiter, "SET lock_timeout = '1s'"),
    ] {
        assert!(matches!(server.query(session, sql), Outcome::Done(_)), "{sql}");
    }
    assert_eq!(server.query(waiter, "SELECT id FROM t"), Outcome::Waits);
    assert!(matches!(server.query(sleeper, "SELECT pg_sleep(0.9)"), Outcome::Done(_)));
    match server.query(sleeper, "SELECT pg_sleep(0.2)") {
        Outcome::Failed(error) => assert!(error.is_refusal(), "{error}"),
        other => panic!("{other:?}"),
    }
}

/// Foreign keys are checked at the end of the statement, and their MATCH is SIMPLE.
#[test]
fn a_foreign_key_of_another_kind() {
    refused("CREATE TABLE c (a bigint REFERENCES t DEFERRABLE)");
    refused("CREATE TABLE c (a bigint REFERENCES t MATCH FULL)");
    refused("CREATE TABLE c (a numeric REFERENCES t)");
    refused("CREATE TABLE c (a int REFERENCES t ON UPDATE CASCADE)");
    refused("ALTER TABLE t ADD FOREIGN KEY (id) REFERENCES t");
    refused("ALTER TABLE t ADD COLUMN up bigint REFERENCES t");
}

/// PostgreSQL keeps every digit, and 400 zeros.
#[test]
fn a_number_in_jsonb_that_no_double_holds() {
    refused("SELECT '[1e400]'::jsonb");
    refused("SELECT '[1e-400]'::jsonb");
    refused("SELECT '[123456789012345678901]'::jsonb");
}

/// Each keeps a session's place, and there are fewer than 2^16.
#[test]
fn prepared_transactions_are_limited() {
    let mut server = Server::new();
    let session = server.connect();
    for number in 0..1000 {
        server.query(session, "BEGIN");
        let outcome = server.query(session, &format!("PREPARE TRANSACTION 't{number}'"));
        assert!(matches!(outcome, Outcome::Done(_)), "{number}: {outcome:?}");
    }
    server.query(session, "BEGIN");
    let outcome = server.query(session, "PREPARE TRANSACTION 'one more'");
    assert!(matches!(&outcome, Outcome::Failed(error) if error.is_refusal()), "{outcome:?}");
    server.query(session, "ROLLBACK PREPARED 't7'");
    server.query(session, "BEGIN");
    let outcome = server.query(session, "PREPARE TRANSACTION 'one more'");
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
}
