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
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: SELECT pg_current_xact_id_if_assigned(), pg_current_snapshot()
              NULL|800:800:
            a: UPDATE t SET n = 10 WHERE id = 1
              Update 1
            b: UPDATE t SET n = 10 WHERE id = 2
              Update 1
            c: BEGIN
              Begin 0
            c: UPDATE t SET n = 10 WHERE id = 3
              Update 1
            d: SELECT pg_current_snapshot()
              800:802:800
            c: SELECT pg_current_snapshot()
              800:802:800
            a: ROLLBACK
              Rollback 0
            d: SELECT pg_current_snapshot()
              802:802:
        "#]],
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
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: UPDATE t SET n = 10 WHERE id = 1
              Update 1
            b: BEGIN
              Begin 0
            b: SELECT * FROM t WHERE id = 1 FOR UPDATE
              waits
            c: BEGIN
              Begin 0
            c: UPDATE t SET n = 11 WHERE id = 1
              waits
            a: COMMIT
              Commit 0
                b: 1|10
            b: SELECT pg_current_xact_id_if_assigned()
              802
            b: COMMIT
              Commit 0
                c: Update 1
            c: SELECT pg_current_xact_id_if_assigned()
              801
        "#]],
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
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: UPDATE t SET n = 1 WHERE id = 17
              Update 0
            a: DELETE FROM t WHERE id = 17
              Delete 0
            a: SELECT * FROM t WHERE id = 17 FOR UPDATE
              Select 0
            a: INSERT INTO t VALUES (1, 1) ON CONFLICT DO NOTHING
              Insert 0
            a: SELECT pg_advisory_xact_lock(3)
              void
            a: LOCK TABLE t IN SHARE MODE
              Other("LOCK TABLE") 0
            a: SELECT pg_current_xact_id_if_assigned()
              NULL
            a: LOCK TABLE t IN ACCESS EXCLUSIVE MODE
              Other("LOCK TABLE") 0
            a: SELECT pg_current_xact_id_if_assigned()
              800
        "#]],
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
        &expect![[r#"
            a: BEGIN ISOLATION LEVEL REPEATABLE READ
              Begin 0
            a: SELECT * FROM t ORDER BY id
              1|1; 2|2; 3|3
            b: UPDATE t SET n = 5 WHERE id = 1
              Update 1
            a: SELECT * FROM t ORDER BY id
              1|1; 2|2; 3|3
            a: UPDATE t SET n = 6 WHERE id = 1
              could not serialize access due to concurrent update (40001)
            a: SELECT 1
              current transaction is aborted, commands ignored until end of transaction block (25P02)
            a: COMMIT
              Rollback 0
            a: BEGIN ISOLATION LEVEL REPEATABLE READ
              Begin 0
            a: SELECT count(*) FROM t
              3
            b: DELETE FROM t WHERE id = 3
              Delete 1
            a: SELECT * FROM t WHERE id = 3 FOR UPDATE
              could not serialize access due to concurrent update (40001)
        "#]],
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
        &expect![[r#"
            a: INSERT INTO t SELECT id + 10, n FROM t
              Insert 3
            a: WITH gone AS (DELETE FROM t WHERE id = 1 RETURNING id) SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM t)
              1|6
            a: SELECT id FROM t ORDER BY id
              2; 3; 11; 12; 13
        "#]],
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
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: SAVEPOINT s
              Other("SAVEPOINT") 0
            a: INSERT INTO t VALUES (50, 50)
              Insert 1
            a: SELECT pg_current_xact_id_if_assigned(), pg_current_snapshot()
              800|800:800:
            b: SELECT pg_current_snapshot()
              800:800:
            a: ROLLBACK TO s
              Rollback 0
            a: SELECT pg_current_xact_id_if_assigned(), pg_current_snapshot()
              800|800:802:
            a: SAVEPOINT s2
              Other("SAVEPOINT") 0
            a: INSERT INTO t VALUES (1, 1)
              duplicate key value violates unique constraint "t_pkey" (23505)
            a: SELECT 1
              current transaction is aborted, commands ignored until end of transaction block (25P02)
            a: ROLLBACK TO s2
              Rollback 0
            a: INSERT INTO t VALUES (51, 51)
              Insert 1
            a: RELEASE s
              Other("RELEASE") 0
            a: COMMIT
              Commit 0
            a: SELECT id FROM t ORDER BY id
              1; 2; 3; 51
        "#]],
    );
}

#[test]
fn repeatable_read_takes_its_snapshot_before_it_waits_for_a_table() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        a: BEGIN
        a: LOCK TABLE t IN SHARE MODE
        a: INSERT INTO t VALUES (1, 1)
        b: BEGIN ISOLATION LEVEL REPEATABLE READ
        b: DELETE FROM t
        c: DELETE FROM t WHERE n = 1
        a: COMMIT
        b: COMMIT
        ",
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: LOCK TABLE t IN SHARE MODE
              Other("LOCK TABLE") 0
            a: INSERT INTO t VALUES (1, 1)
              Insert 1
            b: BEGIN ISOLATION LEVEL REPEATABLE READ
              Begin 0
            b: DELETE FROM t
              waits
            c: DELETE FROM t WHERE n = 1
              waits
            a: COMMIT
              Commit 0
                b: Delete 0
                c: Delete 1
            b: COMMIT
              Commit 0
        "#]],
    );
}

#[test]
fn a_snapshot_is_older_than_the_lock_that_its_statement_takes() {
    check(
        "setup: CREATE TABLE status (state text)
         setup: INSERT INTO status VALUES ('active')
         a: snapshot SELECT pg_try_advisory_lock_shared(1), state FROM status
         b: SELECT pg_try_advisory_lock(1)
         b: UPDATE status SET state = 'rebuilding'
         b: SELECT pg_advisory_unlock(1)
         a: proceed
         a: SELECT state FROM status",
        &expect![[r#"
            a: snapshot SELECT pg_try_advisory_lock_shared(1), state FROM status
              has its snapshot
            b: SELECT pg_try_advisory_lock(1)
              t
            b: UPDATE status SET state = 'rebuilding'
              Update 1
            b: SELECT pg_advisory_unlock(1)
              t
            a: proceed
              t|active
            a: SELECT state FROM status
              rebuilding
        "#]],
    );
}

#[test]
fn what_takes_no_snapshot_does_not_stop_for_one() {
    check(
        "setup: CREATE TABLE t (n int)
         a: snapshot BEGIN
         a: snapshot LOCK TABLE t
         b: snapshot INSERT INTO t VALUES (1)
         a: COMMIT
         b: proceed
         b: snapshot SELECT n FROM t
         a: TRUNCATE t
         b: proceed",
        &expect![[r#"
            a: snapshot BEGIN
              Begin 0
            a: snapshot LOCK TABLE t
              Other("LOCK TABLE") 0
            b: snapshot INSERT INTO t VALUES (1)
              waits
            a: COMMIT
              Commit 0
                b: has its snapshot
            b: proceed
              Insert 1
            b: snapshot SELECT n FROM t
              has its snapshot
            a: TRUNCATE t
              waits
            b: proceed
              1
                a: Other("TRUNCATE TABLE") 0
        "#]],
    );
}
