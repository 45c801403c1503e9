//! Table locks, TRUNCATE, DDL, sequences and settings.

use expect_test::expect;

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
        &expect![[]],
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
        &expect![[]],
    );
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
        &expect![[]],
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
        &expect![[]],
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
        &expect![[]],
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
        &expect![[]],
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
        &expect![[]],
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
        &expect![[]],
    );
}
