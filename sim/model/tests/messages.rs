//! Messages: what PREPARE, LISTEN and errors mean for what comes before and after them. What is expected here was seen on PostgreSQL 15.

use skiptrace_model::{Server, SessionId, Value};

fn rows(server: &mut Server, session: SessionId, sql: &str) -> Result<Vec<Vec<Value>>, String> {
    let mut reply = server.send(session, sql).unwrap_or_else(|| panic!("{sql}: it waits"));
    match reply.error {
        Some(error) => Err(error.message),
        None => Ok(reply.results.pop().map_or(Vec::new(), |last| last.rows.iter().map(<[Value]>::to_vec).collect())),
    }
}

fn done(server: &mut Server, session: SessionId, messages: &[&str]) {
    for sql in messages {
        rows(server, session, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

#[track_caller]
fn errs(server: &mut Server, session: SessionId, sql: &str, with: &str) {
    let error = rows(server, session, sql).expect_err(sql);
    assert!(error.starts_with(with), "{sql}: {error}");
}

fn heard(server: &mut Server, session: SessionId) -> Vec<String> {
    let told = server.take_notifications(session).into_iter();
    told.map(|mail| format!("{}:{}", mail.channel, mail.payload)).collect()
}

/// Two sessions and a table with one row.
fn two() -> (Server, SessionId, SessionId) {
    let mut server = Server::new();
    let (a, b) = (server.connect(), server.connect());
    done(&mut server, a, &["CREATE TABLE t (i int); INSERT INTO t VALUES (1)"]);
    (server, a, b)
}

/// A session that listens reads what was sent during its transaction after it, and picks out what it wants then.
#[test]
fn listen_brings_what_was_sent_before_it() {
    let cases: [(&[&str], &[&str]); 6] = [
        (&["LISTEN a", "BEGIN", "!", "LISTEN c", "COMMIT"], &["a:1", "c:2"]),
        (&["LISTEN a", "BEGIN", "!", "UNLISTEN a; LISTEN c", "COMMIT"], &["c:2"]),
        (&["LISTEN a", "BEGIN", "!", "UNLISTEN *; LISTEN c", "COMMIT"], &["c:2"]),
        (&["LISTEN a", "BEGIN", "!", "LISTEN c", "ROLLBACK"], &["a:1"]),
        (&["LISTEN a", "BEGIN", "!", "UNLISTEN *", "COMMIT", "LISTEN c"], &[]),
        (&["BEGIN", "!", "LISTEN c", "COMMIT"], &[]),
    ];
    for (messages, expected) in cases {
        let (mut server, a, b) = two();
        for message in messages {
            match *message {
                "!" => done(&mut server, b, &["NOTIFY a, '1'", "NOTIFY c, '2'"]),
                message => done(&mut server, a, &[message]),
            }
        }
        assert_eq!(heard(&mut server, a), expected, "{messages:?}");
    }
}

#[test]
fn prepare_and_deallocate_take_the_snapshot() {
    for message in ["PREPARE q AS SELECT 1", "DEALLOCATE p", "DEALLOCATE ALL", "EXECUTE p"] {
        let (mut server, a, b) = two();
        done(&mut server, a, &["PREPARE p AS SELECT 1", "BEGIN ISOLATION LEVEL REPEATABLE READ", message]);
        done(&mut server, b, &["INSERT INTO t VALUES (2)"]);
        assert_eq!(rows(&mut server, a, "SELECT count(*) FROM t"), Ok(vec![vec![Value::Int(1)]]), "{message}");
        done(&mut server, a, &["ROLLBACK", "BEGIN", "PREPARE r AS SELECT 1"]);
        let late = "SET TRANSACTION ISOLATION LEVEL must be called before any query";
        errs(&mut server, a, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", late);
    }
}

#[test]
fn what_execute_returns_stays_what_prepare_saw() {
    let (mut server, a, b) = two();
    done(&mut server, a, &["PREPARE all_of AS SELECT * FROM t", "PREPARE i_of AS SELECT i FROM t"]);
    done(&mut server, b, &["ALTER TABLE t ADD COLUMN j int"]);
    errs(&mut server, a, "EXECUTE all_of", "cached plan must not change result type");
    assert_eq!(rows(&mut server, a, "EXECUTE i_of"), Ok(vec![vec![Value::Int(1)]]));
}

/// That it only reads PostgreSQL says first, whatever the names mean.
#[test]
fn a_definition_that_errs_in_a_transaction_that_only_reads_is_refused() {
    let (mut server, a, _) = two();
    done(&mut server, a, &["BEGIN READ ONLY"]);
    errs(&mut server, a, "DROP TABLE nosuch", "the model does not support a definition that errs");
}

/// A message is parsed before anything of it is done, and a failed transaction says so of all that is a statement.
#[test]
fn grammar_comes_before_everything_else() {
    let (mut server, a, _) = two();
    let unreadable = "the model does not support what its parser cannot read";
    errs(&mut server, a, "SELECT 1 / 0; SELEC 2", unreadable);
    done(&mut server, a, &["BEGIN"]);
    errs(&mut server, a, "SELECT 1 / 0", "division by zero");
    errs(&mut server, a, "SELEC 2", unreadable);
    errs(&mut server, a, "SELECT 1; SELEC 2", unreadable);
    for sql in ["INSERT INTO t VALUES (1, 2)", "SELECT (SELECT 1, 2)", "VALUES (1), (2, 3)", "SELECT *"] {
        errs(&mut server, a, sql, "current transaction is aborted");
    }
}

/// PostgreSQL cuts them off and says so in a notice.
#[test]
fn names_that_would_be_cut_off_are_refused() {
    let (mut server, a, _) = two();
    let (fits, long) = ("n".repeat(63), "n".repeat(64));
    done(&mut server, a, &[&format!("SELECT 1 AS {fits}")]);
    errs(&mut server, a, &format!("SELECT 1 AS {long}"), "the model does not support a name of more than 63 bytes");
}

#[test]
fn durations_out_of_range() {
    let (mut server, a, _) = two();
    let range = "is outside the valid range for parameter";
    errs(&mut server, a, "SET lock_timeout = -1", &format!("-1 ms {range} \"lock_timeout\" (0 .. 2147483647)"));
    errs(&mut server, a, "SET lock_timeout = '-5s'", &format!("-5000 ms {range} \"lock_timeout\" (0 .. 2147483647)"));
    errs(&mut server, a, "SET deadlock_timeout = 0", &format!("0 ms {range} \"deadlock_timeout\" (1 .. 2147483647)"));
    errs(&mut server, a, "SET lock_timeout = '30d'", "invalid value for parameter \"lock_timeout\": \"30d\"");
    errs(&mut server, a, "SET lock_timeout = '010'", "the model does not support the number 010");
}
