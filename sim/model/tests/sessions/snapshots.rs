//! Transaction ids and snapshots.

use expect_test::expect;

use crate::check;

#[test]
fn end_is_the_latest_completed_id_plus_one() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: SELECT pg_current_xact_id_if_assigned(), pg_current_snapshot()
        a: UPDATE t SET n = 10 WHERE id = 1
        b: UPDATE t SET n = 10 WHERE id = 2
        c: BEGIN
        c: UPDATE t SET n = 10 WHERE id = 3
        d: SELECT pg_current_snapshot()
        c: SELECT pg_current_snapshot()
        a: ROLLBACK
        d: SELECT pg_current_snapshot()
        ",
        &expect![[]],
    );
}

#[test]
fn an_update_has_its_id_before_it_waits_and_a_lock_has_not() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: UPDATE t SET n = 10 WHERE id = 1
        b: BEGIN
        b: SELECT * FROM t WHERE id = 1 FOR UPDATE
        c: BEGIN
        c: UPDATE t SET n = 11 WHERE id = 1
        a: COMMIT
        b: SELECT pg_current_xact_id_if_assigned()
        b: COMMIT
        c: SELECT pg_current_xact_id_if_assigned()
        ",
        &expect![[]],
    );
}

#[test]
fn what_takes_no_id() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: UPDATE t SET n = 1 WHERE id = 17
        a: DELETE FROM t WHERE id = 17
        a: SELECT * FROM t WHERE id = 17 FOR UPDATE
        a: INSERT INTO t VALUES (1, 1) ON CONFLICT DO NOTHING
        a: SELECT pg_advisory_xact_lock(3)
        a: LOCK TABLE t IN SHARE MODE
        a: SELECT pg_current_xact_id_if_assigned()
        a: LOCK TABLE t IN ACCESS EXCLUSIVE MODE
        a: SELECT pg_current_xact_id_if_assigned()
        ",
        &expect![[]],
    );
}

#[test]
fn repeatable_read_keeps_its_snapshot_and_fails() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN ISOLATION LEVEL REPEATABLE READ
        a: SELECT * FROM t ORDER BY id
        b: UPDATE t SET n = 5 WHERE id = 1
        a: SELECT * FROM t ORDER BY id
        a: UPDATE t SET n = 6 WHERE id = 1
        a: SELECT 1
        a: COMMIT
        a: BEGIN ISOLATION LEVEL REPEATABLE READ
        a: SELECT count(*) FROM t
        b: DELETE FROM t WHERE id = 3
        a: SELECT * FROM t WHERE id = 3 FOR UPDATE
        ",
        &expect![[]],
    );
}

#[test]
fn a_statement_does_not_see_its_own_writes() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: INSERT INTO t SELECT id + 10, n FROM t
        a: WITH gone AS (DELETE FROM t WHERE id = 1 RETURNING id) SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM t)
        a: SELECT id FROM t ORDER BY id
        ",
        &expect![[]],
    );
}

#[test]
fn savepoints_have_ids_of_their_own() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: SAVEPOINT s
        a: INSERT INTO t VALUES (50, 50)
        a: SELECT pg_current_xact_id_if_assigned(), pg_current_snapshot()
        b: SELECT pg_current_snapshot()
        a: ROLLBACK TO s
        a: SELECT pg_current_xact_id_if_assigned(), pg_current_snapshot()
        a: SAVEPOINT s2
        a: INSERT INTO t VALUES (1, 1)
        a: SELECT 1
        a: ROLLBACK TO s2
        a: INSERT INTO t VALUES (51, 51)
        a: RELEASE s
        a: COMMIT
        a: SELECT id FROM t ORDER BY id
        ",
        &expect![[]],
    );
}
