//! Row locks: queues, re-checks and strengths.

use expect_test::expect;

use crate::check;

#[test]
fn first_waiter_is_first_to_get_the_row() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: UPDATE t SET n = 10 WHERE id = 1
        b: UPDATE t SET n = n + 1 WHERE id = 1
        c: UPDATE t SET n = n + 100 WHERE id = 1
        d: SELECT n FROM t WHERE id = 1 FOR UPDATE
        a: COMMIT
        a: SELECT * FROM t ORDER BY id
        ",
        &expect![[]],
    );
}

#[test]
fn newest_version_must_still_qualify() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: UPDATE t SET n = 10 WHERE id = 1
        b: UPDATE t SET n = 20 WHERE id = 1 AND n = 1
        a: COMMIT
        a: SELECT * FROM t ORDER BY id
        ",
        &expect![[]],
    );
}

#[test]
fn others_keep_the_old_snapshot_in_a_recheck() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: UPDATE t SET n = 100 WHERE id = 1
        b: SELECT t.n, (SELECT n FROM t t2 WHERE t2.id = 1) FROM t WHERE id = 1 FOR UPDATE
        a: COMMIT
        ",
        &expect![[]],
    );
}

#[test]
fn waiter_of_a_rollback_goes_on_with_what_it_saw() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: DELETE FROM t WHERE id = 1
        b: UPDATE t SET n = n + 1 WHERE id = 1
        a: ROLLBACK
        a: SELECT * FROM t ORDER BY id
        ",
        &expect![[]],
    );
}

#[test]
fn deleted_row_is_left_out() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: DELETE FROM t WHERE id = 1
        b: UPDATE t SET n = 5 WHERE id < 3
        c: SELECT * FROM t WHERE id = 1 FOR UPDATE
        a: COMMIT
        a: SELECT * FROM t ORDER BY id
        ",
        &expect![[]],
    );
}

#[test]
fn key_share_and_update_of_another_column_go_together() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: UPDATE t SET n = 7 WHERE id = 2
        b: BEGIN
        b: SELECT * FROM t WHERE id = 2 FOR KEY SHARE
        c: SELECT * FROM t WHERE id = 2 FOR SHARE
        d: DELETE FROM t WHERE id = 2
        a: COMMIT
        b: COMMIT
        a: SELECT * FROM t ORDER BY id
        ",
        &expect![[]],
    );
}

#[test]
fn key_share_waits_for_a_new_key() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: UPDATE t SET id = 7 WHERE id = 2
        b: SELECT * FROM t WHERE id = 2 FOR KEY SHARE
        a: ROLLBACK
        ",
        &expect![[]],
    );
}

#[test]
fn nowait_and_skip_locked() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: UPDATE t SET n = 5 WHERE id = 1
        b: SELECT * FROM t ORDER BY id FOR UPDATE NOWAIT
        b: SELECT * FROM t ORDER BY id FOR UPDATE SKIP LOCKED
        b: SELECT * FROM t ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
        b: SELECT * FROM t WHERE id = 1 FOR KEY SHARE NOWAIT
        ",
        &expect![[]],
    );
}

#[test]
fn deadlock_of_two_rows() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        b: BEGIN
        a: UPDATE t SET n = 5 WHERE id = 1
        b: UPDATE t SET n = 5 WHERE id = 2
        a: UPDATE t SET n = 6 WHERE id = 2
        b: UPDATE t SET n = 6 WHERE id = 1
        b: COMMIT
        a: COMMIT
        a: SELECT * FROM t ORDER BY id
        ",
        &expect![[]],
    );
}

#[test]
fn rollback_to_frees_rows() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: SAVEPOINT s
        a: UPDATE t SET n = 5 WHERE id = 1
        b: BEGIN
        b: UPDATE t SET n = 6 WHERE id = 1
        a: ROLLBACK TO s
        b: SELECT pg_current_xact_id_if_assigned(), pg_current_snapshot()
        a: SELECT pg_current_xact_id_if_assigned(), pg_current_snapshot()
        b: COMMIT
        a: UPDATE t SET n = n + 1 WHERE id = 1
        a: COMMIT
        a: SELECT * FROM t ORDER BY id
        ",
        &expect![[]],
    );
}
