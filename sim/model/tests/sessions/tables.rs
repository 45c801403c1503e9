//! Table locks, TRUNCATE, DDL, sequences and settings.

use expect_test::expect;

use skiptrace_model::Server;

use crate::check;

#[test]
fn readers_queue_behind_a_waiting_access_exclusive() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: SELECT count(*) FROM t
        b: BEGIN
        b: LOCK TABLE t IN ACCESS EXCLUSIVE MODE
        c: SELECT count(*) FROM t
        a: COMMIT
        b: TRUNCATE t
        b: COMMIT
        ",
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: SELECT count(*) FROM t
              3
            b: BEGIN
              Begin 0
            b: LOCK TABLE t IN ACCESS EXCLUSIVE MODE
              waits
            c: SELECT count(*) FROM t
              waits
            a: COMMIT
              Commit 0
                b: Other("LOCK TABLE") 0
            b: TRUNCATE t
              Other("TRUNCATE TABLE") 0
            b: COMMIT
              Commit 0
                c: 0
        "#]],
    );
}

#[test]
fn an_old_snapshot_sees_a_truncated_table_empty() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN ISOLATION LEVEL REPEATABLE READ
        a: SELECT 1
        b: TRUNCATE t
        b: INSERT INTO t VALUES (5, 5)
        a: SELECT count(*) FROM t
        b: SELECT count(*) FROM t
        ",
        &expect![[r#"
            a: BEGIN ISOLATION LEVEL REPEATABLE READ
              Begin 0
            a: SELECT 1
              1
            b: TRUNCATE t
              Other("TRUNCATE TABLE") 0
            b: INSERT INTO t VALUES (5, 5)
              Insert 1
            a: SELECT count(*) FROM t
              0
            b: SELECT count(*) FROM t
              1
        "#]],
    );
}

/// Nobody else can read the table meanwhile; who looks at it from outside must not take for committed what is not.
#[test]
fn what_is_committed_stands_until_a_truncate_is() {
    let mut server = Server::new();
    let (a, b) = (server.connect(), server.connect());
    let mut run = |session, sql: &[&str]| {
        for sql in sql {
            let _ = server.query(session, sql);
            while server.next_woken().is_some() {}
        }
        server.committed(server.table("t").expect("the table")).count()
    };
    assert_eq!(run(a, &["CREATE TABLE t (id int)", "INSERT INTO t VALUES (1), (2)"]), 2);
    assert_eq!(run(a, &["BEGIN", "TRUNCATE t", "INSERT INTO t VALUES (3)", "TRUNCATE t"]), 2);
    assert_eq!(run(b, &["SELECT count(*) FROM t"]), 2, "it waits");
    assert_eq!(run(a, &["INSERT INTO t VALUES (4)"]), 2);
    assert_eq!(run(a, &["COMMIT"]), 1);
    assert_eq!(run(a, &["BEGIN", "ALTER TABLE t ADD COLUMN n int NOT NULL DEFAULT 1"]), 1);
    assert_eq!(run(a, &["ROLLBACK", "TRUNCATE t"]), 0);
}

#[test]
fn truncate_is_rolled_back() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: TRUNCATE t
        a: SELECT count(*) FROM t
        b: SELECT count(*) FROM t
        a: ROLLBACK
        ",
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: TRUNCATE t
              Other("TRUNCATE TABLE") 0
            a: SELECT count(*) FROM t
              0
            b: SELECT count(*) FROM t
              waits
            a: ROLLBACK
              Rollback 0
                b: 3
        "#]],
    );
}

#[test]
fn lock_timeout_and_nowait() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: LOCK TABLE t IN SHARE MODE
        b: BEGIN
        b: LOCK TABLE t IN ROW EXCLUSIVE MODE NOWAIT
        b: ROLLBACK
        b: LOCK TABLE t
        c: INSERT INTO t VALUES (9, 9)
        a: COMMIT
        ",
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: LOCK TABLE t IN SHARE MODE
              Other("LOCK TABLE") 0
            b: BEGIN
              Begin 0
            b: LOCK TABLE t IN ROW EXCLUSIVE MODE NOWAIT
              could not obtain lock on relation "t" (55P03)
            b: ROLLBACK
              Rollback 0
            b: LOCK TABLE t
              LOCK TABLE can only be used in transaction blocks (25P01)
            c: INSERT INTO t VALUES (9, 9)
              waits
            a: COMMIT
              Commit 0
                c: Insert 1
        "#]],
    );
}

#[test]
fn a_table_that_was_dropped_during_the_wait() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: DROP TABLE t
        b: SELECT count(*) FROM t
        a: COMMIT
        ",
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: DROP TABLE t
              Other("DROP TABLE") 0
            b: SELECT count(*) FROM t
              waits
            a: COMMIT
              Commit 0
                b: relation "t" does not exist (42P01)
        "#]],
    );
}

#[test]
fn sequences_do_not_roll_back() {
    check(
        "
        setup: CREATE TABLE s (id bigserial PRIMARY KEY, n int)
        a: BEGIN
        a: INSERT INTO s (n) VALUES (1) RETURNING id
        a: ROLLBACK
        a: INSERT INTO s (n) VALUES (1) RETURNING id
        ",
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: INSERT INTO s (n) VALUES (1) RETURNING id
              1
            a: ROLLBACK
              Rollback 0
            a: INSERT INTO s (n) VALUES (1) RETURNING id
              2
        "#]],
    );
}

#[test]
fn settings_of_a_transaction() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: SELECT set_config('x.y', 'hello', true)
        a: SELECT current_setting('x.y', true)
        a: COMMIT
        a: SELECT current_setting('x.y', true) = ''
        a: SELECT current_setting('x.z', true)
        a: SELECT current_setting('x.z')
        ",
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: SELECT set_config('x.y', 'hello', true)
              hello
            a: SELECT current_setting('x.y', true)
              hello
            a: COMMIT
              Commit 0
            a: SELECT current_setting('x.y', true) = ''
              t
            a: SELECT current_setting('x.z', true)
              NULL
            a: SELECT current_setting('x.z')
              unrecognized configuration parameter "x.z" (42704)
        "#]],
    );
}

#[test]
fn pg_locks_names_holders_and_waiters() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: UPDATE t SET n = 5 WHERE id = 1
        b: UPDATE t SET n = 6 WHERE id = 1
        c: UPDATE t SET n = 7 WHERE id = 1
        d: SELECT locktype, mode, granted, count(*) FROM pg_locks WHERE locktype IN ('transactionid', 'tuple') GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        d: SELECT transactionid::text FROM pg_locks WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted ORDER BY 1
        a: COMMIT
        ",
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: UPDATE t SET n = 5 WHERE id = 1
              Update 1
            b: UPDATE t SET n = 6 WHERE id = 1
              waits
            c: UPDATE t SET n = 7 WHERE id = 1
              waits
            d: SELECT locktype, mode, granted, count(*) FROM pg_locks WHERE locktype IN ('transactionid', 'tuple') GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
              transactionid|ExclusiveLock|t|3; transactionid|ShareLock|f|1; tuple|ExclusiveLock|f|1; tuple|ExclusiveLock|t|1
            d: SELECT transactionid::text FROM pg_locks WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted ORDER BY 1
              800; 801; 802
            a: COMMIT
              Commit 0
                b: Update 1
                c: Update 1
        "#]],
    );
}
