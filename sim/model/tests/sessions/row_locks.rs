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
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: UPDATE t SET n = 10 WHERE id = 1
              Update 1
            b: UPDATE t SET n = n + 1 WHERE id = 1
              waits
            c: UPDATE t SET n = n + 100 WHERE id = 1
              waits
            d: SELECT n FROM t WHERE id = 1 FOR UPDATE
              waits
            a: COMMIT
              Commit 0
                b: Update 1
                c: Update 1
                d: 111
            a: SELECT * FROM t ORDER BY id
              1|111; 2|2; 3|3
        "#]],
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
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: UPDATE t SET n = 10 WHERE id = 1
              Update 1
            b: UPDATE t SET n = 20 WHERE id = 1 AND n = 1
              waits
            a: COMMIT
              Commit 0
                b: Update 0
            a: SELECT * FROM t ORDER BY id
              1|10; 2|2; 3|3
        "#]],
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
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: UPDATE t SET n = 100 WHERE id = 1
              Update 1
            b: SELECT t.n, (SELECT n FROM t t2 WHERE t2.id = 1) FROM t WHERE id = 1 FOR UPDATE
              waits
            a: COMMIT
              Commit 0
                b: 100|1
        "#]],
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
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: DELETE FROM t WHERE id = 1
              Delete 1
            b: UPDATE t SET n = n + 1 WHERE id = 1
              waits
            a: ROLLBACK
              Rollback 0
                b: Update 1
            a: SELECT * FROM t ORDER BY id
              1|2; 2|2; 3|3
        "#]],
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
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: DELETE FROM t WHERE id = 1
              Delete 1
            b: UPDATE t SET n = 5 WHERE id < 3
              waits
            c: SELECT * FROM t WHERE id = 1 FOR UPDATE
              waits
            a: COMMIT
              Commit 0
                b: Update 1
                c: Select 0
            a: SELECT * FROM t ORDER BY id
              2|5; 3|3
        "#]],
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
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: UPDATE t SET n = 7 WHERE id = 2
              Update 1
            b: BEGIN
              Begin 0
            b: SELECT * FROM t WHERE id = 2 FOR KEY SHARE
              2|2
            c: SELECT * FROM t WHERE id = 2 FOR SHARE
              waits
            d: DELETE FROM t WHERE id = 2
              waits
            a: COMMIT
              Commit 0
                c: 2|7
            b: COMMIT
              Commit 0
                d: Delete 1
            a: SELECT * FROM t ORDER BY id
              1|1; 3|3
        "#]],
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
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: UPDATE t SET id = 7 WHERE id = 2
              Update 1
            b: SELECT * FROM t WHERE id = 2 FOR KEY SHARE
              waits
            a: ROLLBACK
              Rollback 0
                b: 2|2
        "#]],
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
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: UPDATE t SET n = 5 WHERE id = 1
              Update 1
            b: SELECT * FROM t ORDER BY id FOR UPDATE NOWAIT
              could not obtain lock on row in relation "t" (55P03)
            b: SELECT * FROM t ORDER BY id FOR UPDATE SKIP LOCKED
              2|2; 3|3
            b: SELECT * FROM t ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
              2|2
            b: SELECT * FROM t WHERE id = 1 FOR KEY SHARE NOWAIT
              1|1
        "#]],
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
        &expect![[r#"
            a: BEGIN
              Begin 0
            b: BEGIN
              Begin 0
            a: UPDATE t SET n = 5 WHERE id = 1
              Update 1
            b: UPDATE t SET n = 5 WHERE id = 2
              Update 1
            a: UPDATE t SET n = 6 WHERE id = 2
              waits
            b: UPDATE t SET n = 6 WHERE id = 1
              deadlock detected (40P01)
                a: Update 1
            b: COMMIT
              Rollback 0
            a: COMMIT
              Commit 0
            a: SELECT * FROM t ORDER BY id
              1|5; 2|6; 3|3
        "#]],
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
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: SAVEPOINT s
              Other("SAVEPOINT") 0
            a: UPDATE t SET n = 5 WHERE id = 1
              Update 1
            b: BEGIN
              Begin 0
            b: UPDATE t SET n = 6 WHERE id = 1
              waits
            a: ROLLBACK TO s
              Rollback 0
                b: Update 1
            b: SELECT pg_current_xact_id_if_assigned(), pg_current_snapshot()
              802|800:802:800
            a: SELECT pg_current_xact_id_if_assigned(), pg_current_snapshot()
              800|800:802:
            b: COMMIT
              Commit 0
            a: UPDATE t SET n = n + 1 WHERE id = 1
              Update 1
            a: COMMIT
              Commit 0
            a: SELECT * FROM t ORDER BY id
              1|7; 2|2; 3|3
        "#]],
    );
}
