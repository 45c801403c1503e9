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

/// What is sent as text is shown in its order.
#[test]
fn rows_in_an_order_that_the_planner_chooses() {
    let mut server = Server::new();
    let session = server.connect();
    let mut send = |sql: &str| {
        let reply = server.send(session, sql).expect("nobody waits");
        reply
            .error
            .map_or(Ok(()), |error| if error.is_refusal() { Err(error.message) } else { panic!("{sql}: {error}") })
    };
    let setup = "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (3, 1), (1, 2), (2, 1); \
                 CREATE TABLE c (t int); INSERT INTO c VALUES (1), (2)";
    assert_eq!(send(setup), Ok(()));
    let shown = [
        "SELECT * FROM t WHERE id > 1",
        "SELECT n, count(*) FROM t GROUP BY n ORDER BY n",
        "SELECT n FROM t WHERE id = 3 GROUP BY n",
        "SELECT * FROM t a, t b WHERE a.id = b.id",
        "SELECT * FROM t, c WHERE t.id = c.t AND t.id = 1",
        "SELECT * FROM t WHERE id IN (SELECT t FROM c) ORDER BY id",
        "SELECT array_agg(id) FROM t",
        "SELECT id FROM t WHERE id > 1 LIMIT 1",
    ];
    for sql in shown {
        assert_eq!(send(sql), Ok(()), "{sql}");
    }
    let refused = [
        ("SELECT n, count(*) FROM t GROUP BY n", "GROUP BY"),
        ("SELECT n FROM t GROUP BY n ORDER BY n > 0", "GROUP BY"),
        ("SELECT DISTINCT n FROM t", "DISTINCT"),
        ("SELECT n FROM t UNION SELECT t FROM c", "UNION"),
        ("SELECT n FROM t EXCEPT SELECT 7", "INTERSECT or EXCEPT"),
        ("SELECT DISTINCT ON (n) n, id FROM t a NATURAL JOIN (SELECT t AS n FROM c) b ORDER BY n", "a join"),
        ("SELECT row_number() OVER (ORDER BY n) FROM t, c WHERE c.t < t.id", "a window function"),
        ("SELECT * FROM c, t WHERE c.t < t.id", "a join"),
        ("SELECT array_agg(t.id) FROM c, t WHERE c.t < t.id", "a join"),
        ("SELECT * FROM t WHERE id IN (SELECT t FROM c)", "IN (SELECT ..) or EXISTS"),
        ("SELECT * FROM t WHERE EXISTS (SELECT 1 FROM c WHERE c.t = t.id)", "IN (SELECT ..) or EXISTS"),
    ];
    for (sql, construct) in refused {
        let message = send(sql).expect_err(sql);
        assert!(message.ends_with(&format!("because of {construct}")), "{sql}: {message}");
    }
    // From here on an index names the row by its first version, and the table has the last one at its end.
    assert_eq!(send("UPDATE t SET n = 5 WHERE id = 3"), Ok(()));
    for sql in
        ["SELECT * FROM t WHERE id > 1", "SELECT id FROM t WHERE id > 1 LIMIT 1", "SELECT id FROM t WHERE NOT id < 2"]
    {
        let message = send(sql).expect_err(sql);
        assert!(message.ends_with("because of an index"), "{sql}: {message}");
    }
    assert_eq!(send("SELECT * FROM t WHERE id > 1 ORDER BY id; SELECT * FROM t WHERE n > 0"), Ok(()));
}

/// PostgreSQL's grammar has no such statements; the parser here has, or takes the words for something else.
#[test]
fn words_and_signs_that_mean_something_else_to_postgresql() {
    for sql in [
        "SELECT 1 < 2 < 3",
        "SELECT 1 < 2 = true",
        "SELECT current_schema",
        "SELECT CASE END",
        "SELECT coalesce()",
        "SELECT nullif(1)",
        "SELECT greatest()",
        "CREATE TABLE x (user int)",
        "CREATE TABLE select (a int)",
        "SELECT * FROM t JOIN t u",
        "SELECT 'a'::varchar + 1",
        "CREATE TABLE v (v varchar, CHECK (v + 1 > 0))",
        "SELECT round(1.5)",
        "SELECT 1 AS a UNION SELECT 2 ORDER BY a + 1",
        "CREATE INDEX i ON t (id + 1)",
        "SELECT 1; SELECT * FROM (SELECT 1)",
        "SELECT 1; DROP SCHEMA a.b",
        "BEGIN; PREPARE p (int) AS SELECT $2",
        "PREPARE p AS CREATE TABLE x (a int)",
    ] {
        told_to_be_refused(sql);
    }
    for sql in [
        "SELECT 1x",
        "SELECT 1e",
        "SELECT 5 == 3",
        "SELECT 1 ISNULL",
        "SELECT $1",
        "SELECT :x",
        "SELECT \"\"",
        "SELECT E'\\u12'",
        "SELECT E'\\xff'",
        "SELECT $$unfinished",
        "SELEC 'unfinished",
    ] {
        told_to_be_refused(sql);
    }
}

/// What is dropped beside what is not known would stay there.
#[test]
fn a_teardown_that_drops_what_it_cannot() {
    let mut server = Server::new();
    let control = server.connect();
    server.poison(control);
    let told = |server: &mut Server, sql: &str| server.send(control, sql).expect("it waits for nothing").error;
    assert_eq!(told(&mut server, "CREATE TABLE t (a int); CREATE UNIQUE INDEX i ON t (a)"), None);
    let error = told(&mut server, "DROP INDEX i");
    assert!(error.as_ref().is_some_and(skiptrace_model::Error::is_refusal), "{error:?}");
}

#[track_caller]
fn told_to_be_refused(sql: &str) {
    let mut server = Server::new();
    let session = server.connect();
    assert!(matches!(server.query(session, "CREATE TABLE t (id bigint PRIMARY KEY)"), Outcome::Done(_)));
    let error = server.send(session, sql).expect("it waits for nothing").error;
    assert!(error.as_ref().is_some_and(skiptrace_model::Error::is_refusal), "{sql}: {error:?}");
}
